"""From a data file to a first study file: what is guessed, why, and what is written."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from initial_files import FILES, PATIENTS, REVERSED, trial

from alliance.data_prep.errors import InputError
from alliance.data_prep.initial.beginning import begin
from alliance.data_prep.initial.columns import columns_of
from alliance.data_prep.initial.draft import Draft, Question
from alliance.data_prep.initial.guesses import draft_study, outcome_name
from alliance.data_prep.initial.keeping_out import keep_out
from alliance.data_prep.initial.names import timed
from alliance.data_prep.initial.scales import rounded_up
from alliance.data_prep.initial.text import draft_text
from alliance.data_prep.initial.title_rows import below_titles
from alliance.data_prep.initial.wide import as_wide, long_keys
from alliance.data_prep.study.description import bundled_studies, read_study
from alliance.data_prep.tables.cells import LABELLED
from alliance.data_prep.tables.readers import read_table
from alliance.data_prep.trial.trial import Trial, load_trial


def begun(folder: Path, name: str) -> dict[str, Any]:
    """The study file that one of the made files gives, as plain values."""
    begin(FILES[name](folder), folder / "study.toml", {})
    return tomllib.loads((folder / "study.toml").read_text(encoding="utf-8"))


def drafted(frame: pd.DataFrame, **given: str) -> Draft:
    return draft_study(columns_of(frame), "trial.csv", given)


# Names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "stem", "time", "first"),
    [
        ("psfs_0", "psfs", 0, True), ("psfs_8w", "psfs", 8, False),
        ("BDI_avant", "bdi", 0, True), ("BDI_après", "bdi", 1000, False),
        ("dolor antes", "dolor", 0, True), ("dolor_después", "dolor", 1000, False),
        ("instantes", "instantes", -1, False),
        ("bdi_pre", "bdi", 0, True), ("BDIpost", "bdi", 1000, False),
        ("pre_bdi", "bdi", 0, True), ("phq9_t1", "phq9", 1, True),
        ("HAMDTL17_v4", "hamdtl17", 4, False), ("pain.6m", "pain", 26, False),
        ("week8_phq", "phq", 8, False), ("eq5d_fu2", "eq5d", 2002, False),
        ("BDI_vorher", "bdi", 0, True), ("pk5", "pk", 5, False), ("FEV1_BL", "fev1", 0, True),
        ("Depression (post)", "depression", 1000, False), ("post", "", 1000, False),
        ("age", "age", -1, False), ("chronicity", "chronicity", -1, False), ("f1", "f1", -1, False),
    ],
)  # fmt: skip
def test_names_say_what_is_measured_and_when(
    name: str, stem: str, time: float, first: bool
) -> None:
    found = timed(name)
    assert (found.stem, found.time, found.first) == (stem, time, first)


@pytest.mark.parametrize(
    ("stem", "mark", "name"),
    [
        ("bdi", "après", "bdi_apres"), ("größe", "", "gro_e"), ("a–b", "8w", "a_b_8w"),
        ("боль", "post", "post"),
    ],
)  # fmt: skip
def test_outcomes_are_named_in_letters_that_every_system_has(
    stem: str, mark: str, name: str
) -> None:
    assert outcome_name(stem, mark, ()) == name


def test_ranges_are_rounded_outwards() -> None:
    assert [rounded_up(value) for value in (94.75, 52, 0.13, 100, 7, 0)] == [
        100,
        60,
        0.15,
        100,
        7,
        0,
    ]


# Files like real ones -----------------------------------------------------------------------------

PARTS = {
    "spss": ("code", "therapist", "cond", "q17", {"phq_t1": "phq_t0"}),
    "stata": ("id", "therapist", "arm", "wai_total", {"bdi_post": "bdi_pre"}),
    "excel": ("patient", "therapist", "arm", "WAI total", {"pain_8w": "pain_0"}),
    "long": ("patient", "therapist", "arm", "wai", {"hamd_1": "hamd_0"}),
    "wide": (
        "patient", "therapist", "arm", "watoci",
        {"psfs_8w": "psfs_0", "psfs_6m": "psfs_0", "gpe_8w": None},
    ),
    "german": ("Proband", "Therapeut", "Gruppe", "WAI_Summe", {"BDI_nachher": "BDI_vorher"}),
    "items": ("patient", "therapist", "arm", None, {"core_post": "core_pre"}),
    "coded": ("patient", "therapist", "treatment", "wai", {"gad7_t2": "gad7_t1"}),
    "without_therapist": ("patient", None, "arm", "wai", {"bdi_end": "bdi_base"}),
    "without_ids": (None, "therapist", "group", "wai", {"bdi.post": "bdi.pre"}),
    "without_alliance": ("USUBJID", "INVESTIGATOR", "ARMCD", "HAMD_BL", {"HAMD_V6": None}),
    "waiting_list": ("patient", "therapist", "arm", "wai", {"pcl5_post": "pcl5_pre"}),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_parts_are_those_that_were_meant(tmp_path: Path, name: str) -> None:
    """As whoever made the file would say; every one of the twelve."""
    study = begun(tmp_path, name)
    patient, therapist, arm, moderator, outcomes = PARTS[name]
    columns = study["columns"]
    assert [columns.get(part) for part in ("patient", "therapist", "arm")] == [
        patient, therapist, arm,
    ]  # fmt: skip
    assert study["moderator"].get("column") == moderator
    found = {each["followup"]: each.get("baseline") for each in study["outcomes"].values()}
    assert found == outcomes
    age = {"german": "Alter", "without_alliance": "AGE"}.get(name, "age")
    assert age in study["continuous"]


def test_arms_have_their_labels_and_the_comparator_comes_first(tmp_path: Path) -> None:
    expected = {
        "spss": {"2": "Usual care", "1": "Cognitive therapy"},
        "stata": {"3": "Waiting list", "1": "CBT", "2": "IPT"},
        "excel": {"Control": "Control", "Exercise": "Exercise"},
        "without_alliance": {"PLACEBO": "PLACEBO", "ACTIVE": "ACTIVE"},
    }
    for name, arms in expected.items():
        (tmp_path / name).mkdir()
        assert list(begun(tmp_path / name, name)["arms"].items()) == list(arms.items())


def test_codes_of_missing_values_are_declared(tmp_path: Path) -> None:
    for name in ("coded", "stata"):
        (tmp_path / name).mkdir()
    assert begun(tmp_path / "coded", "coded")["missing_values"] == {
        "wai": [-99], "gad7_t2": [-9], "age": [999], "marital": [9],
    }  # fmt: skip
    assert begun(tmp_path / "stata", "stata")["missing_values"] == {"employed": [9]}


def test_categories_are_told_from_numbers(tmp_path: Path) -> None:
    for name in ("coded", "spss"):
        (tmp_path / name).mkdir()
    coded = begun(tmp_path / "coded", "coded")
    assert coded["categorical"] == ["sex", "marital"]
    spss = begun(tmp_path / "spss", "spss")
    assert spss["categorical"] == ["sex", "edu"]
    # Only such files have words for their columns
    assert spss["labels"] == {"age": "Age in years", "sex": "Sex", "edu": "Education"}
    assert "labels" not in coded


def test_items_are_scored_and_the_turned_ones_found(tmp_path: Path) -> None:
    moderator = begun(tmp_path, "items")["moderator"]
    assert moderator["items"] == [f"wai_{k}" for k in range(1, 13)]
    assert moderator["reverse"] == list(REVERSED)
    assert (moderator["item_range"], moderator["range"]) == ([1, 7], [12, 84])


def test_ranges_are_those_of_the_instrument_where_it_has_one(tmp_path: Path) -> None:
    study = begun(tmp_path, "coded")
    assert study["outcomes"]["gad7_t2"]["range"] == [0, 21]


def test_directions_come_from_the_name_or_from_the_change() -> None:
    frame = trial().rename(columns={"pre": "xyz_pre", "post": "xyz_post"})
    [outcome] = drafted(frame).outcomes
    assert (outcome.better.value, "NOT KNOWN" in outcome.better.why) == ("lower", True)
    frame["xyz_post"] = frame["xyz_pre"] + 5
    assert drafted(frame).outcomes[0].better.value == "higher"
    named = frame.rename(columns={"xyz_pre": "pain_pre", "xyz_post": "pain_post"})
    assert drafted(named).outcomes[0].better.value == "lower"


# What is written ----------------------------------------------------------------------------------


def test_every_guess_has_its_reason_and_no_patient_is_in_the_study(tmp_path: Path) -> None:
    for name in FILES:
        folder = tmp_path / name
        folder.mkdir()
        begun(folder, name)
        text = (folder / "study.toml").read_text(encoding="utf-8")
        assert "P001" not in text
        assert "1001" not in text
        assert "Müller" not in text
        lines = text.splitlines()
        for place, line in enumerate(lines):
            if line.startswith(("patient =", "therapist =", "arm =", "column =", "better =")):
                assert " # " in line or lines[place - 1].startswith("# "), line
        assert all(len(line) <= 130 for line in lines if not line.startswith(("#", "items")))


def test_a_hostile_name_is_no_line_of_the_study(tmp_path: Path) -> None:
    frame = trial().rename(
        columns={"pre": 'b"\\\n[x]_pre', "post": 'b"\\\n[x]_post', "age": "age\t#"}
    )
    draft = drafted(frame)
    study = tomllib.loads(draft_text(draft))
    assert [each["followup"] for each in study["outcomes"].values()] == ['b"\\\n[x]_post']


def test_a_long_table_is_written_with_a_row_for_each_patient(tmp_path: Path) -> None:
    path = FILES["long"](tmp_path)
    table = read_table(path)
    assert long_keys(columns_of(table.frame)) == ("patient", "visit")
    wide = as_wide(table.frame, "patient", "visit")
    plain = trial()
    assert wide["patient"].tolist() == plain["patient"].tolist()
    np.testing.assert_array_equal(wide["hamd_0"].astype(float), plain["pre"])
    np.testing.assert_array_equal(wide["hamd_1"].astype(float), plain["post"])
    assert "wai" in wide
    found = begin(path, tmp_path / "study.toml", {})
    assert found.data == tmp_path / "trial-wide.csv"
    assert found.data.stat().st_mode & 0o077 == 0
    trial_of_it = load_trial(read_study(tmp_path / "study.toml"), found.data)
    assert trial_of_it.flow["analysed"].tolist() == [PATIENTS]


def test_labels_follow_a_table_that_is_made_wide() -> None:
    frame = pd.DataFrame({"id": ["1", "1", "2", "2"], "visit": ["1", "2"] * 2, "arm": list("1122")})
    frame["x"] = ["3", "4", "5", "6"]
    frame.attrs = {LABELLED: {"arm": {"1": "A"}, "x": {"3": "low"}}}
    wide = as_wide(frame, "id", "visit")
    assert wide.attrs[LABELLED] == {"arm": {"1": "A"}, "x_1": {"3": "low"}, "x_2": {"3": "low"}}
    assert wide[["x_1", "x_2"]].to_numpy().tolist() == [["3", "4"], ["5", "6"]]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_titles_above_a_table_are_passed_over(tmp_path: Path, mark: str) -> None:
    path = tmp_path / ("trial.tsv" if mark == "\t" else "trial.csv")
    body = trial().to_csv(index=False, sep=mark)
    path.write_text(f"Trial of pain\n\nExport of 3 May\n{body}", encoding="utf-8")
    found = below_titles(path)
    assert found is not None
    frame, titles = found
    assert titles == 2
    assert list(frame.columns) == list(trial().columns)
    assert len(frame) == PATIENTS
    path.write_text("P1,4,5\nP2,5,6\nP3,6,7\n", encoding="utf-8")
    assert below_titles(path) is None  # no header: the first line is a patient


def test_files_that_are_there_are_kept(tmp_path: Path) -> None:
    path = FILES["wide"](tmp_path)
    (tmp_path / "study.toml").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="exists already"):
        begin(path, tmp_path / "study.toml", {})
    assert (tmp_path / "study.toml").read_text(encoding="utf-8") == "mine"
    with pytest.raises(InputError, match="is the data file"):
        begin(path, path, {}, overwrite=True)
    with pytest.raises(InputError, match="is no draft"):
        begin(path, tmp_path / "study.toml", {}, overwrite=True)
    assert (tmp_path / "study.toml").read_text(encoding="utf-8") == "mine"
    new = tmp_path / "new.toml"
    for overwrite in (False, True):  # a draft is, though it was worked on
        begin(path, new, {}, published=True, overwrite=overwrite)
        assert "# mine" not in new.read_text(encoding="utf-8")
        new.write_text(new.read_text(encoding="utf-8") + "# mine\n", encoding="utf-8")
    with pytest.raises(InputError, match="Did you mean 'therapist'"):
        begin(path, tmp_path / "other.toml", {"therapist": "therapst"})


def test_gitignore_is_written_or_extended_once(tmp_path: Path) -> None:
    ignored = tmp_path / ".gitignore"
    ignored.write_text("*.log", encoding="utf-8")
    assert keep_out(tmp_path, ["trial data.csv"])
    text = ignored.read_text(encoding="utf-8")
    assert text.startswith("*.log\n\n# Patients' data")
    assert text.splitlines()[-2:] == ["/trial\\ data.csv", "*.nc"]
    assert not keep_out(tmp_path, ["trial data.csv"])
    assert keep_out(tmp_path, ["second.csv"])
    assert ignored.read_text(encoding="utf-8") == text + "/second.csv\n"


def test_questions_are_asked_and_their_answers_taken(tmp_path: Path) -> None:
    asked: list[Question] = []

    def answer(question: Question) -> str:
        asked.append(question)
        if "scored the other way round" in question.text:
            return "wai_1"
        if "better" in question.text:
            return "higher"
        return question.default

    begin(FILES["items"](tmp_path), tmp_path / "study.toml", {}, ask=answer)
    study = read_study(tmp_path / "study.toml")
    assert study.moderator.reverse == ("wai_1",)
    assert [each.better for each in study.outcomes.values()] == ["higher"]
    texts = " ".join(question.text for question in asked)
    for part in ("patients' ids", "the arms", "the therapists", "scored the other way round"):
        assert part in texts
    coded = tmp_path / "coded"
    coded.mkdir()
    asked.clear()
    begin(FILES["coded"](coded), coded / "study.toml", {}, ask=answer)
    texts = " ".join(question.text for question in asked)
    assert "'marital' (1, 2, 3, 4) categories, or numbers?" in texts
    assert "Which of these values of 'age' mean that nothing is known?" in texts


def test_what_cannot_be_decided_is_said() -> None:
    frame = trial().rename(columns={"arm": "x1", "pre": "x2", "post": "x3"})
    draft = drafted(frame)
    assert "No column is named for the arms" in draft.undecided[0]
    assert '`arm="COLUMN"`' in draft.undecided[0]
    assert "No column is named for an outcome" in draft.undecided[1]
    assert "# NOT DECIDED" in draft_text(draft)
    assert drafted(frame, arm="x1").undecided == draft.undecided[1:]


# Real trials --------------------------------------------------------------------------------------


def analysed(trial: Trial, outcome: str) -> dict[str, Any]:
    rows = trial.analysed(outcome)
    return {
        "codes": [str(code) for code in rows["arm"].values],
        **{name: rows[name].to_numpy() for name in rows.data_vars},
    }


def test_the_headache_trial_is_that_of_the_bundled_study(shared_data: Path, tmp_path: Path) -> None:
    """The same patients, columns and priors, and so the same fits."""
    data = shared_data / "acupuncture_vickers2004.csv"
    begin(data, tmp_path / "study.toml", {})
    own, bundled = read_study(tmp_path / "study.toml"), read_study(bundled_studies()["headache"])
    ours, theirs = load_trial(own, data), load_trial(bundled, data)
    for mine, name in (("pk_2", "headache_3m"), ("pk_5", "headache_12m")):
        one, other = analysed(ours, mine), analysed(theirs, name)
        assert one.keys() == other.keys()
        for key, values in one.items():
            np.testing.assert_array_equal(values, other[key], err_msg=key)
        assert own.outcomes[mine].better == bundled.outcomes[name].better
    assert own.priors == bundled.priors
    assert own.model == bundled.model


def test_other_real_trials_get_their_parts(shared_data: Path, tmp_path: Path) -> None:
    begin(shared_data / "antidepressant_dia_wide.csv", tmp_path / "a.toml", {})
    study = read_study(tmp_path / "a.toml")
    assert (study.columns.patient, study.columns.therapist, study.columns.arm) == (
        "PATIENT", "POOLINV", "THERAPY",
    )  # fmt: skip
    assert list(study.arms) == ["PLACEBO", "DRUG"]
    assert study.moderator.column == "BASVAL"
    assert "HAMDTL17_v7" in {each.followup for each in study.outcomes.values()}
    found = begin(shared_data / "tvsfp_smoking_prevention.csv", tmp_path / "t.toml", {})
    assert "No column is named for the arms" in found.undecided[0]
    found = begin(shared_data / "fev_long.csv", tmp_path / "f.toml", {})
    text = (tmp_path / "f.toml").read_text(encoding="utf-8")
    outcome = tomllib.loads(text)["outcomes"]["fev1_vis4"]
    assert outcome["followup"] == "FEV1_VIS4"
    assert found.data.name == "fev_long-wide.csv"


def test_an_outcome_of_two_values_is_an_event() -> None:
    """With its baseline among the covariates, as a logistic model takes it."""
    random = np.random.default_rng(4)
    frame = trial().drop(columns=["pre", "post"]).assign(
        remission=random.choice(["yes", "no"], PATIENTS),
        smoking_pre=random.integers(0, 2, PATIENTS),
        smoking_post=random.integers(0, 2, PATIENTS),
        relapse_12m=random.integers(1, 3, PATIENTS),
    )  # fmt: skip
    study = tomllib.loads(draft_text(drafted(frame)))
    found = {
        each["followup"]: (each["family"], each.get("event"), each["better"], "range" in each)
        for each in study["outcomes"].values()
    }
    assert found == {
        "remission": ("binary", None, "higher", False),
        "smoking_post": ("binary", None, "lower", False),
        "relapse_12m": ("binary", "2", "lower", False),
    }
    assert "smoking_pre" in study["covariates"]
    assert "NOT KNOWN: write the value where the event happened" in draft_text(drafted(frame))


def test_a_table_that_is_made_replaces_no_other(tmp_path: Path) -> None:
    """It bears no mark: only the same is written again."""
    path, study = FILES["long"](tmp_path), tmp_path / "study.toml"
    begin(path, study, {})
    begin(path, study, {}, overwrite=True)
    table = next(tmp_path.glob("*-wide.csv"))
    table.write_text(table.read_text(encoding="utf-8") + "my,own,row\n", encoding="utf-8")
    before = table.read_bytes()
    with pytest.raises(InputError, match=r"-wide\.csv exists, and is no draft"):
        begin(path, study, {}, overwrite=True)
    assert table.read_bytes() == before
