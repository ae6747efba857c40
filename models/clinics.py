"""Clinics: a level above therapists, who are nested in them or crossed with them.

Patients of one clinic are alike beyond what their therapists make them. A therapist who works in
one clinic only is nested in it; one who works in several links them. Clinics that are linked, by
however many therapists, make one component: given the coefficients and SDs, what happens in one
component says nothing of another. Where every therapist has one clinic each clinic is a component.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
