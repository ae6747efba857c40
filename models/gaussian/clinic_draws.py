"""Two levels of effects for draws of the exact Gaussian model, in NumPy: see `two_levels`.

Everything is computed for many draws at once. With H_j = P M_j^-1 P' of each therapist, what the
therapists leave of their clinics' cross-products is

    Z_k'W - sum_j Z_k'Z_j H_j Z_j'W,

and with these in the place of Z'W a clinic is what a therapist is elsewhere: its matrix M_k, its
part of the likelihood and its effects come from `models.gaussian.marginal`. So it is for all
clinics whose therapists work nowhere else. Clinics that are linked by a therapist who works in
several (`models.clinics`) are taken together, with one dense matrix

    S = M_cc - sum_j N_j' M_j^-1 N_j,    N_j = P'Z_j'Z_c C,

of the standardised effects of them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from alliance.models.design.design import Design
from alliance.models.gaussian.marginal import (
    Elements,
    TherapistTerms,
    effects_given,
    explained_products,
    is_zero,
    scaled,
    therapist_terms,
)

Array = NDArray[np.float64]
Index = NDArray[np.int64]


class Eliminated(Protocol):
    """What some clinics and their therapists add, for d draws."""

    @property
    def therapists(self) -> Index:
        """Positions among the design's, (J,)."""

    @property
    def clinics(self) -> Index:
        """The same of clinics, (K,)."""

    @property
    def log_determinant(self) -> Array:
        """Their part of log|M|, (d,)."""

    @property
    def explained(self) -> Array:
        """Their part of W'ZG M^-1 G'Z'W: (d,) of one column W, (d, p + 1, p + 1) of [X, y]."""

    def draw(self, generator: np.random.Generator) -> tuple[Array, Array]:
        """Effects given the rest, (d, J, q) and (d, K, k), where W is the residuals."""


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """Clinics and their therapists, by residual group.

    Attributes
    ----------
    therapists, clinics : ndarray of int, shape (J,), (K,)
        Positions among the design's.
    home : ndarray of int, shape (J,)
        Place of each therapist's clinic among these, where each has one.
    of_therapist : ndarray, shape (G, J, q, p + 1)
        Z_j'[X, y].
    of_clinic : ndarray, shape (G, K, k, p + 1)
    across : ndarray, shape (G, J, q, K, k), or (G, J, q, k) where each therapist has one clinic
        Z_j'Z_k; zero for pairs without patients.
    """

    therapists: Index
    clinics: Index
    home: Index
    of_therapist: Array
    of_clinic: Array
    across: Array


def eliminated(
    design: Design,
    factors: tuple[Elements, Elements],
    residual_sd: Array,
    shares: Array,
    columns: Array | None,
) -> Iterator[Eliminated]:
    """Eliminate therapists, then clinics: those that are not linked together, others apart.

    Parameters
    ----------
    design : Design
        With clinics' effects.
    factors : pair of nested lists
        Lower factors of the effects' covariances of therapists and of clinics, elements (d, 1).
    residual_sd : ndarray, shape (d,)
        Of the first residual group.
    shares : ndarray, shape (d, G)
        Its variance over that of each.
    columns : ndarray, shape (d, p + 1) or None
        One column W = [X, y] b, as (-beta, 1) makes residuals; None takes all of [X, y].
    """
    cells, found = design.cells, design.level_products
    starts, stops = cells.ends[:-1], cells.ends[1:]
    clinics_of = stops[:, 1] - starts[:, 1]
    component_of_pair = np.searchsorted(stops[:, 0], cells.pairs[:, 0], side="right")
    alone = np.flatnonzero(clinics_of <= 1)
    groups, _, q, k = found.pair.shape
    by_therapist, by_clinic = found.therapist.swapaxes(1, 2), found.clinic.swapaxes(1, 2)
    places = _ranges(starts[alone, 0], stops[alone, 0])
    at_clinics = _ranges(starts[alone, 1], stops[alone, 1])
    if len(places) or len(at_clinics):
        own = np.flatnonzero(np.isin(component_of_pair, alone))
        # A therapist without patients stands anywhere: what he adds is nothing
        home, across = np.zeros(len(places), dtype=np.int64), np.zeros((groups, len(places), q, k))
        place = np.searchsorted(places, cells.pairs[own, 0])
        home[place] = np.searchsorted(at_clinics, cells.pairs[own, 1])
        across[:, place] = found.pair[:, own]
        part = Part(
            cells.therapists[places],
            cells.clinics[at_clinics],
            home,
            by_therapist[:, places],
            by_clinic[:, at_clinics],
            across,
        )
        yield _nested(design, part, factors, residual_sd, shares, columns)
    for m in np.flatnonzero(clinics_of > 1):
        (j0, k0), (j1, k1) = starts[m], stops[m]
        across = np.zeros((groups, j1 - j0, q, k1 - k0, k))
        for at in np.flatnonzero(component_of_pair == m):
            therapist, clinic = cells.pairs[at]
            across[:, therapist - j0, :, clinic - k0] = found.pair[:, at]
        part = Part(
            cells.therapists[j0:j1],
            cells.clinics[k0:k1],
            np.empty(0, dtype=np.int64),
            by_therapist[:, j0:j1],
            by_clinic[:, k0:k1],
            across,
        )
        yield _linked(design, part, factors, residual_sd, shares, columns)


def _ranges(starts: Index, stops: Index) -> Index:
    """All whole numbers of several ranges."""
    parts = [np.arange(a, b) for a, b in zip(starts, stops, strict=True)]
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])


def _weighed(shares: Array, values: Array) -> Array:
    """Sums over residual groups, of each draw; of one group the same for all, without draws."""
    if shares.shape[1] == 1:
        return values[0][None]
    return np.einsum("dg,g...->d...", shares, values)


@dataclass(frozen=True, eq=False, slots=True)
class _Nested:
    """Clinics whose therapists work nowhere else: elements over draws and therapists, or clinics.

    Attributes
    ----------
    therapists, clinics : ndarray of int
    log_determinant, explained : ndarray
        As of `Eliminated`.
    """

    therapists: Index
    clinics: Index
    log_determinant: Array
    explained: Array
    _home: Index
    _factors: tuple[Elements, Elements]
    _sd: Array
    _ZtZ: Elements
    _Ztr: list[Array]
    _across: Array
    _of_clinics: TherapistTerms

    def draw(self, generator: np.random.Generator) -> tuple[Array, Array]:
        L, C = self._factors
        sd = self._sd[:, None]
        above = effects_given(self._of_clinics, C, sd, generator)
        if not L:
            return np.empty((len(sd), len(self.therapists), 0)), above
        if not len(self.clinics):  # therapists without patients
            terms = therapist_terms(self._ZtZ, self._Ztr, scaled(L, sd))
            return effects_given(terms, L, sd, generator), above
        own = above[:, self._home]  # of each therapist's clinic
        left = [
            Ztr - sum(self._across[:, :, a, b] * own[..., b] for b in range(own.shape[-1]))
            for a, Ztr in enumerate(self._Ztr)
        ]
        terms = therapist_terms(self._ZtZ, left, scaled(L, sd))
        return effects_given(terms, L, sd, generator), above


def _nested(
    design: Design,
    part: Part,
    factors: tuple[Elements, Elements],
    residual_sd: Array,
    shares: Array,
    columns: Array | None,
) -> _Nested:
    q, k = range(len(design.effects)), range(len(design.clinic_effects))
    sd, clinics = residual_sd[:, None], len(part.clinics)
    P, C = (scaled(L, sd) for L in factors)
    rows_t, rows_c = _weighed(shares, part.of_therapist), _weighed(shares, part.of_clinic)
    across = _weighed(shares, part.across)
    ZtZ = [[rows_t[:, :, a, column] for column in design.effect_columns] for a in q]
    ZcZ = [[rows_c[:, :, a, column] for column in design.clinic_columns] for a in k]
    belongs = (part.home[:, None] == np.arange(clinics)).astype(float)
    nothing = np.zeros((1, 1))
    single_t = [nothing] * len(q)
    single_c = [nothing] * len(k)
    if columns is not None:
        single_t = [np.einsum("djw,dw->dj", rows_t[:, :, a], columns) for a in q]
        single_c = [np.einsum("djw,dw->dj", rows_c[:, :, a], columns) for a in k]
    log_determinant, explained = np.zeros(len(sd)), np.zeros(1)
    W_c = rows_c
    if q:
        terms = therapist_terms(ZtZ, single_t, P)
        H = _inverse_elements(terms, P)
        T = [[sum(across[:, :, a, b] * H[a][e] for a in q) for e in q] for b in k]  # Z_k'Z_j H_j
        for b in k:
            for c in k:
                taken = sum(T[b][e] * across[:, :, e, c] for e in q)
                ZcZ[b][c] = ZcZ[b][c] - taken @ belongs
        log_determinant = terms.log_determinant.sum(axis=1)
        if columns is None:
            explained = explained_products(terms, P, rows_t if len(rows_t) > 1 else rows_t[0])
            left = [
                rows_c[:, :, b]
                - np.einsum(
                    "djw,jc->dcw",
                    sum(T[b][e][..., None] * rows_t[:, :, e] for e in q),
                    belongs,
                    optimize=True,
                )
                for b in k
            ]
            W_c = np.stack(left, axis=2)
        else:
            explained = terms.explained.sum(axis=1)
            single_c = [single_c[b] - sum(T[b][e] * single_t[e] for e in q) @ belongs for b in k]
    of_clinics = therapist_terms(ZcZ, single_c, C)
    log_determinant = log_determinant + of_clinics.log_determinant.sum(axis=1)
    if columns is None:
        W_c = np.broadcast_to(W_c, (len(sd), *W_c.shape[1:]))
        explained = explained + explained_products(of_clinics, C, W_c)
    else:
        explained = explained + of_clinics.explained.sum(axis=1)
    return _Nested(
        part.therapists,
        part.clinics,
        log_determinant,
        np.asarray(explained),
        part.home,
        factors,
        residual_sd,
        ZtZ,
        single_t,
        across,
        of_clinics,
    )


def _inverse_elements(terms: TherapistTerms, G: Elements) -> list[list[Any]]:
    """Elements of G M^-1 G' of each therapist, M = U D U'."""
    span = range(len(G))
    rows = []  # of G U'^-1
    for a in span:
        row: list[Any] = []
        for c in span:
            own = 0.0 if c > a or is_zero(G[a][c]) else G[a][c]
            row.append(own - sum(terms.factor[c][e] * row[e] for e in range(c)))
        rows.append(row)
    return [
        [sum(rows[a][c] * rows[b][c] / terms.pivots[c] for c in span) for b in span] for a in span
    ]


@dataclass(frozen=True, eq=False, slots=True)
class _Linked:
    """Linked clinics with their therapists.

    Attributes
    ----------
    therapists, clinics : ndarray of int
    log_determinant, explained : ndarray
        As of `Eliminated`.
    """

    therapists: Index
    clinics: Index
    log_determinant: Array
    explained: Array
    _factors: tuple[Elements, Elements]
    _sd: Array
    _ZtZ: Elements
    _Ztr: list[Array]
    _across: Array  # (1 or d, J, q, B), for the B = K k effects of all clinics
    _root: Array  # (d, B, B), lower factor of S
    _left: Array  # (d, B, w), root^-1 times what therapists leave of C'Z_c'W

    def draw(self, generator: np.random.Generator) -> tuple[Array, Array]:
        L, sd = self._factors[0], self._sd[:, None]
        C = _whole(self._factors[1], self._sd)
        noise = generator.standard_normal(self._left.shape)
        standard = np.linalg.solve(self._root.mT, self._left / sd[..., None] + noise)
        above = sd[..., None] * (standard.reshape(len(sd), len(self.clinics), -1) @ C.mT)
        if not L:
            return np.empty((len(sd), len(self.therapists), 0)), above
        flat = above.reshape(len(sd), -1)
        left = [
            Ztr - (self._across[:, :, a] @ flat[..., None])[..., 0]
            for a, Ztr in enumerate(self._Ztr)
        ]
        terms = therapist_terms(self._ZtZ, left, scaled(L, sd))
        return effects_given(terms, L, sd, generator), above


def _linked(
    design: Design,
    part: Part,
    factors: tuple[Elements, Elements],
    residual_sd: Array,
    shares: Array,
    columns: Array | None,
) -> _Linked:
    q, k, clinics = len(design.effects), len(design.clinic_effects), len(part.clinics)
    total, size, sd = len(shares), clinics * k, residual_sd[:, None]
    P, C = scaled(factors[0], sd), _whole(factors[1], residual_sd)
    rows_t, rows_c = _weighed(shares, part.of_therapist), _weighed(shares, part.of_clinic)
    across = _weighed(shares, part.across)
    across = across.reshape(*across.shape[:3], size)
    ZtZ = [[rows_t[:, :, a, column] for column in design.effect_columns] for a in range(q)]
    own = np.zeros((total, clinics, k, clinics, k))
    for c in range(clinics):
        own[:, c, :, c] = rows_c[:, c][..., design.clinic_columns]
    border: Array = own.reshape(total, size, size)
    left: Array = rows_c.reshape(-1, size, rows_c.shape[-1])
    single: list[Array] = [np.zeros((1, 1))] * q
    if columns is not None:
        left = np.einsum("dbw,dw->db", left, columns)[..., None]
        single = [np.einsum("djw,dw->dj", rows_t[:, :, a], columns) for a in range(q)]
    log_determinant, explained = np.zeros(total), np.zeros((1, 1, 1))
    if q:
        terms = therapist_terms(ZtZ, single, P)
        H = _inverse_elements(terms, P)
        log_determinant = terms.log_determinant.sum(axis=1)
        for a in range(q):
            for e in range(q):
                border = border - _summed(H[a][e], across[:, :, a], across[:, :, e])
                right = rows_t[:, :, e] if columns is None else single[e][..., None]
                left = left - _summed(H[a][e], across[:, :, a], right)
        if columns is None:
            explained = explained_products(terms, P, rows_t if len(rows_t) > 1 else rows_t[0])
        else:
            explained = terms.explained.sum(axis=1)[:, None, None]
    width = left.shape[-1]
    turned = (C.mT[:, None] @ border.reshape(total, clinics, k, size)).reshape(total, size, size)
    S = (turned.reshape(total, size, clinics, k) @ C[:, None]).reshape(total, size, size)
    root = np.linalg.cholesky(np.eye(size) + S)
    by_clinic = np.broadcast_to(left, (total, size, width)).reshape(total, clinics, k, width)
    solved = np.linalg.solve(root, (C.mT[:, None] @ by_clinic).reshape(total, size, width))
    explained = explained + solved.mT @ solved
    log_determinant = log_determinant + 2 * np.log(np.diagonal(root, axis1=-2, axis2=-1)).sum(
        axis=1
    )
    return _Linked(
        part.therapists,
        part.clinics,
        log_determinant,
        explained if columns is None else explained[:, 0, 0],
        factors,
        residual_sd,
        ZtZ,
        single,
        across,
        root,
        solved,
    )


def _summed(weight: Array, left: Array, right: Array) -> Array:
    """Sums over therapists of a weight (d, J) times the products of two rows: (d, b, c)."""
    if len(left) == 1 and len(right) == 1:
        outer = left[0][:, :, None] * right[0][:, None, :]
        return np.asarray((weight @ outer.reshape(len(outer), -1)).reshape(-1, *outer.shape[1:]))
    return np.asarray((weight[..., None] * left).mT @ right)


def _whole(L: Elements, residual_sd: Array) -> Array:
    """A factor over the residual SD, (d, q, q), from its elements (d, 1)."""
    found = np.zeros((len(residual_sd), len(L), len(L)))
    for a, row in enumerate(L):
        for b, element in enumerate(row):
            if not is_zero(element):
                found[:, a, b] = element[:, 0] / residual_sd
    return found
