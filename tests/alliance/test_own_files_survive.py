"""A person's own files, whatever they are called, survive every command with --overwrite."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Answer, alliance, contents, write_small_trial

from alliance.data_prep.files import LIST
from alliance.diagnostics.report.exports import BIBTEX
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.run_folder import save_fit

# What commands call their files.
NAMES = (
    "manifest.json", "study.toml", "published.toml", "flow.csv", "summary.csv", "gate.csv",
    "report.html", "function.nc", "gpe.nc", "joint.nc", "trial.csv", "truth.json",
    "simulation.toml", "run", "results_gpe.csv", "results_gpe.md", "results_gpe.tex", BIBTEX, LIST,
    "calibration.sqlite", "assurance.sqlite", "multiverse.sqlite",
)  # fmt: skip
SMALL = ("--patients", 60, "--therapists", 4)


def fit(trial: Path, folder: Path, _: str) -> Answer:
    inputs = (trial / "study.toml", trial / "trial.csv")
    return alliance("fit", *inputs, "--out", folder, "--overwrite")


def demo(_: Path, folder: Path, __: str) -> Answer:
    return alliance("demo", "--out", folder)


def simulate(_: Path, folder: Path, __: str) -> Answer:
    return alliance("simulate", folder / "trial.csv", "--seed", 1, "--overwrite")


def calibrate(_: Path, folder: Path, name: str) -> Answer:
    options = ("--outcome", "pain", "--trials", 1, *SMALL)
    return alliance("calibrate", "ferreira2013", *options, "--store", folder / name)


def assurance(_: Path, folder: Path, name: str) -> Answer:
    options = ("--outcome", "pain", "--contrast", "MCE-GE", "--trials", 1, *SMALL)
    return alliance("assurance", "ferreira2013", *options, "--store", folder / name)


def multiverse(trial: Path, folder: Path, name: str) -> Answer:
    inputs = (trial / "study.toml", trial / "trial.csv")
    options = ("--outcome", "gpe", "--vary", "therapist")
    return alliance("multiverse", *inputs, *options, "--store", folder / name)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trial")
    write_small_trial(folder)
    return folder


@pytest.mark.parametrize("command", [fit, demo, simulate, calibrate, assurance, multiverse])
@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_ones_own_with_a_name_of_ours_in_it(
    name: str, command: Callable[[Path, Path, str], Answer], trial: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "thesis.docx").write_bytes(b"years of work")
    (folder / name).write_text('{"format": 1, "mine": "years of work"}', encoding="utf-8")
    before = contents(tmp_path)
    answer = command(trial, folder, name)
    after = contents(tmp_path)
    assert {place: after.get(place) for place in before} == before
    if command is not simulate:  # which may write beside them
        assert answer.code == 2
        assert after == before


@pytest.fixture
def run(made_fit: Fit, tmp_path: Path) -> Path:
    save_fit(made_fit, tmp_path / "place" / "run")
    return tmp_path / "place" / "run"


def test_tables_are_not_written_over_ones_own(run: Path, tmp_path: Path) -> None:
    """What replaces tables that were written before is in test_report_tables."""
    tables = tmp_path / "tables"
    tables.mkdir()
    for name in NAMES:
        (tables / name).write_text("my own numbers", encoding="utf-8")
    before = contents(tables)
    options = ("--out", tmp_path / "report.html", "--tables", tables, "--overwrite")
    answer = alliance("report", run, *options)
    assert answer.code == 2
    assert "results_gpe.csv" in answer.said
    assert contents(tables) == before
    assert not (tmp_path / "report.html").exists()


def test_a_report_in_the_run_replaces_reports_alone(run: Path) -> None:
    (run / "report.html").write_text("my own page", encoding="utf-8")
    assert alliance("report", run, "--overwrite").code == 2
    assert (run / "report.html").read_text(encoding="utf-8") == "my own page"


def test_the_working_folder_is_never_replaced(
    run: Path, trial: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(run.parent)
    monkeypatch.chdir(run)
    inputs = (trial / "study.toml", trial / "trial.csv")
    for out in (".", os.curdir + os.sep, "../run", run):
        answer = alliance("fit", *inputs, "--out", out, "--overwrite")
        assert answer.code == 2
        assert "the working folder" in answer.said
        assert contents(run.parent) == before


def test_a_run_whose_study_is_read_is_not_replaced(run: Path, trial: Path) -> None:
    before = contents(run.parent)
    options = ("--out", run, "--overwrite")
    answer = alliance("fit", run / "study.toml", trial / "trial.csv", *options)
    assert answer.code == 2
    assert contents(run.parent) == before


def test_a_demo_is_replaced_where_nothing_else_is(tmp_path: Path) -> None:
    """Refused before anything is written, where a file of the demo was changed."""
    demo = tmp_path / "demo"
    assert alliance("simulate", demo / "trial.csv").code == 0
    (demo / "study.toml").write_text("my own study", encoding="utf-8")
    before = contents(tmp_path)
    answer = alliance("demo", "--out", demo)
    assert answer.code == 2
    assert "study.toml" in answer.said
    assert contents(tmp_path) == before
