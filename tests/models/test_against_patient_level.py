"""The exact model against the model written patient by patient: densities and posteriors."""

from __future__ import annotations

import numpy as np
import nutpie
import pytest
import xarray as xr
from example_designs import (
    conditional_effects,
    example_design,
    example_patients,
    prior_draws,
    therapist_covariance,
    unconstrained,
)
from posterior_agreement import differences, moments
from scipy import stats

from alliance.inference.draws.datatree import draws_of
from alliance.inference.sampling.compilation import compile_model
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.inference.sampling.sampling import sample_outcome
from alliance.models.design.design import Design
from alliance.models.gaussian.exact_gaussian import exact_gaussian_model
from alliance.models.patient_level import patient_level_model
from alliance.models.priors import Priors

PARAMETERS = [
    "beta",
    "residual_sd",
    "therapist_sd",
    "therapist_slope_sd",
    "therapist_correlation",
    "therapist_effect",
]


@pytest.mark.parametrize("therapist", ["none", "intercept", "intercept+slope"])
def test_densities_agree_at_any_therapist_effects(therapist: str) -> None:
    """log p(y, effects) - log p(effects | y) = log p(y), whatever the effects."""
    patients = example_patients(32, patients=60, therapists=5, one_patient=True, no_patient=True)
    design = example_design(patients, therapist)
    log_densities = [
        model.compile_logp(jacobian=False, mode="FAST_COMPILE")
        for model in (
            exact_gaussian_model(design, Priors()),
            patient_level_model(design, Priors()),
        )
    ]
    random = np.random.default_rng(33)
    for _ in range(5):
        draw = prior_draws(design, Priors(), 1, random)
        point = unconstrained(draw)
        exact, joint = log_densities[0](point), 0.0
        if design.effects:
            standard = random.normal(size=(len(design.therapists), len(design.effects)))
            L = np.linalg.cholesky(therapist_covariance(draw))
            mean, covariance = conditional_effects(design, draw)
            conditional = stats.multivariate_normal.logpdf(
                (standard @ L.T).ravel(), mean, covariance
            )
            # The density of the standardised effects, of which the effects are L times.
            conditional += len(design.therapists) * np.log(np.diag(L)).sum()
            point["therapist_standard"] = standard
            joint = -conditional
        joint += log_densities[1](point)
        np.testing.assert_allclose(joint, exact, rtol=1e-9, atol=1e-8)


@pytest.fixture(scope="module")
def design() -> Design:
    """Therapists who differ clearly, so that the reference samples well: not centred."""
    return example_design(example_patients(31, patients=240, therapists=14, no_patient=True))


@pytest.fixture(scope="module")
def exact(design: Design) -> xr.Dataset:
    profile = SamplerProfile("ci", chains=4, draws=2500, tune=1000)
    tree, _ = sample_outcome(design, Priors(), profile, seed=1)
    return draws_of(tree)[PARAMETERS]


@pytest.fixture(scope="module")
def patient_level(design: Design) -> xr.Dataset:
    compiled = compile_model(patient_level_model(design, Priors()))
    tree = nutpie.sample(
        compiled,
        draws=2500,
        tune=1000,
        chains=4,
        target_accept=0.95,
        seed=2,
        progress_bar=False,
    )
    assert not tree["sample_stats"]["diverging"].any()
    return tree["posterior"].dataset[PARAMETERS]


@pytest.mark.mcmc
def test_means_and_sds_agree_within_4_monte_carlo_errors(
    exact: xr.Dataset, patient_level: xr.Dataset
) -> None:
    """Every coefficient, standard deviation, the correlation, and every therapist's effects."""
    found = differences(exact, patient_level)
    assert len(found) == 9 + 4 + 14 * 2
    assert found.abs().max().max() < 4, found[found.abs().max(axis=1) > 3]


@pytest.mark.mcmc
def test_the_comparison_is_sharp(exact: xr.Dataset, patient_level: xr.Dataset) -> None:
    """Monte Carlo errors so small that a difference that mattered would show."""
    for draws in (exact, patient_level):
        table = moments(draws)
        assert (table["mcse_mean"] < 0.05 * table["sd"]).all()
        assert (table["mcse_sd"] < 0.05 * table["sd"]).all()
