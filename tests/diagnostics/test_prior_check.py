"""Priors judged on the outcome's scale: the defaults pass, absurd ones are told and named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_draws import small_trial

from alliance.data_prep.errors import InputError
from alliance.data_prep.simulator.simulation import simulate_trial
from alliance.data_prep.study.description import find_study, narrowed, read_study
from alliance.data_prep.trial.trial import Trial, load_trial, trial_from_frame
from alliance.diagnostics.checks.prior_check import PriorCheck, check_priors, prior_check
from alliance.diagnostics.figures.predictive_figures import prior_figure
from alliance.diagnostics.verdicts import Verdict
from alliance.inference.runs.fit import Fit
from alliance.models.spec import specify

CHECKS = ["prior_scores", "prior_spread", "prior_effects", "prior_therapists"]
OPTIONS: list[dict[str, Any]] = [
    {"likelihood": "published"},
    {"likelihood": "native"},
    {"joint": True},
    {"joint": True, "likelihood": "native"},
    {"alliance": "within_between"},
    {"missing_alliance": "impute"},
    {"reliability": True, "likelihood": "native"},
    {"ceiling": True, "alliance": "within_between", "missing_alliance": "impute"},
    {"therapist_by_arm": True},
    {"therapist": "none"},
    {"interaction": False, "therapist": "intercept"},
]


def trial_with(priors: dict[str, float] | None = None, **settings: Any) -> Trial:
    made = simulate_trial(seed=1)
    study = narrowed(made.study, **settings)
    if priors:
        study = study.model_copy(update={"priors": priors})
    return trial_from_frame(study, made.frame, "trial.csv")


def tripped(check: PriorCheck) -> dict[str, str]:
    return {each.check: each.recommendation for each in check.results if each.recommendation}


class TestDefaults:
    @pytest.mark.parametrize("settings", OPTIONS, ids=str)
    def test_pass_on_the_simulated_trial(self, settings: dict[str, Any]) -> None:
        trial = trial_with(**settings)
        for outcome in trial.study.outcomes:
            check = prior_check(trial, outcome)
            assert (check.verdict, tripped(check)) == ("plausible", {}), outcome
            expected = CHECKS[: 3 if settings.get("therapist") == "none" else 4]
            assert [each.check for each in check.results] == expected
            assert all(each.verdict is Verdict.PASS for each in check.results)

    @pytest.mark.parametrize("likelihood", ["published", "native"])
    @pytest.mark.parametrize(
        "seed", [2, *(pytest.param(k, marks=pytest.mark.validation) for k in range(3, 8))]
    )
    def test_pass_on_other_trials_and_seeds(self, seed: int, likelihood: str) -> None:
        made = simulate_trial(seed=seed)
        trial = trial_from_frame(narrowed(made.study, likelihood=likelihood), made.frame)
        verdicts = [prior_check(trial, name, seed=seed).verdict for name in trial.study.outcomes]
        assert set(verdicts) == {"plausible"}

    def test_pass_on_the_headache_trial(self, shared_data: Path) -> None:
        study = read_study(find_study("headache"))
        trial = load_trial(study, shared_data / "acupuncture_vickers2004.csv")
        for outcome in study.outcomes:
            assert prior_check(trial, outcome).verdict == "plausible"


def test_therapists_slopes_are_taken_one_sd_from_the_mean_alliance() -> None:
    """There they differ by their own SD, of which a half-normal of scale 0.3 has 0.09% over 1."""
    check = prior_check(trial_with(outcomes=["function"]), "function", draws=4_000)
    [row] = [row for row in check.rows if row.quantity == "therapist_slope_sd"]
    slope = check.predictive.draws["therapist_slope_sd"].values
    sd = check.predictive.design.scaling.outcome[1]
    assert row.median == pytest.approx(sd * np.median(slope))
    assert row.large == pytest.approx(sd)
    assert row.share_large == (slope > 1).mean() <= 0.003
    assert row.verdict == "plausible"


class TestAbsurdPriors:
    # Ten times the default and more; a twentieth of it and less.
    @pytest.mark.parametrize("likelihood", ["published", "native"])
    @pytest.mark.parametrize(
        ("name", "scale"),
        [
            ("intercept", 10.0),
            ("baseline_slope", 10.0),
            ("moderator_slope", 5.0),
            ("interaction", 3.0),
            ("arm", 6.0),
            ("therapist_sd", 3.0),
            ("therapist_slope_sd", 3.0),
        ],
    )
    def test_too_wide_is_told_and_named(self, likelihood: str, name: str, scale: float) -> None:
        trial = trial_with({name: scale}, likelihood=likelihood, outcomes=["function"])
        check = prior_check(trial, "function")
        assert check.verdict == "too wide"
        told = tripped(check)
        assert told
        assert all(f"{name} = {scale:g}" in advice for advice in told.values())
        assert all(advice.startswith("Lower under [priors]") for advice in told.values())

    @pytest.mark.parametrize("likelihood", ["published", "native"])
    @pytest.mark.parametrize(
        "name", ["baseline_slope", "moderator_slope", "interaction", "arm", "therapist_sd"]
    )
    def test_too_tight_is_told_and_named(self, likelihood: str, name: str) -> None:
        trial = trial_with({name: 0.01}, likelihood=likelihood, outcomes=["function"])
        check = prior_check(trial, "function")
        assert check.verdict == "too tight"
        [advice] = tripped(check).values()
        assert advice.startswith("Raise under [priors]")
        assert f"{name} = 0.01" in advice
        # and no other prior is blamed
        assert advice.count(" = ") == 1

    def test_a_residual_sd_that_is_much_too_wide_or_tight(self) -> None:
        for scale, word in ((10.0, "too wide"), (0.05, "too tight")):
            trial = trial_with({"residual_sd": scale}, outcomes=["function"])
            assert prior_check(trial, "function").verdict == word

    def test_impossible_scores_are_counted(self) -> None:
        trial = trial_with({"intercept": 10.0}, outcomes=["function"])
        check = prior_check(trial, "function")
        share = float(((s := check.predictive.scores) < 3).mean() + (s > 30).mean())
        first = check.results[0]
        assert first.check == "prior_scores"
        assert first.value == pytest.approx(share)
        assert first.review == 0.5
        assert share > 0.5
        assert "outside the range, 3 to 30" in first.message

    def test_scores_heaped_at_the_ends_are_told_of_a_bounded_family(self) -> None:
        trial = trial_with({"intercept": 10.0}, outcomes=["function"], likelihood="native")
        check = prior_check(trial, "function")
        assert "at the ends of the range, 3 and 30" in check.results[0].message
        # 28 scores: half way between 2 in 28 and all of them
        assert check.results[0].review == pytest.approx((1 + 2 / 28) / 2)

    def test_both_ways_at_once(self) -> None:
        trial = trial_with({"interaction": 3.0, "arm": 0.01}, outcomes=["function"])
        check = prior_check(trial, "function")
        assert check.verdict == "too wide and too tight"
        advice = tripped(check)["prior_effects"]
        assert "Lower under [priors] of the study file: interaction = 3" in advice
        assert "Raise under [priors] of the study file: arm = 0.01" in advice


class TestSources:
    def test_a_fit_and_its_trial_agree(self, made_fit: Fit) -> None:
        trial = small_trial()
        for outcome in made_fit.outcomes:
            first = prior_check(made_fit, outcome)
            second = prior_check(trial, outcome, seed=made_fit[outcome].seed)
            np.testing.assert_array_equal(first.predictive.scores, second.predictive.scores)
            assert first.table.equals(second.table)
            assert check_priors(made_fit, outcome) == first.results

    def test_a_joint_trial_has_one_scale_of_the_alliance(self) -> None:
        trial = trial_with(joint=True)
        scales = {
            prior_check(trial, name, draws=100).predictive.design.scaling.moderator
            for name in specify(trial.study)
        }
        assert len(scales) == 1

    def test_what_does_not_exist_is_refused(self, made_fit: Fit) -> None:
        with pytest.raises(InputError, match=r"no outcome 'functoin'.*'function'"):
            prior_check(made_fit, "functoin")
        with pytest.raises(InputError, match="no prior 'arms'"):
            prior_check(trial_with({"arms": 1.0}), "function")
        with pytest.raises(InputError, match="0 draws"):
            prior_check(made_fit, "gpe", draws=0)


class TestTable:
    def test_holds_numbers_and_each_rows_verdict(self) -> None:
        check = prior_check(trial_with({"arm": 6.0}), "function")
        table = check.table
        assert list(table.columns[:4]) == ["outcome", "quantity", "level", "priors"]
        text = {"outcome", "quantity", "level", "priors", "verdict"}
        assert all(table[name].dtype == float for name in table.columns if name not in text)
        wide = table[table["quantity"] == "arm_contrast"]
        assert (wide["verdict"] == "too wide").all()
        assert (wide["share_large"] > wide["most_large"]).all()
        assert (wide["priors"] == "arm").all()
        others = table[table["quantity"].isin(["interaction", "baseline_slope", "therapist_sd"])]
        assert (others["verdict"] == "plausible").all()


class TestFigure:
    @pytest.mark.parametrize("likelihood", ["published", "native"])
    def test_marks_what_is_told(self, likelihood: str) -> None:
        trial = trial_with({"interaction": 3.0}, likelihood=likelihood)
        checks = [prior_check(trial, name, draws=200) for name in trial.study.outcomes]
        figure = prior_figure(checks)
        strips = figure.subfigs[1:-1]
        assert len(strips) == len(checks)
        assert figure.subfigs[0].texts[0].get_text() == "SIMULATED DATA"
        for strip, check in zip(strips, checks, strict=True):
            assert strip.get_suptitle().endswith(f"(n = {check.patients}): priors {check.verdict}")
            scores, effects = strip.axes
            assert scores.get_title().startswith(f"{100 * check.rows[0].share_large:.1f}%")
            named = [label.get_text() for label in effects.get_yticklabels()]
            judged = [row for row in check.rows if row.quantity == "interaction"]
            assert sum(name.startswith("interaction") for name in named) == len(judged)
