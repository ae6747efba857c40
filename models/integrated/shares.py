"""Cutpoints of ordered categories by the shares that an average patient has of them.

Shares are close to independent gamma variables, and a gamma variable's cube root is close to
normal, down to that of a category that nobody chose (Wilson & Hilferty 1931,
doi:10.1073/pnas.17.12.684). The coordinates are therefore cube roots of all shares but that of the
most frequent category, which is what they leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from alliance.models.families.family import EDGE

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Shares:
    """K categories' shares of an average patient.

    Attributes
    ----------
    counts : ndarray, shape (K,)
        Patients in each category.
    concentration : float
        Of their Dirichlet prior.
    """

    counts: Array
    concentration: float

    @cached_property
    def reference(self) -> int:
        """The most frequent category."""
        return int(self.counts.argmax())

    @cached_property
    def others(self) -> NDArray[np.int64]:
        """All categories but the reference."""
        return np.delete(np.arange(len(self.counts)), self.reference)

    @cached_property
    def cumulates(self) -> Array:
        """Change of each cumulative share (row) with each other category's (column)."""
        ends = np.arange(len(self.counts) - 1)[:, None]
        below = (self.others <= ends).astype(float)
        return below - (self.reference <= ends)

    def start(self) -> Array:
        """Coordinates of the observed shares, shape (K - 1,)."""
        shares = (self.counts + self.concentration) / (self.counts + self.concentration).sum()
        return np.cbrt(shares[self.others])

    def valid(self, at: Array) -> NDArray[np.bool_]:
        """Which coordinates (d, K - 1) are those of shares."""
        return np.asarray((at > 0).all(axis=1) & ((at**3).sum(axis=1) < 1))

    def cumulative(self, at: Array) -> Array:
        """Cumulative shares, shape (d, K - 1)."""
        found = at**3 @ self.cumulates.T + (self.reference <= np.arange(len(self.counts) - 1))
        return np.clip(found, EDGE, 1 - EDGE)

    def cutpoints(self, at: Array) -> Array:
        """On the logit, shape (d, K - 1)."""
        cumulative = self.cumulative(at)
        return np.asarray(np.log(cumulative) - np.log1p(-cumulative))

    def log_prior(self, at: Array) -> Array:
        """Log density of coordinates (d, K - 1) up to a constant."""
        weight = 3 * (self.concentration - 1) + 2  # the Jacobian is the product of 3 s^2
        rest = 1 - (at**3).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            density = weight * np.log(at).sum(axis=1) + (self.concentration - 1) * np.log(rest)
        return np.where(self.valid(at), density, -np.inf)

    def prior_slopes(self, at: Array) -> tuple[Array, Array]:
        """Gradient (d, K - 1) and minus the Hessian (d, K - 1, K - 1) of `log_prior`."""
        weight = 3 * (self.concentration - 1) + 2
        rest = 1 - (at**3).sum(axis=1)[:, None]
        extra = self.concentration - 1
        by_rest = 3 * at**2 / rest
        gradient = weight / at - extra * by_rest
        hessian = extra * by_rest[:, :, None] * by_rest[:, None, :]
        hessian += np.eye(at.shape[1]) * (weight / at**2 + extra * 6 * at / rest)[:, None, :]
        return gradient, hessian

    def chain(self, at: Array, by_cutpoint: Array) -> tuple[Array, Array]:
        """Change of the cutpoints, (d, K - 1, K - 1), and curvature of a sum of them.

        Parameters
        ----------
        at : ndarray, shape (d, K - 1)
        by_cutpoint : ndarray, shape (d, K - 1)
            Weights of the sum whose second derivatives (d, K - 1, K - 1) are wanted.
        """
        cumulative = self.cumulative(at)
        spread = cumulative * (1 - cumulative)
        change = self.cumulates * (3 * at**2)[:, None, :]  # of the cumulative shares
        first = change / spread[:, :, None]
        bent = -by_cutpoint * (1 - 2 * cumulative) / spread**2
        second = np.einsum("dka,dk,dkb->dab", change, bent, change)
        own = (by_cutpoint / spread) @ self.cumulates * 6 * at
        second += np.eye(at.shape[1]) * own[:, None, :]
        return first, second
