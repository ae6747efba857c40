"""The Gaussian model written out patient by patient: the readable reference of the exact one."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from models.design import Design
from models.exact_gaussian import therapist_factor
from models.priors import Priors


def patient_level_model(design: Design, priors: Priors) -> pm.Model:
    """Gaussian model with non-centred therapist effects and one likelihood term for each patient.

    Parameters
    ----------
    design : Design
        n patients, J therapists, p coefficients, q therapist effects.
    priors : Priors

    Returns
    -------
    pymc.Model
        The variables of `models.exact_gaussian.exact_gaussian_model` under the same names, and
        ``therapist_effect`` (J, q), ``outcome`` (n,), all on the standardised scale.
    """
    coords = {
        "coefficient": list(design.coefficients),
        "therapist": list(design.therapists),
        "effect": list(design.effects),
        "patient": np.arange(len(design.y)),
    }
    with pm.Model(coords=coords) as model:
        X = pm.Data("X", design.X, dims=("patient", "coefficient"))
        beta = pm.Normal("beta", 0, design.prior_sd(priors), dims="coefficient")
        residual_sd = pm.HalfNormal("residual_sd", priors.residual_sd)
        mean = X @ beta
        if design.effects:
            therapist = pm.Data("therapist_index", design.therapist_index, dims="patient")
            scales = [priors.therapist_sd, priors.therapist_slope_sd, priors.therapist_correlation]
            L = therapist_factor(design.effects, pt.constant(scales))
            standard = pm.Normal("therapist_standard", 0, 1, dims=("therapist", "effect"))
            columns = [
                sum(L[a][b] * standard[:, b] for b in range(a + 1))
                for a in range(len(design.effects))
            ]
            effect = pm.Deterministic(
                "therapist_effect", pt.stack(columns, axis=1), dims=("therapist", "effect")
            )
            mean = mean + (effect[therapist] * X[:, design.effect_columns]).sum(axis=1)
        pm.Normal("outcome", mean, residual_sd, observed=design.y, dims="patient")
    return model
