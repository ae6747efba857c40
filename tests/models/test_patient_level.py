"""The patient-level model of every family with every option: densities, gradients, aggregation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from example_families import (
    CEILING,
    LIMITS,
    OPTIONS,
    family_design,
    family_patients,
    made_posterior,
    repeating_design,
)
from numpy.typing import NDArray
from pymc.blocking import DictToArrayBijection
from pytensor.compile.mode import Mode
from pytensor.link.vm import VMLinker

from alliance.data_prep.errors import InputError
from alliance.inference.estimands.compared_at import average_response
from alliance.inference.posterior import Posterior
from alliance.models.design.design import Design, build_design
from alliance.models.design.ratings import latent_patients
from alliance.models.families.families import FAMILIES
from alliance.models.families.family import ARRAYS
from alliance.models.patient_level import patient_level_model
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec, ModeratorSpec

Array = NDArray[np.float64]
DISCRETE = ("ordinal", "beta_binomial")
# Like FAST_COMPILE, but of rewriting, which takes longer than a few evaluations, only the merging
# of what is equal.
AS_WRITTEN = Mode(VMLinker(use_cloop=False, c_thunks=False), optimizer="merge")


def log_density(model: pm.Model) -> Callable[[dict[str, Array]], list[Array]]:
    """Its value and gradient with the Jacobians, in PyTensor's interpreter: no compilation."""
    return model.compile_fn([model.logp(), model.dlogp()], mode=AS_WRITTEN)


def random_point(model: pm.Model, random: np.random.Generator) -> dict[str, Array]:
    return {
        name: value + 0.3 * random.normal(size=np.shape(value))
        for name, value in model.initial_point().items()
    }


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_is_finite_and_agrees_with_finite_differences(family: str, option: str) -> None:
    """Where sampling starts and at a random point; the slope in random directions.

    With all options at once, arm effects vary between therapists too.
    """
    design = family_design(family, option, therapist_by_arm=option == "all")
    model = patient_level_model(design, Priors())
    both = log_density(model)
    start = DictToArrayBijection.map(model.initial_point())
    random = np.random.default_rng(3)
    for distance in (0.0, 0.3):
        here = start.data + distance * random.normal(size=len(start.data))
        value, gradient = both(DictToArrayBijection.rmap(start._replace(data=here)))
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
        for _ in range(4):
            direction, step = random.normal(size=len(here)), 1e-4
            one, other = (
                both(DictToArrayBijection.rmap(start._replace(data=here + sign * step * direction)))
                for sign in (1, -1)
            )
            difference = (one[0] - other[0]) / (2 * step)
            np.testing.assert_allclose(gradient @ direction, difference, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    ("family", "fixed_degrees"), [*((name, 0.0) for name in FAMILIES), ("student_t", 1e6)]
)
def test_likelihood_is_the_sum_of_the_familys_formula(family: str, fixed_degrees: float) -> None:
    """The model's likelihood, from its own predictor and the formula for arrays of draws."""
    design = family_design(family, therapist="none")
    priors = replace(Priors(), degrees_of_freedom=fixed_degrees)
    model = patient_level_model(design, priors)
    parameters = [parameter.name for parameter in design.family.parameters]
    wanted = [model["log_likelihood_sum"], model["beta"]]
    wanted += [model[name] for name in parameters if name in model.named_vars]
    function = model.compile_fn(
        model.replace_rvs_by_values(wanted),
        inputs=model.value_vars,
        mode=AS_WRITTEN,
        on_unused_input="ignore",
    )
    total, beta, *values = function(random_point(model, np.random.default_rng(5)))
    auxiliary = {
        name: np.atleast_1d(value)[None] for name, value in zip(parameters, values, strict=False)
    }
    if fixed_degrees:
        auxiliary["degrees_of_freedom"] = np.array([[fixed_degrees]])
    columns = [k for k, name in enumerate(design.coefficients) if name != "intercept"]
    if design.family.has_intercept:
        columns = list(range(len(design.coefficients)))
    scale = design.scale
    eta = scale.link_location + scale.link_unit * (design.X[:, columns] @ beta)
    pointwise = design.family.log_likelihood(ARRAYS, design.y, eta[None], auxiliary, scale)
    np.testing.assert_allclose(total, pointwise.sum(), rtol=1e-11)


MODERATORS = {
    "total": ModeratorSpec(),
    "within_between": ModeratorSpec(structure="within_between"),
}


@pytest.mark.parametrize("moderator", MODERATORS)
@pytest.mark.parametrize("family", DISCRETE)
def test_identical_rows_brought_together_leave_the_density_as_it_is(
    family: str, moderator: str
) -> None:
    design = repeating_design(family, MODERATORS[moderator])
    together = design.aggregated()
    assert together.count.sum() == len(design.y)
    assert len(together.y) < 0.8 * len(design.y)
    models = [patient_level_model(one, Priors()) for one in (design, together)]
    both = [log_density(model) for model in models]
    random = np.random.default_rng(6)
    for _ in range(5):
        point = random_point(models[0], random)
        by_row, by_group = (density(point) for density in both)
        np.testing.assert_allclose(by_group[0], by_row[0], rtol=0, atol=1e-8)
        np.testing.assert_allclose(by_group[1], by_row[1], rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("family", DISCRETE)
def test_identical_rows_brought_together_leave_the_expected_scores_as_they_are(
    family: str,
) -> None:
    design = repeating_design(family)
    draws = made_posterior(design)
    by_row, by_group = (
        average_response(Posterior(one, draws)) for one in (design, design.aggregated())
    )
    for name in ("expected", "slope", "variance"):
        np.testing.assert_allclose(by_group[name], by_row[name], rtol=1e-12)


def test_bringing_together_twice_is_once() -> None:
    once = repeating_design("ordinal").aggregated()
    twice = once.aggregated()
    np.testing.assert_array_equal(twice.X, once.X)
    np.testing.assert_array_equal(twice.count, once.count)


@pytest.mark.parametrize("option", ["impute", "reliability", "ceiling"])
def test_patients_with_an_alliance_of_their_own_are_not_brought_together(option: str) -> None:
    moderator = OPTIONS[option]
    if moderator.ceiling is not None:
        moderator = replace(moderator, ceiling=2.0)
    design = repeating_design("ordinal", moderator)
    assert design.aggregated() is design


def test_continuous_outcomes_are_not_brought_together() -> None:
    design = repeating_design("gaussian")
    assert design.aggregated() is design


def with_scores(scores: list[float], family: str) -> xr.Dataset:
    found = family_patients(family).isel(patient=slice(1, 5))
    found["outcome"] = ("patient", np.array(scores))
    return found


def test_categories_that_nobody_uses_are_allowed() -> None:
    patients = with_scores([2.0, 3.0, 5.0, 2.0], "ordinal")
    design = build_design(patients, ModelSpec("example", family="ordinal"), (1.0, 7.0))
    assert design.y.tolist() == [1.0, 2.0, 4.0, 1.0]
    assert design.scale.top == 6
    model = patient_level_model(design, Priors())
    value, gradient = log_density(model)(model.initial_point())
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("family", DISCRETE)
def test_scores_that_are_not_whole_are_refused(family: str) -> None:
    patients = with_scores([3.0, 4.0, 4.5, 5.0], family)
    with pytest.raises(InputError, match=r"example.*4\.5"):
        build_design(patients, ModelSpec("example", family=family), LIMITS[family])


def test_an_ordinal_outcomes_intercept_is_held_by_its_cutpoints() -> None:
    design = family_design("ordinal")
    model = patient_level_model(design, Priors())
    assert "intercept" not in model.coords["coefficient"]
    assert len(model.coords["coefficient"]) == len(design.coefficients) - 1


def alliance(design: Design, model: pm.Model, random: np.random.Generator) -> Array:
    """Every patient's alliance at a random point: the latent ones among those observed."""
    latent = model.replace_rvs_by_values([model["moderator_latent"]])[0]
    function = model.compile_fn(
        latent, inputs=model.value_vars, mode=AS_WRITTEN, on_unused_input="ignore"
    )
    value = design.X[:, design.coefficients.index("moderator")].copy()
    value[latent_patients(design)] = function(random_point(model, random))
    return value


def test_ratings_stand_where_they_were_observed() -> None:
    """Imputed where missing, at or above the ceiling where they reached it, else as rated."""
    spec = ModeratorSpec(missing="impute", ceiling=CEILING)
    design = build_design(family_patients("gaussian"), ModelSpec("example", moderator=spec))
    model = patient_level_model(design, Priors())
    one, other = (alliance(design, model, np.random.default_rng(seed)) for seed in (11, 12))
    rated = design.X[:, design.coefficients.index("moderator")]
    mean, sd = design.scaling.moderator
    top = np.isclose(mean + sd * rated, CEILING) & ~design.moderator_missing
    seen = ~top & ~design.moderator_missing
    assert 0 < top.sum() < seen.sum()
    assert design.moderator_missing.sum() > 0
    np.testing.assert_array_equal(one[seen], rated[seen])
    assert (mean + sd * one[top] >= CEILING - 1e-6).all()
    assert (one[~seen] != other[~seen]).all()


def test_a_reliability_of_one_takes_the_rating_for_the_truth() -> None:
    spec = ModeratorSpec(reliability=1.0)
    patients = family_patients("gaussian")
    patients = patients.isel(patient=np.flatnonzero(np.isfinite(patients["moderator"].values)))
    design = build_design(patients, ModelSpec("example", moderator=spec))
    model = patient_level_model(design, Priors())
    assert latent_patients(design) == []
    assert "moderator_latent" not in model.named_vars
