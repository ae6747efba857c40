"""Test statistics of outcomes: what observed and replicated scores are compared by.

A statistic may depend on parameters (a realised discrepancy; Gelman, Meng & Stern 1996, Statistica
Sinica 6, 733-807): it is then computed for every posterior draw, of the observed scores and of the
scores replicated at that draw.

What figures show of replicates: how often each score occurs, and the therapists' means.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from alliance.inference.pointwise.replicates import Replicates
from alliance.models.design.design import Design, sum_to_zero_basis

Array = NDArray[np.float64]
Tail = Literal["both", "upper"]
ROUNDING = 1e-9  # of an SD, or of what is compared: by so much equal numbers may differ
DIGITS_LOST = 1e-12  # of the largest number: what differs by less is rounding
# Statistics that say nothing of a family's scores
UNSUITED = {
    "binary": ("sd", "skewness", "tails", "minimum", "maximum", "floor", "residual_sd_ratio"),
    "count": ("ceiling",),
}
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
        model fits it. Of events the share says all of their distribution; counts have no highest
        score.
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
    if design.family.name in UNSUITED:
        found = [each for each in found if each.name not in UNSUITED[design.family.name]]
    if not design.encoding.interaction and len(design.encoding.moderated) > 1:
        found.append(
            Statistic(
                "arm_slopes",
                "predictive_interaction",
                "variance of arms' slopes of residuals",
                "upper",
                lambda block, y: _slope_variance(block, y, arm_groups(block.design)),
            )
        )
    if not design.effects and design.therapists:
        found.append(
            Statistic(
                "therapist_means",
                "predictive_therapists",
                "variance of therapists' mean residuals",
                "upper",
                _mean_variance,
            )
        )
    if "slope" not in design.effects and design.has_moderator and design.therapists:
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
                lambda block, y: _farthest(block, y, therapist_groups(block.design)),
                new_therapists=True,
            )
        )
    if design.clinic_effects:
        found.append(
            Statistic(
                "odd_clinic",
                "predictive_therapists",
                "farthest clinic, in SDs of new ones",
                "upper",
                lambda block, y: _farthest(block, y, _groups(block.design.clinic_of)),
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
    own, known = design.therapist_index, len(design.therapists)
    # Patients without a therapist are no group: each stands alone, and so with too few
    return _groups(np.where(own < known, own, known + np.arange(len(own))))


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
    residual, alliance = block.residual(scores), block.moderator
    can_have = block.design.can_have_moderator
    if not can_have.all():
        groups = groups[can_have]
        groups = groups[:, np.flatnonzero(groups.sum(axis=0) >= FEWEST_IN_GROUP)]
        residual, alliance = residual[:, can_have], alliance[:, can_have]
    count = groups.sum(axis=0)
    total = alliance @ groups
    squares = np.square(alliance) @ groups - total**2 / count
    products = (alliance * residual) @ groups - total * (residual @ groups) / count
    varies = squares > ROUNDING  # of a patient who is one SD of the alliance from the mean
    slope = np.divide(products, squares, out=np.zeros_like(products), where=varies)
    weight = np.where(varies, squares, 0.0)
    all_weights = np.maximum(weight.sum(axis=1), np.finfo(float).tiny)
    middle = (weight * slope).sum(axis=1) / all_weights
    return np.asarray((weight * np.square(slope - middle[:, None])).sum(axis=1) / all_weights)


def _farthest(block: Replicates, scores: Array, groups: Any) -> Array:
    """How far the therapist, or clinic, lies out whose patients' mean is least like a new one's."""
    assert block.average is not None  # the model has effects of therapists or clinics
    assert block.new is not None
    count = groups.sum(axis=0)
    spread = ((block.new - block.average) @ groups / count).std(axis=0)
    distance = np.abs((scores - block.average) @ groups / count)
    spread = np.maximum(spread, np.finfo(float).tiny)
    return np.asarray((distance / spread).max(axis=1, initial=0.0))


Index = NDArray[np.int64]

MOST_BARS = 40
BINS = 24  # of scores that are no whole steps apart, or too many of them for bars
FAR = 0.001  # share of the first replicates at each end that the axis leaves to its last bins


@dataclass(eq=False, slots=True)
class Pictures:
    """Counts of observed and replicated scores, by group, and means of therapists.

    Attributes
    ----------
    edges : ndarray, shape (b + 1,)
        Of the bins, on the outcome's scale; scores beyond lie in the outermost bins.
    bars : bool
        Whether each bin is one score.
    groups : dict of str to ndarray of bool, shape (n,)
        Patients of all arms (``""``), and of each arm by its code.
    observed : dict of str to ndarray, shape (b,)
    therapists : tuple of str
        Those with three patients or more: the mean of one is a patient's own score.
    left_out : int
        Therapists with fewer patients.
    patients : ndarray, shape (j,)
        Their numbers.
    observed_means : ndarray, shape (j,)
        Mean scores of their patients.
    """

    edges: Array
    bars: bool
    groups: dict[str, NDArray[np.bool_]]
    observed: dict[str, Array]
    therapists: tuple[str, ...]
    left_out: int
    patients: Array
    observed_means: Array
    _treated: Any  # ones where a patient is a therapist's, (n, j)
    _counts: dict[str, list[Array]] = field(default_factory=dict)
    _drawn: list[Array] = field(default_factory=list)
    _new: list[Array] = field(default_factory=list)

    @classmethod
    def started(cls, block: Replicates, limits: tuple[float, float]) -> Pictures:
        """Bins from the first block, and what was observed.

        Parameters
        ----------
        block : Replicates
        limits : tuple of float
            Lowest and highest possible score.
        """
        design, observed = block.design, block.observed
        edges, bars = _edges(block, limits)
        basis = [design.coefficients.index(f"arm[{k}]") for k in range(1, len(design.arms))]
        arm = _arm_index(design.X[:, basis], len(design.arms))
        groups = {"": np.ones(len(observed), dtype=bool)}
        groups |= {code: arm == k for k, code in enumerate(design.arms)}
        count = design.patients_of_therapists
        present = np.flatnonzero(count >= FEWEST_IN_GROUP)
        treated = members(design.therapist_index, design.units)[:, present]
        counted = {name: _counts(observed[None, who], edges)[0] for name, who in groups.items()}
        return cls(
            edges=edges,
            bars=bars,
            groups=groups,
            observed=counted,
            therapists=tuple(design.therapists[j] for j in present),
            left_out=int(np.count_nonzero(count) - len(present)),
            patients=count[present].astype(float),
            observed_means=observed @ treated / count[present],
            _treated=treated,
            _counts={name: [] for name in groups},
        )

    def add(self, block: Replicates) -> None:
        """Count another block of replicates."""
        for name, who in self.groups.items():
            self._counts[name].append(_counts(block.drawn[:, who], self.edges))
        self._drawn.append(block.drawn @ self._treated / self.patients)
        if block.new is not None:
            self._new.append(block.new @ self._treated / self.patients)

    def replicated(self, group: str) -> Array:
        """Counts of each replicate, shape (s, b)."""
        return np.concatenate(self._counts[group])

    @property
    def drawn_means(self) -> Array:
        """Therapists' means of each replicate, shape (s, j)."""
        return np.concatenate(self._drawn)

    @property
    def new_means(self) -> Array | None:
        """The same with new therapists; None for a model without therapist effects."""
        return np.concatenate(self._new) if self._new else None


def _arm_index(columns: Array, arms: int) -> Index:
    distance = np.square(columns[:, None] - sum_to_zero_basis(arms)[None]).sum(axis=-1)
    return np.asarray(distance.argmin(axis=1))


def _edges(block: Replicates, limits: tuple[float, float]) -> tuple[Array, bool]:
    low, high = np.quantile(block.drawn, [FAR, 1 - FAR])
    low, high = min(low, block.observed.min()), max(high, block.observed.max())
    step = resolution(block.design)
    if block.design.scale.top:
        step, low, high = block.design.scale.unit, *limits
    if step > 0 and (high - low) / step < MOST_BARS:
        first = limits[0] + step * np.floor((low - limits[0]) / step + 0.5)
        last = limits[0] + step * np.ceil((high - limits[0]) / step - 0.5)
        bars = round((last - first) / step) + 1
        return first + step * (np.arange(bars + 1) - 0.5), True
    wide, shift = (high - low) / BINS, 0.0
    if step > (high - low) / 1000:  # whole steps in each bin
        wide, shift = step * np.ceil(wide / step), step / 2
    # One edge at the end of the range, so that no bin lies on both sides of it.
    first = limits[0] + wide * np.floor((low - limits[0]) / wide) - shift
    return first + wide * np.arange(np.ceil((high - first) / wide) + 1), False


def _counts(scores: Array, edges: Array) -> Array:
    """How many scores of each row lie in each bin, shape (s, b)."""
    bins, width = len(edges) - 1, edges[1] - edges[0]  # all bins are equally wide
    place = np.clip(np.floor((scores - edges[0]) / width), 0, bins - 1).astype(np.int64)
    flat = place + bins * np.arange(len(scores))[:, None]
    return np.bincount(flat.ravel(), minlength=bins * len(scores)).reshape(-1, bins).astype(float)
