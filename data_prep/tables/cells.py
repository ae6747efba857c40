"""What one cell of a table says: a number, a code, a missing value, or none of these.

Codes that stand for a missing value are those that the study declares; those that look so, and
codes that are spelled apart and may be one, are asked about.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import product
from numbers import Real

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alliance.data_prep.study.description import Study
from alliance.data_prep.study.rules import BARE_KEY, EVERY_COLUMN
from alliance.data_prep.tables.roles import ARM, MODERATOR, PATIENT, study_parts

# Attribute of a table: by column, the labels of its codes, or none where it is called nominal.
LABELLED = "labelled"
# Attribute of a table: by column, what a Stata or SPSS file calls it in words.
TITLED = "titled"

NOT_A_NUMBER = "must be a number"
DECIMAL_COMMA = "must have a decimal point, not a decimal comma"
THOUSANDS = "must be written without thousands separators"
INFINITE = "must be a finite number, 1e100 at most in size"

# Beyond it squares overflow, and no measurement gets there: Stata and SPSS store missing values as
# numbers near 1e308, which other programs may export as they are.
LARGEST_NUMBER = 1e100

_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")
_COMMA_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")
_POINT_THOUSANDS = re.compile(r"[+-]?\d{1,3}(\.\d{3})+(,\d+)|[+-]?\d{1,3}(\.\d{3}){2,}")
# Space, no-break space, thin and narrow no-break space, and both apostrophes (Swiss usage).
_GAP_THOUSANDS = re.compile(r"[+-]?\d{1,3}([ \u00a0\u2009\u202f'\u2019]\d{3})+([.,]\d+)?")
_WHOLE_AS_FLOAT = re.compile(r"([+-]?\d+)\.0+")
_TYPOGRAPHIC_MINUS = re.compile("[\u2212\u2013]")


def parse_numbers(cells: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Numbers in a column, whatever type its cells have.

    Text is read by Python's own rules for a float, correctly rounded; underscores, infinities and
    the word "nan" are not numbers, and neither are truth values and dates.

    Parameters
    ----------
    cells : pandas.Series, shape (rows,)
        Cells as a file or a data frame has them.

    Returns
    -------
    values : numpy.ndarray of float, shape (rows,)
        NaN where the cell is missing, blank or wrong.
    wrong : numpy.ndarray of bool, shape (rows,)
        True where the cell holds something else than a finite number up to `LARGEST_NUMBER`.
    """
    if pd.api.types.is_any_real_numeric_dtype(cells.dtype):
        values = cells.to_numpy(dtype=float, na_value=np.nan).copy()
        wrong = np.abs(values) > LARGEST_NUMBER
        values[wrong] = np.nan
        return values, wrong
    plain = _plain_text_numbers(cells)
    if plain is not None:
        return plain, np.zeros(len(plain), dtype=bool)
    codes, distinct = _distinct(cells)
    parsed = [_number(value) for value in distinct]
    # Position -1 marks a missing cell; it takes the last entry.
    values = np.array([math.nan if number is None else number for number in [*parsed, math.nan]])
    wrong = np.array([number is None for number in parsed] + [False])
    return values[codes], wrong[codes]


def number_fault(value: object) -> tuple[str, str]:
    """Rule that a cell breaks which is not a finite number, and how to mend it.

    Returns
    -------
    rule, remedy : str
    """
    text = str(value).strip()
    if _COMMA_THOUSANDS.fullmatch(text):
        plain = text.replace(",", "")
        if text.count(",") == 1 and "." not in text:
            decimal = text.replace(",", ".")
            return THOUSANDS, f"Write {plain}, or {decimal} if the comma is a decimal comma."
        return THOUSANDS, f"Write {plain}."
    if _POINT_THOUSANDS.fullmatch(text):
        return THOUSANDS, f"Write {text.replace('.', '').replace(',', '.')}."
    if _GAP_THOUSANDS.fullmatch(text):
        return THOUSANDS, f"Write {re.sub(r'[^0-9.,+-]', '', text).replace(',', '.')}."
    if _DECIMAL_COMMA.fullmatch(text):
        return DECIMAL_COMMA, f"Write {text.replace(',', '.')}."
    minus = _TYPOGRAPHIC_MINUS.sub("-", text)
    if minus != text and _number(minus) is not None:
        return NOT_A_NUMBER, f"Write {minus} with a plain minus sign (the hyphen key)."
    if _is_too_large(text):
        return INFINITE, "Correct the value, or leave the cell empty if it is missing."
    return NOT_A_NUMBER, "Write a number, or leave the cell empty if the value is missing."


def parse_codes(cells: pd.Series) -> np.ndarray:
    """Codes in a column (ids, arms, categories) in one spelling, whatever type its cells have.

    Spaces around a code are dropped and whole numbers lose their decimals ("12.0" and 12.0 are
    "12"), because one and the same column is text in one file and a float with gaps in another.

    Parameters
    ----------
    cells : pandas.Series, shape (rows,)

    Returns
    -------
    numpy.ndarray of object, shape (rows,)
        A str, or None where the cell is missing or blank.
    """
    codes, distinct = _distinct(cells)
    spelled = np.empty(len(distinct) + 1, dtype=object)
    spelled[: len(distinct)] = [canonical_code(value) or None for value in distinct]
    spelled[-1] = None
    return spelled[codes]


def canonical_code(value: object) -> str:
    """One spelling for one code.

    Examples
    --------
    >>> canonical_code(" GE "), canonical_code(12.0), canonical_code("12.0"), canonical_code("006")
    ('GE', '12', '12', '006')
    """
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    text = str(value).strip()
    whole = _WHOLE_AS_FLOAT.fullmatch(text) if text.endswith("0") else None
    return whole.group(1) if whole else text


def number_of(code: str) -> float | None:
    """Return the number that a code is; None if it is none.

    Examples
    --------
    >>> number_of("-99"), number_of("."), number_of("")
    (-99.0, None, None)
    """
    number = _number(code)
    return None if number is None or math.isnan(number) else number


def spelled(number: float) -> str:
    """Return a number as a code, as a person would write it.

    Examples
    --------
    >>> spelled(-99.0), spelled(9999999.0), spelled(99.9)
    ('-99', '9999999', '99.9')
    """
    return f"{number:.15g}"


def spelled_alike(cells: pd.Series, codes: Sequence[str]) -> np.ndarray:
    """Tell which cells hold one of these codes, as text or as a number of the same size.

    Parameters
    ----------
    cells : pandas.Series, shape (rows,)
        Cells as a file or a data frame has them.
    codes : sequence of str
        In the spelling of `canonical_code`.

    Returns
    -------
    numpy.ndarray of bool, shape (rows,)
    """
    numbers = {number_of(code) for code in codes} - {None}
    positions, distinct = _distinct(cells)
    alike = [
        canonical_code(value) in codes or (bool(numbers) and _number(value) in numbers)
        for value in distinct
    ]
    return np.array([*alike, False], dtype=bool)[positions]


def natural_key(text: str) -> tuple[list[str | tuple[int, str]], str]:
    """Key that sorts numbers inside text by size, so that "2" comes before "10".

    Examples
    --------
    >>> sorted(["T10", "T2", "T1"], key=natural_key)
    ['T1', 'T2', 'T10']
    """
    parts: list[str | tuple[int, str]] = []
    for position, part in enumerate(re.split(r"([0-9]+)", text)):
        if position % 2:  # digits: the longer number is the larger, whatever its length
            digits = part.lstrip("0")
            parts.append((len(digits), digits))
        else:
            parts.append(part)
    return parts, text


def _distinct(cells: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Position of each cell in the distinct values (-1 where missing), and these values."""
    try:
        codes, distinct = pd.factorize(cells.astype(object).to_numpy())
    except TypeError:
        # Cells such as lists (Parquet has them) cannot be hashed; their text can.
        text = [str(value) if np.ndim(value) or pd.notna(value) else None for value in cells]
        codes, distinct = pd.factorize(np.array(text, dtype=object))
    return np.asarray(codes), np.asarray(distinct, dtype=object)


def _plain_text_numbers(cells: pd.Series) -> np.ndarray | None:
    """Numbers of a column of text in which every cell is a finite number or missing; else None.

    The quick way for the usual column of a text file.
    """
    present = cells.notna().to_numpy()
    texts = cells.to_numpy(dtype=object)[present]
    if pd.api.types.infer_dtype(texts, skipna=False) != "string" or "_" in "".join(texts):
        return None
    try:
        numbers = texts.astype(float)
    except ValueError:
        return None
    if not (np.abs(numbers) <= LARGEST_NUMBER).all():  # not <= is true of NaN as well
        return None
    values = np.full(len(cells), math.nan)
    values[present] = numbers
    return values


def _number(value: object) -> float | None:
    """Finite number in a cell; NaN where it is blank, None where it is not a number."""
    if isinstance(value, str):
        if not value.strip():
            return math.nan
        if "_" in value:
            return None
    elif isinstance(value, bool) or not isinstance(value, (Real, Decimal)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) <= LARGEST_NUMBER else None


def _is_too_large(text: str) -> bool:
    try:
        return abs(float(text)) > LARGEST_NUMBER
    except ValueError:
        return False


Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Codes:
    """A column of codes.

    Attributes
    ----------
    index : ndarray of int, shape (n,)
        Position in `labels`, -1 where missing.
    labels : list of str
    """

    index: NDArray[np.int64]
    labels: list[str]

    def counts(self) -> dict[str, int]:
        """How often each label occurs."""
        found = np.bincount(self.index + 1, minlength=len(self.labels) + 1)[1:]  # missing first
        return dict(zip(self.labels, found.tolist(), strict=True))


Column = Codes | Array


def typed_columns(study: Study, typed: pd.DataFrame, moderator: Array) -> dict[str, Column]:
    """Columns by part, patients' ids excepted.

    Parameters
    ----------
    study : Study
    typed : pandas.DataFrame
        As from `data_prep.trial.validation.validate`.
    moderator : ndarray, shape (n,)
        As from `data_prep.trial.trial.scored_moderator`.
    """
    found: dict[str, Column] = {MODERATOR: moderator}
    for name in typed.columns:
        values = typed[name].to_numpy()
        if name == PATIENT:
            continue
        if name == ARM:
            index = pd.Index(list(study.arms)).get_indexer(pd.Index(values))
            found[name] = Codes(index.astype(np.int64), list(study.arms))
        elif values.dtype == object:
            index, labels = pd.factorize(values)
            found[name] = Codes(index.astype(np.int64), [str(label) for label in labels])
        else:
            found[name] = values.astype(float)
    return found


# What statistics programs, spreadsheets and databases write where a value is missing. Words that a
# category may well be called by ("none", "unknown") are taken for codes of therapists only.
MARKERS = frozenset(
    [".", "..", "-", "--", "—", "–", "?", "n/a", "n.a.", "n. a.", "na", "nan", "null", "<na>",
     "#n/a", "#null!", "#value!", "#div/0!", "#ref!", "#name?", "#num!", "missing", "k.a.", "k. a."]
)  # fmt: skip
WORDS = frozenset(["none", "unknown", "nil"])

# Numbers by which questionnaires and data bases mark what is missing, refused or not applicable:
# repeated digits, their neighbours (998, 97), 99.9 where a column has decimals, and -1.
_REPEATED = [int(digit * length) for digit in "987" for length in range(1, 7)]
_NEIGHBOURS = [10**length - less for length in range(2, 5) for less in (2, 3, 4)]
_DECIMALS = [9.9, 99.9, 999.9, 9999.9, 9.99, 99.99, 999.99, 9999.99]
_POSITIVE = [number for number in _REPEATED if number not in (7, 8)] + _NEIGHBOURS + _DECIMALS
_NEGATIVE = [-number for number in (*_REPEATED, *_NEIGHBOURS, *_DECIMALS, 1)]
SENTINELS = tuple(map(float, (*_POSITIVE, *_NEGATIVE)))
# A sentinel among numbers is asked about where it stands apart: by as much as the others spread, or
# below zero where the others are not; if it is repeated, by more than a quarter of the spread (99
# among ages up to 75), or a third where it has one digit (9 among answers from 1 to 5). Those that
# may well be counts and ages stand apart by the whole spread, repeated or not.
APART, REPEATED_APART, ONE_DIGIT_APART = 1.0, 0.25, 1 / 3
OFTEN_COUNTS = frozenset([77.0, 88.0, 96.0, 97.0, 98.0])
# -1 is asked about if it is repeated and the others are no scale around zero: 0 to 4, say.
SPREAD_OF_SCALE = 4
# Any number is asked about that lies farther out than five times the spread of all others, or three
# times if it is repeated (450 for 45 years does, no patient of a skewed distribution is likely to).
# There must be enough others to tell.
FAR, FAR_REPEATED = 5.0, 3.0
TAIL, ENOUGH = 4, 10


def declared(study: Study, column: str) -> tuple[str, ...]:
    """Codes of missing values that the study declares for a column."""
    everywhere = () if column == study.columns.patient else study.missing_values.get(EVERY_COLUMN)
    return tuple(dict.fromkeys([*study.missing_values.get(column, ()), *(everywhere or ())]))


def without_declared(
    frame: pd.DataFrame, study: Study, columns: Sequence[str] = ()
) -> pd.DataFrame:
    """Empty the cells that hold what the study declares as missing.

    Parameters
    ----------
    frame : pandas.DataFrame
        Cells as the file has them, text or native types.
    study : Study
    columns : sequence of str
        Of the file, beside those of the study's parts.

    Returns
    -------
    pandas.DataFrame
    """
    if not study.missing_values:
        return frame
    changed = frame.copy(deep=False)
    for column in dict.fromkeys([*(part.column for part in study_parts(study)), *columns]):
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
    lowest, highest : dict of float to int
        Of the numbers that are no `SENTINELS` the `ENOUGH` + `TAIL` at either end, in ascending
        order, and how often each occurs.
    counts : dict of float to int
        Of each of `SENTINELS` that occurs.
    """

    lowest: dict[float, int]
    highest: dict[float, int]
    counts: dict[float, int]

    def __add__(self, other: Numbers) -> Numbers:
        # A number at an end of the whole is at that end of every part that has it.
        lowest, highest = sums(self.lowest, other.lowest), sums(self.highest, other.highest)
        return Numbers(
            dict(sorted(lowest.items())[: ENOUGH + TAIL]),
            dict(sorted(highest.items())[-ENOUGH - TAIL :]),
            sums(self.counts, other.counts),
        )

    @property
    def tails(self) -> list[float]:
        """Numbers so far out that they may stand apart: sentinels, and a few at either end."""
        return sorted({*self.counts, *list(self.lowest)[:TAIL], *list(self.highest)[-TAIL:]})

    def ends(self) -> list[float]:
        """Return the lowest and the highest number, sentinels included, if there are any."""
        numbers = [*self.counts, *self.lowest, *self.highest]
        return [min(numbers), max(numbers)] if numbers else []

    def repeated_whole(self, times: float) -> bool:
        """Whether the numbers at the ends are whole ones that occur so often on average."""
        seen = {**self.lowest, **self.highest}
        return all(map(float.is_integer, seen)) and sum(seen.values()) >= times * len(seen) > 0

    def far(self) -> set[float]:
        """Return the numbers far outside the rest that are no sentinels."""
        low, high = list(self.lowest), list(self.highest)[::-1]
        distinct = len({*low, *high})
        found: set[float] = set()
        for i, j in product(range(TAIL + 1), repeat=2):
            if i + j <= len(found) or distinct - i - j < ENOUGH:
                continue
            spread = high[j] - low[i]
            below = not i or low[i] - low[i - 1] > _far(self.lowest[low[i - 1]]) * spread
            above = not j or high[j - 1] - high[j] > _far(self.highest[high[j - 1]]) * spread
            if below and above:
                found = {*low[:i], *high[:j]}
        return found

    def rest(self) -> tuple[float, float]:
        """Return the ends of the numbers that are neither far nor sentinels; infinite if none."""
        far = self.far()
        rest = [value for value in (*self.lowest, *self.highest) if value not in far]
        return (min(rest), max(rest)) if rest else (np.inf, -np.inf)

    def apart(self) -> list[float]:
        """Return the numbers that stand apart from the others, in ascending order."""
        low, high = self.rest()
        found = self.far()
        if low < high:
            found |= {
                value for value, count in self.counts.items() if _is_apart(value, count, low, high)
            }
        return sorted(found)


def _far(count: int) -> float:
    return FAR if count == 1 else FAR_REPEATED


def _is_apart(value: float, count: int, low: float, high: float) -> bool:
    """Whether a sentinel that occurs so often stands apart from numbers between these ends."""
    spread, away = high - low, max(low - value, value - high)
    if away <= 0:
        return False
    if value == -1:
        return count > 1 and low >= 0 and spread >= SPREAD_OF_SCALE
    if away >= APART * spread or value < 0 <= low:
        return True
    if count == 1 or value in OFTEN_COUNTS:
        return False
    least = REPEATED_APART * spread if abs(value) >= 10 else max(1, ONE_DIGIT_APART * spread)
    return away > least


def sums(one: dict[float, int], other: dict[float, int]) -> dict[float, int]:
    """Add up how often numbers occur."""
    return {value: one.get(value, 0) + other.get(value, 0) for value in [*one, *other]}


def numbers_of(values: np.ndarray, counts: np.ndarray | None = None) -> Numbers:
    """Keep of numbers what `Numbers` says.

    Parameters
    ----------
    values : numpy.ndarray of float
        NaN where missing.
    counts : numpy.ndarray of int, optional
        How often each occurs; once by default.
    """
    known = np.isfinite(values)
    if counts is None:  # millions of numbers: sorting them is the cheapest way to their ends
        ordered = np.sort(values[known])
        before = np.arange(len(ordered) + 1)
    else:
        order = np.argsort(values[known])
        ordered = values[known][order]
        before = np.append(0, np.cumsum(counts[known][order]))
    first, last = (np.searchsorted(ordered, SENTINELS, side) for side in ("left", "right"))
    codes = dict(zip(SENTINELS, (before[last] - before[first]).tolist(), strict=True))
    most = ENOUGH + TAIL
    lowest = _nearest(ordered, before, codes.keys(), most)
    mirrored, turned = np.ascontiguousarray(-ordered[::-1]), before[-1] - before[::-1]
    highest = _nearest(mirrored, turned, {-value for value in codes}, most)
    return Numbers(
        lowest,
        {-value: count for value, count in reversed(highest.items())},
        {value: count for value, count in codes.items() if count},
    )


def _nearest(
    ordered: Array, before: NDArray[np.int64], passed_over: Set[float], most: int
) -> dict[float, int]:
    """Of ascending numbers the first distinct ones but for these, so many, with their counts."""
    found: dict[float, int] = {}
    start = 0
    while start < len(ordered) and len(found) < most:
        value = float(ordered[start])
        end = int(np.searchsorted(ordered, value, "right"))
        if value not in passed_over:
            found[value] = int(before[end] - before[start])
        start = end
    return found


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
        apart = set(numbers_of(np.array(numbers, dtype=float), times).apart()) - OFTEN_COUNTS
        apart &= set(SENTINELS)  # codes go in no steps, so that any may lie far out
        found += [code for code, _ in pairs if number_of(code) in apart]
    return found


NAMED_GROUPS = 5

_BLANK = re.compile(r"[\s\u200b-\u200d\ufeff]+")
_DASH = re.compile("[\u2010-\u2015\u2212]")
_LEADING_ZEROS = re.compile(r"(?<![\d.,])0+(?=\d)")


def folded(code: str) -> str:
    r"""Return what is left of a code without capitals, blanks, leading zeros and kinds of dashes.

    Letters are taken in one of the ways in which Unicode stores them (NFKC).

    Examples
    --------
    >>> folded("T 01") == folded("t1"), folded("T10") == folded("T1")
    (True, False)
    >>> folded("Jose\u0301") == folded("Jos\u00e9")
    True
    """
    if not code.isascii():
        code = _DASH.sub("-", unicodedata.normalize("NFKC", code))
    if not code.isalnum():
        code = _BLANK.sub("", code)
    if "0" in code:
        code = _LEADING_ZEROS.sub("", code)
    return code.lower()


def spelled_apart(codes: Iterable[str]) -> list[list[str]]:
    """Group codes that differ in spelling only.

    Parameters
    ----------
    codes : iterable of str
        Each once.

    Returns
    -------
    list of list of str
        Groups of two or more, in natural order.
    """
    groups: dict[str, list[str]] = {}
    for code in codes:
        groups.setdefault(folded(code), []).append(code)
    several = [sorted(group, key=natural_key) for group in groups.values() if len(group) > 1]
    return sorted(several, key=lambda group: natural_key(group[0]))


def spelling_note(what: str, codes: Iterable[str]) -> list[str]:
    """Say that codes may be one though they are spelled apart.

    Parameters
    ----------
    what : str
        Whose codes they are, such as ``therapists``.
    codes : iterable of str

    Returns
    -------
    list of str
        One note, or none.
    """
    groups = spelled_apart(codes)
    if not groups:
        return []
    listed = "; ".join(" and ".join(_quoted(group)) for group in groups[:NAMED_GROUPS])
    more = len(groups) - NAMED_GROUPS
    listed += f"; and {more} more" if more > 0 else ""
    return [
        f"Counted apart, though they may be the same {what}, spelled apart: {listed}. If they are, "
        "write them alike in the data."
    ]


def _quoted(group: Sequence[str]) -> list[str]:
    """Codes in quotes; those that look alike with the letters that make them differ."""
    plain = [unicodedata.normalize("NFC", code) for code in group]
    return [
        repr(code) if plain.count(seen) == 1 else f"{code!r} ({_stored(code)})"
        for code, seen in zip(group, plain, strict=True)
    ]


def _stored(code: str) -> str:
    marks = sum(bool(unicodedata.combining(letter)) for letter in code)
    if not marks:
        return "accents within letters"
    return f"{marks} accent{'s' if marks > 1 else ''} stored beside letters"
