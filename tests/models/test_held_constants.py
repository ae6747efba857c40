"""A compiled patient-level model serves every trial that has the same key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pymc as pm
import pytest
from numpy.typing import NDArray
from option_trials import patients_of

from alliance.inference.draws.datatree import draws_of
from alliance.inference.many_fits.calibration import simulated_trial
from alliance.inference.sampling import compilation, sampling
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.models.design.design import Design, build_design
from alliance.models.latent_ratings import latent_gaussian_model
from alliance.models.patient_level import given_data, held_constants, patient_level_model
from alliance.models.priors import Priors

PRIORS = Priors()


def trial(option: str, family: str, seed: int) -> Design:
    """One simulated trial; its patients, and which ratings are missing, are always the same."""
    patients = patients_of(option, family)
    scores = np.random.default_rng(3).integers(3, 30, patients.data.sizes["patient"])
    data = patients.data.assign(outcome=("patient", scores.astype(float)))
    design = build_design(data, patients.spec, (3.0, 30.0))
    return simulated_trial(design, PRIORS, np.random.default_rng(seed)).design


def log_likelihood(model: pm.Model, at: dict[str, NDArray]) -> NDArray:
    """All terms of the model at a point."""
    wanted = model.replace_rvs_by_values(list(model.potentials))
    function = model.compile_fn(wanted, inputs=model.value_vars, mode="FAST_COMPILE")
    return np.array(function(at))


@pytest.mark.parametrize("family", ["gaussian", "beta_binomial"])
@pytest.mark.parametrize("option", ["impute", "reliability"])
def test_another_trial_of_the_same_patients_is_data_alone(option: str, family: str) -> None:
    one, other = (trial(option, family, seed) for seed in (1, 2))
    assert not np.array_equal(*(given_data(own)["moderator"] for own in (one, other)))
    require_same_model(one, other, family)


@pytest.mark.parametrize("family", ["student_t", "ordinal", "beta_binomial"])
@pytest.mark.parametrize("option", ["complete_case", "therapist_by_arm"])
def test_patients_without_a_model_of_their_ratings_are_data(option: str, family: str) -> None:
    """Not only outcomes: other baselines, other therapists' patients, identical ones together."""
    one, other = (trial(option, family, seed).aggregated() for seed in (1, 2))
    kept = np.random.default_rng(5).permutation(len(other.y))[: len(other.y) - 20]
    X = other.X[kept]
    X[:, other.coefficients.index("baseline")] += 0.1
    other = replace(
        other,
        X=X,
        y=other.y[kept],
        therapist_index=other.therapist_index[kept],
        moderator_missing=other.moderator_missing[kept],
        count=other.count[kept] + 1.0,
    )
    require_same_model(one, other, family)


def require_same_model(one: Design, other: Design, family: str) -> None:
    """The first one's model, given the other's data, is the other's."""
    assert held_constants(one, PRIORS) == held_constants(other, PRIORS)
    assert not np.array_equal(one.y, other.y)
    written_out = latent_gaussian_model if family == "gaussian" else patient_level_model
    given, fresh = written_out(one, PRIORS), written_out(other, PRIORS)
    generator = np.random.default_rng(4)
    at = {
        name: start + generator.normal(0, 0.3, np.shape(start))
        for name, start in fresh.initial_point().items()
    }
    before = log_likelihood(given, at)
    with given:
        pm.set_data(given_data(other))
    assert np.array_equal(log_likelihood(given, at), log_likelihood(fresh, at))
    assert not np.isclose(before, log_likelihood(fresh, at)).any()


def test_what_a_model_holds_is_in_its_key() -> None:
    design = trial("impute", "gaussian", 1)
    present = np.flatnonzero(~design.moderator_missing)[:1]
    missing = design.moderator_missing.copy()
    missing[present] = True
    covariates = design.X.copy()
    covariates[0, design.coefficients.index("baseline")] += 1
    others = [
        replace(design, moderator_missing=missing),
        replace(design, X=covariates),
        replace(design, therapist_index=design.therapist_index[::-1]),
        replace(design, moderator=replace(design.moderator, reliability=0.7)),
    ]
    keys = [held_constants(design, PRIORS), held_constants(design, replace(PRIORS, arm=2.0))]
    keys += [held_constants(other, PRIORS) for other in others]
    assert len(set(keys)) == 2 + len(others)


def test_ratings_at_the_ceiling_are_held() -> None:
    one, other = (trial("ceiling", "gaussian", seed) for seed in (1, 2))
    assert held_constants(one, PRIORS) != held_constants(other, PRIORS)


@pytest.mark.mcmc
@pytest.mark.parametrize(
    ("option", "family"),
    [
        ("impute", "gaussian"),
        pytest.param("complete_case", "ordinal", marks=pytest.mark.validation),
    ],
)
def test_draws_do_not_depend_on_the_trial_compiled_for(
    option: str, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = SamplerProfile("ci", chains=1, draws=50, tune=50)
    one, other = (trial(option, family, seed) for seed in (1, 2))
    compiled: list[pm.Model] = []

    def compile_model(model: pm.Model) -> Any:
        compiled.append(model)
        return compilation.compile_model(model)

    monkeypatch.setattr(sampling, "_patient_level", {})
    monkeypatch.setattr(sampling, "compile_model", compile_model)
    sampling.sample_outcome(one, PRIORS, profile, 1, cores=1)
    second, _ = sampling.sample_outcome(other, PRIORS, profile, 2, cores=1)
    assert len(compiled) == 1
    sampling._patient_level.clear()
    fresh, _ = sampling.sample_outcome(other, PRIORS, profile, 2, cores=1)
    assert len(compiled) == 2
    assert draws_of(second).equals(draws_of(fresh))
