"""The commands that fit many times: what they print and write, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Answer, alliance, contents, csv_rows, missing_from

pytestmark = pytest.mark.usefixtures("workers_in_this_process", "own_folder")

IMAGINED = ("calibrate", "ferreira2013", "--outcome", "pain", "--trials", 12)
SIZES = ("--patients", "60,90", "--therapists", "6", "--interaction", "0,0.9")
PLANNED = ("assurance", "ferreira2013", "--outcome", "pain", "--contrast", "MCE-GE", *SIZES)


@pytest.fixture
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_calibrate_prints_a_verdict_and_goes_on_with_its_store(tmp_path: Path) -> None:
    table, picture = alliance(*IMAGINED), tmp_path / "c.svg"
    assert table.code == 0, table.stderr
    assert not missing_from(
        table.stdout, ["pain: 12 simulated trials, engine instant", "Left by", "PASS"]
    )
    assert not missing_from(table.said, ["kept in calibration.sqlite", "Calibrated"])
    more = alliance(*IMAGINED[:-1], 13, "--format", "csv", "--figure", picture)
    assert more.code == 0, more.stderr
    rows = csv_rows(more.stdout)
    assert {row["trials"] for row in rows} == {"13"}
    assert {row["quantity"] for row in rows} >= {"interaction", "therapist_sd", "residual_sd"}
    assert "moderator slope, average" in picture.read_text(encoding="utf-8")
    other = alliance(*IMAGINED, "--seed", 1)
    assert other.code == 2
    assert not missing_from(other.said, ["belongs to another question", "seed is 1 and was 2013"])


def test_calibrate_takes_the_patients_of_a_trial(trial_files: Path) -> None:
    study = trial_files.parent / "study.toml"
    answer = alliance(
        "calibrate", study, "--data", trial_files, "--outcome", "pain", "--trials", 2, "--format",
        "json", "--therapist", "none",
    )  # fmt: skip
    assert answer.code == 0, answer.stderr
    assert "trial.csv's patients" in answer.said
    assert "therapist_sd" not in {row["quantity"] for row in json.loads(answer.stdout)}


def test_a_model_that_is_not_calibrated_ends_with_code_3(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes in other units than the model is told; 40 trials are enough to see it."""
    import alliance.inference.many_fits.calibration as calibration

    real = calibration.simulated_trial

    def other_units(*arguments: object) -> object:
        from dataclasses import replace

        trial = real(*arguments)
        return replace(trial, design=replace(trial.design, y=2 * trial.design.y))

    monkeypatch.setattr(calibration, "simulated_trial", other_units)
    answer = alliance(*IMAGINED[:-1], 40, "--therapist", "none")
    assert answer.code == 3
    assert not missing_from(answer.said, ["Not calibrated", "smallest p"])
    assert "FAIL" in answer.stdout


def test_assurance_prints_chances_and_draws_them(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    answer = alliance(*PLANNED, "--trials", 3, "--figure", picture)
    assert answer.code == 0, answer.stderr
    assert not missing_from(
        answer.stdout,
        ["Interaction MCE-GE on pain", "Convinces", "Exaggeration", "Assumed in every trial"],
    )
    assert picture.stat().st_size > 10_000
    again = alliance(*PLANNED, "--trials", 3, "--format", "csv")
    rows = csv_rows(again.stdout)
    assert [(row["patients"], row["interaction"]) for row in rows] == [
        ("60", "0.0"), ("60", "0.9"), ("90", "0.0"), ("90", "0.9"),
    ]  # fmt: skip


def test_multiverse_prints_how_far_analyses_agree(trial_files: Path, tmp_path: Path) -> None:
    study, picture = trial_files.parent / "study.toml", tmp_path / "m.pdf"
    asked = ("multiverse", study, trial_files, "--outcome", "pain", "--vary", "therapist")
    answer = alliance(*asked, "--figure", picture)
    assert answer.code == 0, answer.stderr
    assert "SIMULATED DATA" in answer.stdout
    assert not missing_from(answer.stdout, ["over 3 analyses", "Hangs most on", "arm contrast"])
    assert "differ in therapist" in answer.said
    assert picture.read_bytes().startswith(b"%PDF")
    rows = csv_rows(alliance(*asked, "--format", "csv").stdout)
    assert {row["data"] for row in rows} == {"SIMULATED"}
    assert {row["therapist"] for row in rows} == {"none", "intercept", "intercept+slope"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((*IMAGINED[:-1], 0), "'--trials'"),
        ((*IMAGINED, "--figure", "c.txt"), "does not end in a figure's format"),
        ((*IMAGINED, "--store", "none/c.sqlite"), "is not a folder"),
        ((*IMAGINED, "--dask", "tcp://127.0.0.1:9"), "No Dask scheduler answers at"),
        ((*IMAGINED, "--patients", 8), "8 patients are too few"),
        ((*IMAGINED, "--therapists", 100), "100 therapists do not suit"),
        ((*IMAGINED, "--engine", "instant", "--alliance", "within_between"), "instant engine"),
        (("calibrate", "ferreira2013", "--outcome", "plan"), "no outcome 'plan'"),
        ((*PLANNED, "--patients", "9:1:2"), "the grid is empty"),
        ((*PLANNED, "--patients", "60.5"), "60.5 is no number of people"),
        ((*PLANNED, "--therapists", "0"), "0 is no number of people"),
        ((*PLANNED, "--therapists", "50"), "50 therapists do not suit 60 patients"),
        ((*PLANNED, "--interaction", "much"), "'much' is not a number"),
        ((*PLANNED, "--probability", "1"), "convinces of nothing"),
        ((*PLANNED, "--therapist-sd", "-1"), "therapist_sd -1 is below zero"),
        (("assurance", "ferreira2013", *SIZES), "4 outcomes"),
        ((*PLANNED, "--contrast", "MCE-XX"), "no contrast 'MCE-XX'"),
    ],
)
def test_bad_input_ends_with_code_2_and_leaves_nothing(
    arguments: tuple[object, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alliance.inference.many_fits.cluster.TIMEOUT", 0.5)
    answer: Answer = alliance(*arguments)
    assert answer.code == 2, answer.stderr
    assert told in answer.said
    assert "Traceback" not in answer.stderr
    assert set(contents(tmp_path)) <= {"calibration.sqlite"}  # made before the scheduler is asked


def test_a_store_of_another_command_is_refused(trial_files: Path) -> None:
    assert alliance(*IMAGINED[:-1], 1, "--store", "s").code == 0
    answer = alliance(*PLANNED, "--trials", 1, "--store", "s")
    assert answer.code == 2
    assert 'what is "assurance" and was "calibration"' in answer.said
    study = trial_files.parent / "study.toml"
    asked = ("--outcome", "pain", "--vary", "prior_scale", "--store", "s")
    answer = alliance("multiverse", study, trial_files, *asked)
    assert answer.code == 2
    assert 'what is "multiverse" and was "calibration"' in answer.said
