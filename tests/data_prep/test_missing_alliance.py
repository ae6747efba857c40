"""Patients without an alliance rating: left out or imputed, and what is said of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from small_trial import NAN, a_frame, a_study, only, problem_of

from alliance.data_prep.errors import InputError
from alliance.data_prep.study.description import Study, narrowed
from alliance.data_prep.trial.trial import trial_from_frame


def imputing(study: Study) -> Study:
    return narrowed(study, missing_alliance="impute")


def gappy_frame() -> pd.DataFrame:
    frame = a_frame()
    gaps = {
        2: ["arm", "wai"],
        3: ["wai", "psfs_0"],
        4: ["wai", "gpe_8"],
        5: ["wai"],
        6: ["wai"],
        7: ["psfs_8"],
        8: ["psfs_8", "gpe_8"],
        9: ["therapist"],
    }
    for row, columns in gaps.items():
        frame.loc[row, columns] = None
    return frame


def test_flow_of_imputed_patients_by_hand() -> None:
    flow = trial_from_frame(imputing(a_study()), gappy_frame()).flow.set_index("outcome")
    assert flow.columns[-2:].to_list() == ["analysed", "alliance_imputed"]
    columns = ["rows_read", "without_arm", "without_therapist", "without_alliance"]
    assert flow.loc["function", columns].to_list() == [24, 1, 1, 0]
    columns = ["without_baseline", "without_followup", "analysed", "alliance_imputed"]
    assert flow.loc["function", columns].to_list() == [1, 2, 19, 3]  # rows 4, 5, 6
    assert flow.loc["gpe", columns].to_list() == [0, 2, 20, 3]  # rows 3, 5, 6


def test_patients_without_a_rating_stay_and_nothing_else_changes() -> None:
    frame = gappy_frame()
    kept = trial_from_frame(imputing(a_study()), frame)
    dropped = trial_from_frame(a_study(), frame)
    xr.testing.assert_equal(kept.data, dropped.data)
    assert kept.sha256 == dropped.sha256
    for outcome, unrated in {"function": [4, 5, 6], "gpe": [3, 5, 6]}.items():
        rows = kept.analysed(outcome)
        assert rows.attrs == {"outcome": outcome}
        column = {"function": "psfs_8", "gpe": "gpe_8"}[outcome]
        missing = np.isnan(rows["moderator"].to_numpy())
        np.testing.assert_array_equal(rows["outcome"][missing], frame.loc[unrated, column])
        assert not any(np.isnan(rows[name]).any() for name in rows if name != "moderator")
        rated = rows.isel(patient=np.flatnonzero(~missing))
        xr.testing.assert_identical(rated, dropped.analysed(outcome))


def test_notes_say_that_patients_are_imputed() -> None:
    frame = gappy_frame()
    without = trial_from_frame(a_study(), frame).notes
    assert "5 of 24 rows without alliance." in without
    assert not any("imputed" in note for note in without)
    notes = trial_from_frame(imputing(a_study()), frame).notes
    # Rows 3 to 6: row 2 has no arm and enters no analysis.
    assert "4 patients without alliance are imputed." in notes
    assert not any("without alliance." in note for note in notes)
    assert "1 of 24 rows without arm." in notes
    frame = a_frame()
    assert not any("imputed" in note for note in trial_from_frame(imputing(a_study()), frame).notes)
    frame.loc[4, "wai"] = NAN
    notes = trial_from_frame(imputing(a_study()), frame).notes
    assert "1 patient without alliance is imputed." in notes


def test_imputation_does_not_stand_in_for_patients_with_a_rating() -> None:
    # All 24 patients would be analysed: what is too little is what those with a rating tell.
    frame = a_frame()
    frame.loc[frame.index[frame["arm"] == "SMT"][1:], "wai"] = NAN
    rule = problem_of(frame, imputing(only("gpe")))[1]
    assert rule == (
        "outcome 'gpe': the arm 'SMT' has 1 analysed patient with alliance, and it needs 2: 11 of "
        "its 12 rows have no value in the column 'wai'"
    )
    frame = a_frame()
    frame.loc[8:, "wai"] = NAN
    rule = problem_of(frame, imputing(only("function")))[1]
    assert "6 analysed patients with alliance cannot bear 5 coefficients" in rule
    frame = a_frame(wai=80.0)
    frame.loc[25, "wai"] = NAN
    rule = problem_of(frame, imputing(only("gpe")))[1]
    assert "the alliance is 80 for every analysed patient with alliance" in rule
    frame = a_frame()
    frame.loc[20:, "wai"] = NAN
    frame["extra"] = 2 * frame["wai"].fillna(50) + np.where(frame["wai"].isna(), 7, 0)
    study = imputing(only("gpe")).model_copy(update={"covariates": ("extra",)})
    rule = problem_of(frame, study)[1]
    assert rule.endswith(
        "patients with alliance each of these follows from the others: alliance, extra"
    )
    column, rule, _ = problem_of(a_frame(wai=NAN), imputing(a_study()))
    assert (column, rule) == ("wai", "no row has a value of the alliance")


def test_unseen_patients_by_hand() -> None:
    # Arms alternate: even rows are GE, odd rows SMT; 12 each.
    frame = gappy_frame()
    unseen = trial_from_frame(a_study(), frame).unseen("function")
    # Left out are rows 2 to 6 (arm, alliance) and 9 (therapist); rows 7 and 8 lack the follow-up.
    assert unseen.to_dict("records") == [
        {"arm": "SMT", "eligible": 9, "unseen": 1},
        {"arm": "GE", "eligible": 9, "unseen": 1},
    ]
    imputed = trial_from_frame(imputing(a_study()), frame).unseen("gpe")
    # Rows 2 and 9 are left out; rows 4 and 8, both GE, lack the follow-up.
    assert imputed.to_dict("records") == [
        {"arm": "SMT", "eligible": 11, "unseen": 0},
        {"arm": "GE", "eligible": 11, "unseen": 2},
    ]


@pytest.mark.parametrize("missing", ["complete_case", "impute"])
def test_the_eligible_are_the_analysed_and_the_unseen(missing: str) -> None:
    study = narrowed(a_study(covariates=("age", "sex")), missing_alliance=missing)
    rng = np.random.default_rng(5)
    frame = a_frame(120)
    for column in ("wai", "psfs_0", "psfs_8", "gpe_8", "age"):
        frame.loc[rng.random(120) < 0.15, column] = NAN
    trial = trial_from_frame(study, frame)
    for outcome in study.outcomes:
        unseen = trial.unseen(outcome)
        analysed = np.bincount(trial.analysed(outcome)["arm_index"], minlength=2)
        assert (unseen["eligible"] - unseen["unseen"]).to_list() == analysed.tolist()
        lost = trial.flow.set_index("outcome").loc[outcome, "without_followup"]
        assert unseen["unseen"].sum() == lost > 0


def test_the_unseen_of_an_unknown_outcome() -> None:
    with pytest.raises(InputError, match=r"no outcome 'pge'.*Did you mean 'gpe'"):
        trial_from_frame(a_study(), a_frame()).unseen("pge")


def test_a_ceiling_that_nobody_has_reached_is_said() -> None:
    study = narrowed(a_study(), ceiling=True)
    frame = a_frame()
    frame["wai"] = frame["wai"].clip(upper=111)
    note = (
        "No analysed patient has the highest possible alliance (112), so that ceiling = true has "
        "nothing to act on."
    )
    assert note in trial_from_frame(study, frame).notes
    assert note not in trial_from_frame(a_study(), frame).notes
    frame.loc[4, ["wai", "therapist"]] = [112, None]  # reached, by a patient who is not analysed
    assert note in trial_from_frame(study, frame).notes
    frame.loc[5, "wai"] = 112
    assert note not in trial_from_frame(study, frame).notes
