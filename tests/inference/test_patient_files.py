"""Patients from files: columns as in the study, and every fault told with its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from prediction_examples import example_fit

from alliance.data_prep.errors import DataError, InputError
from alliance.inference.answers.predictions import predict
from alliance.inference.patients.patient_files import patients_from_file, patients_from_frame
from alliance.inference.runs.fit import Fit


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "patient": ["A", "B", "C"],
            "therapist": ["T01", "T02", "T01"],
            "arm": ["SMT", "GE", "MCE"],
            "wai_total": ["80", "90", "100"],
            "psfs_0": ["10", "5", "12.5"],
            "age": ["40", "60", "50"],
            "sex": ["F", "M", "M"],
        }
    )


@pytest.fixture
def fit() -> Fit:
    return example_fit(covariates=("age", "sex"))


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".xlsx", ".parquet"])
def test_a_file_of_any_format_gives_its_patients(fit: Fit, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"patients{ending}"
    if ending == ".xlsx":
        table().to_excel(path, index=False)
    elif ending == ".parquet":
        table().to_parquet(path)
    else:
        table().to_csv(path, index=False, sep="," if ending == ".csv" else "\t")
    patients = patients_from_file(fit["function"], path)
    assert patients.names == ("A", "B", "C")
    assert patients.therapists == ("T01", "T02", "T01")
    assert patients.own_arm
    rows = patients.rows
    assert rows.arm_index.tolist() == [2, 0, 1]
    assert rows.moderator.tolist() == [80, 90, 100]
    assert rows.baseline is not None
    assert rows.baseline.tolist() == [10, 5, 12.5]
    assert rows.covariates.tolist() == [[40, 0], [60, 1], [50, 1]]
    predicted = predict(fit["function"], patients).table
    assert predicted["arm"].tolist() == ["SMT", "GE", "MCE"]
    assert predicted["therapist"].tolist() == ["T01", "T02", "T01"]


def test_arm_therapist_and_patient_need_not_be_there(fit: Fit) -> None:
    frame = table().drop(columns=["arm", "therapist", "patient"])
    patients = patients_from_frame(fit["function"], frame)
    assert (patients.own_arm, patients.therapists) == (False, None)
    assert patients.names == ("0", "1", "2")
    assert predict(fit["function"], patients).table["arm"].tolist() == 3 * ["GE", "MCE", "SMT"]
    # An outcome without baseline needs no column for it.
    assert patients_from_frame(fit["gpe"], frame.drop(columns="psfs_0")).rows.baseline is None


def test_every_column_that_is_missing_is_named_at_once(fit: Fit) -> None:
    frame = table().drop(columns=["psfs_0", "age"]).rename(columns={"wai_total": "wai_totl"})
    with pytest.raises(DataError) as refused:
        patients_from_frame(fit["function"], frame, source="p.csv")
    assert [problem.column for problem in refused.value.problems] == ["wai_total", "psfs_0", "age"]
    assert all(
        problem.rule == "the column is not in the file" for problem in refused.value.problems
    )
    assert "'wai_totl'" in refused.value.problems[0].remedy
    assert "wai_total, psfs_0, age, sex" in refused.value.problems[1].remedy


def test_every_cell_that_is_wrong_is_named_with_its_row(fit: Fit, tmp_path: Path) -> None:
    frame = table()
    frame.loc[0, "wai_total"] = "twenty"
    frame.loc[1, "wai_total"] = None
    frame.loc[2, "wai_total"] = "20"  # on the scale, and below every patient's
    frame.loc[0, "psfs_0"] = "31"
    frame.loc[1, "arm"] = "GEE"
    frame.loc[2, "arm"] = None
    frame.loc[0, "therapist"] = None
    frame.loc[1, "age"] = None
    frame.loc[2, "sex"] = None
    path = tmp_path / "patients.csv"
    frame.to_csv(path, index=False)
    with pytest.raises(DataError) as refused:
        patients_from_file(fit["function"], path)
    found = {(problem.column, problem.row): problem for problem in refused.value.problems}
    assert set(found) == {
        *(("wai_total", row) for row in (2, 3, 4)),
        ("psfs_0", 2),
        ("arm", 3),
        ("arm", 4),
        ("therapist", 2),
        ("age", 3),
        ("sex", 4),
    }
    assert found["wai_total", 2].value == "twenty"
    assert "a value in every cell" in found["wai_total", 3].rule
    assert "outside what was observed" in found["wai_total", 4].rule
    assert "must be from 3 to 30" in found["psfs_0", 2].rule
    assert "'GE'" in found["arm", 3].remedy
    assert {problem.file for problem in refused.value.problems} == {"patients.csv"}


def test_a_wrong_level_is_told_with_the_column(fit: Fit) -> None:
    frame = table()
    frame.loc[1, "sex"] = "m"
    with pytest.raises(DataError) as refused:
        patients_from_frame(fit["function"], frame)
    (problem,) = refused.value.problems
    assert (problem.row, problem.column, problem.value) == (1, "sex", "m")
    assert problem.rule == "The covariate sex has no level 'm'"
    assert problem.remedy == "Did you mean 'M'? Valid levels: 'F', 'M'."


def test_extrapolated_patients_are_marked_if_they_are_allowed(fit: Fit) -> None:
    frame = table()
    frame.loc[1, "wai_total"] = "20"
    patients = patients_from_frame(fit["function"], frame, extrapolate=True)
    assert patients.extrapolated.tolist() == [False, True, False]
    assert predict(fit["function"], patients).table["extrapolated"].tolist() == [
        False,
        True,
        False,
    ]


def test_a_named_alliance_needs_no_column(fit: Fit) -> None:
    frame = table().drop(columns="wai_total")
    patients = patients_from_frame(fit["function"], frame, alliance_named=True)
    assert len(np.unique(patients.rows.moderator)) == 1
    with pytest.raises(DataError, match="wai_total"):
        patients_from_frame(fit["function"], frame)


def test_unknown_therapists_are_new_ones_if_that_is_said(fit: Fit) -> None:
    frame = table().assign(therapist=["X", "Y", "X"])
    patients = patients_from_frame(fit["function"], frame)
    with pytest.raises(InputError, match="no therapist 'X'"):
        predict(fit["function"], patients)
    found = predict(fit["function"], patients, therapist="new").table
    assert found["therapist"].tolist() == ["new (X)", "new (Y)", "new (X)"]


def test_an_alliance_that_is_scored_from_items_is_scored_or_given_as_a_total(fit: Fit) -> None:
    items = tuple(f"wai_{k}" for k in range(1, 17))
    moderator = fit.study.moderator.model_copy(
        update={
            "column": None,
            "items": items,
            "reverse": ("wai_2",),
            "item_range": (1.0, 7.0),
            "max_missing": 1,
        }
    )
    study = fit.study.model_copy(update={"moderator": moderator})
    scored = Fit(study, fit.specs, fit.trees, fit.flow, fit.manifest)
    answers = {item: ["5", "6", "6"] for item in items}
    answers["wai_2"] = ["3", "2", "1"]  # reversed: 5, 6, 7
    answers["wai_1"] = ["5", None, "6"]  # prorated in the second patient
    frame = table().drop(columns="wai_total").assign(**answers)
    total = patients_from_frame(scored["function"], frame).rows.moderator
    assert total.tolist() == pytest.approx([80, 96, 97])
    frame.loc[1, "wai_3"] = None  # more than may be missing
    with pytest.raises(DataError, match="a value in every cell"):
        patients_from_frame(scored["function"], frame)
    frame.loc[0, "wai_3"] = "9"
    with pytest.raises(DataError, match="must be from 1 to 7"):
        patients_from_frame(scored["function"], frame)
    whole = table().rename(columns={"wai_total": "alliance"})
    assert patients_from_frame(scored["function"], whole).rows.moderator.tolist() == [80, 90, 100]
