"""Digits by the interval: two of its spread in any unit, and nothing as zero that is not."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest

from alliance.inference import digits
from alliance.inference.digits import decimals, figures, interval_decimals, number, shared_decimals


def test_the_examples_of_the_docstrings_hold() -> None:
    found = doctest.testmod(digits)
    assert found.attempted >= 7
    assert found.failed == 0


@pytest.mark.parametrize("exponent", range(-12, 13))
def test_a_number_is_read_back_to_a_twentieth_of_its_spread(exponent: int) -> None:
    """Two digits of a spread from 10 to 99 of some unit leave half a unit: .05 of it at most."""
    random = np.random.default_rng(exponent + 20)
    for _ in range(50):
        spread = 10.0**exponent * random.uniform(1, 10)
        value = spread * random.normal(0, 5)
        read = float(number(value, decimals(spread)))
        assert abs(read - value) <= 0.05 * spread * 1.0001
        assert len(number(value, decimals(spread))) <= 14


def test_limits_of_an_interval_are_never_both_zero() -> None:
    for width in 10.0 ** np.arange(-12, 6):
        shown = number(width, interval_decimals(0.0, width))
        assert float(shown) == pytest.approx(width, rel=0.05)


def test_missing_and_infinite_numbers() -> None:
    assert number(math.nan, 2) == ""
    assert number(-math.inf, 2) == "-infinite"
    assert figures(math.nan) == ""
    assert decimals(math.nan) == decimals(math.inf) == 2
    assert shared_decimals([]) == shared_decimals([0.0, math.nan]) == 2


def test_numbers_below_one_another_share_decimals_as_far_as_one_digit_is_left() -> None:
    assert shared_decimals([0.9, 3.0, 1.1]) == 1
    assert shared_decimals([12.0, 0.5]) == 1
    assert shared_decimals([12.0, 0.005]) == 3
