"""Draws of therapists' effects given everything else, where no normal distribution is theirs.

An independence sampler (Tierney 1994, doi:10.1214/aos/1176325750) for every therapist and draw at
once: proposals from a multivariate t around the mode, accepted by how much more likely they are
under the effects' own distribution than under the proposal's. Eight in ten are, or more: after
`STEPS` of them what the first one was no longer shows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alliance.models.integrated.likelihood import (
    MODE_NUMBERS,
    Centres,
    FamilyDraws,
    Patients,
    expand,
    find_centres,
    log_products,
)

Array = NDArray[np.float64]

STEPS = 8
BLOCK = 256  # draws at a time: what the processor's caches hold
TAILS = 7  # degrees of freedom of the proposals
WIDTH = 1.05  # of them to the curvature's


def draw_effects(patients: Patients, draws: FamilyDraws, generator: np.random.Generator) -> Array:
    """Draw every therapist's effects given the other parameters.

    Parameters
    ----------
    patients : Patients
        J therapists, q effects.
    draws : FamilyDraws
        d draws.
    generator : numpy.random.Generator

    Returns
    -------
    ndarray, shape (d, J, q)
        Those of a therapist without patients come from the population.
    """
    therapists, q = len(patients.design.therapists), patients.effects
    effects = np.empty((len(draws), therapists, q))
    step = max(16, MODE_NUMBERS // max(1, len(patients.rows)))
    for start in range(0, len(draws), step):
        some = slice(start, start + step)
        part = draws.take(some)
        standard = generator.standard_normal((q, therapists, len(part)))
        if len(patients.seen):
            with np.errstate(all="ignore"):
                standard[:, patients.seen] = _drawn(patients, part, generator)
        L = part.factor(q)
        for a in range(q):
            effects[some, :, a] = sum(L[a][b] * standard[b] for b in range(a + 1)).T
    return effects


def _drawn(patients: Patients, draws: FamilyDraws, generator: np.random.Generator) -> Array:
    """Effects in SDs of their prior, shape (q, J, d), of the therapists with patients."""
    q = patients.effects
    eta = patients.predictor(draws, patients.rows)
    centres = find_centres(patients, draws, eta)
    shape = (len(patients.seen), STEPS, len(draws))
    tails = np.sqrt(TAILS / generator.chisquare(TAILS, shape))
    away = WIDTH * tails * generator.standard_normal((q, *shape))
    proposed = np.stack(
        [
            centres.mean[a][:, None]
            + sum(centres.spread[a][b][:, None] * away[b] for b in range(a, q))
            for a in range(q)
        ]
    )
    # How much more likely under the effects' distribution than under the proposal's
    ratio = np.concatenate(
        [
            _likelihood(patients, draws, eta, centres, away, slice(start, start + BLOCK))
            for start in range(0, len(draws), BLOCK)
        ],
        axis=-1,
    )
    ratio -= 0.5 * (proposed**2).sum(axis=0)
    ratio += (TAILS + q) / 2 * np.log1p((away**2).sum(axis=0) / (TAILS * WIDTH**2))
    ratio = np.where(np.isfinite(ratio), ratio, -np.inf)
    height = np.log(generator.random(shape))
    current, density = proposed[:, :, 0], ratio[:, 0]
    for step in range(1, STEPS):
        accept = height[:, step] < ratio[:, step] - density
        accept |= ~np.isfinite(density)
        density = np.where(accept, ratio[:, step], density)
        current = np.where(accept, proposed[:, :, step], current)
    return current


def _likelihood(
    patients: Patients,
    draws: FamilyDraws,
    eta: Array,
    centres: Centres,
    away: Array,
    some: slice,
) -> Array:
    """Log likelihood of each therapist's patients, up to a constant, (J, STEPS, d)."""
    away = away[..., some]
    furthest = float(np.abs(away).max())
    around = expand(patients, draws.take(some), eta[:, some], centres.block(some), furthest)
    unit = around.kernel.unit() if around.kernel.additive else 1.0

    def moves(rows: slice) -> Array:
        own = away[:, patients.rank[rows]]
        found = sum(
            (each / unit)[rows, None] * x for each, x in zip(around.along, own, strict=True)
        )
        return np.asarray(found if around.kernel.additive else np.exp(found))

    total = log_products(patients, around, moves, STEPS)
    for b, linear in enumerate(around.linear):
        total += away[b] * linear[:, None]
    return total
