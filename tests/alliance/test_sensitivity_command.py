"""The command `sensitivity`: tables for a machine and a person, figures, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import alliance, csv_rows, missing_from

KINDS = ("priors", "refits", "influence", "unseen")
SAID = {
    "priors": ("sensitivity to priors", "Diagnosis", "Strongest prior"),
    "refits": ("other prior scales", "All scales", "All scales x 2"),
    "influence": ("one patient of 167 left out", "one therapist of 12 left out", "Moves most"),
    "unseen": ("an early improvement, unseen", "baseline", "Robustness"),
}


@pytest.mark.mcmc
@pytest.mark.parametrize("kind", KINDS)
def test_a_machine_reads_one_tidy_table(kind: str, run_folder: Path) -> None:
    as_csv = alliance("sensitivity", run_folder, "--kind", kind, "--format", "csv")
    assert (as_csv.code, as_csv.stderr) == (0, "")
    rows = csv_rows(as_csv.stdout)
    as_json = alliance("sensitivity", run_folder, "--kind", kind, "--format", "json")
    records = json.loads(as_json.stdout, parse_constant=pytest.fail)
    assert [list(row) for row in rows] == [list(record) for record in records]
    assert {row["data"] for row in rows} == {"SIMULATED"}
    assert {row["outcome"] for row in rows} == {"pain"}


@pytest.mark.mcmc
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [80, 160])
def test_a_person_reads_what_results_hang_on(kind: str, width: int, run_folder: Path) -> None:
    answer = alliance("sensitivity", run_folder, "--kind", kind, width=width)
    assert answer.code == 0, answer.stderr
    told = " ".join(answer.stdout.split())
    words = SAID[kind] if width > 80 else SAID[kind][:1]  # few columns fit into 80
    assert missing_from(told, ("SIMULATED DATA", *words)) == []
    assert max(len(line) for line in answer.stdout.splitlines()) <= width
    assert "…" not in answer.stdout


@pytest.mark.mcmc
def test_each_prior_and_all_units(run_folder: Path) -> None:
    each = csv_rows(alliance("sensitivity", run_folder, "--each-prior", "--format", "csv").stdout)
    assert {"residual_sd", "arm", "therapist_sd"} <= {row["prior"] for row in each}
    every = alliance(
        "sensitivity", run_folder, "--kind", "influence", "--all-units", "--format", "csv"
    )
    units = csv_rows(every.stdout)
    assert {row["by"] for row in units} == {"patient", "therapist"}
    few = alliance("sensitivity", run_folder, "--kind", "influence", "--format", "csv")
    assert len(csv_rows(few.stdout)) < len(units)


@pytest.mark.mcmc
@pytest.mark.parametrize("kind", KINDS)
def test_figures_are_written(kind: str, run_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "figure.svg"
    answer = alliance("sensitivity", run_folder, "--kind", kind, "--figure", file)
    assert answer.code == 0, answer.stderr
    assert "Written:" in answer.stderr
    assert file.read_text(encoding="utf-8").startswith("<?xml")


@pytest.mark.mcmc
def test_what_is_wrong_is_told(run_folder: Path, tmp_path: Path) -> None:
    cases = {
        ("sensitivity", run_folder, "--outcome", "gpa"): ("no outcome 'gpa'", "pain"),
        ("sensitivity", tmp_path / "none"): ("none",),
        ("sensitivity", run_folder, "--figure", "figure.txt"): ("figure's format", ".png"),
        ("sensitivity", run_folder, "--all-units"): ("--kind influence",),
        ("sensitivity", run_folder, "--kind", "unseen", "--each-prior"): ("--kind priors",),
        ("sensitivity", run_folder, "--kind", "everything"): ("priors", "refits", "unseen"),
    }
    for arguments, told in cases.items():
        answer = alliance(*arguments)
        assert (answer.code, answer.stdout) == (2, ""), arguments
        assert missing_from(answer.said, told) == []
