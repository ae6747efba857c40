"""A person's own files, whatever they are called, survive every command with --overwrite."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from command_line import Answer, alliance, contents, write_small_trial

from alliance.cli.app import app
from alliance.data_prep.files import LIST
from alliance.diagnostics.report.exports import BIBTEX
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.run_folder import require_free, save_fit

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


# Every command that writes: what it is asked, and where it writes a new file or folder. {run} and
# {trial} are a run and a trial's folder elsewhere.
INPUTS = ("{trial}/study.toml", "{trial}/trial.csv")
PLAN = ("ferreira2013", "--outcome", "pain", "--trials", 2, *SMALL)
FIGURE = {"--figure": "new.svg"}
RUNS = ("summary", "compare", "predict", "effects", "therapists", "ppc", "loo", "sensitivity")
COMMANDS: dict[str, tuple[tuple[Any, ...], dict[str, str]]] = {
    **dict.fromkeys(RUNS, (("{run}",), FIGURE)),
    "demo": ((), {"--out": "new"}),
    "simulate": ((), {"": "new.csv"}),
    "fit": ((*INPUTS, "--engine", "instant", "--outcome", "gpe"), {"--out": "new"}),
    "diagnose": (("{run}",), {"--junit": "new.xml"}),
    "report": (("{run}",), {"--out": "new.html", "--tables": "new"}),
    "explore": (("{run}",), {"--out": "new.html"}),
    "prior": (INPUTS, FIGURE),
    "paper": (("ferreira2013",), FIGURE),
    "missing": (("{run}", "--outcome", "gpe"), FIGURE),
    "trials": (("{run}",), FIGURE),
    "init": (("{trial}/trial.csv", "--yes"), {"--out": "new.toml"}),
    "share": ((*INPUTS, "--allow-small-cells"), {"--out": "new.share"}),
    "calibrate": (PLAN, {"--store": "new.sqlite", **FIGURE}),
    "assurance": (
        (*PLAN, "--contrast", "MCE-GE", "--interaction", 0),
        {"--store": "new.sqlite", **FIGURE},
    ),
    "multiverse": (
        (*INPUTS, "--outcome", "gpe", "--vary", "therapist", "--engine", "instant"),
        {"--store": "new.sqlite", **FIGURE},
    ),
}
PLACES = {"out", "figure", "junit", "tables", "store"}
# Replaced when named with --overwrite, as its help says: neither data nor a part of a run
REPLACED = {"run", "report.html", "results_gpe.md", "results_gpe.tex", BIBTEX}


def parameters(command: str) -> set[str]:
    front: Any = typer.main.get_command(app)
    return {each.name for each in front.get_command(None, command).params}


def test_no_command_that_writes_is_left_out() -> None:
    front: Any = typer.main.get_command(app)
    writing = {name for name in front.commands if parameters(name) & {"overwrite", *PLACES}}
    assert writing == set(COMMANDS)
    for name, (_, places) in COMMANDS.items():
        written = {option.removeprefix("--") or "out" for option in places}
        assert written == parameters(name) & PLACES


def asked(command: str, places: dict[str, Path], trial: Path, run: Path) -> Answer:
    """A command, with --overwrite where it has it."""
    given, _ = COMMANDS[command]
    words = [str(word).format(trial=trial, run=run) for word in given]
    for option, place in places.items():
        words += [option, str(place)] if option else [str(place)]
    overwrite = ["--overwrite"] if "overwrite" in parameters(command) else []
    return alliance(command, *words, *overwrite)


@pytest.fixture(scope="module")
def kept_run(made_fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that commands read. Do not change it."""
    path = tmp_path_factory.mktemp("kept") / "run"
    save_fit(made_fit, path)
    return path


@pytest.fixture
def thesis(tmp_path: Path) -> Path:
    """A folder of one's own, in which every name of ours is taken, and hidden ones too."""
    folder = tmp_path / "thesis"
    folder.mkdir()
    for name in (*NAMES, "thesis.docx", ".notes.partial-mine", ".run.previous-year"):
        (folder / name).write_text('{"format": 1, "mine": "years of work"}', encoding="utf-8")
    return folder


@pytest.mark.usefixtures("workers_in_this_process")
@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "demo"])
def test_a_new_file_beside_ones_own_changes_none_of_them(
    command: str, trial: Path, kept_run: Path, thesis: Path
) -> None:
    before = contents(thesis)
    places = {option: thesis / name for option, name in COMMANDS[command][1].items()}
    answer = asked(command, places, trial, kept_run)
    after = contents(thesis)
    assert {name: after.get(name) for name in before} == before
    # A simulated trial has companions, for which there is no room here; the run is of one trial
    refused = command in ("simulate", "trials")
    assert answer.code == 2 if refused else answer.code in (0, 3), answer.said
    assert (set(after) == set(before)) == (answer.code == 2)


@pytest.mark.usefixtures("workers_in_this_process")
@pytest.mark.parametrize(
    ("command", "option"),
    [(name, option) for name, (_, places) in COMMANDS.items() for option in places],
)
def test_ones_own_file_is_not_replaced_though_it_is_named(
    command: str, option: str, trial: Path, kept_run: Path, thesis: Path
) -> None:
    before = contents(thesis)
    pages = (("report", "--out"), ("explore", "--out"))
    one_file = option == "--junit" or (command, option) in pages
    for name in set(NAMES) - (REPLACED if one_file else set()):
        others = {each: thesis.parent / new for each, new in COMMANDS[command][1].items()}
        answer = asked(command, {**others, option: thesis / name}, trial, kept_run)
        assert answer.code == 2, (name, answer.stdout)
        assert contents(thesis) == before, name


@pytest.fixture
def run(made_fit: Fit, tmp_path: Path) -> Path:
    save_fit(made_fit, tmp_path / "place" / "run")
    return tmp_path / "place" / "run"


def test_tables_are_not_written_over_ones_own(run: Path, tmp_path: Path) -> None:
    """What replaces tables that were written before is in test_report_tables."""
    tables = tmp_path / "tables"
    tables.mkdir()
    for name in set(NAMES) - {BIBTEX, LIST}:  # which are looked for before the work
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


def test_an_explorer_in_the_run_replaces_explorers_alone(run: Path) -> None:
    page = run / "explorer.html"
    explore = ("explore", run, "--outcome", "gpe", "--out", page, "--overwrite")
    page.write_text("my own page", encoding="utf-8")
    assert alliance(*explore).code == 2
    assert page.read_text(encoding="utf-8") == "my own page"
    page.unlink()
    assert [alliance(*explore).code, alliance(*explore).code] == [0, 0]
    require_free(run, overwrite=True)  # a run with its explorer is replaced as one without is


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
