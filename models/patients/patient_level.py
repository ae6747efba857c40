"""The model written out patient by patient: every family and option, and the readable reference."""

from __future__ import annotations

import pymc as pm
import pytensor.tensor as pt

from alliance.models.design.design import Design
from alliance.models.design.ratings import latent_patients, needs_model
from alliance.models.families.family_parameters import SYMBOLS, family_parameters
from alliance.models.gaussian.exact_gaussian import moderator_coords, therapist_factor
from alliance.models.priors import Priors
from alliance.models.ratings.latent_moderator import (
    between_part,
    latent_moderator,
    moderated_columns,
)


def patient_level_model(design: Design, priors: Priors) -> pm.Model:
    """Model with non-centred therapist effects and one likelihood term for each row.

    Parameters
    ----------
    design : Design
        n rows, J therapists, p coefficients, q therapist effects.
    priors : Priors

    Returns
    -------
    pymc.Model
        Free variables ``beta`` (coefficient), the family's own (``residual_sd``,
        ``degrees_of_freedom``, ``category_share``, ``precision``), the therapist effects'
        (``therapist_sd``, ``therapist_slope_sd``, ``therapist_correlation``,
        ``therapist_arm_sd``) and, where the alliance is modelled, its own
        (`models.ratings.latent_moderator`); deterministic ``therapist_effect`` (J, q), and
        ``moderator_latent``, those alliances that are parameters. Everything but the
        family's own parameters is in SDs of the outcome, moderator, baseline and covariates.
    """
    used = [k for k, name in enumerate(design.coefficients) if _is_used(design, name)]
    names = [design.coefficients[k] for k in used]
    latent = latent_patients(design)
    coords = {
        "coefficient": names,
        "therapist": list(design.therapists),
        "effect": list(design.effects),
        "latent_patient": latent,
        "threshold": list(range(1, design.scale.top + 1)),
        "category": list(range(design.scale.top + 1)),
        **moderator_coords(design),
    }
    with pm.Model(coords=coords) as model:
        beta = pm.Normal("beta", 0, design.prior_sd(priors)[used], dims="coefficient")
        moderator = latent_moderator(design, priors) if needs_model(design) else None
        X = pm.Data("X", design.X) if moderator is None else moderated_columns(design, moderator)
        predictor = X[:, used] @ beta
        if design.effects:
            predictor = predictor + _therapist_part(design, priors, X)
        if moderator is not None and moderator.therapist_mean is not None:
            predictor = predictor + between_part(design, priors, moderator.therapist_mean)
        if moderator is not None and latent:
            pm.Deterministic("moderator_latent", moderator.value[latent], dims="latent_patient")
        eta = design.scale.link_location + design.scale.link_unit * predictor
        auxiliary = family_parameters(design.family, design.scale, priors)
        y = pm.Data("outcome", design.y.astype(int) if design.family.discrete else design.y)
        count = pm.Data("count", design.count)
        pointwise = design.family.log_likelihood(SYMBOLS, y, eta, auxiliary, design.scale)
        pm.Potential("log_likelihood_sum", (count * pointwise).sum())
    return model


def _is_used(design: Design, name: str) -> bool:
    return name != "intercept" or design.family.has_intercept


def _therapist_part(design: Design, priors: Priors, X: pt.TensorVariable) -> pt.TensorVariable:
    """What each row's therapist adds to the predictor."""
    scales = [
        priors.therapist_sd,
        priors.therapist_slope_sd,
        priors.therapist_correlation,
        priors.therapist_arm_sd,
    ]
    L = therapist_factor(design.effects, pt.constant(scales))
    standard = pm.Normal("therapist_standard", 0, 1, dims=("therapist", "effect"))
    columns = [
        sum(L[a][b] * standard[:, b] for b in range(a + 1)) for a in range(len(design.effects))
    ]
    effect = pm.Deterministic(
        "therapist_effect", pt.stack(columns, axis=1), dims=("therapist", "effect")
    )
    therapist = design.therapist_index
    if not needs_model(design):
        therapist = pm.Data("therapist_index", therapist)
    rows = effect[therapist]
    return sum(rows[:, k] * X[:, column] for k, column in enumerate(design.effect_columns))
