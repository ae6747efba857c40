"""The posterior of the exact model against bambi, which writes the same model by itself."""

from __future__ import annotations

import bambi as bmb
import nutpie
import pandas as pd
import pytest
import xarray as xr
from example_designs import example_design, example_patients
from posterior_agreement import differences, moments

from alliance.inference.draws.datatree import draws_of
from alliance.inference.sampling.compilation import compile_model
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.inference.sampling.sampling import sample_outcome
from alliance.models.design.design import Design
from alliance.models.priors import Priors

pytestmark = pytest.mark.mcmc

PRIORS = Priors(therapist_sd=0.4, residual_sd=0.8)


@pytest.fixture(scope="module")
def design() -> Design:
    """Only intercepts vary: bambi has no correlated therapist effects."""
    return example_design(example_patients(41, patients=240, therapists=14), "intercept")


@pytest.fixture(scope="module")
def exact(design: Design) -> xr.Dataset:
    profile = SamplerProfile("ci", chains=4, draws=2500, tune=1000)
    tree, _ = sample_outcome(design, PRIORS, profile, seed=1)
    draws = draws_of(tree)
    return draws[["beta", "residual_sd", "therapist_sd"]].assign(
        therapist_effect=draws["therapist_effect"].sel(effect="intercept", drop=True)
    )


@pytest.fixture(scope="module")
def from_bambi(design: Design) -> xr.Dataset:
    names = ["Intercept", *(f"x{k}" for k in range(1, len(design.coefficients)))]
    data = pd.DataFrame(design.X[:, 1:], columns=names[1:])
    data["y"] = design.y
    data["therapist"] = pd.Categorical.from_codes(
        design.therapist_index, categories=list(design.therapists)
    )
    scales = zip(names, design.prior_sd(PRIORS), strict=True)
    priors = {name: bmb.Prior("Normal", mu=0, sigma=scale) for name, scale in scales}
    priors["1|therapist"] = bmb.Prior(
        "Normal", mu=0, sigma=bmb.Prior("HalfNormal", sigma=PRIORS.therapist_sd)
    )
    priors["sigma"] = bmb.Prior("HalfNormal", sigma=PRIORS.residual_sd)
    formula = f"y ~ {' + '.join(names[1:])} + (1|therapist)"
    # The intercept's prior is that of the mean at zero, as in the exact model.
    model = bmb.Model(formula, data, priors=priors, center_predictors=False)
    model.build()
    compiled = compile_model(model.backend.model)
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
    draws = tree["posterior"].dataset
    beta = xr.concat([draws[name] for name in names], dim="coefficient")
    beta = beta.assign_coords(coefficient=list(design.coefficients))
    effects = draws["1|therapist"].rename({"therapist__factor_dim": "therapist"})
    return xr.Dataset(
        {
            "beta": beta,
            "residual_sd": draws["sigma"],
            "therapist_sd": draws["1|therapist_sigma"],
            "therapist_effect": effects.transpose(..., "therapist"),
        }
    ).transpose("chain", "draw", ...)


def test_means_and_sds_agree_within_4_monte_carlo_errors(
    exact: xr.Dataset, from_bambi: xr.Dataset
) -> None:
    """Every coefficient, both standard deviations, and every therapist's effect."""
    found = differences(exact, from_bambi)
    assert len(found) == 9 + 2 + 14
    assert found.abs().max().max() < 4, found[found.abs().max(axis=1) > 3]


def test_the_comparison_is_sharp(exact: xr.Dataset, from_bambi: xr.Dataset) -> None:
    for draws in (exact, from_bambi):
        table = moments(draws)
        assert (table["mcse_mean"] < 0.05 * table["sd"]).all()
        assert (table["mcse_sd"] < 0.05 * table["sd"]).all()
