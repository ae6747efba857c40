"""Codes that stand for a missing value: those that the study declares, and those that look so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from alliance.data_prep.study.description import Study
from alliance.data_prep.study.rules import BARE_KEY, EVERY_COLUMN
from alliance.data_prep.tables.cells import number_of, spelled_alike
from alliance.data_prep.tables.roles import study_parts

# What statistics programs, spreadsheets and databases write where a value is missing. Words that a
# category may well be called by ("none", "unknown") are taken for codes of therapists only.
MARKERS = frozenset(
    [".", "..", "-", "--", "—", "–", "?", "n/a", "n.a.", "n. a.", "na", "nan", "null", "<na>",
     "#n/a", "#null!", "#value!", "#div/0!", "#ref!", "#name?", "#num!", "missing", "k.a.", "k. a."]
)  # fmt: skip
WORDS = frozenset(["none", "unknown", "nil"])

# Numbers by which questionnaires and data bases mark what is missing, refused or not applicable.
_REPEATED = [int(digit * length) for digit in "987" for length in range(1, 6)]
SENTINELS = tuple(
    float(number)
    for number in (*_REPEATED, *(-number for number in _REPEATED))
    if number < 0 or number > 100 or str(number)[0] == "9"  # 7, 8, 77 and 88 are often counts
)
# A sentinel among numbers is asked about where it stands apart: by more than the others spread, or
# by more than a quarter of that if it is repeated and has two digits (99 among ages up to 75), or
# below zero where the others are not.
APART, REPEATED_APART = 1.0, 0.25


def declared(study: Study, column: str) -> tuple[str, ...]:
    """Codes of missing values that the study declares for a column."""
    everywhere = () if column == study.columns.patient else study.missing_values.get(EVERY_COLUMN)
    return tuple(dict.fromkeys([*study.missing_values.get(column, ()), *(everywhere or ())]))


def without_declared(frame: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Empty the cells that hold what the study declares as missing.

    Parameters
    ----------
    frame : pandas.DataFrame
        Cells as the file has them, text or native types.
    study : Study

    Returns
    -------
    pandas.DataFrame
    """
    if not study.missing_values:
        return frame
    changed = frame.copy(deep=False)
    for column in dict.fromkeys(part.column for part in study_parts(study)):
        codes = declared(study, column)
        if codes and list(frame.columns).count(column) == 1:
            changed[column] = frame[column].mask(spelled_alike(frame[column], codes))
    return changed


@lru_cache(maxsize=200_000)  # the same therapists stand in every file of a registry
def looks_missing(code: str) -> bool:
    """Whether a code is one that programs and people write for a missing value."""
    return code.casefold() in MARKERS | WORDS or number_of(code) in SENTINELS


def declaring(column: str, codes: Sequence[str]) -> str:
    """Line of a study file that declares codes of missing values of a column.

    Examples
    --------
    >>> declaring("age", ["-99", "."])
    'age = [-99, "."]'
    """
    texts = [code if number_of(code) is not None else f'"{code}"' for code in codes]
    key = column if BARE_KEY.fullmatch(column) else f'"{column}"'
    return f"{key} = [{', '.join(texts)}] under [missing_values] in the study file"


@dataclass(frozen=True, slots=True)
class Numbers:
    """What must be kept of a covariate's numbers to see codes among them; it adds up.

    Attributes
    ----------
    low, high : float
        Ends of the numbers that are no `SENTINELS`; infinite if there are none.
    counts : dict of float to int
        Of each of `SENTINELS` that occurs.
    """

    low: float
    high: float
    counts: dict[float, int]

    def __add__(self, other: Numbers) -> Numbers:
        counts = {
            value: self.counts.get(value, 0) + other.counts.get(value, 0)
            for value in [*self.counts, *other.counts]
        }
        return Numbers(min(self.low, other.low), max(self.high, other.high), counts)

    def ends(self) -> list[float]:
        """Return the lowest and the highest number, sentinels included, if there are any."""
        numbers = [*self.counts, *(end for end in (self.low, self.high) if np.isfinite(end))]
        return [min(numbers), max(numbers)] if numbers else []

    def apart(self) -> list[float]:
        """Return the sentinels that stand apart from the other numbers, in ascending order."""
        if not self.low < self.high:
            return []
        spread = self.high - self.low
        found = []
        for value, count in self.counts.items():
            away = max(self.low - value, value - self.high)
            below = value < 0 <= self.low
            share = REPEATED_APART if count > 1 and abs(value) > 9 else APART
            if away > 0 and (below or away > share * spread):
                found.append(value)
        return sorted(found)


def numbers_of(values: np.ndarray, counts: np.ndarray | None = None) -> Numbers:
    """Keep of numbers what `Numbers` says.

    Parameters
    ----------
    values : numpy.ndarray of float
        NaN where missing.
    counts : numpy.ndarray of int, optional
        How often each occurs; once by default.
    """
    own = np.isin(values, SENTINELS)
    rest = values[~own & np.isfinite(values)]
    marked = values[own]
    times = np.ones(len(values), dtype=np.int64) if counts is None else counts
    found = {value: int(times[own][marked == value].sum()) for value in np.unique(marked).tolist()}
    ends = (float(rest.min()), float(rest.max())) if len(rest) else (np.inf, -np.inf)
    return Numbers(*ends, found)


def marker_codes(counts: Iterable[tuple[str, int]], *, words: bool) -> list[str]:
    """Return those codes of a column that look like missing values.

    Parameters
    ----------
    counts : iterable of (str, int)
        Each code, and how often it occurs.
    words : bool
        Whether no code can be meant to be one of `WORDS`.
    """
    pairs = list(counts)
    suspects = [code for code, _ in pairs if looks_missing(code)]
    found = [
        code
        for code in suspects
        if code.casefold() in MARKERS or (words and code.casefold() in WORDS)
    ]
    if len(suspects) == len(found):
        return found
    numbers = [number_of(code) for code, _ in pairs if code not in found]
    if numbers and all(number is not None for number in numbers):
        times = np.array([count for code, count in pairs if code not in found])
        apart = numbers_of(np.array(numbers, dtype=float), times).apart()
        found += [code for code, _ in pairs if number_of(code) in apart]
    return found
