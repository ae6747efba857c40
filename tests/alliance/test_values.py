"""Values as they are typed on the command line."""

from __future__ import annotations

import pytest
import typer

from alliance.cli.options import (
    MOST_VALUES,
    by_outcome_and_arm,
    counts,
    covariates,
    numbers,
    shift,
    together,
)
from alliance.data_prep.errors import InputError


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], ()),
        (["40"], (40,)),
        (["40,50.5"], (40, 50.5)),
        (["80", "60:70:5", "80"], (60, 65, 70, 80)),
        (["-1:1:1"], (-1, 0, 1)),
        (["5:5:1"], (5,)),
        (["60:69:5"], (60, 65)),
        # 0.1 is no exact number in binary: the end must not be lost to rounding.
        (["0:0.3:0.1"], pytest.approx((0, 0.1, 0.2, 0.3))),
    ],
)
def test_lists_are_read(texts: list[str], expected: tuple[float, ...]) -> None:
    assert together(map(numbers, texts)) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x", "'x' is not a number"),
        ("", "'' is not a number"),
        ("40,,50", "'' is not a number"),
        ("nan", "'nan' is not a number"),
        ("1:inf:1", "'inf' is not a number"),
        ("60:70", "is not a list of values"),
        ("60:70:5:1", "is not a list of values"),
        ("70:60:5", "the grid is empty"),
        ("60:70:0", "the grid is empty"),
        ("60:70:-5", "the grid is empty"),
        (f"1:{MOST_VALUES + 1}:1", f"stands for {MOST_VALUES + 1} values"),
    ],
)
def test_what_is_no_list_is_refused(text: str, problem: str) -> None:
    with pytest.raises(typer.BadParameter, match=problem) as refused:
        numbers(text)
    assert str(refused.value.message).startswith(text) or text in ("x", "", "nan")


@pytest.mark.parametrize("text", ["0", "-3", "2.5", "10,0", "x"])
def test_numbers_of_people_are_whole_and_above_zero(text: str) -> None:
    assert counts("100:300:100") == (100, 200, 300)
    with pytest.raises(typer.BadParameter):
        counts(text)


def test_a_covariates_list_is_refused_with_its_option() -> None:
    with pytest.raises(InputError, match="--covariate age=40:50 is not a list of values"):
        covariates(["age=40:50"], {"age": None})


def test_shifts_as_text() -> None:
    texts = ["function:GE=-2", "gpe:GE=1e-1", "function:SMT= 1.5"]
    read = by_outcome_and_arm(map(shift, texts))
    assert read == {"function": {"GE": -2.0, "SMT": 1.5}, "gpe": {"GE": 0.1}}
    # Codes of arms are the user's own, and may look like anything.
    texts = ["pain:0=1", "pain:a:b=c=-1"]
    assert by_outcome_and_arm(map(shift, texts)) == {"pain": {"0": 1.0, "a:b=c": -1.0}}


WRONG_TEXTS = {
    "": "does not name",
    "function": "does not name",
    "function:GE": "does not name",
    "function=2": "does not name",
    ":GE=2": "does not name",
    "function:=2": "does not name",
    "GE=2:function": "does not name",
    "function:GE=": "'' is not a number",
    "function:GE=two": "'two' is not a number",
    "function:GE=1,5": "'1,5' is not a number",
    "function:GE=nan": "not a finite number",
    "function:GE=-inf": "not a finite number",
    "function:GE=1e999": "not a finite number",
}


@pytest.mark.parametrize(("text", "said"), WRONG_TEXTS.items(), ids=WRONG_TEXTS.keys())
def test_texts_that_are_no_shifts_are_refused(text: str, said: str) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        shift(text)
    for words in (repr(text), said, "OUTCOME:ARM=SHIFT"):
        assert words in refused.value.message


def test_an_arm_has_one_shift() -> None:
    with pytest.raises(InputError, match="The arm 'GE' of the outcome 'gpe' is given two shifts"):
        by_outcome_and_arm(map(shift, ["gpe:GE=1", "function:GE=1", "gpe:GE=1"]))
