"""Arms without therapists, and residual SDs of arms: the exact model against dense covariances."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from nested_trials import (
    DESIGNS,
    dense_collapsed,
    dense_covariance,
    dense_log_likelihood,
    nested_design,
    random_draws,
)

from alliance.data_prep.cell_moments import NOBODY, cell_moments
from alliance.models.design.design import moments_design
from alliance.models.gaussian.gaussian_draws import (
    collapse,
    draw_therapist_effects,
    therapist_log_likelihood,
)
from alliance.models.nesting import Nesting
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec

# The dense normal loses some digits of 60 patients by itself; 1e-8 is the promise.
CLOSE = 1e-8


class TestGroups:
    @pytest.mark.parametrize(
        ("arms", "without", "by_arm", "groups", "with_therapists"),
        [
            ("AB", "", False, (), 1),
            ("AB", "", True, (0, 1), 2),
            ("AB", "B", False, (0, 1), 1),
            ("AB", "A", False, (1, 0), 1),  # group 0 is that of an arm with therapists
            ("ABC", "A", False, (1, 0, 0), 1),
            ("ABC", "A", True, (2, 0, 1), 2),
            ("ABC", "AC", False, (1, 0, 2), 1),  # each arm without therapists has its own
            ("AB", "AB", False, (), 1),  # nobody has: one residual SD, as in a regression
            ("AB", "AB", True, (0, 1), 1),
        ],
    )
    def test_residual_groups_of_arms(
        self, arms: str, without: str, by_arm: bool, groups: tuple[int, ...], with_therapists: int
    ) -> None:
        found = Nesting.of(arms, without, residual_by_arm=by_arm)
        assert found.groups == groups
        assert found.with_therapists == with_therapists
        assert found.number == max(groups, default=0) + 1


@pytest.mark.parametrize("case", DESIGNS)
class TestExactness:
    def test_likelihood_is_that_of_the_dense_normal(self, case: Any) -> None:
        design = nested_design(*case)
        draws = random_draws(design)
        found = therapist_log_likelihood(design, draws).sum(axis=1)
        np.testing.assert_allclose(found, dense_log_likelihood(design, draws), atol=CLOSE)

    def test_so_it_is_with_the_coefficients_integrated_out(self, case: Any) -> None:
        design = nested_design(*case)
        draws = random_draws(design)
        found = collapse(design, draws, design.prior_sd(Priors())).log_likelihood
        np.testing.assert_allclose(found, dense_collapsed(design, draws), atol=CLOSE)

    def test_cross_products_by_arm_and_therapist_say_the_same_as_rows(self, case: Any) -> None:
        arms, without, by_arm, therapist = case
        design = nested_design(*case)
        rows = _rows(design)
        found = cell_moments(
            ["moderator", "baseline", "outcome"],
            rows,
            [*design.therapists, NOBODY],
            design.therapist_index,
            design.arm_index,
        )
        spec = ModelSpec("y", therapist, without_therapist=without, residual_by_arm=by_arm)
        again = moments_design(found, spec, arms, ())
        assert again.therapists == design.therapists
        draws = random_draws(design)
        np.testing.assert_allclose(
            therapist_log_likelihood(again, draws),
            therapist_log_likelihood(design, draws),
            atol=CLOSE,
        )


def _rows(design: Any) -> Any:
    encoding, scaling = design.encoding, design.scaling
    columns = [
        scale[0] + scale[1] * design.X[:, encoding.places(kind)[0]]
        for kind, scale in (("moderator", scaling.moderator), ("baseline", scaling.baseline))
    ]
    return np.array([*columns, scaling.outcome[0] + scaling.outcome[1] * design.y])


@pytest.mark.parametrize("case", [each for each in DESIGNS if each[3] != "none"])
def test_therapist_effects_have_the_moments_of_the_joint_normal(case: Any) -> None:
    """E(b_j | y) = S Z_j' V^-1 (y - X beta), as of any linear mixed model.

    20,000 draws at one value of the parameters: means within 4.5 standard errors of each of at
    most 14 effects.
    """
    design = nested_design(*case)
    one = random_draws(design, 1)
    number = 20_000
    draws = type(one)(
        **{
            name: None if values is None else np.repeat(values, number, axis=0)
            for name in one.__dataclass_fields__
            for values in [getattr(one, name)]
        }
    )
    found = draw_therapist_effects(design, draws, np.random.default_rng(5)).effect
    V = dense_covariance(design, one, 0)
    left = np.linalg.solve(V, design.y - design.X @ one.beta[0])
    L = np.array([[float(np.ravel(e)[0]) for e in row] for row in one.factor(len(design.effects))])
    S = L @ L.T
    for j in range(len(design.therapists)):
        Z = design.X[:, design.effect_columns] * (design.therapist_index == j)[:, None]
        spread = found[:, j].std(axis=0) / np.sqrt(number)
        np.testing.assert_array_less(abs(found[:, j].mean(axis=0) - S @ Z.T @ left), 4.5 * spread)


@pytest.mark.parametrize("case", [DESIGNS[0], DESIGNS[4], DESIGNS[6]])
def test_the_compiled_model_has_this_likelihood_and_its_gradient(case: Any) -> None:
    from alliance.models.gaussian.exact_gaussian import exact_gaussian_model

    design = nested_design(*case)
    draws = random_draws(design, 1)
    model = exact_gaussian_model(design, Priors())
    values = {
        "beta": draws.beta[0],
        "residual_sd_log__": np.log(draws.residual_sd[0]),
        "therapist_sd_log__": np.log(draws.therapist_sd[0]),
        "therapist_slope_sd_log__": np.log(draws.therapist_slope_sd[0]),
        "therapist_correlation_interval__": _interval(draws.therapist_correlation[0]),
    }
    (term,) = model.replace_rvs_by_values([model["log_likelihood_sum"]])
    told = model.compile_fn(term, inputs=model.value_vars, on_unused_input="ignore")
    assert float(told(values)) == pytest.approx(dense_log_likelihood(design, draws)[0], abs=CLOSE)
    slope = model.compile_dlogp()
    whole = model.compile_logp()
    found, step, place = slope(values), 1e-5, 0
    for variable in model.value_vars:
        value = np.asarray(values[variable.name], dtype=float)
        for k in np.ndindex(value.shape or ()):
            ends = []
            for sign in (1, -1):
                moved = np.array(value)
                moved[k] += sign * step
                ends.append(float(whole({**values, variable.name: moved})))
            # Central differences of a function of size 100 keep about 6 digits
            assert found[place] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=2e-4)
            place += 1


def _interval(value: float) -> float:
    return float(np.log((1 + value) / (1 - value)))


def test_patient_level_and_exact_models_agree() -> None:
    """Given the same effects the written-out model has the product of the patients' densities."""
    from alliance.models.patient_level import patient_level_model

    design = nested_design(*DESIGNS[4])
    model = patient_level_model(design, Priors())
    random = np.random.default_rng(2)
    point = {
        name: random.normal(0, 0.5, np.shape(value))
        for name, value in model.initial_point().items()
    }
    names = ["log_likelihood_sum", "beta", "residual_sd", "therapist_effect"]
    outputs = model.replace_rvs_by_values([model[name] for name in names])
    found, beta, sds, effect = model.compile_fn(outputs, inputs=model.value_vars)(point)
    padded = np.vstack([effect, np.zeros(effect.shape[1])])  # patients of TAU have none
    own = padded[np.where(design.arm_index == 0, len(effect), design.therapist_index)]
    eta = design.X @ beta + (own * design.X[:, design.effect_columns]).sum(axis=1)
    sd = sds[np.array([2, 0, 1])[design.arm_index]]
    expected = (-0.5 * ((design.y - eta) / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)).sum()
    assert float(found) == pytest.approx(float(expected), abs=1e-9)


def test_a_patient_without_a_therapist_is_no_therapists_patient() -> None:
    design = nested_design(*DESIGNS[0])
    alone = design.therapist_index == len(design.therapists)
    assert (np.array(design.labels)[alone] == NOBODY).all()
    assert design.patients_of_therapists.sum() == (~alone).sum()
    changed = replace(design, y=np.where(alone, design.y + 1, design.y))
    draws = random_draws(design)
    first, second = (therapist_log_likelihood(each, draws) for each in (design, changed))
    np.testing.assert_array_equal(first[:, :-1], second[:, :-1])
    assert (first[:, -1] != second[:, -1]).all()
