"""The joint model of all outcomes in PyMC; its mathematics stands in `models.joint`."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray

from models.correlations import correlation_factor, lkj_powers
from models.joint import JointDesign
from models.joint_likelihood import JointLikelihood
from models.priors import Priors

CORRELATION_SHAPE = 2.0  # LKJ; leans gently against correlations near -1 and 1
SPREAD_SHARE = 0.5  # the slopes' spread between outcomes is expected below half the slope's scale

# What each covariance between outcomes is called: residuals, then the therapist effects.
PREFIXES = {"residual": "residual", "intercept": "therapist", "slope": "therapist_slope"}


def joint_data(joint: JointDesign, priors: Priors) -> dict[str, NDArray[np.float64]]:
    """The arrays that a compiled joint model is given: the data, and the scales of the priors.

    Parameters
    ----------
    joint : JointDesign
        K outcomes, p coefficients.
    priors : Priors

    Returns
    -------
    dict
        Those of `models.joint.JointDesign.arrays`; ``orientation`` (K,); ``coefficient_scale``
        (p,); ``slope_scale`` (2,), of the pooled slope and of the slopes' spread; ``sd_scale``
        (3,), of residual SDs, therapist SDs and therapist slope SDs.
    """
    return joint.arrays | {
        "orientation": joint.orientation,
        "coefficient_scale": joint.first.prior_sd(priors),
        "slope_scale": priors.moderator_slope * np.array([1.0, SPREAD_SHARE]),
        "sd_scale": np.array([priors.residual_sd, priors.therapist_sd, priors.therapist_slope_sd]),
    }


def joint_model(joint: JointDesign, priors: Priors) -> pm.Model:
    """Gaussian model of all outcomes together, therapist effects integrated out.

    Parameters
    ----------
    joint : JointDesign
        K outcomes, p coefficients, q therapist effects (intercept, slope).
    priors : Priors

    Returns
    -------
    pymc.Model
        Free variables ``other_coefficient`` (outcome, coefficients but the moderator's),
        ``pooled_moderator_slope``, ``moderator_slope_spread``, ``moderator_slope_deviation``
        (outcome), ``residual_sd`` and, with therapist effects, ``therapist_sd`` and
        ``therapist_slope_sd`` (outcome), and ``partial_correlation`` (covariance, pair): see
        `models.correlations`. The likelihood is the potential ``log_likelihood_sum``. Every array
        enters as ``pm.Data``.
    """
    design, outcomes = joint.first, list(joint.designs)
    moderator = design.coefficients.index("moderator")
    others = [k for k in range(len(design.coefficients)) if k != moderator]
    kinds = ["residual", *design.effects]
    powers = lkj_powers(len(outcomes), CORRELATION_SHAPE)
    coords = {
        "outcome": outcomes,
        "other": [design.coefficients[k] for k in others],
        "covariance": kinds,
        "pair": range(len(powers)),
    }
    with pm.Model(coords=coords) as model:
        data = {name: pm.Data(name, values) for name, values in joint_data(joint, priors).items()}
        scale, sd_scale = data["slope_scale"], data["sd_scale"]
        pooled = pm.Normal("pooled_moderator_slope", 0, scale[0])
        spread = pm.HalfNormal("moderator_slope_spread", scale[1])
        deviation = pm.Normal("moderator_slope_deviation", 0, 1, dims="outcome")
        slope = data["orientation"] * (pooled + spread * deviation)
        rest_scale = data["coefficient_scale"][np.array(others)]
        rest = pm.Normal("other_coefficient", 0, rest_scale, dims=("outcome", "other"))
        beta = pt.concatenate([rest[:, :moderator], slope[:, None], rest[:, moderator:]], axis=1)
        beta.name = "beta"
        sds = [
            pm.HalfNormal(f"{PREFIXES[kind]}_sd", sd_scale[k], dims="outcome")
            for k, kind in enumerate(kinds)
        ]
        partial = pm.Uniform("partial_correlation", -1, 1, dims=("covariance", "pair"))
        pm.Potential("lkj", (powers * pt.log1p(-(partial**2))).sum())
        factors = pt.stack(sds)[:, :, None] * correlation_factor(partial, len(outcomes), pt)
        value, *_ = JointLikelihood()(
            beta,
            factors[0],
            factors[1:],
            *(data[name] for name in joint.arrays),
        )
        pm.Potential("log_likelihood_sum", value)
    return model
