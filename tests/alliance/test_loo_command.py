"""The command `loo`: one run, several runs, tables for a machine and a person, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_line import alliance, csv_rows, missing_from

if TYPE_CHECKING:  # PyMC is not loaded for tests that do without it
    from alliance.inference.runs.fit import Fit


@pytest.fixture(scope="module")
def runs(made_fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs of the same patients with made-up draws. Do not change them."""
    from made_draws import FEW_DRAWS, NoSampler, small_trial

    from alliance.inference.runs.fitting import fit_trial
    from alliance.inference.runs.run_folder import save_fit

    folder = tmp_path_factory.mktemp("loo")
    save_fit(made_fit, folder / "first")
    with pytest.MonkeyPatch.context() as patch:
        NoSampler().install(patch)
        save_fit(fit_trial(small_trial(), FEW_DRAWS, seed=9), folder / "second")
    return folder / "first", folder / "second"


def test_a_machine_reads_one_row_for_each_outcome(runs: tuple[Path, Path], made_fit: Fit) -> None:
    from alliance.inference.leaving_out.leave_one_out import leave_one_out
    from alliance.inference.pointwise.replicates import explained_variance

    answer = alliance("loo", runs[0], "--format", "csv")
    assert (answer.code, answer.stderr) == (0, "")
    rows = csv_rows(answer.stdout)
    assert [row["outcome"] for row in rows] == ["function", "gpe"]
    assert {row["data"] for row in rows} == {"SIMULATED"}
    assert float(rows[1]["elpd"]) == pytest.approx(leave_one_out(made_fit["gpe"]).elpd)
    share = explained_variance(made_fit["gpe"]).table["mean"].tolist()
    assert [float(rows[1][name]) for name in ("r2", "r2_patient")] == pytest.approx(share)
    assert {row["pareto_k_verdict"] for row in rows} <= {"PASS", "REVIEW"}


def test_patients_are_named_by_position_alone(runs: tuple[Path, Path]) -> None:
    from made_draws import PATIENT_ID

    arguments = ("loo", runs[0], "--outcome", "gpe", "--pointwise")
    answer = alliance(*arguments, "--format", "json")
    rows = json.loads(answer.stdout)
    assert [row["patient"] for row in rows] == [str(k) for k in range(1, len(rows) + 1)]
    assert {row["method"] for row in rows} == {"psis"}
    for text in (answer.stdout, alliance(*arguments).stdout):
        assert PATIENT_ID not in text


def test_therapists_are_left_out_with_all_their_patients(runs: tuple[Path, Path]) -> None:
    arguments = ("loo", runs[0], "--by", "therapist", "--refits", "none")
    rows = csv_rows(alliance(*arguments, "--format", "csv").stdout)
    assert {row["by"] for row in rows} == {"therapist"}
    assert {row["units"] for row in rows} == {"5"}
    units = csv_rows(alliance(*arguments, "--pointwise", "--format", "csv").stdout)
    assert len(units) == 10
    shown = " ".join(alliance(*arguments).stdout.split())
    assert missing_from(shown, ("SIMULATED DATA", "Leave one therapist out", "Refitted")) == []


@pytest.mark.parametrize("width", [80, 140])
def test_a_person_reads_tables_that_fit(runs: tuple[Path, Path], width: int) -> None:
    for arguments in (("loo", runs[0]), ("loo", *runs)):
        answer = alliance(*arguments, width=width)
        assert answer.code == 0, answer.stderr
        assert "SIMULATED DATA" in answer.stdout
        assert max(len(line) for line in answer.stdout.splitlines()) <= width


def test_several_runs_are_compared(runs: tuple[Path, Path]) -> None:
    answer = alliance("loo", *runs, "--format", "json", "--outcome", "function")
    assert (answer.code, answer.stderr) == (0, "")
    best, other = json.loads(answer.stdout)
    assert {best["fit"], other["fit"]} == {"first", "second"}
    assert best["elpd_difference"] == 0
    assert other["elpd_difference"] == pytest.approx(other["elpd"] - best["elpd"])
    assert other["elpd_difference"] <= 0
    assert "fewer" not in other["words"]
    assert best["fit"] in other["words"]


def test_figures_are_written(runs: tuple[Path, Path], tmp_path: Path) -> None:
    for number, arguments in enumerate(
        (runs[:1], runs, (runs[0], "--by", "therapist", "--refits", "none"))
    ):
        file = tmp_path / f"{number}.svg"
        answer = alliance("loo", *arguments, "--outcome", "gpe", "--figure", file)
        assert answer.code == 0, answer.stderr
        assert "Written:" in answer.stderr
        assert file.read_text(encoding="utf-8").startswith("<?xml")


def test_what_is_wrong_is_told(runs: tuple[Path, Path], tmp_path: Path) -> None:
    cases = {
        ("loo", runs[0], "--outcome", "gpa"): ("no outcome 'gpa'", "gpe"),
        ("loo", tmp_path / "none"): ("none",),
        ("loo", runs[0], runs[0]): ("named twice",),
        ("loo", *runs, "--pointwise"): ("one run",),
        ("loo", runs[0], "--figure", "figure.txt"): ("figure's format", ".png"),
    }
    for arguments, told in cases.items():
        answer = alliance(*arguments)
        assert (answer.code, answer.stdout) == (2, "")
        assert missing_from(" ".join(answer.stderr.split()), told) == []
