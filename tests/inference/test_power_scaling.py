"""Power-scaling: a prior made absurdly tight is flagged, and no other; the numbers are ArviZ's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from arviz_stats import psense
from planted_misfits import OUTCOME, SCENARIOS, planted_fit, random_numbers

from alliance.data_prep.errors import InputError
from alliance.diagnostics.checks.sensitivity_checks import (
    check_sensitivity,
    prior_sensitivity_result,
)
from alliance.diagnostics.verdicts import Verdict
from alliance.inference.priors.power_scaling import (
    CONFLICT,
    FINE,
    INFORMATIVE,
    WEAK,
    PowerScaling,
    power_scaling,
    scaling_tree,
)
from alliance.inference.runs.fit import Fit
from alliance.models.priors import Priors

CLEAN = "clean, full model"
# A thirtieth of the default: an arm then differs from the mean of all by .02 SDs at most
ABSURD = 1 / 30


def sampled(priors: Priors, seed: int = 0) -> Fit:
    """A clean trial of the predictive checks' scenarios, fitted with these priors."""
    scenario = replace(SCENARIOS[CLEAN], fitted={"priors": priors})
    return planted_fit(scenario, random_numbers(CLEAN, seed), seed=seed)


def flagged(found: PowerScaling) -> list[str]:
    return [kind for kind, ruled in zip(found.kinds, found.ruled.any(axis=0), strict=True) if ruled]


@pytest.mark.mcmc
@pytest.mark.parametrize(
    "kind",
    [
        *("intercept", "baseline_slope", "arm", "moderator_slope", "interaction"),
        *("therapist_sd", "therapist_slope_sd", "residual_sd"),
    ],
)
def test_a_prior_made_absurdly_tight_is_flagged_and_only_that_one(kind: str) -> None:
    usual = Priors()
    found = power_scaling(sampled(replace(usual, **{kind: ABSURD * getattr(usual, kind)}))[OUTCOME])
    assert flagged(found) == [kind]
    result = prior_sensitivity_result(found)
    assert result.verdict is Verdict.REVIEW
    assert f"The prior {kind} rules" in result.message
    assert kind in result.recommendation


@pytest.mark.mcmc
def test_usual_priors_rule_nothing() -> None:
    fit = sampled(Priors())
    found = power_scaling(fit[OUTCOME])
    assert flagged(found) == []
    assert set(found.diagnosis) <= {FINE, INFORMATIVE}
    assert prior_sensitivity_result(found).verdict is Verdict.PASS
    results = check_sensitivity(fit[OUTCOME])
    assert [result.check for result in results] == ["prior_sensitivity", "influence"]


@pytest.mark.mcmc
def test_sensitivities_are_those_of_arviz(simulated_fit: Fit) -> None:
    outcome = "pain"
    found = power_scaling(simulated_fit[outcome])
    tree, labels = scaling_tree(simulated_fit[outcome])
    assert labels == found.labels
    own = {"prior": found.prior, "likelihood": found.likelihood}
    for group, values in own.items():
        expected = psense(tree, group=group)
        # Only the order of the sums differs
        np.testing.assert_allclose(
            values, [float(expected[name]) for name in tree["posterior"].data_vars], rtol=1e-6
        )
    for column, kind in enumerate(found.kinds):
        expected = psense(tree, group="prior", group_var_names=[kind])
        values = [float(expected[name]) for name in tree["posterior"].data_vars]
        np.testing.assert_allclose(found.by_kind[:, column], values, rtol=1e-6)


def test_diagnoses_by_their_numbers() -> None:
    """A slope sensitive to nothing, to data alone, to its prior; SDs from .2 on, and below."""
    slopes = tuple(("moderator_slope", name) for name in "abcde")
    labels = (*slopes, ("therapist_sd", ""), ("residual_sd", ""))
    found = PowerScaling(
        "pain",
        labels,
        prior=np.array([0.01, 0.06, 0.09, 0.3, 0.08, 0.24, 0.15]),
        likelihood=np.array([0.1, 0.1, 0.01, 0.4, 0.06, 0.02, 0.1]),
        kinds=("one", "other"),
        by_kind=np.array(
            [[0.01, 0], [0.06, 0], [0.09, 0], [0.3, 0], [0.08, 0.01], [0.24, 0], [0.15, 0]]
        ),
    )
    assert found.diagnosis == (FINE, INFORMATIVE, WEAK, CONFLICT, CONFLICT, WEAK, INFORMATIVE)
    assert set(found.strongest) == {"one"}
    assert len(found.kind_table()) == 14
    assert list(found.table()["diagnosis"]) == list(found.diagnosis)


def test_a_normal_posterior_that_is_its_prior() -> None:
    """Sensitivity .09 to it and none to data: the number that the rule of coefficients rests on."""
    from alliance.inference.priors.power_scaling import _sensitivity

    draws = np.random.default_rng(1).standard_normal((1, 4, 2_000))
    prior = -0.5 * draws[0] ** 2
    assert _sensitivity(draws, prior)[0] == pytest.approx(0.09, abs=0.01)
    half = np.abs(draws)
    assert _sensitivity(half, prior)[0] == pytest.approx(0.24, abs=0.02)
    assert _sensitivity(draws, np.random.default_rng(2).standard_normal((4, 2_000)))[0] < 0.05


def test_joint_models_and_unknown_outcomes_are_refused(made_fit: Fit) -> None:
    with pytest.raises(InputError, match="no outcome"):
        power_scaling(made_fit["nothing"])
    joint = replace(made_fit, shared=xr.DataTree())
    with pytest.raises(InputError, match="joint model"):
        power_scaling(joint[made_fit.outcomes[0]])
    for result in check_sensitivity(joint[made_fit.outcomes[0]]):
        assert (result.verdict, result.value) == (Verdict.PASS, None)
        assert "Not available" in result.message
