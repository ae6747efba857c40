"""A small, sound trial for tests to spoil."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from alliance.data_prep.errors import DataError
from alliance.data_prep.study.description import Study
from alliance.data_prep.trial.trial import trial_from_frame

NAN = float("nan")


def a_study(**changes: Any) -> Study:
    function = {"label": "Function", "range": [0, 30], "better": "higher"}
    description: dict[str, Any] = {
        "title": "A trial",
        "columns": {"patient": "id", "therapist": "therapist", "arm": "arm"},
        "arms": {"SMT": "Manipulation", "GE": "Exercise"},
        "moderator": {"label": "Working alliance", "column": "wai", "range": [16, 112]},
        "outcomes": {
            "function": function | {"baseline": "psfs_0", "followup": "psfs_8"},
            "gpe": {"label": "Effect", "followup": "gpe_8", "range": [-5, 5], "better": "higher"},
        },
    }
    return Study.model_validate(description | changes)


def a_frame(count: int = 24, **columns: object) -> pd.DataFrame:
    """A sound trial of two arms and three therapists, crossed, with rows numbered from 2."""
    rng = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "id": [f"patient-{number}" for number in range(count)],
            "therapist": np.tile([10, 10, 2, 2, 1, 1], count)[:count],
            "arm": np.tile(["GE", "SMT"], count)[:count],
            "wai": rng.integers(40, 113, count).astype(float),
            "psfs_0": rng.integers(3, 20, count).astype(float),
            "psfs_8": rng.integers(3, 31, count).astype(float),
            "gpe_8": rng.integers(-5, 6, count).astype(float),
            "age": rng.integers(20, 80, count).astype(float),
            "sex": np.tile(["F", "M", "M"], count)[:count],
        },
        index=pd.RangeIndex(2, count + 2, name="row"),
    )
    return frame.assign(**columns)


def only(name: str) -> Study:
    """The study with one of its outcomes."""
    study = a_study()
    return study.model_copy(update={"outcomes": {name: study.outcomes[name]}})


def problem_of(frame: pd.DataFrame, study: Study) -> tuple[str | None, str, str]:
    """Column, rule and remedy of the one problem that stands against a trial."""
    with pytest.raises(DataError) as caught:
        trial_from_frame(study, frame, "trial.csv")
    (problem,) = caught.value.problems
    assert problem.file == "trial.csv"
    return problem.column, problem.rule, problem.remedy
