"""Centres and cross-products of patients, therapist by therapist and arm by arm; they merge.

Each set is centred at its own mean, and merging moves both to the mean of all (Chan, Golub &
LeVeque 1983, doi:10.1080/00031305.1983.10483115): no large squares are ever subtracted from one
another, however many sets there are. A column that a set does not have, the level of a category
that occurs elsewhere only, is zero for its patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.covariates import CovariateColumn

type Column = str | CovariateColumn
"""``moderator``, ``baseline``, ``outcome``, or a column of a covariate."""

NOBODY = ""
"""In the place of a therapist's id: patients of arms without therapists. No id is empty."""

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class CellMoments:
    """Moments of q columns in c cells: pairs of a therapist and an arm with patients.

    Attributes
    ----------
    columns : tuple of Column
    therapists : tuple of str
        Ids, each once; `NOBODY` where patients have none.
    therapist_index, arm_index : ndarray of int, shape (c,)
        Of each cell, in ascending order.
    count : ndarray of int, shape (c,)
    centre : ndarray, shape (q,)
        Mean of each column over all patients.
    sums : ndarray, shape (c, q)
        Of the centred columns.
    products : ndarray, shape (c, q, q)
        Sums of products of the centred columns.
    """

    columns: tuple[Column, ...]
    therapists: tuple[str, ...]
    therapist_index: Index
    arm_index: Index
    count: Index
    centre: Array
    sums: Array
    products: Array

    @property
    def n(self) -> int:
        """Patients of all cells."""
        return int(self.count.sum())

    def moved(self, columns: Sequence[Column], centre: Array) -> CellMoments:
        """The same with other columns, and another centre.

        Parameters
        ----------
        columns : sequence of Column
            Those that are not there are zero for every patient.
        centre : ndarray
            Of these columns.
        """
        own, sums, products = self.centre, self.sums, self.products
        if tuple(columns) != self.columns:
            places = np.array([_place(self.columns, name) for name in columns], dtype=np.int64)
            absent = places < 0
            own = np.where(absent, 0.0, own[places] if len(self.columns) else 0.0)
            sums = np.where(absent, 0.0, sums[:, places])
            products = products[:, places[:, None], places]
            products = np.where(absent[:, None] | absent, 0.0, products)
        away = own - centre
        cross = sums[:, :, None] * away
        products = products + cross + cross.transpose(0, 2, 1)
        products += self.count[:, None, None] * (away[:, None] * away)
        sums = sums + self.count[:, None] * away
        return CellMoments(
            tuple(columns), self.therapists, self.therapist_index, self.arm_index, self.count,
            centre, sums, products,
        )  # fmt: skip


def cell_moments(
    columns: Sequence[Column],
    values: Array,
    therapists: Sequence[str],
    therapist_index: Index,
    arm_index: Index,
) -> CellMoments:
    """Moments of patients.

    Parameters
    ----------
    columns : sequence of q Column
    values : ndarray, shape (q, n)
        Finite.
    therapists : sequence of str
    therapist_index : ndarray of int, shape (n,)
        Position in `therapists`, some of whom may have no patient here, as in a table of one file.
    arm_index : ndarray of int, shape (n,)

    Returns
    -------
    CellMoments
    """
    n, arms = len(arm_index), int(arm_index.max(initial=0)) + 1
    centre = values.mean(axis=1) if n else np.zeros(len(columns))
    centred = values - centre[:, None]
    code = therapist_index * arms + arm_index
    whole = np.bincount(code, minlength=len(therapists) * arms)
    present = np.flatnonzero(whole)

    def summed(weights: Array) -> Array:
        return np.bincount(code, weights=weights, minlength=len(whole))[present]

    sums = np.empty((len(present), len(columns)))
    products = np.empty((len(present), len(columns), len(columns)))
    for a, left in enumerate(centred):
        sums[:, a] = summed(left)
        for b in range(a + 1):
            products[:, a, b] = products[:, b, a] = summed(left * centred[b])
    return CellMoments(
        columns=tuple(columns),
        therapists=tuple(therapists),
        therapist_index=(present // arms).astype(np.int64),
        arm_index=(present % arms).astype(np.int64),
        count=whole[present],
        centre=centre,
        sums=sums,
        products=products,
    )


def merged(parts: Sequence[CellMoments]) -> CellMoments:
    """Moments of all patients of several sets; the order of the sets decides the last bits.

    Parameters
    ----------
    parts : sequence of CellMoments
        At least one.

    Returns
    -------
    CellMoments
        Therapists and columns in the order in which they first occur.
    """
    filled = [part for part in parts if part.n] or list(parts[:1])
    therapists = tuple(
        dict.fromkeys(chain.from_iterable(part.therapists for part in (*filled, *parts)))
    )
    if len(filled) == 1:
        return replace(filled[0], therapists=therapists)
    columns = tuple(dict.fromkeys(name for part in filled for name in part.columns))
    counts = np.array([part.n for part in filled], dtype=float)
    centres = np.array(
        [
            [0.0 if (k := _place(part.columns, name)) < 0 else part.centre[k] for name in columns]
            for part in filled
        ]
    )
    # From the first centre on, so that equal centres stay what they are to the last bit
    centre = centres[0] + (counts / counts.sum()) @ (centres - centres[0])
    moved = [part.moved(columns, centre) for part in filled]
    place = {name: j for j, name in enumerate(therapists)}
    arms = 1 + max(int(part.arm_index.max(initial=0)) for part in filled)
    codes = [
        np.array([*map(place.__getitem__, part.therapists)], dtype=np.int64)[part.therapist_index]
        * arms
        + part.arm_index
        for part in filled
    ]
    if all(np.array_equal(own, codes[0]) for own in codes[1:]):  # ascending, as in every part
        cells, index = codes[0], np.tile(np.arange(len(codes[0])), len(codes))
    else:
        cells, index = np.unique(np.concatenate(codes), return_inverse=True)
    count = np.zeros(len(cells), dtype=np.int64)
    sums = np.zeros((len(cells), len(columns)))
    products = np.zeros((len(cells), len(columns), len(columns)))
    start = 0
    for part in moved:
        own = index[start : start + len(part.count)]  # each cell once within a part
        count[own] += part.count
        sums[own] += part.sums
        products[own] += part.products
        start += len(part.count)
    return CellMoments(
        columns, therapists, cells // arms, cells % arms, count, centre, sums, products
    )


def _place(columns: Sequence[Column], name: Column) -> int:
    return columns.index(name) if name in columns else -1
