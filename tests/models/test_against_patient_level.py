"""The posterior of the exact model against that of the model written patient by patient."""

from __future__ import annotations

import nutpie
import pytest
import xarray as xr
from example_designs import example_design, example_patients
from posterior_agreement import differences, moments

from inference.datatree import SCALARS, posterior
from inference.profiles import SamplerProfile
from inference.sampling import sample_outcome
from models.design import Design
from models.patient_level import patient_level_model
from models.priors import Priors

pytestmark = pytest.mark.mcmc

PARAMETERS = ["beta", *SCALARS, "therapist_effect"]


@pytest.fixture(scope="module")
def design() -> Design:
    """Therapists who differ clearly, so that the reference samples well: not centred."""
    return example_design(example_patients(31, patients=240, therapists=14, no_patient=True))


@pytest.fixture(scope="module")
def exact(design: Design) -> xr.Dataset:
    profile = SamplerProfile("ci", chains=4, draws=2500, tune=1000)
    tree, _ = sample_outcome(design, Priors(), profile, seed=1)
    return posterior(tree)[PARAMETERS]


@pytest.fixture(scope="module")
def patient_level(design: Design) -> xr.Dataset:
    compiled = nutpie.compile_pymc_model(patient_level_model(design, Priors()))
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


def test_means_and_sds_agree_within_4_monte_carlo_errors(
    exact: xr.Dataset, patient_level: xr.Dataset
) -> None:
    """Every coefficient, standard deviation, the correlation, and every therapist's effects."""
    found = differences(exact, patient_level)
    assert len(found) == 9 + 4 + 14 * 2
    assert found.abs().max().max() < 4, found[found.abs().max(axis=1) > 3]


def test_the_comparison_is_sharp(exact: xr.Dataset, patient_level: xr.Dataset) -> None:
    """Monte Carlo errors so small that a difference that mattered would show."""
    for draws in (exact, patient_level):
        table = moments(draws)
        assert (table["mcse_mean"] < 0.05 * table["sd"]).all()
        assert (table["mcse_sd"] < 0.05 * table["sd"]).all()
