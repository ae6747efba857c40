"""Test statistics of outcomes: what observed and replicated scores are compared by.

A statistic may depend on parameters (a realised discrepancy; Gelman, Meng & Stern 1996, Statistica
Sinica 6, 733-807): it is then computed for every posterior draw, of the observed scores and of the
scores replicated at that draw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from alliance.inference.pointwise.replicates import Replicates
from alliance.models.design.design import Design

Array = NDArray[np.float64]
Tail = Literal["both", "upper"]
ROUNDING = 1e-9  # of an SD, or of what is compared: by so much equal numbers may differ
DIGITS_LOST = 1e-12  # of the largest number: what differs by less is rounding
FEWEST_IN_GROUP = 3  # patients of an arm or therapist that an SD or a slope is computed from


@dataclass(frozen=True, slots=True)
class Statistic:
    """One way to compare observed with replicated scores.

    Attributes
    ----------
    name : str
    check : str
        The check that it belongs to.
    words : str
        What it is, for a table or a figure's axis.
    tail : {"both", "upper"}
        Whether too small a value is a misfit too.
    value : callable
        ``(block, scores)`` with scores of shape (1, n) or (s, n): the statistic, shape (1,) or
        (s,).
    new_therapists : bool
        Whether the replicates are those with new therapists.
    """

    name: str
    check: str
    words: str
    tail: Tail
    value: Callable[[Replicates, Array], Array]
    new_therapists: bool = False


def statistics_of(design: Design, limits: tuple[float, float]) -> tuple[Statistic, ...]:
    """The statistics that suit a model: shape and ends of the distribution, arms, what is left out.

    Parameters
    ----------
    design : Design
    limits : tuple of float
        Lowest and highest possible score.

    Returns
    -------
    tuple of Statistic
        An interaction or a therapist effect that the model has needs no statistic of its own: the
        model fits it.
    """
    half = resolution(design) / 2
    low, high = limits
    shape = "predictive_distribution"
    found = [
        Statistic("sd", shape, "SD of the scores", "both", lambda _, y: y.std(axis=1, ddof=1)),
        Statistic("skewness", shape, "skewness of the residuals", "both", _skewness),
        Statistic("tails", shape, "kurtosis of the residuals", "both", _kurtosis),
        Statistic("minimum", shape, "lowest score", "both", lambda _, y: y.min(axis=1)),
        Statistic("maximum", shape, "highest score", "both", lambda _, y: y.max(axis=1)),
        Statistic("floor", shape, f"share at {low:g}", "both", partial(_share_at, low, half)),
        Statistic("ceiling", shape, f"share at {high:g}", "both", partial(_share_at, high, half)),
        Statistic(
            "residual_sd_ratio",
            "predictive_arms",
            "residual SD of arms, largest / smallest",
            "upper",
            _sd_ratio,
        ),
    ]
    if "interaction[1]" not in design.coefficients:
        found.append(
            Statistic(
                "arm_slopes",
                "predictive_interaction",
                "variance of arms' slopes of residuals",
                "upper",
                lambda block, y: _slope_variance(block, y, arm_groups(block.design)),
            )
        )
    if not design.effects:
        found.append(
            Statistic(
                "therapist_means",
                "predictive_therapists",
                "variance of therapists' mean residuals",
                "upper",
                _mean_variance,
            )
        )
    if "slope" not in design.effects:
        found.append(
            Statistic(
                "therapist_slopes",
                "predictive_therapists",
                "variance of therapists' slopes of residuals",
                "upper",
                lambda block, y: _slope_variance(block, y, therapist_groups(block.design)),
            )
        )
    if design.effects:
        found.append(
            Statistic(
                "odd_therapist",
                "predictive_therapists",
                "farthest therapist, in SDs of new ones",
                "upper",
                _farthest_therapist,
                new_therapists=True,
            )
        )
    return tuple(found)


def resolution(design: Design) -> float:
    """The smallest step between observed scores, on the outcome's own scale."""
    steps = np.diff(distinct(design.scale.unit * design.y))
    return float(steps.min()) if len(steps) else 0.0


def distinct(values: Array) -> Array:
    """Distinct values in ascending order; those are one that differ by rounding alone.

    Whatever the unit: they are rounded to nine digits behind the first one of their spread.

    Parameters
    ----------
    values : ndarray, shape (n,)
    """
    spread = float(np.ptp(values))
    if spread <= DIGITS_LOST * float(np.abs(values).max()):
        return np.asarray(values[:1])
    return np.unique(np.round(values, 9 - int(np.floor(np.log10(spread)))))


def arm_groups(design: Design) -> Any:
    """One column for each arm with enough patients: ones in a sparse array, shape (n, K)."""
    basis = [design.coefficients.index(f"arm[{k}]") for k in range(1, len(design.arms))]
    _, index = np.unique(design.X[:, basis].round(9), axis=0, return_inverse=True)
    return _groups(index.ravel())


def therapist_groups(design: Design) -> Any:
    """One column for each therapist with enough patients: a sparse array, shape (n, J)."""
    return _groups(design.therapist_index)


def members(index: NDArray[Any], groups: int) -> Any:
    """A sparse array of ones where a patient belongs to a group.

    Parameters
    ----------
    index : ndarray of int, shape (n,)
        Each patient's group.
    groups : int

    Returns
    -------
    scipy.sparse.csc_array, shape (n, groups)
    """
    place = (np.arange(len(index)), index)
    return sparse.csc_array((np.ones(len(index)), place), shape=(len(index), groups))


def _groups(index: NDArray[Any]) -> Any:
    count = np.bincount(index)
    return members(index, len(count))[:, np.flatnonzero(count >= FEWEST_IN_GROUP)]


def _skewness(block: Replicates, scores: Array) -> Array:
    return _moment_ratio(block.fitted_residual(scores), 3)


def _kurtosis(block: Replicates, scores: Array) -> Array:
    return _moment_ratio(block.fitted_residual(scores), 4)


def _moment_ratio(residual: Array, power: int) -> Array:
    """A central moment over the SD to that power; of residuals that are all the same, zero."""
    centred = residual - residual.mean(axis=1, keepdims=True)
    squared = np.square(centred)
    variance = squared.mean(axis=1)
    moment = (squared * (centred if power == 3 else squared)).mean(axis=1)
    return np.divide(moment, variance ** (power / 2), out=np.zeros_like(moment), where=variance > 0)


def _share_at(end: float, half: float, block: Replicates, scores: Array) -> Array:
    """Share of scores that are recorded as this one: nearer to it than half a step."""
    slack = max(half, ROUNDING * block.design.scale.unit)
    return np.asarray((np.abs(scores - end) <= slack).mean(axis=1))


def _sd_ratio(block: Replicates, scores: Array) -> Array:
    residual, groups = block.residual(scores), arm_groups(block.design)
    count = groups.sum(axis=0)
    mean = residual @ groups / count
    variance = (np.square(residual) @ groups - count * mean**2) / (count - 1)
    sd = np.sqrt(np.maximum(variance, np.finfo(float).tiny))
    return np.asarray(sd.max(axis=1) / sd.min(axis=1))


def _mean_variance(block: Replicates, scores: Array) -> Array:
    """Weighted variance of therapists' mean residuals: the sum of squares between them."""
    residual, groups = block.residual(scores), therapist_groups(block.design)
    count = groups.sum(axis=0)
    mean = residual @ groups / count
    middle = mean @ count / count.sum()
    return np.asarray(np.square(mean - middle[:, None]) @ count / count.sum())


def _slope_variance(block: Replicates, scores: Array, groups: Any) -> Array:
    """Weighted variance of the groups' slopes of the residuals on the alliance.

    Weights are the groups' sums of squares of the alliance, so that groups whose slopes are hardly
    known count little.
    """
    residual, alliance, count = block.residual(scores), block.moderator, groups.sum(axis=0)
    total = alliance @ groups
    squares = np.square(alliance) @ groups - total**2 / count
    products = (alliance * residual) @ groups - total * (residual @ groups) / count
    varies = squares > ROUNDING  # of a patient who is one SD of the alliance from the mean
    slope = np.divide(products, squares, out=np.zeros_like(products), where=varies)
    weight = np.where(varies, squares, 0.0)
    all_weights = np.maximum(weight.sum(axis=1), np.finfo(float).tiny)
    middle = (weight * slope).sum(axis=1) / all_weights
    return np.asarray((weight * np.square(slope - middle[:, None])).sum(axis=1) / all_weights)


def _farthest_therapist(block: Replicates, scores: Array) -> Array:
    """How far the therapist lies out whose patients' mean is least like a new therapist's."""
    assert block.average is not None  # the model has therapist effects
    assert block.new is not None
    groups = therapist_groups(block.design)
    count = groups.sum(axis=0)
    spread = ((block.new - block.average) @ groups / count).std(axis=0)
    distance = np.abs((scores - block.average) @ groups / count)
    spread = np.maximum(spread, np.finfo(float).tiny)
    return np.asarray((distance / spread).max(axis=1, initial=0.0))
