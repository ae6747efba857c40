"""The model as a PyMC user writes it: patient by patient, therapist effects not centred."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from alliance.models.design.design import Design
from alliance.models.priors import Priors


def plain_model(design: Design, priors: Priors) -> pm.Model:
    """Both therapist effects, correlated, with the same priors on the same columns.

    Parameters
    ----------
    design : Design
        Gaussian, with therapist intercepts and slopes.
    priors : Priors
    """
    present = design.present
    X = design.X[:, present]
    moderator = design.X[:, design.coefficients.index("moderator")]
    coords = {"coefficient": [design.coefficients[k] for k in present]}
    with pm.Model(coords=coords) as model:
        beta = pm.Normal("beta", 0, design.prior_sd(priors)[present], dims="coefficient")
        sd = pm.HalfNormal("therapist_sd", priors.therapist_sd)
        slope_sd = pm.HalfNormal("therapist_slope_sd", priors.therapist_slope_sd)
        # A 2 x 2 LKJ correlation
        share = pm.Beta("share", priors.therapist_correlation, priors.therapist_correlation)
        correlation = pm.Deterministic("therapist_correlation", 2 * share - 1)
        standard = pm.Normal("standard", 0, 1, shape=(2, len(design.therapists)))
        intercept = sd * standard[0]
        slope = slope_sd * (correlation * standard[0] + pt.sqrt(1 - correlation**2) * standard[1])
        own = design.therapist_index
        residual_sd = pm.HalfNormal("residual_sd", priors.residual_sd)
        expected = pt.dot(X, beta) + intercept[own] + slope[own] * moderator
        pm.Normal("y", expected, residual_sd, observed=pm.Data("scores", np.array(design.y)))
    return model
