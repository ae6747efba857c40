"""`common_patients`: every outcome on the patients who have all outcomes."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import PATIENTS, Rows, alliance, csv_rows, small_trial, trial_text
from command_line import STUDY as TEXT

# By row: what is taken away. Of `function` four patients lack something, of `gpe` two, of both
# together five, because the third patient lacks both follow-ups.
GAPS = {0: ["psfs_8w"], 5: ["psfs_0"], 9: ["psfs_8w", "gpe_8w"], 20: ["gpe_8w"], 30: ["psfs_8w"]}


def gapped() -> Rows:
    rows = small_trial()
    for row, columns in GAPS.items():
        for column in columns:
            rows[row][column] = ""
    return rows


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text(TEXT, encoding="utf-8")
    rows = gapped()
    (tmp_path / "trial.csv").write_text(trial_text(rows), encoding="utf-8")
    complete = [row for k, row in enumerate(rows) if k not in GAPS]
    (tmp_path / "complete.csv").write_text(trial_text(complete), encoding="utf-8")
    (tmp_path / "parts").mkdir()
    for k, part in enumerate((rows[:18], rows[18:])):
        (tmp_path / "parts" / f"{k}.csv").write_text(trial_text(part), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("data", ["trial.csv", "parts/*.csv"])
def test_the_same_patients_are_counted_for_every_outcome(data: str, here: Path) -> None:
    counted = alliance("check", "study.toml", data, "--common-patients", "--format", "csv")
    assert counted.code == 0, counted.stderr
    function, gpe = csv_rows(counted.stdout)
    assert [row["analysed"] for row in (function, gpe)] == [str(PATIENTS - len(GAPS))] * 2
    assert (function["without_baseline"], function["without_followup"]) == ("1", "3")
    assert function["without_other_outcome"] == "1"  # row 20
    assert (gpe["without_followup"], gpe["without_other_outcome"]) == ("2", "3")


def test_each_outcome_keeps_its_own_patients_by_default(here: Path) -> None:
    counted = alliance("check", "study.toml", "trial.csv", "--format", "csv")
    function, gpe = csv_rows(counted.stdout)
    assert (function["analysed"], gpe["analysed"]) == (str(PATIENTS - 4), str(PATIENTS - 2))
    assert "without_other_outcome" not in function


def test_one_outcome_has_no_patients_in_common(here: Path) -> None:
    text = TEXT + "\n[model]\ncommon_patients = true\n"
    (here / "common.toml").write_text(text, encoding="utf-8")
    fit = ("fit", "common.toml", "trial.csv", "--outcome", "gpe", "--out", "run")
    multiverse = ("multiverse", "common.toml", "trial.csv", "--vary", "therapist")
    for command, said in (
        (fit, "model.common_patients: patients are common to two outcomes or more"),
        (multiverse, "A multiverse analyses each outcome by itself"),
    ):
        answer = alliance(*command)
        assert answer.code == 2
        assert said in answer.said
    assert not (here / "run").exists()


@pytest.mark.mcmc
def test_the_fit_is_that_of_the_complete_rows_alone(here: Path) -> None:
    """The same patients, and so the same draws bit for bit; every command speaks of them."""
    options = ("--engine", "instant", "--profile", "ci", "--therapist", "intercept")
    for data, name, more in (
        ("trial.csv", "common", ["--common-patients"]),
        ("complete.csv", "complete", []),
    ):
        made = alliance("fit", "study.toml", data, *options, *more, "--out", name)
        assert made.code in (0, 3), made.stderr
    for command in (("summary",), ("effects", "--alliance", "70"), ("therapists",)):
        common, complete = (
            alliance(command[0], name, *command[1:], "--format", "csv")
            for name in ("common", "complete")
        )
        assert common.code == 0, common.stderr
        assert common.stdout == complete.stdout
    told = alliance("summary", "common", width=200).stdout
    assert "patients: those with all outcomes" in told
    assert "1 without other outcome" in told
    assert alliance("report", "common").code in (0, 3)
    page = (here / "common" / "report.html").read_text(encoding="utf-8")
    assert "Left out: another outcome missing" in page
