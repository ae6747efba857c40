"""Effects along the alliance for one outcome of a run: curves, bands, regions, and their table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from inference.asked_patients import require_outcome, trial_rows
from inference.bands import Bands, Region, bands, regions_excluding_zero
from inference.datatree import posterior
from inference.effect_curves import (
    ArmCurves,
    Contrast,
    arm_curves,
    find_contrasts,
    value_grid,
)
from inference.extrapolation import beyond, observed_range, require_observed
from inference.fit import Fit
from inference.predictor import AVERAGE, NEW, TherapistChoice, therapist_part
from inference.yardsticks import Yardstick

Array = NDArray[np.float64]

DEFAULT_GRID = 41
SHOWN_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # quantiles of the observed alliance that are shown
COLUMNS = (
    "outcome",
    "quantity",
    "level",
    "moderator",
    "mean",
    "sd",
    "lower",
    "upper",
    "band_lower",
    "band_upper",
    "prob_positive",
    "prob_better",
    "prob_better_by",
    "prob_equivalent",
    "prob_best",
    "threshold",
    "rope_low",
    "rope_high",
    "extrapolated",
)


@dataclass(frozen=True, eq=False, slots=True)
class Effects:
    """Everything asked about one outcome's effects along the alliance.

    Attributes
    ----------
    outcome : str
    curves : ArmCurves
    contrasts : tuple of Contrast
    yardstick : Yardstick
    interval : float
        Probability of intervals and bands.
    observed : tuple of float
        Lowest and highest observed alliance.
    ratings : ndarray, shape (n,)
        The observed alliance of the analysed patients.
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
    """

    outcome: str
    curves: ArmCurves
    contrasts: tuple[Contrast, ...]
    yardstick: Yardstick
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

    @property
    def extrapolated(self) -> NDArray[np.bool_]:
        """Which values of the grid lie outside the observed range, shape (g,)."""
        return beyond(self.curves.moderator, self.observed)

    def regions(self, level: str) -> list[Region]:
        """Where the simultaneous band of a contrast excludes zero."""
        band = self.contrast_bands[level]
        return regions_excluding_zero(self.curves.moderator, band.band_lower, band.band_upper)


def effects_along(
    fit: Fit,
    outcome: str,
    *,
    contrasts: Sequence[str] = (),
    values: Sequence[float] = (),
    grid: int = DEFAULT_GRID,
    interval: float = 0.95,
    yardstick: Yardstick | None = None,
    therapist: str = "average",
    extrapolate: bool = False,
    seed: int = 0,
) -> Effects:
    """Contrasts of the arms along the alliance.

    Parameters
    ----------
    fit : Fit
    outcome : str
    contrasts : sequence of str
        ``MCE-GE`` is MCE minus GE; all pairs, later arm minus earlier, if none is named.
    values : sequence of float
        The alliance at which answers are wanted.
    grid : int
        Evenly spaced values that the curve and the simultaneous band are computed at.
    interval : float
        Probability of intervals and bands.
    yardstick : Yardstick, optional
    therapist : str
        ``average``: one whose effects are zero. ``new``: one drawn from the distribution of
        therapists for each draw, so that bands hold what differs between therapists. Or the id of
        a therapist of the trial.
    extrapolate : bool
        Whether values may lie beyond the observed range: they stretch the curve and its
        simultaneous band, and are marked.
    seed : int
        For a new therapist.

    Returns
    -------
    Effects

    Raises
    ------
    InputError
        If the outcome, a contrast or the therapist does not exist, the grid is empty, a value lies beyond the observed range
        unasked, or the interval's probability is none.
    """
    require_outcome(fit, outcome)
    design, draws = fit.design(outcome), posterior(fit.trees[outcome])
    chosen = find_contrasts(design.arms, contrasts)
    patients = trial_rows(fit, outcome)
    ratings = patients.moderator[np.isfinite(patients.moderator)]
    observed = observed_range(patients)
    require_observed(values, observed, fit.study.moderator.label, extrapolate=extrapolate)
    shown = np.unique(values) if len(values) else np.unique(np.quantile(ratings, SHOWN_SHARES))
    points = value_grid(observed, grid, shown)
    better = fit.study.outcomes[outcome].better
    generator = np.random.default_rng(seed)
    part = therapist_part(design, draws, _choice(therapist), 1, generator)
    curves = arm_curves(design, draws, patients, points, better, part)
    return Effects(
        outcome=outcome,
        curves=curves,
        contrasts=tuple(chosen),
        yardstick=Yardstick() if yardstick is None else yardstick,
        interval=interval,
        observed=observed,
        ratings=ratings,
        patients=len(patients),
        therapist=therapist,
        shown=shown,
        named=len(values) > 0,
        contrast_bands={which.level: bands(curves.contrast(which), interval) for which in chosen},
        arm_bands={
            arm: bands(curves.expected[:, k], interval) for k, arm in enumerate(design.arms)
        },
        slopes=_slopes(fit, outcome, chosen),
    )


def _choice(therapist: str) -> TherapistChoice:
    if therapist in ("average", "new"):
        return AVERAGE if therapist == "average" else NEW
    return TherapistChoice.known(therapist)


def _slopes(fit: Fit, outcome: str, contrasts: Sequence[Contrast]) -> dict[str, Array]:
    """Differences of the arms' slopes, as the summary reports them."""
    if not fit.specs[outcome].interaction:
        return {}
    estimands = fit.estimands(outcome)
    arms = fit.design(outcome).arms
    rows = estimands.isel(estimand=estimands["quantity"].values == "moderator_slope")
    by_level = dict(
        zip(rows["level"].values, rows.transpose("estimand", "chain", "draw").values, strict=True)
    )
    return {
        which.level: (by_level[arms[which.first]] - by_level[arms[which.second]]).ravel()
        for which in contrasts
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
        threshold or more.
    """
    rows: list[dict[str, Any]] = []
    for which in effects.contrasts:
        rows += _curve_rows(effects, "arm_contrast", which.level, every)
    for arm in effects.curves.arms:
        rows += _curve_rows(effects, "expected_score", arm, every)
    for level, slope in effects.slopes.items():
        described = described_draws(slope, effects.interval)
        rows.append({"quantity": "interaction", "level": level} | described)
    for which in effects.contrasts:
        for region in effects.regions(which.level):
            side = "above" if region.sign > 0 else "below"
            ends = {"lower": region.start, "upper": region.end}
            rows.append({"quantity": f"region_{side}_zero", "level": which.level} | ends)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["outcome"] = effects.outcome
    table["extrapolated"] = table["extrapolated"].astype("boolean").fillna(False).astype(bool)
    return table


def described_draws(draws: Array, interval: float) -> dict[str, Any]:
    """Mean, SD, equal-tailed interval and probability above zero of draws (d,)."""
    tail = (1 - interval) / 2
    lower, upper = np.quantile(draws, [tail, 1 - tail])
    return {
        "mean": draws.mean(),
        "sd": draws.std(ddof=1),
        "lower": lower,
        "upper": upper,
        "prob_positive": (draws > 0).mean(),
    }


def contrast_chances(draws: Array, gain: int, yardstick: Yardstick) -> dict[str, Any]:
    """What a contrast's draws (d,) say about the analyst's threshold and region.

    Parameters
    ----------
    draws : ndarray, shape (d,)
    gain : int
        1 where a higher score is better, -1 where a lower one is.
    yardstick : Yardstick

    Returns
    -------
    dict
        ``prob_better``; with a threshold ``prob_better_by``, with a region ``prob_equivalent``,
        and threshold and region themselves.
    """
    found: dict[str, Any] = {"prob_better": (gain * draws > 0).mean()}
    if yardstick.threshold is not None:
        found["prob_better_by"] = (gain * draws >= yardstick.threshold).mean()
        found["threshold"] = yardstick.threshold
    if yardstick.rope is not None:
        low, high = yardstick.rope
        found["prob_equivalent"] = ((draws > low) & (draws < high)).mean()
        found |= {"rope_low": low, "rope_high": high}
    return found


def _curve_rows(effects: Effects, quantity: str, level: str, every: bool) -> list[dict[str, Any]]:
    """One row for each value of the moderator."""
    curves, contrast = effects.curves, quantity == "arm_contrast"
    if contrast:
        which = next(each for each in effects.contrasts if each.level == level)
        draws, band = curves.contrast(which), effects.contrast_bands[level]
    else:
        arm = curves.arms.index(level)
        draws, band = curves.expected[:, arm], effects.arm_bands[level]
        best = curves.best()[arm]
    rows = []
    for k, value in enumerate(curves.moderator):
        if not every and value not in effects.shown:
            continue
        row = {"quantity": quantity, "level": level, "moderator": value}
        row |= described_draws(draws[:, k], effects.interval)
        row |= {"band_lower": band.band_lower[k], "band_upper": band.band_upper[k]}
        row["extrapolated"] = effects.extrapolated[k]
        if contrast:
            row |= contrast_chances(draws[:, k], curves.gain, effects.yardstick)
        else:
            row |= {"prob_positive": np.nan, "prob_best": best[k]}
        rows.append(row)
    return rows
