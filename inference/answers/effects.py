"""Effects along the alliance for one outcome of a run: curves, bands, regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.levels import slope_names
from alliance.inference.answers.bands import Bands, Region, bands, regions_excluding_zero
from alliance.inference.answers.effect_curves import (
    ArmCurves,
    Contrast,
    arm_curves,
    find_contrasts,
    require_on_scale,
    value_grid,
)
from alliance.inference.answers.yardsticks import Yardstick
from alliance.inference.estimands.estimands import estimand_draws
from alliance.inference.patients.extrapolation import beyond, observed_range, require_observed
from alliance.inference.posterior import Posterior
from alliance.inference.scores.therapist_parts import (
    AVERAGE,
    NEW,
    TherapistChoice,
    therapist_id,
    therapist_part,
)
from alliance.models.design.design import Design

Array = NDArray[np.float64]

DEFAULT_GRID = 41
SHOWN_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # quantiles of the observed alliance that are shown


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
    posterior: Posterior,
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
    posterior : Posterior
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
        If the outcome, a contrast or the therapist does not exist, the grid is empty, a value is
        not on the scale or lies beyond the observed range unasked, or the interval's probability
        is none.
    """
    design = posterior.design
    chosen = find_contrasts(design.arms, contrasts)
    patients = posterior.rows
    ratings = patients.moderator[np.isfinite(patients.moderator)]
    observed = observed_range(patients)
    require_askable(posterior, values, observed, extrapolate=extrapolate)
    shown = np.unique(values) if len(values) else np.unique(np.quantile(ratings, SHOWN_SHARES))
    points = value_grid(observed, grid, shown)
    better = posterior.outcome.better
    generator = np.random.default_rng(seed)
    part = therapist_part(posterior, _choice(design, therapist), 1, generator)
    curves = arm_curves(posterior, patients, points, better, part)
    return Effects(
        outcome=posterior.name,
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
        slopes=_slopes(posterior, chosen),
    )


def require_askable(
    posterior: Posterior,
    values: Sequence[float],
    observed: tuple[float, float],
    *,
    extrapolate: bool,
) -> None:
    """Refuse an alliance that is not on its scale, or beyond the observed range unasked.

    Parameters
    ----------
    posterior : Posterior
    values : sequence of float
    observed : tuple of float
    extrapolate : bool

    Raises
    ------
    InputError
        Names the value and the range.
    """
    moderator = posterior.study.moderator
    low, high = moderator.range
    if posterior.design.moderator.ceiling is not None:
        high = np.inf  # ratings at the ceiling may stand for more
    require_on_scale(values, (low, high), moderator.label)
    require_observed(values, observed, moderator.label, extrapolate=extrapolate)


def _choice(design: Design, therapist: str) -> TherapistChoice:
    if therapist in ("average", "new"):
        return AVERAGE if therapist == "average" else NEW
    return TherapistChoice.known(therapist_id(design, therapist))


def _slopes(posterior: Posterior, contrasts: Sequence[Contrast]) -> dict[str, Array]:
    """Differences of the arms' slopes, as the summary reports them."""
    design = posterior.design
    if not design.encoding.interaction:
        return {}
    estimands = estimand_draws(posterior)
    names = slope_names(design.arms)
    rows = estimands.isel(estimand=estimands["quantity"].values == "moderator_slope")
    by_level = dict(
        zip(rows["level"].values, rows.transpose("estimand", "chain", "draw").values, strict=True)
    )
    return {
        which.level: (by_level[names[which.first]] - by_level[names[which.second]]).ravel()
        for which in contrasts
    }
