"""The likelihood of visits with its gradient, in one operation; formulas: `.likelihood`.

From SDs, correlation parameters and therapists' SDs to the log density and back, in loops that
numba compiles: what PyTensor would have to differentiate takes it a minute to compile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numba
import numpy as np
from numpy.typing import NDArray

from alliance.models.exact_operation import ExactLikelihood, compiled_by_numba
from alliance.models.visits.covariance import CovarianceShape
from alliance.models.visits.likelihood import VisitModel
from alliance.models.visits.loops import add_product, density_in_covariances

Array = NDArray[np.float64]
Places = NDArray[np.int64]


def likelihood_data(model: VisitModel) -> dict[str, NDArray[Any]]:
    """The arrays that the operation is given after the covariances, in its order.

    Returns
    -------
    dict of str to ndarray
        ``precision``, ``term_visit`` and ``term_column`` (P,); ``effect_visit`` (Q,); of groups
        ``seen`` (G, V), ``residual_group``, ``patients`` (G,), ``columns`` (G, p (p + 1) / 2) with
        columns packed, ``both`` (G, V, p) with scores, and ``squares`` (G, V (V + 1) / 2) of
        scores, packed, those of different visits twice; ``pair_group`` (m,), ``pair_start``
        (therapists + 1,), and of pairs the products of each effect's column: ``pair_effects``
        (m, Q, Q), ``pair_terms`` (m, Q, P) and ``pair_scores`` (m, Q, V).
    """
    moments, terms, effects = model.moments, model.terms, model.effects
    p, V = moments.columns, moments.visits
    S = moments.cross_products
    of_columns, of_visits = np.tril_indices(p), np.tril_indices(V)
    twice = np.where(of_visits[0] == of_visits[1], 1.0, 2.0)
    row = np.searchsorted(moments.varying, effects.column)
    products = moments.pair_products[:, row]
    own = moments.pair_therapist if len(effects) else moments.pair_therapist[:0]
    starts = np.flatnonzero(np.diff(own, prepend=-1, append=-1)) if len(own) else np.zeros(1)
    return {
        "precision": model.precision,
        "term_visit": terms.visit,
        "term_column": terms.column,
        "effect_visit": effects.visit,
        "seen": moments.seen.astype(np.int64),
        "residual_group": moments.residual_group,
        "patients": moments.patients,
        "columns": S[:, of_columns[0], of_columns[1]],
        "both": S[:, p:, :p],
        "squares": S[:, p:, p:][:, of_visits[0], of_visits[1]] * twice,
        "pair_group": moments.pair_group[: len(own)],
        "pair_start": starts.astype(np.int64),
        "pair_effects": products[: len(own), :, effects.column],
        "pair_terms": products[: len(own)][:, :, terms.column],
        "pair_scores": products[: len(own), :, p:],
    }


def distances(shape: CovarianceShape) -> Array:
    """Of visits, one between neighbours unless their times are uneven, shape (V, V)."""
    if shape.gaps is not None:
        return shape.gaps
    places = np.arange(shape.visits, dtype=float)
    return np.abs(places[:, None] - places)


# Correlations of a structure from its parameters, and derivatives in the parameters from those in
# the correlations, each element by itself; formulas: `models.visits.covariance`.


@numba.njit
def _unstructured(parameters: Array, gaps: Array) -> Array:
    F = _factor(parameters, len(gaps))
    R = np.zeros_like(gaps)
    add_product(R, F, np.ascontiguousarray(F.T))
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


_STRUCTURES: dict[str, tuple[Callable[..., Array], Callable[..., Array]]] = {
    "unstructured": (_unstructured, _by_unstructured),
    "toeplitz": (_toeplitz, _by_toeplitz),
    "ar1": (_ar1, _by_ar1),
    "compound_symmetry": (_compound_symmetry, _by_compound_symmetry),
    "diagonal": (_diagonal, _by_diagonal),
}


@compiled_by_numba("alliance.models.visits.loops")
class VisitsLikelihood(ExactLikelihood):
    """Log likelihood of scores over time, coefficients and therapist effects integrated out.

    Parameters
    ----------
    structure : str
        Of the residuals' correlations, one of `models.visits.covariance.STRUCTURES`.

    Notes
    -----
    With A groups of residuals and V visits, the inputs are ``sd`` (A, V or 1) and ``parameters``
    (A, m) of the residuals; the scalars ``therapist_sd``, ``therapist_slope_sd``,
    ``therapist_correlation`` and ``therapist_visit_sd``, which are not looked at unless therapists
    have such effects; `distances` (V, V); and the arrays of `likelihood_data`.
    """

    __props__: ClassVar[tuple[str, ...]] = ("structure",)
    parameters = 6

    def __init__(self, structure: str) -> None:
        self.structure = structure

    def loops(self) -> Callable[..., tuple[Any, ...]]:
        """Value and gradients, in a function that numba compiles."""
        matrix, by_parameters = _STRUCTURES[self.structure]

        # Without annotations: numba takes the types of what it is given.
        def visits_likelihood(  # type: ignore[no-untyped-def]
            sd, parameters, therapist_sd, therapist_slope_sd, therapist_correlation,
            therapist_visit_sd, gaps, precision, term_visit, term_column, effect_visit, seen,
            residual_group, patients, columns, both, squares, pair_group, pair_start, pair_effects,
            pair_terms, pair_scores,
        ):  # fmt: skip
            visits = len(gaps)
            groups, own_sds = sd.shape
            R = np.zeros((groups, visits, visits))
            residual = np.zeros((groups, visits, visits))
            for a in range(groups):
                R[a] = matrix(parameters[a], gaps)
                for s in range(visits):
                    for t in range(visits):
                        both_sds = sd[a, min(s, own_sds - 1)] * sd[a, min(t, own_sds - 1)]
                        residual[a, s, t] = both_sds * R[a, s, t]
            effects = len(effect_visit)
            common = 0
            for e in range(effects):
                common += effect_visit[e] == visits
            loading = np.zeros((effects, effects))
            slope_sd, r = therapist_slope_sd.item(), therapist_correlation.item()
            rest = np.sqrt(1 - r**2)
            if common:
                loading[0, 0] = therapist_sd.item()
            if common > 1:
                loading[1, 0], loading[1, 1] = slope_sd * r, slope_sd * rest
            for e in range(common, effects):
                loading[e, e] = therapist_visit_sd.item()
            value, by_residual, by_loading = density_in_covariances(
                residual, loading, precision, term_visit, term_column, effect_visit, seen,
                residual_group, patients, columns, both, squares, pair_group, pair_start,
                pair_effects, pair_terms, pair_scores,
            )  # fmt: skip
            by_sd, by_parameter = np.zeros_like(sd), np.zeros_like(parameters)
            for a in range(groups):
                for s in range(visits):
                    for t in range(visits):
                        slope = by_residual[a, s, t]
                        first, second = min(s, own_sds - 1), min(t, own_sds - 1)
                        by_sd[a, first] += slope * R[a, s, t] * sd[a, second]
                        by_sd[a, second] += slope * R[a, s, t] * sd[a, first]
                        by_residual[a, s, t] = slope * sd[a, first] * sd[a, second]
                by_parameter[a] = by_parameters(parameters[a], gaps, by_residual[a])
            by_therapist, by_slope, by_r, by_visit = 0.0, 0.0, 0.0, 0.0
            if common:
                by_therapist = by_loading[0, 0]
            if common > 1:
                by_slope = by_loading[1, 0] * r + by_loading[1, 1] * rest
                by_r = slope_sd * (by_loading[1, 0] - by_loading[1, 1] * r / rest)
            for e in range(common, effects):
                by_visit += by_loading[e, e]
            return (
                np.asarray(value), by_sd, by_parameter, np.asarray(by_therapist),
                np.asarray(by_slope), np.asarray(by_r), np.asarray(by_visit),
            )  # fmt: skip

        return visits_likelihood
