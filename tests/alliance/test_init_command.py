"""The command `init`: from a data file to a study that `check` takes."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from command_line import alliance
from initial_files import FILES
from typer.testing import CliRunner

from alliance.cli import asking
from alliance.cli.app import app
from alliance.inference.published.published import read_published


@pytest.mark.parametrize("name", FILES)
def test_check_takes_the_study_at_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = FILES[name](tmp_path)
    answer = alliance("init", data.name, "--yes")
    assert answer.code == 0, answer.stderr
    assert "Analysed" in answer.stdout
    assert "Checking it, as `alliance check study.toml" in answer.stderr
    assert f"/{data.name}" in (tmp_path / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_what_is_not_decided_ends_with_2_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("trial.csv").write_text("a,b\n1,2\n2,3\n3,4\n", encoding="utf-8")
    answer = alliance("init", "trial.csv", "--yes")
    assert answer.code == 2
    assert "No column is named for the arms" in answer.stderr
    assert "Name it: --arm COLUMN" in answer.said
    assert "then: `alliance check study.toml trial.csv`" in answer.said
    assert "# NOT DECIDED" in Path("study.toml").read_text(encoding="utf-8")
    assert alliance("init", "trial.csv", "--yes").code == 2  # study.toml is there already
    assert "exists already" in alliance("init", "trial.csv", "--yes").stderr


def test_published_findings_can_be_filled_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alliance.data_prep.study.description import read_study

    monkeypatch.chdir(tmp_path)
    FILES["wide"](tmp_path)
    assert alliance("init", "trial.csv", "--yes", "--published").code == 0
    study = read_study("study.toml")
    assert read_published("published.toml", study) == ()  # until it is filled in
    text = Path("published.toml").read_text(encoding="utf-8")
    first = text[text.index("# [[finding]]") :].partition("\n\n")[0]
    filled = "\n".join(line.removeprefix("# ") for line in first.splitlines())
    for key, value in (("estimate", "2.9"), ("lower", "0.9"), ("upper", "4.8")):
        filled = filled.replace(f"{key} = ", f"{key} = {value}")
    Path("published.toml").write_text(filled, encoding="utf-8")
    [finding] = read_published("published.toml", study)
    assert (finding.outcome, finding.level, finding.estimate) == ("psfs_8w", "MCE-GE", 2.9)


def test_a_terminal_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong name gets a hint and another chance; an empty answer takes the guess."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(asking, "can_ask", lambda: True)
    FILES["wide"](tmp_path)
    answers = [
        "", "ram", "arm", "", "Motor control exercise",  # patient; arm, and its labels
        "", "", "84, 12", "12, 84",  # therapist; alliance, and its range
        "", "lower", "0, 30",  # baseline, direction and range of the first outcome
    ]  # fmt: skip
    typed = "\n".join(answers) + 20 * "\n"
    answer = CliRunner().invoke(app, ["init", "trial.csv"], input=typed)
    assert answer.exit_code == 0, answer.output
    assert "Which column holds the arms?" in answer.output
    assert "Did you mean 'arm'?" in answer.output
    study = tomllib.loads(Path("study.toml").read_text(encoding="utf-8"))
    assert study["columns"]["arm"] == "arm"
    assert study["arms"] == {"GE": "GE", "MCE": "Motor control exercise"}
    assert study["moderator"]["range"] == [12, 84]
    assert "the lower one first" in answer.output
    directions = [each["better"] for each in study["outcomes"].values()]
    assert directions == ["lower", "higher", "higher"]


def test_without_a_terminal_it_decides_alone_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    FILES["wide"](tmp_path)
    answer = alliance("init", "trial.csv")
    assert answer.code == 0
    assert "There is no terminal to ask on" in answer.stderr


def test_a_sheet_that_is_named_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    FILES["excel"](tmp_path)
    answer = alliance("init", "trial.xlsx#Codebook", "--yes")
    assert answer.code == 2
    assert "no sheet 'Dat'" in alliance("init", "trial.xlsx#Dat", "--yes").stderr


def test_simulate_says_what_it_writes(tmp_path: Path) -> None:
    answer = alliance("simulate", tmp_path / "trial.csv", "--patients", "60")
    assert answer.stderr.startswith("SIMULATED DATA")
    for name in ("study.toml", "simulation.toml"):
        first = (tmp_path / name).read_text(encoding="utf-8").partition("\n")[0]
        assert first.startswith("# ")
        assert "SIMULATED" in first
