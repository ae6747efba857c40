"""Lists of numbers as they are typed."""

from __future__ import annotations

import pytest

from alliance.cli.options.value_lists import MOST_VALUES, read_values
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
    assert read_values("--alliance", texts) == expected


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
    with pytest.raises(InputError, match=problem) as refused:
        read_values("--alliance", [text])
    assert f"--alliance {text}" in str(refused.value)
