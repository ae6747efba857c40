"""Arms along the alliance: expected scores, and every contrast as a curve over its range.

At each value of the alliance every patient of the trial is imagined to have it, in every arm, with
one therapist (an average one unless another is asked for), and expected scores are averaged over
the patients (g-computation; Robins 1986, doi:10.1016/0270-0255(86)90088-6), as
`inference.scores.expected_scores` does at the patients' own alliance. For a Gaussian outcome a
contrast is then the straight line of its coefficients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.polynomial.chebyshev import chebval
from numpy.typing import NDArray
from scipy.fft import dct

from alliance.data_prep.errors import InputError
from alliance.data_prep.levels import contrast_names, find_contrast
from alliance.inference.scores.expected_scores import auxiliary_draws, coefficients
from alliance.inference.scores.predictor import (
    Rows,
    TherapistPart,
    linear_predictor,
    link_scale,
    row_matrix,
)
from alliance.models.design.design import Design, arm_pairs

Array = NDArray[np.float64]

CACHE_NUMBERS = 200_000  # numbers of an array that a processor's cache holds
NODES = 32  # of the interpolation: its error is 1e-8 of the scale where slopes are steep, else less
LARGEST_GRID = 1001  # points; more would show nothing more


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


@dataclass(frozen=True, eq=False, slots=True)
class ArmCurves:
    """Expected scores of the arms at g values of the alliance, on the outcome's own scale.

    Attributes
    ----------
    arms : tuple of str
        Codes in display order.
    better : {"higher", "lower"}
    moderator : ndarray, shape (g,)
        Ascending, in the alliance's own points.
    expected : ndarray, shape (d, K, g)
        d draws, chain after chain.
    """

    arms: tuple[str, ...]
    better: str
    moderator: Array
    expected: Array

    @property
    def gain(self) -> int:
        """1 where a higher score is better, -1 where a lower one is."""
        return 1 if self.better == "higher" else -1

    def contrast(self, which: Contrast) -> Array:
        """Draws of a contrast along the alliance, shape (d, g)."""
        return np.asarray(self.expected[:, which.first] - self.expected[:, which.second])

    def best(self) -> Array:
        """Chance that each arm has the best expected score of all, shape (K, g)."""
        winner = (self.gain * self.expected).argmax(axis=1)
        return np.stack([(winner == arm).mean(axis=0) for arm in range(len(self.arms))])


def arm_curves(
    design: Design,
    draws: xr.Dataset,
    patients: Rows,
    values: Array,
    better: str,
    therapist: TherapistPart | None = None,
) -> ArmCurves:
    """Expected scores of every arm at some values of the alliance, averaged over patients.

    Parameters
    ----------
    design : Design
    draws : xarray.Dataset
        Posterior of the outcome on the standardised scale.
    patients : Rows
        Whose baseline and covariates are averaged over: the trial's, as a rule.
    values : ndarray, shape (g,)
        The alliance, in its own points.
    better : {"higher", "lower"}
    therapist : TherapistPart, optional
        One therapist, who treats all of them; by default an average one. Where the alliance is
        taken apart, patients along the curve differ within this therapist, and the mean alliance
        of an average one's patients is the average.

    Returns
    -------
    ArmCurves
    """
    arms, count = len(design.arms), len(values)
    middle = np.array([mean for mean, _ in design.scaling.covariates])
    points = Rows(
        arm_index=np.repeat(np.arange(arms), count),
        moderator=np.tile(values, arms),
        baseline=np.full(arms * count, design.scaling.baseline[0]),
        covariates=np.tile(middle, (arms * count, 1)),
    )
    if therapist is not None:
        therapist = replace(therapist, index=np.zeros(arms * count, dtype=np.int64))
    at_points = linear_predictor(design, draws, points, therapist)
    expected = _averaged(design, draws, patients, at_points)
    return ArmCurves(design.arms, better, values, expected.reshape(-1, arms, count))


def _averaged(design: Design, draws: xr.Dataset, patients: Rows, at_points: Array) -> Array:
    """Expected scores at the points, averaged over the patients: shape (d, points)."""
    kept = design.encoding.places("baseline", "covariate")  # what differs between the patients
    beta = np.stack(list(coefficients(draws, design).values()), axis=1)[:, kept]
    X, weights = _grouped(row_matrix(design, patients)[:, kept])
    family, scale = design.family, design.scale
    if family.link == "identity":
        return np.asarray(scale.offset + scale.unit * (at_points + (beta @ (weights @ X))[:, None]))
    auxiliary = auxiliary_draws(draws, design)

    def average(predictor: Array) -> Array:
        expected = np.empty_like(predictor)
        block = max(1, CACHE_NUMBERS // (len(X) * max(1, scale.top)))
        for start in range(0, len(beta), block):
            some = slice(start, start + block)
            aux = {name: values[some] for name, values in auxiliary.items()}
            patient = beta[some] @ X.T
            for point in range(predictor.shape[1]):
                eta = link_scale(design, patient + predictor[some, point, None])
                expected[some, point] = family.expected(eta, aux, scale) @ weights
        return expected

    if at_points.shape[1] <= NODES or len(X) == 1:  # no saving
        return scale.offset + scale.unit * average(at_points)
    return scale.offset + scale.unit * _by_nodes(average, at_points)


def _by_nodes(average: Callable[[Array], Array], points: Array) -> Array:
    """A function of one number for each draw, evaluated at few nodes instead of many points.

    All arms and values differ only in the number that is added to a patient's predictor, and the
    average is an analytic function of it: its Chebyshev interpolant converges geometrically
    (Trefethen 2013, Approximation Theory and Approximation Practice, chapter 8).

    Parameters
    ----------
    average : callable
        From (d, m) to (d, m), row by row.
    points : ndarray, shape (d, m)

    Returns
    -------
    ndarray, shape (d, m)
    """
    low, high = points.min(axis=1, keepdims=True), points.max(axis=1, keepdims=True)
    middle, half = (low + high) / 2, np.maximum((high - low) / 2, np.finfo(float).tiny)
    nodes = np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
    series = dct(average(middle + half * nodes), type=2, axis=1) / NODES
    series[:, 0] /= 2
    return np.asarray(chebval((points - middle) / half, series.T[:, :, None], tensor=False))


def _grouped(X: Array) -> tuple[Array, Array]:
    """Distinct rows, and the share of each."""
    if not X.shape[1]:
        return X[:1], np.ones(1)
    rows, counts = np.unique(X, axis=0, return_counts=True)
    return rows, counts / counts.sum()


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


def require_on_scale(
    values: Sequence[float] | Array, limits: tuple[float, float], label: str
) -> None:
    """Refuse values that the measure cannot have, whether or not extrapolation is asked for.

    Parameters
    ----------
    values : array-like
    limits : tuple of float
        Lowest and highest possible value; infinite where there is no limit.
    label : str
        What the measure is called.

    Raises
    ------
    InputError
    """
    for value in values:
        if not limits[0] <= value <= limits[1]:
            raise InputError(
                f"{label}: there is no {value:g} on its scale.",
                f"Ask for values from {limits[0]:g} to {limits[1]:g}.",
            )


def find_contrasts(arms: Sequence[str], wanted: Sequence[str] = ()) -> list[Contrast]:
    """Contrasts by their names; all pairs, later arm minus earlier, if none is named.

    Parameters
    ----------
    arms : sequence of str
        Codes in display order.
    wanted : sequence of str
        ``MCE-GE`` is MCE minus GE; either order may be asked for.

    Returns
    -------
    list of Contrast

    Raises
    ------
    InputError
        If there is no such pair of arms, or the name could be two.
    """
    names = contrast_names(tuple(arms))
    pairs = dict.fromkeys(find_contrast(arms, each) for each in wanted)
    return [Contrast(names[pair], *pair) for pair in pairs or arm_pairs(len(arms))]
