"""What figures show of replicates: how often each score occurs, and the therapists' means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alliance.diagnostics.checks.predictive_statistics import FEWEST_IN_GROUP, members, resolution
from alliance.inference.pointwise.replicates import Replicates
from alliance.models.design.encoding import sum_to_zero_basis

Array = NDArray[np.float64]
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
        count = np.bincount(design.therapist_index, minlength=len(design.therapists))
        present = np.flatnonzero(count >= FEWEST_IN_GROUP)
        treated = members(design.therapist_index, len(count))[:, present]
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
    if block.design.family.discrete:
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
