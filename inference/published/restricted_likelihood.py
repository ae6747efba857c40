"""Restricted maximum likelihood of a linear mixed model, from cross-products within clusters.

Scores y of cluster j are X_j beta + Z_j b_j + e, where Z are some columns of X, b_j has covariance
s^2 S and e the variance s^2. With W_j = I + Z_j S Z_j' and s^2 at its best value, minus twice the
logarithm of the restricted likelihood is

    sum_j log|W_j| + log|X'W^-1 X| + (n - p) (1 + log(2 pi r^2 / (n - p))),

r^2 being the weighted residual sum of squares: lme4's criterion (Bates, Maechler, Bolker & Walker
2015, doi:10.18637/jss.v067.i01), of which theta here is the same: the lower triangle of a factor L
with LL' = S and a diagonal that is not negative. Nothing but [X, y]'[X, y] of each cluster enters.

The derivative in the covariance itself, a symmetric matrix G, is there on the boundary too. S is a
minimum to first order among covariances if and only if G S = 0 and no eigenvalue of G is negative:
a search that has stopped anywhere else is sent on along that eigenvector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy import optimize
from threadpoolctl import threadpool_limits

from alliance.data_prep.moments import Moments

Array = NDArray[np.float64]

RELATIVE_SDS = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0)  # of the effects over the residual SD, to start from
CORRELATIONS = (-1.0, -0.5, 0.0, 0.5, 1.0)
SEARCHES = 8  # local searches, from the best of those starts
LARGEST_SD = 1e4  # of an effect over the residual SD: beyond it no digit of a residual is left
DOWNHILL = 1e-7  # times n: a more negative eigenvalue of G is a way down from a boundary
SAME = 1e-8  # criteria that differ by less are the same: a smaller covariance then stands for both
STEPS = 20  # of Newton's method at the end
DIFFERENCE = 1e-5  # step of the differences of gradients, in units of one
FLAT = 1e-7  # eigenvalue of the information over the largest: what the data do not speak of


@dataclass(frozen=True, eq=False, slots=True)
class RestrictedFit:
    """Estimates of one linear mixed model.

    Attributes
    ----------
    beta, covariance : ndarray, shape (p,) and (p, p)
        Coefficients and their covariance s^2 (X'W^-1 X)^-1, that of generalised least squares.
    effect_covariance : ndarray, shape (q, q)
        Of the effects that vary between clusters.
    residual_variance : float
    criterion : float
        Minus twice the logarithm of the restricted likelihood.
    rank : int
        Of `effect_covariance`; below q the estimate is on the boundary: singular.
    identified : bool
        Whether the data tell the variances apart.
    slopes : ndarray, shape (k, p, p)
        Derivatives of `covariance` in the k free parameters of the variances.
    information : ndarray, shape (k, k)
        Second derivatives of half the criterion in them.
    root : ndarray, shape (q, rank)
        F, with FF' the effects' covariance over the residual variance.
    """

    beta: Array
    covariance: Array
    effect_covariance: Array
    residual_variance: float
    criterion: float
    rank: int
    identified: bool
    slopes: Array
    information: Array
    root: Array

    @property
    def relative(self) -> Array:
        """The effects' covariance over the residual variance, shape (q, q)."""
        return np.asarray(self.root @ self.root.T)

    def degrees_of_freedom(self, contrasts: Array) -> Array:
        """Satterthwaite's degrees of freedom of linear combinations of the coefficients.

        Twice the square of the combination's variance over the variance of that variance, which is
        of the delta method with the inverse of the observed information (Kuznetsova, Brockhoff &
        Christensen 2017, doi:10.18637/jss.v082.i13). On the boundary the derivatives are those
        along covariances of the same rank: what is estimated as zero is taken for known.

        Parameters
        ----------
        contrasts : ndarray, shape (m, p)

        Returns
        -------
        ndarray, shape (m,)
            NaN for a combination without variance.
        """
        variance = np.einsum("mp,pq,mq->m", contrasts, self.covariance, contrasts)
        gradient = np.einsum("mp,kpq,mq->mk", contrasts, self.slopes, contrasts)
        spread = np.einsum("mk,kl,ml->m", gradient, _inverse(self.information), gradient)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(2 * variance**2 / spread)


@dataclass(frozen=True, eq=False, slots=True)
class _Point:
    """The criterion and what goes with it at one covariance of the effects."""

    criterion: float
    slope: Array  # G: derivative of the criterion in S
    beta: Array
    residual_variance: float
    precision: Array  # X'W^-1 X
    on_columns: Array  # Z_j'W_j^-1 X_j
    on_residuals: Array  # Z_j'W_j^-1 (y_j - X_j beta)
    of_determinants: Array  # derivative of log|W| + log|X'W^-1 X| in S


class RestrictedLikelihood:
    """The criterion of a model, as a function of the effects' covariance over the residual's.

    Parameters
    ----------
    moments : Moments
        Cross-products of X and y within clusters. The fewer digits X leaves of y the better: the
        residuals of ordinary least squares in the place of y change nothing but beta.
    columns : sequence of int
        Columns of X whose coefficients vary between clusters.
    clusters : int, optional
        The first so many have such effects, and those after them none; by default all have.
    """

    def __init__(
        self, moments: Moments, columns: Sequence[int], clusters: int | None = None
    ) -> None:
        self.n, self.p, self.q = moments.n, len(moments.XtX), len(columns)
        self._ZtZ = moments.ZtZ(columns)[:clusters]
        ZtW = np.concatenate([moments.ZtX(columns), moments.Zty(columns)[..., None]], axis=2)
        self._ZtW = ZtW[:clusters]
        self._WtW = moments.cross_products.sum(axis=0)
        # Effects of one unit each: their columns have a mean square of one.
        squares = np.einsum("jqq->q", self._ZtZ)
        self.unit = np.sqrt(self.n / squares)

    def at(self, S: Array) -> _Point:
        """The criterion at one covariance of the effects, relative to the residual variance.

        Parameters
        ----------
        S : ndarray, shape (q, q)
            Symmetric and without negative eigenvalues.
        """
        inner = np.eye(self.q) + self._ZtZ @ S
        solved = np.linalg.solve(inner, np.concatenate([self._ZtZ, self._ZtW], axis=2))
        weighted, half = solved[..., : self.q], solved[..., self.q :]
        # Sums over clusters as products of long matrices: there may be thousands of clusters
        products = self._WtW - _long(self._ZtW).T @ _long(S @ half)
        precision, Xty = (products[:-1, :-1] + products[:-1, :-1].T) / 2, products[:-1, -1]
        beta = np.linalg.solve(precision, Xty)
        squares = float(products[-1, -1] - Xty @ beta)
        spare = self.n - self.p
        variance = squares / spare
        sign, log_determinant = np.linalg.slogdet(precision)
        if sign <= 0 or squares <= 0:  # rounding has left nothing
            criterion = np.inf
        else:
            criterion = (
                float(np.linalg.slogdet(inner)[1].sum())
                + float(log_determinant)
                + spare * (1 + float(np.log(2 * np.pi * variance)))
            )
        H = half[..., :-1]
        u = half[..., -1] - H @ beta
        explained = (H @ np.linalg.inv(precision)).transpose(1, 0, 2).reshape(self.q, -1)
        K = weighted.sum(axis=0) - explained @ H.transpose(1, 0, 2).reshape(self.q, -1).T
        K = (K + K.T) / 2
        slope = K - u.T @ u / variance
        return _Point(criterion, slope, beta, variance, precision, H, u, K)

    def maximise(self) -> RestrictedFit:
        """The estimates: the best of several local searches, from the inside and the boundary.

        Returns
        -------
        RestrictedFit
        """
        # Threads cost small matrices more than they gain, and could move the last digits
        with threadpool_limits(limits=1, user_api="blas"):
            starts = sorted(self._starts(), key=self._criterion)[:SEARCHES]
            best = min((self._search(S) for S in starts), key=self._criterion)
            return self._fit(self._newton(self._least_rank(best)))

    def _criterion(self, S: Array) -> float:
        return self.at(S).criterion

    def maximise_from(self, S: Array) -> RestrictedFit:
        """The estimates that one search from this covariance ends at.

        Parameters
        ----------
        S : ndarray, shape (q, q)
            Of the effects, over the residual variance.
        """
        with threadpool_limits(limits=1, user_api="blas"):
            return self._fit(self._newton(self._least_rank(self._search(S))))

    def held_criterion(self, F: Array, variance: float) -> float:
        """The criterion at a residual variance that need not be the best, up to a constant.

        Parameters
        ----------
        F : ndarray, shape (q, r)
            Factor of the effects' covariance over the residual variance.
        variance : float
        """
        point, spare = self.at(F @ F.T), self.n - self.p
        best = point.residual_variance
        return point.criterion + spare * (np.log(variance / best) + best / variance - 1)

    def gradient_at(self, F: Array, log_variance: float) -> Array:
        """Derivatives of half of `held_criterion` in F, in units of its rows, and in the logarithm
        of the residual variance.
        """
        return self._gradient(F, log_variance)

    def _starts(self) -> list[Array]:
        """Covariances over the whole range, among them singular ones."""
        found = []
        for sds in product(RELATIVE_SDS, repeat=self.q):
            some = sum(sd > 0 for sd in sds) > 1
            for r in CORRELATIONS if some else (0.0,):
                # Alike for all pairs of effects, and so not below -1 / (q - 1)
                r = max(r, -1 / (self.q - 1)) if some else 0.0
                matrix = np.full((self.q, self.q), r) + (1 - r) * np.eye(self.q)
                D = self.unit * np.array(sds)
                found.append(matrix * (D[:, None] * D))
        return found

    def _search(self, S: Array) -> Array:
        """A minimum to first order among all covariances, from one of them."""
        while True:
            S = self._descend(S)
            point = self.at(S)
            scaled = point.slope * (self.unit[:, None] * self.unit)
            values, vectors = np.linalg.eigh(scaled)
            if not values[0] < -DOWNHILL * self.n:
                return S
            away = np.outer(vectors[:, 0], vectors[:, 0]) * (self.unit[:, None] * self.unit)
            for step in 10.0 ** -np.arange(0, 12):
                if self._criterion(S + step * away) < point.criterion - SAME:
                    S = S + step * away
                    break
            else:
                return S

    def _descend(self, S: Array) -> Array:
        """L-BFGS-B in theta, the lower triangle of the factor, within its box."""
        triangle = np.tril_indices(self.q)
        diagonal = triangle[0] == triangle[1]
        unit = self.unit[triangle[0]]

        def factor(theta: Array) -> Array:
            L = np.zeros((self.q, self.q))
            L[triangle] = theta * unit
            return L

        def criterion(theta: Array) -> tuple[float, Array]:
            L = factor(theta)
            point = self.at(L @ L.T)
            return point.criterion, (2 * point.slope @ L)[triangle] * unit

        found = optimize.minimize(
            criterion,
            _triangular(S)[triangle] / unit,
            jac=True,
            method="L-BFGS-B",
            bounds=[(0.0 if own else -LARGEST_SD, LARGEST_SD) for own in diagonal],
            options={"ftol": 1e-15, "gtol": 1e-9 * self.n, "maxiter": 500},
        )
        L = factor(found.x)
        return np.asarray(L @ L.T)

    def _least_rank(self, S: Array) -> Array:
        """A factor F, shape (q, r), of the covariance of least rank with the same criterion."""
        scale = self.unit[:, None] * self.unit
        values, vectors = np.linalg.eigh(S / scale)
        at_most = self._criterion(S) + SAME
        for rank in range(self.q + 1):
            kept = slice(self.q - rank, None)
            root = np.sqrt(values[kept].clip(min=0))
            F = np.asarray(self.unit[:, None] * vectors[:, kept] * root)
            if self._criterion(F @ F.T) <= at_most:
                return F
        return F

    def _newton(self, F: Array) -> Array:
        """The last digits, among covariances of the same rank."""
        if not F.size:
            return F
        value = self._criterion(F @ F.T)
        for _ in range(STEPS):
            gradient = self._gradient(F)
            step = -_inverse(self._differences(F)[:-1, :-1]) @ gradient
            new = F + step.reshape(F.shape) * self.unit[:, None]
            found = self._criterion(new @ new.T)
            if not found < value:
                break
            F, value = new, found
        return F

    def _gradient(self, F: Array, log_variance: float | None = None) -> Array:
        """Derivatives of half the criterion in the factor, in units of its rows.

        With a residual variance those of the criterion that holds it, and of its logarithm.
        """
        point = self.at(F @ F.T)
        if log_variance is None:
            return np.asarray((point.slope @ F * self.unit[:, None]).ravel())
        variance = np.exp(log_variance)
        own = point.of_determinants - point.on_residuals.T @ point.on_residuals / variance
        spare = self.n - self.p
        of_variance = spare * (1 - point.residual_variance / variance) / 2
        return np.append((own @ F * self.unit[:, None]).ravel(), of_variance)

    def _differences(self, F: Array) -> Array:
        """Second derivatives of half the criterion in the factor and the log residual variance."""
        centre = np.log(self.at(F @ F.T).residual_variance)
        size = F.size + 1
        rows = np.empty((size, size))
        for k in range(size):
            ends = []
            for sign in (1, -1):
                step = np.zeros(size)
                step[k] = sign * DIFFERENCE
                moved = F + step[:-1].reshape(F.shape) * self.unit[:, None]
                ends.append(self._gradient(moved, centre + step[-1]))
            rows[k] = (ends[0] - ends[1]) / (2 * DIFFERENCE)
        return np.asarray((rows + rows.T) / 2)

    def _fit(self, F: Array) -> RestrictedFit:
        point = self.at(F @ F.T)
        variance = point.residual_variance
        inverse = np.linalg.inv(point.precision)
        covariance = variance * (inverse + inverse.T) / 2
        slopes = []
        for row, column in np.ndindex(F.shape):
            change = np.zeros_like(F)
            change[row, column] = self.unit[row]
            dS = change @ F.T + F @ change.T
            inside = _long(point.on_columns).T @ _long(dS @ point.on_columns)
            slopes.append(covariance @ inside @ covariance / variance)
        slopes.append(covariance)
        information = self._differences(F)
        rank = F.shape[1]
        # Turning the columns of F changes nothing: so many directions have no information.
        values = np.linalg.eigvalsh(information)[rank * (rank - 1) // 2 :]
        # What is estimated as zero is so for a reason: any more is less likely.
        beyond = scipy.linalg.null_space((F / self.unit[:, None]).T)
        slope = point.slope * (self.unit[:, None] * self.unit)
        rises = np.linalg.eigvalsh(beyond.T @ slope @ beyond)
        return RestrictedFit(
            beta=point.beta,
            covariance=covariance,
            effect_covariance=variance * (F @ F.T),
            residual_variance=variance,
            criterion=point.criterion,
            rank=rank,
            identified=bool(values[0] > FLAT * values[-1] and (rises > FLAT * self.n).all()),
            slopes=np.array(slopes),
            information=information,
            root=F,
        )


def _long(matrices: Array) -> Array:
    """The rows of all matrices below one another."""
    return matrices.reshape(-1, matrices.shape[-1])


def _triangular(S: Array) -> Array:
    """Lower factor with a diagonal that is not negative, of a covariance of any rank."""
    values, vectors = np.linalg.eigh(S)
    R = np.linalg.qr((vectors * np.sqrt(values.clip(min=0))).T, mode="r")
    signs = np.where(np.diag(R) < 0, -1.0, 1.0)
    return np.asarray((signs[:, None] * R).T)


def _inverse(information: Array) -> Array:
    """Inverse among the directions that the criterion bends in."""
    values, vectors = np.linalg.eigh(information)
    bent = values > FLAT * max(values[-1], 0.0)
    return np.asarray((vectors[:, bent] / values[bent]) @ vectors[:, bent].T)
