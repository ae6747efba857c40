"""Bad input: exit code 2, the fault's place and a remedy, and nothing changed on disk."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bad_commands import RUNS, USAGE
from bad_studies import WRONG_STUDY
from bad_tables import UNREADABLE, WRONG_TABLE
from command_line import alliance, contents, csv_rows, missing_from, write_small_trial
from spoiled_files import CHECK, FIT, Case, Spoil, cell, column, text, with_items

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
    _refused(case, here)


@pytest.mark.mcmc
@pytest.mark.parametrize("case", RUNS, ids=[case.name for case in RUNS])
def test_a_fault_beside_a_run_is_refused(
    case: Case, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = shutil.copytree(run_folder.parent, tmp_path / "here")
    monkeypatch.chdir(here)
    _refused(case, here)


def _refused(case: Case, here: Path) -> None:
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
def test_what_is_allowed_is_said(fault: Spoil, note: str, here: Path) -> None:
    fault(here)
    before = contents(here)
    answer = alliance(*CHECK)
    assert answer.code == 0, answer.stderr
    assert note in answer.said
    assert "Error" not in answer.said
    assert "Analysed" in answer.stdout
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


def test_no_traceback_reaches_a_terminal(here: Path) -> None:
    """An InputError, a DataError and wrong usage, in a process as a person starts it."""
    column("arm", "GE")(here)
    before = contents(here)
    commands = [("check", "study.toml", "no.csv"), CHECK, ("check", "study.toml")]
    program = (
        "import sys; from alliance.cli.app import main\n"
        f"for words in {commands}:\n"
        "    sys.argv = ['alliance', *words]\n"
        "    try:\n        main()\n"
        "    except SystemExit as end:\n        print('ENDED', end.code, file=sys.stderr)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr  # nothing but SystemExit came out of `main`
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    said = ended.stderr.split("ENDED 2\n")
    assert len(said) == len(commands) + 1
    assert all(words.strip() for words in said[:-1])
    assert said[-1] == ""
    assert contents(here) == before


@pytest.mark.mcmc
def test_a_therapist_with_one_patient_is_fitted(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = shutil.copytree(run_folder.parent, tmp_path / "here")
    monkeypatch.chdir(here)
    shutil.rmtree("run")
    table = (here / "trial.csv").read_text()
    rated = next(row for row in csv_rows(table) if row["wai_total"] and row["psfs_8w"])
    lone = f"{rated['patient']},{rated['therapist']}"
    (here / "trial.csv").write_text(table.replace(lone, f"{rated['patient']},T99"))
    before = contents(here)
    answer = alliance(*FIT, "--outcome", "function", "--format", "csv")
    assert answer.code == 0, answer.stderr
    assert "1 therapist treated one patient only." in answer.said
    (row,) = csv_rows(answer.stdout)
    assert (row["outcome"], row["data"]) == ("function", "SIMULATED")
    after = contents(here)
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[0] for name in after.keys() - before.keys()} == {"run"}
