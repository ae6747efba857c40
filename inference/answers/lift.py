"""What would change if every patient's alliance were some points higher.

The answer reads the association between alliance and outcome as the effect of the alliance. It is
one only if nothing else that matters for the outcome differs between patients with a higher and a
lower alliance, among them how much they had improved when they rated it; a trial that allots
treatments at random does not allot the alliance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError
from alliance.inference.draws.datatree import posterior
from alliance.inference.patients.asked_patients import trial_rows
from alliance.inference.patients.extrapolation import ROUNDING, observed_range
from alliance.inference.runs.fit import Fit
from alliance.inference.scores.arm_means import ArmMeans, averaged, expected_measure
from alliance.inference.scores.expected_scores import patient_moderator
from alliance.models.design.design import Design

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Lift:
    """A change of every patient's alliance, and of the expected scores with it.

    Attributes
    ----------
    points : float
    limit : float
        Where lifted values stop: the highest observed alliance, or the end of the scale (the
        lowest, for a negative lift).
    patients : int
    capped : float
        Patients who do not get the whole lift; a mean over draws where the alliance is latent.
    extrapolated : float
        Patients lifted beyond the highest observed alliance (lowered beyond the lowest).
    change : ArmMeans
        Mean change of the expected score; an average therapist's patients. Where the alliance is
        taken apart each patient's own alliance is lifted, and the therapists' means stay.
    with_means : ArmMeans or None
        The same if the therapists' true means rise with their patients' alliance; None unless the
        alliance is taken apart.
    """

    points: float
    limit: float
    patients: int
    capped: float
    extrapolated: float
    change: ArmMeans
    with_means: ArmMeans | None


def lift_alliance(fit: Fit, outcome: str, points: float, *, extrapolate: bool = False) -> Lift:
    """Lift every analysed patient's alliance by some points.

    Parameters
    ----------
    fit : Fit
    outcome : str
    points : float
        Of the alliance; negative ones lower it.
    extrapolate : bool
        Whether lifted values may leave the observed range, up to the end of the scale.

    Returns
    -------
    Lift

    Raises
    ------
    InputError
        If the lift is zero or not a difference of two values of the scale.
    """
    design, draws = fit.design(outcome), posterior(fit.trees[outcome])
    patients = trial_rows(fit, outcome)
    scale_range = fit.study.moderator.range
    _require_points(points, scale_range, fit.study.moderator.label)
    observed = observed_range(patients)
    limit = (scale_range if extrapolate else observed)[1 if points > 0 else 0]
    mean, sd = design.scaling.moderator
    before = patient_moderator(design, draws)
    after = _lifted(before, points / sd, (limit - mean) / sd)
    slack = ROUNDING * (scale_range[1] - scale_range[0]) / sd
    short = np.abs(after - before) < abs(points) / sd - slack
    low, high = ((end - mean) / sd for end in observed)
    outside = after > high + slack if points > 0 else after < low - slack
    measure = expected_measure(design)

    def expected(moderator: Array, means: Array | None = None) -> ArmMeans:
        return averaged(design, draws, patients, moderator, measure, means=means)

    at_first = expected(before)
    means = None
    if "moderator_slope_between" in draws:
        risen = _risen_means(design, after - before)
        means = _difference(expected(after, risen), at_first)
    return Lift(
        points=points,
        limit=limit,
        patients=len(patients),
        capped=float(short.sum(axis=1).mean()),
        extrapolated=float((outside & (after != before)).sum(axis=1).mean()),
        change=_difference(expected(after), at_first),
        with_means=means,
    )


def _require_points(points: float, scale_range: tuple[float, float], label: str) -> None:
    width = scale_range[1] - scale_range[0]
    if not 0 < abs(points) <= width:
        raise InputError(
            f"A lift of {points:g} points makes no sense for {label}, which runs from "
            f"{scale_range[0]:g} to {scale_range[1]:g}.",
            f"Give `lift` a number of points up to {width:g}, and not zero.",
        )


def _lifted(before: Array, step: float, limit: float) -> Array:
    """Values moved by a step as far as the limit; one beyond it stays where it is."""
    if step > 0:
        return np.maximum(before, np.minimum(before + step, limit))
    return np.minimum(before, np.maximum(before + step, limit))


def _risen_means(design: Design, rise: Array) -> Array:
    """The mean rise among the patients of each patient's therapist, same shape."""
    own = design.therapist_index == np.arange(len(design.therapists))[:, None]
    counts = np.maximum(own.sum(axis=1), 1)
    return np.asarray((rise @ own.T / counts)[:, design.therapist_index])


def _difference(after: ArmMeans, before: ArmMeans) -> ArmMeans:
    return ArmMeans(after.by_arm - before.by_arm, after.as_treated - before.as_treated)
