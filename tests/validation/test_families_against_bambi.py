"""Bounded scores, heavy tails, events, counts: posteriors against bambi's of the same model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import bambi as bmb
import numpy as np
import nutpie
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from example_designs import example_patients
from example_families import LIMITS, as_family
from posterior_agreement import differences, moments

from alliance.inference.draws.datatree import draws_of
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.inference.sampling.sampling import sample_outcome
from alliance.models.design.design import Design, build_design
from alliance.models.families.families import find_family
from alliance.models.families.family import GAMMA
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec

pytestmark = pytest.mark.validation

PRIORS = Priors(therapist_sd=0.4, residual_sd=0.8)
PROFILE = SamplerProfile("standard", chains=4, draws=2000, tune=1000, target_accept=0.95)
THERAPISTS = 12
OVERDISPERSION = "cv_of_rates"
HEAVY_TAILS = 3.0  # degrees of freedom of the noise that is added to the scores
OWN = {
    "beta_binomial": ["precision"],
    "student_t": ["residual_sd", "degrees_of_freedom"],
    "binary": [],
    "count": ["overdispersion"],
}


def a_design(family: str) -> Design:
    """Only intercepts vary: bambi has no correlated therapist effects."""
    patients = example_patients(43, patients=240, therapists=THERAPISTS)
    scores = patients["outcome"].values
    if family == "student_t":
        scores = scores + 2 * np.random.default_rng(44).standard_t(HEAVY_TAILS, len(scores))
    patients["outcome"] = ("patient", as_family(scores, family))
    if family == "count":
        exposure = np.random.default_rng(45).uniform(0.5, 2.0, len(scores))
        patients["exposure"] = ("patient", exposure)
    return build_design(patients, ModelSpec("example", "intercept", family=family), LIMITS[family])


def shape(name: str, *_args: Any, **_options: Any) -> Any:
    """Bambi's own parameter of counts, one over the squared overdispersion."""
    return pm.Deterministic(name, pm.HalfNormal(OVERDISPERSION, PRIORS.overdispersion) ** -2.0)


def ours(design: Design, priors: Priors = PRIORS) -> xr.Dataset:
    tree, _ = sample_outcome(design, priors, PROFILE, seed=1)
    assert tree["sample_stats"]["diverging"].mean() < 0.001
    draws = draws_of(tree)
    own = [parameter.name for parameter in design.family.parameters if parameter.name in draws]
    return draws[["beta", "therapist_sd", *own]].assign(
        therapist_effect=draws["therapist_effect"].sel(effect="intercept", drop=True)
    )


def from_bambi(design: Design) -> xr.Dataset:
    """Bambi's model on the link's scale, its draws brought to ours."""
    names = ["Intercept", *(f"x{k}" for k in range(1, len(design.coefficients)))]
    data = pd.DataFrame(design.X[:, 1:], columns=names[1:])
    data["y"] = design.y.astype(int) if design.family.discrete else design.y
    data["top"] = design.scale.top
    data["therapist"] = pd.Categorical.from_codes(
        design.therapist_index, categories=list(design.therapists)
    )
    location, unit = design.scale.link_location, design.scale.link_unit
    priors: dict[str, Any] = {
        name: bmb.Prior("Normal", mu=location if name == "Intercept" else 0, sigma=unit * scale)
        for name, scale in zip(names, design.prior_sd(PRIORS), strict=True)
    }
    between = bmb.Prior("HalfNormal", sigma=unit * PRIORS.therapist_sd)
    priors["1|therapist"] = bmb.Prior("Normal", mu=0, sigma=between)
    fixed = " + ".join(names[1:])
    if design.family.name == "binary":
        response, family, own = "y", "bernoulli", {}
    elif design.family.name == "count":
        response, family = "y", "negativebinomial"
        data["log_exposure"] = design.offset
        fixed += " + offset(log_exposure)"
        priors["alpha"] = bmb.Prior("OverDispersion", dist=shape)
        own = {"overdispersion": OVERDISPERSION}
    elif design.family.name == "beta_binomial":
        response, family = "p(y, top)", "beta_binomial"
        priors["kappa"] = bmb.Prior("Gamma", **GAMMA)
        own = {"precision": "kappa"}
    else:
        response, family = "y", "t"
        priors["sigma"] = bmb.Prior("HalfNormal", sigma=PRIORS.residual_sd)
        priors["nu"] = bmb.Prior("Gamma", **GAMMA)
        own = {"residual_sd": "sigma", "degrees_of_freedom": "nu"}
    model = bmb.Model(
        f"{response} ~ {fixed} + (1|therapist)",
        data,
        family=family,
        priors=priors,
        center_predictors=False,
    )
    model.build()
    tree = nutpie.sample(
        nutpie.compile_pymc_model(model.backend.model),
        draws=PROFILE.draws,
        tune=PROFILE.tune,
        chains=PROFILE.chains,
        target_accept=PROFILE.target_accept,
        seed=2,
        progress_bar=False,
    )
    assert tree["sample_stats"]["diverging"].mean() < 0.001
    draws = tree["posterior"].dataset
    intercept = (draws["Intercept"] - location) / unit
    beta = xr.concat(
        [intercept, *(draws[name] / unit for name in names[1:])], dim="coefficient"
    ).assign_coords(coefficient=list(design.coefficients))
    effects = draws["1|therapist"].rename({"therapist__factor_dim": "therapist"}) / unit
    found = {
        "beta": beta,
        "therapist_sd": draws["1|therapist_sigma"] / unit,
        "therapist_effect": effects,
    }
    found |= {name: draws[theirs] for name, theirs in own.items()}
    return xr.Dataset(found).transpose("chain", "draw", ...)


@pytest.mark.parametrize("family", OWN)
def test_means_and_sds_agree_within_4_monte_carlo_errors(family: str) -> None:
    """Every coefficient, SD, the family's own parameters, and every therapist's effect."""
    design = a_design(family)
    one, other = ours(design), from_bambi(design)
    found = differences(one, other)
    assert len(found) == 9 + 1 + THERAPISTS + len(OWN[family])
    for draws in (one, other):
        table = moments(draws)
        assert (table["mcse_mean"] < 0.06 * table["sd"]).all()  # the comparison is sharp
    print(f"\n{family}: largest difference {found.abs().max().max():.2f} Monte Carlo errors")
    print(moments(one).loc[[*OWN[family], "therapist_sd"]].round(3).to_string())
    assert found.abs().max().max() < 4, found[found.abs().max(axis=1) > 3]


def test_a_student_t_with_many_degrees_of_freedom_is_the_exact_gaussian() -> None:
    """A million, fixed by the prior; the exact model has its therapist effects integrated out."""
    design = a_design("student_t")
    fixed = replace(PRIORS, degrees_of_freedom=1e6)
    gaussian = replace(design, family=find_family("gaussian"))
    assert gaussian.exact
    found = differences(ours(design, fixed), ours(gaussian))
    print(f"\nfixed: largest difference {found.abs().max().max():.2f} Monte Carlo errors")
    assert len(found) == 9 + 2 + THERAPISTS
    assert found.abs().max().max() < 4, found[found.abs().max(axis=1) > 3]
