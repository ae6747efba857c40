"""Questionnaire totals against sums done by hand, and the truths of reversing and prorating."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alliance.data_prep.errors import InputError
from alliance.data_prep.trial.items import score_items

NAN = float("nan")


def items_of(*rows: list[float]) -> pd.DataFrame:
    names = [f"wai_{number}" for number in range(1, len(rows[0]) + 1)]
    return pd.DataFrame(rows, columns=names, index=pd.RangeIndex(2, len(rows) + 2), dtype=float)


def test_totals_by_hand() -> None:
    items = items_of([1, 7, 4], [2, NAN, 4], [NAN, NAN, 4], [NAN, NAN, NAN], [7, 1, 7])
    total = score_items(items, reverse=["wai_2"], item_range=(1, 7), max_missing=1)
    # Row 2: 1 + (8 - 7) + 4; row 3: (2 + 4) / 2 * 3; row 6: 7 + (8 - 1) + 7.
    np.testing.assert_array_equal(total, [6, 9, NAN, NAN, 21])
    assert total.index.to_list() == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("count", [12, 16])
def test_forms_of_12_and_16_items_reach_their_published_ends(count: int) -> None:
    items = items_of([1.0] * count, [7.0] * count)
    total = score_items(items, reverse=[], item_range=(1, 7), max_missing=3)
    assert total.to_list() == [count, 7 * count]


@pytest.mark.parametrize("count", [12, 16])
def test_as_many_missing_as_allowed_are_prorated_and_one_more_is_not(count: int) -> None:
    allowed = [NAN] * 3 + [5.0] * (count - 3)
    too_many = [NAN] * 4 + [5.0] * (count - 4)
    items = items_of(allowed, too_many, [5.0] * count, [NAN] * count)
    total = score_items(items, reverse=[], item_range=(1, 7), max_missing=3)
    np.testing.assert_allclose(total, [5 * count, NAN, 5 * count, NAN], rtol=1e-15)


def test_reversing_comes_before_prorating() -> None:
    total = score_items(items_of([7, 7, NAN]), reverse=["wai_1"], item_range=(1, 7), max_missing=1)
    assert total.to_list() == [(1 + 7) / 2 * 3]


answers = st.one_of(st.just(NAN), st.integers(1, 7).map(float))


@given(
    value=st.integers(1, 7),
    missing=st.lists(st.booleans(), min_size=1, max_size=20).filter(lambda gaps: not all(gaps)),
)
def test_prorating_equal_answers_gives_the_total_without_gaps(
    value: int, missing: list[bool]
) -> None:
    items = items_of([NAN if gap else float(value) for gap in missing])
    total = score_items(items, reverse=[], item_range=(1, 7), max_missing=sum(missing))
    np.testing.assert_allclose(total, [value * len(missing)], rtol=1e-14)


@given(st.lists(st.lists(answers, min_size=5, max_size=5), min_size=1, max_size=6))
def test_reversing_twice_changes_nothing(rows: list[list[float]]) -> None:
    items = items_of(*rows)
    reverse = ["wai_2", "wai_5"]
    turned = items.assign(**{name: 8 - items[name] for name in reverse})
    twice = score_items(turned, reverse=reverse, item_range=(1, 7), max_missing=2)
    never = score_items(items, reverse=[], item_range=(1, 7), max_missing=2)
    pd.testing.assert_series_equal(twice, never)


@given(st.lists(st.lists(answers, min_size=4, max_size=4), min_size=1, max_size=6))
def test_reversing_all_items_mirrors_the_total(rows: list[list[float]]) -> None:
    items = items_of(*rows)
    plain = score_items(items, reverse=[], item_range=(1, 7), max_missing=2)
    mirrored = score_items(items, reverse=list(items.columns), item_range=(1, 7), max_missing=2)
    np.testing.assert_allclose(mirrored, 4 * (1 + 7) - plain, rtol=1e-14)


def test_items_are_left_as_they_were() -> None:
    items = items_of([1, NAN, 3])
    before = items.copy(deep=True)
    score_items(items, reverse=["wai_1"], item_range=(1, 7), max_missing=1)
    pd.testing.assert_frame_equal(items, before)


def test_an_answer_outside_the_range_is_named() -> None:
    with pytest.raises(InputError, match=r"Row 3, column 'wai_2'.* 8 .*1 to 7"):
        score_items(items_of([1, 1], [1, 8]), reverse=[], item_range=(1, 7), max_missing=0)


def test_an_unknown_reversed_item_is_named_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"'wai_22'.*Did you mean 'wai_2'"):
        score_items(items_of([1, 1]), reverse=["wai_22"], item_range=(1, 7), max_missing=0)


@pytest.mark.parametrize("max_missing", [-1, 2, 3])
def test_a_total_needs_one_answer_at_least(max_missing: int) -> None:
    with pytest.raises(InputError, match="from 0 to 1"):
        score_items(items_of([1, 1]), reverse=[], item_range=(1, 7), max_missing=max_missing)
