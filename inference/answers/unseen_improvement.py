"""How strong an early improvement, unseen, would have to be to carry the alliance's slope to zero.

The alliance is rated when treatment has begun. A patient who has already improved may both rate it
higher and end better, and then the slope is in part that of the improvement. No data of the trial
can show it; what can be said is how strong it would have to be, and how that compares with the
strength of the baseline score, which was seen. Strength is stated as two shares of variance: of
what remains of the alliance after baseline, arm and covariates, and of what then remains of the
outcome (Cinelli & Hazlett 2020,
doi:10.1111/rssb.12348).

What is unseen acts alike in all arms, so that what it explains of the alliance is a share of what
baseline, arm and covariates leave: products of arm and alliance are no part of what is removed.

Two answers stand side by side. For the linear regression, which has one slope for all arms, the
formulas are exact. For the posterior, every draw of the slope averaged over arms is moved by the
same formula with that draw's residual SD (Student t: ``scale sqrt(nu / (nu - 2))``, and draws with
two degrees of freedom or fewer are left out, since nothing is a share of an infinite variance):

    slope - residual SD / (remaining SD of the alliance) * sqrt(R2_y R2_a / (1 - R2_a))

Therapist effects count as known to the degree that the fit knows them: the remaining SD of the
alliance is taken after what therapists' means explain, weighed by their share of the variance.
Where both shares are equal, and those are the curve, the slope's posterior keeps its width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from alliance.data_prep.errors import InputError
from alliance.data_prep.levels import AVERAGE
from alliance.data_prep.study.rules import COUNT
from alliance.inference.draws.summaries import tails
from alliance.inference.estimands.estimands import estimand_draws, residual_levels
from alliance.inference.posterior import Posterior, refuse_rows
from alliance.models.design.design import Design

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LinearSlope:
    """A slope from ordinary least squares.

    Attributes
    ----------
    estimate, se : float
    degrees_of_freedom : int
        n - p of the regression without the variable left out.
    """

    estimate: float
    se: float
    degrees_of_freedom: int

    @property
    def t(self) -> float:
        """Estimate over standard error."""
        return self.estimate / self.se

    @property
    def partial_r2(self) -> float:
        """Share of the outcome's remaining variance that the treatment explains."""
        return self.t**2 / (self.t**2 + self.degrees_of_freedom)


def leverage(r2_treatment: Any, r2_outcome: Any) -> Array:
    """What two shares of variance amount to: ``sqrt(r2_outcome r2_treatment/(1-r2_treatment))``.

    Parameters
    ----------
    r2_treatment, r2_outcome : float or array
        Between 0 and 1, the first below it.

    Returns
    -------
    array
        The bias in units of the remaining SD of the outcome over that of the treatment.
    """
    treatment, outcome = np.asarray(r2_treatment, float), np.asarray(r2_outcome, float)
    return np.asarray(np.sqrt(outcome * treatment / (1 - treatment)))


def bias(slope: LinearSlope, r2_treatment: Any, r2_outcome: Any) -> Array:
    """Size of the bias: the difference that Z makes to the estimate.

    Parameters
    ----------
    slope : LinearSlope
    r2_treatment, r2_outcome : float or array
        Partial R2 of Z with the treatment given covariates, and with the outcome given treatment
        and covariates.
    """
    unit = slope.se * np.sqrt(slope.degrees_of_freedom)
    return np.asarray(unit * leverage(r2_treatment, r2_outcome))


def adjusted_estimate(slope: LinearSlope, r2_treatment: Any, r2_outcome: Any) -> Array:
    """Estimate with Z in the regression, Z working in favour of the estimate seen.

    Parameters
    ----------
    slope : LinearSlope
    r2_treatment, r2_outcome : float or array
        As in `bias`.
    """
    size = abs(slope.estimate) - bias(slope, r2_treatment, r2_outcome)
    return np.asarray(np.sign(slope.estimate) * size)


def adjusted_se(slope: LinearSlope, r2_treatment: Any, r2_outcome: Any) -> Array:
    """Standard error with Z in the regression.

    Parameters
    ----------
    slope : LinearSlope
    r2_treatment, r2_outcome : float or array
        As in `bias`.
    """
    df = slope.degrees_of_freedom
    ratio = (1 - np.asarray(r2_outcome, float)) / (1 - np.asarray(r2_treatment, float))
    return np.asarray(slope.se * np.sqrt(ratio * df / (df - 1)))


def robustness(f: Any) -> Array:
    """Equal share of both remaining variances whose `leverage` is `f`.

    Parameters
    ----------
    f : float or array
        Not negative; for the share that carries a slope to zero, its size over the remaining SD of
        the outcome over that of the treatment: ``|t| / sqrt(df)``.
    """
    square = np.asarray(f, float) ** 2
    return np.asarray(0.5 * (np.sqrt(square**2 + 4 * square) - square))


def robustness_value(slope: LinearSlope, q: float = 1.0, alpha: float | None = None) -> float:
    """Share of both remaining variances that Z must explain to take the result away.

    Parameters
    ----------
    slope : LinearSlope
    q : float
        Share of the estimate that is taken away; 1 carries it to zero.
    alpha : float, optional
        Significance level at which the reduced estimate can no longer be told from the hypothesis;
        left out, the estimate itself is meant.

    Returns
    -------
    float
        RV_q, or RV_q,alpha (with the case in which the share of the
        outcome alone binds: Cinelli & Hazlett 2025, doi:10.1093/biomet/asaf004).
    """
    df = slope.degrees_of_freedom
    f = q * abs(slope.t) / np.sqrt(df)
    if alpha is None:
        return float(robustness(f))
    critical = abs(stats.t.ppf(alpha / 2, df - 1)) / np.sqrt(df - 1)
    if f <= critical:
        return 0.0
    if f > 1 / critical:
        return float((f**2 - critical**2) / (1 + f**2))
    return float(robustness(f - critical))


@dataclass(frozen=True, slots=True)
class Strength:
    """How strong something unseen is, as shares of remaining variances.

    Attributes
    ----------
    r2_treatment, r2_outcome : float
    """

    r2_treatment: float
    r2_outcome: float


def benchmark(
    r2_treatment: float, r2_outcome: float, times: float, times_outcome: float | None = None
) -> Strength | None:
    """Bound on a variable that is so many times as strong as an observed covariate.

    As of Cinelli & Hazlett 2020, section 4.

    Parameters
    ----------
    r2_treatment : float
        Partial R2 of the covariate with the treatment, given the other covariates.
    r2_outcome : float
        Partial R2 of the covariate with the outcome, given the treatment and other covariates.
    times : float
        How many times as much of the treatment's variance the unseen variable explains.
    times_outcome : float, optional
        The same of the outcome's; as `times` by default.

    Returns
    -------
    Strength or None
        None where no variable can be so strong: it would explain all of the treatment. A share
        of the outcome beyond one is cut to one.
    """
    outcome_times = times if times_outcome is None else times_outcome
    odds = r2_treatment / (1 - r2_treatment)
    share = times * odds
    if share >= 1 or times * r2_treatment >= 1:
        return None
    overlap = times * r2_treatment**2 / ((1 - times * r2_treatment) * (1 - r2_treatment))
    if overlap >= 1:
        return None
    eta = (np.sqrt(outcome_times) + np.sqrt(overlap)) / np.sqrt(1 - overlap)
    found = eta**2 * r2_outcome / (1 - r2_outcome)
    return Strength(float(share), float(min(1.0, found)))


def least_squares_slope(X: Array, y: Array, column: int) -> LinearSlope:
    """Slope of one column by ordinary least squares.

    Parameters
    ----------
    X : ndarray, shape (n, p)
        Of full rank, n > p.
    y : ndarray, shape (n,)
    column : int
    """
    others = np.delete(X, column, axis=1)
    d, rest = residual(X[:, column], others), residual(y, others)
    df = len(y) - X.shape[1]
    estimate = float(d @ rest / (d @ d))
    variance = float(((rest - estimate * d) ** 2).sum()) / df
    return LinearSlope(estimate, float(np.sqrt(variance / (d @ d))), df)


def residual(values: Array, columns: Array) -> Array:
    """What the columns (n, p) leave of the values (n,)."""
    if not columns.shape[1]:
        return values
    return np.asarray(values - columns @ np.linalg.lstsq(columns, values, rcond=None)[0])


def partial_r2(values: Array, columns: Array, added: Sequence[int]) -> float:
    """Share of what the other columns leave of the values that the added ones explain.

    Parameters
    ----------
    values : ndarray, shape (n,)
    columns : ndarray, shape (n, p)
    added : sequence of int
        Of the columns.
    """
    without = residual(values, np.delete(columns, list(added), axis=1))
    left = residual(values, columns)
    return float(1 - (left @ left) / (without @ without))


TIMES = (1.0, 2.0, 3.0)  # how many times as strong as what was seen
INTERVAL = 0.95
GRID = np.linspace(0, 0.6, 61)  # equal shares of both remaining variances, for curves
FEWEST_FINITE = 0.5  # share of the draws that must have a residual variance
SLOPE = ("moderator_slope", AVERAGE)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What was seen, and something unseen that is so many times as strong.

    Attributes
    ----------
    name : str
        ``baseline``, or a covariate.
    times : float
    strength : Strength or None
        None where nothing can be so strong.
    """

    name: str
    times: float
    strength: Strength | None


@dataclass(frozen=True, eq=False, slots=True)
class UnseenImprovement:
    """Sensitivity of one outcome's alliance slope, averaged over arms, to an unseen improvement.

    Attributes
    ----------
    outcome : str
    patients : int
        Those with a rating, whom the linear regression is of.
    linear : LinearSlope
        Ordinary least squares with one slope for all arms, on the outcome's own scale for one
        point of the alliance. It weighs arms by their patients, the posterior weighs them alike.
    slope : ndarray, shape (d,)
        Posterior draws of the slope averaged over arms, those whose residual variance is finite.
    unit : ndarray, shape (d,)
        Bias for a `leverage` of one, per draw.
    benchmarks : tuple of Benchmark
        Empty where the outcome has neither baseline nor covariates.
    infinite : float
        Share of the draws that are left out, their residual variance being infinite.
    """

    outcome: str
    patients: int
    linear: LinearSlope
    slope: Array
    unit: Array
    benchmarks: tuple[Benchmark, ...]
    infinite: float = 0.0

    @property
    def direction(self) -> float:
        """Sign of the posterior mean; an unseen improvement works in its favour."""
        return -1.0 if self.slope.mean() < 0 else 1.0

    @property
    def robustness_value(self) -> float:
        """Equal share of both remaining variances that carries the linear estimate to zero."""
        return robustness_value(self.linear)

    @property
    def robustness_value_interval(self) -> float:
        """The same until the linear estimate's 95% interval reaches zero; 0 if it does unmoved."""
        return robustness_value(self.linear, alpha=1 - INTERVAL)

    @property
    def tipping_mean(self) -> float:
        """Equal share of both remaining variances that carries the posterior mean to zero."""
        return float(robustness(abs(self.slope.mean()) / self.unit.mean()))

    @property
    def tipping_interval(self) -> float:
        """The same until the posterior's 95% interval reaches zero; 0 if it does unmoved."""
        nearer = np.quantile(self.direction * self.slope / self.unit, tails(INTERVAL)[0])
        return float(robustness(max(0.0, nearer)))

    def moved(self, strength: Strength) -> Array:
        """Draws (d,) of the slope moved towards zero, and beyond, by something so strong."""
        size = self.unit * leverage(strength.r2_treatment, strength.r2_outcome)
        return np.asarray(self.slope - self.direction * size)

    def curve(self, shares: Array = GRID) -> pd.DataFrame:
        """The slope along equal shares of both remaining variances.

        Returns
        -------
        pandas.DataFrame
            Columns ``share``, the posterior's ``mean, lower, upper`` and ``prob_same_sign`` (of
            a slope on the side where it is seen), and the regression's ``linear, linear_lower,
            linear_upper``.
        """
        return pd.DataFrame([{"share": r, **self._row(Strength(r, r))} for r in shares])

    @property
    def table(self) -> pd.DataFrame:
        """One row for each benchmark, after one for nothing unseen.

        Returns
        -------
        pandas.DataFrame
            As of `curve`, with ``benchmark, times, r2_alliance, r2_outcome`` and the regression's
            ``linear_t``; missing numbers where nothing can be so strong.
        """
        rows = [{"benchmark": "nothing", "times": 0.0, **self._told(Strength(0.0, 0.0))}]
        rows += [
            {"benchmark": each.name, "times": each.times, **self._told(each.strength)}
            for each in self.benchmarks
        ]
        return pd.DataFrame(rows).assign(outcome=self.outcome)[
            ["outcome", *pd.DataFrame(rows).columns]
        ]

    @property
    def tipping_table(self) -> pd.DataFrame:
        """One row: the linear estimate, its robustness values, and the posterior's tipping points.

        All are equal shares of what remains of alliance and outcome.
        """
        return pd.DataFrame(
            [
                {
                    "outcome": self.outcome,
                    "patients": self.patients,
                    "linear": self.linear.estimate,
                    "linear_se": self.linear.se,
                    "linear_t": self.linear.t,
                    "partial_r2": self.linear.partial_r2,
                    "robustness_value": self.robustness_value,
                    "robustness_value_interval": self.robustness_value_interval,
                    "mean": float(self.slope.mean()),
                    "tipping_mean": self.tipping_mean,
                    "tipping_interval": self.tipping_interval,
                }
            ]
        )

    def _told(self, strength: Strength | None) -> dict[str, float]:
        if strength is None:
            return {"r2_alliance": np.nan, "r2_outcome": np.nan}
        shares = {"r2_alliance": strength.r2_treatment, "r2_outcome": strength.r2_outcome}
        return shares | self._row(strength)

    def _row(self, strength: Strength) -> dict[str, float]:
        moved, (below, above) = self.moved(strength), tails(INTERVAL)
        lower, upper = np.quantile(moved, [below, above])
        shares = (strength.r2_treatment, strength.r2_outcome)
        if shares == (0.0, 0.0):  # the regression as it is, no variable added
            linear, se, df = (self.linear.estimate, self.linear.se, self.linear.degrees_of_freedom)
        else:
            linear = float(adjusted_estimate(self.linear, *shares))
            se, df = float(adjusted_se(self.linear, *shares)), self.linear.degrees_of_freedom - 1
        half = float(stats.t.ppf(above, df)) * se
        return {
            "mean": float(moved.mean()),
            "lower": float(lower),
            "upper": float(upper),
            "prob_same_sign": float((self.direction * moved > 0).mean()),
            "linear": linear,
            "linear_lower": linear - half,
            "linear_upper": linear + half,
            "linear_t": linear / se if se > 0 else np.nan,
        }


def can_be_asked(posterior: Posterior) -> bool:
    """Whether the outcome has a linear model: counts over unequal exposures have none.

    Parameters
    ----------
    posterior : Posterior
    """
    return posterior.design.family.name != COUNT


def unseen_improvement(posterior: Posterior) -> UnseenImprovement:
    """Ask how strong an unseen improvement would have to be.

    Parameters
    ----------
    posterior : Posterior
        Of any family but counts; for bounded scores and events the posterior's answer is to first
        order.

    Returns
    -------
    UnseenImprovement

    Raises
    ------
    InputError
        If the run has no such outcome, it is a count, too few patients have a rating for a
        regression, the ratings' noise is all that baseline, arm and covariates leave of them, or
        the residual variance of a Student-t outcome is infinite in most draws.
    """
    _ = posterior.study.measure  # refused without one
    if posterior.rowless:
        raise refuse_rows()
    if not can_be_asked(posterior):
        raise InputError(
            f"{posterior.name}: an unseen improvement is a share of what a linear model leaves of "
            "the scores, and counts have none.",
            "Ask about other outcomes: `outcome`.",
        )
    design = posterior.rated_design
    (moderator,) = design.encoding.places("moderator")
    interactions = design.encoding.places("interaction")
    kept = [k for k in design.present if k not in interactions]
    X, alliance = design.X[:, kept], kept.index(moderator)
    if len(X) <= X.shape[1] + 1 or np.linalg.matrix_rank(X) < X.shape[1]:
        raise InputError(
            f"{posterior.name}: {len(X)} rated patients do not determine a regression with "
            f"{X.shape[1]} coefficients.",
            "Fit without some of the covariates.",
        )
    unit = design.scaling.outcome[1] / design.scaling.moderator[1]
    found = least_squares_slope(X, design.y, alliance)
    estimands = estimand_draws(posterior)
    place = _place(estimands, *SLOPE)
    slope = estimands.isel(estimand=place).transpose("chain", "draw").values.ravel()
    spread = _residual_sd(posterior.design, estimands)
    finite = np.isfinite(spread)
    if finite.mean() < FEWEST_FINITE:
        raise InputError(
            f"{posterior.name}: the residual variance is infinite (two degrees of freedom or "
            f"fewer) in {1 - finite.mean():.0%} of the draws, and nothing is a share of it.",
            "Fit the outcome with its family gaussian, or with degrees_of_freedom above 2 under "
            "[priors].",
        )
    share = _therapist_share(estimands)
    remaining = _remaining_sd(design, X, alliance, share)
    noise = posterior.design.moderator.reliability
    if noise is not None:
        # The slope is that of the true alliance, whose remaining variance lacks the noise
        if remaining**2 <= 1 - noise:
            raise InputError(
                f"{posterior.name}: baseline, arm and covariates leave no more of the ratings than "
                "the noise that their reliability states.",
                "State a higher reliability, or fit without it.",
            )
        remaining = float(np.sqrt(remaining**2 - (1 - noise)))
    return UnseenImprovement(
        outcome=posterior.name,
        patients=len(X),
        linear=LinearSlope(found.estimate * unit, found.se * unit, found.degrees_of_freedom),
        slope=slope[finite],
        unit=spread[finite] / (remaining * design.scaling.moderator[1]),
        benchmarks=_benchmarks(design, X, kept, alliance),
        infinite=float(1 - finite.mean()),
    )


def _place(estimands: xr.DataArray, quantity: str, level: str) -> int:
    same = (estimands["quantity"].values == quantity) & (estimands["level"].values == level)
    return int(np.flatnonzero(same)[0])


def _residual_sd(design: Design, estimands: xr.DataArray) -> Array:
    """Residual SD (d,): where arms have their own, the root of their patients' mean variance."""
    sds = [
        estimands.isel(estimand=_place(estimands, "residual_sd", level))
        for level in residual_levels(design)
    ]
    values = np.stack([each.transpose("chain", "draw").values.ravel() for each in sds])
    if len(values) == 1:
        return np.asarray(values[0])
    patients = np.bincount(design.arm_index, minlength=len(design.arms))
    return np.asarray(np.sqrt(patients @ values**2 / patients.sum()))


def _therapist_share(estimands: xr.DataArray) -> float:
    """Posterior mean of the therapists' share of variance; 0 without therapist effects.

    With that of their clinics: what two patients of one therapist have in common.
    """
    found = 0.0
    for quantity in ("therapist_icc", "clinic_icc"):
        shares = np.flatnonzero(estimands["quantity"].values == quantity)
        if len(shares):
            found += float(estimands.isel(estimand=shares).mean())
    return found


def _remaining_sd(design: Design, X: Array, alliance: int, share: float) -> float:
    """SD of the alliance, in its own SDs, after the other columns and therapists.

    Each therapist's mean is taken off in part, as generalised least squares with a therapist
    intercept does: rows less ``1 - sqrt((1 - share) / (1 - share + n_j share))`` of their
    therapist's mean have uncorrelated residuals.
    """
    count = np.bincount(design.therapist_index, minlength=design.units)
    part = 1 - np.sqrt((1 - share) / (1 - share + count * share))
    part[len(design.therapists) :] = 0.0  # of patients without a therapist nothing
    means = np.zeros((len(count), X.shape[1]))
    np.add.at(means, design.therapist_index, X)
    means /= np.maximum(count, 1)[:, None]
    taken = X - (part[:, None] * means)[design.therapist_index]
    left = residual(taken[:, alliance], np.delete(taken, alliance, axis=1))
    return float(np.sqrt(left @ left / (len(X) - X.shape[1])))


def _benchmarks(
    design: Design, X: Array, columns: Sequence[int], alliance: int
) -> tuple[Benchmark, ...]:
    without = [k for k in range(X.shape[1]) if k != alliance]
    found = []
    for place, column in enumerate(columns):
        term = design.encoding.terms[column]
        if term.kind not in ("baseline", "covariate"):
            continue
        of_alliance = partial_r2(X[:, alliance], X[:, without], [without.index(place)])
        of_outcome = partial_r2(design.y, X, [place])
        label = design.covariates[term.number] if term.kind == "covariate" else "baseline"
        found += [
            Benchmark(label, times, benchmark(of_alliance, of_outcome, times)) for times in TIMES
        ]
    return tuple(found)
