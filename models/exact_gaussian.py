"""The exact Gaussian model in PyMC: therapist effects integrated out, only cross-products in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray

from models.design import Design
from models.generalised_squares import GeneralisedSquares, packed
from models.marginal import (
    AllianceTerms,
    alliance_terms,
    covariance_factor,
    with_independent,
    with_intercept_loading,
)
from models.priors import Priors
from models.ratings import PREDICTOR_SCALE

Array = NDArray[np.float64]


def model_data(design: Design, priors: Priors) -> dict[str, Array]:
    """The arrays that a compiled model is given.

    Few arrays, because each costs compilation time; none of their shapes but p and q is fixed.

    Parameters
    ----------
    design : Design
        J therapists, p coefficients, q therapist effects; W = [X, y].
    priors : Priors

    Returns
    -------
    dict
        ``cross_products`` (p + 1, p + 1), W'W over all patients; ``therapist_cross_products``
        (q, J, p + 1), Z_j'W_j (only where something is integrated out); ``moderator_squares``
        (J,), each therapist's sum of squares of the moderator (only where it is taken apart);
        ``prior_scale`` (p + 7,), the coefficients' scales and then those of residual SD, therapist
        SD, therapist slope SD, the shape of their correlation, and the scales of therapist arm SD,
        of the therapists' mean moderator, and of the slope between them.
    """
    within = design.moments.cross_products
    data = {
        "cross_products": within.sum(axis=0),
        "prior_scale": np.append(
            design.prior_sd(priors),
            [
                priors.residual_sd,
                priors.therapist_sd,
                priors.therapist_slope_sd,
                priors.therapist_correlation,
                priors.therapist_arm_sd,
                priors.moderator_therapist_sd,
                priors.moderator_slope,
            ],
        ),
    }
    if columns := integrated_columns(design):
        data["therapist_cross_products"] = within[:, columns].transpose(1, 0, 2)
    if design.moderator.structure == "within_between":
        moderator = design.coefficients.index("moderator")
        data["moderator_squares"] = within[:, moderator, moderator]
    return {name: np.ascontiguousarray(values) for name, values in data.items()}


def integrated_columns(design: Design) -> list[int]:
    """Columns of X whose coefficients are integrated out, therapist by therapist.

    The therapists' true mean alliance moves their intercepts, even without other effects.
    """
    if not design.effects and design.moderator.structure == "within_between":
        return [design.coefficients.index("intercept")]
    return design.effect_columns


def therapist_factor(effects: tuple[str, ...], prior_scale: pt.TensorLike) -> list[list[Any]]:
    """Priors of the therapist effects, inside a model; the Cholesky factor of their covariance.

    Parameters
    ----------
    effects : tuple of str
        Of ``intercept``, ``slope`` (correlated with it), ``arm[k]`` (independent, of one SD).
    prior_scale : tensor, shape (4,)
        Scales of therapist SD and therapist slope SD, LKJ shape of their correlation, scale of
        therapist arm SD.

    Returns
    -------
    nested list
        Elements of the lower factor; those that are zero for all draws are the number 0.
    """
    if not effects:
        return []
    factor: list[list[Any]] = [[pm.HalfNormal("therapist_sd", prior_scale[0])]]
    if "slope" in effects:
        slope_sd = pm.HalfNormal("therapist_slope_sd", prior_scale[1])
        # A 2 x 2 LKJ(shape) correlation r has density proportional to (1 - r^2)^(shape - 1).
        correlation = pm.Uniform("therapist_correlation", -1, 1)
        density = (prior_scale[2] - 1) * pt.log1p(-(correlation**2))
        pm.Potential("therapist_correlation_lkj", density)
        factor = covariance_factor(factor[0][0], slope_sd, correlation, pt.sqrt)
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
        Free variables ``beta`` (coefficient), ``residual_sd``, with therapist effects
        ``therapist_sd``, ``therapist_slope_sd``, ``therapist_correlation``, ``therapist_arm_sd``,
        and with the alliance taken apart those of `models.latent_moderator`, all on the
        standardised scale. The likelihood is the potential ``log_likelihood_sum``. Every array
        enters as ``pm.Data``, so that one compilation serves all designs with the same
        coefficients and effects, whatever their patients and therapists.

    Notes
    -----
    The mathematics stands in `models.marginal`, its sums over therapists in
    `models.generalised_squares`. With b = (-beta, 1), the residual sum of squares is b'W'W b.
    """
    with pm.Model(coords={"coefficient": list(design.coefficients)}) as model:
        data = {name: pm.Data(name, values) for name, values in model_data(design, priors).items()}
        size = len(design.coefficients)
        scale, cross_products = data["prior_scale"], data["cross_products"]
        beta = pm.Normal("beta", 0, scale[:size], dims="coefficient")
        residual_sd = pm.HalfNormal("residual_sd", scale[size])
        patients = cross_products[0, 0]  # the intercept's column of ones, squared
        log_density = -patients * (0.5 * np.log(2 * np.pi) + pt.log(residual_sd))
        if columns := integrated_columns(design):
            within = data["therapist_cross_products"]
            L = therapist_factor(design.effects, scale[size + 1 : size + 5])
            shift = pt.zeros(0)
            if "moderator_squares" in data:
                moderator = design.coefficients.index("moderator")
                alliance = _alliance(
                    within[0], data["moderator_squares"], moderator, scale[size + 5]
                )
                between = pm.Normal("moderator_slope_between", 0, scale[size + 6])
                contextual = between - beta[moderator]
                L = with_intercept_loading(L, contextual * pt.sqrt(alliance.variance), pt.sqrt)
                shift = contextual * alliance.mean
                log_density = log_density + alliance.log_likelihood.sum()
            elements, places = packed(L)
            squares, log_determinant, *_ = GeneralisedSquares(columns, places)(
                beta, matrix_of(elements) / residual_sd, shift, cross_products, within
            )
            log_density = log_density - 0.5 * log_determinant
        else:
            b = pt.concatenate([-beta, [1.0]])
            squares = b @ cross_products @ b
        pm.Potential("log_likelihood_sum", log_density - 0.5 * squares / residual_sd**2)
    return model


def matrix_of(elements: list[pt.TensorVariable]) -> pt.TensorVariable:
    """Elements of one factor for all therapists, or of one for each, as rows."""
    if all(element.ndim == 0 for element in elements):
        return pt.stack(elements)[:, None]
    together = sum(element * 0 for element in elements)
    return pt.stack([element + together for element in elements])


def _alliance(
    intercept_rows: pt.TensorVariable,
    squares: pt.TensorVariable,
    moderator: int,
    scale: pt.TensorVariable,
) -> AllianceTerms:
    """The alliance's own model, from each therapist's count, sum and sum of squares of ratings."""
    location = pm.Normal("moderator_coefficient", 0, PREDICTOR_SCALE)
    therapist_sd = pm.HalfNormal("moderator_therapist_sd", scale)
    residual_sd = pm.HalfNormal("moderator_residual_sd", 1)
    return alliance_terms(
        count=intercept_rows[:, 0],
        total=intercept_rows[:, moderator],
        squares=squares,
        location=location,
        therapist_variance=therapist_sd**2,
        residual_variance=residual_sd**2,
        log=pt.log,
    )
