"""The command `ppc`: tables for a machine and a person, figures, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest
from command_line import alliance, csv_rows, missing_from, printed_columns

if TYPE_CHECKING:  # PyMC is not loaded for tests that do without it
    from alliance.inference.runs.fit import Fit


@pytest.fixture(scope="module")
def run(made_fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two outcomes with made-up draws. Do not change it."""
    from alliance.inference.runs.run_folder import save_fit

    path = tmp_path_factory.mktemp("ppc") / "run"
    save_fit(made_fit, path)
    return path


def test_a_machine_reads_the_tidy_table(run: Path, made_fit: Fit) -> None:
    from alliance.diagnostics.checks.predictive_checks import COLUMNS, predictive_check

    answer = alliance("ppc", run, "--format", "csv")
    assert (answer.code, answer.stderr) == (0, "")
    rows = csv_rows(answer.stdout)
    assert list(rows[0]) == printed_columns(COLUMNS)
    assert {row["data"] for row in rows} == {"SIMULATED"}
    assert [row["outcome"] for row in rows] == sorted(row["outcome"] for row in rows)
    expected = predictive_check(made_fit["gpe"]).table
    printed = [float(row["p_value"] or "nan") for row in rows if row["outcome"] == "gpe"]
    assert printed == pytest.approx(expected["p_value"].tolist(), nan_ok=True)
    alone = json.loads(alliance("ppc", run, "--outcome", "gpe", "--format", "json").stdout)
    assert {row["outcome"] for row in alone} == {"gpe"}
    other = alliance("ppc", run, "--format", "csv", "--seed", "77").stdout
    assert other != answer.stdout


@pytest.mark.parametrize("width", [80, 120])
def test_a_person_reads_verdicts_and_what_to_do(run: Path, width: int) -> None:
    answer = alliance("ppc", run, width=width)
    assert answer.code == 0, answer.stderr
    expected = ("SIMULATED DATA", "posterior predictive checks", "kurtosis of the residuals")
    assert missing_from(" ".join(answer.stdout.split()), (*expected, "What to do:")) == []
    assert max(len(line) for line in answer.stdout.splitlines()) <= width


@pytest.mark.parametrize("plot", ["distribution", "therapists", "statistics"])
def test_figures_are_written(run: Path, tmp_path: Path, plot: str) -> None:
    file = tmp_path / "figure.svg"
    answer = alliance("ppc", run, "--outcome", "gpe", "--figure", file, "--plot", plot)
    assert answer.code == 0, answer.stderr
    assert "Written:" in answer.stderr
    assert file.read_text(encoding="utf-8").startswith("<?xml")


def test_what_is_wrong_is_told(run: Path, tmp_path: Path) -> None:
    cases = {
        ("ppc", run, "--outcome", "gpa"): ("no outcome 'gpa'", "gpe"),
        ("ppc", tmp_path / "none"): ("none",),
        ("ppc", run, "--figure", "figure.txt"): ("figure's format", ".png"),
    }
    for arguments, told in cases.items():
        answer = alliance(*arguments)
        assert (answer.code, answer.stdout) == (2, "")
        assert missing_from(answer.said, told) == []


def test_the_plots_are_those_that_can_be_drawn() -> None:
    from alliance.cli.commands.model_checks import Plot
    from alliance.diagnostics.figures.predictive_figures import FIGURES

    assert get_args(Plot) == tuple(FIGURES)
