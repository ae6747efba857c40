"""Trials: labels, flow counts by hand, and the real trials."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from small_trial import NAN, a_frame, a_study, only, problem_of

from alliance.data_prep.errors import DataError, InputError
from alliance.data_prep.study.description import Study, find_study, read_study
from alliance.data_prep.trial.trial import Trial, check_estimable, load_trial, trial_from_frame


def test_labels_and_positions() -> None:
    frame = a_frame()
    trial = trial_from_frame(a_study(covariates=("age", "sex")), frame)
    data = trial.data
    assert data.coords["arm"].to_numpy().tolist() == ["SMT", "GE"]  # the order of the study
    assert data.coords["therapist"].to_numpy().tolist() == ["1", "2", "10"]  # by number
    assert data.coords["covariate"].to_numpy().tolist() == ["age", "sex[M]"]
    assert data["arm_index"].to_numpy()[:4].tolist() == [1, 0, 1, 0]
    assert data["therapist_index"].to_numpy()[:6].tolist() == [2, 2, 1, 1, 0, 0]
    np.testing.assert_array_equal(data["moderator"], frame["wai"])
    np.testing.assert_array_equal(data["covariates"].sel(covariate="age"), frame["age"])
    np.testing.assert_array_equal(data["covariates"].sel(covariate="sex[M]"), frame["sex"] == "M")
    np.testing.assert_array_equal(data["function_baseline"], frame["psfs_0"])
    np.testing.assert_array_equal(data["gpe_followup"], frame["gpe_8"])
    assert "gpe_baseline" not in data


def test_flow_and_analysed_rows_by_hand() -> None:
    frame = a_frame(covariate=0.0)
    frame["age"] = frame["age"].astype(object)
    gaps = {
        # row: columns without a value; each patient counts once, under the first reason
        2: ["arm", "therapist", "psfs_8"],
        3: ["therapist"],
        4: ["therapist", "wai", "age"],
        5: ["wai", "psfs_0"],
        6: ["wai"],
        7: ["wai", "age"],
        8: ["age", "psfs_8"],
        9: ["sex"],
        10: ["psfs_0"],
        11: ["psfs_0", "psfs_8", "gpe_8"],
        12: ["psfs_8"],
        13: ["gpe_8"],
    }
    for row, columns in gaps.items():
        frame.loc[row, columns] = None
    trial = trial_from_frame(a_study(covariates=("age", "sex")), frame)
    assert trial.flow.to_dict("records") == [
        {
            "outcome": "function",
            "rows_read": 24,
            "without_arm": 1,
            "without_therapist": 2,
            "without_alliance": 3,
            "without_covariate": 2,
            "without_baseline": 2,
            "without_followup": 1,
            "analysed": 13,
            "alliance_imputed": 0,
        },
        {
            "outcome": "gpe",
            "rows_read": 24,
            "without_arm": 1,
            "without_therapist": 2,
            "without_alliance": 3,
            "without_covariate": 2,
            "without_baseline": 0,
            "without_followup": 2,
            "analysed": 14,
            "alliance_imputed": 0,
        },
    ]
    complete = {"function": [13, *range(14, 26)], "gpe": [10, 12, *range(14, 26)]}
    columns = {"function": "psfs_8", "gpe": "gpe_8"}
    for outcome, rows in complete.items():
        analysed = trial.analysed(outcome)
        assert analysed.sizes["patient"] == len(rows)
        np.testing.assert_array_equal(analysed["outcome"], frame.loc[rows, columns[outcome]])
        np.testing.assert_array_equal(analysed["moderator"], frame.loc[rows, "wai"])
        assert not any(np.isnan(variable).any() for variable in analysed.data_vars.values())
        assert analysed["therapist_index"].min() == 0
    assert "1 of 24 rows without arm." in trial.notes
    assert "3 of 24 rows without therapist." in trial.notes
    assert "4 of 24 rows without alliance." in trial.notes


def test_analysed_has_the_same_labels_for_every_outcome() -> None:
    frame = a_frame()
    frame.loc[frame["therapist"] == 1, "gpe_8"] = NAN
    trial = trial_from_frame(a_study(), frame)
    function, gpe = trial.analysed("function"), trial.analysed("gpe")
    assert set(function.data_vars) == {
        "outcome",
        "baseline",
        "moderator",
        "arm_index",
        "therapist_index",
        "covariates",
    }
    assert set(gpe.data_vars) == set(function.data_vars) - {"baseline"}
    for analysed in (function, gpe):
        for name in ("arm", "therapist", "covariate"):
            xr.testing.assert_identical(analysed.coords[name], trial.data.coords[name])
    assert function.attrs == {"outcome": "function"}
    assert (gpe["therapist_index"] == 0).sum() == 0
    assert function["covariates"].shape == (24, 0)
    with pytest.raises(InputError, match=r"no outcome 'functoin'.*Did you mean 'function'"):
        trial.analysed("functoin")


def test_no_patient_identifier_leaves() -> None:
    frame = a_frame()
    frame.loc[4, "therapist"] = 77  # a therapist with one patient
    trial = trial_from_frame(a_study(), frame)
    shown = [repr(trial), *trial.notes, str(trial.data), trial.flow.to_csv()]
    shown += [str(variable.to_numpy().tolist()) for variable in trial.data.variables.values()]
    assert not any("patient-" in text for text in shown)
    assert "1 therapist treated one patient only." in trial.notes
    assert not any("77" in note for note in trial.notes)


def test_a_trial_cannot_be_written_to() -> None:
    trial = trial_from_frame(a_study(), a_frame())
    with pytest.raises(FrozenInstanceError):
        trial.source = "another"  # type: ignore[misc]
    for data in (trial.data, trial.analysed("gpe")):
        for variable in data.data_vars.values():
            with pytest.raises(ValueError, match="read-only"):
                variable.to_numpy()[...] = 0


def test_the_users_frame_is_neither_changed_nor_locked() -> None:
    frame = a_frame()
    before = frame.copy(deep=True)
    trial_from_frame(a_study(), frame)
    pd.testing.assert_frame_equal(frame, before)
    frame["wai"].to_numpy(copy=True)[0] = 1
    frame.loc[2, "wai"] = 50


CROSSINGS = [
    # arm of each patient of therapists a, b, c; kind; words of the note
    ("crossed", [("SMT", "GE")] * 3, "Each of the 3 therapists treated patients in every arm"),
    ("nested", [("SMT",), ("GE",), ("GE",)], "Each of the 3 therapists treated patients in one"),
    ("partly crossed", [("SMT", "GE"), ("GE",), ("GE",)], "1 of the 3 therapists .* 2 in one arm"),
]


@pytest.mark.parametrize(("kind", "arms", "note"), CROSSINGS, ids=[case[0] for case in CROSSINGS])
def test_how_therapists_and_arms_are_combined(
    kind: str, arms: list[tuple[str, ...]], note: str
) -> None:
    frame = a_frame(30)
    pairs = [(name, arm) for name, treated in zip("abc", arms, strict=True) for arm in treated]
    repeated = (pairs * 30)[:30]
    frame["therapist"] = [therapist for therapist, _ in repeated]
    frame["arm"] = [arm for _, arm in repeated]
    # Patients without an arm or a therapist say nothing about the combination.
    frame.loc[2, "arm"], frame.loc[3, "therapist"] = None, None
    trial = trial_from_frame(a_study(), frame)
    assert trial.therapists_in_arms == kind
    (found,) = [text for text in trial.notes if text.endswith(f": {kind}.")]
    assert pd.Series([found]).str.contains(note).all()
    alone = [text for text in trial.notes if "cannot be told apart" in text]
    assert len(alone) == (1 if kind != "crossed" else 0)  # the arm SMT has one therapist


def items_study(**changes: Any) -> Study:
    moderator = {
        "label": "Alliance",
        "items": [f"wai_{number}" for number in range(1, 5)],
        "reverse": ["wai_4"],
        "item_range": [1, 7],
        "max_missing": 1,
        "range": [4, 28],
    }
    return only("gpe").model_validate(only("gpe").model_dump() | {"moderator": moderator | changes})


def items_frame() -> pd.DataFrame:
    frame = a_frame()
    rng = np.random.default_rng(3)
    for number in range(1, 5):
        frame[f"wai_{number}"] = rng.integers(1, 8, len(frame)).astype(float)
    names = [f"wai_{number}" for number in range(1, 5)]
    frame.loc[2, names] = [1, 2, 3, 4]
    frame.loc[3, names] = [7, 7, NAN, 1]
    frame.loc[4, names] = [7, NAN, NAN, 1]
    frame.loc[5, names] = [NAN] * 4
    return frame


def test_items_are_scored_and_too_many_missing_are_said_by_row() -> None:
    trial = trial_from_frame(items_study(), items_frame())
    # 1 + 2 + 3 + (8 - 4); (7 + 7 + 7) / 3 * 4; two missing where one is allowed; none answered.
    np.testing.assert_array_equal(trial.data["moderator"][:4], [10, 28, NAN, NAN])
    assert trial.flow["without_alliance"].to_list() == [2]
    (note,) = [note for note in trial.notes if "unanswered" in note]
    assert note == (
        "1 patient left more than 1 of the 4 items unanswered, so the alliance is missing: row 4."
    )


def test_a_total_outside_the_range_of_the_moderator_is_refused() -> None:
    column, rule, remedy = problem_of(items_frame(), items_study(range=[16, 28]))
    assert column == "alliance"
    assert "4 items (4 to 28 is possible) must be from 16 to 28" in rule
    assert "[moderator]" in remedy


def test_a_total_of_decimal_fractions_may_reach_the_end_of_the_range() -> None:
    frame = items_frame()
    names = [f"wai_{number}" for number in range(1, 4)]
    frame[names] = frame[names].fillna(1) / 70
    frame.loc[7, names] = 0.1  # 0.1 + 0.1 + 0.1 is 0.30000000000000004 in floating point
    study = items_study(items=names, reverse=[], item_range=[0, 0.1], range=[0, 0.3])
    total = trial_from_frame(study, frame).data["moderator"].to_numpy()
    np.testing.assert_allclose(total[5], 0.3, rtol=1e-12)


def test_the_hash_follows_the_values_in_use_and_not_their_type() -> None:
    frame = a_frame()
    trial = trial_from_frame(a_study(), frame)
    same = frame.assign(wai=frame["wai"].map(repr), therapist=frame["therapist"].astype(float))
    other = frame.assign(wai=frame["wai"].where(frame.index != 2, 50.5))
    assert trial_from_frame(a_study(), same).sha256 == trial.sha256
    assert trial_from_frame(a_study(), frame.assign(age=1.0)).sha256 == trial.sha256
    assert trial_from_frame(a_study(), other).sha256 != trial.sha256


def test_a_file_and_a_frame_give_the_same_trial(tmp_path: Path) -> None:
    frame = a_frame()
    frame.loc[4, "wai"] = NAN
    frame.to_csv(tmp_path / "trial.csv", index=False)
    from_file = load_trial(a_study(), tmp_path / "trial.csv")
    from_frame = trial_from_frame(a_study(), frame)
    xr.testing.assert_identical(from_file.data, from_frame.data)
    assert from_file.source == "trial.csv"
    assert from_frame.source == "data frame"
    assert len(from_file.sha256) == len(from_frame.sha256) == 64


def test_problems_of_a_file_bear_its_name_and_row_numbers(tmp_path: Path) -> None:
    frame = a_frame().astype(object)
    frame.loc[9, "wai"] = "twelve"
    frame.to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(DataError) as caught:
        load_trial(a_study(), tmp_path / "bad.csv")
    (problem,) = caught.value.problems
    assert (problem.file, problem.row, problem.column, problem.value) == (
        "bad.csv",
        9,
        "wai",
        "twelve",
    )


@pytest.fixture(scope="module")
def headache(shared_data: Path) -> Trial:
    study = read_study(find_study("headache"))
    return load_trial(study, shared_data / "acupuncture_vickers2004.csv")


def test_the_headache_trial(headache: Trial) -> None:
    flow = headache.flow.set_index("outcome")
    assert flow.loc["headache_12m", ["rows_read", "without_followup", "analysed"]].to_list() == [
        401,
        100,
        301,
    ]
    assert flow.loc["headache_3m", ["rows_read", "without_followup", "analysed"]].to_list() == [
        401,
        75,
        326,
    ]
    assert headache.therapists_in_arms == "crossed"
    assert headache.data.coords["therapist"].to_numpy().tolist() == [
        str(number) for number in range(1, 13)
    ]
    check_estimable(headache, "intercept+slope")


def test_the_published_ancova_of_the_headache_trial(headache: Trial) -> None:
    data = headache.analysed("headache_12m")
    columns = [np.ones(301), data["arm_index"], data["moderator"], *data["covariates"].T]
    X, y = np.column_stack(columns), data["outcome"].to_numpy()
    coefficients, residual, *_ = np.linalg.lstsq(X, y)
    se = np.sqrt(np.linalg.inv(X.T @ X)[1, 1] * residual[0] / (301 - X.shape[1]))
    # Published: 4.6 (2.2, 7.0) in favour of acupuncture, a lower score. 1.968 is the 97.5%
    # quantile of Student's t with 294 degrees of freedom.
    limits = coefficients[1] + np.array([0, -1.968, 1.968]) * se
    np.testing.assert_allclose(limits, [-4.64, -7.08, -2.20], atol=0.006)


def test_the_antidepressant_trial(shared_data: Path) -> None:
    outcome = {"label": "x", "better": "lower"}
    study = a_study(
        columns={"patient": "PATIENT", "therapist": "POOLINV", "arm": "THERAPY"},
        arms={"PLACEBO": "Placebo", "DRUG": "Drug"},
        moderator={"name": "baseline", "label": "b", "column": "BASVAL", "range": [0, 52]},
        covariates=("GENDER",),
        outcomes={
            "hamd": outcome | {"followup": "HAMDTL17_v7", "range": [0, 52]},
            "pgi": outcome | {"followup": "PGIIMP_v7", "range": [1, 7]},
        },
    )
    trial = load_trial(study, shared_data / "antidepressant_dia_wide.csv")
    assert trial.flow["analysed"].to_list() == [172 - 43, 172 - 43]
    assert trial.therapists_in_arms == "crossed"
    therapists = trial.data.coords["therapist"].to_numpy().tolist()
    assert (len(therapists), therapists[0], therapists[-1]) == (17, "006", "999")
    assert trial.data.coords["covariate"].to_numpy().tolist() == ["GENDER[M]"]
    assert np.bincount(trial.data["arm_index"]).tolist() == [88, 84]
