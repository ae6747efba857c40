"""The convergence gate on any sampler's draws, its thresholds, its report, and refused input."""

from __future__ import annotations

import json
from dataclasses import fields

import arviz as az
import numpy as np
import pytest
import xarray as xr
from planted_draws import (
    CHECKS,
    FAIL,
    PASS,
    REVIEW,
    autoregressive,
    independent,
    judge,
    planted,
    result,
    verdicts,
)

from alliance.data_prep.errors import InputError
from alliance.diagnostics.gate.gate import GateReport, check_convergence
from alliance.diagnostics.verdicts import THRESHOLDS, CheckResult, Threshold
from alliance.inference.draws.summaries import TAIL_QUANTILES

# Any sampler -------------------------------------------------------------------------------------


def test_draws_without_sampler_statistics():
    report = check_convergence(planted(independent()), outcome="function", chains=4, draws=1000)
    assert report.verdict == PASS
    assert [item.check for item in report.results] == CHECKS
    for check in ("divergences", "tree_depth", "ebfmi"):
        assert result(report, check).value is None
        assert "Not available from this sampler" in result(report, check).message


def test_values_are_those_of_arviz():
    """Heavy tails, ties, autocorrelation, a short trend: the extremes over all quantities agree."""
    rng = np.random.default_rng(4)
    values = np.stack(
        [
            rng.standard_t(2, size=(4, 501)),
            rng.poisson(3, size=(4, 501)).astype(float),
            autoregressive(1, (4, 501), 0.7),
            rng.normal(size=(4, 501)) + np.linspace(0, 1, 501),
        ],
        axis=2,
    )
    tree = planted(values)
    for chosen in [[0], [1], [2], [3], [0, 1, 2, 3]]:
        part = tree.isel(level=chosen)
        report = check_convergence(part, outcome="function")
        truth = {
            "r_hat": az.rhat(part)["slope"].max(),
            "ess_bulk": az.ess(part, method="bulk")["slope"].min(),
            "ess_tail": az.ess(part, method="tail", prob=TAIL_QUANTILES)["slope"].min(),
            "mcse": (
                az.mcse(part)["slope"] / part["posterior"]["slope"].std(["chain", "draw"], ddof=1)
            ).max(),
        }
        for check, value in truth.items():
            assert result(report, check).value == pytest.approx(float(value), rel=1e-12)


@pytest.mark.parametrize("scale", [1e-200, 1e-20, 1e200])
def test_the_unit_of_measurement_does_not_matter(scale):
    values = autoregressive(2, (4, 500, 3), 0.5)
    plain, scaled = judge(values), judge(values * scale)
    for check in ("r_hat", "ess_bulk", "ess_tail", "mcse"):
        expected = result(plain, check).value
        assert result(scaled, check).value == pytest.approx(expected, rel=1e-6)


def test_further_quantities_are_judged_as_well():
    values = independent()
    contrast = xr.DataArray(
        independent(1, number=1), dims=["chain", "draw", "pair"], coords={"pair": ["MCE-GE"]}
    )
    contrast[2] += 3
    quantities = xr.Dataset({"interaction": contrast})
    report = judge(values, quantities=quantities)
    assert result(report, "r_hat").worst == "function: interaction[MCE-GE]"
    assert verdicts(report)["r_hat"] == FAIL


# Many elements -----------------------------------------------------------------------------------


@pytest.mark.parametrize("defect", ["shift", "spread", "autocorrelation", "stuck", "nan"])
def test_one_bad_element_among_two_thousand_is_found(defect):
    values = np.random.default_rng(12).normal(size=(4, 400, 1000, 2))
    bad = values[:, :, 617, 1]
    if defect == "shift":
        bad[2] += 0.7
    elif defect == "spread":
        bad[2] *= 2
    elif defect == "autocorrelation":
        # With this seed the half-chains agree: only the batch means show it.
        bad[:] = autoregressive(12, (4, 400), 0.7)
    elif defect == "stuck":
        bad[2] = 0.1
    else:
        bad[2, 7] = np.nan
    tree = az.from_dict(
        {"posterior": {"therapist_effect": values}},
        coords={"effect": ["intercept", "slope"]},
        dims={"therapist_effect": ["therapist", "effect"]},
    )
    report = check_convergence(tree, outcome="function")
    check = {
        "shift": "r_hat",
        "spread": "r_hat",
        "autocorrelation": "ess_bulk",
        "stuck": "variation",
        "nan": "completeness",
    }[defect]
    found = result(report, check)
    assert found.verdict == FAIL
    assert "therapist_effect[617, slope]" in found.worst + found.message
    if check in ("r_hat", "ess_bulk"):
        assert "Of the 2,000 elements of therapist_effect, only those were judged" in found.message


# Thresholds, report, bad input -------------------------------------------------------------------


def test_limits_belong_to_the_milder_verdict():
    high, low = Threshold(1.0, 2.0), Threshold(1000, 400, low_is_bad=True)
    assert [high.verdict(value) for value in (1.0, 1.1, 2.0, 2.1)] == [PASS, REVIEW, REVIEW, FAIL]
    assert [low.verdict(value) for value in (1000, 999, 400, 399)] == [PASS, REVIEW, REVIEW, FAIL]
    assert high.verdict(np.nan) == low.verdict(np.nan) == FAIL


def test_a_profile_that_asks_for_more_is_nowhere_laxer():
    for mild, strict in (("ci", "standard"), ("standard", "publication")):
        for field in fields(THRESHOLDS[mild]):
            first, second = (getattr(THRESHOLDS[name], field.name) for name in (mild, strict))
            sign = -1 if first.low_is_bad else 1
            assert first.low_is_bad == second.low_is_bad
            assert sign * second.review <= sign * first.review <= sign * first.fail
            assert sign * second.fail <= sign * first.fail


def test_profiles_judge_the_same_draws_differently():
    values = autoregressive(6, (4, 1000, 1), 0.85)  # near 324 effective draws
    found = {name: result(judge(values, profile=name), "ess_bulk").verdict for name in THRESHOLDS}
    assert found == {"ci": PASS, "standard": FAIL, "publication": FAIL}
    longer = autoregressive(6, (4, 5000, 1), 0.85)  # near 1,620
    assert result(judge(longer, profile="publication"), "ess_bulk").verdict == REVIEW


def test_table_and_dictionary():
    values = independent()
    values[3] += 1
    report = judge(values)
    table = report.table
    assert list(table.columns) == [
        "outcome", "check", "verdict", "value", "review", "fail", "worst", "message",
        "recommendation", "about",
    ]  # fmt: skip
    assert list(table["check"]) == CHECKS
    assert set(table["about"]) == {"draws"}
    assert set(table["outcome"]) == {"function"}
    assert table["value"].dtype == float
    assert set(table["verdict"]) == {"PASS", "FAIL"}
    reread = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert reread["verdict"] == "FAIL"
    assert reread["profile"] == "standard"
    assert [item["message"] for item in reread["results"]] == list(table["message"])


def test_strict_json_holds_an_infinite_value_as_none():
    endless = CheckResult("r_hat", FAIL, np.inf, 1.01, 1.01, "pain: slope", "No.", "Again.")
    report = GateReport("pain", "standard", (endless,))
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["results"] == [
        {
            "check": "r_hat",
            "verdict": "FAIL",
            "value": None,
            "review": 1.01,
            "fail": 1.01,
            "worst": "pain: slope",
            "message": "No.",
            "recommendation": "Again.",
        }
    ]


def test_input_that_cannot_be_judged():
    tree = planted(independent())
    with pytest.raises(InputError, match=r"'standrad'.*Did you mean 'standard'"):
        check_convergence(tree, outcome="function", profile="standrad")
    with pytest.raises(InputError, match="no group 'posterior'"):
        check_convergence(xr.DataTree(), outcome="function")
    short = xr.Dataset({"total": (("chain", "draw"), independent(draws=10)[:, :, 0])})
    with pytest.raises(InputError, match="10 draws, the posterior has 1000"):
        check_convergence(tree, outcome="function", quantities=short)
    flat = xr.DataTree.from_dict({"posterior": xr.Dataset({"slope": ("draw", np.zeros(10))})})
    with pytest.raises(InputError, match="'slope' has no dimension chain"):
        check_convergence(flat, outcome="function")
    words = xr.Dataset({"name": (("chain", "draw"), np.full((2, 10), "x"))})
    with pytest.raises(InputError, match="'name' does not hold numbers"):
        check_convergence(xr.DataTree.from_dict({"posterior": words}), outcome="function")
