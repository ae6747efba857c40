"""The model of visits in PyMC: its covariances alone, all else is integrated out.

Residual SDs are half-normal, unstructured correlations LKJ, the one parameter or the parameters of
other structures of the density that LKJ gives two visits; therapists' SDs and their correlation
have the priors that they have with one follow-up (`models.gaussian.exact_gaussian`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray

from alliance.models.gaussian.exact_gaussian import therapist_scalars
from alliance.models.priors import Priors
from alliance.models.visits.covariance import CovarianceShape, prior_powers
from alliance.models.visits.likelihood import VisitModel
from alliance.models.visits.operation import VisitsLikelihood, distances, likelihood_data

CORRELATION = "residual_correlation_parameter"
VISIT_SD = "therapist_visit_sd"


def visits_data(model: VisitModel, shape: CovarianceShape, priors: Priors) -> dict[str, Any]:
    """The arrays that a compiled model is given.

    Parameters
    ----------
    model : VisitModel
    shape : CovarianceShape
    priors : Priors

    Returns
    -------
    dict of str to ndarray
        Those of `models.visits.operation.likelihood_data`; ``prior_scale`` (5,), of residual SDs,
        therapist SD and therapist slope SD, the shape of their correlation, and the scale of the
        therapists' deviations at visits; ``correlation_power`` (m,); and ``gaps`` (V, V).
    """
    scales = [
        priors.residual_sd,
        priors.therapist_sd,
        priors.therapist_slope_sd,
        priors.therapist_correlation,
        priors.therapist_sd,
    ]
    found: dict[str, NDArray[Any]] = likelihood_data(model) | {
        "gaps": distances(shape),
        "prior_scale": np.array(scales),
        "correlation_power": prior_powers(
            shape.structure, shape.visits, priors.residual_correlation
        ),
    }
    return {name: np.ascontiguousarray(values) for name, values in found.items()}


def visits_model(model: VisitModel, shape: CovarianceShape, priors: Priors) -> pm.Model:
    """Model of the covariances of scores over time.

    Parameters
    ----------
    model : VisitModel
        On the standardised scale.
    shape : CovarianceShape
    priors : Priors

    Returns
    -------
    pymc.Model
        Free variables ``residual_sd`` (covariance, residual_visit),
        ``residual_correlation_parameter`` (covariance, parameter) unless the structure has
        none, and of therapists ``therapist_sd``, ``therapist_slope_sd``,
        ``therapist_correlation`` and ``therapist_visit_sd`` as far as their effects have them. The
        likelihood is the potential ``log_likelihood_sum``. One compilation serves all data of a
        structure, a number of visits and a kind of therapist effects.
    """
    coords = {
        "covariance": range(shape.groups),
        "residual_visit": range(shape.sds),
        "parameter": range(shape.correlations),
    }
    with pm.Model(coords=coords) as built:
        arrays = visits_data(model, shape, priors)
        # Of a known length where PyTensor would compile a check of it
        known = {"correlation_power": (shape.correlations,)}
        data = {
            name: pm.Data(name, values, shape=known.get(name)) for name, values in arrays.items()
        }
        scale = data["prior_scale"]
        sd = pm.HalfNormal("residual_sd", scale[0], dims=("covariance", "residual_visit"))
        parameters = pt.zeros((shape.groups, 0))
        if shape.correlations:
            parameters = _correlations(shape, data["correlation_power"])
        value, *_ = VisitsLikelihood(shape.structure)(
            sd,
            parameters,
            *_therapist_scalars(shape, scale),
            *(data[name] for name in ("gaps", *likelihood_data(model))),
        )
        pm.Potential("log_likelihood_sum", value)
    return built


def _correlations(shape: CovarianceShape, power: pt.TensorVariable) -> pt.TensorVariable:
    low, high = shape.limits
    parameters = pm.Uniform(CORRELATION, low, high, dims=("covariance", "parameter"))
    density = power * (pt.log(parameters - low) + pt.log(high - parameters))
    pm.Potential("residual_correlation_prior", density.sum())
    return parameters


def _therapist_scalars(shape: CovarianceShape, scale: pt.TensorVariable) -> list[Any]:
    """SDs of a therapist's intercept and slope, their correlation, and the SD at visits."""
    found: list[Any] = [pt.constant(0.0)] * 4
    effects = ("intercept", "slope")[: shape.correlated]
    if effects:
        found[:3] = therapist_scalars(effects, scale[1:4])
    if shape.independent:
        found[3] = pm.HalfNormal(VISIT_SD, scale[4])
    return found
