"""The tutorial runs as it stands, and prints what it says."""

from __future__ import annotations

import re
import shlex
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from command_line import alliance

if TYPE_CHECKING:  # PyMC is not loaded for tests that do without it
    from alliance.inference.runs.fit import Fit

TUTORIAL = Path(__file__).resolve().parents[2] / "docs" / "tutorials" / "first_questions.md"
NUMBER = re.compile(r"-?\d+\.\d+")


def block(language: str) -> str:
    """The tutorial's one block in this language."""
    found = re.findall(
        rf"^```{language}\n(.*?)^```$", TUTORIAL.read_text(encoding="utf-8"), re.M | re.S
    )
    (text,) = found
    return str(text)


def followed(fit: Fit, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the code prints where a run of this fit lies at the demo's place."""
    from alliance.inference.runs.run_folder import save_fit

    save_fit(fit, folder / "alliance-demo" / "run")
    monkeypatch.chdir(folder)
    printed = StringIO()
    with redirect_stdout(printed):
        exec(compile(block("python"), str(TUTORIAL), "exec"), {})
    return printed.getvalue()


def shapes(text: str) -> list[str]:
    """Lines without their numbers, columns one blank apart."""
    return [" ".join(NUMBER.sub("#", line).split()) for line in text.strip().splitlines()]


def test_the_tutorial_runs_and_prints_tables_of_the_form_it_shows(
    made_fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = followed(made_fit, tmp_path, monkeypatch)
    assert shapes(printed) == shapes(block("text"))
    assert (tmp_path / "mce_minus_ge.png").read_bytes().startswith(b"\x89PNG")


def test_the_tutorial_is_short() -> None:
    lines = [line for line in block("python").splitlines() if line.strip()]
    assert len(lines) < 30  # so few lines lead from a run to a figure


def test_the_tutorials_commands_run(
    made_fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alliance.inference.runs.run_folder import save_fit

    save_fit(made_fit, tmp_path / "alliance-demo" / "run")
    monkeypatch.chdir(tmp_path)
    commands = [shlex.split(line) for line in block("sh").splitlines()]
    assert [words[:3] for words in commands] == [
        ["uv", "run", "alliance"] for _ in ("predict", "effects", "decide")
    ]
    for words in commands:
        answer = alliance(*words[3:])
        assert answer.code == 0, answer.stderr
        assert "SIMULATED" in answer.stdout
    assert (tmp_path / "mce_minus_ge.png").is_file()


@pytest.mark.mcmc
def test_the_tutorial_prints_the_numbers_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo's own trial and draws; `alliance demo` fits with this profile and this seed."""
    from alliance.cli.options import DEFAULT_SEED
    from alliance.data_prep.simulator.simulation import simulate_trial
    from alliance.data_prep.trial.trial import trial_from_frame
    from alliance.inference.runs.fitting import fit_trial
    from alliance.inference.sampling.profiles import find_profile

    made = simulate_trial(seed=DEFAULT_SEED)
    trial = trial_from_frame(made.study, made.frame)
    fit = fit_trial(trial, find_profile("standard"), seed=DEFAULT_SEED)
    printed = followed(fit, tmp_path, monkeypatch)
    shown = [float(number) for number in NUMBER.findall(block("text"))]
    found = [float(number) for number in NUMBER.findall(printed)]
    # Draws are the same where the processor rounds alike. Elsewhere, ends of intervals of single
    # outcomes (SD 6) have the largest Monte Carlo error: 6 x 2.7 / sqrt(4000) = 0.25; thrice that.
    assert len(found) == len(shown)
    np.testing.assert_allclose(found, shown, atol=0.75)
