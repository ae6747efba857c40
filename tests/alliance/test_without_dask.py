"""An installation without the extra `many`: all but many files and clusters works as with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from command_line import alliance, running_text, write_small_trial

# Python runs this at the start of every process, those of the workers too.
BLOCKER = """
from importlib.machinery import PathFinder

found = PathFinder.find_spec
PathFinder.find_spec = staticmethod(
    lambda name, *place: None
    if name.partition(".")[0] in ("dask", "distributed")
    else found(name, *place)
)
"""
PROGRAM = """
import json, sys
from alliance.cli.app import main

for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
        print("was done")
"""
INSTALL = 'pip install "alliance[many]"'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated trial, the small one in two files, and a Python that finds no Dask."""
    folder = tmp_path_factory.mktemp("without-dask")
    made = alliance("simulate", folder / "trial.csv", "--patients", "120")
    assert made.code == 0, made.stderr
    (folder / "small").mkdir()
    write_small_trial(folder / "small")
    text = (folder / "small" / "trial.csv").read_text(encoding="utf-8")
    header, *rows = text.splitlines(keepends=True)
    (folder / "parts").mkdir()
    for k, part in enumerate((rows[:18], rows[18:])):
        (folder / "parts" / f"part{k}.csv").write_text(header + "".join(part), encoding="utf-8")
    (folder / "blocked").mkdir()
    (folder / "blocked" / "sitecustomize.py").write_text(BLOCKER, encoding="utf-8")
    return folder


def without_dask(
    folder: Path, *commands: Sequence[str], place: str = "."
) -> subprocess.CompletedProcess[str]:
    """Commands in a process that finds no Dask; it ends at the first that fails."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(commands)],
        cwd=folder / place,
        env=os.environ | {"PYTHONPATH": str(folder / "blocked")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_python_finds_no_dask_there(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import dask"],
        env=os.environ | {"PYTHONPATH": str(folder / "blocked")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "No module named 'dask'" in done.stderr


@pytest.mark.mcmc
def test_a_trial_in_one_file_needs_none(folder: Path) -> None:
    """One command after the other in one process, whose imports take longer than they do."""
    fit = ("fit", "study.toml", "trial.csv", "--engine", "instant", "--profile", "ci")
    commands = (
        ("check", "study.toml", "trial.csv"),
        (*fit, "--out", "run"),
        ("summary", "run"),
        ("predict", "run"),
        ("report", "run"),
    )
    done = without_dask(folder, *commands, place="small")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("was done") == len(commands)
    assert (folder / "small" / "run" / "report.html").is_file()


@pytest.mark.mcmc
def test_many_fits_on_this_machine_need_none(folder: Path) -> None:
    sizes = ("--patients", "60", "--therapists", "6", "--interaction", "0.3")
    asked = ("--outcome", "function", "--contrast", "MCE-GE", "--trials", "2", "--workers", "2")
    done = without_dask(folder, ("assurance", "study.toml", *sizes, *asked, "--format", "csv"))
    assert done.returncode == 0, done.stderr
    assert "convincing" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "needs"),
    [
        (("check", "small/study.toml", "parts/*.csv"), "Reading a table in many files"),
        (
            ("fit", "small/study.toml", "parts", "--out", "many"),
            "Reading a table in many files",
        ),
        (
            ("fit", "small/study.toml", "parts", "--out", "many", "--dask", "tcp://127.0.0.1:1"),
            "A Dask cluster",
        ),
        (
            ("calibrate", "small/study.toml", "--trials", "2", "--dask", "tcp://127.0.0.1:1"),
            "A Dask cluster",
        ),
    ],
    ids=["check", "fit", "read on a cluster", "fits on a cluster"],
)
def test_what_needs_it_says_how_to_install_it(
    arguments: tuple[str, ...], needs: str, folder: Path
) -> None:
    done = without_dask(folder, arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    said = running_text(done.stderr)
    assert f"{needs} needs the package d" in said
    assert INSTALL in said
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_there_is_no_question_of_dask(folder: Path) -> None:
    done = without_dask(folder, ("check", "study.toml", "no.csv"))
    assert done.returncode == 2
    assert "no.csv" in done.stderr
    assert INSTALL not in running_text(done.stderr)
