"""Covariances of visits from their parameters and derivatives back, in loops for numba.

The same matrices as `models.visits.covariance` gives, for one value of the parameters.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
from numpy.typing import NDArray

from alliance.models.visits.loops import add_product, add_product_with_turned

Array = NDArray[np.float64]
Places = NDArray[np.int64]


@numba.njit
def covariance_of(R: Array, sd: Array, out: Array) -> None:
    """Covariances of correlations and SDs, of which there may be one."""
    for s in range(len(R)):
        for t in range(len(R)):
            out[s, t] = sd[min(s, len(sd) - 1)] * R[s, t] * sd[min(t, len(sd) - 1)]


@numba.njit
def by_correlation(R: Array, sd: Array, by_covariance: Array, by_sd: Array) -> Array:
    """Derivatives in correlations; those in SDs are added to ``by_sd``."""
    found = np.zeros_like(R)
    for s in range(len(R)):
        for t in range(len(R)):
            first, second = min(s, len(sd) - 1), min(t, len(sd) - 1)
            by_sd[first] += by_covariance[s, t] * R[s, t] * sd[second]
            by_sd[second] += by_covariance[s, t] * R[s, t] * sd[first]
            found[s, t] = by_covariance[s, t] * sd[first] * sd[second]
    return found


@numba.njit
def loading_of(
    effect_visit: Places, visits: int, sd: float, slope_sd: float, r: float, visit_sd: float
) -> Array:
    """Lower factor (Q, Q) of the covariance of a therapist's effects.

    Effects of all visits come first: intercept, and slope; others are independent.
    """
    loading = np.zeros((len(effect_visit), len(effect_visit)))
    for e in range(len(effect_visit)):
        if effect_visit[e] < visits:
            loading[e, e] = visit_sd
        elif e == 0:
            loading[e, e] = sd
        else:
            loading[e, 0], loading[e, e] = slope_sd * r, slope_sd * np.sqrt(1 - r**2)
    return loading


@numba.njit
def by_therapist_scalars(
    effect_visit: Places, visits: int, by_loading: Array, slope_sd: float, r: float
) -> tuple[float, float, float, float]:
    """Derivatives in the numbers that `loading_of` takes."""
    by_sd, by_slope, by_r, by_visit = 0.0, 0.0, 0.0, 0.0
    for e in range(len(effect_visit)):
        if effect_visit[e] < visits:
            by_visit += by_loading[e, e]
        elif e == 0:
            by_sd = by_loading[e, e]
        else:
            rest = np.sqrt(1 - r**2)
            by_slope = by_loading[e, 0] * r + by_loading[e, e] * rest
            by_r = slope_sd * (by_loading[e, 0] - by_loading[e, e] * r / rest)
    return by_sd, by_slope, by_r, by_visit


# Correlations of a structure from its parameters, and derivatives in the parameters from those in
# the correlations, each element by itself; formulas: `models.visits.covariance`.


@numba.njit
def _unstructured(parameters: Array, gaps: Array) -> Array:
    F = _factor(parameters, len(gaps))
    R = np.zeros_like(gaps)
    add_product_with_turned(R, F, F)
    return R


@numba.njit
def _factor(parameters: Array, visits: int) -> Array:
    F = np.zeros((visits, visits))
    place = 0
    for s in range(visits):
        left = 1.0
        for t in range(s):
            F[s, t] = parameters[place] * left
            left *= np.sqrt(1 - parameters[place] ** 2)
            place += 1
        F[s, s] = left
    return F


@numba.njit
def _by_unstructured(parameters: Array, gaps: Array, by_R: Array) -> Array:
    visits = len(gaps)
    F, by_F = _factor(parameters, visits), np.zeros_like(gaps)
    add_product(by_F, by_R + by_R.T, F)
    found = np.zeros_like(parameters)
    place = 0
    for s in range(visits):
        left = 1.0
        for t in range(s):
            z = parameters[place]
            beyond = 0.0
            for u in range(t + 1, s + 1):
                beyond += by_F[s, u] * F[s, u]
            found[place] = by_F[s, t] * left - beyond * z / (1 - z**2)
            left *= np.sqrt(1 - z**2)
            place += 1
    return found


@numba.njit
def _autocorrelations(parameters: Array) -> tuple[Array, Array]:
    """Of lags from 1, and their derivatives (lag, parameter), by Durbin and Levinson."""
    size = len(parameters)
    found, by = np.zeros(size), np.zeros((size, size))
    weights, by_weights = np.zeros(size), np.zeros((size, size))
    left, by_left = 1.0, np.zeros(size)
    for lag in range(size):
        own = parameters[lag]
        found[lag] = own * left
        by[lag] = own * by_left
        by[lag, lag] += left
        for k in range(lag):
            found[lag] += weights[k] * found[lag - 1 - k]
            by[lag] += by_weights[k] * found[lag - 1 - k] + weights[k] * by[lag - 1 - k]
        before, by_before = weights.copy(), by_weights.copy()
        for k in range(lag):
            weights[k] -= own * before[lag - 1 - k]
            by_weights[k] -= own * by_before[lag - 1 - k]
            by_weights[k, lag] -= before[lag - 1 - k]
        weights[lag] = own
        by_weights[lag, lag] = 1.0
        by_left *= 1 - own**2
        by_left[lag] -= 2 * own * left
        left *= 1 - own**2
    return found, by


@numba.njit
def _toeplitz(parameters: Array, gaps: Array) -> Array:
    lags, _ = _autocorrelations(parameters)
    R = np.eye(len(gaps))
    for s in range(len(gaps)):
        for t in range(s):
            R[s, t] = R[t, s] = lags[s - t - 1]
    return R


@numba.njit
def _by_toeplitz(parameters: Array, gaps: Array, by_R: Array) -> Array:
    _, by = _autocorrelations(parameters)
    found = np.zeros_like(parameters)
    for s in range(len(gaps)):
        for t in range(s):
            found += (by_R[s, t] + by_R[t, s]) * by[s - t - 1]
    return found


@numba.njit
def _ar1(parameters: Array, gaps: Array) -> Array:
    R = np.eye(len(gaps))
    for s in range(len(gaps)):
        for t in range(s):
            R[s, t] = R[t, s] = parameters[0] ** gaps[s, t]
    return R


@numba.njit
def _by_ar1(parameters: Array, gaps: Array, by_R: Array) -> Array:
    found = np.zeros_like(parameters)
    for s in range(len(gaps)):
        for t in range(s):
            slope = gaps[s, t] * parameters[0] ** (gaps[s, t] - 1)
            found[0] += (by_R[s, t] + by_R[t, s]) * slope
    return found


@numba.njit
def _compound_symmetry(parameters: Array, gaps: Array) -> Array:
    R = np.full_like(gaps, parameters[0])
    for s in range(len(gaps)):
        R[s, s] = 1.0
    return R


@numba.njit
def _by_compound_symmetry(parameters: Array, gaps: Array, by_R: Array) -> Array:
    found = np.zeros_like(parameters)
    found[0] = by_R.sum()
    for s in range(len(gaps)):
        found[0] -= by_R[s, s]
    return found


@numba.njit
def _diagonal(parameters: Array, gaps: Array) -> Array:
    return np.eye(len(gaps))


@numba.njit
def _by_diagonal(parameters: Array, gaps: Array, by_R: Array) -> Array:
    return np.zeros_like(parameters)


STRUCTURES_IN_LOOPS: dict[str, tuple[Callable[..., Array], Callable[..., Array]]] = {
    "unstructured": (_unstructured, _by_unstructured),
    "toeplitz": (_toeplitz, _by_toeplitz),
    "ar1": (_ar1, _by_ar1),
    "compound_symmetry": (_compound_symmetry, _by_compound_symmetry),
    "diagonal": (_diagonal, _by_diagonal),
}
