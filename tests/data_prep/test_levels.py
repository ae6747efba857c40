"""Names of levels: every key has one of its own, and it is found again by it."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from alliance.data_prep.covariates import CovariateColumn, column_names
from alliance.data_prep.errors import InputError
from alliance.data_prep.levels import (
    RESERVED,
    contrast_names,
    contrast_words,
    find_arm,
    find_contrast,
    labelled_levels,
    names_among,
    slope_names,
)

PIECES = ("A", "B", "-", '"', "[", "]", "=", ":", ",", " minus ", "é", "待", "average", "\\")


def codes_at_random(seed: int, number: int) -> tuple[str, ...]:
    """Distinct codes of up to four pieces that mean something to a name."""
    random = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < number:
        found["".join(random.choice(PIECES, random.integers(1, 5))).strip() or "A"] = None
    return tuple(found)


@pytest.mark.parametrize("seed", range(200))
def test_no_two_contrasts_share_a_name_and_each_is_found_by_its_own(seed: int) -> None:
    codes = codes_at_random(seed, 4)
    names = contrast_names(codes)
    assert set(names) == set(permutations(range(4), 2))
    assert len(set(names.values())) == 12
    assert len(set(contrast_words(codes).values())) == 12
    for pair, name in names.items():
        assert find_contrast(codes, name) == pair


@pytest.mark.parametrize("seed", range(200))
def test_no_arm_has_the_name_of_the_pooled_slope_or_of_another(seed: int) -> None:
    codes = (*codes_at_random(seed, 3), *("average", '"average"', "within")[: seed % 4])
    codes = tuple(dict.fromkeys(codes))
    assert len({*slope_names(codes), *RESERVED}) == len(codes) + 3


@pytest.mark.parametrize("seed", range(200))
def test_no_two_columns_of_covariates_share_a_name(seed: int) -> None:
    names = codes_at_random(seed, 3)
    columns = [CovariateColumn(name) for name in names[:2]]
    columns += [CovariateColumn(names[2], level) for level in codes_at_random(seed + 1, 3)]
    columns += [CovariateColumn(f"{names[2]}[{columns[2].level}]")]  # looks like the level
    columns = list(dict.fromkeys(columns))
    assert len(set(column_names(columns))) == len(columns)


def test_names_are_plain_where_nothing_looks_alike() -> None:
    assert contrast_names(("GE", "MCE"))[1, 0] == "MCE-GE"
    assert slope_names(("GE", "MCE")) == ("GE", "MCE")
    assert names_among(("GE", "MCE", "SMT"), [0, 2]) == {(1, 0): "SMT-GE", (0, 1): "GE-SMT"}


def test_a_name_that_could_be_two_contrasts_is_refused_with_both() -> None:
    codes = ("C", "B-C", "A", "A-B")
    with pytest.raises(InputError) as refused:
        find_contrast(codes, "A-B-C")
    assert refused.value.problem == ("""The contrast 'A-B-C' could be "A-B"-"C" or "A"-"B-C".""")
    assert find_contrast(codes, '"A-B"-C') == (3, 0)
    assert find_contrast(codes, 'A-"B-C"') == (2, 1)
    assert find_contrast(codes, "C-B-C") == (0, 1)
    with pytest.raises(InputError, match="There is no contrast 'A-D'"):
        find_contrast(codes, "A-D")


def test_a_contrast_is_not_called_what_an_arm_is_called() -> None:
    """In the table of shares arms and contrasts stand in one column."""
    assert contrast_names(("A", "B", "B-A"))[1, 0] == '"B"-"A"'


ARMS = {"GE": "General exercise", "MCE": "Motor control exercise", "SMT": "Manipulation"}


@pytest.mark.parametrize(
    "named",
    [
        "MCE-GE",
        '"MCE"-GE',
        "MCE minus GE",
        "Motor control exercise-General exercise",
        "Motor control exercise minus General exercise",
        "MCE-General exercise",
    ],
)
def test_a_contrast_is_named_by_codes_or_labels(named: str) -> None:
    assert find_contrast(tuple(ARMS), named, labels=ARMS) == (1, 0)
    with pytest.raises(InputError, match="no contrast"):
        find_contrast(tuple(ARMS), "Motor control exercise-Nothing", labels=ARMS)


def test_an_arm_is_named_by_its_code_or_its_label() -> None:
    assert [find_arm(ARMS, name) for name in ("MCE", "Manipulation", "mce")] == ["MCE", "SMT", None]
    swapped = {"A": "B", "B": "A"}  # a code goes before a label
    assert [find_arm(swapped, name) for name in "AB"] == ["A", "B"]
    with pytest.raises(InputError, match="The arms x and y are labelled 'drug'"):
        find_arm({"x": "drug", "y": "drug"}, "drug")


def test_labels_of_levels_are_found_by_the_names_in_tables() -> None:
    found = labelled_levels({"average": "Usual care", "A-B": "Both", "C": "Care"})
    assert found['"average"'] == "Usual care"  # the level `average` is no arm
    assert found["C-A-B"] == "Care minus Both"
