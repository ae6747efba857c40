"""Effects along the alliance for one outcome of a run: curves, bands, regions, and their table.

At each value of the alliance every patient of the trial is imagined to have it, in every arm, with
one therapist (an average one unless another is asked for), and expected scores are averaged over
the patients (`inference.scores.questions`). For a Gaussian outcome a contrast is then the straight
line of its coefficients.

Pointwise and simultaneous bands around a curve, from its draws, and where they exclude zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError
from alliance.data_prep.levels import contrast_names, find_contrast, slope_names
from alliance.inference.answers.crossing import (
    ChosenArms,
    Crossing,
    chosen_arms,
    crossing,
    known_alliance,
)
from alliance.inference.draws.summaries import described, tails
from alliance.inference.estimands.estimands import estimand_draws
from alliance.inference.posterior import Posterior
from alliance.inference.ranges import beyond, require_observed, require_on_scale
from alliance.inference.scores.questions import Question, expected
from alliance.inference.scores.therapist_parts import (
    NEW,
    TherapistChoice,
    TherapistPart,
    therapist_id,
    therapist_part,
)
from alliance.inference.scores.thresholds import Thresholds
from alliance.models.design.encoding import arm_pairs

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Bands:
    """Two bands of the same probability around a curve at g points.

    Attributes
    ----------
    median, lower, upper : ndarray, shape (g,)
        Of each point by itself: the equal-tailed interval.
    band_lower, band_upper : ndarray, shape (g,)
        The simultaneous band: the whole curve lies within it with the band's probability.
    factor : float
        How many times as far from the median the simultaneous band lies, at every point; 1 or more.
    """

    median: Array
    lower: Array
    upper: Array
    band_lower: Array
    band_upper: Array
    factor: float


def bands(curves: Array, interval: float = 0.95) -> Bands:
    """Bands around a curve that is known by its draws.

    Parameters
    ----------
    curves : ndarray, shape (d, g)
        d draws of the curve at g points.
    interval : float
        Probability of either band.

    Returns
    -------
    Bands

    Raises
    ------
    InputError
        If the probability is not between 0 and 1.

    Notes
    -----
    The simultaneous band is a sup-t band (Montiel Olea & Plagborg-Møller 2019,
    doi:10.1002/jae.2656; from posterior draws Crainiceanu et al. 2007, J Comput Graph Stat
    16:265-288): all points share one critical value, the quantile over draws of the largest
    standardised deviation, so that every point errs equally often. A deviation is counted in
    distances from the median to the end of the pointwise interval on its side, which for a normal
    posterior is the usual standardisation, and for a skewed one lets the band be skewed. The band
    therefore never lies within the pointwise one. The envelope of ranks (Besag et al. 1995,
    doi:10.1214/ss/1177010123) differs only where tails do, and has to estimate quantiles much
    further out, which takes many times as many draws.
    """
    below, above = tails(interval)
    lower, median, upper = np.quantile(curves, [below, 0.5, above], axis=0)
    # The smallest factor whose band holds that share of the draws as whole curves.
    furthest = _deviations(curves, lower, median, upper).max(axis=1)
    factor = max(1.0, float(np.quantile(furthest, interval, method="inverted_cdf")))
    return Bands(
        median=median,
        lower=lower,
        upper=upper,
        band_lower=median - factor * (median - lower),
        band_upper=median + factor * (upper - median),
        factor=factor,
    )


def _deviations(curves: Array, lower: Array, median: Array, upper: Array) -> Array:
    """Each draw's distance from the median, in distances to the interval's end on its side."""
    above = curves - median
    distance = np.where(above > 0, upper - median, median - lower)
    # A point that is the same in all draws deviates nowhere.
    return np.divide(np.abs(above), distance, out=np.zeros_like(above), where=distance > 0)


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch along the curve where a band excludes zero.

    Attributes
    ----------
    start, end : float
        Its ends, on the scale of the points; between two points by linear interpolation.
    sign : int
        1 where the curve is above zero, -1 where it is below.
    """

    start: float
    end: float
    sign: int


def regions_excluding_zero(points: Array, lower: Array, upper: Array) -> list[Region]:
    """Where a band excludes zero, in the order of the points.

    With a simultaneous band this answers the question of Johnson & Neyman (1936), for which values
    of the moderator two arms differ, for all values at once, as Potthoff (1964,
    doi:10.1007/BF02289721) made it; Bauer & Curran (2005, doi:10.1207/s15327906mbr4003_5) for
    multilevel models. A difference between regions is no evidence of a difference between effects
    (Gelman & Stern 2006, doi:10.1198/000313006X152649): that is what the interaction tells.

    Parameters
    ----------
    points : ndarray, shape (g,)
        Ascending.
    lower, upper : ndarray, shape (g,)

    Returns
    -------
    list of Region
    """
    found = [(1, *ends) for ends in _positive(points, lower)]
    found += [(-1, *ends) for ends in _positive(points, -upper)]
    return sorted((Region(start, end, sign) for sign, start, end in found), key=lambda r: r.start)


def _positive(points: Array, values: Array) -> list[tuple[float, float]]:
    """Stretches where a broken line is above zero."""
    positive = values > 0
    padded = np.concatenate([[False], positive, [False]])
    starts = np.flatnonzero(~padded[:-1] & padded[1:]).tolist()
    ends = (np.flatnonzero(padded[:-1] & ~padded[1:]) - 1).tolist()
    stretches = []
    for first, last in zip(starts, ends, strict=True):
        start = points[0] if first == 0 else _crossing(points, values, first - 1)
        end = points[-1] if last == len(points) - 1 else _crossing(points, values, last)
        stretches.append((float(start), float(end)))
    return stretches


def _crossing(points: Array, values: Array, k: int) -> float:
    """Where the line from point k to the next one is zero."""
    share = values[k] / (values[k] - values[k + 1])
    return float(points[k] + share * (points[k + 1] - points[k]))


DEFAULT_GRID = 41
BEYOND_POINTS = 6  # between each end of the curve and of the observed range
LARGEST_GRID = 1001  # points; more would show nothing more
# Quantiles of the observed alliance that are shown. A curve runs between the outermost: beyond
# them one patient in twenty says what it is, and most of its width is of these few.
SHOWN_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
COLUMNS = (
    *("outcome", "quantity", "level", "moderator", "mean", "sd", "lower", "upper"),
    *("band_lower", "band_upper", "prob_positive", "prob_better", "prob_better_by"),
    *("prob_equivalent", "prob_best", "threshold", "rope_low", "rope_high", "source"),
    "extrapolated",
)


@dataclass(frozen=True, slots=True)
class Contrast:
    """A comparison of two arms: the first minus the second.

    Attributes
    ----------
    level : str
        As the analyst names it: ``MCE-GE``.
    first, second : int
        Positions in the arms.
    """

    level: str
    first: int
    second: int

    def of(self, by_arm: Array) -> Array:
        """Draws of the contrast from those of the arms, (d, K, ...)."""
        return np.asarray(by_arm[:, self.first] - by_arm[:, self.second])


@dataclass(frozen=True, eq=False, slots=True)
class ArmCurves:
    """Expected scores of the arms at g values of the alliance, on the outcome's own scale.

    Attributes
    ----------
    arms : tuple of str
        Codes in display order.
    direction : int
        1 where a higher score is better, -1 where a lower one is.
    moderator : ndarray, shape (g,)
        Ascending, in the alliance's own points.
    expected : ndarray, shape (d, K, g)
        d draws, chain after chain.
    """

    arms: tuple[str, ...]
    direction: int
    moderator: Array
    expected: Array

    def best(self) -> Array:
        """Chance that each arm has the best expected score of all, shape (K, g)."""
        winner = (self.direction * self.expected).argmax(axis=1)
        return np.stack([(winner == arm).mean(axis=0) for arm in range(len(self.arms))])


@dataclass(frozen=True, eq=False, slots=True)
class Effects:
    """Everything asked about one outcome's effects along the alliance.

    Attributes
    ----------
    outcome : str
    curves : ArmCurves
    contrasts : tuple of Contrast
    thresholds : Thresholds
    interval : float
        Probability of intervals and bands.
    observed : tuple of float
        Lowest and highest observed alliance: see `Posterior.observed_alliance`.
    ratings : ndarray, shape (n,)
        The observed alliance of the analysed patients; none of a run without rows.
    patients : int
        Analysed patients, who are averaged over.
    therapist : str
        Who treats them: ``average``, ``new``, or an id.
    shown : ndarray
        Values of the grid that a short table shows: those that were named, or the quartiles and
        ends of the observed alliance.
    named : bool
        Whether they were named.
    contrast_bands, arm_bands : dict of str to Bands
        By level, and by arm.
    slopes : dict of str to ndarray, shape (d,)
        Differences of slopes by level, for one point of the alliance; empty if the model has none.
    crossings : tuple of Crossing
        Of every contrast, within the observed range; none if the model has no interaction, or the
        run no rows.
    chosen : ChosenArms or None
        What choosing the arm by the alliance would gain; None likewise.
    """

    outcome: str
    curves: ArmCurves
    contrasts: tuple[Contrast, ...]
    thresholds: Thresholds
    interval: float
    observed: tuple[float, float]
    ratings: Array
    patients: int
    therapist: str
    shown: Array
    named: bool
    contrast_bands: dict[str, Bands]
    arm_bands: dict[str, Bands]
    slopes: dict[str, Array] = field(default_factory=dict)
    crossings: tuple[Crossing, ...] = ()
    chosen: ChosenArms | None = None

    @property
    def extrapolated(self) -> NDArray[np.bool_]:
        """Which values of the grid lie outside the observed range, shape (g,)."""
        return beyond(self.curves.moderator, self.observed)

    def regions(self, level: str) -> list[Region]:
        """Where the simultaneous band of a contrast excludes zero."""
        band = self.contrast_bands[level]
        return regions_excluding_zero(self.curves.moderator, band.band_lower, band.band_upper)


def effects_along(
    posterior: Posterior,
    *,
    contrasts: Sequence[str] = (),
    values: Sequence[float] = (),
    grid: int = DEFAULT_GRID,
    interval: float = 0.95,
    thresholds: Thresholds | None = None,
    therapist: str = "average",
    extrapolate: bool = False,
    seed: int | None = None,
) -> Effects:
    """Contrasts of the arms along the alliance.

    Parameters
    ----------
    posterior : Posterior
    contrasts : sequence of str
        ``MCE-GE`` is MCE minus GE; all pairs, later arm minus earlier, if none is named.
    values : sequence of float
        The alliance at which answers are wanted.
    grid : int
        Evenly spaced values that the curve and the simultaneous band are computed at: from the 5th
        to the 95th percentile of the observed alliance, or as far as values are named.
    interval : float
        Probability of intervals and bands.
    thresholds : Thresholds, optional
    therapist : str
        ``average``: one whose effects are zero. ``new``: one drawn from the distribution of
        therapists for each draw, so that bands hold what differs between therapists. Or the id of
        a therapist of the trial.
    extrapolate : bool
        Whether values may lie beyond the observed range: they stretch the curve and its
        simultaneous band, and are marked.
    seed : int, optional
        For a new therapist; that of the run by default.

    Returns
    -------
    Effects

    Raises
    ------
    InputError
        If a contrast or the therapist does not exist, the grid is empty, a value is not on the
        scale or lies beyond the observed range unasked, a threshold lies outside the outcome's
        scale, or the interval's probability is none.
    """
    design, patients = posterior.design, posterior.averaged_over
    wanted = Thresholds() if thresholds is None else thresholds
    wanted.require(posterior.name, posterior.outcome)
    observed = posterior.observed_alliance
    chosen = find_contrasts(design.arms, contrasts, posterior.study.arms)
    ratings = patients.moderator[np.isfinite(patients.moderator)]
    if posterior.rowless:  # nobody's rating is known
        ratings = np.empty(0)
    require_askable(posterior, values, extrapolate=extrapolate)
    usual = shown_values(posterior)
    shown = np.unique(values) if len(values) else np.unique(usual)
    points = value_grid((float(usual[0]), float(usual[-1])), grid, shown)
    part = None
    if therapist != "average":
        choice = (
            NEW if therapist == "new" else TherapistChoice.known(therapist_id(design, therapist))
        )
        part = therapist_part(posterior, choice, 1, posterior.generator("predictions", seed))
    # Where arms change places is asked of all who were observed
    further = [
        np.linspace(start, end, BEYOND_POINTS)
        for start, end in ((observed[0], points[0]), (points[-1], observed[1]))
        if start < end
    ]
    whole = np.unique(np.concatenate([points, *further]))
    everywhere = arm_curves(posterior, whole, part)
    curves = replace(
        everywhere,
        moderator=points,
        expected=everywhere.expected[:, :, np.searchsorted(whole, points)],
    )
    slopes = _slopes(posterior, chosen)
    crossings: tuple[Crossing, ...] = ()
    rule = None
    if slopes and not posterior.rowless:  # shares of patients are told as well
        crossings, rule = _places_changed(posterior, everywhere, chosen)
    return Effects(
        outcome=posterior.name,
        curves=curves,
        contrasts=tuple(chosen),
        thresholds=wanted,
        interval=interval,
        observed=observed,
        ratings=ratings,
        patients=posterior.analysed,
        therapist=therapist,
        shown=shown,
        named=len(values) > 0,
        contrast_bands={
            which.level: bands(which.of(curves.expected), interval) for which in chosen
        },
        arm_bands={
            arm: bands(curves.expected[:, k], interval) for k, arm in enumerate(design.arms)
        },
        slopes=slopes,
        crossings=crossings,
        chosen=rule,
    )


def _places_changed(
    posterior: Posterior, curves: ArmCurves, contrasts: Sequence[Contrast]
) -> tuple[tuple[Crossing, ...], ChosenArms]:
    """Where arms change places within the observed range, and what a rule by it gains."""
    seen = ~beyond(curves.moderator, posterior.observed_alliance)
    points, scores = curves.moderator[seen], curves.expected[:, :, seen]
    alliance = np.clip(known_alliance(posterior), points[0], points[-1])
    found = (crossing(each.level, points, each.of(scores), alliance) for each in contrasts)
    return tuple(found), chosen_arms(posterior, points, scores, curves.direction)


def arm_curves(
    posterior: Posterior, values: Array, therapist: TherapistPart | None = None
) -> ArmCurves:
    """Expected scores of every arm at some values of the alliance, averaged over patients.

    Parameters
    ----------
    posterior : Posterior
    values : ndarray, shape (g,)
        The alliance, in its own points.
    therapist : TherapistPart, optional
        One therapist, who treats all of them; by default an average one. Where the alliance is
        taken apart, patients along the curve differ within this therapist, and the mean alliance
        of an average one's patients is the average.

    Returns
    -------
    ArmCurves
    """
    arms = posterior.design.arms
    patients = posterior.averaged_over
    asked = Question(posterior, patients, tuple(range(len(arms))), therapists=(therapist,))
    found = asked.along(values, expected)["expected"]
    return ArmCurves(arms, posterior.direction, values, found)


def shown_values(posterior: Posterior) -> Array:
    """Values of the alliance that are shown unasked; a curve is drawn from the first to the last.

    Parameters
    ----------
    posterior : Posterior

    Returns
    -------
    ndarray, shape (5,), ascending
        `SHOWN_SHARES` of the analysed patients' ratings lie below them; evenly over the observed
        range where nobody's rating is known.
    """
    ratings = posterior.averaged_over.moderator
    spread = ratings[np.isfinite(ratings)]
    if posterior.rowless:
        spread = np.linspace(*posterior.observed_alliance, len(SHOWN_SHARES))
    return np.quantile(spread, SHOWN_SHARES)


def value_grid(
    ends: tuple[float, float], points: int, named: Sequence[float] | Array = ()
) -> Array:
    """Values that a curve is drawn at: evenly spaced, and those that are named.

    Parameters
    ----------
    ends : tuple of float
        The observed range; named values beyond it stretch it.
    points : int
        Evenly spaced values.
    named : array-like
        Further values.

    Returns
    -------
    ndarray, ascending

    Raises
    ------
    InputError
        If there are fewer than two points, or too many.
    """
    if not 2 <= points <= LARGEST_GRID:
        raise InputError(
            f"A curve cannot be drawn through {points} values of its grid.",
            f"Give `grid` a number from 2 to {LARGEST_GRID}.",
        )
    low, high = min([ends[0], *named]), max([ends[1], *named])
    return np.unique([*np.linspace(low, high, points), *ends, *named])


def find_contrasts(
    arms: Sequence[str], wanted: Sequence[str] = (), labels: Mapping[str, str] | None = None
) -> list[Contrast]:
    """Contrasts by their names; all pairs, later arm minus earlier, if none is named.

    Parameters
    ----------
    arms : sequence of str
        Codes in display order.
    wanted : sequence of str
        ``MCE-GE`` is MCE minus GE; either order may be asked for, and labels in place of codes.
    labels : mapping of str to str, optional
        Of the arms, by code.

    Returns
    -------
    list of Contrast

    Raises
    ------
    InputError
        If there is no such pair of arms, or the name could be two.
    """
    names = contrast_names(tuple(arms))
    pairs = dict.fromkeys(find_contrast(arms, each, labels=labels) for each in wanted)
    return [Contrast(names[pair], *pair) for pair in pairs or arm_pairs(len(arms))]


def require_askable(posterior: Posterior, values: Sequence[float], *, extrapolate: bool) -> None:
    """Refuse an alliance that is not on its scale, or beyond the observed range unasked.

    Raises
    ------
    InputError
        Names the value and the range.
    """
    if not len(values) and not posterior.design.has_moderator:
        return
    moderator = posterior.study.measure
    low, high = moderator.range
    if posterior.design.moderator.ceiling is not None:
        high = np.inf  # ratings at the ceiling may stand for more
    require_on_scale(values, (low, high), moderator.label)
    require_observed(values, posterior.observed_alliance, moderator.label, extrapolate=extrapolate)


def _slopes(posterior: Posterior, contrasts: Sequence[Contrast]) -> dict[str, Array]:
    """Differences of the arms' slopes, as the summary reports them."""
    if not posterior.design.encoding.interaction:
        return {}
    estimands = estimand_draws(posterior)
    names = slope_names(posterior.design.arms)
    rows = estimands.isel(estimand=estimands["quantity"].values == "moderator_slope")
    by_level = dict(
        zip(rows["level"].values, rows.transpose("estimand", "chain", "draw").values, strict=True)
    )
    moderated = posterior.design.encoding.moderated
    return {
        which.level: (by_level[names[which.first]] - by_level[names[which.second]]).ravel()
        for which in contrasts
        if {which.first, which.second} <= set(moderated)
    }


def effects_table(effects: Effects, *, every: bool = True) -> pd.DataFrame:
    """The answers as a tidy table.

    Parameters
    ----------
    effects : Effects
    every : bool
        All values of the grid; otherwise those of `Effects.shown`.

    Returns
    -------
    pandas.DataFrame
        Columns as in `COLUMNS`. Quantities: ``arm_contrast`` at each value of the moderator;
        ``expected_score`` of each arm, whose ``prob_best`` is the chance that it is the best of
        all; ``interaction``, the difference of slopes; ``region_above_zero`` and
        ``region_below_zero``, whose ``lower`` and ``upper`` are the values of the moderator between
        which the simultaneous band excludes zero. ``lower`` and ``upper`` hold for each value by
        itself, ``band_lower`` and ``band_upper`` for all of them at once. ``prob_better`` is the
        chance that the first arm is better than the second, ``prob_better_by`` that it is so by the
        threshold or more. With an interaction further: ``crossing``, the alliance at which the
        better arm changes, of the draws in which it does so within the observed range, and
        ``crossing_chance``, their share; ``share_beyond`` of the patients, for whom the arm is
        better that is not so for most; and ``gain_by_alliance``, the points that the best arm at
        each patient's alliance gains over the ``level``, the best arm for all.
    """
    curves, rows = effects.curves, []
    for which in effects.contrasts:
        draws = which.of(curves.expected)
        judged = [effects.thresholds.judge(each, curves.direction) for each in draws.T]
        if not effects.thresholds.empty:
            judged = [each | {"source": effects.thresholds.source} for each in judged]
        place = {"quantity": "arm_contrast", "level": which.level}
        rows += _curve_rows(
            effects, place, draws, effects.contrast_bands[which.level], judged, every
        )
    for k, (arm, best) in enumerate(zip(curves.arms, curves.best(), strict=True)):
        chances = [{"prob_positive": np.nan, "prob_best": chance} for chance in best]
        place = {"quantity": "expected_score", "level": arm}
        draws, band = curves.expected[:, k], effects.arm_bands[arm]
        rows += _curve_rows(effects, place, draws, band, chances, every)
    for level, slope in effects.slopes.items():
        row = {"quantity": "interaction", "level": level} | described(slope, effects.interval)
        rows.append(row | {"prob_positive": (slope > 0).mean()})
    for which in effects.contrasts:
        for region in effects.regions(which.level):
            side = "above" if region.sign > 0 else "below"
            ends = {"lower": region.start, "upper": region.end}
            rows.append({"quantity": f"region_{side}_zero", "level": which.level} | ends)
    rows += _crossing_rows(effects)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["outcome"] = effects.outcome
    table["extrapolated"] = table["extrapolated"].astype("boolean").fillna(False).astype(bool)
    return table


def _curve_rows(
    effects: Effects,
    place: dict[str, Any],
    draws: Array,
    band: Bands,
    further: Sequence[dict[str, Any]],
    every: bool,
) -> list[dict[str, Any]]:
    """One row for each value of the moderator, of draws (d, g)."""
    rows = []
    for k, value in enumerate(effects.curves.moderator):
        if every or value in effects.shown:
            row = place | {"moderator": value} | described(draws[:, k], effects.interval)
            row |= {"band_lower": band.band_lower[k], "band_upper": band.band_upper[k]}
            row |= {"prob_positive": (draws[:, k] > 0).mean()}
            row |= {"extrapolated": effects.extrapolated[k]} | further[k]
            rows.append(row)
    return rows


def _crossing_rows(effects: Effects) -> list[dict[str, Any]]:
    """Rows about where arms change places; empty numbers where no draw has such a place."""
    rows: list[dict[str, Any]] = []
    for each in effects.crossings:
        found = each.place(effects.interval)
        rows.append({"quantity": "crossing", "level": each.level} | found)
        rows.append({"quantity": "crossing_chance", "level": each.level, "mean": each.chance})
        share = described(each.share_beyond, effects.interval)
        rows.append({"quantity": "share_beyond", "level": each.level} | share)
    if effects.chosen is not None:
        gain, arm = effects.chosen.gain, effects.curves.arms[effects.chosen.single]
        row = {"quantity": "gain_by_alliance", "level": arm} | described(gain, effects.interval)
        chance = (gain > 0).mean()
        rows.append(row | {"prob_positive": chance, "prob_better": chance})
    return rows
