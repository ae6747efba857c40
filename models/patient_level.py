"""The model written out patient by patient: every family and option, and the readable reference.

The families' own parameters as PyMC variables, and their formulas' functions as symbols.

What a compiled patient-level model holds for good, and what each trial gives to it.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray

from alliance.models.clinics import CLINIC_TERM
from alliance.models.design.design import Design
from alliance.models.design.ratings import kinds_of_rating, latent_patients, needs_model
from alliance.models.families.family import EDGE, FAR, GAMMA, Family, Operations, Parameter, Scale
from alliance.models.gaussian.exact_gaussian import moderator_coords, therapist_factor
from alliance.models.latent_ratings import between_part, latent_moderator, moderated_columns
from alliance.models.nesting import RESIDUAL_GROUP
from alliance.models.priors import Priors

RESIDUAL_GROUP_OF = "patient_residual_group"  # data of the model: each row's group


def _ends(cutpoints: pt.TensorVariable, category: Any) -> tuple[Any, Any]:
    padded = pt.concatenate([[-FAR], cutpoints, [FAR]])
    return padded[category], padded[category + 1]


def _log_ndtr(x: Any) -> Any:
    # Each branch is kept to its own side, or the other's infinite gradient would spoil it.
    low, high = pt.minimum(x, -1.0), pt.maximum(x, -1.0)
    tail = pt.log(pt.erfcx(-low / np.sqrt(2)) / 2) - low**2 / 2
    return pt.switch(x < -1.0, tail, pt.log1p(-pt.erfc(high / np.sqrt(2)) / 2))


SYMBOLS = Operations(
    pt.log,
    pt.exp,
    pt.log1p,
    pt.sigmoid,
    pt.softplus,
    pt.log1mexp,
    pt.gammaln,
    _log_ndtr,
    pt.switch,
    _ends,
)


def family_parameters(
    family: Family, scale: Scale, priors: Priors, groups: str | None = None
) -> dict[str, Any]:
    """Declare a family's own parameters, inside a model.

    Parameters
    ----------
    family : Family
    scale : Scale
    priors : Priors
    groups : str, optional
        Dimension of residual SDs, where there are several.

    Returns
    -------
    dict of str to tensor
    """
    return {
        parameter.name: _declare(parameter, scale, priors, groups)
        for parameter in family.parameters
    }


def _declare(parameter: Parameter, scale: Scale, priors: Priors, groups: str | None) -> Any:
    setting = None if parameter.scale is None else getattr(priors, parameter.scale)
    if parameter.prior == "half_normal":
        return pm.HalfNormal(parameter.name, setting, dims=groups)
    if parameter.prior == "gamma":
        if not setting:
            return pm.Gamma(parameter.name, **GAMMA)
        # PyTensor takes a whole number for single precision, whose gammaln is off by whole units.
        return pt.constant(setting, dtype="float64")
    # Shares of the categories for an average patient order the cutpoints, and leave unused
    # categories a prior of their own.
    shares = pm.Dirichlet("category_share", np.full(scale.top + 1, setting), dims="category")
    cumulative = pt.clip(pt.cumsum(shares)[:-1], EDGE, 1 - EDGE)
    if parameter.prior == "ordered_logit":
        cutpoints = pt.log(cumulative) - pt.log1p(-cumulative)
    else:
        cutpoints = np.sqrt(2) * pt.erfinv(2 * cumulative - 1)
    return pm.Deterministic(parameter.name, cutpoints, dims="threshold")


def given_data(design: Design) -> dict[str, NDArray]:
    """The data (`pymc.Data`) of a patient-level model.

    Parameters
    ----------
    design : Design
        n rows, p coefficients.

    Returns
    -------
    dict of str to ndarray
        ``outcome`` (n,); of a model of the ratings ``moderator`` (n,), and of any other all that
        differs between patients: ``X`` (n, p) and, with therapist effects, ``therapist_index``
        (n,). ``count`` (n,), where the therapist effects are not integrated out; ``offset`` (n,)
        of patients with exposures. ``patient_residual_group`` (n,), where there are several.
    """
    data = {"outcome": design.y.astype(int) if design.family.discrete else design.y}
    if needs_model(design):
        data["moderator"] = design.X[:, design.coefficients.index("moderator")]
    else:
        data["X"] = design.X
        if design.effects:
            data["therapist_index"] = design.therapist_index
        if design.clinic_effects:
            data["clinic_index"] = design.clinic_of
    if design.nesting.number > 1:
        data[RESIDUAL_GROUP_OF] = design.residual_group
    if not design.integrated:
        data["count"] = design.count
    if design.offset is not None:
        data["offset"] = design.offset
    return data


def held_constants(design: Design, priors: Priors) -> str:
    """Key of all that a patient-level model holds beside `given_data`.

    Parameters
    ----------
    design : Design
    priors : Priors
    """
    scale = design.scale
    arrays: list[NDArray[Any]] = [design.prior_sd(priors)]
    facts = [
        design.coefficients,
        design.effects,
        design.therapists,
        design.family.name,
        design.moderator,
        design.nesting,
        (scale.top, scale.link_location, scale.link_unit),
        priors,
        *(["offset"] if design.offset is not None else []),
        *([design.clinics, design.clinic_effects] if design.clinic_effects else []),
    ]
    if needs_model(design):
        ratings = design.X[:, design.coefficients.index("moderator")]
        arrays += [
            design.unmoderated(),
            design.therapist_index,
            design.moderator_missing,
            design.count,
            kinds_of_rating(design, ratings).at_ceiling,
        ]
        if design.moderator.ceiling is not None:
            facts.append(design.scaling.moderator)  # where it lies
    digest = hashlib.sha256(repr(facts).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


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
        ``therapist_arm_sd``), those of clinics' effects and, where the alliance is modelled, its
        own (`models.latent_ratings`); deterministic ``therapist_effect`` (J, q), ``clinic_effect``
        and ``moderator_latent``, those alliances that are parameters. Everything but the
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
        **design.nesting.coords(design.arms),
    }
    if design.clinic_effects:
        coords |= {"clinic": list(design.clinics), CLINIC_TERM: list(design.clinic_effects)}
    with pm.Model(coords=coords) as model:
        beta = pm.Normal("beta", 0, design.prior_sd(priors)[used], dims="coefficient")
        moderator = latent_moderator(design, priors) if needs_model(design) else None
        X = pm.Data("X", design.X) if moderator is None else moderated_columns(design, moderator)
        predictor = X[:, used] @ beta
        if design.effects:
            predictor = predictor + _therapist_part(design, priors, X)
        if design.clinic_effects:
            predictor = predictor + _clinic_part(design, priors, X)
        if moderator is not None and moderator.therapist_mean is not None:
            predictor = predictor + between_part(design, priors, moderator.therapist_mean)
        if moderator is not None and latent:
            pm.Deterministic("moderator_latent", moderator.value[latent], dims="latent_patient")
        eta = design.scale.link_location + design.scale.link_unit * predictor
        if design.offset is not None:
            eta = eta + pm.Data("offset", design.offset)
        several = design.nesting.number > 1
        auxiliary = family_parameters(
            design.family, design.scale, priors, RESIDUAL_GROUP if several else None
        )
        if several:
            group = pm.Data(RESIDUAL_GROUP_OF, design.residual_group)
            auxiliary["residual_sd"] = auxiliary["residual_sd"][group]
        y = pm.Data("outcome", design.y.astype(int) if design.family.discrete else design.y)
        count = pm.Data("count", design.count)
        pointwise = design.family.log_likelihood(SYMBOLS, y, eta, auxiliary, design.scale)
        pm.Potential("log_likelihood_sum", (count * pointwise).sum())
    return model


def _is_used(design: Design, name: str) -> bool:
    if name == "moderator":
        return design.has_moderator
    return name != "intercept" or design.family.has_intercept


def _clinic_part(design: Design, priors: Priors, X: pt.TensorVariable) -> pt.TensorVariable:
    """What each row's clinic adds to the predictor."""
    scales = [priors.clinic_sd, priors.clinic_slope_sd, priors.clinic_correlation]
    L = therapist_factor(design.clinic_effects, pt.constant(scales), "clinic")
    dims = ("clinic", CLINIC_TERM)
    standard = pm.Normal("clinic_standard", 0, 1, dims=dims)
    columns = [
        sum(L[a][b] * standard[:, b] for b in range(a + 1))
        for a in range(len(design.clinic_effects))
    ]
    effect = pm.Deterministic("clinic_effect", pt.stack(columns, axis=1), dims=dims)
    rows = effect[pm.Data("clinic_index", design.clinic_of)]
    return sum(rows[:, k] * X[:, column] for k, column in enumerate(design.clinic_columns))


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
    if design.nesting.without:  # the last is of patients who have none
        effect = pt.concatenate([effect, pt.zeros((1, len(design.effects)))])
    rows = effect[therapist]
    return sum(rows[:, k] * X[:, column] for k, column in enumerate(design.effect_columns))
