"""A trial with therapists in one arm, and one without therapists, from the file to the answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from alliance.data_prep.errors import DataError, InputError
from alliance.data_prep.study.description import Study, narrowed
from alliance.data_prep.trial.trial import trial_from_frame
from alliance.inference.answers.predictions import predict
from alliance.inference.answers.therapists import therapists
from alliance.inference.estimands.estimands import estimand_draws, prior_table
from alliance.inference.leaving_out.therapists import leave_therapist_out
from alliance.inference.patients.asked_patients import NO_THERAPIST, patient_grid, trial_patients
from alliance.inference.pointwise.log_likelihood import (
    everybodys_log_likelihood,
    patient_log_likelihood,
)
from alliance.inference.pointwise.replicates import explained_variance, replicate
from alliance.inference.posterior import Posterior
from alliance.inference.priors.power_scaling import power_scaling
from alliance.inference.runs.choices import model_choices
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.fitting import fit_registry, fit_trial
from alliance.inference.runs.run_folder import load_fit, save_fit
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.inference.scores.therapist_parts import TherapistChoice

PROFILE = SamplerProfile("ci", chains=2, draws=1000, tune=100)


def study(**changes: Any) -> Study:
    content: dict[str, Any] = {
        "title": "Therapy or usual care",
        "columns": {"patient": "id", "therapist": "therapist", "arm": "arm"},
        "arms": {"TAU": "Usual care", "CBT": "Cognitive therapy"},
        "moderator": {"label": "Alliance", "column": "wai", "range": [0, 100]},
        "outcomes": {
            "dep": {
                "label": "Depression", "baseline": "dep0", "followup": "dep12",
                "range": [0, 100], "better": "lower",
            }
        },
        "model": {"without_therapist": ["TAU"]},
    }  # fmt: skip
    return Study.model_validate(content | changes)


def frame(number: int = 120, seed: int = 4) -> pd.DataFrame:
    """Eight therapists with an SD of 4 in CBT; residual SDs of 5 there and of 8 in TAU."""
    random = np.random.default_rng(seed)
    treated = np.arange(number) % 2 == 1
    therapist = random.integers(0, 8, number)
    wai, before = random.normal(60, 10, number), random.normal(50, 10, number)
    own = random.normal(0, 4, 8)[therapist]
    y = 50 + 0.5 * (before - 50) - 6 * treated + treated * own
    y += np.where(treated, 5, 8) * random.normal(size=number)
    names = np.array([f"T{j + 1}" for j in therapist], dtype=object)
    return pd.DataFrame(
        {
            "id": [f"P{k}" for k in range(number)],
            "therapist": np.where(treated, names, ""),
            "arm": np.where(treated, "CBT", "TAU"),
            "wai": wai.clip(0, 100),
            "dep0": before.clip(0, 100),
            "dep12": y.clip(0, 100),
        }
    )


WITHOUT_COLUMN = {"columns": {"patient": "id", "arm": "arm"}, "model": {}}


@pytest.fixture(scope="module")
def nested() -> Fit:
    return fit_trial(trial_from_frame(study(), frame()), PROFILE, seed=1, engine="instant")


@pytest.fixture(scope="module")
def unrecorded() -> Fit:
    trial = trial_from_frame(study(**WITHOUT_COLUMN), frame().drop(columns="therapist"))
    return fit_trial(trial, PROFILE, seed=1, engine="instant")


class TestReading:
    def test_an_arm_whose_patients_all_lack_a_therapist_is_recognised(self) -> None:
        with pytest.raises(DataError) as told:
            trial_from_frame(study(model={}), frame(), "trial.csv")
        (problem,) = told.value.problems
        assert "'TAU'" in problem.rule
        assert "none of its 60 patients has a therapist" in problem.rule
        assert '`without_therapist = ["TAU"]` under [model]' in problem.remedy

    def test_a_further_arm_is_added_to_those_named(self) -> None:
        arms = {"TAU": "Usual care", "CBT": "Cognitive therapy", "WL": "Waiting list"}
        table = frame()
        third = table.index[table["arm"].eq("TAU")][::2]
        table.loc[third, "arm"] = "WL"
        with pytest.raises(DataError, match="WL") as told:
            trial_from_frame(study(arms=arms), table, "trial.csv")
        assert 'without_therapist = ["TAU", "WL"]' in told.value.problems[0].remedy

    def test_where_some_patients_lack_one_the_arm_is_not_said_to_have_none(self) -> None:
        table = frame()
        table.loc[table.index[table["arm"].eq("TAU")][:1], "therapist"] = "T1"
        with pytest.raises(DataError) as told:
            trial_from_frame(study(model={}), table, "trial.csv")
        assert "without_therapist" not in told.value.problems[0].remedy

    def test_a_therapist_in_an_arm_without_is_named_with_the_row(self) -> None:
        table = frame()
        table.loc[2, "therapist"] = "T1"
        with pytest.raises(DataError) as told:
            trial_from_frame(study(), table, "trial.csv")
        (problem,) = told.value.problems
        assert (problem.row, problem.value) == (2, "T1")
        assert "'TAU'" in problem.rule

    def test_an_unknown_arm_is_named(self) -> None:
        with pytest.raises(InputError, match="there is no arm 'TUA'"):
            narrowed(study(model={}), without_therapist=["TUA"])

    def test_an_arm_may_be_named_by_its_label(self) -> None:
        changed = narrowed(study(model={}), without_therapist=["Usual care"])
        assert changed.model.without_therapist == ("TAU",)

    def test_not_every_arm_can_be_without_while_there_is_a_column(self) -> None:
        with pytest.raises(InputError, match="names every arm"):
            narrowed(study(model={}), without_therapist=["TAU", "CBT"])

    @pytest.mark.parametrize(
        "setting",
        [
            {"alliance": "within_between"},
            {"therapist_by_arm": True},
            {"missing_alliance": "impute"},
            {"ceiling": True},
        ],
    )
    @pytest.mark.parametrize("columns", [{}, {"columns": {"patient": "id", "arm": "arm"}}])
    def test_what_does_not_go_with_it_is_refused_in_words(
        self, setting: dict[str, Any], columns: dict[str, Any]
    ) -> None:
        model = {} if columns else {"without_therapist": ["TAU"]}
        with pytest.raises(InputError, match=f"model.{next(iter(setting))}"):
            narrowed(study(**columns, model=model), **setting)

    def test_patients_of_such_arms_are_analysed_and_not_dropped(self) -> None:
        trial = trial_from_frame(study(), frame())
        assert trial.flow["without_therapist"].tolist() == [0]
        assert trial.flow["analysed"].tolist() == [120]
        assert trial.therapists_in_arms == "nested"
        assert any("'TAU' has no therapists: its 60 patients" in note for note in trial.notes)

    def test_a_study_without_the_column_is_read_with_a_note(self) -> None:
        trial = trial_from_frame(study(**WITHOUT_COLUMN), frame().drop(columns="therapist"))
        assert trial.flow["analysed"].tolist() == [120]
        assert trial.therapists_in_arms == "none"
        assert any("names no column of therapists" in note for note in trial.notes)


class TestQuantities:
    def test_each_arm_has_its_residual_sd_and_the_share_is_of_the_therapists_arm(
        self, nested: Fit
    ) -> None:
        posterior = nested["dep"]
        draws = estimand_draws(posterior)
        found = {
            (str(q), str(level)): draws.isel(estimand=k).values
            for k, (q, level) in enumerate(
                zip(draws["quantity"].values, draws["level"].values, strict=True)
            )
        }
        assert ("residual_sd", "") not in found
        share = found["therapist_icc", ""]
        between, within = found["therapist_sd", ""], found["residual_sd", "CBT"]
        np.testing.assert_allclose(share, between**2 / (between**2 + within**2))
        # True SDs 5 and 8, each from some 60 patients: standard errors near 0.5 and 0.8
        assert found["residual_sd", "CBT"].mean() == pytest.approx(5, abs=1.5)
        assert found["residual_sd", "TAU"].mean() == pytest.approx(8, abs=2.4)
        table = prior_table(posterior.design, posterior.priors)
        own = table[table["quantity"] == "residual_sd"]
        assert own["level"].tolist() == ["TAU", "CBT"]

    def test_without_the_column_it_is_the_model_without_therapist_effects(
        self, unrecorded: Fit
    ) -> None:
        """As of the study with the column and therapist = "none", which sums by therapist first:
        rounding differs.
        """
        table = frame()
        table.loc[table["therapist"] == "", "therapist"] = "T9"
        plain = study(model={"therapist": "none"})
        fit = fit_trial(trial_from_frame(plain, table), PROFILE, seed=1, engine="instant")
        for name in ("beta", "residual_sd"):
            one, other = fit["dep"].flat(name), unrecorded["dep"].flat(name)
            np.testing.assert_allclose(one, other, atol=1e-9)

    def test_the_summary_says_so(self, nested: Fit, unrecorded: Fit) -> None:
        told = {choice.aspect: choice.words for choice in model_choices(nested)}
        assert "(not TAU)" in told["therapist effects"]
        assert told["residual SD"] == "one of its own in TAU"
        told = {choice.aspect: choice.words for choice in model_choices(unrecorded)}
        assert "ignores therapists too" in told["therapist effects"]


class TestAnswers:
    def test_new_therapists_scatter_only_where_there_are_any(self, nested: Fit) -> None:
        """Variance of the expected score: with a new therapist that between therapists more.

        In TAU new and average are one, bit for bit. In CBT 2,000 draws tell an SD to 5%.
        """
        posterior = nested["dep"]
        new, average = (
            predict(posterior, therapist=whose).draws["expected"].values.reshape(-1, 2)
            for whose in ("new", "average")
        )
        np.testing.assert_array_equal(new[:, 0], average[:, 0])
        between = estimand_draws(posterior)
        place = np.flatnonzero(between["quantity"].values == "therapist_sd")[0]
        expected = np.sqrt((between.isel(estimand=place).values ** 2).mean())
        assert (new - average)[:, 1].std() == pytest.approx(expected, rel=0.15)

    def test_tables_say_that_there_is_none(self, nested: Fit) -> None:
        table = predict(nested["dep"], therapist="new").table
        assert table["therapist"].tolist() == [NO_THERAPIST, "new"]
        table = predict(nested["dep"], trial_patients(nested["dep"])).table
        arms = table["arm"].to_numpy()
        assert (table["therapist"][arms == "TAU"] == NO_THERAPIST).all()
        assert set(table["therapist"][arms == "CBT"]) == {f"T{j}" for j in range(1, 9)}

    def test_single_scores_scatter_by_their_arms_residual_sd(self, nested: Fit) -> None:
        posterior = nested["dep"]
        found = predict(posterior, therapist="average", seed=3)
        assert found.draws is not None
        away = (found.draws["outcome"] - found.draws["expected"]).values.reshape(-1, 2)
        unit = posterior.design.scaling.outcome[1]
        groups = list(posterior.design.nesting.groups)
        sds = unit * np.sqrt((posterior.flat("residual_sd")[:, groups] ** 2).mean(axis=0))
        # SDs of 2,000 draws: standard errors of 1.6%
        np.testing.assert_allclose(away.std(axis=0), sds, rtol=0.07)

    def test_a_known_therapist_is_added_in_the_therapists_arm_alone(self, nested: Fit) -> None:
        posterior = nested["dep"]
        asked = patient_grid(posterior)
        known, average = (
            predict(posterior, asked, therapist=whose).draws["expected"].values.reshape(-1, 2)
            for whose in (TherapistChoice.known("T1"), "average")
        )
        np.testing.assert_array_equal(known[:, 0], average[:, 0])
        assert abs((known - average)[:, 1]).mean() > 0.1

    def test_therapists_are_those_of_the_arm_that_has_them(self, nested: Fit) -> None:
        found = therapists(nested["dep"])
        own = found.table[found.table["quantity"] == "therapist_effect"]
        counts = pd.Series(frame().query("arm == 'CBT'")["therapist"]).value_counts()
        assert dict(zip(own["level"], own["patients"], strict=True)) == counts.to_dict()
        posterior = nested["dep"]
        effect = posterior.design.scaling.outcome[1] * posterior.flat("therapist_effect")[..., 0]
        means = dict(zip(posterior.design.therapists, effect.mean(axis=0), strict=True))
        # At the mean alliance, which on the standardised scale is zero
        np.testing.assert_allclose(own["mean"], [means[name] for name in own["level"]], atol=1e-9)

    def test_therapists_are_left_out_and_patients_without_are_not(self, nested: Fit) -> None:
        found = leave_therapist_out(nested["dep"], refits="none")
        assert found.units == tuple(f"T{j}" for j in range(1, 9))
        assert found.patients.sum() == 60

    def test_without_therapists_it_is_said_and_not_computed(self, unrecorded: Fit) -> None:
        for ask in (therapists, leave_therapist_out):
            with pytest.raises(InputError, match="names no column of therapists"):
                ask(unrecorded["dep"])
        with pytest.raises(InputError, match="There is no therapist 'T1'"):
            predict(unrecorded["dep"], therapist="T1")

    @pytest.mark.parametrize("which", ["nested", "unrecorded"])
    def test_likelihoods_of_patients_and_of_all_agree(
        self, which: str, request: pytest.FixtureRequest
    ) -> None:
        """Without therapist effects the sums are one; with them those of TAU's patients are."""
        posterior: Posterior = request.getfixturevalue(which)["dep"]
        single = patient_log_likelihood(posterior)
        alone = np.flatnonzero(posterior.design.therapist_index == len(posterior.design.therapists))
        together = everybodys_log_likelihood(posterior).isel(therapist=-1)
        np.testing.assert_allclose(single.isel(patient=alone).sum("patient"), together, rtol=1e-9)
        assert np.isfinite(power_scaling(posterior).likelihood).all()

    @pytest.mark.parametrize("which", ["nested", "unrecorded"])
    def test_replicates_have_the_arms_spread(
        self, which: str, request: pytest.FixtureRequest
    ) -> None:
        posterior: Posterior = request.getfixturevalue(which)["dep"]
        (block, *_) = replicate(posterior, number=500, seed=2)
        away = (block.drawn - block.expected) / block.spread
        # 30,000 standard normal numbers in each arm
        for arm in (0, 1):
            own = away[:, posterior.design.arm_index == arm]
            assert own.std() == pytest.approx(1, abs=0.03)
        assert explained_variance(posterior).table["mean"].between(0, 1).all()


class TestRegistry:
    def test_many_files_give_the_posterior_of_one(self, nested: Fit, tmp_path: Path) -> None:
        from alliance.data_prep.registry.registry import load_registry

        table = frame()
        for k in range(3):
            table.iloc[k::3].to_csv(tmp_path / f"part{k}.csv", index=False)
        registry = load_registry(study(), tmp_path)
        assert set(nested.manifest["notes"]) == set(registry.notes)
        fit = fit_registry(registry, PROFILE, seed=1, engine="instant")
        for name in ("beta", "residual_sd", "therapist_sd"):
            one, other = nested["dep"].flat(name), fit["dep"].flat(name)
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-8)
        save_fit(fit, tmp_path / "run")
        again = load_fit(tmp_path / "run")
        design = again["dep"].design
        assert design.nesting == nested["dep"].design.nesting
        assert design.therapists == nested["dep"].design.therapists
        pd.testing.assert_frame_equal(again.summary(), fit.summary())

    def test_a_therapist_in_an_arm_without_is_named(self, tmp_path: Path) -> None:
        from alliance.data_prep.registry.registry import load_registry

        table = frame()
        table.loc[0, "therapist"] = "T1"
        table.to_csv(tmp_path / "part.csv", index=False)
        with pytest.raises(DataError, match="said to have no therapists"):
            load_registry(study(), tmp_path)


def test_a_run_folder_keeps_who_has_therapists(nested: Fit, tmp_path: Path) -> None:
    save_fit(nested, tmp_path / "run")
    again = load_fit(tmp_path / "run")
    assert again["dep"].design.nesting == nested["dep"].design.nesting
    np.testing.assert_array_equal(
        again["dep"].flat("residual_sd"), nested["dep"].flat("residual_sd")
    )
