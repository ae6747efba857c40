"""The joint model of all outcomes in PyMC; its mathematics stands in `models.joint`."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from models.joint import JointDesign
from models.priors import Priors

CORRELATION_SHAPE = 2.0  # LKJ; leans gently against correlations near -1 and 1
SPREAD_SHARE = 0.5  # the slopes' spread between outcomes is expected below half the slope's scale


def joint_model(joint: JointDesign, priors: Priors) -> pm.Model:
    """Gaussian model of all outcomes together, therapist effects integrated out.

    Parameters
    ----------
    joint : JointDesign
        K outcomes, p coefficients, q therapist effects.
    priors : Priors

    Returns
    -------
    pymc.Model
        ``beta`` (outcome, coefficient), ``pooled_moderator_slope``, ``moderator_slope_spread``,
        ``residual_sd`` (outcome), ``residual_correlation`` (outcome, outcome_2) and, with
        therapist effects, ``therapist_sd``, ``therapist_slope_sd`` (outcome) and
        ``therapist_correlation``, ``therapist_slope_correlation`` (outcome, outcome_2). The
        likelihood is the potential ``log_likelihood_sum``.
    """
    design, outcomes = joint.first, list(joint.designs)
    moderator = design.coefficients.index("moderator")
    others = [k for k in range(len(design.coefficients)) if k != moderator]
    coords = {
        "outcome": outcomes,
        "outcome_2": outcomes,
        "coefficient": list(design.coefficients),
        "other_coefficient": [design.coefficients[k] for k in others],
    }
    with pm.Model(coords=coords) as model:
        pooled = pm.Normal("pooled_moderator_slope", 0, priors.moderator_slope)
        spread = pm.HalfNormal("moderator_slope_spread", SPREAD_SHARE * priors.moderator_slope)
        own = pm.Normal("moderator_slope_standard", 0, 1, dims="outcome")
        slope = joint.orientation * (pooled + spread * own)
        rest = pm.Normal(
            "other_beta_internal",
            0,
            design.prior_sd(priors)[others],
            dims=("outcome", "other_coefficient"),
        )
        beta = pm.Deterministic(
            "beta",
            pt.concatenate([rest[:, :moderator], slope[:, None], rest[:, moderator:]], axis=1),
            dims=("outcome", "coefficient"),
        )
        b = pt.concatenate([-beta, pt.ones((len(outcomes), 1))], axis=1)
        residual = _covariance_factor("residual", priors.residual_sd, len(outcomes))
        names = {"intercept": "therapist", "slope": "therapist_slope"}
        scales = {"intercept": priors.therapist_sd, "slope": priors.therapist_slope_sd}
        factors = [
            _covariance_factor(names[effect], scales[effect], len(outcomes))
            for effect in design.effects
        ]
        pm.Potential("log_likelihood_sum", _log_likelihood(joint, b, residual, factors))
    return model


def _covariance_factor(name: str, scale: float, outcomes: int) -> pt.TensorVariable:
    """Cholesky factor of a covariance between outcomes; its SDs and correlations, labelled."""
    factor, correlation, sd = pm.LKJCholeskyCov(
        f"{name}_internal",
        n=outcomes,
        eta=CORRELATION_SHAPE,
        sd_dist=pm.HalfNormal.dist(scale, shape=outcomes),
        compute_corr=True,
        store_in_trace=False,
    )
    pm.Deterministic(f"{name}_sd", sd, dims="outcome")
    pm.Deterministic(f"{name}_correlation", correlation, dims=("outcome", "outcome_2"))
    return factor


def _log_likelihood(
    joint: JointDesign,
    b: pt.TensorVariable,
    residual: pt.TensorVariable,
    factors: list[pt.TensorVariable],
) -> pt.TensorVariable:
    """The integrated likelihood of all patterns and therapists."""
    outcomes, therapists = len(joint.designs), len(joint.first.therapists)
    size = outcomes * len(factors)
    covariance = residual @ residual.T
    log_density = pt.zeros(())
    squares = pt.zeros((therapists, size, size))
    products = pt.zeros((therapists, size))
    for pattern in joint.patterns:
        seen = pattern.outcomes
        everything = len(seen) == outcomes
        factor = residual if everything else pt.linalg.cholesky(covariance[seen][:, seen])
        root = pt.linalg.solve_triangular(factor, np.eye(outcomes)[seen], lower=True)
        precision = root.T @ root
        # R'R[k, l] = b_k' C[k, :, l, :] b_l, over the patients of the pattern
        right = (pt.constant(pattern.cross_products) * b).sum(axis=-1)
        residual_products = (right * b[:, :, None]).sum(axis=1)
        log_density = log_density - 0.5 * (precision * residual_products).sum()
        determinant = 2 * pt.log(pt.diag(factor)).sum() + len(seen) * np.log(2 * np.pi)
        log_density = log_density - 0.5 * pattern.patients * determinant
        if factors:
            ZtZ = pt.constant(pattern.therapist_squares)[:, :, None, :, None]
            kronecker = ZtZ * precision[None, None, :, None, :]
            squares = squares + kronecker.reshape((therapists, size, size))
            ZtR = (pt.constant(pattern.therapist_products) * b).sum(axis=-1)
            products = products + (ZtR @ precision).reshape((therapists, size))
    if not factors:
        return log_density
    L = pt.linalg.block_diag(*factors)
    M = np.eye(size) + L.T @ (squares @ L)
    C = pt.linalg.cholesky(M)
    white = pt.linalg.solve_triangular(C, (products @ L)[:, :, None], lower=True)
    determinants = 2 * pt.log(pt.diagonal(C, axis1=-2, axis2=-1)).sum()
    return log_density - 0.5 * determinants + 0.5 * (white**2).sum()
