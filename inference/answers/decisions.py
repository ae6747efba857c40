"""What follows from named thresholds: chances of an effect, shares who improve, a raised alliance.

Nothing here has a default threshold. All answers are averages over the trial's patients, each
imagined in every arm (`inference.scores.questions`).

What would change if every patient's alliance were some points higher reads the association between
alliance and outcome as the effect of the alliance. It is one only if nothing else that matters for
the outcome differs between patients with a higher and a lower alliance, among them how much they
had improved when they rated it; a trial that allots treatments at random does not allot the
alliance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError
from alliance.data_prep.levels import code_names
from alliance.inference.answers.effects import Contrast, find_contrasts, require_askable
from alliance.inference.draws.summaries import described
from alliance.inference.posterior import Posterior, Rows, refuse_rows
from alliance.inference.ranges import ROUNDING, beyond
from alliance.inference.scores.questions import Quantity, Question, expected, own_alliance
from alliance.inference.scores.single_scores import (
    NOTHING_COUNTED,
    ChanceWords,
    chances_in_words,
    score_steps,
)
from alliance.inference.scores.therapist_parts import NEW, TherapistPart, therapist_part
from alliance.inference.scores.thresholds import Thresholds
from alliance.models.design.design import Design

Array = NDArray[np.float64]

QUARTILES = (0.25, 0.5, 0.75)  # of the observed alliance, where no values are named
COLUMNS = (
    *("outcome", "quantity", "level", "moderator", "mean", "sd", "lower", "upper"),
    *("prob_positive", "prob_better", "prob_better_by", "prob_equivalent", "threshold"),
    *("rope_low", "rope_high", "reach", "source", "lift", "extrapolated"),
)
AS_TREATED = "as treated"  # level of a change over all patients, each in the arm of their own


@dataclass(frozen=True, eq=False, slots=True)
class RaisedAlliance:
    """A change of every patient's alliance, and of the expected scores with it.

    Attributes
    ----------
    points : float
    limit : float
        Where raised values stop: the highest observed alliance, or the end of the scale (the
        lowest, where the alliance is lowered).
    patients : int
        Of the arms whose patients can have one.
    capped : float
        Patients who do not get all of the points; a mean over draws where the alliance is latent.
    extrapolated : float
        Patients raised beyond the highest observed alliance (lowered beyond the lowest).
    change : ndarray, shape (d, M + 1)
        Mean change of the expected score in each arm that has one, then of the patients as
        treated; an average
        therapist's patients. Where the alliance is taken apart each patient's own alliance is
        raised, and the therapists' means stay.
    with_means : ndarray, shape (d, M + 1), or None
        The same if the therapists' true means rise with their patients' alliance; None unless the
        alliance is taken apart.
    """

    points: float
    limit: float
    patients: int
    capped: float
    extrapolated: float
    change: Array
    with_means: Array | None


@dataclass(frozen=True, eq=False, slots=True)
class Decisions:
    """Answers about one outcome.

    Attributes
    ----------
    outcome : str
    table : pandas.DataFrame
        Columns as in `COLUMNS`. A row without ``moderator`` is about the patients at their own
        alliance. Quantities: ``arm_contrast``; ``share_improved`` and ``share_reaching`` of each
        arm, and their differences ``share_improved_contrast`` and ``share_reaching_contrast``;
        ``lift`` (of a raised alliance) of each arm and ``as treated``,
        ``lift_with_therapist_means``.
    patients : int
        Who is averaged over.
    improvement : bool
        Whether there is a baseline to improve from.
    raised : RaisedAlliance or None
    counted : ChanceWords
        What chances of scores count, and at which ends they are off; empty where none are told.
    """

    outcome: str
    table: pd.DataFrame
    patients: int
    improvement: bool
    raised: RaisedAlliance | None
    counted: ChanceWords = NOTHING_COUNTED


def decisions(
    posterior: Posterior,
    thresholds: Thresholds,
    *,
    contrasts: Sequence[str] = (),
    values: Sequence[float] = (),
    raise_alliance: float | None = None,
    interval: float = 0.95,
    extrapolate: bool = False,
    seed: int | None = None,
) -> Decisions:
    """Hold one outcome's effects against what the analyst named.

    Parameters
    ----------
    posterior : Posterior
    thresholds : Thresholds
        ``better_by`` is what an arm is to be better by, and what a patient is to improve by.
    contrasts : sequence of str
        As in `inference.answers.effects.find_contrasts`.
    values : sequence of float
        The alliance at which answers are wanted, beside the patients' own; the quartiles of the
        observed one if none is named.
    raise_alliance : float, optional
        Points by which every patient's alliance is raised: see `raised_alliance`.
    interval : float
        Probability of the equal-tailed intervals.
    extrapolate : bool
        Whether values and raised values may leave the observed range.
    seed : int, optional
        For the new therapists of the shares; that of the run by default.

    Returns
    -------
    Decisions
        Effects are those of an average therapist. Shares are those among the patients of a new
        therapist, one drawn for each draw of the posterior, who treats all patients in all arms:
        their mean is the share to expect, their interval holds what differs between therapists,
        and not the chance of small numbers.

    Raises
    ------
    InputError
        If nothing is asked; or a contrast or a value of the alliance is not there, or a threshold
        lies outside the outcome's scale.
    """
    if thresholds.empty and raise_alliance is None:
        raise InputError(
            f"Nothing is asked about {posterior.name}, and no threshold has a default.",
            "Name a threshold, a region of equivalence, a score to reach or a lift.",
        )
    thresholds.require(posterior.name, posterior.outcome)
    if posterior.rowless and (thresholds.reach is not None or raise_alliance is not None):
        raise refuse_rows()  # whose scores are reached, and whose alliance is raised
    patients = posterior.averaged_over
    require_askable(posterior, values, extrapolate=extrapolate)
    places = np.asarray(values, dtype=float)
    if posterior.design.has_moderator and not len(values):
        ratings = patients.moderator[np.isfinite(patients.moderator)]
        places = np.quantile(ratings, QUARTILES)
        if posterior.rowless:
            mean, sd = posterior.design.scaling.moderator
            places = np.clip([mean - sd, mean, mean + sd], *posterior.observed_alliance)
    asked = _Asked(
        posterior,
        np.unique(places),
        find_contrasts(posterior.design.arms, contrasts, posterior.study.arms),
        thresholds,
        interval,
    )
    new = therapist_part(posterior, NEW, len(patients), posterior.generator("predictions", seed))
    rows = asked.effects()
    by = thresholds.better_by
    # Of single patients, whose baselines and ratings a run without rows does not know
    improvement = by is not None and patients.baseline is not None and not posterior.rowless
    if improvement:
        rows += asked.shares("share_improved", Thresholds(change=by), {"threshold": by}, new)
    if (score := thresholds.reach) is not None:
        rows += asked.shares("share_reaching", Thresholds(reach=score), {"reach": score}, new)
    raised = None
    if raise_alliance is not None:
        raised = raised_alliance(posterior, raise_alliance, extrapolate=extrapolate)
        rows += asked.raised(raised)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["outcome"] = posterior.name
    named = table[["threshold", "rope_low", "reach"]].notna().any(axis=1)
    table["source"] = table["source"].astype(object).where(~named, thresholds.source)
    too_far = table["lift"].notna() & bool(raised is not None and raised.extrapolated)
    table["extrapolated"] = too_far
    if posterior.design.has_moderator:
        at = table["moderator"].to_numpy(float)
        table["extrapolated"] |= beyond(at, posterior.observed_alliance)
    shares = table["quantity"].str.startswith("share").any()
    counted = chances_in_words(posterior) if shares else NOTHING_COUNTED
    return Decisions(posterior.name, table, posterior.analysed, improvement, raised, counted)


@dataclass(frozen=True, eq=False, slots=True)
class _Asked:
    """What is asked about one outcome, and the rows that answer it."""

    posterior: Posterior
    values: Array
    contrasts: list[Contrast]
    thresholds: Thresholds
    interval: float

    def effects(self) -> list[dict[str, Any]]:
        """Contrasts of expected scores, with an average therapist."""
        return [
            {"quantity": "arm_contrast", "level": which.level, "moderator": value}
            | self._judged(which.of(by_arm))
            for value, by_arm in self._everywhere("expected", expected)
            for which in self.contrasts
        ]

    def shares(
        self,
        quantity: str,
        reached: Thresholds,
        named: dict[str, float | None],
        therapist: TherapistPart | None,
    ) -> list[dict[str, Any]]:
        """Shares of the patients of one therapist, in every arm, and their differences."""
        (score,) = reached.scores
        steps = score_steps(self.posterior)

        def chance(posterior: Posterior, eta: Array, rows: Rows) -> dict[str, Array]:
            return reached.chances(posterior, eta, rows, steps)

        rows, differences = [], []
        for value, by_arm in self._everywhere(f"prob_{score}", chance, therapist):
            place = {"moderator": value} | named
            for k, arm in enumerate(self.posterior.design.arms):
                row = {"quantity": quantity, "level": arm} | place
                rows.append(row | described(by_arm[:, k], self.interval))
            for which in self.contrasts:
                draws = which.of(by_arm)
                row = {"quantity": f"{quantity}_contrast", "level": which.level} | place
                row |= described(draws, self.interval)
                above = (draws > 0).mean()
                differences.append(row | {"prob_positive": above, "prob_better": above})
        return rows + differences

    def raised(self, raised: RaisedAlliance) -> list[dict[str, Any]]:
        """What a raised alliance changes, by arm and as treated."""
        encoding = self.posterior.design.encoding
        own = code_names(encoding.arms, [AS_TREATED])
        names = [*(own[k] for k in encoding.moderated), AS_TREATED]
        parts = {"lift": raised.change, "lift_with_therapist_means": raised.with_means}
        return [
            {"quantity": quantity, "level": level, "lift": raised.points} | self._judged(draws)
            for quantity, change in parts.items()
            if change is not None
            for level, draws in zip(names, change.T, strict=True)
        ]

    def _judged(self, draws: Array) -> dict[str, Any]:
        row = described(draws, self.interval) | {"prob_positive": (draws > 0).mean()}
        return row | self.thresholds.judge(draws, self.posterior.direction)

    def _everywhere(
        self, name: str, quantity: Quantity, therapist: TherapistPart | None = None
    ) -> Iterator[tuple[float, Array]]:
        """Averages (d, K) at the patients' own alliance (NaN), and at each value."""
        posterior = self.posterior
        asked = Question(
            posterior,
            posterior.averaged_over,
            tuple(range(len(posterior.design.arms))),
            alliance=None if posterior.rowless else own_alliance(posterior),
            therapists=(therapist,),
        )
        yield np.nan, asked.averaged(quantity)[name]
        if not len(self.values):
            return
        along = asked.along(self.values, quantity)[name]
        for k, value in enumerate(self.values):
            yield value, along[..., k]


def raised_alliance(
    posterior: Posterior, points: float, *, extrapolate: bool = False
) -> RaisedAlliance:
    """Raise every analysed patient's alliance by some points.

    Parameters
    ----------
    posterior : Posterior
    points : float
        Of the alliance; negative ones lower it.
    extrapolate : bool
        Whether raised values may leave the observed range, up to the end of the scale.

    Returns
    -------
    RaisedAlliance

    Raises
    ------
    InputError
        If the points are zero or not a difference of two values of the scale.
    """
    design, observed = posterior.design, posterior.observed_alliance
    can = design.can_have_moderator
    patients = posterior.rows if can.all() else posterior.rows.chosen(np.flatnonzero(can))
    scale_range = posterior.study.measure.range
    width = scale_range[1] - scale_range[0]
    if not 0 < abs(points) <= width:
        raise InputError(
            f"A lift of {points:g} points makes no sense for {posterior.study.measure.label}, "
            f"which runs from {scale_range[0]:g} to {scale_range[1]:g}.",
            f"Give `raise_alliance` a number of points up to {width:g}, and not zero.",
        )
    limit = (scale_range if extrapolate else observed)[1 if points > 0 else 0]
    mean, sd = design.scaling.moderator
    before = posterior.alliance()[:, can]
    after = _moved(before, points / sd, (limit - mean) / sd)
    slack = ROUNDING * width / sd
    short = np.abs(after - before) < abs(points) / sd - slack
    low, high = ((end - mean) / sd for end in observed)
    outside = after > high + slack if points > 0 else after < low - slack
    arms = design.encoding.moderated

    def expected_at(alliance: Array, therapist: TherapistPart | None = None) -> Array:
        asked = Question(posterior, patients, arms, alliance, (therapist,))
        treated = replace(asked, arms=None)
        return np.hstack([each.averaged(expected)["expected"] for each in (asked, treated)])

    at_first, with_means = expected_at(before), None
    if "moderator_slope_between" in posterior.draws:
        rise = _mean_rise(design, after - before)
        with_means = expected_at(after, rise) - at_first
    return RaisedAlliance(
        points=points,
        limit=limit,
        patients=len(patients),
        capped=float(short.sum(axis=1).mean()),
        extrapolated=float((outside & (after != before)).sum(axis=1).mean()),
        change=expected_at(after) - at_first,
        with_means=with_means,
    )


def _moved(before: Array, step: float, limit: float) -> Array:
    """Values moved by a step as far as the limit; one beyond it stays where it is."""
    if step > 0:
        return np.maximum(before, np.minimum(before + step, limit))
    return np.minimum(before, np.maximum(before + step, limit))


def _mean_rise(design: Design, rise: Array) -> TherapistPart:
    """Average therapists whose mean alliance rises by that of their patients, (1, n) or (d, n)."""
    own = design.therapist_index == np.arange(len(design.therapists))[:, None]
    mean = rise @ own.T / np.maximum(own.sum(axis=1), 1)
    no_effect = np.zeros((1, len(design.therapists), len(design.effects)))
    return TherapistPart(no_effect, mean, design.therapist_index)
