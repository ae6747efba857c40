"""What the model of visits needs of the data: cross-products by pattern of seen visits.

Patient i of therapist j, with columns x_i that are the same at every visit, has the scores y_i at
visits t = 1..V. A *term* is a column of x at one visit, or at all of them alike:

    y_it = sum_k [term k is at t] x_i[column_k] beta_k + sum_e [e is at t] x_i[column_e] u_je + e_it

Patients who were seen at the same visits and whose residuals have the same covariance make a
group. All that the likelihood needs of a group is [x, y]'[x, y]; of a therapist's patients in it,
the rows of the columns whose effects vary between therapists (`models.visits.likelihood`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Terms:
    """Columns of x, each at one visit or at all.

    Attributes
    ----------
    visit : ndarray of int, shape (m,)
        Position of the visit; V, one more than the last, for all visits alike.
    column : ndarray of int, shape (m,)
        Position of the column.
    """

    visit: Places
    column: Places

    def __len__(self) -> int:
        return len(self.visit)


def visit_terms(by_visit: Sequence[bool], visits: int) -> Terms:
    """Terms of columns of which some have a coefficient at each visit and some one for all.

    Parameters
    ----------
    by_visit : sequence of bool
        By column.
    visits : int
        V.

    Returns
    -------
    Terms
        Column by column, and visit by visit within it.
    """
    places = [
        (visit, column)
        for column, own in enumerate(by_visit)
        for visit in (range(visits) if own else (visits,))
    ]
    return terms_at(places)


def terms_at(places: Sequence[tuple[int, int]]) -> Terms:
    """Terms at these pairs of visit and column."""
    found = np.array(places, dtype=np.int64).reshape(-1, 2)
    return Terms(np.ascontiguousarray(found[:, 0]), np.ascontiguousarray(found[:, 1]))


@dataclass(frozen=True, eq=False, slots=True)
class VisitMoments:
    """Cross-products of patients' columns and scores, by group and by therapist within groups.

    Attributes
    ----------
    seen : ndarray of bool, shape (G, V)
        Which visits the patients of a group have.
    residual_group : ndarray of int, shape (G,)
        Which covariance their residuals have.
    patients : ndarray of int, shape (G,)
    cross_products : ndarray, shape (G, p + V, p + V)
        Of [x, y]; y is zero where it was not seen.
    pair_group, pair_therapist : ndarray of int, shape (m,)
        The pairs of a group and a therapist that have patients, therapist by therapist.
    pair_products : ndarray, shape (m, z, p + V)
        Of the columns that vary between therapists with [x, y].
    varying : ndarray of int, shape (z,)
        Which columns of x these are.
    therapists : int
        J, with or without patients.
    """

    seen: NDArray[np.bool_]
    residual_group: Places
    patients: Places
    cross_products: Array
    pair_group: Places
    pair_therapist: Places
    pair_products: Array
    varying: Places
    therapists: int

    @property
    def visits(self) -> int:
        """V."""
        return self.seen.shape[1]

    @property
    def columns(self) -> int:
        """p, columns of x."""
        return self.cross_products.shape[1] - self.visits

    @property
    def scores(self) -> int:
        """Scores seen, over patients and visits."""
        return int(self.patients @ self.seen.sum(axis=1))


def visit_moments(
    X: Array,
    Y: Array,
    residual_group: Places | None = None,
    therapist_index: Places | None = None,
    therapists: int = 0,
    varying: Sequence[int] = (),
) -> VisitMoments:
    """Sum the squares and products of patients by group, and by therapist within groups.

    Parameters
    ----------
    X : ndarray, shape (n, p)
    Y : ndarray, shape (n, V)
        NaN where a score was not seen; patients without any score are left out.
    residual_group : ndarray of int, shape (n,), optional
        Which covariance a patient's residuals have; one for all by default.
    therapist_index : ndarray of int, shape (n,), optional
        Below zero for a patient without a therapist, whose scores then have no effects.
    therapists : int
    varying : sequence of int
        Columns of X whose coefficients vary between therapists.

    Returns
    -------
    VisitMoments
        Sums run over patients in their order, without BLAS: the same bits on any number of cores.
    """
    present = ~np.isnan(Y)
    some = present.any(axis=1)
    W = np.hstack([X, np.where(present, Y, 0.0)])[some]
    own = np.zeros(len(X), dtype=np.int64) if residual_group is None else residual_group
    label = np.column_stack([own, present])[some]
    kinds, which = np.unique(label, axis=0, return_inverse=True)
    which = which.ravel()
    size, groups = W.shape[1], len(kinds)
    flat = np.empty((groups, size, size))
    for row in range(size):
        for column in range(row + 1):
            sums = np.bincount(which, weights=W[:, row] * W[:, column], minlength=groups)
            flat[:, row, column] = flat[:, column, row] = sums
    patients = np.bincount(which, minlength=groups).astype(np.int64)
    columns = np.asarray(varying, dtype=np.int64)
    pair_group = pair_therapist = np.zeros(0, dtype=np.int64)
    products = np.zeros((0, len(columns), size))
    if therapist_index is not None and len(columns):
        treated = therapist_index[some] >= 0
        W, which = W[treated], which[treated]
        code = therapist_index[some][treated] * groups + which
        codes, pair = np.unique(code, return_inverse=True)
        pair = pair.ravel()
        pair_therapist, pair_group = codes // groups, codes % groups
        products = np.empty((len(codes), len(columns), size))
        for row, column in np.ndindex(len(columns), size):
            weights = W[:, columns[row]] * W[:, column]
            products[:, row, column] = np.bincount(pair, weights=weights, minlength=len(codes))
    return VisitMoments(
        seen=kinds[:, 1:].astype(bool),
        residual_group=kinds[:, 0].astype(np.int64),
        patients=patients,
        cross_products=flat,
        pair_group=pair_group.astype(np.int64),
        pair_therapist=pair_therapist.astype(np.int64),
        pair_products=products,
        varying=columns,
        therapists=therapists,
    )
