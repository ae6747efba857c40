"""Families that scores ask for, advice that ends, and what a REVIEW leaves standing."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from effect_fits import fit_of
from made_draws import small_trial

from alliance.diagnostics.checks.family_advice import (
    MOST_AT_AN_END,
    _shape,
    advice,
    proposals,
    try_family,
)
from alliance.diagnostics.sheets.checks import advice as advice_lines
from alliance.diagnostics.verdicts import STANDING, CheckResult, Standing, Verdict, standing_of

if TYPE_CHECKING:
    from alliance.inference.runs.fit import Fit

# Advice ---------------------------------------------------------------------------------------

OF_SCORES = ("tails", "skewness", "sd", "minimum", "maximum", "floor", "ceiling", "outside")
ADVISED = re.compile(r'(?:family = "(\w+)" in the study file|its own family, (\w+) and)')


@cache
def made(outcome: str, family: str) -> Fit:
    return fit_of(outcome, family=family)


def followed(outcome: str, statistic: str, *, above: bool, start: str) -> tuple[list[str], str]:
    """The families that a reader comes through who follows the advice, and the last advice."""
    tried = [start]
    while True:
        fit = replace(made(outcome, tried[-1]), tried={outcome: tuple(tried)})
        told = advice(fit[outcome], statistic, above=above)
        found = ADVISED.search(told)
        if found is None:
            return tried, told
        tried.append(found[1] or found[2])
        assert len(tried) == len(set(tried)), tried  # nobody is sent back


@pytest.mark.parametrize("above", [True, False])
@pytest.mark.parametrize("statistic", OF_SCORES)
@pytest.mark.parametrize(
    ("outcome", "start"),
    [("function", "gaussian"), ("function", "student_t"), ("gpe", "gaussian"), ("gpe", "ordinal")],
)
def test_advice_never_leads_back_and_ends_with_what_stands(
    outcome: str, start: str, statistic: str, above: bool
) -> None:
    tried, last = followed(outcome, statistic, above=above, start=start)
    assert "verages and contrasts" in last  # what stands is said where the advice ends
    if len(tried) > 1:
        assert "here the advice ends" in last


def test_gaussian_and_student_t_are_no_circle() -> None:
    """Of scores that are no whole numbers, whose tails are neither's."""
    fit = fit_of()
    study = fit.study
    described = study.outcomes["function"].model_copy(update={"range": (2.5, 30.25)})
    half = study.model_copy(update={"outcomes": {"function": described}})

    def told(family: str, *tried: str, above: bool) -> str:
        own = fit_of(family=family)
        own = replace(own, study=half, tried={"function": tried})
        return advice(own["function"], "tails", above=above)

    assert 'family = "student_t"' in told("gaussian", above=True)
    # Who begins with Student's t may be sent to the Gaussian family; who comes from it may not
    assert "gaussian" in told("student_t", above=False).split("likelihood")[0]
    last = told("student_t", "gaussian", above=False)
    assert last.startswith("Runs beside this one have the family Gaussian: here the advice ends.")
    assert ADVISED.search(last) is None


def test_leave_one_out_asks_for_no_family_twice() -> None:
    fit = fit_of()
    own = fit.study.outcomes["function"].family
    assert f"its own family, {own} and" in try_family(fit["function"], narrow=True)
    once = replace(fit, tried={"function": ("gaussian", own)})
    assert 'family = "student_t"' in try_family(once["function"], narrow=True)
    assert "here the advice ends" in try_family(once["function"], narrow=False)
    again = replace(fit, tried={"function": ("gaussian", own, "student_t")})
    assert "here the advice ends" in try_family(again["function"], narrow=True)


def test_runs_beside_a_run_of_the_same_data_are_what_was_tried(
    made_fit: Fit, tmp_path: Path
) -> None:
    from alliance.inference.runs.run_folder import load_fit, save_fit

    def saved(name: str, family: str, data: str) -> None:
        kept = made_fit.manifest | {"data": {"file": "trial.csv", "sha256": data}}
        save_fit(replace(made_fit, manifest=kept), tmp_path / name)
        manifest = tmp_path / name / "manifest.json"
        written = manifest.read_text(encoding="utf-8")
        manifest.write_text(written.replace('"gaussian"', f'"{family}"'), encoding="utf-8")

    saved("one", "gaussian", "a")
    saved("two", "student_t", "a")
    saved("three", "gaussian", "b")  # of other data
    (tmp_path / "four").mkdir()
    (tmp_path / "four" / "manifest.json").write_text("{}")  # no run
    found = load_fit(tmp_path / "one").tried
    assert found == dict.fromkeys(made_fit.outcomes, ("student_t",))
    assert load_fit(tmp_path / "three").tried == {}


# Before a fit -----------------------------------------------------------------------------------

NUMBER = 400
LIMITS = (0.0, 40.0)


def shape_of(scores: np.ndarray, limits: tuple[float, float] = LIMITS) -> tuple[str | None, str]:
    random = np.random.default_rng(3)
    before = random.normal(size=len(scores))
    return _shape(scores, before, random.integers(0, 2, len(scores)), limits)


def test_shapes_ask_for_the_family_that_has_them() -> None:
    random = np.random.default_rng(8)
    normal = 20 + 4 * random.normal(size=NUMBER)
    assert shape_of(normal) == (None, "")
    assert shape_of(np.round(normal)) == (None, "")
    heavy = 20 + 2 * random.standard_t(3, size=NUMBER)
    assert shape_of(heavy)[0] == "student_t"
    skewed = random.gamma(0.8, 8, size=NUMBER)  # skewness 2 / sqrt(0.8) = 2.2
    family, told = shape_of(skewed)
    assert family is None
    assert "skewed" in told
    floor = np.round(np.maximum(0, 6 * random.normal(size=NUMBER) + 3))  # a third at the floor
    assert (floor == 0).mean() > MOST_AT_AN_END
    assert shape_of(floor)[0] == "beta_binomial"
    assert shape_of(np.minimum(floor, 10), (0, 10))[0] == "ordinal"


def test_normal_scores_rarely_ask_for_anything() -> None:
    """Two standard errors beyond a limit that normal scores do not reach by themselves."""
    random = np.random.default_rng(5)
    asked = [shape_of(20 + 4 * random.normal(size=100))[1] != "" for _ in range(200)]
    assert np.mean(asked) <= 0.02


def test_a_trial_gets_a_proposal_for_the_outcome_that_asks() -> None:
    trial = small_trial()
    described = {
        name: each.model_copy(update={"family": "gaussian"})
        for name, each in trial.study.outcomes.items()
        if name == "function"
    }
    trial = replace(trial, study=trial.study.model_copy(update={"outcomes": described}))
    assert proposals(trial) == []
    scores = trial.data["function_followup"].copy(deep=True)
    scores[::3] = trial.study.outcomes["function"].range[0]
    spoilt = replace(trial, data=trial.data.assign(function_followup=scores))
    (found,) = proposals(spoilt)
    assert (found.outcome, found.family) == ("function", "beta_binomial")
    assert "have the lowest score, 3" in found.told
    assert 'family = "beta_binomial"' in found.told


# What stands ------------------------------------------------------------------------------------


def result(check: str, verdict: Verdict) -> CheckResult:
    return CheckResult(check, verdict, None, None, None, "", "", "Look." * (verdict != "PASS"))


def test_a_review_says_what_stands_and_a_failure_that_nothing_does() -> None:
    assert result("loo_pit", Verdict.PASS).standing is None
    assert result("predictive_distribution", Verdict.REVIEW).standing is Standing.MEANS
    assert result("prior_sensitivity", Verdict.REVIEW).standing is Standing.ALL
    assert result("r_hat", Verdict.FAIL).standing is Standing.NOTHING
    passed, looked = result("ebfmi", Verdict.PASS), result("influence", Verdict.REVIEW)
    assert standing_of([passed]) == ()
    assert standing_of([passed, looked]) == (Standing.ALL,)
    limits = [result(check, Verdict.REVIEW) for check in STANDING]
    assert standing_of([looked, *limits]) == (
        Standing.CONTRASTS,
        Standing.ESTIMATES,
        Standing.MEANS,
    )
    assert standing_of([*limits, result("r_hat", Verdict.FAIL)]) == (Standing.NOTHING,)
    first, *_ = advice_lines([looked, limits[0]])
    assert first == (
        "What stands: means and contrasts stand; predictions of single patients do not."
    )
