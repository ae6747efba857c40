"""The exact Gaussian model in PyMC: therapist effects integrated out, only cross-products in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray

from alliance.models.design.design import Design
from alliance.models.design.ratings import (
    PREDICTOR_SCALE,
    between_columns,
    caseload,
    change_of_columns,
    moved_products,
    predictor_columns,
    rating_products,
    taken_apart,
)
from alliance.models.gaussian.generalised_squares import GeneralisedSquares, packed
from alliance.models.gaussian.marginal import alliance_terms, covariance_factor, with_independent
from alliance.models.gaussian.two_levels import TwoLevels
from alliance.models.nesting import RESIDUAL_GROUP
from alliance.models.priors import Priors, slope_parts

Array = NDArray[np.float64]


def model_data(design: Design, priors: Priors) -> dict[str, Array]:
    """The arrays that a compiled model is given.

    Few arrays, because each costs compilation time; none of their shapes but p and q is fixed.

    Parameters
    ----------
    design : Design
        J therapists, p coefficients, q therapist effects, G residual groups; W = [X, y].
    priors : Priors

    Returns
    -------
    dict
        ``cross_products`` (p + 1, p + 1), W'W over all patients; ``therapist_cross_products``
        (q, J, p + 1), Z_j'W_j (only where something is integrated out). Where there are several
        residual groups both have one more dimension, the groups, first; of the latter only those
        with therapists. Where the alliance is taken
        apart, ``therapist_cross_products`` (J, p + 1, p + 1), all of W_j'W_j, and what
        `rating_data` gives, instead. With evidence on the slope ``slope_parts`` (2, 3), see
        `models.priors.slope_parts`. With clinics' effects those of
        `models.clinics.LevelProducts`. ``prior_scale`` (p + 8,), the coefficients'
        scales and then those of residual SD, therapist SD, therapist slope SD, the shape of their
        correlation, and the scales of therapist arm SD, of the therapists' mean moderator, and of
        slope and interaction between them; with clinics' effects (p + 11,), theirs last.
    """
    if design.clinic_effects:
        return _level_data(design, priors)
    within = design.moments.cross_products
    groups = [each.cross_products for each in design.group_moments]
    known = len(design.therapists)
    data = {"prior_scale": _prior_scale(design, priors)}
    if taken_apart(design):
        data |= {"therapist_cross_products": within, **rating_data(design)}
    else:
        columns = design.effect_columns
        totals = [each.sum(axis=0) for each in groups]
        varying = [
            each[:known, columns].transpose(1, 0, 2)
            for each in groups[: design.nesting.with_therapists]
        ]
        several = len(groups) > 1
        data["cross_products"] = np.stack(totals) if several else totals[0]
        if design.effects:
            data["therapist_cross_products"] = np.stack(varying) if several else varying[0]
    if priors.slope is not None:
        data["slope_parts"] = np.array(slope_parts(priors))
    return {name: np.ascontiguousarray(values) for name, values in data.items()}


def _prior_scale(design: Design, priors: Priors) -> Array:
    own = [
        priors.residual_sd,
        priors.therapist_sd,
        priors.therapist_slope_sd,
        priors.therapist_correlation,
        priors.therapist_arm_sd,
        priors.moderator_therapist_sd,
        priors.moderator_slope,
        priors.interaction,
    ]
    if design.clinic_effects:
        own += [priors.clinic_sd, priors.clinic_slope_sd, priors.clinic_correlation]
    return np.append(design.prior_sd(priors), own)


def _level_data(design: Design, priors: Priors) -> dict[str, Array]:
    """Data of a model with clinics: see `models.clinics.LevelProducts`."""
    found, cells = design.level_products, design.cells
    data = {
        "prior_scale": _prior_scale(design, priors),
        "cross_products": found.total,
        "therapist_cross_products": found.therapist,
        "clinic_cross_products": found.clinic,
        "pair_cross_products": found.pair,
        "pairs": cells.pairs,
        "ends": cells.ends,
    }
    if priors.slope is not None:
        data["slope_parts"] = np.array(slope_parts(priors))
    return {name: np.ascontiguousarray(values) for name, values in data.items()}


def rating_data(design: Design) -> dict[str, Array]:
    """What the alliance's own model is given: the ratings, with what predicts them.

    Parameters
    ----------
    design : Design
        Every rating observed; a predictors of the alliance.

    Returns
    -------
    dict
        ``rating_products`` (J, a + 1, a + 1), cross-products of the predictors and the rating
        within therapists; ``caseload`` (J, a), see `models.design.ratings.caseload`.
    """
    return {"rating_products": rating_products(design), "caseload": caseload(design)}


def therapist_scalars(
    effects: tuple[str, ...], prior_scale: pt.TensorLike, level: str = "therapist"
) -> tuple[Any, Any, Any]:
    """Priors of SD and slope SD of therapists, or of clinics, and their correlation, in a model.

    Parameters
    ----------
    effects : tuple of str
        ``intercept``, and ``slope`` or not; without it the last two are the number 0.
    prior_scale : tensor, shape (3,) or longer
        As of `therapist_factor`.
    level : {"therapist", "clinic"}
        Whose effects they are; names begin with it.
    """
    sd = pm.HalfNormal(f"{level}_sd", prior_scale[0])
    if "slope" not in effects:
        return sd, 0.0, 0.0
    slope_sd = pm.HalfNormal(f"{level}_slope_sd", prior_scale[1])
    # A 2 x 2 LKJ(shape) correlation r has density proportional to (1 - r^2)^(shape - 1).
    correlation = pm.Uniform(f"{level}_correlation", -1, 1)
    density = (prior_scale[2] - 1) * pt.log1p(-(correlation**2))
    pm.Potential(f"{level}_correlation_lkj", density)
    return sd, slope_sd, correlation


def therapist_factor(
    effects: tuple[str, ...], prior_scale: pt.TensorLike, level: str = "therapist"
) -> list[list[Any]]:
    """Priors of the effects of therapists, or of clinics, inside a model; their lower factor.

    Parameters
    ----------
    effects : tuple of str
        Of ``intercept``, ``slope`` (correlated with it), ``arm[k]`` (independent, of one SD).
    prior_scale : tensor, shape (4,)
        Scales of therapist SD and therapist slope SD, LKJ shape of their correlation, scale of
        therapist arm SD.
    level : {"therapist", "clinic"}

    Returns
    -------
    nested list
        Elements of the lower factor; those that are zero for all draws are the number 0.
    """
    if not effects:
        return []
    sd, slope_sd, correlation = therapist_scalars(effects, prior_scale, level)
    factor: list[list[Any]] = [[sd]]
    if "slope" in effects:
        factor = covariance_factor(sd, slope_sd, correlation, pt.sqrt)
    arms = len(effects) - len(factor)
    if arms:
        factor = with_independent(factor, pm.HalfNormal("therapist_arm_sd", prior_scale[3]), arms)
    return factor


def exact_gaussian_model(design: Design, priors: Priors) -> pm.Model:
    """Gaussian model with the therapist effects integrated out.

    Parameters
    ----------
    design : Design
    priors : Priors

    Returns
    -------
    pymc.Model
        Free variables ``beta`` (coefficient), ``residual_sd`` (residual_group, where there are
        several), with therapist effects
        ``therapist_sd``, ``therapist_slope_sd``, ``therapist_correlation``, ``therapist_arm_sd``,
        with clinics' effects ``clinic_sd``, ``clinic_slope_sd``, ``clinic_correlation``,
        and with the alliance taken apart those of `models.latent_ratings`, all on the
        standardised scale. The likelihood is the potential ``log_likelihood_sum``. Every array
        enters as ``pm.Data``, so that one compilation serves all designs with the same
        coefficients and effects, whatever their patients and therapists; with the alliance taken
        apart, with the same predictors of it and as many therapists.

    Notes
    -----
    The mathematics stands in `models.gaussian.marginal`, its sums over therapists in
    `models.gaussian.generalised_squares`, the alliance within and between in
    `models.design.ratings`. With b = (-beta, 1), the residual sum of squares is b'W'W b.
    """
    with pm.Model(coords=_coords(design)) as model:
        data = {name: pm.Data(name, values) for name, values in model_data(design, priors).items()}
        size = len(design.coefficients)
        scale, apart = data["prior_scale"], taken_apart(design)
        beta = pm.Normal("beta", 0, scale[:size], dims="coefficient")
        if "slope_parts" in data:
            _with_evidence(beta[design.coefficients.index("moderator")], data["slope_parts"])
        several = design.nesting.number > 1
        groups = {"dims": RESIDUAL_GROUP} if several else {}
        residual_sds = pm.HalfNormal("residual_sd", scale[size], **groups)
        residual_sd = residual_sds[0] if several else residual_sds  # the unit of all that follows
        L = therapist_factor(design.effects, scale[size + 1 : size + 5])
        within = data.get("therapist_cross_products")
        if apart:
            means = _therapist_means(data, scale[size + 5])
            slopes = between_slopes(design, scale[size + 6], scale[size + 7])
            moved = moved_products(within, means, change_of_columns(design, slopes))
            cross_products = moved.sum(axis=0)
            within = moved[:, design.effect_columns].transpose(1, 0, 2)
        else:
            cross_products = data["cross_products"]
        if design.clinic_effects and not several:
            cross_products = cross_products[0]
        # The intercept's column of ones, squared
        patients = cross_products[:, 0, 0] if several else cross_products[0, 0]
        log_density = -patients * (0.5 * np.log(2 * np.pi) + pt.log(residual_sds))
        if several:
            log_density = log_density.sum()
        if design.clinic_effects or (several and design.effects):
            C = therapist_factor(design.clinic_effects, scale[size + 8 :], "clinic")
            squares, log_determinant = _two_levels(design, data, beta, residual_sds, L, C)
            log_density = log_density - 0.5 * log_determinant
        elif design.effects:
            elements, places = packed(L)
            squares, log_determinant, *_ = GeneralisedSquares(
                design.effect_columns, places, latent=apart
            )(beta, matrix_of(elements) / residual_sd, cross_products, within)
            log_density = log_density - 0.5 * log_determinant
        else:
            if several:
                shares = (residual_sd / residual_sds) ** 2
                cross_products = (shares[:, None, None] * cross_products).sum(axis=0)
            b = pt.concatenate([-beta, [1.0]])
            squares = b @ cross_products @ b
        pm.Potential("log_likelihood_sum", log_density - 0.5 * squares / residual_sd**2)
    return model


def _two_levels(
    design: Design,
    data: dict[str, pt.TensorVariable],
    beta: pt.TensorVariable,
    residual_sds: pt.TensorVariable,
    L: list[list[Any]],
    C: list[list[Any]],
) -> tuple[pt.TensorVariable, pt.TensorVariable]:
    """Sum of squares and log determinant with clinics, or with several residual SDs."""
    several = design.nesting.number > 1
    unit = residual_sds[0] if several else residual_sds
    shares = (unit / residual_sds) ** 2 if several else pt.ones(1)
    (own, places), (of_clinic, clinic_places) = packed(L), packed(C)
    clinic_places = tuple((a, b, len(own) + number) for a, b, number in clinic_places)
    clinics, nesting = bool(design.clinic_effects), design.nesting
    groups = nesting.number
    sizes = (len(design.coefficients), groups, groups if clinics else nesting.with_therapists)
    within = data["therapist_cross_products"]
    none = np.zeros((groups, 0, 0, sizes[0] + 1))
    found = TwoLevels(design.effect_columns, design.clinic_columns, places, clinic_places, *sizes)(
        beta,
        pt.stack([*own, *of_clinic]) / unit,
        shares,
        data["cross_products"],
        within,
        data["clinic_cross_products"] if clinics else pt.as_tensor(none),
        data["pair_cross_products"] if clinics else pt.as_tensor(none[:, :, :, :0]),
        data["pairs"] if clinics else pt.as_tensor(np.zeros((0, 2), dtype=np.int64)),
        data["ends"] if clinics else pt.stack([[0, 0], [within.shape[2], 0]]),
    )
    return found[0], found[1]


def _with_evidence(slope: pt.TensorVariable, parts: pt.TensorVariable) -> None:
    """Put a mixture in the place of the slope's normal prior, which is its second part."""
    normal = -0.5 * ((slope - parts[:, 1]) / parts[:, 2]) ** 2 - pt.log(parts[:, 2])
    pm.Potential("slope_evidence", pt.logsumexp(pt.log(parts[:, 0]) + normal) - normal[1])


def _coords(design: Design) -> dict[str, list[str]]:
    coords = {"coefficient": list(design.coefficients), **design.nesting.coords(design.arms)}
    if taken_apart(design):
        coords |= moderator_coords(design) | {"therapist": list(design.therapists)}
    return coords


def moderator_coords(design: Design) -> dict[str, list[str]]:
    """Labels of what the alliance's own model, and its part of the outcome's, has several of."""
    return {
        "moderator_predictor": [design.coefficients[k] for k in predictor_columns(design)],
        "between": [design.coefficients[k] for k in between_columns(design)[1:]],
    }


def between_slopes(
    design: Design, slope_scale: pt.TensorLike, interaction_scale: pt.TensorLike
) -> list[pt.TensorVariable]:
    """Priors of the part between therapists, inside a model: see `models.design.ratings`.

    Parameters
    ----------
    design : Design
    slope_scale, interaction_scale : scalar

    Returns
    -------
    list
        Slopes in the order of `models.design.ratings.between_columns`.
    """
    slopes = [pm.Normal("moderator_slope_between", 0, slope_scale)]
    if further := len(between_columns(design)) - 1:
        own = pm.Normal("moderator_interaction_between", 0, interaction_scale, dims="between")
        slopes += [own[k] for k in range(further)]
    return slopes


def matrix_of(elements: list[pt.TensorVariable]) -> pt.TensorVariable:
    """Elements of a factor that is common to all therapists, as the operation takes them."""
    return pt.stack(elements)[:, None]


def _therapist_means(
    data: dict[str, pt.TensorVariable], scale: pt.TensorVariable
) -> pt.TensorVariable:
    """The alliance's own model, from cross-products within therapists; their true means.

    As `models.latent_ratings` has them, from the rows.
    """
    products = data["rating_products"]
    gamma = pm.Normal("moderator_coefficient", 0, PREDICTOR_SCALE, dims="moderator_predictor")
    therapist_sd = pm.HalfNormal("moderator_therapist_sd", scale)
    residual_sd = pm.HalfNormal("moderator_residual_sd", 1)
    g = pt.concatenate([-gamma, [1.0]])
    deviations = products @ g
    terms = alliance_terms(
        count=products[:, 0, 0],
        total=deviations[:, 0],
        squares=deviations @ g,
        location=0.0,
        therapist_variance=therapist_sd**2,
        residual_variance=residual_sd**2,
        log=pt.log,
    )
    pm.Potential("moderator_likelihood", terms.log_likelihood.sum())
    standard = pm.Normal("moderator_therapist_standard", 0, 1, dims="therapist")
    own = terms.mean + pt.sqrt(terms.variance) * standard
    return pm.Deterministic(
        "moderator_therapist_mean", data["caseload"] @ gamma + own, dims="therapist"
    )
