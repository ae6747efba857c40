"""Closed outputs and folders, tiny numbers, damaged stores: a message and exit code 2."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import STUDY, alliance, small_trial, trial_text, write_small_trial

from alliance.data_prep.errors import InputError
from alliance.data_prep.study import description
from alliance.inference.many_fits.task_runner import TaskOutcome, open_store

MAIN = "from alliance.cli.app import main; main()"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_small_trial(tmp_path)
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="the shell of Unix")
@pytest.mark.parametrize("how", ["| head -c 1 >/dev/null", ">&-", ">&- 2>&-", "| true"])
def test_a_closed_output_is_no_traceback(place: Path, how: str) -> None:
    command = f'"{sys.executable}" -c "{MAIN}" check study.toml trial.csv {how}'
    done = subprocess.run(
        ["bash", "-c", command], cwd=place, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of Unix")
def test_a_folder_that_is_closed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The superuser, who may run the tests, is let in everywhere: a stand-in says no."""

    def closed(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(place / "secret"))

    monkeypatch.setattr(description, "read_study", closed)
    answer = alliance("check", place / "study.toml", place / "trial.csv")
    assert answer.code == 2
    assert f"'{place / 'secret'}': Permission denied." in answer.said


def test_scores_of_next_to_nothing_are_refused(place: Path) -> None:
    """Their squares are zero in floating point."""
    text = STUDY.replace("range = [-5, 5]", "range = [-5e-170, 5e-170]")
    (place / "study.toml").write_text(text, encoding="utf-8")
    rows = small_trial()
    for row in rows:
        row["gpe_8w"] += "e-170"
    (place / "trial.csv").write_text(trial_text(rows), encoding="utf-8")
    options = ("--engine", "instant", "--profile", "ci", "--outcome", "gpe")
    inputs = (place / "study.toml", place / "trial.csv")
    answer = alliance("fit", *inputs, "--out", place / "run", *options)
    assert answer.code == 2
    assert "outcomes.gpe.range" in answer.said
    assert "between 1e-100 and 1e100 apart" in answer.said


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_truncated_store_is_refused_or_empty(tmp_path: Path, share: float) -> None:
    path, facts = tmp_path / "store.sqlite", {"question": "one"}
    with open_store(path, facts) as store:
        for k in range(200):
            store.put(f"t{k}", TaskOutcome({"value": k}))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    if share:
        with pytest.raises(InputError, match=r"store\.sqlite"), open_store(path, facts) as store:
            store.outcomes()
    else:
        with open_store(path, facts) as store:
            assert store.outcomes() == {}


def test_a_result_that_was_changed_is_refused(tmp_path: Path) -> None:
    path, facts = tmp_path / "store.sqlite", {"question": "one"}
    with open_store(path, facts) as store:
        store.put("t1", TaskOutcome({"value": 1}))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE results SET result = '{\"value\": 2}'")
    connection.close()
    with (
        open_store(path, facts) as store,
        pytest.raises(InputError, match="'t1' is not what was written"),
    ):
        store.outcomes()


def test_a_store_of_before_there_were_checksums_goes_on(tmp_path: Path) -> None:
    path, facts = tmp_path / "store.sqlite", {"question": "one"}
    with open_store(path, facts) as store:
        store.put("t1", TaskOutcome({"value": 1}))
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE results DROP COLUMN sha256")
    connection.close()
    with open_store(path, facts) as store:
        store.put("t2", TaskOutcome({"value": 2}))
        assert store.outcomes() == {
            "t1": TaskOutcome({"value": 1}),
            "t2": TaskOutcome({"value": 2}),
        }
