"""Outcomes over time with coefficients and therapist effects integrated out, in NumPy.

With Omega_g the inverse of Sigma's rows and columns of the visits that group g has (zero
elsewhere), *enlarged* by its sums over visits as a last row and column, so that a term that is
alike at all visits is one at visit V; LL' the covariance of a therapist's effects; and
[.]_g[a, b] the cross-product of columns a and b in group g (`models.visits.moments`):

    A_j[e, f] = sum_g Omega_g[v_e, v_f] [c_e, c_f]_gj         effects with effects
    C_j[e, k] = sum_g Omega_g[v_e, v_k] [c_e, c_k]_gj         effects with coefficients
    t_j[e]    = sum_g sum_t Omega_g[v_e, t] [c_e, y_t]_gj     effects with scores
    M_j = I + L'A_j L,    D_j = L M_j^-1 L'
    P = K + sum_g Omega_g[v_k, v_l] [c_k, c_l]_g - sum_j C_j'D_j C_j
    r = sum_g sum_t Omega_g[v_k, t] [c_k, y_t]_g - sum_j C_j'D_j t_j
    s = sum_g sum_st Omega_g[s, t] [y_s, y_t]_g - sum_j t_j'D_j t_j

    log p = -1/2 { sum_g n_g log|Sigma_g| + sum_j log|M_j| + log|P| - log|K|
                   + s - r'P^-1 r + N log(2 pi) }

for coefficients with the prior N(0, K^-1). With K = 0, log|K| left out and N - P in the place of N,
it is the logarithm of the restricted likelihood (Harville 1974, doi:10.1093/biomet/61.2.383).
Given the covariances the coefficients are normal with mean P^-1 r and covariance P^-1, and a
therapist's effects given the coefficients with mean D_j (t_j - C_j beta) and covariance D_j
(Lindley & Smith 1972, doi:10.1111/j.2517-6161.1972.tb00885.x).

The gradient is the expectation, over what is integrated out, of that of the complete likelihood.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alliance.models.gaussian.gaussian_draws import BLOCK_NUMBERS
from alliance.models.gaussian.marginal import LOG_2_PI
from alliance.models.visits.moments import Terms, VisitMoments

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class VisitModel:
    """Data and terms of a model of visits; covariances are its arguments.

    Attributes
    ----------
    moments : VisitMoments
    terms : Terms
        P coefficients.
    effects : Terms
        Q effects of each therapist; their columns are among ``moments.varying``.
    precision : ndarray, shape (P,)
        Of the coefficients' priors; all zero for the restricted likelihood.
    """

    moments: VisitMoments
    terms: Terms
    effects: Terms
    precision: Array


@dataclass(frozen=True, eq=False, slots=True)
class Integrated:
    """The likelihood at d values of the covariances, and what it leaves of the integrals.

    Attributes
    ----------
    log_likelihood : ndarray, shape (d,)
    mean : ndarray, shape (d, P)
        Of the coefficients.
    posterior_precision : ndarray, shape (d, P, P)
    omega : ndarray, shape (d, G, V + 1, V + 1)
    A, C, t : ndarray, shape (d, J, Q, Q), (d, J, Q, P) and (d, J, Q)
    inverse : ndarray, shape (d, J, Q, Q)
        M_j^-1.
    """

    log_likelihood: Array
    mean: Array
    posterior_precision: Array
    omega: Array
    A: Array
    C: Array
    t: Array
    inverse: Array


def integrate(model: VisitModel, residual: Array, loading: Array) -> Integrated:
    """Integrate coefficients and therapist effects out.

    Parameters
    ----------
    model : VisitModel
    residual : ndarray, shape (d, A, V, V)
        Covariances of the residuals, by residual group.
    loading : ndarray, shape (d, Q, Q)
        Lower factor of the covariance of a therapist's effects.

    Returns
    -------
    Integrated
    """
    moments, terms = model.moments, model.terms
    omega, determinants = _precisions(moments, residual)
    d, p, V = len(residual), moments.columns, moments.visits
    precision = np.zeros((d, len(terms), len(terms))) + np.diag(model.precision)
    sums, squares = np.zeros((d, len(terms))), np.zeros(d)
    products, with_scores = _over_groups(moments, omega)
    precision += _at(products, terms)
    sums += with_scores[:, terms.visit, terms.column]
    squares += omega[:, :, :V, :V].reshape(d, -1) @ moments.cross_products[:, p:, p:].reshape(-1)
    A, C, t = _of_therapists(model, omega)
    L = loading[:, None]
    M = np.eye(A.shape[-1]) + np.swapaxes(L, -1, -2) @ A @ L
    inverse = np.linalg.inv(M)
    if len(model.effects):
        determinants = determinants + np.linalg.slogdet(M)[1].sum(axis=1)
        D = L @ inverse @ np.swapaxes(L, -1, -2)
        DC, Dt = D @ C, (D @ t[..., None])[..., 0]
        long = (d, -1, len(terms))
        precision -= np.swapaxes(C.reshape(long), -1, -2) @ DC.reshape(long)
        sums -= np.einsum("djqp,djq->dp", C, Dt)
        squares -= np.einsum("djq,djq->d", t, Dt)
    precision = (precision + np.swapaxes(precision, -1, -2)) / 2
    mean = np.linalg.solve(precision, sums[..., None])[..., 0]
    proper = model.precision[model.precision > 0]
    spare = moments.scores - (len(terms) - len(proper))
    total = (
        determinants
        + np.linalg.slogdet(precision)[1]
        - np.log(proper).sum()
        + squares
        - np.einsum("dp,dp->d", sums, mean)
        + spare * LOG_2_PI
    )
    return Integrated(-total / 2, mean, precision, omega, A, C, t, inverse)


def _precisions(moments: VisitMoments, residual: Array) -> tuple[Array, Array]:
    """Enlarged precisions (d, G, V + 1, V + 1), and sum of n_g log|Sigma_g|, (d,)."""
    V = moments.visits
    omega = np.zeros((len(residual), len(moments.seen), V + 1, V + 1))
    determinants = np.zeros(len(residual))
    for g, seen in enumerate(moments.seen):
        places = np.flatnonzero(seen)
        own = residual[:, moments.residual_group[g]][:, places[:, None], places]
        determinants += moments.patients[g] * np.linalg.slogdet(own)[1]
        omega[:, g, places[:, None], places] = np.linalg.inv(own)
    omega[:, :, V, :V] = omega[:, :, :V, :V].sum(axis=2)
    omega[:, :, :, V] = omega[:, :, :, :V].sum(axis=3)
    return omega, determinants


def _over_groups(moments: VisitMoments, omega: Array) -> tuple[Array, Array]:
    """Weighed products of columns, and of columns with scores, summed over groups.

    Returns
    -------
    ndarray, shape (d, (V + 1) (V + 2) / 2, p (p + 1) / 2)
        Of columns at pairs of visits, V for all of them; lower triangles, row by row.
    ndarray, shape (d, V + 1, p)
    """
    d, p, V = len(omega), moments.columns, moments.visits
    S = moments.cross_products
    visits, columns = np.tril_indices(V + 1), np.tril_indices(p)
    weights = np.swapaxes(omega[:, :, *visits], -1, -2)
    rows = np.moveaxis(omega[..., :V], 1, 2).reshape(d, V + 1, -1)
    return weights @ S[:, *columns], rows @ S[:, p:, :p].reshape(-1, p)


def _at(products: Array, terms: Terms) -> Array:
    """Products (d, P, P) of the terms, from those of columns at pairs of visits."""

    def packed(places: NDArray[np.int64]) -> NDArray[np.int64]:
        high, low = np.maximum(places[:, None], places), np.minimum(places[:, None], places)
        return np.asarray(high * (high + 1) // 2 + low)

    return np.asarray(products[:, packed(terms.visit), packed(terms.column)])


def coefficient_information(model: VisitModel, residual: Array, spread: Array) -> Array:
    """What the scores tell of the coefficients: X'V^-1 X, V being the covariance of all scores.

    Parameters
    ----------
    model : VisitModel
    residual : ndarray, shape (d, A, V, V)
    spread : ndarray, shape (d, Q, Q)
        Covariance of a therapist's effects; symmetric, and of any signs.

    Returns
    -------
    ndarray, shape (d, P, P)
    """
    moments, terms = model.moments, model.terms
    omega, _ = _precisions(moments, residual)
    information = _at(_over_groups(moments, omega)[0], terms)
    if len(model.effects):
        A, C, _ = _of_therapists(model, omega)
        D = spread[:, None] @ np.linalg.inv(np.eye(A.shape[-1]) + A @ spread[:, None])
        information -= (np.swapaxes(C, -1, -2) @ D @ C).sum(axis=1)
    return information


def _of_therapists(model: VisitModel, omega: Array) -> tuple[Array, Array, Array]:
    """A, C and t of every therapist."""
    moments, terms, effects = model.moments, model.terms, model.effects
    d, p, V = len(omega), moments.columns, moments.visits
    J, Q = (moments.therapists if len(effects) else 0), len(effects)
    A, C, t = np.zeros((d, J, Q, Q)), np.zeros((d, J, Q, len(terms))), np.zeros((d, J, Q))
    if not Q:
        return A, C, t
    # One matrix product over groups for each pair of an effect and a term
    row = np.searchsorted(moments.varying, effects.column)
    products = np.zeros((len(moments.seen), J, Q, p + V))
    products[moments.pair_group, moments.pair_therapist] = moments.pair_products[:, row]
    scores = np.swapaxes(products[..., p:], 1, -1)  # (G, V, Q, J)
    for e, visit in enumerate(effects.visit):
        own = omega[:, :, visit]
        for f in range(Q):
            A[:, :, e, f] = own[:, :, effects.visit[f]] @ products[:, :, e, effects.column[f]]
        for k in range(len(terms)):
            C[:, :, e, k] = own[:, :, terms.visit[k]] @ products[:, :, e, terms.column[k]]
        t[:, :, e] = own[..., :V].reshape(d, -1) @ scores[:, :, e].reshape(-1, J)
    return A, C, t


def gradients(
    model: VisitModel, residual: Array, loading: Array, found: Integrated
) -> tuple[Array, Array]:
    """Derivatives of the log likelihood in the covariances.

    Parameters
    ----------
    model : VisitModel
    residual, loading : ndarray
        As given to `integrate`.
    found : Integrated
        Of these.

    Returns
    -------
    ndarray, shape (d, A, V, V)
        In the residuals' covariances, each element by itself; symmetric.
    ndarray, shape (d, Q, Q)
        In the lower triangle of the factor.
    """
    moments, terms, effects = model.moments, model.terms, model.effects
    p, V = moments.columns, moments.visits
    covariance = np.linalg.inv(found.posterior_precision)
    beta = found.mean
    second = covariance + beta[:, :, None] * beta[:, None, :]
    at_visit = np.eye(V + 1)[terms.visit]
    by_omega = np.zeros_like(found.omega)
    for g, S in enumerate(moments.cross_products):
        products = second * S[np.ix_(terms.column, terms.column)]
        by_omega[:, g] -= 0.5 * at_visit.T @ products @ at_visit
        by_omega[:, g, :, :V] += at_visit.T @ (beta[..., None] * S[terms.column, p:])
        by_omega[:, g, :V, :V] -= 0.5 * S[p:, p:]
    by_loading = np.zeros_like(loading)
    if len(effects):
        L = loading[:, None]
        G = found.inverse @ np.swapaxes(L, -1, -2)
        GC = G @ found.C
        w = (G @ (found.t[..., None] - found.C @ beta[:, None, :, None]))[..., 0]
        wB = w[..., :, None] * beta[:, None, None, :] - GC @ covariance[:, None]
        ww = found.inverse + w[..., :, None] * w[..., None, :]
        ww = ww + GC @ covariance[:, None] @ np.swapaxes(GC, -1, -2)
        by_loading = np.tril(
            (found.t[..., :, None] * w[..., None, :]).sum(axis=1)
            - (found.C @ np.swapaxes(wB, -1, -2)).sum(axis=1)
            - (found.A @ L @ ww).sum(axis=1)
        )
        u, uB, uu = (L @ w[..., None])[..., 0], L @ wB, L @ ww @ np.swapaxes(L, -1, -2)
        row = np.searchsorted(moments.varying, effects.column)
        effect_at = np.eye(V + 1)[effects.visit]
        for g in np.unique(moments.pair_group):
            pairs = np.flatnonzero(moments.pair_group == g)
            j = moments.pair_therapist[pairs]
            products = moments.pair_products[pairs][:, row]
            own = (uu[:, j] * products[:, :, effects.column]).sum(axis=1)
            both = (uB[:, j] * products[:, :, terms.column]).sum(axis=1)
            scores = (u[:, j, :, None] * products[:, :, p:]).sum(axis=1)
            by_omega[:, g] -= effect_at.T @ (0.5 * own @ effect_at + both @ at_visit)
            by_omega[:, g, :, :V] += effect_at.T @ scores
    return _by_residual(moments, residual, found.omega, by_omega), by_loading


def _by_residual(moments: VisitMoments, residual: Array, omega: Array, by_omega: Array) -> Array:
    """From derivatives in enlarged precisions to those in covariances."""
    V = moments.visits
    turned = (by_omega + np.swapaxes(by_omega, -1, -2)) / 2
    inner = turned[..., :V, :V] + turned[..., :V, V:] + turned[..., V:, :V] + turned[..., V:, V:]
    found = np.zeros_like(residual)
    for g, group in enumerate(moments.residual_group):
        own = omega[:, g, :V, :V]
        found[:, group] -= 0.5 * moments.patients[g] * own + own @ inner[:, g] @ own
    return found


def draw_effects(
    model: VisitModel, residual: Array, loading: Array, generator: np.random.Generator
) -> tuple[Array, Array]:
    """Draw coefficients and every therapist's effects given the covariances.

    Parameters
    ----------
    model : VisitModel
    residual : ndarray, shape (d, A, V, V)
    loading : ndarray, shape (d, Q, Q)
    generator : numpy.random.Generator

    Returns
    -------
    ndarray, shape (d, P)
        Coefficients.
    ndarray, shape (d, J, Q)
        Effects; a therapist without patients is drawn from the population.
    """
    moments, P, Q = model.moments, len(model.terms), len(model.effects)
    J = moments.therapists if Q else 0
    beta, drawn = np.empty((len(residual), P)), np.empty((len(residual), J, Q))
    for some in blocks(model, len(residual)):
        found = integrate(model, residual[some], loading[some])
        factor = np.linalg.cholesky(found.posterior_precision)
        standard = generator.standard_normal((len(factor), P, 1))
        beta[some] = found.mean + np.linalg.solve(np.swapaxes(factor, -1, -2), standard)[..., 0]
        if not Q:
            continue
        L = loading[some, None]
        left = found.t[..., None] - found.C @ beta[some, None, :, None]
        mean = found.inverse @ np.swapaxes(L, -1, -2) @ left
        spread = np.linalg.cholesky(found.inverse)
        noise = spread @ generator.standard_normal(mean.shape)
        drawn[some] = (L @ (mean + noise))[..., 0]
    return beta, drawn


def blocks(model: VisitModel, draws: int) -> Iterator[slice]:
    """Parts of so many draws whose arrays are not too large.

    Parameters
    ----------
    model : VisitModel
    draws : int
    """
    moments, P, Q = model.moments, len(model.terms), len(model.effects)
    numbers = (
        P**2 + len(moments.seen) * (moments.visits + 1) ** 2 + moments.therapists * Q * (P + Q)
    )
    block = max(1, BLOCK_NUMBERS // max(1, numbers))
    for start in range(0, draws, block):
        yield slice(start, min(draws, start + block))
