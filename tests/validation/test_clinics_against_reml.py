"""Clinics with near-flat priors against REML of statsmodels: means within 0.1 standard errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from clinic_trials import design_with_clinics

from alliance.inference.draws.datatree import draws_of
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.inference.sampling.sampling import sample_outcome
from alliance.models.priors import Priors

pytestmark = pytest.mark.validation

NEAR_FLAT = Priors(
    intercept=100, baseline_slope=100, moderator_slope=100, arm=100, interaction=100,
    covariate_slope=100, residual_sd=100, therapist_sd=100, clinic_sd=100,
)  # fmt: skip


def test_coefficients_are_those_of_reml() -> None:
    """800 patients of 40 clinics: so many that the SDs' uncertainty moves no coefficient."""
    design = design_with_clinics(therapist="intercept", patients=800, clinics=40)
    random = np.random.default_rng(12)
    X = design.X[:, design.present]
    y = X @ random.normal(0, 0.3, X.shape[1]) + 0.7 * random.standard_normal(len(X))
    y += (0.4 * random.standard_normal(len(design.therapists)))[design.therapist_index]
    y += (0.4 * random.standard_normal(len(design.clinics)))[design.clinic_of]
    profile = SamplerProfile("standard", chains=4, draws=5000, tune=1500)
    tree, _ = sample_outcome(replace(design, y=y), NEAR_FLAT, profile, seed=3)
    found = draws_of(tree)["beta"].mean(("chain", "draw")).values
    data = pd.DataFrame({"y": y, "therapist": design.therapist_index, "clinic": design.clinic_of})
    clinics, ones = data["clinic"], np.ones((len(y), 1))  # no intercepts of groups by default
    reml = sm.MixedLM(y, X, groups=clinics, exog_re=ones, exog_vc=_indicators(data)).fit()
    assert reml.converged
    errors = np.asarray(reml.bse_fe)
    print(np.round((found - reml.fe_params) / errors, 3))
    assert (np.abs(found - reml.fe_params) < 0.1 * errors).all()


def _indicators(data: pd.DataFrame) -> object:
    """Therapists within clinics as a variance component."""
    names, columns = [], []
    for _, rows in data.groupby("clinic", sort=True):
        own = pd.get_dummies(rows["therapist"]).astype(float)
        names.append([str(name) for name in own])
        columns.append(own.to_numpy())
    return sm.regression.mixed_linear_model.VCSpec(["therapist"], [names], [columns])
