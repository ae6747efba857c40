"""What can be told of a table's columns without knowing what they mean."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from alliance.data_prep.covariates import MOST_LEVELS
from alliance.data_prep.tables.cells import (
    LABELLED,
    MARKERS,
    SENTINELS,
    TITLED,
    natural_key,
    numbers_of,
    parse_codes,
    parse_numbers,
    spelled,
)

# Labels of codes that stand for a missing value.
_MISSING_LABEL = re.compile(
    r"missing|refus|not (applic|known|asked|answer|done)|unknown|don.?t know|n/?a\b|no answer|"
    r"keine angabe|fehlend|weiß nicht|manquant|sans réponse|no contesta|ns/nc",
    re.IGNORECASE,
)


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a table.

    Attributes
    ----------
    name : str
    title : str
        What a Stata or SPSS file calls it in words; empty elsewhere.
    labels : dict of str to str
        Of codes, those of missing values excepted.
    missing : tuple of str
        Codes that stand for a missing value: by their labels, as text among numbers, or known
        numbers apart from the others.
    asked : tuple of str
        Those of them that nothing but their distance tells.
    codes : numpy.ndarray of object, shape (rows,)
        None where missing.
    values : numpy.ndarray of float, shape (rows,)
        NaN where missing or no number.
    """

    name: str
    title: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    codes: np.ndarray = field(default_factory=lambda: np.array([], dtype=object))
    values: np.ndarray = field(default_factory=lambda: np.array([]))

    @cached_property
    def levels(self) -> tuple[str, ...]:
        """Distinct codes in natural order."""
        return tuple(sorted({code for code in self.codes if code is not None}, key=natural_key))

    @cached_property
    def filled(self) -> int:
        """Rows with a value."""
        return sum(code is not None for code in self.codes)

    @property
    def numeric(self) -> bool:
        """Whether every value is a number."""
        return self.filled > 0 and int(np.isfinite(self.values).sum()) == self.filled

    @property
    def whole(self) -> bool:
        """Whether every value is a whole number."""
        return self.numeric and bool((self.finite == self.finite.round()).all())

    @property
    def finite(self) -> np.ndarray:
        """Values that are numbers."""
        return self.values[np.isfinite(self.values)]

    @property
    def unique(self) -> bool:
        """Whether every row has a value of its own."""
        return self.filled == len(self.codes) == len(self.levels)

    @property
    def labelled(self) -> bool:
        """Whether the file labels every value, and there are few enough for a category."""
        return bool(self.labels) and set(self.levels) <= set(self.labels) and self.few

    @property
    def few(self) -> bool:
        """Whether there are two values at least, and no more than a category may have."""
        return 2 <= len(self.levels) <= MOST_LEVELS


def columns_of(frame: pd.DataFrame) -> list[Column]:
    """Describe the columns of a table.

    Parameters
    ----------
    frame : pandas.DataFrame
        As of `data_prep.tables.readers.Table`.
    """
    return [_column(frame, str(name)) for name in frame.columns]


def _column(frame: pd.DataFrame, name: str) -> Column:
    cells = frame[name]
    labels = dict(frame.attrs.get(LABELLED, {}).get(name, {}))
    codes, (values, wrong) = parse_codes(cells), parse_numbers(cells)
    present = {code for code in codes if code is not None}
    missing = {code for code in present if _MISSING_LABEL.search(labels.get(code, ""))}
    missing |= {code for code in present if code.casefold() in MARKERS and wrong.any()}
    values = np.where(np.isin(codes, list(missing)), np.nan, values)
    numeric = bool(np.isfinite(values).any()) and not (
        {code for code, bad in zip(codes, wrong, strict=True) if bad} - missing
    )
    asked: set[str] = set()
    if numeric:
        apart = set(numbers_of(values).apart()) & set(SENTINELS)
        asked = {spelled(value) for value in apart if spelled(value) not in labels}
        values = np.where(np.isin(values, [float(code) for code in asked]), np.nan, values)
    empty = missing | asked
    return Column(
        name,
        str(frame.attrs.get(TITLED, {}).get(name, "")).strip(),
        {code: label.strip() for code, label in labels.items() if code not in missing},
        tuple(sorted(empty, key=natural_key)),
        tuple(sorted(asked, key=natural_key)),
        np.array([None if code in empty else code for code in codes], dtype=object),
        values,
    )
