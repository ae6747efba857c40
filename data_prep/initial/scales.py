"""The range of a score, by its instrument, by labels, or by the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from alliance.data_prep.initial import names
from alliance.data_prep.initial.columns import Column
from alliance.data_prep.initial.names import rank

FEW_STEPS = 12  # a scale of so few whole numbers begins where its answers do
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Guess[Value]:
    """A value, and why it is thought to be right."""

    value: Value
    why: str


def is_number(text: str) -> bool:
    """Whether a text is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def range_of(columns: Sequence[Column], stem: str) -> Guess[tuple[float, float]]:
    """Range of a score: its instrument's, that of its labels, or the data's, rounded outwards.

    Parameters
    ----------
    columns : sequence of Column
        The score at all times.
    stem : str
        What it is called.
    """
    columns = [each for each in columns if len(each.finite)]
    if not columns:
        return Guess((0, 1), "two values")
    low = min(float(each.finite.min()) for each in columns)
    high = max(float(each.finite.max()) for each in columns)
    for name, (least, most, source) in names.INSTRUMENTS.items():
        fits = rank(stem, (name,)) is not None and low >= least and high <= most
        if fits and all(each.whole for each in columns):
            return Guess((least, most), source)
    coded = [float(code) for each in columns for code in each.labels if is_number(code)]
    if len(coded) > 1 and min(coded) <= low and max(coded) >= high:
        return Guess((min(coded), max(coded)), "by the labels of its values")
    if all(each.whole for each in columns) and high - low <= FEW_STEPS and low >= 0:
        return Guess((min(low, 1.0) if low > 1 else low, high), ROUNDED)
    top = rounded_up(high)
    bottom = 0.0 if low >= 0 else -rounded_up(-low)
    return Guess((bottom, top if top > bottom else bottom + 1), ROUNDED)


ROUNDED = "rounded outwards from the data: write the limits of the scale"


def rounded_up(number: float) -> float:
    """Return the next number upwards that is round.

    Examples
    --------
    >>> rounded_up(94.75), rounded_up(52), rounded_up(0.13)
    (100.0, 60.0, 0.15)
    """
    if number <= 0:
        return 0.0
    size = 10.0 ** math.floor(math.log10(number))
    steps = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9, 10)
    return float(
        f"{next(step for step in steps if step * size >= number * (1 - 1e-12)) * size:.12g}"
    )
