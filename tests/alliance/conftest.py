"""A simulated trial, a run of one of its outcomes, and the demo of all four: each made once.

And workers that are no processes.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from command_line import Answer, alliance


@pytest.fixture(scope="session")
def trial_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table that `alliance simulate` wrote; its companions lie beside it. Do not change it."""
    table = tmp_path_factory.mktemp("simulated") / "trial.csv"
    answer = alliance("simulate", table)
    assert answer.code == 0, answer.stderr
    return table


@pytest.fixture(scope="session")
def run_folder(trial_files: Path) -> Path:
    """A run of the outcome pain, beside the trial's files. Do not change it."""
    run = trial_files.parent / "run"
    study = trial_files.parent / "study.toml"
    options = ("--out", run, "--profile", "ci", "--outcome", "pain")
    answer = alliance("fit", study, trial_files, *options)
    assert answer.code == 0, answer.stderr
    return run


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    """The demo's folder, and what the demo printed. Do not change it."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder / "alliance-demo", alliance("demo", "--profile", "ci")


@pytest.fixture
def workers_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No processes are started, which load their libraries for seconds; what they do is the same.

    The processes have tests of their own, in ``tests/inference/test_local_processes.py``.
    """
    from alliance.inference.many_fits import task_runner
    from alliance.inference.many_fits.task_runner import TaskOutcome

    class InThisProcess(task_runner.LocalProcesses):
        def outcomes(
            self,
            function: task_runner.Function,
            packed: bytes,
            tasks: Mapping[str, tuple[Any, ...]],
        ) -> Iterator[tuple[str, TaskOutcome]]:
            for name, arguments in tasks.items():
                yield name, TaskOutcome(function(pickle.loads(packed), *arguments))

    monkeypatch.setattr(task_runner, "LocalProcesses", InThisProcess)
