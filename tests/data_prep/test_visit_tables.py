"""Outcomes over time in study files and tables: wide, long, and all that is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from visit_trials import LONG, VISITS, WIDE, patients, rows_of_visits

from alliance.data_prep.errors import DataError, InputError
from alliance.data_prep.simulator.from_study import simulate_study
from alliance.data_prep.study.description import Study, narrowed, read_study, study_text
from alliance.data_prep.study.visits import VISIT_SETTINGS
from alliance.data_prep.trial.trial import Trial, load_trial, trial_from_frame
from alliance.models.spec import specify


def study(folder: Path, text: str) -> Study:
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return read_study(path)


def loaded(folder: Path, text: str, frame: pd.DataFrame) -> Trial:
    path = folder / "data.csv"
    frame.to_csv(path, index=False)
    return load_trial(study(folder, text), path)


def refused(folder: Path, text: str, frame: pd.DataFrame) -> str:
    with pytest.raises(InputError) as caught:
        loaded(folder, text, frame)
    return str(caught.value)


def test_wide_and_long_are_one_trial(tmp_path: Path) -> None:
    frame = patients()
    wide, long = loaded(tmp_path, WIDE, frame), loaded(tmp_path, LONG, rows_of_visits(frame))
    assert list(wide.study.outcomes) == ["pain_w8", "pain_m6", "pain_m12"]
    assert wide.data.equals(long.data)
    assert wide.flow.equals(long.flow)
    assert np.array_equal(wide.data["pain_m12_followup"], frame["pain52"], equal_nan=True)
    outcome = wide.study.outcomes["pain_m6"]
    assert (outcome.visit_of, outcome.visit, outcome.visit_time) == ("pain", "m6", 26)


@pytest.mark.parametrize("text", [WIDE, LONG])
def test_a_study_reads_back_what_it_wrote(tmp_path: Path, text: str) -> None:
    one = study(tmp_path, text)
    assert study(tmp_path, study_text(one)) == one


def test_an_outcome_stands_for_its_visits(tmp_path: Path) -> None:
    whole = study(tmp_path, WIDE)
    assert narrowed(whole, outcomes=["pain"]) == whole
    with pytest.raises(InputError, match="'w8' alone is left"):
        narrowed(whole, outcomes=["pain_w8"])


def test_long_data_in_a_study_without_visits_are_recognised(tmp_path: Path) -> None:
    """The message names the column and the line to write, and does not advise to drop rows."""
    without = LONG.replace(LONG[LONG.index("[visits]") : LONG.index("[outcomes")], "")
    told = refused(tmp_path, without, rows_of_visits(patients()))
    assert "column 'visit'" in told
    assert '[visits] with column = "visit" and order = ["w8", "m6", "m12"]' in told
    assert "keep one row" not in told


def test_rows_of_one_patient_that_nothing_tells_apart_are_no_visits(tmp_path: Path) -> None:
    frame = patients()
    told = refused(tmp_path, WIDE, pd.concat([frame, frame.head(1)]))
    assert "a patient appears more than once" in told


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("again", ["row 42", "has the visit 'w8' twice", "Row 2 has the same patient"]),
        ("patient-level", ["row 42", "column 'wai'", "differs from row 2"]),
        ("unknown", ["row 42", "value 'm7'", "not in the study file", "'m6'"]),
        ("nobody", ["nobody has the visit 'm12'"]),
        ("cell", ["row 42", "pain at m6", "value '400", "must be from 0 to 100"]),
    ],
)
def test_what_is_wrong_with_visits_is_told_by_rows(
    tmp_path: Path, change: str, words: list[str]
) -> None:
    frame = rows_of_visits(patients()).reset_index(drop=True)
    frame["visit"] = frame["visit"].astype(object)
    assert frame.loc[40, "id"] == 1  # row 42 of the file: the first patient's second visit
    if change == "again":
        frame.loc[40, "visit"] = "w8"
    elif change == "patient-level":
        frame.loc[40, "wai"] += 1
    elif change == "unknown":
        frame.loc[40, "visit"] = "m7"
    elif change == "nobody":
        frame = frame[frame["visit"] != "m12"]
    else:
        frame.loc[40, "pain"] = 400
    told = refused(tmp_path, LONG, frame)
    for each in words:
        assert each in told


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[8, 26, 52]", "[8, 52, 26]", "does not increase"),
        ("[8, 26, 52]", "[8, 26]", "one number for each of 3 visits"),
        (', m6 = "pain26", m12 = "pain52"', "", "one visit is given"),
        ("times", 'followup = "pain8"\ntimes', "beside 'followup'"),
        ('m6 = "pain26"', '"m 6" = "pain26"', "part of a file's name"),
        ('better = "lower"', 'better = "lower"\n[model]\njoint = true', "model.joint"),
        ('better = "lower"', 'better = "lower"\n[model]\nceiling = true', "model.ceiling"),
        (
            'better = "lower"',
            'better = "lower"\n[outcomes.pain.delta]\nB = 2',
            "shifts of unseen outcomes",
        ),
    ],
)
def test_what_a_study_may_not_say(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        study(tmp_path, WIDE.replace(old, new, 1))


def test_a_row_for_each_visit_needs_the_patients_ids_and_a_column_for_each_does_not(
    tmp_path: Path,
) -> None:
    """Rows of one patient could not be told from those of several."""
    without = re.sub(r"^patient = .*\n", "", LONG, flags=re.M)
    with pytest.raises(InputError, match=r"columns\.patient.*whose visits they are"):
        study(tmp_path, without)
    assert study(tmp_path, re.sub(r"^patient = .*\n", "", WIDE, flags=re.M)).columns.patient is None


def test_options_replace_the_settings_of_visits_and_survive_writing(tmp_path: Path) -> None:
    options = {
        "visit_correlation": "toeplitz",
        "visit_sd": "common",
        "baseline_by_visit": False,
        "moderator_by_visit": False,
        "interaction_by_visit": False,
        "covariates_by_visit": True,
        "therapist_by_visit": True,
    }
    assert options.keys() == VISIT_SETTINGS.keys()
    one = study(tmp_path, WIDE)
    changed = narrowed(one, **options)
    assert changed.model.model_dump().items() >= options.items()
    assert study(tmp_path, study_text(changed)) == changed
    assert narrowed(changed, **VISIT_SETTINGS) == one


def test_settings_of_visits_need_visits(tmp_path: Path) -> None:
    text = WIDE.replace(
        'visits = { w8 = "pain8", m6 = "pain26", m12 = "pain52" }\ntimes = [8, 26, 52]',
        'followup = "pain8"',
    )
    study(tmp_path, text)
    with pytest.raises(InputError, match="no outcome has several"):
        study(tmp_path, f'{text}[model]\nvisit_correlation = "ar1"\n')


def test_codes_of_missing_values_hold_for_scores_in_rows(tmp_path: Path) -> None:
    frame = rows_of_visits(patients()).reset_index(drop=True)
    frame.loc[40, "pain"] = 999
    text = LONG.replace("[outcomes.pain]", "[missing_values]\npain = [999]\n[outcomes.pain]")
    data = loaded(tmp_path, text, frame).data
    assert np.isnan(data["pain_m6_followup"][0])


def test_no_patient_with_two_visits_has_no_correlation(tmp_path: Path) -> None:
    frame = patients()
    for k, column in enumerate(VISITS):
        frame.loc[frame.index % 3 != k, column] = np.nan
    told = refused(tmp_path, WIDE, frame)
    assert "no patient has two visits" in told
    diagonal = f'{WIDE}[model]\nvisit_correlation = "diagonal"\n'
    assert loaded(tmp_path, diagonal, frame).flow["analysed"].sum() == len(frame)


def test_more_visits_than_patients_are_refused() -> None:
    names = [f"v{k}" for k in range(30)]
    frame = patients(24).drop(columns=list(VISITS))
    for name in names:
        frame[name] = np.random.default_rng(1).uniform(20, 60, len(frame))
    visits = {name: name for name in names}
    content = {
        "title": "Many visits",
        "columns": {"patient": "id", "therapist": "therapist", "arm": "arm"},
        "arms": {"A": "Usual", "B": "Exercise"},
        "moderator": {"label": "Alliance", "column": "wai", "range": [0.0, 10.0]},
        "outcomes": {
            "pain": {"label": "Pain", "visits": visits, "range": [0.0, 100.0], "better": "lower"}
        },
    }
    with pytest.raises(DataError, match="30 visits"):
        trial_from_frame(Study.model_validate(content), frame)


def test_a_prior_of_the_pack_does_not_go_with_visits(tmp_path: Path) -> None:
    taken = study(tmp_path, f'{WIDE}[priors]\nmoderator_slope = {{ from = "fluckiger2018" }}\n')
    with pytest.raises(InputError, match="goes with a Gaussian outcome by itself"):
        specify(taken)


@pytest.mark.parametrize("text", [WIDE, LONG])
def test_a_simulated_trial_has_its_visits(tmp_path: Path, text: str) -> None:
    """Of 2,000 patients a quarter leave for good, with worse last scores than those who stay.

    Three standard errors of a share of .25 are .03. Neighbouring residuals correlate .6 and scores
    more, by what they share of baseline, alliance and therapist.
    """
    made = simulate_study(study(tmp_path, text), seed=5, patients=2000, therapists=20)
    assert made.truth["settings"]["leaving"] == 0.25
    made.frame.to_csv(tmp_path / "made.csv", index=False)
    trial = load_trial(made.study, tmp_path / "made.csv")
    scores = np.column_stack([trial.data[f"pain_{v}_followup"] for v in ("w8", "m6", "m12")])
    seen = ~np.isnan(scores)
    assert seen[:, 0].all()
    assert not (seen[:, 2] & ~seen[:, 1]).any()
    assert 1 - seen[:, 2].mean() == pytest.approx(0.25, abs=0.03)
    assert scores[~seen[:, 1], 0].mean() > scores[seen[:, 1], 0].mean() + 5  # lower is better
    both = seen[:, 1]
    assert 0.6 < np.corrcoef(scores[both, 0], scores[both, 1])[0, 1] < 0.85
    if text == LONG:
        assert len(made.frame) == seen.sum()
        assert list(made.frame["visit"][:2]) == ["w8", "m6"]
    else:
        again = simulate_study(made.study, seed=5, patients=2000, therapists=20, leaving=0)
        assert not again.frame[list(VISITS)].isna().any(axis=None)
        kept = made.frame[list(VISITS)].notna()
        assert made.frame[list(VISITS)].equals(again.frame[list(VISITS)].where(kept))


def test_nobody_leaves_where_there_are_no_visits(tmp_path: Path) -> None:
    single = WIDE.replace(
        'visits = { w8 = "pain8", m6 = "pain26", m12 = "pain52" }\ntimes = [8, 26, 52]',
        'followup = "pain8"',
    )
    with pytest.raises(InputError, match="visits that patients could leave before"):
        simulate_study(study(tmp_path, single), seed=1, leaving=0.2)
    with pytest.raises(InputError, match="share of 1 cannot leave"):
        simulate_study(study(tmp_path, WIDE), seed=1, leaving=1.0)
