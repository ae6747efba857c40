"""Bad cells and columns of a trial's table: each is found, placed and given a remedy."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alliance.data_prep.covariates import coded, column_names
from alliance.data_prep.errors import DataError, Problem
from alliance.data_prep.study.description import Study
from alliance.data_prep.tables.cells import (
    canonical_code,
    natural_key,
    number_fault,
    parse_codes,
    parse_numbers,
)
from alliance.data_prep.trial.validation import validate

FILE = "trial.csv"


def a_study(**changes: Any) -> Study:
    description: dict[str, Any] = {
        "title": "A trial",
        "columns": {"patient": "id", "therapist": "therapist", "arm": "arm"},
        "arms": {"GE": "Exercise", "SMT": "Manipulation"},
        "moderator": {"label": "Working alliance", "column": "wai", "range": [16, 112]},
        "covariates": ("age", "sex"),
        "outcomes": {
            "function": {
                "label": "Function",
                "baseline": "psfs_0",
                "followup": "psfs_8",
                "range": [3, 30],
                "better": "higher",
            }
        },
    }
    return Study.model_validate(description | changes)


def a_table(**cells: dict[int, object]) -> pd.DataFrame:
    """Six patients in rows 2 to 7 as a text file has them; `wai={4: "999"}` changes row 4."""
    frame = pd.DataFrame(
        {
            "id": ["p1", "p2", "p3", "p4", "p5", "p6"],
            "therapist": ["1", "2", "1", "2", "1", "2"],
            "arm": ["GE", "GE", "SMT", "SMT", "GE", "SMT"],
            "wai": ["80", "90", "100", "95", "85", "70"],
            "age": ["30", "41.5", "52", "63", "37", "48"],
            "sex": ["F", "M", "F", "M", "F", "M"],
            "psfs_0": ["10", "11", "12", "13", "9", "8"],
            "psfs_8": ["20", "21", "22", "23", "19", "18"],
        },
        dtype=object,
        index=pd.RangeIndex(2, 8, name="row"),
    )
    for column, changes in cells.items():
        for row, value in changes.items():
            frame.loc[row, column] = value
    return frame


def problems_of(frame: pd.DataFrame, study: Study | None = None) -> tuple[Problem, ...]:
    with pytest.raises(DataError) as caught:
        validate(frame, study or a_study(), FILE)
    return caught.value.problems


CELL_FAULTS = [
    # id, column, row, value in the file, value in the message, words of the rule, of the remedy
    ("text", "wai", 3, "high", "high", "must be a number", "leave the cell empty"),
    ("text with digits", "psfs_8", 5, "20 points", "20 points", "must be a number", "Write a num"),
    ("nan as a word", "wai", 3, "nan", "nan", "must be a number", "leave the cell empty"),
    ("underscore", "wai", 3, "1_0", "1_0", "must be a number", "Write a number"),
    ("decimal comma", "psfs_0", 4, "12,5", "12,5", "decimal point", "Write 12.5."),
    ("thousands", "wai", 2, "1,234", "1,234", "thousands", "Write 1234, or 1.234 if"),
    ("thousands twice", "wai", 2, "1,234,567", "1,234,567", "thousands", "Write 1234567."),
    ("both marks", "wai", 2, "1.234,5", "1.234,5", "thousands", "Write 1234.5."),
    ("spaced thousands", "wai", 2, "12 345", "12 345", "thousands", "Write 12345."),
    ("typographic minus", "wai", 2, "\u22125", "\u22125", "a number", "Write -5 with a plain"),
    ("infinite", "wai", 6, "inf", "inf", "finite", "Correct the value"),
    ("overflow", "wai", 6, "1e400", "1e400", "finite", "Correct the value"),
    ("missing value of Stata", "age", 6, "8.99e+307", "8.99e+307", "1e100", "leave the cell empty"),
    ("native infinite", "wai", 6, float("inf"), "inf", "finite", "Correct the value"),
    ("date", "wai", 6, datetime.date(2020, 3, 1), "2020-03-01", "must be a number", "Write"),
    ("truth value", "wai", 6, True, "True", "must be a number", "Write a number"),
    ("list", "wai", 6, [1, 2], "[1, 2]", "must be a number", "Write a number"),
    ("above the range", "wai", 7, "113", "113", "from 16 to 112", "`range` in [moderator]"),
    ("below the range", "wai", 7, "15.9", "15.9", "from 16 to 112", "`range` in [moderator]"),
    ("follow-up range", "psfs_8", 7, "31", "31", "from 3 to 30", "[outcomes.function]"),
    ("baseline range", "psfs_0", 2, "999", "999", "from 3 to 30", "[outcomes.function]"),
    ("native out of range", "psfs_0", 2, 99.0, "99", "from 3 to 30", "[outcomes.function]"),
    ("unknown arm", "arm", 3, "GEE", "GEE", "not in the study file", "Did you mean 'GE'?"),
    ("no patient id", "id", 4, None, None, "no id", "Give every row the id"),
    ("blank patient id", "id", 4, "  ", "  ", "no id", "Give every row the id"),
    ("duplicate patient", "id", 6, "p2", None, "more than once", "Row 3 has the same patient"),
    ("text in a covariate", "age", 5, "old", "old", "must be a number", "leave the cell empty"),
    ("comma in a covariate", "age", 5, "6,5", "6,5", "decimal point", "Write 6.5."),
]


@pytest.mark.parametrize(
    ("column", "row", "cell", "value", "rule", "remedy"),
    [fault[1:] for fault in CELL_FAULTS],
    ids=[fault[0] for fault in CELL_FAULTS],
)
def test_a_wrong_cell_is_named_with_its_place_and_a_remedy(
    column: str, row: int, cell: object, value: str | None, rule: str, remedy: str
) -> None:
    frame = a_table()
    cells = frame[column].to_list()
    cells[row - 2] = cell
    frame[column] = pd.Series(cells, index=frame.index, dtype=object)
    (problem,) = problems_of(frame)
    assert (problem.file, problem.row, problem.column, problem.value) == (FILE, row, column, value)
    assert rule in problem.rule
    assert remedy in problem.remedy


def test_all_problems_come_at_once_in_the_order_of_rows_then_columns() -> None:
    frame = a_table(
        wai={7: "999", 3: "12,5"}, psfs_8={2: "x", 7: "31"}, arm={3: "??"}, id={5: "p1"}
    )
    places = [(problem.row, problem.column) for problem in problems_of(frame)]
    assert places == [
        (2, "psfs_8"),
        (3, "arm"),
        (3, "wai"),
        (5, "id"),
        (7, "wai"),
        (7, "psfs_8"),
    ]


def test_patient_ids_do_not_appear_in_the_message_about_a_duplicate() -> None:
    frame = a_table(id={2: "Smith-1961", 4: "Smith-1961", 7: "Smith-1961"})
    problems = problems_of(frame)
    assert [problem.row for problem in problems] == [4, 7]
    assert all("Row 2 " in problem.remedy for problem in problems)
    assert not any("Smith" in str(problem) for problem in problems)


def test_absent_columns_stop_before_cells_and_offer_the_nearest_names() -> None:
    frame = a_table(psfs_8={2: "x"}).rename(columns={"wai": "wai_total", "therapist": "provider"})
    problems = problems_of(
        frame, a_study(moderator={"label": "A", "column": "wai_totl", "range": [1, 9]})
    )
    assert [(problem.row, problem.column) for problem in problems] == [
        (None, "therapist"),
        (None, "wai_totl"),
    ]
    assert "Did you mean 'wai_total'?" in problems[1].remedy
    assert "'provider'" in problems[0].remedy


def test_a_column_that_is_there_twice_is_refused() -> None:
    frame = a_table()
    frame.columns = frame.columns.where(frame.columns != "sex", "wai")
    assert [(p.column, p.rule) for p in problems_of(frame, a_study(covariates=()))] == [
        ("wai", "2 columns bear this name")
    ]


def test_a_table_without_rows_is_refused() -> None:
    (problem,) = problems_of(a_table().iloc[:0])
    assert "no rows" in problem.rule


def test_arms_of_another_coding_are_one_problem_and_not_one_for_each_cell() -> None:
    frame = a_table()
    frame["arm"] = ["1", "2", "1", "2", "1", "2"]
    (problem,) = problems_of(frame)
    assert (problem.row, problem.column) == (None, "arm")
    assert "'GE', 'SMT'" in problem.rule
    assert "'1', '2'" in problem.rule


COVARIATE_FAULTS = [
    ("text", [f"name {i}" for i in range(21)] + ["name 0"], "21 different values"),
    ("one level", ["F"] * 22, "same value (F)"),
    ("one number", ["40"] * 22, "same value (40.0)"),
    ("empty", [None] * 22, "no value"),
]


@pytest.mark.parametrize(
    ("cells", "rule"),
    [fault[1:] for fault in COVARIATE_FAULTS],
    ids=[fault[0] for fault in COVARIATE_FAULTS],
)
def test_a_covariate_that_cannot_serve_is_refused(cells: list[str | None], rule: str) -> None:
    count = len(cells)
    frame = pd.DataFrame(
        {
            "id": range(count),
            "therapist": "1",
            "arm": ["GE", "SMT"] * (count // 2),
            "wai": 50,
            "psfs_0": 10,
            "psfs_8": 20,
            "extra": pd.Series(cells, dtype=object),
        }
    )
    (problem,) = problems_of(frame, a_study(covariates=("extra",)))
    assert (problem.row, problem.column) == (None, "extra")
    assert rule in problem.rule
    assert "`covariates`" in problem.remedy


def test_half_numbers_make_a_covariate_continuous_and_fewer_make_it_categorical() -> None:
    half = a_table(age={2: "a", 3: "b", 4: "c"})
    assert [problem.row for problem in problems_of(half)] == [2, 3, 4]
    fewer = validate(a_table(age={2: "a", 3: "b", 4: "c", 5: "d"}), a_study(), FILE)
    assert fewer["covariate:age"].to_list() == ["a", "b", "c", "d", "37", "48"]


def test_numbers_in_a_wrong_spelling_do_not_make_a_covariate_categorical() -> None:
    frame = a_table(age={row: f"{row},5" for row in range(2, 8)})
    assert {problem.remedy for problem in problems_of(frame)} == {
        f"Write {row}.5." for row in range(2, 8)
    }


def test_categories_become_indicators_of_all_levels_but_the_first() -> None:
    levels = np.array(["10", "2", None, "2", "x"], dtype=object)
    site = coded("site", levels)
    assert site.levels == ("2", "10", "x")
    assert column_names(site.columns) == ("site[10]", "site[x]")
    ten, x = site.encoded(levels).T
    np.testing.assert_array_equal(ten, [1, 0, np.nan, 0, 0])
    np.testing.assert_array_equal(x, [0, 0, np.nan, 0, 1])


def items_study(item_range: tuple[float, float]) -> Study:
    moderator = {
        "label": "Alliance",
        "items": ["psfs_0", "wai"],
        "item_range": item_range,
        "range": [0, 300],
    }
    outcomes = {
        "function": {"label": "F", "followup": "psfs_8", "range": [3, 30], "better": "higher"}
    }
    return a_study(moderator=moderator, outcomes=outcomes)


def test_items_must_lie_in_their_range_and_be_whole_where_its_ends_are() -> None:
    problems = problems_of(a_table(wai={3: "8.5", 6: "101"}), items_study((7, 100)))
    assert [(problem.row, problem.value) for problem in problems] == [(3, "8.5"), (6, "101")]
    assert "whole" in problems[0].rule
    assert "`item_range`" in problems[1].remedy
    validate(a_table(wai={3: "8.5"}), items_study((7.5, 100)), FILE)


def test_missing_values_are_allowed_wherever_the_flow_counts_them() -> None:
    empty = {3: None}
    typed = validate(
        a_table(
            therapist=empty, arm=empty, wai=empty, age=empty, sex=empty, psfs_0=empty, psfs_8=empty
        ),
        a_study(),
        FILE,
    )
    assert typed.loc[3].drop("patient").isna().all()
    assert typed.drop(index=3).notna().all(axis=None)


def test_text_and_native_types_give_the_same_typed_frame() -> None:
    text = a_table(wai={4: None}, therapist={5: None})
    native = text.assign(
        wai=pd.to_numeric(text["wai"]),
        age=pd.to_numeric(text["age"]).astype("Float64"),
        psfs_0=pd.to_numeric(text["psfs_0"]).astype("int8"),
        psfs_8=pd.to_numeric(text["psfs_8"]).astype("category"),
        therapist=pd.to_numeric(text["therapist"]),  # floats, because one is missing
        arm=text["arm"].astype("category"),
        sex=text["sex"].astype("string"),
    )
    pd.testing.assert_frame_equal(
        validate(native, a_study(), FILE), validate(text, a_study(), FILE)
    )


def test_a_frame_is_left_as_it_was() -> None:
    frame = a_table(wai={4: None})
    before = frame.copy(deep=True)
    validate(frame, a_study(), FILE)
    pd.testing.assert_frame_equal(frame, before)


def test_arms_in_another_spelling_of_the_same_number_are_recognised() -> None:
    frame = a_table()
    frame["arm"] = [1.0, 1.0, 0.0, None, 1.0, 0.0]
    typed = validate(frame, a_study(arms={"0": "Usual care", "1": "Acupuncture"}), FILE)
    assert typed["arm"].fillna("-").to_list() == ["1", "1", "0", "-", "1", "0"]


def test_one_column_in_two_outcomes_is_reported_once() -> None:
    outcome = {"label": "F", "baseline": "psfs_0", "range": [3, 30], "better": "higher"}
    outcomes = {"early": outcome | {"followup": "psfs_8"}, "late": outcome | {"followup": "age"}}
    study = a_study(covariates=(), outcomes=outcomes)
    frame = a_table(psfs_0={4: "x"}, age=dict.fromkeys(range(2, 8), "10"))
    assert [(problem.row, problem.column) for problem in problems_of(frame, study)] == [
        (4, "psfs_0")
    ]


def test_a_frame_without_row_numbers_is_numbered_by_position() -> None:
    frame = a_table(wai={4: "x"}).set_axis(list("abcdef"), axis="index")
    assert problems_of(frame)[0].row == 2


def test_a_bad_column_does_not_hide_other_problems_in_the_printed_message() -> None:
    count = 60
    frame = pd.DataFrame(
        {
            "id": range(count),
            "therapist": "1",
            "arm": ["GE", "SMT"] * (count // 2),
            "wai": 50,
            "psfs_0": 99,
            "psfs_8": [20] * (count - 1) + [31],
        }
    )
    with pytest.raises(DataError) as caught:
        validate(frame, a_study(covariates=()), FILE)
    error = caught.value
    assert len(error.problems) == count + 1
    assert len(error.table) == count + 1
    lines = str(error).strip().splitlines()
    assert len(lines) == 17  # the heading, 15 problems, and how many more there are
    assert "row 59, column 'psfs_8' (value '31')" in lines[15]
    assert lines[16].strip() == "... and 46 more"


@given(st.lists(st.floats(-1e100, 1e100), min_size=1))
def test_written_numbers_are_read_back_bit_by_bit(numbers: list[float]) -> None:
    for extra in ([], ["12,5"]):  # the quick way and, with a wrong cell, the thorough one
        values, wrong = parse_numbers(pd.Series([*map(repr, numbers), *extra], dtype=object))
        np.testing.assert_array_equal(values[: len(numbers)], numbers)
        assert int(wrong.sum()) == len(extra)


def test_numbers_of_every_type_are_read() -> None:
    cells = pd.Series(
        [1, 2.5, "3", " 4 ", Decimal("5.5"), None, pd.NA, "", np.int8(6)], dtype=object
    )
    values, wrong = parse_numbers(cells)
    np.testing.assert_array_equal(values, [1, 2.5, 3, 4, 5.5, np.nan, np.nan, np.nan, 6])
    assert not wrong.any()
    _, wrong = parse_numbers(pd.Series([10**400, 1], dtype=object))
    assert wrong.tolist() == [True, False]


@pytest.mark.parametrize("text", ["1'234", "1\u202f234", "1\u00a0234"])
def test_thousands_separators_of_other_countries_are_known(text: str) -> None:
    assert number_fault(text)[1] == "Write 1234."


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        (12.0, "12"),
        (np.float32(12), "12"),
        ("12.0", "12"),
        (" A ", "A"),
        ("006", "006"),
        (7, "7"),
        (1.5, "1.5"),
        ("1.10", "1.10"),
        ("v2.0", "v2.0"),
    ],
)
def test_codes_have_one_spelling(cell: object, code: str) -> None:
    assert canonical_code(cell) == code
    assert parse_codes(pd.Series([cell, None, " "], dtype=object)).tolist() == [code, None, None]


def test_natural_order_counts_the_numbers_in_names() -> None:
    names = ["10", "2", "T10", "T2", "T02", "a", "1b", "1a", ""]
    assert sorted(names, key=natural_key) == ["", "1a", "1b", "2", "10", "T02", "T2", "T10", "a"]
