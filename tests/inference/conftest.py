"""Run folders for the tests of this room."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # PyMC is not loaded for tests that do without it
    from alliance.inference.runs.fit import Fit


@pytest.fixture(scope="session")
def made_run(made_fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with made-up draws, which tests read and leave as it is."""
    from alliance.inference.runs.run_folder import save_fit

    path = tmp_path_factory.mktemp("made") / "run"
    save_fit(made_fit, path)
    return path


@pytest.fixture
def run(made_run: Path, tmp_path: Path) -> Path:
    """A run folder with made-up draws, which a test may spoil."""
    from run_folders import copied

    return copied(made_run, tmp_path / "run")
