"""Settings of the sampler: kept in the manifest, used again, and those that advice names exist."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from command_line import alliance
from made_draws import NoSampler

from alliance.cli.screen import as_options

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ("--draws", 400, "--tune", 500, "--target-accept", 0.95, "--max-treedepth", 8)


@pytest.mark.mcmc
def test_settings_are_kept_and_sampled_with_again(trial_files: Path, tmp_path: Path) -> None:
    """`reproduce` gives the same draws, which it could not with the profile's own settings."""
    run, own = tmp_path / "run", ("--profile", "ci", "--outcome", "pain")
    fitted = alliance("fit", "ferreira2013", trial_files, "--out", run, *own, *SETTINGS)
    assert fitted.code in (0, 3), fitted.stderr
    profile = json.loads((run / "manifest.json").read_text())["profile"]
    assert profile["name"] == "ci"
    assert (profile["chains"], profile["draws"], profile["tune"]) == (2, 400, 500)
    assert (profile["target_accept"], profile["max_treedepth"]) == (0.95, 8)
    again = alliance("reproduce", run)
    assert again.code == 0, again.stderr


@pytest.mark.parametrize(
    ("option", "value"), [("--target-accept", 1.5), ("--tune", 3), ("--max-treedepth", 0)]
)
def test_settings_out_of_range_are_refused_before_the_data_are_read(
    option: str, value: float, tmp_path: Path
) -> None:
    answer = alliance("fit", "ferreira2013", "absent.csv", "--out", tmp_path / "r", option, value)
    assert answer.code == 2
    assert "cannot be" in answer.said
    assert "absent.csv" not in answer.said


def test_advice_names_only_options_that_there_are() -> None:
    """Every option in a recommendation of the gate is one of `fit`, or of the command it names."""
    known = set()
    for command in (
        "fit",
        "summary",
        "diagnose",
        "sensitivity",
        "predict",
        "decide",
        "therapists",
        "loo",
        "assurance",
        "multiverse",
    ):
        known |= set(re.findall(r"--[a-z][a-z-]+", alliance(command, "--help").stdout))
    named = set()
    for path in sorted((ROOT / "diagnostics").rglob("*.py")):
        if "report" in path.parts:
            continue
        told = as_options(path.read_text(encoding="utf-8"))
        named |= set(re.findall(r"--[a-z][a-z-]+", told))
    assert {"--tune", "--target-accept", "--max-treedepth"} <= named
    assert named <= known, named - known


@pytest.mark.mcmc
def test_hints_can_be_typed(
    trial_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    NoSampler().install(monkeypatch)  # the draws do not matter here
    run = tmp_path / "pain & sleep's run"
    options = ("--out", run, "--profile", "ci", "--outcome", "pain")
    answer = alliance("fit", "ferreira2013", trial_files, *options)
    assert answer.code in (0, 3), answer.stderr
    hints = re.findall(r"`(alliance [^`]+)`", answer.stderr.replace("\n", " "))
    typed = [shlex.split(hint) for hint in hints if "run" in hint]
    assert len(typed) >= 2
    for words in typed:
        assert words[0] == "alliance"
        assert words[2] == str(run)
        assert alliance(*words[1:]).code in (0, 3)
