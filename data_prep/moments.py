"""Cross-products within each therapist: all that the exact Gaussian model needs of the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Moments:
    """Cross-products of the coefficients' columns X and the outcome y, therapist by therapist.

    Attributes
    ----------
    cross_products : numpy.ndarray of float, shape (therapists, p + 1, p + 1)
        ``[X, y]' [X, y]`` over the patients of each therapist; zeros for a therapist without any.
    count : numpy.ndarray of int, shape (therapists,)
        Patients of each therapist.
    """

    cross_products: np.ndarray
    count: np.ndarray

    def __post_init__(self) -> None:
        self.cross_products.flags.writeable = False
        self.count.flags.writeable = False

    # The matrices bear the names that they have in the formulas, capitals included (N802).

    @property
    def n(self) -> int:
        """Number of patients."""
        return int(self.count.sum())

    @property
    def XtX(self) -> np.ndarray:
        """X'X over all patients, shape (p, p)."""
        return self.cross_products[:, :-1, :-1].sum(axis=0)

    @property
    def Xty(self) -> np.ndarray:
        """X'y over all patients, shape (p,)."""
        return self.cross_products[:, :-1, -1].sum(axis=0)

    @property
    def yty(self) -> float:
        """Sum of squares of y, over all patients."""
        return float(self.cross_products[:, -1, -1].sum())

    def ZtZ(self, effects: Sequence[int]) -> np.ndarray:
        """Z'Z of each therapist, where Z are the columns `effects` of X.

        Parameters
        ----------
        effects : sequence of int, length q
            Positions in X of the columns whose coefficients vary between therapists.

        Returns
        -------
        numpy.ndarray, shape (therapists, q, q)
        """
        rows = self._positions(effects)
        return self.cross_products[:, rows[:, np.newaxis], rows[np.newaxis, :]]

    def ZtX(self, effects: Sequence[int]) -> np.ndarray:
        """Z'X of each therapist, shape (therapists, q, p); `effects` as in `ZtZ`."""
        return self.cross_products[:, self._positions(effects), :-1]

    def Zty(self, effects: Sequence[int]) -> np.ndarray:
        """Z'y of each therapist, shape (therapists, q); `effects` as in `ZtZ`."""
        return self.cross_products[:, self._positions(effects), -1]

    def merge(self, other: Moments) -> Moments:
        """Moments of two sets of patients of the same therapists.

        Raises
        ------
        ValueError
            If the two differ in their number of therapists or of columns.
        """
        if self.cross_products.shape != other.cross_products.shape:
            raise ValueError(
                f"moments of shape {self.cross_products.shape} and {other.cross_products.shape} "
                "do not belong to the same therapists and columns"
            )
        return Moments(self.cross_products + other.cross_products, self.count + other.count)

    def _positions(self, effects: Sequence[int]) -> np.ndarray:
        columns = self.cross_products.shape[1] - 1
        positions = np.asarray(effects, dtype=np.intp)
        if positions.ndim != 1 or ((positions < 0) | (positions >= columns)).any():
            raise ValueError(f"effects {list(effects)} are not positions in {columns} columns")
        return positions


def therapist_moments(
    X: np.ndarray, y: np.ndarray, therapist_index: np.ndarray, therapists: int
) -> Moments:
    """Sum the squares and products within each therapist.

    Each sum runs over the patients in their order, without BLAS, whose result depends on the
    number of threads: the same rows give the same bits on any number of cores. Beside the
    result it needs room for a few columns of n numbers.

    Parameters
    ----------
    X : numpy.ndarray of float, shape (n, p)
        One row for each patient, one column for each coefficient.
    y : numpy.ndarray of float, shape (n,)
        Outcome.
    therapist_index : numpy.ndarray of int, shape (n,)
        Position of each patient's therapist, 0 to `therapists` - 1.
    therapists : int
        Number of therapists, with or without patients.

    Returns
    -------
    Moments

    Raises
    ------
    ValueError
        If the shapes do not fit, or a therapist's position is outside its range.
    """
    n, p = X.shape
    if y.shape != (n,) or therapist_index.shape != (n,):
        raise ValueError(
            f"X of shape {X.shape} does not fit y {y.shape} and therapists {therapist_index.shape}"
        )
    if n and not 0 <= therapist_index.min() <= therapist_index.max() < therapists:
        raise ValueError(f"therapist positions must lie within 0 to {therapists - 1}")
    columns = [X[:, column] for column in range(p)] + [y]
    cross_products = np.zeros((therapists, p + 1, p + 1))
    for row, left in enumerate(columns):
        for column in range(row, p + 1):
            products = left * columns[column]
            sums = np.bincount(therapist_index, weights=products, minlength=therapists)
            cross_products[:, row, column] = sums
            cross_products[:, column, row] = sums
    count = np.bincount(therapist_index, minlength=therapists)
    return Moments(cross_products, count)
