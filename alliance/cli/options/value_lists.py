"""Lists of numbers as they are typed: ``40``, ``40,50,60`` or ``60:110:5``."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from alliance.data_prep.errors import InputError

MOST_VALUES = 1000
ROUNDING = 1e-9  # of a step: by so much a list may miss its end


def read_values(option: str, texts: Sequence[str]) -> tuple[float, ...]:
    """Read an option that may be given several times.

    Parameters
    ----------
    option : str
        As it is typed, for messages.
    texts : sequence of str
        Each a number, numbers with commas between, or START:END:STEP with both ends in it.

    Returns
    -------
    tuple of float
        Distinct, ascending.

    Raises
    ------
    InputError
        If a text is none of these, or stands for no value or too many.

    Examples
    --------
    >>> read_values("--alliance", ["60:70:5", "80,90"])
    (60.0, 65.0, 70.0, 80.0, 90.0)
    """
    found: set[float] = set()
    for text in texts:
        found.update(_read(option, text))
    return tuple(sorted(found))


def _read(option: str, text: str) -> list[float]:
    if ":" not in text:
        return [_number(option, text, part) for part in text.split(",")]
    parts = text.split(":")
    if len(parts) != 3:
        raise InputError(
            f"{option} {text} is not a list of values.",
            "Write START:END:STEP, for example 60:110:5.",
        )
    start, end, step = (_number(option, text, part) for part in parts)
    if step <= 0 or end < start:
        raise InputError(
            f"{option} {text}: the grid is empty.",
            "START:END:STEP needs an end that is not below the start, and a step above zero.",
        )
    count = math.floor((end - start) / step + ROUNDING) + 1
    if count > MOST_VALUES:
        raise InputError(
            f"{option} {text} stands for {count} values.", f"Take at most {MOST_VALUES}."
        )
    return [float(value) for value in start + step * np.arange(count)]


def _number(option: str, text: str, part: str) -> float:
    try:
        value = float(part)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(
            f"{option} {text}: {part.strip()!r} is not a number.",
            "Write numbers such as 40, lists such as 40,50 or 60:110:5.",
        )
    return value
