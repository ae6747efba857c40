"""Commands on a table in many files: what the hints name works, and faults end with code 2."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from command_line import STUDY, alliance, small_trial, trial_text


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a study file and the small trial in three files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text(STUDY)
    (tmp_path / "parts").mkdir()
    rows = small_trial()
    for k, places in enumerate(np.array_split(np.arange(len(rows)), 3)):
        some = [rows[place] for place in places]
        (tmp_path / "parts" / f"{k}.csv").write_text(trial_text(some))
    return tmp_path


def test_the_hint_after_a_fit_names_commands_that_work(many: Path) -> None:
    fitted = alliance("fit", "study.toml", "parts", "--engine", "instant", "--out", "run")
    assert fitted.code in (0, 3), fitted.stderr  # the gate may find fault with so few draws
    hint = re.search(r"Next: (.*)\.", " ".join(fitted.stderr.split() + fitted.stdout.split()))
    assert hint is not None
    commands = re.findall(r"`alliance ([^`]+)`", hint[1])
    assert len(commands) == 2
    for command in commands:
        assert alliance(*shlex.split(command)).code in (0, 3)


def test_a_copy_of_a_file_ends_with_code_2(many: Path) -> None:
    (many / "parts" / "copy.csv").write_bytes((many / "parts" / "0.csv").read_bytes())
    answer = alliance("check", "study.toml", "parts")
    assert answer.code == 2
    assert "0.csv and copy.csv are the same file twice" in answer.said


def test_a_sheet_is_named_behind_the_file(many: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.worksheets[0].append(["Codebook"])
    sheet = book.create_sheet("Data")
    rows = small_trial()
    for row in [list(rows[0]), *(list(row.values()) for row in rows)]:
        sheet.append(row)
    book.save(many / "trial.xlsx")
    answer = alliance("check", "study.toml", "trial.xlsx")
    assert answer.code == 2
    assert "'trial.xlsx#Data'" in answer.said
    answer = alliance("check", "study.toml", "trial.xlsx#Data")
    assert answer.code == 0
    assert "'Data', was read" in answer.said
