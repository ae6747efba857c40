"""Clinics in a trial's data: nested or crossed, who is left out, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from alliance.data_prep.errors import DataError, InputError
from alliance.data_prep.registry.registry import require_moments
from alliance.data_prep.study.description import Study
from alliance.data_prep.trial.trial import Trial, trial_from_frame
from alliance.models.spec import specify


def a_study(**model: Any) -> Study:
    return Study.model_validate(
        {
            "title": "A trial in clinics",
            "columns": {"patient": "id", "therapist": "who", "clinic": "site", "arm": "arm"},
            "arms": {"A": "One", "B": "Two"},
            "moderator": {"label": "Alliance", "column": "wai", "range": [0, 100],
                          "reliability": 0.8},
            "outcomes": {
                name: {"label": name, "followup": name, "range": [0, 100], "better": "lower"}
                for name in ("y", "z")
            },
            "model": model,
        }
    )  # fmt: skip


def a_frame(rows: int = 48, clinics: int = 4) -> pd.DataFrame:
    random = np.random.default_rng(8)
    therapist = np.arange(rows) % 12
    return pd.DataFrame(
        {
            "id": [f"P{k}" for k in range(rows)],
            "who": [f"T{j}" for j in therapist],
            "site": [f"S{j % clinics}" for j in therapist],
            "arm": np.where(random.random(rows) < 0.5, "A", "B"),
            "wai": random.normal(50, 10, rows).round(),
            "y": random.normal(50, 10, rows).round(),
            "z": random.normal(50, 10, rows).round(),
        }
    )


def read(frame: pd.DataFrame, **model: Any) -> Trial:
    return trial_from_frame(a_study(**model), frame)


def test_nested_and_crossed_are_told_from_the_data() -> None:
    frame = a_frame()
    assert any("works in one of them: nested" in note for note in read(frame).notes)
    frame.loc[0, "site"] = "S3"  # therapist T0, of S0
    assert any("1 therapist works in several of them: crossed" in n for n in read(frame).notes)


def test_who_has_no_clinic_is_left_out_and_counted() -> None:
    frame = a_frame()
    frame.loc[[3, 7], "site"] = None
    trial = read(frame)
    assert trial.flow["without_clinic"].tolist() == [2, 2]
    assert trial.flow["analysed"].tolist() == [46, 46]
    assert "2 of 48 rows without clinic." in trial.notes
    left = read(frame, clinic="none")  # then nobody needs one
    assert left.flow["analysed"].tolist() == [48, 48]
    assert "clinic_index" not in left.data
    assert any("left out of the model" in note for note in left.notes)


def test_clinics_that_tell_nothing_are_problems_of_the_data() -> None:
    with pytest.raises(DataError, match="all analysed patients are of one clinic"):
        read(a_frame(clinics=1))
    with pytest.raises(DataError, match="clinics and therapists are one and the same"):
        read(a_frame(clinics=12))


@pytest.mark.parametrize(
    "model",
    [
        {"alliance": "within_between"},
        {"missing_alliance": "impute"},
        {"reliability": True},
        {"ceiling": True},
        {"joint": True},
    ],
)
def test_what_does_not_go_with_clinics_is_refused_with_the_line_to_write(
    model: dict[str, Any],
) -> None:
    with pytest.raises(ValidationError, match='clinic = "none"'):
        a_study(**model)
    a_study(clinic="none", **model)


def test_cross_products_of_many_files_have_no_clinics() -> None:
    with pytest.raises(InputError, match="Effects of clinics need the rows"):
        require_moments(a_study())
    require_moments(a_study(clinic="none"))


def test_the_setting_is_none_where_no_clinics_are_recorded() -> None:
    content = a_study().model_dump()
    content["columns"]["clinic"] = None
    assert {spec.clinic for spec in specify(Study.model_validate(content)).values()} == {"none"}
    assert {spec.clinic for spec in specify(a_study()).values()} == {"intercept"}
