"""Standard errors of ordinary least squares that allow for clusters, from their cross-products.

The bias-reduced linearisation CR2 (Bell & McCaffrey 2002; Pustejovsky & Tipton 2018,
doi:10.1080/07350015.2016.1247004) takes the residuals e_j of each cluster times
A_j = (I - X_j M X_j')^(-1/2), M = (X'X)^-1, so that the covariance

    M (sum_j X_j'A_j e_j e_j'A_j X_j) M

has no bias where scores are independent with one variance. With M = RR' and T_j = X_j R, the
product X_j'A_j is R'^-1 (I - T_j'T_j)^(-1/2) T_j': p x p matrices of each cluster are enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.moments import Moments

Array = NDArray[np.float64]

# Least share of a direction in which a cluster leaves residuals; without any, as where a column is
# the cluster's own, the generalised inverse leaves the direction out.
LEAST = 1e-10


@dataclass(frozen=True, eq=False, slots=True)
class ClusterRobust:
    """Covariance of the coefficients, and what the degrees of freedom are made of.

    Attributes
    ----------
    covariance : ndarray, shape (p, p)
    """

    covariance: Array
    _R: Array
    _squares: Array  # T_j'T_j
    _root: Array  # (I - T_j'T_j)^(-1/2)

    def degrees_of_freedom(self, contrasts: Array) -> Array:
        """Bell and McCaffrey's degrees of freedom of linear combinations of the coefficients.

        Satterthwaite's, of the variance estimate as a quadratic form in independent normal scores.

        Parameters
        ----------
        contrasts : ndarray, shape (m, p)

        Returns
        -------
        ndarray, shape (m,)
        """
        # The form is sum_j (g_j'y)^2; g_i'g_j = [i = j] w_j'S_j w_j - w_i'S_i S_j w_j
        w = np.einsum("jab,mb->mja", self._root, contrasts @ self._R)
        q = np.einsum("jab,mjb->mja", self._squares, w)
        own = np.einsum("mja,mja->mj", w, q)
        lengths = np.einsum("mja,mja->mj", q, q)
        crossed = np.einsum("mja,mjb->mab", q, q)
        trace = (own - lengths).sum(axis=1)
        squares = (own**2 - 2 * own * lengths).sum(axis=1) + (crossed**2).sum(axis=(1, 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(trace**2 / squares)


def cluster_robust(moments: Moments) -> ClusterRobust:
    """CR2 of an ordinary regression.

    Parameters
    ----------
    moments : Moments
        Cross-products, by cluster, of the columns and of the regression's residuals.

    Returns
    -------
    ClusterRobust
    """
    # R'^-1 is the Cholesky factor of X'X, and M = RR'
    R = np.linalg.inv(np.linalg.cholesky(moments.XtX)).T
    squares = R.T @ moments.cross_products[:, :-1, :-1] @ R
    values, vectors = np.linalg.eigh(squares)
    left = 1 - values
    powers = np.where(left > LEAST, left.clip(min=LEAST) ** -0.5, 0.0)
    root = (vectors * powers[:, None, :]) @ vectors.mT
    scores = np.einsum("jab,bc,jc->ja", root, R.T, moments.cross_products[:, :-1, -1])
    covariance = R @ (scores.T @ scores) @ R.T
    return ClusterRobust(covariance, R, squares, root)
