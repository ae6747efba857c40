"""The joint model with one ordinal outcome, a latent normal variable cut at thresholds.

The latent variable's residual, of SD 1, correlates with the other outcomes' residuals. Given
those, it is normal with mean ``m_i`` and SD ``s``, so that category c has the probability
``Phi((t_c+1 - eta_i - m_i) / s) - Phi((t_c - eta_i - m_i) / s)``: nothing latent is sampled but
the therapists' effects, non-centred. With a second ordinal outcome the probabilities would be
those of rectangles under a bivariate normal, which have no such form.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray

from alliance.models.families.family_parameters import SYMBOLS, family_parameters
from alliance.models.joint.joint import JointDesign
from alliance.models.priors import Priors


def mixed_log_likelihood(
    joint: JointDesign,
    data: dict[str, pt.TensorVariable],
    beta: pt.TensorVariable,
    residual: pt.TensorVariable,
    loading: pt.TensorVariable,
    priors: Priors,
) -> pt.TensorVariable:
    """Log likelihood of Gaussian outcomes and an ordinal one, inside a model.

    Parameters
    ----------
    joint : JointDesign
        K outcomes, one of them ordinal; n patients.
    data : dict of str to tensor
        ``W`` (n, K, p + 1), ``Z`` (n, q), ``therapist_index`` (n,).
    beta : tensor, shape (K, p)
    residual : tensor, shape (K, K)
        Lower factor of the residual covariance, SD 1 for the ordinal outcome.
    loading : tensor, shape (q K, q K)
        Lower factor of the covariance of a therapist's effects, effect by effect.
    priors : Priors

    Returns
    -------
    tensor, scalar
        Declares ``therapist_standard`` (effect, therapist, outcome) and the ordinal outcome's
        cutpoints.
    """
    ordinal = joint.ordinal
    if ordinal is None:
        raise ValueError("no outcome of the joint design is ordinal")
    design = list(joint.designs.values())[ordinal]
    model = pm.modelcontext(None)
    model.add_coord("category", list(range(design.scale.top + 1)))
    model.add_coord("threshold", list(range(1, design.scale.top + 1)))
    cutpoints = family_parameters(design.family, design.scale, priors)["cutpoint"]

    kept = np.ones((len(joint.designs), len(design.coefficients)))
    kept[ordinal, design.coefficients.index("intercept")] = 0.0  # the cutpoints hold it
    eta = (data["W"][:, :, :-1] * (beta * kept)[None]).sum(axis=-1)
    if design.effects:
        standard = pm.Normal("therapist_standard", 0, 1, dims=("effect", "therapist", "outcome"))
        shape = (len(design.therapists), len(design.effects), len(joint.designs))
        each = standard.transpose(1, 0, 2).reshape((shape[0], -1))
        effect = (each @ loading.T).reshape(shape)
        for k in range(len(design.effects)):
            eta = eta + data["Z"][:, k, None] * effect[data["therapist_index"], k]
    residuals = data["W"][:, :, -1] - eta
    covariance = residual @ residual.T

    total = pt.zeros(())
    kinds, which = np.unique(joint.seen, axis=0, return_inverse=True)
    for number, seen in enumerate(kinds):
        rows = np.flatnonzero(which.ravel() == number)
        others = np.array([k for k in np.flatnonzero(seen) if k != ordinal], dtype=int)
        white, known = _whitened(covariance, residuals[rows], others)
        total = total + known
        if not seen[ordinal]:
            continue
        mean, sd = eta[rows, ordinal], pt.ones(())
        if len(others):
            loading = pt.linalg.solve_triangular(
                pt.linalg.cholesky(covariance[others][:, others]),
                covariance[others, ordinal],
                lower=True,
            )
            mean = mean + loading @ white
            sd = pt.sqrt(1 - (loading**2).sum())
        categories = pt.cast(data["W"][rows, ordinal, -1], "int64")
        scaled = {"cutpoint": cutpoints / sd}
        pointwise = design.family.log_likelihood(
            SYMBOLS, categories, mean / sd, scaled, design.scale
        )
        total = total + pointwise.sum()
    return total


def _whitened(
    covariance: pt.TensorVariable, residuals: pt.TensorVariable, outcomes: NDArray[np.int64]
) -> tuple[Any, Any]:
    """Whitened residuals (outcomes, rows) of some outcomes, and their log density."""
    if not len(outcomes):
        return None, pt.zeros(())
    factor = pt.linalg.cholesky(covariance[outcomes][:, outcomes])
    white = pt.linalg.solve_triangular(factor, residuals[:, outcomes].T, lower=True)
    patients = residuals.shape[0]
    constant = 0.5 * len(outcomes) * np.log(2 * np.pi) + pt.log(pt.diag(factor)).sum()
    return white, -0.5 * (white**2).sum() - patients * constant
