"""The joint model of all outcomes in PyMC; its mathematics stands in `models.joint.joint`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray

from alliance.models.joint.joint import (
    CORRELATION_SHAPE,
    JointDesign,
    correlation_factor,
    effects_factor,
    lkj_powers,
    slope_scales,
)
from alliance.models.joint.likelihood import JointLikelihood, mixed_log_likelihood
from alliance.models.priors import Priors

# SDs that may be zero are sampled with a sign, as normal variables: the density is smooth through
# zero, where that of a logarithm has an endless tail. Turning one outcome's sign turns those of its
# correlations, which the LKJ density does not mind: sizes are half-normal, and the model the same.
SIGNED = "_signed"

# Of a therapist's intercept and slope on the same outcome, as the signed SDs have it.
OWN_CORRELATION = f"therapist_correlation{SIGNED}"

# What each covariance between outcomes is called: residuals, then the therapist effects.
PREFIXES = {"residual": "residual", "intercept": "therapist", "slope": "therapist_slope"}


def joint_data(joint: JointDesign, priors: Priors) -> dict[str, NDArray[Any]]:
    """The arrays that a compiled joint model is given, scales of the priors among them.

    Parameters
    ----------
    joint : JointDesign
        K outcomes, p coefficients.
    priors : Priors

    Returns
    -------
    dict
        Those of `models.joint.joint.JointDesign.arrays`, or with an ordinal outcome the rows ``W``,
        ``Z`` and ``therapist_index``; ``orientation`` (K,); ``coefficient_scale`` (p,);
        ``slope_scale`` (2,), of the pooled slope and of the slopes' spread; ``sd_scale`` (3,), of
        residual SDs, therapist SDs and therapist slope SDs; ``correlation_shape`` (), LKJ, of
        therapists' intercepts and slopes.
    """
    rows: dict[str, NDArray[Any]] = {
        "W": joint.W,
        "Z": joint.Z,
        "therapist_index": joint.therapist_index,
    }
    return (joint.arrays if joint.ordinal is None else rows) | {
        "orientation": joint.orientation,
        "coefficient_scale": joint.first.prior_sd(priors),
        "slope_scale": np.array(slope_scales(priors)),
        "sd_scale": np.array([priors.residual_sd, priors.therapist_sd, priors.therapist_slope_sd]),
        "correlation_shape": np.array(priors.therapist_correlation),
    }


def joint_model(joint: JointDesign, priors: Priors) -> pm.Model:
    """Model of all outcomes together.

    Parameters
    ----------
    joint : JointDesign
        K outcomes, p coefficients, q therapist effects (intercept, slope).
    priors : Priors

    Returns
    -------
    pymc.Model
        Free variables ``other_coefficient`` (outcome, coefficients but the moderator's),
        ``pooled_moderator_slope``, ``moderator_slope_spread_signed``,
        ``moderator_slope_deviation`` (outcome), ``residual_sd`` (gaussian_outcome) and, with
        therapist effects, ``therapist_sd_signed``, ``therapist_slope_sd_signed`` and
        ``therapist_correlation_signed`` (outcome), and ``partial_correlation`` (covariance, pair):
        see `models.joint.joint`. The likelihood is the potential ``log_likelihood_sum``.
        Where all outcomes are Gaussian the therapist effects are integrated out; with an ordinal
        one see `models.joint.likelihood`.
    """
    design, outcomes = joint.first, list(joint.designs)
    kinds = ["residual", *design.effects]
    pairs = len(outcomes) * (len(outcomes) - 1) // 2
    coords = {
        "outcome": outcomes,
        "gaussian_outcome": [name for k, name in enumerate(outcomes) if k != joint.ordinal],
        "other": [name for name in design.coefficients if name != "moderator"],
        "covariance": kinds,
        "pair": range(pairs),
        "effect": list(design.effects),
        "therapist": list(design.therapists),
    }
    with pm.Model(coords=coords) as model:
        data = {name: pm.Data(name, values) for name, values in joint_data(joint, priors).items()}
        beta = _coefficients(joint, data)
        residual, loading = _factors(joint, data, kinds)
        if joint.ordinal is None:
            arrays = (data[name] for name in joint.arrays)
            value, *_ = JointLikelihood()(beta, residual, loading, *arrays)
        else:
            value = mixed_log_likelihood(joint, data, beta, residual, loading, priors)
        pm.Potential("log_likelihood_sum", value)
    return model


def _coefficients(joint: JointDesign, data: dict[str, pt.TensorVariable]) -> pt.TensorVariable:
    """Coefficients (K, p), the moderator's pooled over outcomes as benefits."""
    moderator = joint.first.coefficients.index("moderator")
    others = [k for k in range(len(joint.first.coefficients)) if k != moderator]
    pooled = pm.Normal("pooled_moderator_slope", 0, data["slope_scale"][0])
    spread = pm.Normal(f"moderator_slope_spread{SIGNED}", 0, data["slope_scale"][1])
    deviation = pm.Normal("moderator_slope_deviation", 0, 1, dims="outcome")
    slope = data["orientation"] * (pooled + spread * deviation)
    scale = data["coefficient_scale"][np.array(others)]
    rest = pm.Normal("other_coefficient", 0, scale, dims=("outcome", "other"))
    beta = pt.concatenate([rest[:, :moderator], slope[:, None], rest[:, moderator:]], axis=1)
    beta.name = "beta"
    return beta


def _factors(
    joint: JointDesign, data: dict[str, pt.TensorVariable], kinds: list[str]
) -> tuple[pt.TensorVariable, pt.TensorVariable]:
    """Lower factors of the covariances of residuals, (K, K), and of effects, (q K, q K)."""
    outcomes = len(joint.designs)
    residual = pm.HalfNormal("residual_sd", data["sd_scale"][0], dims="gaussian_outcome")
    if (place := joint.ordinal) is not None:  # whose latent residual has SD 1
        residual = pt.concatenate([residual[:place], [1.0], residual[place:]])
    sds = []
    for k, kind in enumerate(kinds[1:], start=1):
        name = f"{PREFIXES[kind]}_sd{SIGNED}"
        sds.append(pm.Normal(name, 0, data["sd_scale"][k], dims="outcome"))
    partial = pm.Uniform("partial_correlation", -1, 1, dims=("covariance", "pair"))
    powers = lkj_powers(outcomes, CORRELATION_SHAPE)
    pm.Potential("lkj", (powers * pt.log1p(-(partial**2))).sum())
    root = correlation_factor(partial, outcomes, pt)
    factor = residual[:, None] * root[0]
    if len(kinds) == 1:
        return factor, pt.zeros((0, 0))
    own = _own_correlation(data) if "slope" in kinds else None
    return factor, effects_factor(pt.stack(sds), root[1:], own, pt)


def _own_correlation(data: dict[str, pt.TensorVariable]) -> pt.TensorVariable:
    """Correlations (K,) of therapists' intercepts and slopes, each LKJ(shape) as of a 2 x 2."""
    own = pm.Uniform(OWN_CORRELATION, -1, 1, dims="outcome")
    density = (data["correlation_shape"] - 1) * pt.log1p(-(own**2)).sum()
    pm.Potential(f"{OWN_CORRELATION}_lkj", density)
    return own
