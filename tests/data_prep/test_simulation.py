"""A simulated trial: sizes, ranges, who is missing, what is refused, what is written."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from alliance.data_prep.errors import InputError
from alliance.data_prep.files import LIST
from alliance.data_prep.simulator.inputs import ARMS, OUTCOMES
from alliance.data_prep.simulator.simulation import (
    Simulated,
    read_inputs,
    simulate_trial,
    true_values,
    write_simulated,
)
from alliance.data_prep.study.description import bundled_studies, read_study
from alliance.data_prep.trial.trial import load_trial

STANDARD_ERRORS = 4.0  # one test in 16,000 fails by chance; seeds are fixed all the same


@cache
def continuous_trial() -> Simulated:
    """20,000 patients of 40 therapists with exactly Gaussian residuals."""
    return simulate_trial(seed=11, patients=20_000, therapists=40, respect_ranges=False)


class TestFrame:
    def test_size_of_the_published_trial_is_exact(self) -> None:
        frame = simulate_trial(seed=1).frame
        assert len(frame) == 240
        assert frame["wai_total"].notna().sum() == 182
        assert frame["arm"].value_counts().to_dict() == {"GE": 80, "MCE": 80, "SMT": 80}
        assert frame["therapist"].nunique() == 12
        for column in ("psfs_8w", "gpe_8w", "vas_8w", "rmdq_8w"):
            assert frame[column].notna().sum() == 223  # 0.93 of 240
        assert frame["patient"].is_unique

    @pytest.mark.parametrize("patients", [12, 100, 1_000])
    def test_other_sizes_keep_the_share_of_ratings(self, patients: int) -> None:
        frame = simulate_trial(seed=1, patients=patients, therapists=5).frame
        assert frame["wai_total"].notna().sum() == round(patients * 182 / 240)

    def test_same_seed_same_frame_and_other_seed_another(self) -> None:
        first, second, other = (simulate_trial(seed=seed) for seed in (7, 7, 8))
        pd.testing.assert_frame_equal(first.frame, second.frame)
        assert first.truth == second.truth
        assert not first.frame["wai_total"].equals(other.frame["wai_total"])

    def test_ranges_and_resolution_are_respected(self) -> None:
        simulated = simulate_trial(seed=2, patients=5_000, therapists=50)
        study, frame = simulated.study, simulated.frame
        low, high = study.moderator.range
        assert frame["wai_total"].dropna().between(low, high).all()
        for name, outcome in study.outcomes.items():
            step = simulated.inputs.outcomes[name].resolution.value
            for column in filter(None, (outcome.baseline, outcome.followup)):
                scores = frame[column].dropna()
                assert scores.between(*outcome.range).all()
                np.testing.assert_allclose(scores / step, np.rint(scores / step), atol=1e-9)

    def test_share_at_the_ceiling_is_visible_and_as_stated(self) -> None:
        simulated = simulate_trial(seed=3, patients=20_000, therapists=2_000)
        rated = simulated.frame["wai_total"].dropna()
        expected = simulated.truth["alliance"]["share_at_ceiling"]
        assert 0.05 < expected < 0.2
        # Patients of a therapist resemble each other: one in ten per therapist, doubled variance.
        error = np.sqrt(2 * expected * (1 - expected) / len(rated))
        assert abs((rated == 112).mean() - expected) < STANDARD_ERRORS * error
        assert (rated == 112).mean() > 3 * (rated == 111).mean()

    def test_crossed_therapists_treat_in_all_arms_and_nested_in_one(self) -> None:
        crossed = simulate_trial(seed=4, patients=2_000, therapists=9).frame
        assert set(crossed.groupby("therapist")["arm"].nunique()) == {3}
        nested = simulate_trial(seed=4, patients=2_000, therapists=9, crossed=False).frame
        assert set(nested.groupby("therapist")["arm"].nunique()) == {1}
        assert nested.groupby("arm")["therapist"].nunique().to_dict() == dict.fromkeys(ARMS, 3)

    def test_each_therapist_has_a_patient_and_caseloads_differ(self) -> None:
        counts = simulate_trial(seed=5, patients=300, therapists=100).frame["therapist"]
        assert counts.nunique() == 100
        one_each = simulate_trial(seed=5, patients=30, therapists=30).frame["therapist"]
        assert one_each.is_unique
        sizes = simulate_trial(seed=5, patients=20_000, therapists=20).frame["therapist"]
        assert sizes.value_counts().std() > 5 * np.sqrt(20_000 / 20)  # multinomial: 31

    def test_items_set_the_range_of_the_total(self) -> None:
        inputs = read_inputs()
        alliance = inputs.alliance.model_copy(
            update={"items": inputs.alliance.items.model_copy(update={"value": 12})}
        )
        short = simulate_trial(seed=6, inputs=inputs.model_copy(update={"alliance": alliance}))
        assert short.study.moderator.range == (12, 84)
        assert short.frame["wai_total"].dropna().between(12, 84).all()


class TestMissingness:
    def test_ratings_depend_on_arm_and_baseline_as_stated(self) -> None:
        simulated = continuous_trial()
        frame, rating = simulated.frame, simulated.inputs.rating
        standardised = (frame["psfs_0"] - 10.5) / 4.0
        predictors = pd.DataFrame(
            {
                "constant": 1.0,
                "MCE": (frame["arm"] == "MCE").astype(float),
                "SMT": (frame["arm"] == "SMT").astype(float),
                "baseline": standardised,
            }
        )
        fit = sm.Logit(frame["wai_total"].notna().astype(float), predictors).fit(disp=False)
        stated = {
            "MCE": rating.arm["MCE"].value - rating.arm["GE"].value,
            "SMT": rating.arm["SMT"].value - rating.arm["GE"].value,
            "baseline": rating.per_sd_of_baseline_function.value,
        }
        for name, value in stated.items():
            assert value != 0
            assert abs(fit.params[name] - value) < STANDARD_ERRORS * fit.bse[name], name
            assert abs(fit.tvalues[name]) > STANDARD_ERRORS, name

    @pytest.mark.parametrize("name", OUTCOMES)
    def test_ratings_do_not_depend_on_follow_up_given_arm_and_baseline(self, name: str) -> None:
        simulated = continuous_trial()
        frame = simulated.frame
        rated = frame["wai_total"].notna().astype(float).rename("rated")
        arms = pd.get_dummies(frame["arm"], dtype=float)
        predictors = pd.concat([rated, arms, frame[["psfs_0", "vas_0", "rmdq_0"]]], axis=1)
        followup = frame[simulated.study.outcomes[name].followup]
        fit = sm.OLS(followup, predictors, missing="drop").fit()
        assert abs(fit.tvalues["rated"]) < STANDARD_ERRORS


class TestRefusals:
    @pytest.mark.parametrize(
        ("settings", "named"),
        [
            ({"seed": -1}, "seed -1"),
            ({"seed": 1, "patients": 11}, "11 patients"),
            ({"seed": 1, "therapists": 0}, "0 therapists"),
            ({"seed": 1, "patients": 20, "therapists": 21}, "21 therapists"),
            ({"seed": 1, "therapists": 2, "crossed": False}, "nested"),
        ],
    )
    def test_impossible_settings(self, settings: dict[str, Any], named: str) -> None:
        with pytest.raises(InputError, match=named):
            simulate_trial(**settings)

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"residual_sd": -1.0}, "impossible"),
            ({"therapist_correlation": 1.5}, "impossible"),
            ({"intercept": float("nan")}, "impossible"),
            ({"arm_effect": {"GE": 0.0, "MCE": 1.0}}, "arm_effect"),
            ({"moderator_slope": {}}, "moderator_slope"),
        ],
    )
    def test_impossible_true_values(self, changes: dict[str, Any], named: str) -> None:
        true = replace(true_values(read_inputs())["gpe"], **changes)
        with pytest.raises(InputError, match=named):
            simulate_trial(seed=1, truth={"gpe": true})

    def test_unknown_outcome_is_named_with_the_nearest(self) -> None:
        true = true_values(read_inputs())["gpe"]
        with pytest.raises(InputError, match=r"'gep'.*'gpe'"):
            simulate_trial(seed=1, truth={"gep": true})


class TestFiles:
    def test_files_read_back_as_what_was_simulated(self, tmp_path: Path) -> None:
        simulated = simulate_trial(seed=1)
        written = write_simulated(simulated, tmp_path / "new" / "trial.csv")
        assert {path.name for path in written} == {
            "trial.csv",
            "study.toml",
            "truth.json",
            "simulation.toml",
            "published.toml",
        }
        there = {path.name for path in (tmp_path / "new").iterdir()}
        assert there == {LIST, *(path.name for path in written)}
        folder = tmp_path / "new"
        pd.testing.assert_frame_equal(
            pd.read_csv(folder / "trial.csv"), simulated.frame, check_dtype=False
        )
        assert ",92.0," not in (folder / "trial.csv").read_text(encoding="utf-8")
        study = read_study(folder / "study.toml")
        assert study == simulated.study
        assert study.simulated
        assert json.loads((folder / "truth.json").read_text(encoding="utf-8")) == simulated.truth
        assert read_inputs(folder / "simulation.toml") == simulated.inputs
        published = bundled_studies()["ferreira2013"].with_name("published.toml")
        assert (folder / "published.toml").read_bytes() == published.read_bytes()

    @pytest.mark.parametrize("overwrite", [True, False])
    def test_files_of_somebody_else_stay(self, tmp_path: Path, overwrite: bool) -> None:
        simulated = simulate_trial(seed=1)
        (tmp_path / "truth.json").write_text("mine", encoding="utf-8")
        with pytest.raises(InputError, match=r"truth\.json"):
            write_simulated(simulated, tmp_path / "trial.csv", overwrite=overwrite)
        assert [path.name for path in tmp_path.iterdir()] == ["truth.json"]
        assert (tmp_path / "truth.json").read_text(encoding="utf-8") == "mine"

    def test_simulated_files_are_replaced_when_asked(self, tmp_path: Path) -> None:
        write_simulated(simulate_trial(seed=2), tmp_path / "trial.csv")
        simulated = simulate_trial(seed=1)
        with pytest.raises(InputError, match="overwrite=True"):
            write_simulated(simulated, tmp_path / "trial.csv")
        for _ in range(2):  # also what replaced something
            write_simulated(simulated, tmp_path / "trial.csv", overwrite=True)
        truth = json.loads((tmp_path / "truth.json").read_text(encoding="utf-8"))
        assert truth == simulated.truth

    def test_other_endings_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"trial\.xlsx"):
            write_simulated(simulate_trial(seed=1), tmp_path / "trial.xlsx")

    def test_folder_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("", encoding="utf-8")
        with pytest.raises(InputError, match="file"):
            write_simulated(simulate_trial(seed=1), tmp_path / "file" / "trial.csv")

    def test_continuous_scores_lie_within_the_written_ranges(self) -> None:
        simulated = continuous_trial()
        for outcome in simulated.study.outcomes.values():
            assert outcome.family == "gaussian"
            for column in filter(None, (outcome.baseline, outcome.followup)):
                assert simulated.frame[column].dropna().between(*outcome.range).all()

    @pytest.mark.parametrize("respect_ranges", [True, False])
    def test_written_trial_loads_with_its_182_ratings(
        self, tmp_path: Path, respect_ranges: bool
    ) -> None:
        simulated = simulate_trial(seed=1, crossed=False, respect_ranges=respect_ranges)
        write_simulated(simulated, tmp_path / "trial.csv")
        trial = load_trial(read_study(tmp_path / "study.toml"), tmp_path / "trial.csv")
        assert trial.therapists_in_arms == "nested"
        assert int(np.isfinite(trial.data["moderator"]).sum()) == 182
        complete = simulated.frame[["wai_total", "psfs_0", "psfs_8w"]].notna().all(axis=1)
        assert trial.analysed("function").sizes["patient"] == complete.sum()
