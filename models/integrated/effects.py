"""Draws of therapists' effects given everything else, where no normal distribution is theirs.

An independence sampler (Tierney 1994, doi:10.1214/aos/1176325750) for every therapist and draw at
once: proposals from a multivariate t around the mode, accepted by how much more likely they are
under the effects' own distribution than under the proposal's. Nine in ten are, so that after
`STEPS` of them what the first one was no longer shows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alliance.models.integrated.likelihood import (
    MODE_NUMBERS,
    FamilyDraws,
    Patients,
    find_centres,
    pointwise,
)

Array = NDArray[np.float64]

STEPS = 8
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
    q, L = patients.effects, draws.factor(patients.effects)
    eta = patients.predictor(draws, patients.rows)
    centres = find_centres(patients, draws, eta)
    shape = (q, len(patients.seen), len(draws))
    current = np.stack(centres.mean)
    density = np.full(shape[1:], -np.inf)  # of the target over the proposal's: any is accepted
    for _ in range(STEPS):
        tails = np.sqrt(TAILS / generator.chisquare(TAILS, shape[1:]))
        away = WIDTH * tails * generator.standard_normal(shape)
        proposed = np.stack(
            [
                centres.mean[a] + sum(centres.spread[a][b] * away[b] for b in range(a, q))
                for a in range(q)
            ]
        )
        own = [sum(L[a][b] * proposed[b] for b in range(a + 1)) for a in range(q)]
        moved = sum(patients.A[:, a, None] * own[a][patients.rank] for a in range(q))
        likelihood = pointwise(patients, draws, patients.rows, eta + moved)
        distance = (away**2).sum(axis=0) / (TAILS * WIDTH**2)
        ratio = patients.member @ likelihood - 0.5 * (proposed**2).sum(axis=0)
        ratio = ratio + (TAILS + q) / 2 * np.log1p(distance)
        ratio = np.where(np.isfinite(ratio), ratio, -np.inf)
        accept = np.log(generator.random(shape[1:])) < ratio - density
        accept |= ~np.isfinite(density)
        density = np.where(accept, ratio, density)
        current = np.where(accept, proposed, current)
    return current
