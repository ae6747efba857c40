"""The option `--figure` of `summary`, `therapists` and `predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_line import alliance, csv_rows, missing_from

if TYPE_CHECKING:  # PyMC is not loaded for tests that do without it
    from alliance.inference.runs.fit import Fit

COMMANDS = ("summary", "therapists", "predict")


@pytest.fixture(scope="module")
def run(made_fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two outcomes with made-up draws. Do not change it."""
    from alliance.inference.runs.run_folder import save_fit

    path = tmp_path_factory.mktemp("figures") / "run"
    save_fit(made_fit, path)
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_a_figure_is_written_beside_the_table(command: str, run: Path, tmp_path: Path) -> None:
    path = tmp_path / "figure.svg"
    answer = alliance(command, run, "--figure", path, "--format", "csv")
    assert answer.code == 0, answer.stderr
    assert {row["data"] for row in csv_rows(answer.stdout)} == {"SIMULATED"}
    assert f"Written: {path}" in answer.said
    assert path.read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize("command", COMMANDS)
def test_another_ending_is_refused_before_anything_is_printed(
    command: str, run: Path, tmp_path: Path
) -> None:
    answer = alliance(command, run, "--figure", tmp_path / "figure.jpeg")
    assert (answer.code, answer.stdout) == (2, "")
    assert missing_from(answer.said, ("figure.jpeg", ".png, .svg, .pdf")) == []
    assert list(tmp_path.iterdir()) == []


REFUSED = {
    "priors": (("summary", "--priors"), ("leave --beside and --priors out",)),
    "averages": (("predict", "--average-over", "trial"), ("not averages", "--plot score")),
    "baselines": (
        ("predict", "--outcome", "function", "--baseline", "8,12"),
        ("differ in baseline", "Give one value of each"),
    ),
}


@pytest.mark.parametrize(("asked", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_drawn_is_refused(
    asked: tuple[str, ...], said: tuple[str, ...], run: Path, tmp_path: Path
) -> None:
    command, *options = asked
    answer = alliance(command, run, *options, "--figure", tmp_path / "figure.png")
    assert (answer.code, answer.stdout) == (2, "")
    assert missing_from(answer.said, said) == []
    assert list(tmp_path.iterdir()) == []
