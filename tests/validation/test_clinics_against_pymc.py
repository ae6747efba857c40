"""Clinics against the model as a PyMC user writes it: 4 Monte Carlo errors."""

from __future__ import annotations

from dataclasses import replace

import arviz_stats as azs
import numpy as np
import nutpie
import pymc as pm
import pytest
from clinic_trials import design_with_clinics

from alliance.inference.draws.datatree import draws_of
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.inference.sampling.sampling import sample_outcome
from alliance.models.design.design import Design
from alliance.models.priors import Priors

pytestmark = pytest.mark.validation

PROFILE = SamplerProfile("standard", chains=4, draws=2000, tune=1000)


def plain_model(design: Design, priors: Priors) -> pm.Model:
    """Patient by patient, effects not centred, with the same priors on the same columns."""
    present = design.present
    with pm.Model(coords={"coefficient": [design.coefficients[k] for k in present]}) as model:
        beta = pm.Normal("beta", 0, design.prior_sd(priors)[present], dims="coefficient")
        therapist_sd = pm.HalfNormal("therapist_sd", priors.therapist_sd)
        clinic_sd = pm.HalfNormal("clinic_sd", priors.clinic_sd)
        own = pm.Normal("own", 0, 1, shape=len(design.therapists))
        above = pm.Normal("above", 0, 1, shape=len(design.clinics))
        residual_sd = pm.HalfNormal("residual_sd", priors.residual_sd)
        expected = pm.math.dot(design.X[:, present], beta)
        expected += therapist_sd * own[design.therapist_index]
        expected += clinic_sd * above[design.clinic_of]
        pm.Normal("y", expected, residual_sd, observed=np.array(design.y))
    return model


@pytest.mark.parametrize("kind", ["nested", "crossed"])
def test_posteriors_are_those_of_the_plain_model(kind: str) -> None:
    design = design_with_clinics(kind, therapist="intercept", patients=150)
    random = np.random.default_rng(6)
    effects = 0.5 * random.standard_normal(len(design.clinics))
    y = 0.6 * random.standard_normal(150) + effects[design.clinic_of]
    design = replace(design, y=y)
    priors = Priors()
    ours = draws_of(sample_outcome(design, priors, PROFILE, seed=1)[0])
    plain = nutpie.sample(
        nutpie.compile_pymc_model(plain_model(design, priors)),
        draws=4000, tune=1500, chains=4, seed=2, target_accept=0.95, progress_bar=False,
    )["posterior"].dataset  # fmt: skip
    for name in ("beta", "therapist_sd", "clinic_sd", "residual_sd"):
        means = [each[name].mean(("chain", "draw")).values for each in (ours, plain)]
        errors = [azs.mcse(each[[name]])[name].values for each in (ours, plain)]
        assert (np.abs(means[0] - means[1]) < 4 * np.hypot(*errors)).all(), name
