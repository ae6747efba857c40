"""The restricted likelihood of a model of visits, maximised: what trial software prints.

The likelihood is that of `models.visits.likelihood` with flat priors of the coefficients; it is
maximised over logarithms of the residual SDs, correlation parameters stretched to the whole line,
and the lower triangle of the factor of the therapist effects' covariance.

Standard errors are those of generalised least squares, with Satterthwaite's degrees of freedom
from the observed information W^-1. Kenward and Roger's (1997, doi:10.2307/2533558) allow for the
estimation of the variances: the covariance Phi of the coefficients becomes

    Phi + 2 Phi { sum_ij W_ij (Q_ij - P_i Phi P_j - R_ij / 4) } Phi

with the parameters theta_i of their paper and, with H = X'V^-1 X, P_i = dH/d theta_i,
Q_ij = X'V^-1 V_i V^-1 V_j V^-1 X and R_ij = X'V^-1 V_ij V^-1 X. V is linear in the elements of the
covariances, so that these follow from derivatives of H in those elements (the second ones are
Q_ij + Q_ji), and no matrix of the size of the data is made. W is that of the observed information,
as in SAS; for a single contrast the degrees of freedom are then Satterthwaite's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from threadpoolctl import threadpool_limits

from alliance.models.joint.joint import partial_places
from alliance.models.visits.covariance import CovarianceShape
from alliance.models.visits.likelihood import (
    VisitModel,
    coefficient_information,
    gradients,
    integrate,
)

Array = NDArray[np.float64]

STARTS = ((0.3, 0.3), (0.0, 0.1), (0.6, 1.0))  # correlation; therapist SD over residual SD
COMPLEX_STEP = 1e-30
DIFFERENCE = 1e-4  # of the search's parameters: logarithms, and the like
SECOND = 2e-3  # of covariances, in units of their SDs, where differences are taken twice
STEPS = 30  # of Newton's method
ENOUGH = 1e-10  # of the criterion
BOUNDARY = 1e-4  # SD of a therapist's effect over a residual SD below which it counts as zero
FLAT = 1e-8  # eigenvalue of the information over the largest: what the data do not speak of


@dataclass(frozen=True, eq=False, slots=True)
class VisitsFit:
    """Estimates of one model of visits.

    Attributes
    ----------
    beta, covariance : ndarray, shape (P,) and (P, P)
    residual : ndarray, shape (A, V, V)
        Covariances of the residuals.
    effect_covariance : ndarray, shape (Q, Q)
    criterion : float
        Minus twice the logarithm of the restricted likelihood, without log|X'X|.
    slopes : ndarray, shape (k, P, P)
        Derivatives of ``covariance`` in the k parameters of the covariances.
    spread : ndarray, shape (k, k)
        Covariance of the estimates of these: the inverse of the information.
    converged : bool
    """

    beta: Array
    covariance: Array
    residual: Array
    effect_covariance: Array
    criterion: float
    slopes: Array
    spread: Array
    converged: bool
    _model: VisitModel
    _shape: CovarianceShape
    _theta: Array

    def degrees_of_freedom(self, contrasts: Array) -> Array:
        """Satterthwaite's degrees of freedom of linear combinations of the coefficients.

        Parameters
        ----------
        contrasts : ndarray, shape (m, P)

        Returns
        -------
        ndarray, shape (m,)
        """
        variance = np.einsum("mp,pq,mq->m", contrasts, self.covariance, contrasts)
        gradient = np.einsum("mp,kpq,mq->mk", contrasts, self.slopes, contrasts)
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.einsum("mk,kl,ml->m", gradient, self.spread, gradient)
            return np.asarray(2 * variance**2 / spread)

    def kenward_roger(self, contrasts: Array) -> Array:
        """Standard errors that allow for the estimation of the covariances.

        Parameters
        ----------
        contrasts : ndarray, shape (m, P)

        Returns
        -------
        ndarray, shape (m,)
            Their degrees of freedom are Satterthwaite's.
        """
        with threadpool_limits(limits=1, user_api="blas"):
            adjusted = _adjusted(self)
        return np.sqrt(np.einsum("mp,pq,mq->m", contrasts, adjusted, contrasts))


def fit_visits(model: VisitModel, shape: CovarianceShape) -> VisitsFit:
    """Maximise the restricted likelihood.

    Parameters
    ----------
    model : VisitModel
        Its precisions are taken for zero.
    shape : CovarianceShape

    Returns
    -------
    VisitsFit
    """
    flat = VisitModel(model.moments, model.terms, model.effects, np.zeros(len(model.terms)))
    with threadpool_limits(limits=1, user_api="blas"):
        sd = _residual_sds(flat)
        found = min((_search(flat, shape, start) for start in _starts(shape, sd)), key=_value)
        theta, value, converged = _newton(flat, shape, found.x, float(found.fun))
        residual, loading = covariances(shape, theta)
        ends = integrate(flat, residual[None], loading[None])
        covariance = np.linalg.inv(ends.posterior_precision[0])
        moved = _moved(theta)
        pairs = [covariances(shape, each) for each in moved]
        around = np.linalg.inv(
            integrate(
                flat, np.stack([each[0] for each in pairs]), np.stack([each[1] for each in pairs])
            ).posterior_precision
        )
        k = len(theta)
        slopes = (around[:k] - around[k:]) / (2 * DIFFERENCE)
        spread = _inverse(_information(flat, shape, theta))
    return VisitsFit(
        beta=ends.mean[0],
        covariance=covariance,
        residual=residual,
        effect_covariance=loading @ loading.T,
        criterion=2 * value,
        slopes=slopes,
        spread=spread,
        converged=converged,
        _model=flat,
        _shape=shape,
        _theta=theta,
    )


def _value(found: Any) -> float:
    return float(found.fun)


def parameters(shape: CovarianceShape) -> int:
    """How many parameters the covariances have."""
    triangle = shape.correlated * (shape.correlated + 1) // 2
    return shape.groups * (shape.sds + shape.correlations) + triangle + (shape.independent > 0)


def covariances(shape: CovarianceShape, theta: Any) -> tuple[Any, Any]:
    """Residual covariances (A, V, V) and factor of the effects' (Q, Q) at the search's parameters.

    Parameters
    ----------
    shape : CovarianceShape
    theta : ndarray, shape (k,)
        Real or complex.
    """
    A = shape.groups
    ends = np.cumsum([A * shape.sds, A * shape.correlations])
    sd = np.exp(theta[: ends[0]].reshape(A, shape.sds))
    unit = np.exp(theta[: ends[0]].mean())  # the factor is in units of the residuals
    low, high = shape.limits
    share = (1 + np.tanh(theta[ends[0] : ends[1]].reshape(A, shape.correlations))) / 2
    residual = shape.residual(sd, low + (high - low) * share)
    q = shape.correlated + shape.independent
    loading = np.zeros((q, q), dtype=theta.dtype)
    triangle = np.tril_indices(shape.correlated)
    loading[triangle] = unit * theta[ends[1] : ends[1] + len(triangle[0])]
    own = np.arange(shape.correlated, q)
    if len(own):
        loading[own, own] = unit * theta[-1]
    return residual, loading


def _jacobian(shape: CovarianceShape, theta: Array) -> tuple[Array, Array]:
    """Derivatives (k, A, V, V) and (k, Q, Q) of the covariances and the factor, to the last digit.

    By a step along the imaginary axis (Squire & Trapp 1998, doi:10.1137/S003614459631241X).
    """
    found = [covariances(shape, theta + 1j * COMPLEX_STEP * unit) for unit in np.eye(len(theta))]
    return (
        np.stack([residual.imag for residual, _ in found]) / COMPLEX_STEP,
        np.stack([loading.imag for _, loading in found]) / COMPLEX_STEP,
    )


def _criterion(model: VisitModel, shape: CovarianceShape, theta: Array) -> tuple[float, Array]:
    """Minus the restricted log likelihood, and its gradient."""
    residual, loading = covariances(shape, theta)
    try:
        found = integrate(model, residual[None], loading[None])
    except np.linalg.LinAlgError:  # a covariance that is singular to the last digit
        return np.inf, np.zeros_like(theta)
    value = float(found.log_likelihood[0])
    if not np.isfinite(value):
        return np.inf, np.zeros_like(theta)
    by_residual, by_loading = gradients(model, residual[None], loading[None], found)
    d_residual, d_loading = _jacobian(shape, theta)
    slope = np.einsum("kavw,avw->k", d_residual, by_residual[0])
    slope += np.einsum("kqr,qr->k", d_loading, by_loading[0])
    return -value, -slope


def _residual_sds(model: VisitModel) -> Array:
    """SDs (V,) of what least squares, visits and therapists apart, leaves at each visit."""
    moments, p = model.moments, model.moments.columns
    V = moments.visits
    sds = np.empty(V)
    for t in range(V):
        some = moments.seen[:, t]
        S = moments.cross_products[some].sum(axis=0)
        kept = [*range(p), p + t]
        S = S[np.ix_(kept, kept)]
        beta = np.linalg.lstsq(S[:-1, :-1], S[:-1, -1])[0]
        squares = S[-1, -1] - S[:-1, -1] @ beta
        n = moments.patients[some].sum()
        sds[t] = np.sqrt(max(squares / max(1, n), 1e-12 * S[-1, -1] / max(1, n)))
    return sds


def _starts(shape: CovarianceShape, sd: Array) -> list[Array]:
    """Covariances to start from: SDs of least squares, correlations and effects of a few sizes."""
    low, high = shape.limits
    # Of partial correlations only those with the first visit: see `correlation_factor`
    own = np.ones(shape.correlations)
    if shape.structure == "unstructured":
        own = np.array([float(column == 0) for _, column in partial_places(shape.visits)])
    elif shape.structure == "toeplitz":
        own = np.eye(1, shape.correlations)[0]
    sds = np.log(sd) if shape.sd_by_visit else np.log(sd).mean(keepdims=True)
    starts = []
    for correlation, relative in STARTS:
        inside = np.clip(2 * (own * correlation - low) / (high - low) - 1, -0.95, 0.95)
        loading = relative * np.eye(shape.correlated)[np.tril_indices(shape.correlated)]
        last = np.full(int(shape.independent > 0), relative)
        correlations = np.tile(np.arctanh(inside), shape.groups)
        starts.append(np.concatenate([np.tile(sds, shape.groups), correlations, loading, last]))
    return starts


def _search(model: VisitModel, shape: CovarianceShape, start: Array) -> Any:
    return optimize.minimize(
        lambda theta: _criterion(model, shape, theta),
        start,
        jac=True,
        method="BFGS",
        options={"gtol": 1e-5, "maxiter": 500},
    )


def _moved(theta: Array) -> Array:
    steps = DIFFERENCE * np.eye(len(theta))
    return np.concatenate([theta + steps, theta - steps])


def _information(model: VisitModel, shape: CovarianceShape, theta: Array) -> Array:
    """Second derivatives of the criterion, by differences of its gradient."""
    k = len(theta)
    slopes = np.stack([_criterion(model, shape, each)[1] for each in _moved(theta)])
    found = (slopes[:k] - slopes[k:]) / (2 * DIFFERENCE)
    return np.asarray((found + found.T) / 2)


def _newton(
    model: VisitModel, shape: CovarianceShape, theta: Array, value: float
) -> tuple[Array, float, bool]:
    """The last digits."""
    for _ in range(STEPS):
        _, slope = _criterion(model, shape, theta)
        step = -_inverse(_information(model, shape, theta)) @ slope
        if abs(slope @ step) < ENOUGH:
            return theta, value, True
        for share in 0.5 ** np.arange(8):
            new, _ = _criterion(model, shape, theta + share * step)
            if new < value:
                theta, value = theta + share * step, new
                break
        else:
            return theta, value, bool(abs(slope @ step) < 1e-6)
    return theta, value, False


def _inverse(information: Array) -> Array:
    """Inverse among the directions that the criterion bends in."""
    values, vectors = np.linalg.eigh(information)
    bent = values > FLAT * max(float(values[-1]), 0.0)
    return np.asarray((vectors[:, bent] / values[bent]) @ vectors[:, bent].T)


# Kenward and Roger --------------------------------------------------------------------------------


def _elements(fit: VisitsFit) -> list[tuple[int, int, int, float]]:
    """Group (-1 for the effects'), row and column of each element of the covariances, and scale."""
    found = []
    for group, matrix in [*enumerate(fit.residual), (-1, fit.effect_covariance)]:
        sd = np.sqrt(np.diag(matrix))
        if group < 0:
            sd = np.where(_varying(fit.residual, matrix), sd, 0.0)
        for row, column in zip(*np.tril_indices(len(matrix)), strict=True):
            if sd[row] * sd[column] > 0:
                found.append((group, int(row), int(column), float(sd[row] * sd[column])))
    return found


def _varying(residual: Array, spread: Array) -> NDArray[np.bool_]:
    """Which of a therapist's effects vary: an SD that is estimated as zero counts as known."""
    unit = np.sqrt(np.diagonal(residual, axis1=-2, axis2=-1)).max()
    return np.asarray(np.sqrt(np.diag(spread)) > BOUNDARY * unit)


def _classical(shape: CovarianceShape, theta: Any) -> Any:
    """Parameters of Kenward and Roger's adjustment at the search's parameters.

    Unstructured and compound-symmetric covariances with one variance are linear in their elements,
    and are taken by those; others by variances and correlation parameters.
    """
    residual, loading = covariances(shape, theta)
    spread = loading @ loading.T
    linear = shape.structure == "unstructured" or (
        not shape.sd_by_visit and shape.structure in ("compound_symmetry", "toeplitz", "diagonal")
    )
    parts = []
    for group in range(shape.groups):
        matrix = residual[group]
        if linear and not shape.sd_by_visit:
            count = 1 + shape.correlations
            parts.append(matrix[0, :count] if count > 1 else matrix[0, :1])
        elif linear:
            parts.append(matrix[np.tril_indices(len(matrix))])
        else:
            start = shape.groups * shape.sds + group * shape.correlations
            low, high = shape.limits
            share = (1 + np.tanh(theta[start : start + shape.correlations])) / 2
            parts += [np.diag(matrix)[: shape.sds], low + (high - low) * share]
    varying = _varying(residual.real, spread.real)
    some = np.flatnonzero(varying[: shape.correlated])
    parts.append(spread[np.ix_(some, some)][np.tril_indices(len(some))])
    if shape.independent and varying[-1]:
        parts.append(spread[-1:, -1])
    return np.concatenate(parts)


def _adjusted(fit: VisitsFit) -> Array:
    """Adjusted covariance of the coefficients."""
    shape, theta = fit._shape, fit._theta
    elements = _elements(fit)
    dH, d2H = _element_derivatives(fit, elements)
    first, second, turn = _in_classical(shape, theta, elements)
    Phi = fit.covariance
    P = np.einsum("ia,apq->ipq", first, dH)
    # Of -X'V^-1 V_ij V^-1 X = sum_a dH/da d2a: R_ij with its sign
    R = -np.einsum("ija,apq->ijpq", second, dH)
    Q = np.einsum("ia,jb,abpq->ijpq", first, first, d2H) / 2  # symmetric part
    PPP = np.einsum("ipq,qr,jrs->ijps", P, Phi, P)
    # The estimates' covariance is turned as derivatives are: the gradient is zero
    W = np.linalg.pinv(turn).T @ fit.spread @ np.linalg.pinv(turn)
    inner = np.einsum("ij,ijpq->pq", W, Q - PPP - R / 4)
    return np.asarray(Phi + Phi @ (inner + inner.T) @ Phi)


def _element_derivatives(
    fit: VisitsFit, elements: list[tuple[int, int, int, float]]
) -> tuple[Array, Array]:
    """First and second derivatives of X'V^-1 X in the elements of the covariances, (a, ...)."""
    m = len(elements)

    def at(moves: Sequence[Sequence[tuple[int, float]]]) -> Array:
        residual = np.repeat(fit.residual[None], len(moves), axis=0)
        spread = np.repeat(fit.effect_covariance[None], len(moves), axis=0)
        for d, move in enumerate(moves):
            for a, sign in move:
                group, row, column, scale = elements[a]
                matrix = spread[d] if group < 0 else residual[d, group]
                matrix[row, column] += sign * SECOND * scale
                if row != column:
                    matrix[column, row] += sign * SECOND * scale
        return coefficient_information(fit._model, residual, spread)

    step = SECOND * np.array([element[3] for element in elements])[:, None, None]
    up, down = at([[(a, 1.0)] for a in range(m)]), at([[(a, -1.0)] for a in range(m)])
    second = np.zeros((m, m, *up.shape[1:]))
    second[np.arange(m), np.arange(m)] = (up + down - 2 * at([[]])) / step**2
    for a in range(1, m):
        corners = [
            sign * other * at([[(a, sign), (b, other)] for b in range(a)])
            for sign in (1.0, -1.0)
            for other in (1.0, -1.0)
        ]
        second[a, :a] = second[:a, a] = sum(corners) / (4 * step[a] * step[:a])
    return (up - down) / (2 * step), second


def _in_classical(
    shape: CovarianceShape, theta: Array, elements: list[tuple[int, int, int, float]]
) -> tuple[Array, Array, Array]:
    """First (i, a) and second (i, j, a) derivatives of the elements in the classical parameters.

    Of both in the search's parameters, turned by the chain rule.
    """

    def of(theta: Any) -> Any:
        residual, loading = covariances(shape, theta)
        spread = loading @ loading.T
        return np.stack(
            [(spread if g < 0 else residual[g])[row, column] for g, row, column, _ in elements]
        )

    k = len(theta)
    units = np.eye(k)

    def slopes(function: Any, at: Array) -> Array:
        return np.stack(
            [function(at + 1j * COMPLEX_STEP * unit).imag / COMPLEX_STEP for unit in units]
        )

    def bends(function: Any) -> Array:
        h = 1e-5
        return np.stack(
            [(slopes(function, theta + h * u) - slopes(function, theta - h * u)) / (2 * h)
             for u in units]
        )  # fmt: skip

    def classical(theta: Any) -> Any:
        return _classical(shape, theta)

    turn = np.linalg.pinv(slopes(classical, theta))  # of the search's in the classical ones
    first = turn @ slopes(of, theta)
    own = bends(of) - np.einsum("klc,ca->kla", bends(classical), first)
    second = np.einsum("ik,jl,kla->ija", turn, turn, own)
    return first, second, turn
