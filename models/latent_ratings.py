"""The alliance as a model of its own: therapists' true means, missing and mismeasured ratings.

Gaussian outcomes with a latent alliance: therapist effects integrated out given the alliance.

Where some alliance is a parameter, therapist slopes are multiplied by it, and the likelihood is not
that of cross-products known beforehand. Given every alliance it still is: the cross-products are
taken anew at every step, and what is left to sample has no therapist effects, nor their funnel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray

from alliance.models.design.design import Design
from alliance.models.design.ratings import (
    PREDICTOR_SCALE,
    RatingKinds,
    between_columns,
    caseload,
    kinds_of_rating,
    latent_patients,
    predictor_columns,
    taken_apart,
)
from alliance.models.gaussian.exact_gaussian import (
    between_slopes,
    matrix_of,
    moderator_coords,
    therapist_factor,
)
from alliance.models.gaussian.gaussian_draws import BLOCK_NUMBERS, GaussianDraws
from alliance.models.gaussian.generalised_squares import GeneralisedSquares, packed
from alliance.models.gaussian.marginal import (
    alliance_terms,
    effects_given,
    scaled,
    therapist_terms,
)
from alliance.models.priors import Priors

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LatentModerator:
    """Every patient's alliance inside a model, on the standardised scale.

    Attributes
    ----------
    value : tensor, shape (n,)
        Observed or latent.
    therapist_mean : tensor, shape (J,), or None
        Each therapist's true mean, on the same scale; None unless the alliance is taken apart.
    """

    value: pt.TensorVariable
    therapist_mean: pt.TensorVariable | None


def latent_moderator(design: Design, priors: Priors) -> LatentModerator:
    """Declare the alliance's own model, inside a model of the outcome.

    The rating x of patient i of therapist j is

        x_i ~ Normal(A_i gamma + m_j, sd of x),     m_j ~ Normal(0, moderator_therapist_sd)

    with A all that stands beside the alliance in the outcome's model: intercept, baseline, arms and
    covariates (`models.design.ratings.predictor_columns`). The true mean of therapist j is m_j and
    what the arms of his or her caseload predict (`models.design.ratings.caseload`). A missing x is
    a parameter; one at the ceiling is known to lie there or above (Tobin 1958,
    doi:10.2307/1907382). With a reliability r the rating is the true alliance plus noise of
    variance 1 - r (in observed variances), and the outcome depends on the true one (classical
    measurement error; Carroll et al. 2006, doi:10.1201/9781420010138).

    Parameters
    ----------
    design : Design
        One whose alliance needs a model. Its ratings are data of the model (`pymc.Data`), all else
        of it constants.
    priors : Priors

    Returns
    -------
    LatentModerator
    """
    spec = design.moderator
    observed = design.X[:, design.coefficients.index("moderator")]
    columns = predictor_columns(design)
    given = pm.Data("moderator", observed)
    gamma = pm.Normal(
        "moderator_coefficient", 0, PREDICTOR_SCALE, shape=len(columns), dims="moderator_predictor"
    )
    fixed = pt.constant(design.X[:, columns]) @ gamma
    # Therapists' means are estimated wherever the alliance is modelled: they inform what is latent.
    therapist_sd = pm.HalfNormal("moderator_therapist_sd", priors.moderator_therapist_sd)
    residual_sd = pm.HalfNormal("moderator_residual_sd", 1)
    noise_variance = 0.0 if spec.reliability is None else 1 - spec.reliability
    rating_variance = residual_sd**2 + noise_variance
    kinds = kinds_of_rating(design, observed)
    own = _therapist_deviations(design, kinds.seen, given - fixed, therapist_sd**2, rating_variance)
    therapist_mean = pm.Deterministic(
        "moderator_therapist_mean", pt.constant(caseload(design)) @ gamma + own, dims="therapist"
    )
    location = fixed + own[design.therapist_index]
    rating = _rating(given, kinds, location, pt.sqrt(rating_variance))
    value = rating
    if noise_variance > 0:
        # Given its rating, a true alliance is normal around the rating shrunk to its location.
        share = residual_sd**2 / rating_variance
        noise = pm.Normal("moderator_noise_standard", 0, 1, shape=len(observed))
        value = location + share * (rating - location) + pt.sqrt(share * noise_variance) * noise
    mean = therapist_mean if spec.structure == "within_between" else None
    return LatentModerator(value, mean)


def moderated_columns(design: Design, alliance: LatentModerator) -> pt.TensorVariable:
    """X with the alliance of the model in its own columns and the interactions.

    Where it is taken apart, with what a patient's differs from the therapist's mean: see
    `models.design.ratings`.
    """
    moderator = alliance.value
    if alliance.therapist_mean is not None:
        moderator = moderator - alliance.therapist_mean[design.therapist_index]
    X = pt.constant(design.unmoderated())
    factors = [np.ones(len(design.y)), *design.X[:, design.arm_columns].T]
    for column, factor in zip(design.moderator_columns, factors, strict=False):
        X = pt.set_subtensor(X[:, column], moderator * factor)
    return X


def between_part(
    design: Design, priors: Priors, therapist_mean: pt.TensorVariable
) -> pt.TensorVariable:
    """What each patient's therapist's mean alliance adds to the predictor, inside a model, (n,)."""
    slopes = between_slopes(design, priors.moderator_slope, priors.interaction)
    own = pt.constant(design.X[:, between_columns(design)]) @ pt.stack(slopes)
    return own * therapist_mean[design.therapist_index]


def _therapist_deviations(
    design: Design,
    seen: NDArray[np.int64],
    deviation: pt.TensorVariable,
    therapist_variance: pt.TensorVariable,
    rating_variance: pt.TensorVariable,
) -> pt.TensorVariable:
    """Therapists' deviations, as normal deviates around what the ratings that are there say.

    The ratings' likelihood has them integrated out; what is left of a deviation given the ratings
    is standard normal, which samples well for therapists with few patients and with many.
    """
    therapists = np.arange(len(design.therapists))
    own = design.therapist_index[seen] == therapists[:, None]
    belongs = pt.constant(own * design.count[seen])  # a row may stand for several patients
    terms = alliance_terms(
        count=belongs.sum(axis=1),
        total=belongs @ deviation[seen],
        squares=belongs @ deviation[seen] ** 2,
        location=0.0,
        therapist_variance=therapist_variance,
        residual_variance=rating_variance,
        log=pt.log,
    )
    pm.Potential("moderator_likelihood", terms.log_likelihood.sum())
    standard = pm.Normal("moderator_therapist_standard", 0, 1, dims="therapist")
    return terms.mean + pt.sqrt(terms.variance) * standard


def _rating(
    rating: pt.TensorVariable,
    kinds: RatingKinds,
    location: pt.TensorVariable,
    rating_sd: pt.TensorVariable,
) -> pt.TensorVariable:
    """Every patient's rating without ceiling: observed, imputed, or above the ceiling."""
    if len(kinds.missing):
        standard = pm.Normal("moderator_missing_standard", 0, 1, shape=len(kinds.missing))
        imputed = location[kinds.missing] + rating_sd * standard
        rating = pt.set_subtensor(rating[kinds.missing], imputed)
    if len(kinds.at_ceiling):
        # A normal density restricted to values above the ceiling, not normalised: the probability
        # of standing there is part of the likelihood.
        above = pm.Normal(
            "moderator_above_ceiling",
            location[kinds.at_ceiling],
            rating_sd,
            default_transform=pm.distributions.transforms.Interval(kinds.ceiling, None),
            initval=np.full(len(kinds.at_ceiling), kinds.ceiling + 0.5),
            shape=len(kinds.at_ceiling),
        )
        rating = pt.set_subtensor(rating[kinds.at_ceiling], above)
    return rating


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
        As `models.patient_level.patient_level_model`, without ``therapist_effect``.
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
