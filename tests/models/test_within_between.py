"""Alliance taken apart: the exact model's posterior against the model written out by patient.

Densities stand in `test_exactness_of_options`; here the whole way of the draws is tried, with arm
effects that vary between therapists.
"""

from __future__ import annotations

import numpy as np
import nutpie
import pytest
import xarray as xr
from example_designs import ExampleTruth, example_design, example_patients
from posterior_agreement import differences, moments

from alliance.inference.draws.datatree import draws_of
from alliance.inference.estimands.estimands import estimand_draws
from alliance.inference.posterior import Posterior
from alliance.inference.sampling.compilation import compile_model
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.inference.sampling.sampling import sample_outcome
from alliance.models.design.design import Design
from alliance.models.patient_level import patient_level_model
from alliance.models.priors import Priors
from alliance.models.spec import ModeratorSpec

pytestmark = pytest.mark.mcmc

PATIENTS, THERAPISTS = 180, 15
SHARED = [
    "beta",
    "residual_sd",
    "therapist_sd",
    "therapist_slope_sd",
    "therapist_correlation",
    "therapist_arm_sd",
    "moderator_coefficient",
    "moderator_therapist_sd",
    "moderator_residual_sd",
    "moderator_slope_between",
    "moderator_interaction_between",
    "moderator_therapist_mean",
    "therapist_effect",
]


@pytest.fixture(scope="module")
def design() -> Design:
    """Therapists who differ in their patients' outcomes and in their mean alliance."""
    truth = ExampleTruth(therapist_sd=1.5)
    patients = example_patients(61, patients=PATIENTS, therapists=THERAPISTS, truth=truth)
    random = np.random.default_rng(62)
    mean = 6 * random.normal(size=THERAPISTS)[patients["therapist_index"].values]
    patients["moderator"] = patients["moderator"] + mean
    patients["outcome"] = patients["outcome"] + 0.3 * mean
    return example_design(
        patients,
        "intercept+slope",
        moderator=ModeratorSpec(structure="within_between", between_interaction=True),
        therapist_by_arm=True,
    )


@pytest.fixture(scope="module")
def exact(design: Design) -> xr.Dataset:
    profile = SamplerProfile("ci", chains=4, draws=1500, tune=1000)
    tree, _ = sample_outcome(design, Priors(), profile, seed=1)
    return draws_of(tree)


@pytest.fixture(scope="module")
def patient_level(design: Design) -> xr.Dataset:
    compiled = compile_model(patient_level_model(design, Priors()))
    tree = nutpie.sample(
        compiled, draws=1500, tune=1000, chains=4, target_accept=0.95, seed=2, progress_bar=False
    )
    assert tree["sample_stats"]["diverging"].mean() < 0.001
    return tree["posterior"].dataset


def test_means_and_sds_agree_within_4_monte_carlo_errors(
    exact: xr.Dataset, patient_level: xr.Dataset
) -> None:
    """Every coefficient and SD, every therapist's effects and true mean alliance."""
    found = differences(exact[SHARED], patient_level[SHARED])
    # 9 coefficients, 7 of them but not the alliance's own predict it; 2 interactions between
    # therapists, 7 SDs and a correlation, and the slope between
    assert len(found) == 9 + 6 + 2 + 8 + THERAPISTS * (1 + 4)
    assert found.abs().max().max() < 4, found[found.abs().max(axis=1) > 3]


def test_the_comparison_is_sharp(exact: xr.Dataset, patient_level: xr.Dataset) -> None:
    for draws in (exact, patient_level):
        table = moments(draws[SHARED])
        assert (table["mcse_mean"] < 0.06 * table["sd"]).all()


def test_reported_slopes_and_reliability(design: Design, exact: xr.Dataset) -> None:
    """On the outcome's scale: within, between, their difference, and lambda_j averaged."""
    found = estimand_draws(Posterior(design, exact))
    labels = list(zip(found["quantity"].values, found["level"].values, strict=True))

    def values(quantity: str, level: str = "") -> np.ndarray:
        return found.isel(estimand=labels.index((quantity, level))).values

    unit = design.scaling.outcome[1] / design.scaling.moderator[1]
    within = unit * exact["beta"].sel(coefficient="moderator").values
    between = unit * exact["moderator_slope_between"].values
    np.testing.assert_allclose(values("moderator_slope", "within"), within)
    np.testing.assert_allclose(values("moderator_slope", "average"), within)
    np.testing.assert_allclose(values("moderator_slope", "between"), between)
    np.testing.assert_allclose(values("contextual_effect"), between - within)
    true = exact["moderator_therapist_sd"].values ** 2
    noise = exact["moderator_residual_sd"].values ** 2
    reliability = np.zeros_like(true)
    counts = np.bincount(design.therapist_index)
    for count in counts:
        reliability += true / (true + noise / count) / len(counts)
    np.testing.assert_allclose(values("therapist_mean_reliability"), reliability)
