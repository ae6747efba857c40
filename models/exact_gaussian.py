"""The exact Gaussian model in PyMC: therapist effects integrated out, only cross-products in."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray

from models.design import Design
from models.marginal import covariance_factor, therapist_terms
from models.priors import Priors

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
        (q, J, p + 1), Z_j'W_j (only with therapist effects); ``prior_scale`` (p + 4,), the
        coefficients' scales and then those of residual SD, therapist SD, therapist slope SD and
        the shape of their correlation.
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
            ],
        ),
    }
    if design.effects:
        data["therapist_cross_products"] = within[:, design.effect_columns].transpose(1, 0, 2)
    return {name: np.ascontiguousarray(values) for name, values in data.items()}


def therapist_factor(
    effects: tuple[str, ...], prior_scale: pt.TensorLike
) -> list[list[pt.TensorVariable]]:
    """Priors of the therapist effects, inside a model; the Cholesky factor of their covariance.

    Parameters
    ----------
    effects : tuple of str
        ``("intercept",)`` or ``("intercept", "slope")``.
    prior_scale : tensor, shape (3,)
        Scales of therapist SD and therapist slope SD, LKJ shape of their correlation.

    Returns
    -------
    nested list
        Elements of the lower factor, 1 x 1 or 2 x 2.
    """
    intercept_sd = pm.HalfNormal("therapist_sd", prior_scale[0])
    if effects == ("intercept",):
        return [[intercept_sd]]
    slope_sd = pm.HalfNormal("therapist_slope_sd", prior_scale[1])
    # A 2 x 2 LKJ(shape) correlation r has density proportional to (1 - r^2)^(shape - 1).
    correlation = pm.Uniform("therapist_correlation", -1, 1)
    pm.Potential("therapist_correlation_lkj", (prior_scale[2] - 1) * pt.log1p(-(correlation**2)))
    return covariance_factor(intercept_sd, slope_sd, correlation, pt.sqrt)


def exact_gaussian_model(design: Design, priors: Priors) -> pm.Model:
    """Gaussian model with the therapist effects integrated out.

    Parameters
    ----------
    design : Design
    priors : Priors

    Returns
    -------
    pymc.Model
        Free variables ``beta`` (coefficient), ``residual_sd`` and, with therapist effects,
        ``therapist_sd``, ``therapist_slope_sd``, ``therapist_correlation``, all on the
        standardised scale. The likelihood is the potential ``log_likelihood_sum``. Every array
        enters as ``pm.Data``, so that one compilation serves all designs with the same
        coefficients and effects, whatever their patients and therapists.

    Notes
    -----
    The mathematics stands in `models.marginal`. With b = (-beta, 1), the residual sum of squares
    is b'W'W b, and Z_j'r_j is Z_j'W_j b.
    """
    with pm.Model(coords={"coefficient": list(design.coefficients)}) as model:
        data = {name: pm.Data(name, values) for name, values in model_data(design, priors).items()}
        size = len(design.coefficients)
        scale, cross_products = data["prior_scale"], data["cross_products"]
        beta = pm.Normal("beta", 0, scale[:size], dims="coefficient")
        residual_sd = pm.HalfNormal("residual_sd", scale[size])
        b = pt.concatenate([-beta, [1.0]])
        squares = b @ cross_products @ b
        patients = cross_products[0, 0]  # the intercept's column of ones, squared
        log_density = -patients * (0.5 * np.log(2 * np.pi) + pt.log(residual_sd))
        if design.effects:
            within = data["therapist_cross_products"]
            columns = design.effect_columns
            terms = therapist_terms(
                ZtZ=[[within[a, :, column] for column in columns] for a in range(len(columns))],
                Ztr=[within[a] @ b for a in range(len(columns))],
                L=therapist_factor(design.effects, scale[size + 1 :]),
                residual_variance=residual_sd**2,
                sqrt=pt.sqrt,
                log=pt.log,
            )
            squares = squares - terms.explained.sum()
            log_density = log_density - 0.5 * terms.log_determinant.sum()
        pm.Potential("log_likelihood_sum", log_density - 0.5 * squares / residual_sd**2)
    return model
