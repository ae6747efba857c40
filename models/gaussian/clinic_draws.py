"""Two levels of effects for draws of the exact Gaussian model, in NumPy: see `two_levels`.

Everything is computed for many draws at once, component by component of `models.clinics.Cells`.
With M of the therapists block diagonal and the clinics as its border,

    S = M_cc - sum_j N_j' M_j^-1 N_j,    N_j = P'Z_j'Z_c C,

the standardised effects given the rest are normal with precision M and mean M^-1 w / sigma: first
the clinics', with precision S, then each therapist's given the clinics'.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alliance.models.design.design import Design
from alliance.models.gaussian.two_levels import level_products

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Component:
    """Linked clinics and their therapists, by residual group.

    Attributes
    ----------
    therapists, clinics : ndarray of int, shape (J,), (K,)
        Positions among the design's.
    of_therapist : ndarray, shape (G, J, q, p + 1)
        Z_j'[X, y].
    of_clinic : ndarray, shape (G, K, k, p + 1)
    across : ndarray, shape (G, J, q, K, k)
        Z_j'Z_k; zero for pairs without patients.
    """

    therapists: Index
    clinics: Index
    of_therapist: Array
    of_clinic: Array
    across: Array


def components(design: Design) -> Iterator[Component]:
    """Linked clinics with their therapists, component by component."""
    cells, found = design.cells, level_products(design)
    for (j0, k0), (j1, k1) in zip(cells.ends[:-1].tolist(), cells.ends[1:].tolist(), strict=True):
        groups, _, q, k = found.pair.shape
        across = np.zeros((groups, j1 - j0, q, k1 - k0, k))
        own = np.flatnonzero((cells.pairs[:, 0] >= j0) & (cells.pairs[:, 0] < j1))
        for place in own:
            therapist, clinic = cells.pairs[place]
            across[:, therapist - j0, :, clinic - k0] = found.pair[:, place]
        yield Component(
            cells.therapists[j0:j1],
            cells.clinics[k0:k1],
            found.therapist[:, :, j0:j1].swapaxes(1, 2),
            found.clinic[:, :, k0:k1].swapaxes(1, 2),
            across,
        )


@dataclass(frozen=True, eq=False, slots=True)
class Levels:
    """What one component adds, for d draws.

    Attributes
    ----------
    log_determinant : ndarray, shape (d,)
        Its part of log|M|.
    explained : ndarray, shape (d, w, w)
        Its part of W'ZG M^-1 G'Z'W, for w columns W.
    root, border : ndarray, shape (d, J, q, q), (d, B, B)
        Lower factors of each therapist's M_j, and of S.
    coupling : ndarray, shape (d, J, q, B)
        root_j^-1 N_j.
    own, left : ndarray, shape (d, J, q, w), (d, B, w)
        root_j^-1 P'Z_j'W, and border^-1 times what therapists leave of C'Z_c'W.
    """

    log_determinant: Array
    explained: Array
    root: Array
    border: Array
    coupling: Array
    own: Array
    left: Array


def eliminate(
    design: Design,
    part: Component,
    shares: Array,
    factors: tuple[Array, Array],
    columns: Array | None,
) -> Levels:
    """Eliminate a component's therapists, then its clinics.

    Parameters
    ----------
    design : Design
    part : Component
    shares : ndarray, shape (d, G)
    factors : ndarray, shape (d, q, q), and ndarray, shape (d, k, k)
        Lower factors of the effects' covariances over the residual SD.
    columns : ndarray, shape (d, p + 1) or None
        One column W = [X, y] b; None takes all of [X, y].
    """
    P, C = factors
    total, q, k = len(shares), P.shape[-1], C.shape[-1]
    therapists, clinics = len(part.therapists), len(part.clinics)
    rows_t = np.einsum("dg,gjaw->djaw", shares, part.of_therapist)
    rows_c = np.einsum("dg,gjaw->djaw", shares, part.of_clinic)
    A = P.mT[:, None] @ rows_t[..., design.effect_columns] @ P[:, None] + np.eye(q)
    B = C.mT[:, None] @ rows_c[..., design.clinic_columns] @ C[:, None]
    X = np.einsum("dg,gjacb->djacb", shares, part.across)
    N = np.einsum("dea,djecf,dfb->djacb", P, X, C, optimize=True)
    N = N.reshape(total, therapists, q, clinics * k)
    if columns is not None:
        rows_t, rows_c = (
            np.einsum("djaw,dw->dja", rows, columns)[..., None] for rows in (rows_t, rows_c)
        )
    width = rows_t.shape[-1]
    w_t = P.mT[:, None] @ rows_t
    w_c = (C.mT[:, None] @ rows_c).reshape(total, clinics * k, width)
    root = np.linalg.cholesky(A)
    solved = np.linalg.solve(root, np.concatenate([N, w_t], axis=-1))
    coupling, own = solved[..., : clinics * k], solved[..., clinics * k :]
    S = np.zeros((total, clinics, k, clinics, k))
    for c in range(clinics):
        S[:, c, :, c] = B[:, c] + np.eye(k)
    S = S.reshape(total, clinics * k, clinics * k)
    S = S - np.einsum("djab,djac->dbc", coupling, coupling, optimize=True)
    border = np.linalg.cholesky(S)
    left = w_c - np.einsum("djab,djaw->dbw", coupling, own, optimize=True)
    left = np.linalg.solve(border, left)
    explained = np.einsum("djav,djaw->dvw", own, own, optimize=True) + left.mT @ left
    diagonals = [np.log(np.diagonal(each, axis1=-2, axis2=-1)) for each in (root, border)]
    log_determinant = 2 * (diagonals[0].sum(axis=(1, 2)) + diagonals[1].sum(axis=1))
    return Levels(log_determinant, explained, root, border, coupling, own, left)


def draw_effects(
    found: Levels, sd: Array, generator: np.random.Generator, clinics: int
) -> tuple[Array, Array]:
    """Draw a component's standardised effects given the rest.

    Parameters
    ----------
    found : Levels
        Of one column, the residuals.
    sd : ndarray, shape (d,)
        Residual SD of the first group.
    generator : numpy.random.Generator
    clinics : int

    Returns
    -------
    ndarray, shape (d, J, q), and ndarray, shape (d, K, k)
        Of therapists and of clinics, with unit covariance.
    """
    scale = sd[:, None, None]
    noise = generator.standard_normal(found.left.shape)
    of_clinic = np.linalg.solve(found.border.mT, found.left / scale + noise)
    right = found.own / scale[..., None] - found.coupling @ of_clinic[:, None]
    noise = generator.standard_normal(right.shape)
    of_therapist = np.linalg.solve(found.root.mT, right + noise)
    return of_therapist[..., 0], of_clinic[..., 0].reshape(len(sd), clinics, -1)
