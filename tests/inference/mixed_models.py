"""Mixed models written out in full: the whole covariance of the scores, and plain searches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from alliance.data_prep.moments import therapist_moments
from alliance.inference.published.restricted_likelihood import RestrictedFit, RestrictedLikelihood
from alliance.models.design.design import Design

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rows:
    """Columns, scores and clusters of a mixed model, and which columns vary between clusters."""

    X: Array
    y: Array
    cluster: NDArray[np.int64]
    varying: tuple[int, ...]

    @classmethod
    def of(cls, design: Design) -> Rows:
        """The columns that a design has; y by least squares' residuals, as the refits have it."""
        present = design.present
        X = design.X[:, present]
        varying = tuple(present.index(column) for column in design.effect_columns)
        residuals = design.y - X @ np.linalg.lstsq(X, design.y)[0]
        return cls(X, residuals, design.therapist_index, varying)

    def likelihood(self) -> RestrictedLikelihood:
        """The one that is tested."""
        moments = therapist_moments(self.X, self.y, self.cluster, int(self.cluster.max()) + 1)
        return RestrictedLikelihood(moments, self.varying)

    def fit(self) -> RestrictedFit:
        """Its estimates."""
        return self.likelihood().maximise()

    def covariance(self, effects: Array, residual: float = 1.0) -> Array:
        """Covariance of all scores, n x n."""
        same = self.cluster[:, None] == self.cluster
        Z = self.X[:, self.varying]
        return np.asarray(Z @ effects @ Z.T * same + residual * np.eye(len(self.y)))

    def criterion(self, effects: Array, residual: float) -> float:
        """Minus twice the log restricted likelihood at given variances, by its definition."""
        V = self.covariance(effects, residual)
        XtViX = self.X.T @ np.linalg.solve(V, self.X)
        beta = np.linalg.solve(XtViX, self.X.T @ np.linalg.solve(V, self.y))
        left = self.y - self.X @ beta
        spare = len(self.y) - self.X.shape[1]
        determinants = np.linalg.slogdet(V)[1] + np.linalg.slogdet(XtViX)[1]
        return float(determinants + spare * np.log(2 * np.pi) + left @ np.linalg.solve(V, left))

    def best_of(self, starts: int, generator: np.random.Generator) -> float:
        """The least criterion of so many searches from random starts.

        In SDs and a correlation within a box, with differences of values for a gradient: another
        parametrisation than that of the search that is tested.
        """
        q, (n, p) = len(self.varying), self.X.shape
        parts = [
            (own[:, self.varying], np.column_stack([own, self.y[self.cluster == j]]))
            for j in np.unique(self.cluster)
            if len(own := self.X[self.cluster == j])
        ]
        ZtZ = np.array([Z.T @ Z for Z, _ in parts])
        ZtW = np.array([Z.T @ W for Z, W in parts])
        WtW = sum(W.T @ W for _, W in parts)

        def criterion(t: Array) -> float:
            D = np.diag(t[:q])
            R = np.array([[1.0, t[-1]], [t[-1], 1.0]]) if q == 2 else np.eye(1)
            S = D @ R @ D
            inner = np.eye(q) + ZtZ @ S
            A = WtW - (ZtW.mT @ (S @ np.linalg.solve(inner, ZtW))).sum(axis=0)
            squares = A[p, p] - A[p, :p] @ np.linalg.solve(A[:p, :p], A[:p, p])
            determinants = np.linalg.slogdet(inner)[1].sum() + np.linalg.slogdet(A[:p, :p])[1]
            return float(determinants + (n - p) * (1 + np.log(2 * np.pi * squares / (n - p))))

        bounds = [(0.0, 20.0)] * q + [(-1.0, 1.0)] * (q == 2)
        found = []
        for _ in range(starts):
            start = [*np.exp(generator.normal(-1.5, 1.5, q)), generator.uniform(-1, 1)]
            found.append(
                optimize.minimize(
                    criterion, start[: len(bounds)], method="L-BFGS-B", bounds=bounds
                ).fun
            )
        return min(found)
