"""Therapist effects integrated out of the likelihood of each therapist's outcomes, draw by draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from alliance.inference.draws.quadrature import normal_nodes
from alliance.models.gaussian.marginal import therapist_terms

Array = NDArray[np.float64]
Index = NDArray[np.int64]

# Nodes for each effect, by the number of effects, once the grid is centred and scaled.
NODES = {1: 15, 2: 9, 3: 7, 4: 5}
NEWTON_STEPS = 8
STEP = 1e-3  # of numerical derivatives, on the predictor's scale; they only place the grid


def gaussian_integrated(
    residual: Array,
    Z: Sequence[Array],
    factor: Array,
    residual_sd: Array,
    therapist_index: Index,
    therapists: int,
) -> Array:
    """Log density of each therapist's Gaussian outcomes, in closed form.

    Parameters
    ----------
    residual : ndarray, shape (d, n)
        Outcomes minus their expected values with an average therapist.
    Z : sequence of q ndarray, shape (1, n) or (d, n)
        What the patients multiply the therapist's effects by.
    factor : ndarray, shape (d, q, q)
        Lower Cholesky factor of the effects' covariance.
    residual_sd : ndarray, shape (d, 1)
    therapist_index : ndarray of int, shape (n,)
    therapists : int
        J.

    Returns
    -------
    ndarray, shape (d, J)
        See `models.gaussian.marginal`.
    """
    belongs = (therapist_index[:, None] == np.arange(therapists)).astype(float)
    squares, count = residual**2 @ belongs, belongs.sum(axis=0)
    log_determinant: Array | float = 0.0
    if Z:
        terms = therapist_terms(
            ZtZ=[[(a * b) @ belongs for b in Z] for a in Z],
            Ztr=[(a * residual) @ belongs for a in Z],
            G=[[factor[:, a, b, None] / residual_sd for b in range(a + 1)] for a in range(len(Z))],
        )
        squares = squares - terms.explained
        log_determinant = terms.log_determinant
    constant = count * np.log(2 * np.pi * residual_sd**2)
    return np.asarray(-0.5 * (constant + log_determinant + squares / residual_sd**2))


def quadrature_integrated(
    of_rows: Callable[[Index], Callable[[Array], Array]],
    centre: Array,
    Z: Sequence[Array],
    factor: Array,
    therapist_index: Index,
    therapists: int,
    nodes: int | None = None,
) -> Array:
    """Log density or mass of each therapist's outcomes, by adaptive Gauss-Hermite quadrature.

    The grid of nodes is placed, for every draw and therapist, at the mode of the effects given
    the outcomes, and scaled by the curvature there (Pinheiro & Bates 1995,
    doi:10.1080/10618600.1995.10474663).

    Parameters
    ----------
    of_rows : callable
        From positions of patients to a function that takes their predictor, shape (d, n), to the
        log density or mass of their outcomes.
    centre : ndarray, shape (d, n)
        Predictor with an average therapist.
    Z, factor, therapist_index, therapists
        As in `gaussian_integrated`.
    nodes : int, optional
        For each effect, in place of those of `NODES`.

    Returns
    -------
    ndarray, shape (d, J)
    """
    order = np.argsort(therapist_index, kind="stable")
    present, starts = np.unique(therapist_index[order], return_index=True)
    log_density, centre = of_rows(order), centre[:, order]
    found = np.zeros((len(centre), therapists))

    def by_therapist(values: Array) -> Array:
        return np.add.reduceat(values, starts, axis=1)

    if not Z:
        found[:, present] = by_therapist(log_density(centre))
        return found
    q, own = len(Z), np.repeat(np.arange(len(present)), np.diff([*starts, len(order)]))
    # What a patient multiplies the therapist's standard normal deviates by
    loading = [
        sum((factor[:, a, b, None] * Z[a][:, order] for a in range(b, q)), np.zeros((1, 1)))
        for b in range(q)
    ]

    def predictor(deviates: Sequence[Array]) -> Array:
        moved = centre.copy()
        for b in range(q):
            moved += deviates[b][:, own] * loading[b]
        return moved

    mode = [np.zeros((len(centre), len(present))) for _ in range(q)]
    precision = np.empty((*mode[0].shape, q, q))
    for _ in range(NEWTON_STEPS):
        slope, curvature = _derivatives(log_density, predictor(mode))
        gradient = np.stack([by_therapist(slope * loading[b]) - mode[b] for b in range(q)], axis=-1)
        for a in range(q):
            for b in range(a + 1):
                squares = by_therapist(curvature * loading[a] * loading[b])
                precision[..., a, b] = precision[..., b, a] = squares + float(a == b)
        step = np.linalg.solve(precision, gradient[..., None])[..., 0]
        mode = [mode[b] + np.clip(step[..., b], -1, 1) for b in range(q)]
    spread = np.linalg.inv(np.linalg.cholesky(precision)).swapaxes(-1, -2)
    log_scale = np.log(np.diagonal(spread, axis1=-2, axis2=-1)).sum(axis=-1)
    total = np.full(mode[0].shape, -np.inf)
    for grid in product(normal_nodes(nodes or NODES[q]), repeat=q):
        points = np.array([node for node, _ in grid])
        log_weight = sum(np.log(weight) for _, weight in grid) + 0.5 * points @ points
        deviates = [mode[b] + spread[..., b, :] @ points for b in range(q)]
        density = by_therapist(log_density(predictor(deviates)))
        density += log_weight - 0.5 * sum(deviate**2 for deviate in deviates)
        np.logaddexp(total, density, out=total)
    found[:, present] = total + log_scale
    return found


def _derivatives(log_density: Callable[[Array], Array], predictor: Array) -> tuple[Array, Array]:
    """Slope, and curvature downwards but not below zero, of each patient's log density."""
    below, here, above = (log_density(predictor + shift) for shift in (-STEP, 0.0, STEP))
    curvature = (2 * here - below - above) / STEP**2
    return (above - below) / (2 * STEP), np.maximum(curvature, 0.0)
