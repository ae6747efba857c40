"""A simulated trial and a run of it, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import alliance


@pytest.fixture(scope="session")
def simulated_trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table that `alliance simulate` wrote; its companions lie beside it. Do not change it."""
    table = tmp_path_factory.mktemp("simulated") / "trial.csv"
    answer = alliance("simulate", table)
    assert answer.code == 0, answer.stderr
    return table


@pytest.fixture(scope="session")
def simulated_run(simulated_trial: Path) -> Path:
    """The run folder of a fit of all four outcomes, beside the trial. Do not change it."""
    run = simulated_trial.parent / "run"
    study = simulated_trial.parent / "study.toml"
    answer = alliance("fit", study, simulated_trial, "--out", run, "--profile", "ci")
    assert answer.code == 0, answer.stderr
    return run
