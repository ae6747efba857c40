"""`alliance prior` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import alliance, csv_rows, missing_from, write_small_trial


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    write_small_trial(tmp_path)
    return tmp_path


def with_priors(folder: Path, text: str) -> Path:
    path = folder / "other.toml"
    study = (folder / "study.toml").read_text(encoding="utf-8")
    path.write_text(f"{study}\n[priors]\n{text}\n", encoding="utf-8")
    return path


def test_plausible_priors_are_told_and_exit_0(trial: Path) -> None:
    answer = alliance("prior", trial / "study.toml", trial / "trial.csv")
    assert answer.code == 0
    assert answer.stdout.count("priors plausible") == 2
    assert "What to do" not in answer.stdout
    expected = ["Too large", "Large enough", "moderator slope", "therapist SD", "2000 trials"]
    assert missing_from(answer.stdout, expected) == []


def test_absurd_priors_are_told_with_the_key_to_change_and_exit_0(trial: Path) -> None:
    study = with_priors(trial, "interaction = 5")
    answer = alliance("prior", study, trial / "trial.csv", "--outcome", "gpe")
    assert answer.code == 0  # a check that asks for a review refuses nothing
    text = " ".join(answer.stdout.split())
    assert "REVIEW prior effects" in text
    assert "Lower under [priors] of the study file: interaction = 5 (default 0.25)" in text


def test_settings_and_formats_reach_the_table(trial: Path) -> None:
    options = ("--outcome", "gpe", "--therapist", "none", "--no-interaction", "--draws", 200)
    files = (trial / "study.toml", trial / "trial.csv")
    rows = csv_rows(alliance("prior", *files, *options, "--format", "csv").stdout)
    assert {row["outcome"] for row in rows} == {"gpe"}
    quantities = {row["quantity"] for row in rows}
    assert quantities >= {"score", "score_sd", "moderator_slope", "arm_contrast"}
    assert quantities.isdisjoint({"interaction", "therapist_sd", "baseline_slope"})
    records = json.loads(alliance("prior", *files, *options, "--format", "json").stdout)
    assert [record["quantity"] for record in records] == [row["quantity"] for row in rows]
    assert records[0]["start"] is None  # nothing moves: missing, and still strict JSON


def test_the_seed_decides(trial: Path) -> None:
    files = (trial / "study.toml", trial / "trial.csv", "--format", "csv")
    first, again, other = (alliance("prior", *files, "--seed", seed).stdout for seed in (1, 1, 2))
    assert first == again != other


def test_the_figure_is_written(trial: Path) -> None:
    figure = trial / "priors.svg"
    answer = alliance("prior", trial / "study.toml", trial / "trial.csv", "--figure", figure)
    assert answer.code == 0
    assert f"Written: {figure}" in answer.stderr
    assert figure.read_bytes().startswith(b"<?xml")


def test_a_narrow_screen_drops_columns_and_says_so(trial: Path) -> None:
    answer = alliance("prior", trial / "study.toml", trial / "trial.csv", width=80)
    assert max(map(len, answer.stdout.splitlines())) <= 80
    assert "No room here for:" in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--outcome", "gep"), "Did you mean 'gpe'?"),
        (("--figure", "priors.txt"), "does not end in a figure's format"),
        (("--reliability",), "reliability"),
        (("--draws", 0), "--draws"),
    ],
)
def test_wrong_input_is_exit_2(trial: Path, arguments: tuple[object, ...], said: str) -> None:
    answer = alliance("prior", trial / "study.toml", trial / "trial.csv", *arguments)
    assert answer.code == 2
    assert said in answer.said
    assert answer.stdout == ""


def test_an_unknown_prior_is_exit_2(trial: Path) -> None:
    answer = alliance("prior", with_priors(trial, "arms = 1"), trial / "trial.csv")
    assert answer.code == 2
    assert "no prior 'arms'" in answer.said


def test_data_that_cannot_carry_the_model_are_exit_2(trial: Path) -> None:
    table = trial / "trial.csv"
    text = table.read_text(encoding="utf-8")
    table.write_text(text.replace(",T2,", ",T1,").replace(",T3,", ",T1,"), encoding="utf-8")
    answer = alliance("prior", trial / "study.toml", table)
    assert answer.code == 2
    assert "therapist" in answer.said
