"""One rule for seeds: the run's, by a named stream, whether Python asks or the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from command_line import alliance

if TYPE_CHECKING:  # PyMC is not loaded for tests that do without it
    import pandas as pd

    from alliance.inference.posterior import Posterior
    from alliance.inference.runs.fit import Fit

ALLIANCE = 80.0


@pytest.fixture(scope="module")
def run(made_fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two outcomes with made-up draws and the seed 3. Do not change it."""
    from alliance.inference.runs.run_folder import save_fit

    path = tmp_path_factory.mktemp("seeds") / "run"
    save_fit(made_fit, path)
    return path


def _effects(posterior: Posterior, **seed: int) -> pd.DataFrame:
    from alliance.inference.answers.effects import effects_along, effects_table

    answer = effects_along(posterior, values=[ALLIANCE], therapist="new", **seed)
    return effects_table(answer, every=False)


def _decisions(posterior: Posterior, **seed: int) -> pd.DataFrame:
    from alliance.inference.answers.decisions import decisions
    from alliance.inference.scores.thresholds import Thresholds

    return decisions(posterior, Thresholds(reach=20.0), **seed).table


def _predictions(posterior: Posterior, **seed: int) -> pd.DataFrame:
    from alliance.inference.answers.predictions import predict
    from alliance.inference.patients.asked_patients import patient_grid

    return predict(posterior, patient_grid(posterior, alliance=[ALLIANCE]), **seed).table


QUESTIONS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "effects": (_effects, ("--alliance", "80", "--therapist", "new")),
    "decide": (_decisions, ("--reach", "20")),
    "predict": (_predictions, ("--alliance", "80")),
}


@pytest.mark.parametrize("command", QUESTIONS)
def test_python_and_the_command_line_give_the_same_digits(
    command: str, run: Path, made_fit: Fit
) -> None:
    ask, options = QUESTIONS[command]
    found = {}
    for name, given, seed in (
        ("default", (), {}),
        ("the run's", ("--seed", "3"), {"seed": 3}),
        ("another", ("--seed", "4"), {"seed": 4}),
    ):
        asked = (command, run, "--outcome", "function", *options, *given, "--format", "json")
        answer = alliance(*asked)
        assert answer.code == 0, answer.stderr
        table = ask(made_fit["function"], **seed)
        rows = json.loads(answer.stdout)
        assert len(rows) == len(table)
        for column in ("lower", "upper") if command != "predict" else ("outcome_lower", "expected"):
            told = [np.nan if row[column] is None else row[column] for row in rows]
            np.testing.assert_array_equal(told, table[column].to_numpy(float))
        found[name] = table.select_dtypes("number").to_numpy()
    np.testing.assert_array_equal(found["default"], found["the run's"])
    assert not np.array_equal(found["default"], found["another"], equal_nan=True)


def test_one_new_therapist_is_asked_about_everywhere(made_fit: Fit) -> None:
    """A Gaussian outcome's mean over the patients is that of the patient at their means."""
    posterior = made_fit["function"]
    assert posterior.design.family.name == "gaussian"
    curve, patient = _effects(posterior), _predictions(posterior)
    scores = curve[curve["quantity"] == "expected_score"]
    np.testing.assert_allclose(scores["mean"], patient["expected"], rtol=1e-10)
    np.testing.assert_allclose(scores["sd"], patient["expected_sd"], rtol=1e-8)


def test_where_there_is_no_run_python_starts_where_the_command_line_does() -> None:
    from alliance.cli.options import DEFAULT_SEED
    from alliance.inference.sampling import profiles

    assert DEFAULT_SEED == profiles.DEFAULT_SEED
