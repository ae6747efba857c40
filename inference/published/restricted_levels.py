"""Restricted maximum likelihood with effects of clinics above those of therapists.

The criterion is that of `inference.published.restricted_likelihood`, whose V has clinics too; its
cross-products come from `models.gaussian.clinic_draws`, for many values of the variances at once,
so that gradients are differences of one batch. Factors of both covariances may have any sign: a
variance of zero is a point like others. Residual SDs of groups of arms are searched for along with
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from alliance.models.design.design import Design
from alliance.models.gaussian.clinic_draws import eliminated

Array = NDArray[np.float64]

STEP = 1e-4  # of differences, in residual SDs
STARTS = (0.05, 0.3, 0.8)  # SDs of effects over the residual SD
LARGEST = 50.0  # SD of an effect in residual SDs, and log of a ratio of residual SDs 6
LARGEST_LOG = 6.0
FLAT = 1e-6  # curvature over the largest below which a direction has no information


@dataclass(frozen=True, eq=False, slots=True)
class LevelsFit:
    """Estimates of a model with two levels of effects.

    Attributes
    ----------
    beta, covariance : ndarray, shape (p,) and (p, p)
    therapist_covariance, clinic_covariance : ndarray, shape (q, q) and (k, k)
    residual_sds : ndarray, shape (G,)
    criterion : float
        Minus twice the restricted log likelihood, up to a constant.
    slopes : ndarray, shape (m, p, p)
        Derivatives of `covariance` by the parameters of the variances.
    information : ndarray, shape (m, m)
        Second derivatives of `criterion` by them.
    """

    beta: Array
    covariance: Array
    therapist_covariance: Array
    clinic_covariance: Array
    residual_sds: Array
    criterion: float
    slopes: Array
    information: Array

    def degrees_of_freedom(self, contrasts: Array) -> Array:
        """Satterthwaite's, of linear combinations of the coefficients, shape (m,).

        Parameters
        ----------
        contrasts : ndarray, shape (m, p)
        """
        variance = np.einsum("mp,pq,mq->m", contrasts, self.covariance, contrasts)
        slopes = np.einsum("mp,kpq,mq->mk", contrasts, self.slopes, contrasts)
        values, vectors = np.linalg.eigh(self.information)
        bent = values > FLAT * max(values[-1], 0.0)
        # Of estimates by least -2 log L the covariance is twice the inverse of its curvature
        inverse = 2 * (vectors[:, bent] / values[bent]) @ vectors[:, bent].T
        spread = np.einsum("mk,kl,ml->m", slopes, inverse, slopes)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(2 * variance**2 / spread)


class LevelsLikelihood:
    """The restricted likelihood of a design with clinics' effects.

    Parameters
    ----------
    design : Design
        Gaussian, with patients' rows; its outcome may be residuals.
    """

    def __init__(self, design: Design) -> None:
        self._design = design
        kept = [*design.present, len(design.coefficients)]
        self._kept = np.ix_(kept, kept)
        self._totals = np.stack([each.cross_products.sum(axis=0) for each in design.group_moments])
        self._counts = np.array([each.n for each in design.group_moments])
        self._n, self._p = int(self._counts.sum()), len(kept) - 1
        q, k = len(design.effects), len(design.clinic_effects)
        self._triangles = np.tril_indices(q), np.tril_indices(k)
        self._q, self._k = q, k

    @cached_property
    def size(self) -> int:
        """Number of parameters: elements of both factors, and logs of ratios of residual SDs."""
        return sum(len(rows) for rows, _ in self._triangles) + len(self._counts) - 1

    def _factors(self, at: Array) -> tuple[Array, Array, Array]:
        """Both factors over the residual SD, and logs of residual SDs over the first group's."""
        found, start = [], 0
        for size, triangle in zip((self._q, self._k), self._triangles, strict=True):
            factor = np.zeros((len(at), size, size))
            stop = start + len(triangle[0])
            factor[:, triangle[0], triangle[1]] = at[:, start:stop]
            found.append(factor)
            start = stop
        logs = np.column_stack([np.zeros(len(at)), at[:, start:]])
        return found[0], found[1], logs

    def _products(self, at: Array) -> tuple[Array, Array]:
        """Cross-products with V^-1 in units of the first residual variance, and log|V| so."""
        *factors, logs = self._factors(at)
        shares = np.exp(-2 * logs)
        products = np.einsum("dg,gpq->dpq", shares, self._totals)
        determinant = 2 * logs @ self._counts
        P, C = (
            [
                [factor[:, a, b, None] if b <= a else 0.0 for b in range(factor.shape[1])]
                for a in range(factor.shape[1])
            ]
            for factor in factors
        )
        for part in eliminated(self._design, (P, C), np.ones(len(at)), shares, None):
            products = products - part.explained
            determinant = determinant + part.log_determinant
        rows, columns = self._kept
        return products[:, rows, columns], determinant

    def held(self, at: Array, log_variance: Array) -> tuple[Array, Array, Array]:
        """Criterion (d,), coefficients (d, p) and X'V^-1 X in units of the residual variance.

        Parameters
        ----------
        at : ndarray, shape (d, m)
        log_variance : ndarray, shape (d,)
            Of the first group's residual variance; missing for the best one.
        """
        products, determinant = self._products(at)
        p, spare = self._p, self._n - self._p
        precision = products[:, :p, :p]
        beta = np.linalg.solve(precision, products[:, :p, p:])[..., 0]
        squares = products[:, p, p] - np.einsum("dp,dp->d", products[:, :p, p], beta)
        best = np.log(np.maximum(squares, np.finfo(float).tiny) / spare)
        s = np.where(np.isnan(log_variance), best, log_variance)
        _, of_columns = np.linalg.slogdet(precision)
        return determinant + of_columns + spare * s + squares / np.exp(s), beta, precision

    def criterion(self, at: Array) -> Array:
        """At the best residual variance, shape (d,)."""
        return self.held(at, np.full(len(at), np.nan))[0]

    def maximise(self) -> LevelsFit:
        """The estimates: searches from several starts, and differences at the best."""
        of_logs = len(self._counts) - 1
        bounds = [(-LARGEST, LARGEST)] * (self.size - of_logs)
        bounds += [(-LARGEST_LOG, LARGEST_LOG)] * of_logs
        found = [
            optimize.minimize(
                self._with_gradient,
                self._start(own, above),
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
                options={"ftol": 1e-13, "gtol": 1e-6, "maxiter": 300},
            )
            for own in STARTS
            for above in STARTS
        ]
        best = min(found, key=lambda each: float(each.fun)).x
        return self._fit(self._newton(np.asarray(best)))

    def _start(self, own: float, above: float) -> Array:
        at = np.zeros(self.size)
        place = 0
        for sd, (rows, columns) in zip((own, above), self._triangles, strict=True):
            at[place : place + len(rows)] = np.where(rows == columns, sd, 0.0)
            place += len(rows)
        return at

    def _with_gradient(self, x: Array) -> tuple[float, Array]:
        steps = STEP * np.eye(len(x))
        found = self.criterion(np.concatenate([x[None], x + steps, x - steps]))
        return float(found[0]), (found[1 : 1 + len(x)] - found[1 + len(x) :]) / (2 * STEP)

    def _newton(self, x: Array) -> Array:
        """The last digits, in the directions that the criterion bends in."""
        for _ in range(10):
            value, gradient = self._with_gradient(x)
            values, vectors = np.linalg.eigh(self._bend(x, np.nan)[:-1, :-1])
            bent = values > FLAT * max(values[-1], 0.0)
            step = -(vectors[:, bent] / values[bent]) @ (vectors[:, bent].T @ gradient)
            if not self.criterion((x + step)[None])[0] < value:
                return x
            x = x + step
        return x

    def _bend(self, x: Array, log_variance: float) -> Array:
        """Second derivatives of the criterion, that of the log residual variance last."""
        size, step = len(x) + 1, 10 * STEP
        whole = np.append(x, log_variance)
        rows, columns = np.tril_indices(size)
        shifts = [
            step * (a * np.eye(size)[i] + b * np.eye(size)[j])
            for i, j in zip(rows, columns, strict=True)
            for a in (1, -1)
            for b in (1, -1)
        ]
        at = whole + np.array(shifts)
        value = self.held(at[:, :-1], at[:, -1])[0].reshape(-1, 4) @ np.array([1, -1, -1, 1])
        bend = np.zeros((size, size))
        bend[rows, columns] = value / (4 * step**2)
        return bend + np.tril(bend, -1).T

    def _fit(self, x: Array) -> LevelsFit:
        nothing = np.full(1, np.nan)
        criterion, beta, precision = self.held(x[None], nothing)
        products, _ = self._products(x[None])
        p = self._p
        squares = float(products[0, p, p] - products[0, :p, p] @ beta[0])
        variance = squares / (self._n - p)
        covariance = variance * np.linalg.inv(precision[0])
        steps = STEP * np.eye(len(x))
        _, _, moved = self.held(np.concatenate([x + steps, x - steps]), np.full(2 * len(x), 0.0))
        inverse = variance * np.linalg.inv(moved)
        slopes = (inverse[: len(x)] - inverse[len(x) :]) / (2 * STEP)
        P, C, logs = self._factors(x[None])
        return LevelsFit(
            beta=beta[0],
            covariance=(covariance + covariance.T) / 2,
            therapist_covariance=variance * P[0] @ P[0].T,
            clinic_covariance=variance * C[0] @ C[0].T,
            residual_sds=np.sqrt(variance) * np.exp(logs[0]),
            criterion=float(criterion[0]),
            slopes=np.concatenate([slopes, covariance[None]]),
            information=self._bend(x, float(np.log(variance))),
        )
