"""`alliance fit --trials` and `alliance trials`: what people and machines read, and refusals."""

from __future__ import annotations

import io
from pathlib import Path

import docx
import pandas as pd
import pytest
from command_line import alliance
from trials_together import made_trials, written

import alliance as al
from alliance.diagnostics.report import word


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four trials with the run of them."""
    place = tmp_path_factory.mktemp("trials")
    written(made_trials(4, 21, therapists=4, patients=20), place / "data")
    answer = alliance(
        "fit", place / "data" / "study.toml", place / "data", "--several-trials", "varying",
        "--engine", "instant", "--profile", "ci", "--out", place / "run",
    )  # fmt: skip
    assert answer.code == 0, answer.stderr
    assert "alliance trials" in answer.said
    return place


def test_a_machine_reads_every_trial_and_each_left_out(folder: Path) -> None:
    answer = alliance(
        "trials", folder / "run", "--quantity", "interaction", "--leave-one-out", "--format", "csv"
    )
    assert answer.code == 0, answer.stderr
    table = pd.read_csv(io.StringIO(answer.stdout))
    own = table[table["quantity"] == "interaction"]
    assert set(own["trial"]) == {"average", "new", "trial1", "trial2", "trial3", "trial4"}
    assert own["left_out"].dropna().tolist() == ["trial1", "trial2", "trial3", "trial4"]
    assert {"trial_arm_sd", "trial_slope_sd", "trial_interaction_sd"} < set(table["quantity"])
    assert own.loc[own["trial"] == "trial1", "patients"].item() == 80
    same = al.load(folder / "run").trials(quantity="interaction", leave_one_out=True).table
    assert same["mean"].to_numpy() == pytest.approx(table["mean"].to_numpy())


def test_a_narrow_screen_shows_trials_with_their_intervals(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    figure = tmp_path / "forest.png"
    answer = alliance("trials", folder / "run", "--figure", figure)
    assert answer.code == 0, answer.stderr
    for words in ("average trial", "a new trial", "trial4", "95% interval", "interaction across"):
        assert words in answer.stdout
    assert figure.stat().st_size > 10_000


def test_the_summary_says_of_which_trial_it_is(folder: Path) -> None:
    shown = alliance("summary", folder / "run")
    assert "Of an average trial" in shown.stdout
    assert "residual SD: one for each trial" in " ".join(shown.stdout.split())
    told = alliance("summary", folder / "run", "--format", "csv").stdout
    assert pd.read_csv(io.StringIO(told))["trial"].nunique() == 6


def test_the_report_tells_of_the_trials_and_of_what_it_lacks(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its paper kit, which has the trials in its supplement."""
    for name in ("DPI", "SUPPLEMENT_DPI"):
        monkeypatch.setattr(word, name, 30)  # drawn coarsely, which takes less time
    answer = alliance("report", folder / "run", "--word", tmp_path / "paper.docx")
    assert answer.code == 0, answer.stderr
    document = docx.Document(str(tmp_path / "paper.docx"))
    heads = [p.text for p in document.paragraphs if p.style.name.startswith("Heading")]
    assert heads[:5] == ["Question", "Methods", "Patients", "Results", "Limitations"]
    assert "Several trials" in heads
    cells = {cell.text for table in document.tables for cell in table.columns[2].cells}
    assert {"trial1", "trial4", "average trial", "a new trial"} <= cells
    page = (folder / "run" / "report.html").read_text(encoding="utf-8")
    told = " ".join(page.split())
    for words in (
        "every trial, the average and a new one",
        "We analysed 4 trials together",
        "All trials were analysed in one model",
        "the interaction across trials",
        "two thirds of the slope",
        "Along the alliance the predictor is a straight line.",  # of the limitations
        "Not available: OLS and REML are refits of one trial",
    ):
        assert words in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("compare", "run"), "OLS and REML are refits of one trial"),
        (("predict", "run", "--at-least", "40"), "holds no patients' rows"),
        (("decide", "run", "--reach", "40"), "holds no patients' rows"),
        (("effects", "run", "--trial", "trail1"), "Did you mean 'trial1'"),
        (("trials", "run", "--quantity", "residual_sd"), "Trials share no 'residual_sd'"),
        (("trials", "run", "--outcome", "pian"), "Did you mean 'pain'"),
    ],
)
def test_what_is_refused(words: tuple[str, ...], said: str, folder: Path) -> None:
    answer = alliance(words[0], folder / words[1], *words[2:])
    assert answer.code == 2
    assert said in answer.said


def test_questions_are_asked_of_one_trial_or_a_new_one(folder: Path) -> None:
    """Intervals of a contrast: of a new trial wider than of the average one."""
    wide = {}
    for trial in ("average", "new", "trial2"):
        answer = alliance(
            "decide", folder / "run", "--threshold", "1", "--trial", trial, "--format", "csv"
        )
        assert answer.code == 0, answer.stderr
        assert f"trial: {trial}" in answer.said
        row = pd.read_csv(io.StringIO(answer.stdout)).iloc[0]
        wide[trial] = row["upper"] - row["lower"]
    assert wide["new"] > wide["average"]
    effects = alliance("effects", folder / "run", "--trial", "new")
    assert effects.code == 0, effects.stderr
    assert "holds no patients' rows" in effects.stdout
    scores = alliance("predict", folder / "run", "--trial", "trial3", "--contrasts")
    assert scores.code == 0, scores.stderr
    assert alliance("therapists", folder / "run").code == 0


def test_a_run_of_one_trial_has_no_trials(folder: Path, tmp_path: Path) -> None:
    data = folder / "data"
    answer = alliance(
        "fit", data / "study.toml", data / "trial1.csv", "--several-trials", "fixed",
        "--engine", "instant", "--profile", "ci", "--out", tmp_path / "one",
    )  # fmt: skip
    assert answer.code == 0, answer.stderr
    assert "nothing can vary between trials" in answer.said
    refused = alliance("trials", tmp_path / "one")
    assert refused.code == 2
    assert "was fitted as one trial" in refused.said
