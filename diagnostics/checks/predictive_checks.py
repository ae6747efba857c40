"""Posterior predictive checks: do outcomes replicated under the model look like those observed?

Replicates are compared with the observed scores by test statistics, realised discrepancies where
these depend on parameters (Gelman, Meng & Stern 1996, Statistica Sinica 6, 733-807). A check that
passes says that the model can produce such data, not that it is true.

What to do about an outcome that replicates do not look like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alliance.diagnostics.checks.family_advice import advice
from alliance.diagnostics.checks.predictive_statistics import (
    Pictures,
    Statistic,
    statistics_of,
)
from alliance.diagnostics.verdicts import CheckResult, Verdict
from alliance.inference.pointwise.replicates import REPLICATES, Replicates, replicate
from alliance.inference.posterior import Posterior

Array = NDArray[np.float64]

FALSE_ALARMS = 0.05
"""Chance, at most, that some statistic of an outcome trips though the model is true: each is held
against this over the number of statistics (Bonferroni), about .005. In fact clean data trip in
about 2 of 100 analyses (docs/predictive-checks.md), because posterior predictive p-values of what
the model fits keep away from 0 and 1 (Bayarri & Berger 2000, doi:10.1080/01621459.2000.10474309).
A limit of .02 instead misses 6 to 11 more of 100 planted misfits."""

MOST_OUTSIDE = 0.05
"""Share of replicated scores beyond the outcome's range that still passes. Our choice: no p-value,
because no observed score ever lies there; over 1 in 20, a statement about single patients (an
interval, a chance) is visibly about scores that do not exist."""

INTERVAL = (0.025, 0.975)  # of the replicates, in tables and figures
COLUMNS = (
    "outcome",
    "check",
    "statistic",
    "observed",
    "replicated",
    "lower",
    "upper",
    "p_value",
    "limit",
    "verdict",
    "description",
)
MEANING = {
    "predictive_distribution": "the distribution of the scores",
    "predictive_range": "scores within the outcome's range",
    "predictive_arms": "residuals scatter alike in all arms",
    "predictive_interaction": "one slope of the alliance for all arms",
    "predictive_therapists": "therapists",
}


@dataclass(frozen=True, eq=False, slots=True)
class Realised:
    """A statistic of the observed and of the replicated scores.

    Attributes
    ----------
    statistic : Statistic
    observed : ndarray, shape (s,)
        For each draw; the same for all where it depends on no parameter.
    replicated : ndarray, shape (s,)
    """

    statistic: Statistic
    observed: Array
    replicated: Array

    @property
    def upper_share(self) -> float:
        """Chance of a replicate above the observed value, ties by half (mid-p); never 0 or 1."""
        # What both are made of may cancel: rounding is that of the largest of them
        largest = float(max(np.abs(self.replicated).max(), np.abs(self.observed).max()))
        ties = np.isclose(self.replicated, self.observed, rtol=1e-9, atol=1e-12 * largest)
        beyond = (self.replicated > self.observed)[~ties].sum() + 0.5 * ties.sum()
        return float((beyond + 0.5) / (len(self.replicated) + 1))

    @property
    def p_value(self) -> float:
        """Posterior predictive p-value; two-sided where too small a value is a misfit too."""
        share = self.upper_share
        return share if self.statistic.tail == "upper" else 2 * min(share, 1 - share)


@dataclass(frozen=True, eq=False, slots=True)
class PredictiveCheck:
    """Posterior predictive checks of one outcome.

    Attributes
    ----------
    outcome : str
    realised : tuple of Realised
    outside : ndarray, shape (s,), or None
        Share of each replicate's scores beyond the outcome's range; None for a family that keeps
        to it.
    pictures : Pictures
        What the figures show.
    results : tuple of CheckResult
        PASS or REVIEW.
    """

    outcome: str
    realised: tuple[Realised, ...]
    outside: Array | None
    pictures: Pictures
    results: tuple[CheckResult, ...]

    @property
    def replicates(self) -> int:
        """Number of replicates."""
        return len(self.realised[0].replicated)

    @property
    def limit(self) -> float:
        """P-value that each statistic is held against."""
        return FALSE_ALARMS / len(self.realised)

    @property
    def table(self) -> pd.DataFrame:
        """One row for each statistic; columns as in `COLUMNS`.

        ``observed`` is the mean over draws where it depends on parameters; ``lower`` and ``upper``
        hold 95% of the replicates. The share outside the range has no p-value: its ``limit`` is one
        on the mean share itself.
        """
        rows = [
            {
                "check": item.statistic.check,
                "statistic": item.statistic.name,
                "observed": item.observed.mean(),
                **_spread(item.replicated),
                "p_value": item.p_value,
                "limit": self.limit,
                "verdict": str(_verdict(item.p_value < self.limit)),
                "description": item.statistic.words,
            }
            for item in self.realised
        ]
        if self.outside is not None:
            rows.append(
                {
                    "check": "predictive_range",
                    "statistic": "outside",
                    "observed": 0.0,
                    **_spread(self.outside),
                    "p_value": np.nan,
                    "limit": MOST_OUTSIDE,
                    "verdict": str(_verdict(float(self.outside.mean()) > MOST_OUTSIDE)),
                    "description": "share of scores outside the range",
                }
            )
        return pd.DataFrame(rows).assign(outcome=self.outcome)[list(COLUMNS)]


def predictive_check(
    posterior: Posterior, *, number: int = REPLICATES, seed: int | None = None
) -> PredictiveCheck:
    """Replicate one outcome and compare it with what was observed.

    Parameters
    ----------
    posterior : Posterior
    number : int
        Replicates.
    seed : int, optional
        The run's own by default.

    Returns
    -------
    PredictiveCheck

    Raises
    ------
    InputError
        If the run has no such outcome.
    """
    limits = posterior.outcome.range
    observed: list[list[Array]] = []
    replicated: list[list[Array]] = []
    outside: list[Array] = []
    pictures: Pictures | None = None
    statistics: tuple[Statistic, ...] = ()
    for block in replicate(posterior, number=number, seed=seed):
        if pictures is None:
            statistics = statistics_of(block.design, limits)
            pictures = Pictures.started(block, limits)
        pairs = [_compared(statistic, block) for statistic in statistics]
        observed.append([first for first, _ in pairs])
        replicated.append([second for _, second in pairs])
        beyond = (block.drawn < limits[0]) | (block.drawn > limits[1])
        outside.append(beyond.mean(axis=1))
        pictures.add(block)
    assert pictures is not None  # `number` is not zero
    realised = tuple(
        Realised(statistic, np.concatenate(first), np.concatenate(second))
        for statistic, first, second in zip(
            statistics, zip(*observed, strict=True), zip(*replicated, strict=True), strict=True
        )
    )
    share = None if posterior.design.family.discrete else np.concatenate(outside)
    results = _judged(posterior, realised, share)
    return PredictiveCheck(posterior.name, realised, share, pictures, results)


def check_predictive(posterior: Posterior) -> tuple[CheckResult, ...]:
    """Posterior predictive checks for the gate: PASS or REVIEW, never FAIL.

    Parameters
    ----------
    posterior : Posterior

    Returns
    -------
    tuple of CheckResult
        ``predictive_distribution``, ``predictive_range`` (continuous families),
        ``predictive_arms``, ``predictive_interaction`` (models without one) and
        ``predictive_therapists``; the value is the smallest p-value of the check's statistics, or
        the share of replicates outside the range.
    """
    return predictive_check(posterior).results


def _compared(statistic: Statistic, block: Replicates) -> tuple[Array, Array]:
    replicates = block.new if statistic.new_therapists else block.drawn
    assert replicates is not None  # statistics of new therapists are of models that have them
    observed = statistic.value(block, block.observed[None])
    return np.broadcast_to(observed, len(block.drawn)), statistic.value(block, replicates)


def _judged(
    posterior: Posterior, realised: Sequence[Realised], outside: Array | None
) -> tuple[CheckResult, ...]:
    limit = FALSE_ALARMS / len(realised)
    found = []
    for check in MEANING:
        if check == "predictive_range" and outside is not None:
            found.append(_range_result(posterior, outside))
        items = [item for item in realised if item.statistic.check == check]
        if items:
            found.append(_result(posterior, check, items, limit))
    return tuple(found)


def _result(
    posterior: Posterior, check: str, items: Sequence[Realised], limit: float
) -> CheckResult:
    worst = min(items, key=lambda item: item.p_value)
    tripped = [item for item in items if item.p_value < limit]
    if tripped:
        told = [_told(item) for item in sorted(tripped, key=lambda item: item.p_value)]
        message = f"Replicates do not look like the observed scores: {'; '.join(told)}."
    elif len(items) == 1:
        message = f"Replicates look like the observed scores: {_told(worst)}."
    else:
        message = (
            f"Replicates look like the observed scores by {len(items)} statistics; the least "
            f"likely is {_told(worst)}."
        )
    remedies = [
        advice(posterior, item.statistic.name, above=item.upper_share < 0.5)
        for item in _blamed(tripped)
    ]
    return CheckResult(
        check=check,
        verdict=_verdict(bool(tripped)),
        value=worst.p_value,
        review=limit,
        fail=None,
        worst=f"{posterior.name}: {worst.statistic.name}",
        message=message,
        recommendation=" ".join(dict.fromkeys(remedies)),
    )


def _blamed(tripped: Sequence[Realised]) -> Sequence[Realised]:
    """What to mend first: heavy tails bring skewness and far scores with them."""
    heavy = any(item.statistic.name == "tails" and item.upper_share < 0.5 for item in tripped)
    follow = ("skewness", "minimum", "maximum") if heavy else ()
    return [item for item in tripped if item.statistic.name not in follow]


def _range_result(posterior: Posterior, outside: Array) -> CheckResult:
    low, high = posterior.outcome.range
    share = float(outside.mean())
    beyond = share > MOST_OUTSIDE
    return CheckResult(
        check="predictive_range",
        verdict=_verdict(beyond),
        value=share,
        review=MOST_OUTSIDE,
        fail=None,
        worst=f"{posterior.name}: outside",
        message=(
            f"{share:.2%} of the replicated scores lie outside the range of {low:g} to {high:g} "
            f"({'more' if beyond else 'no more'} than {MOST_OUTSIDE:.0%})."
        ),
        recommendation=advice(posterior, "outside", above=False) if beyond else "",
    )


def _told(item: Realised) -> str:
    """A statistic in words: observed value, replicates' range, p-value."""
    spread = _spread(item.replicated)
    words = f"{item.statistic.words} {item.observed.mean():.3g}"
    return (
        f"{words} (replicates {spread['lower']:.3g} to {spread['upper']:.3g}, p "
        f"{_probability(item.p_value)})"
    )


def _probability(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def _spread(replicated: Array) -> dict[str, float]:
    lower, upper = np.quantile(replicated, INTERVAL)
    return {"replicated": replicated.mean(), "lower": lower, "upper": upper}


def _verdict(beyond: bool) -> Verdict:
    return Verdict.REVIEW if beyond else Verdict.PASS
