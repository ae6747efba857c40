"""Therapists within clinics, or crossed with them: exact against the dense normal distribution."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from clinic_trials import covariance, design_with_clinics, patients_with_clinics
from numpy.typing import NDArray
from scipy import stats

from alliance.inference.draws.datatree import PARAMETERS
from alliance.models.clinics import Cells
from alliance.models.design.design import Design, build_design
from alliance.models.gaussian.exact_gaussian import exact_gaussian_model
from alliance.models.gaussian.gaussian_draws import (
    GaussianDraws,
    collapse,
    draw_therapist_effects,
    marginal_log_likelihood,
)
from alliance.models.patient_level import patient_level_model
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec

Array = NDArray[np.float64]

DESIGNS: dict[str, dict[str, Any]] = {
    "nested": {"therapist": "intercept"},
    "nested, slopes at both levels": {"clinic": "intercept+slope"},
    "one therapist in each clinic but one": {"per_clinic": 1, "patients": 60},
    "crossed": {"kind": "crossed", "therapist": "intercept"},
    "crossed, slopes at both levels": {"kind": "crossed", "clinic": "intercept+slope"},
    "residual SDs by arm": {"residual_by_arm": True, "clinic": "intercept+slope"},
    "crossed, residual SDs by arm": {"kind": "crossed", "residual_by_arm": True},
    "arm effects by therapist": {"kind": "crossed", "therapist_by_arm": True},
    "a waiting list in the clinics": {"without_therapist": ("W",), "kind": "crossed"},
    "no therapist effects": {"therapist": "none", "clinic": "intercept+slope"},
}


def a_draw(design: Design, random: np.random.Generator, total: int = 1) -> GaussianDraws:
    """Parameters at random: SDs from a tenth to one residual SD and more."""

    def sd() -> Array:
        return random.uniform(0.05, 1.0, total)

    own: dict[str, Array] = {}
    for level, effects in (("therapist", design.effects), ("clinic", design.clinic_effects)):
        if effects:
            own[f"{level}_sd"] = sd()
        if "slope" in effects:
            own[f"{level}_slope_sd"] = sd()
            own[f"{level}_correlation"] = random.uniform(-0.9, 0.9, total)
        if any(effect.startswith("arm[") for effect in effects):
            own["therapist_arm_sd"] = sd()
    groups = design.nesting.number
    residual = random.uniform(0.4, 1.2, (total, groups))
    return GaussianDraws(
        beta=random.normal(0, 0.5, (total, len(design.coefficients))),
        residual_sd=residual if groups > 1 else residual[:, 0],
        **own,
    )


def of_levels(design: Design, draw: GaussianDraws) -> dict[str, Array]:
    """Covariances of the effects, and the residual SDs, of a single draw."""
    found = {"residual_sd": np.atleast_1d(draw.residual_sd[0])}
    factors = {"therapist": draw.factor(len(design.effects)), "clinic": draw.clinic_factor()}
    for level, rows in factors.items():
        L = np.array([[np.ravel(element)[0] for element in row] for row in rows])
        found[level] = np.tril(L) @ np.tril(L).T if len(rows) else np.zeros((0, 0))
    return found


def as_the_model_has_it(design: Design, draw: GaussianDraws) -> dict[str, Any]:
    """One draw on the sampler's unconstrained scales."""
    found: dict[str, Any] = {"beta": draw.beta[0]}
    for name in PARAMETERS:
        value = getattr(draw, name)
        if value is None:
            continue
        value = value[0]
        if name.endswith("correlation"):
            found[f"{name}_interval__"] = np.log((1 + value) / (1 - value))
        else:
            found[f"{name}_log__"] = np.log(value)
    return found


@pytest.mark.parametrize("name", DESIGNS)
def test_the_likelihood_is_that_of_the_dense_normal_and_so_is_its_gradient(name: str) -> None:
    """To 1e-8, at random parameters; the gradient to what central differences have of digits."""
    design = design_with_clinics(**DESIGNS[name])
    model = exact_gaussian_model(design, Priors())
    (likelihood,) = model.replace_rvs_by_values([model["log_likelihood_sum"]])
    compiled = model.compile_fn(likelihood, mode="FAST_COMPILE")
    values = model.value_vars
    gradient = model.compile_fn(model.dlogp(), mode="FAST_COMPILE")
    density = model.compile_fn(model.logp(), mode="FAST_COMPILE")
    random = np.random.default_rng(17)
    for _ in range(3):
        draw = a_draw(design, random)
        V = covariance(design, of_levels(design, draw))
        dense = stats.multivariate_normal.logpdf(design.y, design.X @ draw.beta[0], V)
        point = as_the_model_has_it(design, draw)
        np.testing.assert_allclose(compiled(point), dense, rtol=1e-11, atol=1e-8)
        found = marginal_log_likelihood(design, draw)[0]
        np.testing.assert_allclose(found, dense, rtol=1e-11, atol=1e-8)
    step, place = 1e-5, 0
    own = gradient(point)
    for variable in values:
        size = np.size(point[variable.name])
        for k in range(size):
            shifted = []
            for sign in (1, -1):
                moved = {key: np.array(value, dtype=float) for key, value in point.items()}
                moved[variable.name].reshape(-1)[k] += sign * step
                shifted.append(density(moved))
            slope = (shifted[0] - shifted[1]) / (2 * step)
            np.testing.assert_allclose(own[place], slope, rtol=1e-5, atol=1e-5)
            place += 1


@pytest.mark.parametrize("name", DESIGNS)
def test_coefficients_integrate_out_as_from_the_dense_normal(name: str) -> None:
    design = design_with_clinics(**DESIGNS[name])
    draw = a_draw(design, np.random.default_rng(5), total=2)
    prior_sd = design.prior_sd(Priors())
    found = collapse(design, draw, prior_sd)
    for d in range(2):
        V = covariance(design, of_levels(design, draw.block(slice(d, d + 1))))
        X = design.X[:, design.present]
        whole = V + (X * prior_sd[design.present] ** 2) @ X.T
        dense = stats.multivariate_normal.logpdf(design.y, np.zeros(len(design.y)), whole)
        np.testing.assert_allclose(found.log_likelihood[d], dense, rtol=1e-10, atol=1e-8)
        mean = (prior_sd[design.present] ** 2 * X).T @ np.linalg.solve(whole, design.y)
        np.testing.assert_allclose(found.mean[d], mean, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", DESIGNS)
def test_effects_are_drawn_from_their_distribution_given_the_rest(name: str) -> None:
    """Mean and SD of 4,000 draws against the dense normal's: 5 Monte Carlo errors."""
    design = design_with_clinics(**DESIGNS[name])
    one, number = a_draw(design, np.random.default_rng(9)), 4_000
    fields = {"beta": one.beta, **{field: getattr(one, field) for field in PARAMETERS}}
    draws = GaussianDraws(
        **{field: None if own is None else np.repeat(own, number, axis=0)
           for field, own in fields.items()}
    )  # fmt: skip
    found = draw_therapist_effects(design, draws, np.random.default_rng(3))
    own = of_levels(design, one)
    V = covariance(design, own)
    residual = design.y - design.X @ one.beta[0]
    levels = (
        (found.effect, own["therapist"], design.effect_columns, design.therapist_index),
        (found.clinic_effect, own["clinic"], design.clinic_columns, design.clinic_of),
    )
    for drawn, prior, columns, index in levels:
        assert drawn is not None
        for j in range(drawn.shape[1]):
            rows = np.flatnonzero(index == j)
            across = np.zeros((len(columns), len(design.y)))
            across[:, rows] = prior @ design.X[np.ix_(rows, columns)].T
            mean = across @ np.linalg.solve(V, residual)
            variance = prior - across @ np.linalg.solve(V, across.T)
            sd = np.sqrt(np.diag(variance))
            error = 5 * sd / np.sqrt(number)
            assert (np.abs(drawn[:, j].mean(axis=0) - mean) < error).all()
            assert (np.abs(drawn[:, j].std(axis=0) - sd) < error).all()


def test_linked_clinics_make_one_component() -> None:
    """Therapist 0 works in clinics 0 and 2, and therapist 1 in 1; the third has no patient."""
    cells = Cells.of(np.array([0, 1, 0, 3]), np.array([0, 1, 2, 1]), therapists=3, clinics=3)
    of_component = [
        (set(cells.therapists[j0:j1].tolist()), set(cells.clinics[k0:k1].tolist()))
        for (j0, k0), (j1, k1) in zip(cells.ends[:-1], cells.ends[1:], strict=True)
    ]
    assert of_component == [({0}, {0, 2}), ({1}, {1}), ({2}, set())]


def test_clinics_without_spread_leave_the_model_with_therapists_alone() -> None:
    design = design_with_clinics("nested", therapist="intercept+slope")
    draw = a_draw(design, np.random.default_rng(1))
    nothing = replace(draw, clinic_sd=np.array([1e-9]))
    own = of_levels(design, nothing) | {"clinic": np.zeros((1, 1))}
    V = covariance(design, own)
    dense = stats.multivariate_normal.logpdf(design.y, design.X @ draw.beta[0], V)
    found = marginal_log_likelihood(design, nothing)[0]
    np.testing.assert_allclose(found, dense, rtol=1e-9)


@pytest.mark.parametrize("family", ["student_t", "binary"])
def test_other_families_have_the_effects_of_a_patients_clinic(family: str) -> None:
    """The patient-level likelihood at random effects, written out patient by patient."""
    design = design_with_clinics("crossed", clinic="intercept+slope", family="student_t")
    if family == "binary":
        data = patients_with_clinics("crossed")
        events = data.assign(outcome=("patient", (data["outcome"].values > 50).astype(float)))
        spec = ModelSpec("example", family="binary", clinic="intercept+slope")
        design = build_design(events, spec, (0.0, 1.0))
    model = patient_level_model(design, Priors())
    (likelihood,) = model.replace_rvs_by_values([model["log_likelihood_sum"]])
    random = np.random.default_rng(2)
    point = {each.name: 0.4 * random.standard_normal(np.shape(model.initial_point()[each.name]))
             for each in model.value_vars}  # fmt: skip
    found = model.compile_fn(likelihood, mode="FAST_COMPILE", on_unused_input="ignore")(point)
    effects = []
    for level in ("therapist", "clinic"):
        sd, slope = (np.exp(point[f"{level}_{name}_log__"]) for name in ("sd", "slope_sd"))
        r = np.tanh(point[f"{level}_correlation_interval__"] / 2)
        L = np.array([[sd, 0.0], [slope * r, slope * np.sqrt(1 - r**2)]])
        effects.append(point[f"{level}_standard"] @ L.T)
    own = effects[0][design.therapist_index] + effects[1][design.clinic_of]
    alliance = design.X[:, design.coefficients.index("moderator")]
    predictor = design.X[:, design.present] @ point["beta"] + own[:, 0] + own[:, 1] * alliance
    eta = design.scale.link_location + design.scale.link_unit * predictor
    if family == "binary":
        wanted = -np.logaddexp(0, (1 - 2 * design.y) * eta).sum()
    else:
        sd = np.exp(point["residual_sd_log__"])
        nu = np.exp(point["degrees_of_freedom_log__"])
        wanted = stats.t.logpdf(design.y, nu, eta, sd).sum()
    np.testing.assert_allclose(found, wanted, rtol=1e-10)
