"""Bad input: each fault ends in exit code 2, its place and a remedy, and changes nothing on disk."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bad_files import (
    CHECK,
    FIT,
    UNREADABLE,
    WRONG_STUDY,
    WRONG_TABLE,
    Case,
    added,
    both,
    cell,
    column,
    data,
    nothing,
    text,
    with_items,
)
from command_line import alliance, contents, csv_rows, missing_from, write_small_trial

# The command line's own mistakes; the files are sound where nothing else is said.
USAGE = [
    Case(
        "study's name misspelt",
        nothing,
        ("no study file 'ferreira2012'", "Did you mean 'ferreira2013'?", "'headache'"),
        (
            ("check", "ferreira2012", "trial.csv"),
            ("fit", "ferreira2012", "trial.csv", "--out", "r"),
        ),
    ),
    Case(
        "folder without a study",
        lambda folder: (folder / "empty").mkdir(),
        ("'empty' holds no study.toml", "Give a file's path"),
        (("check", "empty", "trial.csv"),),
    ),
    Case(
        "unknown outcome",
        nothing,
        ("no outcome 'functoin'", "Did you mean 'function'?"),
        ((*FIT, "--outcome", "functoin"),),
    ),
    Case(
        "negative seed",
        nothing,
        ("'--seed'", "greater than or equal to 0"),
        ((*FIT, "--seed", "-1"),),
    ),
    Case(
        "seed too large",
        nothing,
        ("'--seed'", "less than or equal to 9223372036854775807"),
        ((*FIT, "--seed", str(2**63)), ("demo", "--out", "demo", "--seed", str(2**63))),
    ),
    Case("seed that is no number", nothing, ("'--seed'", "integer"), ((*FIT, "--seed", "x"),)),
    Case(
        "unknown profile",
        nothing,
        ("'--profile'", "'fast'", "'ci', 'standard' or 'publication'"),
        ((*FIT[:-1], "fast"),),
    ),
    Case(
        "therapist setting misspelt",
        nothing,
        ("'--therapist'", "'intercpt'", "'none', 'intercept' or 'intercept+slope'"),
        ((*FIT, "--therapist", "intercpt"),),
    ),
    Case(
        "format misspelt",
        nothing,
        ("'--format'", "'xml'", "'table', 'csv' or 'json'"),
        ((*CHECK, "--format", "xml"), (*FIT, "--format", "xml")),
    ),
    Case(
        "no cores", nothing, ("'--cores'", "greater than or equal to 1"), ((*FIT, "--cores", "0"),)
    ),
    Case("no run folder named", nothing, ("Missing option '--out'",), (FIT[:3],)),
    Case(
        "command misspelt", nothing, ("'chekc'", "Did you mean 'check'?"), (("chekc", *CHECK[1:]),)
    ),
    Case(
        "native family that is not available",
        added('family = "ordinal"\n'),
        ("'ordinal'", "outcome 'gpe'", "--likelihood published"),
        ((*FIT, "--likelihood", "native"),),
    ),
    Case(
        "run folder that exists",
        lambda folder: (folder / "run").mkdir(),
        ("'run' exists already", "--out", "--overwrite"),
        (FIT,),
    ),
    Case(
        "file in place of the run folder",
        data("my notes", "run"),
        ("'run' exists already", "--out"),
        (FIT,),
    ),
    Case(
        "folder to overwrite that is no run",
        lambda folder: (folder / "run").mkdir(),
        ("'run' exists and is not a run", "name another folder"),
        ((*FIT, "--overwrite"),),
    ),
    Case(
        "run folder below a file",
        nothing,
        ("trial.csv' is not a folder", "--out"),
        ((*FIT[:4], "trial.csv/run"),),
    ),
    Case(
        "faulty data and a run folder below new ones",
        column("arm", "GE"),
        ("trial.csv arm", "'GE' is the only arm", "the whole trial"),
        ((*FIT[:4], "new/folders/run"),),
    ),
    Case(
        "RUN that is not there",
        nothing,
        ("no run at 'rnu'", "alliance fit --out"),
        (("summary", "rnu"), ("diagnose", "rnu"), ("compare", "rnu")),
    ),
    Case(
        "RUN that is a file",
        nothing,
        ("no run at 'trial.csv'", "alliance fit --out"),
        (("summary", "trial.csv"), ("diagnose", "trial.csv"), ("compare", "trial.csv")),
    ),
    Case(
        "run whose manifest is damaged",
        both(lambda folder: (folder / "run").mkdir(), data('{"format": 1, ', "run/manifest.json")),
        ("run/manifest.json' is damaged", "line 1", "Fit again"),
        (("summary", "run"), ("diagnose", "run"), ("compare", "run")),
    ),
    Case(
        "run whose manifest lacks entries",
        both(lambda folder: (folder / "run").mkdir(), data('{"format": 1}', "run/manifest.json")),
        ("run/manifest.json' is damaged", "specifications", "Fit again"),
        (("summary", "run"), ("diagnose", "run"), ("compare", "run")),
    ),
    Case(
        "run of a later version",
        both(lambda folder: (folder / "run").mkdir(), data('{"format": 99}', "run/manifest.json")),
        ("'run' has another format", "the version of alliance that wrote it"),
        (("summary", "run"), ("diagnose", "run"), ("compare", "run")),
    ),
    Case(
        "simulated trial that is no CSV",
        nothing,
        ("new.xlsx does not end in .csv", "Give a name"),
        (("simulate", "new.xlsx"),),
    ),
    Case(
        "simulated trial where files exist",
        nothing,
        ("there is already study.toml, trial.csv", "another folder", "overwrit"),
        (("simulate", "trial.csv"),),
    ),
    Case(
        "simulated trial without enough patients",
        nothing,
        ("3 patients are too few", "at least 12"),
        (("simulate", "new/trial.csv", "--patients", "3"),),
    ),
    Case(
        "simulated trial with more therapists than patients",
        nothing,
        ("13 therapists are more than the 12 patients", "at most"),
        (("simulate", "new/trial.csv", "--patients", "12", "--therapists", "13"),),
    ),
    Case(
        "simulated trial with too few nested therapists",
        nothing,
        ("2 therapists cannot be nested in 3 arms", "Ask for 3 to 237"),
        (("simulate", "new/trial.csv", "--therapists", "2", "--nested"),),
    ),
    Case(
        "demo in a folder of the user's",
        nothing,
        ("'.' exists and holds no demo", "--out"),
        (("demo", "--out", "."),),
    ),
]

ALLOWED = [
    # name, fault, words of the note
    (
        "byte-order mark",
        text(lambda content: "\ufeff" + content),
        "trial.csv begins with a byte-order",
    ),
    ("therapist with one patient", cell(2, "therapist", "T9"), "1 therapist treated one patient"),
    ("therapist missing", cell(2, "therapist", ""), "1 of 36 rows without therapist"),
    ("arm missing", cell(2, "arm", " "), "1 of 36 rows without arm"),
    ("one therapist only", column("therapist", "T1"), "one and the same therapist"),
    ("alliance missing", cell(2, "wai_total", "NA"), "1 of 36 rows without alliance"),
    (
        "too many missing items",
        with_items([(3, "wai_1", ""), (3, "wai_2", ""), (4, "wai_1", "")]),
        "1 patient left more than 1 of the 4 items unanswered, so the alliance is missing: row 3",
    ),
    (
        "empty row",
        text(lambda content: content.replace("P04", "\n,,,,,,\nP04")),
        "empty rows were skipped",
    ),
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with the small trial's two files."""
    monkeypatch.chdir(tmp_path)
    write_small_trial(tmp_path)
    return tmp_path


CASES = [*UNREADABLE, *WRONG_TABLE, *WRONG_STUDY, *USAGE]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_fault_is_refused_with_its_place_and_a_remedy(case: Case, here: Path) -> None:
    case.spoil(here)
    before = contents(here)
    for command in case.commands:
        answer = alliance(*command)
        assert answer.code == 2, answer.stderr
        assert answer.stdout == ""
        assert missing_from(answer.said, case.words) == [], answer.said
        assert contents(here) == before


@pytest.mark.parametrize(
    ("fault", "note"), [case[1:] for case in ALLOWED], ids=[case[0] for case in ALLOWED]
)
def test_what_is_allowed_is_said(fault, note: str, here: Path) -> None:
    fault(here)
    before = contents(here)
    answer = alliance(*CHECK)
    assert answer.code == 0, answer.stderr
    assert note in answer.said
    assert "Error" not in answer.said
    assert "analysed" in answer.stdout
    assert contents(here) == before


def test_a_sound_trial_is_not_refused(here: Path) -> None:
    answer = alliance(*CHECK)
    assert answer.code == 0
    assert "without" not in answer.said
    assert contents(here).keys() == {"study.toml", "trial.csv"}


def test_every_problem_of_a_table_can_be_read_by_a_machine(here: Path) -> None:
    column("gpe_8w", "x")(here)
    answer = alliance(*CHECK, "--format", "csv")
    assert answer.code == 2
    problems = csv_rows(answer.stdout)
    assert [problem["row"] for problem in problems] == [str(row) for row in range(2, 38)]
    assert {(p["file"], p["column"], p["value"]) for p in problems} == {
        ("trial.csv", "gpe_8w", "x")
    }
    assert "36 problem(s)" in answer.said
    assert "and 21 more" in answer.said


@pytest.mark.parametrize(
    "command",
    [FIT, ("simulate", "new/trial.csv"), ("demo", "--out", "new")],
    ids=["fit", "simulate", "demo"],
)
def test_a_disk_that_is_read_only(
    command: tuple[str, ...], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    before = contents(here)
    # Permissions would not stop a superuser; the operating system's own answer does.
    monkeypatch.setattr(os, "mkdir", refuse)
    answer = alliance(*command)
    monkeypatch.undo()
    assert answer.code == 2
    assert answer.stdout == ""
    assert missing_from(answer.said, ("cannot be written to", "Read-only file system")) == []
    assert contents(here) == before


@pytest.mark.parametrize(
    "command",
    [
        ("check", "study.toml", "no.csv"),
        ("fit", "study.toml", "trial.csv", "--out", "run"),
        ("summary", "run"),
        ("check", "study.toml"),
    ],
    ids=["InputError", "DataError", "no run", "usage"],
)
def test_no_traceback_reaches_a_terminal(command: tuple[str, ...], here: Path) -> None:
    column("arm", "GE")(here)
    before = contents(here)
    program = "from alliance.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", program, *command], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.strip()
    assert "Traceback" not in ended.stderr
    assert contents(here) == before
