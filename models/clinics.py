"""Clinics: a level above therapists, who are nested in them or crossed with them.

Patients of one clinic are alike beyond what their therapists make them. A therapist who works in
one clinic only is nested in it; one who works in several links them. Clinics that are linked, by
however many therapists, make one component: given the coefficients and SDs, what happens in one
component says nothing of another. Where every therapist has one clinic each clinic is a component.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.moments import Moments

Array = NDArray[np.float64]
CLINIC_TERM = "clinic_term"  # dimension of what varies between clinics; of therapists "effect"

Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Cells:
    """Which therapists have patients in which clinics, component by component.

    Attributes
    ----------
    therapists, clinics : ndarray of int, shape (J,), (K,)
        Positions among the design's, in the order of their components.
    pairs : ndarray of int, shape (c, 2)
        Places of therapist and clinic in that order, of each pair that has patients; by therapist.
    ends : ndarray of int, shape (m + 1, 2)
        Where each of m components begins among therapists and clinics; the last row is the end.
    """

    therapists: Index
    clinics: Index
    pairs: Index
    ends: Index

    @classmethod
    def of(cls, therapist: Index, clinic: Index, therapists: int, clinics: int) -> Cells:
        """The cells of patients with these therapists and clinics.

        Parameters
        ----------
        therapist, clinic : ndarray of int, shape (n,)
            Positions of each patient's; a therapist beyond the last is none.
        therapists, clinics : int
            How many there are.
        """
        has = therapist < therapists
        seen = np.unique(np.column_stack([therapist[has], clinic[has]]), axis=0)
        component = linked(seen, therapists, clinics)
        by_therapist = np.argsort(component[:therapists], kind="stable")
        by_clinic = np.argsort(component[therapists:], kind="stable")
        place_of_therapist, place_of_clinic = np.argsort(by_therapist), np.argsort(by_clinic)
        pairs = np.column_stack([place_of_therapist[seen[:, 0]], place_of_clinic[seen[:, 1]]])
        pairs = pairs[np.lexsort(pairs.T[::-1])]
        number = int(component.max(initial=-1)) + 1
        ends = np.column_stack(
            [
                np.searchsorted(np.sort(component[:therapists]), np.arange(number + 1)),
                np.searchsorted(np.sort(component[therapists:]), np.arange(number + 1)),
            ]
        )
        return cls(by_therapist, by_clinic, pairs.reshape(-1, 2), ends)


def linked(pairs: Index, therapists: int, clinics: int) -> Index:
    """Component of each therapist and then of each clinic, numbered as clinics come.

    Therapists without patients have components of their own, after those of the clinics.

    Parameters
    ----------
    pairs : ndarray of int, shape (c, 2)
        Positions of therapist and clinic.
    therapists, clinics : int
    """
    root = np.arange(therapists + clinics)

    def top(node: int) -> int:
        while root[node] != node:
            root[node] = root[root[node]]
            node = int(root[node])
        return node

    for therapist, clinic in pairs:
        root[top(int(therapist))] = top(therapists + int(clinic))
    tops = np.array([top(node) for node in range(len(root))], dtype=np.int64)
    order = np.append(tops[therapists:], tops[:therapists])
    _, first, back = np.unique(order, return_index=True, return_inverse=True)
    number = np.argsort(np.argsort(first))[back.ravel()]
    return np.append(number[clinics:], number[:clinics])


@dataclass(frozen=True, eq=False, slots=True)
class LevelProducts:
    """Cross-products of both levels, by residual group, in the order of `Cells`.

    Attributes
    ----------
    total : ndarray, shape (G, p + 1, p + 1)
        W'W over all patients, with W = [X, y].
    therapist : ndarray, shape (G, q, J, p + 1)
        Z_j'W_j of each therapist.
    clinic : ndarray, shape (G, k, K, p + 1)
        The same of each clinic.
    pair : ndarray, shape (G, c, q, k)
        Z_j'Z_k of the patients whom a therapist has in a clinic.
    """

    total: Array
    therapist: Array
    clinic: Array
    pair: Array

    @classmethod
    def of(
        cls,
        cells: Cells,
        therapists: Sequence[Moments],
        clinics: Sequence[Moments],
        columns: tuple[Sequence[int], Sequence[int]],
        patients: tuple[Index, Index, Index, Array],
    ) -> LevelProducts:
        """The cross-products of a design.

        Parameters
        ----------
        cells : Cells
        therapists, clinics : sequence of Moments
            Of each residual group.
        columns : pair of sequences of int
            Columns of X that vary between therapists, and between clinics.
        patients : tuple of ndarray
            Each patient's therapist, clinic and residual group, and X.
        """
        own, above = (list(each) for each in columns)
        therapist, clinic, group, X = patients
        known, number = len(cells.therapists), len(cells.clinics)
        has = np.flatnonzero(therapist < known)
        place = np.argsort(cells.therapists)[therapist[has]] * number
        place += np.argsort(cells.clinics)[clinic[has]]
        keys = cells.pairs[:, 0] * number + cells.pairs[:, 1]
        pair = np.zeros((len(therapists), len(keys), len(own), len(above)))
        products = X[has][:, own, None] * X[has][:, None, above]
        np.add.at(pair, (group[has], np.searchsorted(keys, place)), products)
        of_therapist = [each.cross_products[:known, own][cells.therapists] for each in therapists]
        of_clinic = [each.cross_products[:, above][cells.clinics] for each in clinics]
        return cls(
            total=np.stack([each.cross_products.sum(axis=0) for each in therapists]),
            therapist=np.stack(of_therapist).transpose(0, 2, 1, 3),
            clinic=np.stack(of_clinic).transpose(0, 2, 1, 3),
            pair=pair,
        )
