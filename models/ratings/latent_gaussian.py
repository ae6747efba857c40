"""Gaussian outcomes with a latent alliance: therapist effects integrated out given the alliance.

Where some alliance is a parameter, therapist slopes are multiplied by it, and the likelihood is not
that of cross-products known beforehand. Given every alliance it still is: the cross-products are
taken anew at every step, and what is left to sample has no therapist effects, nor their funnel.
"""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray

from alliance.models.design.design import Design
from alliance.models.design.ratings import latent_patients
from alliance.models.design.within_between import between_columns, taken_apart
from alliance.models.gaussian.exact_gaussian import matrix_of, moderator_coords, therapist_factor
from alliance.models.gaussian.gaussian_draws import BLOCK_NUMBERS, GaussianDraws, effects_given
from alliance.models.gaussian.generalised_squares import GeneralisedSquares, packed
from alliance.models.gaussian.marginal import scaled, therapist_terms
from alliance.models.priors import Priors
from alliance.models.ratings.latent_moderator import (
    between_part,
    latent_moderator,
    moderated_columns,
)

Array = NDArray[np.float64]


def latent_gaussian_model(design: Design, priors: Priors) -> pm.Model:
    """Gaussian model with a latent moderator, the therapist effects integrated out.

    Parameters
    ----------
    design : Design
        With therapist effects.
    priors : Priors

    Returns
    -------
    pymc.Model
        As `models.patients.patient_level.patient_level_model`, without ``therapist_effect``.
    """
    latent = latent_patients(design)
    coords = {
        "coefficient": list(design.coefficients),
        "therapist": list(design.therapists),
        "latent_patient": latent,
        **moderator_coords(design),
    }
    with pm.Model(coords=coords) as model:
        beta = pm.Normal("beta", 0, design.prior_sd(priors), dims="coefficient")
        residual_sd = pm.HalfNormal("residual_sd", priors.residual_sd)
        moderator = latent_moderator(design, priors)
        y = pm.Data("outcome", design.y)
        if moderator.therapist_mean is not None:
            y = y - between_part(design, priors, moderator.therapist_mean)
        if latent:
            pm.Deterministic("moderator_latent", moderator.value[latent], dims="latent_patient")
        X = moderated_columns(design, moderator)
        W = pt.concatenate([X, y[:, None]], axis=1)
        belongs = pt.constant(_belongs(design))
        within = pt.stack([belongs @ (W[:, [k]] * W) for k in design.effect_columns])
        scales = [
            priors.therapist_sd,
            priors.therapist_slope_sd,
            priors.therapist_correlation,
            priors.therapist_arm_sd,
        ]
        elements, places = packed(therapist_factor(design.effects, pt.constant(scales)))
        sums = GeneralisedSquares(design.effect_columns, places, latent=True)
        squares, log_determinant, *_ = sums(
            beta, matrix_of(elements) / residual_sd, W.T @ W, within
        )
        constant = len(design.y) * (0.5 * np.log(2 * np.pi) + pt.log(residual_sd))
        density = -constant - 0.5 * (log_determinant + squares / residual_sd**2)
        pm.Potential("log_likelihood_sum", density)
    return model


def _belongs(design: Design) -> Array:
    """Which therapist (row) a patient (column) is of."""
    therapists = np.arange(len(design.therapists))
    return (therapists[:, None] == design.therapist_index).astype(float)


def draw_latent_effects(
    design: Design,
    draws: GaussianDraws,
    moderator: Array,
    generator: np.random.Generator,
) -> Array:
    """Draw every therapist's effects given the other parameters and all alliances.

    Parameters
    ----------
    design : Design
        n patients, J therapists, q effects.
    draws : GaussianDraws
        d draws.
    moderator : ndarray, shape (d, n)
        Every patient's alliance, standardised.
    generator : numpy.random.Generator

    Returns
    -------
    ndarray, shape (d, J, q)
        Normal, as of `models.gaussian.gaussian_draws.draw_therapist_effects`.
    """
    total, patients = moderator.shape
    size, belongs = len(design.effects), _belongs(design)
    effects = np.empty((total, len(design.therapists), size))
    block = max(1, BLOCK_NUMBERS // (patients * len(design.coefficients)))
    factors = [np.ones(patients), *design.X[:, design.arm_columns].T]
    for start in range(0, total, block):
        some = slice(start, start + block)
        part = draws.block(some)
        X = np.repeat(design.X[None], len(part.residual_sd), axis=0)
        own, means = moderator[some], None
        if taken_apart(design):
            means = np.asarray(part.moderator_therapist_mean)[:, design.therapist_index]
            between = part.between_slopes @ design.X[:, between_columns(design)].T
            own = own - means
        for column, factor in zip(design.moderator_columns, factors, strict=False):
            X[:, :, column] = own * factor
        residual = design.y - np.einsum("dnp,dp->dn", X, part.beta)
        if means is not None:
            residual -= between * means
        Z = [X[:, :, column] for column in design.effect_columns]
        L = part.factor(size)
        terms = therapist_terms(
            ZtZ=[[(a * b) @ belongs.T for b in Z] for a in Z],
            Ztr=[(a * residual) @ belongs.T for a in Z],
            G=scaled(L, part.residual_sd[:, None]),
        )
        effects[some] = effects_given(terms, L, part.residual_sd[:, None], generator)
    return effects
