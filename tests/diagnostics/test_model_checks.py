"""Checks of the model in the gate: which are made, when not, and that each is made once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import alliance.diagnostics.gate.fit_gate as model_checks
from alliance.diagnostics.gate.fit_gate import (
    FitChecks,
    ModelChecks,
    check_draws,
    check_fit,
    gate_table,
    worst_verdict,
)
from alliance.diagnostics.verdicts import Verdict
from alliance.inference.runs.fit import Fit

OF_MODEL = [
    *("predictive_distribution", "predictive_range", "predictive_arms", "predictive_therapists"),
    *("pareto_k", "loo_pit", "prior_sensitivity", "influence"),
]


@pytest.mark.mcmc
def test_every_outcome_has_the_checks_of_the_model_after_those_of_its_draws(
    simulated_fit: Fit,
) -> None:
    reports = check_fit(simulated_fit)
    assert [report.outcome for report in reports] == list(simulated_fit.outcomes)
    for report, of_draws in zip(reports, check_draws(simulated_fit), strict=True):
        assert report.results == of_draws.results
        assert [result.check for result in report.model] == OF_MODEL
        for result in report.model:
            assert result.verdict is not Verdict.FAIL
            # A look is asked for with words on what to do, and only then.
            assert bool(result.recommendation) == (result.verdict is Verdict.REVIEW)
            assert not result.message[0].islower()
            assert result.message.endswith(".")
    table = gate_table(reports)
    assert list(table["about"].value_counts()) == [9 * len(reports), 8 * len(reports)]
    # Gaussian scores beyond the ends of the scale: draws may be used, a person looks at the model.
    gpe = next(report for report in reports if report.outcome == "gpe")
    assert "predictive_range" in gpe.reviews
    assert (gpe.draws_verdict, gpe.verdict) == (Verdict.PASS, Verdict.REVIEW)


@pytest.mark.mcmc
def test_nothing_is_made_twice(simulated_fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    for name in ("predictive_check", "loo_check", "power_scaling", "leave_therapist_out"):
        real = getattr(model_checks, name)

        def counted(*args, real=real, name=name, **options):
            made.append(f"{name} {args[0].name}")
            return real(*args, **options)

        monkeypatch.setattr(model_checks, name, counted)
    judged = FitChecks(simulated_fit)
    first = judged.reports
    own = judged.model["pain"]
    assert own.influence[0].by == "patient"
    assert own.predictive.results == first[simulated_fit.outcomes.index("pain")].model[:4]
    assert judged.reports is first
    assert sorted(made) == sorted(set(made))
    assert len(made) == 4 * len(simulated_fit.outcomes)


def test_the_model_is_not_judged_by_draws_that_failed(made_fit: Fit) -> None:
    for report in check_fit(made_fit):  # made-up draws of 2 chains that no gate passes
        assert report.draws_verdict is Verdict.FAIL
        assert [result.check for result in report.model] == ["model_checks"]
        assert report.verdict is Verdict.FAIL
    tree = made_fit.trees[made_fit.outcomes[0]].copy()
    draws = tree["posterior"].to_dataset()
    draws["residual_sd"] = xr.full_like(draws["residual_sd"], np.nan)
    tree["posterior"] = xr.DataTree(draws)
    broken = replace(made_fit, trees={**made_fit.trees, made_fit.outcomes[0]: tree})
    assert worst_verdict(check_fit(broken)) is Verdict.FAIL  # and nothing is computed from NaN


def test_many_patients_are_not_replicated_unasked(
    made_fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = made_fit.outcomes[0]
    patients = len(made_fit.design(outcome).y)
    draws = made_fit.profile.chains * made_fit.profile.draws
    monkeypatch.setattr(model_checks, "MOST_NUMBERS", patients * draws)
    assert all(result.value is not None for result in ModelChecks(made_fit, outcome).results())
    monkeypatch.setattr(model_checks, "MOST_NUMBERS", patients * draws - 1)
    results = ModelChecks(made_fit, outcome).results()
    assert {result.check for result in results} >= set(OF_MODEL)
    assert all(result.value is None for result in results)
    assert all(f"{patients} patients" in result.message for result in results)


def test_of_a_joint_model_what_is_not_available_says_so(made_fit: Fit) -> None:
    outcome = made_fit.outcomes[0]
    joint = replace(made_fit, shared=xr.DataTree())
    results = {result.check: result for result in ModelChecks(joint, outcome).results()}
    assert results["predictive_arms"].value is not None
    for check in ("pareto_k", "loo_pit", "prior_sensitivity", "influence"):
        assert results[check].value is None
        assert "ot available for a joint model" in results[check].message
