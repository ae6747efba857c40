"""A trial's table checked against its study: a typed frame, or every problem at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from alliance.data_prep.covariates import column_faults, found_kind, labels_of, numbers_and_texts
from alliance.data_prep.errors import DataError, Problem, nearest
from alliance.data_prep.files import first_of
from alliance.data_prep.study.description import Study
from alliance.data_prep.tables.cells import (
    LABELLED,
    canonical_code,
    declaring,
    looks_missing,
    number_fault,
    parse_codes,
    parse_numbers,
    without_declared,
)
from alliance.data_prep.tables.roles import ARM, PATIENT, THERAPIST, Part, study_parts
from alliance.data_prep.trial.events import NoEvent, event_of, events
from alliance.data_prep.trial.long_tables import ROWS, long_table_problem

UNKNOWN_ARM = "this arm is not in the study file"
LISTED_CODES = 5  # codes of a wrong arm column that a message lists


@dataclass(frozen=True, slots=True)
class CovariateCells:
    """What the cells of a covariate are; that of several tables adds up.

    Attributes
    ----------
    numbers, texts : int
        Cells that are numbers, in a wrong spelling or not, and those that are not.
    wrong : int
        Cells that are no finite number.
    continuous : frozenset of bool
        As what it was taken: numbers (True) or a category; empty if it has no value.
    labelled : bool
        Whether its file makes a category of it, by labels.
    """

    numbers: int
    texts: int
    wrong: int
    continuous: frozenset[bool]
    labelled: bool = False

    def __add__(self, other: CovariateCells) -> CovariateCells:
        return CovariateCells(
            self.numbers + other.numbers,
            self.texts + other.texts,
            self.wrong + other.wrong,
            self.continuous | other.continuous,
            self.labelled and other.labelled,
        )


@dataclass(frozen=True, eq=False, slots=True)
class Checked:
    """A part of a table after a look at all its cells.

    Attributes
    ----------
    typed : pandas.DataFrame or None
        As of `validate`, faulty cells missing; None where a column is absent.
    problems : tuple of Problem
        Of columns or cells.
    arms : frozenset of str
        Codes in the column of the arms.
    covariates : dict of str to CovariateCells
    """

    typed: pd.DataFrame | None
    problems: tuple[Problem, ...]
    arms: frozenset[str]
    covariates: dict[str, CovariateCells]


def check_part(
    frame: pd.DataFrame, study: Study, source: str, continuous: Mapping[str, bool]
) -> Checked:
    """Check a part of a trial's table by the rules of `validate`, as far as a part can break them.

    What only the whole can break is left to `data_prep.registry.registry`: that a patient appears
    once, that the arms are those of the study, and that a covariate has several values.

    Parameters
    ----------
    frame, study, source
        As of `validate`; there may be no row.
    continuous : mapping of str to bool
        Covariates of which the whole tells whether they are numbers; the others are judged by
        the cells of this part.
    """
    parts = study_parts(study)
    raw = without_declared(_numbered(frame), study)
    problems = tuple(_column_problems(raw, parts, source, whole=False))
    if problems:
        return Checked(None, problems, frozenset(), {})
    check = _Check(raw, study, parts, source, whole=False, continuous=continuous)
    typed = check.typed()
    problems = tuple(_in_order([*check.problems, *check.schema_problems(typed)], list(raw.columns)))
    return Checked(
        typed.set_axis(raw.index, axis="index"), problems, check.arms_found, check.covariates
    )


def check_columns(frame: pd.DataFrame, study: Study, source: str) -> tuple[Problem, ...]:
    """Columns of the study that a part of a trial's table does not have, or has twice."""
    return tuple(_column_problems(_numbered(frame), study_parts(study), source, whole=False))


def validate(frame: pd.DataFrame, study: Study, source: str) -> pd.DataFrame:
    """Check a trial's table against its study, cell by cell.

    Parameters
    ----------
    frame : pandas.DataFrame, shape (patients, columns)
        Cells as the file has them (text or native types). Its index holds the row numbers that
        problems name; it is replaced by positions if it is not one whole number for each row.
    study : Study
    source : str
        Name of the file, for messages.

    Returns
    -------
    pandas.DataFrame, shape (patients, parts)
        Columns `PATIENT` (where the study has one), `THERAPIST`, `ARM` (str or None; arms spelled
        as in the study), `MODERATOR` or one `item_column` for each item, where it has one, a
        `followup_column` and, where there is one, a `baseline_column` for each outcome (float), a
        `covariate_column` for each covariate (float where continuous, str or None where
        categorical). Index "row".

    Raises
    ------
    DataError
        With every column that is absent or, when none is, every wrong cell and column, in the
        order of rows.
    """
    parts = study_parts(study)
    raw = without_declared(_numbered(frame), study)
    problems = list(_column_problems(raw, parts, source, whole=True))
    if problems:
        raise DataError(problems)
    if long := long_table_problem(raw, study, source):
        raise DataError([long])
    check = _Check(raw, study, parts, source, whole=True)
    typed = check.typed()
    problems = [*check.problems, *check.schema_problems(typed)]
    if problems:
        raise DataError(_in_order(problems, list(raw.columns)))
    return typed.set_axis(raw.index, axis="index")


def _numbered(frame: pd.DataFrame) -> pd.DataFrame:
    """Give the frame columns that are text and an index of distinct whole numbers called "row"."""
    raw = frame.set_axis([str(name) for name in frame.columns], axis="columns")
    if not (pd.api.types.is_integer_dtype(raw.index.dtype) and raw.index.is_unique):
        raw = raw.reset_index(drop=True)
    return raw.rename_axis(index="row")


def unknown_header(columns: Sequence[str], names: Iterable[object], source: str) -> list[Problem]:
    """What to say of a table that has none of the columns, nor one of like name.

    Its own names are not listed: where a header is missing, they are the first patient's id, name
    and ratings.

    Parameters
    ----------
    columns : sequence of str
        That are needed.
    names : iterable
        Of the table's columns.
    source : str

    Returns
    -------
    list of Problem
        One or none.
    """
    there = [str(name) for name in names]
    folded = set(map(_folded_name, there))
    if not columns or any(
        _folded_name(name) in folded or get_close_matches(name, there) for name in columns
    ):
        return []
    rule = f"no column of the study is in it, nor one of like name: {first_of(columns)}"
    remedy = (
        "Correct the names in the study file; or, if the first line is a patient, write the names "
        "of the columns into a line above it."
    )
    return [Problem(source, None, None, None, rule, remedy)]


CORRECT_NAME = "Correct the name in the study file."
VALID_ABOVE = "The names that there are stand with the problem above."
_BETWEEN_WORDS = re.compile(r"[\s._-]+")


def _folded_name(column: str) -> str:
    """Return a column's name without capitals, and with one sign between words."""
    return _BETWEEN_WORDS.sub("_", column.strip()).casefold()


def _spelled_otherwise(
    columns: Sequence[str], there: Sequence[str], source: str
) -> Iterator[Problem]:
    """Columns that the file spells with other capitals, or other signs between words: one problem.

    What statistics programs do to a whole header, such as writing it in capitals.
    """
    by_fold: dict[str, list[str]] = {}
    for name in there:
        by_fold.setdefault(_folded_name(name), []).append(name)
    pairs = [
        (column, " or ".join(map(repr, by_fold[_folded_name(column)])))
        for column in columns
        if column not in there and _folded_name(column) in by_fold
    ]
    if not pairs:
        return
    listed = ", ".join(f"{column!r} is {name}" for column, name in pairs)
    one = len(pairs) == 1
    rule = "the column is not in the file" if one else f"{len(pairs)} columns are not in the file"
    remedy = (
        f"The file spells {'it' if one else 'them'} otherwise: {listed}. Write the "
        f"{'name' if one else 'names'} as in the file into the study file."
    )
    yield Problem(source, None, pairs[0][0] if one else None, None, rule, remedy)


def _column_problems(
    raw: pd.DataFrame, parts: tuple[Part, ...], source: str, *, whole: bool
) -> Iterator[Problem]:
    """Columns of the study that the file does not have, or has twice; a file without rows."""
    columns = list(dict.fromkeys(part.column for part in parts))
    if unknown := unknown_header(columns, raw.columns, source):
        yield from unknown
        return
    yield from _spelled_otherwise(columns, list(raw.columns), source)
    listed = False
    for column in columns:
        count = int((raw.columns == column).sum())
        if count == 0 and _folded_name(column) not in map(_folded_name, raw.columns):
            remedy = f"{nearest(column, raw.columns)} {CORRECT_NAME}"
            if not get_close_matches(column, list(raw.columns), n=3, cutoff=0.6):
                remedy = f"{VALID_ABOVE} {CORRECT_NAME}" if listed else remedy
                listed = True
            yield Problem(source, None, column, None, "the column is not in the file", remedy)
        elif count > 1:
            rule = f"{count} columns bear this name"
            yield Problem(source, None, column, None, rule, "Rename or delete all but one.")
    if raw.empty and whole:
        rule = "the file has no rows below the header"
        yield Problem(source, None, None, None, rule, "Give a file with one row for each patient.")


class _Check:
    """One pass over a table; collects the problems that typing its cells brings up."""

    def __init__(
        self,
        raw: pd.DataFrame,
        study: Study,
        parts: tuple[Part, ...],
        source: str,
        *,
        whole: bool,
        continuous: Mapping[str, bool] | None = None,
    ) -> None:
        self.whole = whole
        self.continuous = continuous or {}
        self.arms_found: frozenset[str] = frozenset()
        self.covariates: dict[str, CovariateCells] = {}
        self.raw = raw
        self.study = study
        self.parts = parts
        self.source = source
        self.rows = raw.index.to_numpy()
        self.problems: list[Problem] = []

    def typed(self) -> pd.DataFrame:
        """Typed frame, indexed by position."""
        columns = {part.name: self._typed_part(part) for part in self.parts}
        # With its own dtype named, pandas keeps text as it is instead of converting it.
        return pd.DataFrame(
            {name: pd.Series(values, dtype=values.dtype) for name, values in columns.items()}
        )

    def schema_problems(self, typed: pd.DataFrame) -> list[Problem]:
        """Problems that pandera finds in a typed frame, all of them (lazily)."""
        try:
            self._schema().validate(typed, lazy=True)
        except SchemaErrors as errors:
            cases = errors.failure_cases
        else:
            return []
        parts = {part.name: part for part in self.parts}
        problems: list[Problem] = []
        for (name, check), positions in cases.groupby(["column", "check"], sort=False)["index"]:
            part = parts[str(name)]
            places = positions.to_numpy(dtype=np.intp)
            if check == "field_uniqueness":
                problems.extend(self._duplicates(typed[PATIENT], places, part.column))
            else:
                self._add(problems, part, places, self._fault_finder(part, str(check)))
        return problems

    def _schema(self) -> pa.DataFrameSchema:
        columns: dict[str, pa.Column] = {
            ARM: pa.Column(nullable=True, checks=pa.Check(self._is_known_arm, name="known arm")),
        }
        for part in self.parts:
            if part.name == PATIENT:
                columns[PATIENT] = pa.Column(unique=self.whole, report_duplicates="exclude_first")
            if part.name == THERAPIST:
                columns[part.name] = pa.Column(nullable=True)
            if part.kind in ("number", "event"):
                columns[part.name] = pa.Column(float, nullable=True, checks=_number_checks(part))
        return pa.DataFrameSchema(columns)

    def _is_known_arm(self, codes: pd.Series) -> pd.Series:
        return codes.isin(list(self.study.arms))

    def _duplicates(
        self, patients: pd.Series, places: np.ndarray, column: str
    ) -> Iterator[Problem]:
        """Patients that an earlier row has; their ids stay out of the messages."""
        first = dict(zip(patients.to_numpy()[::-1], self.rows[::-1].tolist(), strict=True))
        for row, patient in zip(self.rows[places].tolist(), patients.iloc[places], strict=True):
            yield patient_again(self.source, row, column, f"Row {first[patient]}")

    def _fault_finder(self, part: Part, check: str) -> Callable[[object], tuple[str, str]]:
        """Tell what is wrong with a cell that fails a check: the rule and the remedy."""
        if check == "not_nullable":
            no_id = "Give every row the id of its patient, or delete rows without one."
            return lambda _: ("a patient has no id", no_id)
        if check == "known arm":
            known = list(self.study.arms)
            return lambda cell: (
                UNKNOWN_ARM,
                f"{nearest(canonical_code(cell), known)} Correct the cell, or add the arm to "
                "[arms].",
            )
        if check == "positive":
            above = "Correct the value, or leave the cell empty if it is not known."
            return lambda _: ("must be above zero, as events are counted over it", above)
        if check == "whole" and part.whole is not None:
            fault = part.whole
            return lambda _: fault
        low, high = part.limits or (-np.inf, np.inf)
        rule = f"must be from {low:g} to {high:g}"
        remedy = (
            "Correct the value, leave the cell empty if it stands for a missing one, or correct "
            f"{part.setting} of the study file."
        )
        return lambda _: (rule, remedy)

    def _typed_part(self, part: Part) -> np.ndarray:
        cells = self.raw[part.column]
        if part.kind == "code":
            codes = parse_codes(cells)
            return self._arms(codes, part) if part.name == ARM else codes
        if part.kind == "covariate":
            return self._covariate(cells, part)
        if part.kind == "event":
            return self._events(cells, part)
        values, wrong = parse_numbers(cells)
        self._add(self.problems, part, np.flatnonzero(wrong), number_fault)
        return values

    def _events(self, cells: pd.Series, part: Part) -> np.ndarray:
        """1 and 0; all missing where the column does not tell the event."""
        found = event_of(cells, self.study, part.setting, self.raw.attrs)
        if isinstance(found, NoEvent):
            if cells.notna().any():  # an empty column has its own fault
                self.problems.append(
                    Problem(self.source, None, part.column, None, found.rule, found.remedy)
                )
            return np.full(len(cells), np.nan)
        return events(cells, found)

    def _arms(self, codes: np.ndarray, part: Part) -> np.ndarray:
        """Arms spelled as in the study; all missing if not a single one is of the study."""
        arms = pd.Series(codes, dtype=object)
        found = arms.dropna().unique()
        labels = self.raw.attrs.get(LABELLED, {}).get(part.column, {})
        spelling = arm_spelling(self.study.arms, found, labels)
        self.arms_found = frozenset(canonical_code(spelling.get(code, code)) for code in found)
        arms = arms.replace({code: spelling[code] for code in found if code in spelling})
        if self.whole and (problem := no_arm_known(self.study, self.arms_found, self.source)):
            self.problems.append(problem)
            return np.full(len(codes), None, dtype=object)
        return arms.to_numpy()

    def _covariate(self, cells: pd.Series, part: Part) -> np.ndarray:
        values, wrong = parse_numbers(cells)
        known = self.continuous.get(part.column)
        kind = None if known is None else "continuous" if known else "categorical"
        kind = part.declared or kind or found_kind(cells, values, wrong, self.raw.attrs)
        numbers, texts = numbers_and_texts(cells, values, wrong)
        self.covariates[part.column] = CovariateCells(
            numbers,
            texts,
            int(wrong.sum()),
            frozenset([kind == "continuous"] if numbers + texts else []),
            labelled=labels_of(cells, self.raw.attrs) is not None or not numbers + texts,
        )
        if kind == "continuous":
            self._add(self.problems, part, np.flatnonzero(wrong), number_fault)
        else:
            values = parse_codes(cells)
        if self.whole and (not wrong.any() or values.dtype == object):
            labels = self.raw.attrs.get(LABELLED, {}).get(part.column, {})
            for rule, remedy in column_faults(values, part.reference, labels):
                self.problems.append(Problem(self.source, None, part.column, None, rule, remedy))
        return values

    def _add(
        self,
        problems: list[Problem],
        part: Part,
        positions: np.ndarray,
        fault: Callable[[object], tuple[str, str]],
    ) -> None:
        """Add one problem for each cell; `fault` is asked once for each distinct value."""
        if not len(positions):
            return
        cells = self.raw[part.column].iloc[positions]
        faults: dict[str | None, tuple[str, str]] = {}
        rows = np.asarray(self.raw.attrs.get(ROWS, {}).get(part.column, self.rows))
        for row, cell in zip(rows[positions].tolist(), cells, strict=True):
            value = _shown(cell)
            if value not in faults:
                faults[value] = fault(cell)
            rule, remedy = faults[value]
            if value is not None and looks_missing(value):
                remedy += f" If it means a missing value: {declaring(part.column, [value])}."
            problems.append(Problem(self.source, row, part.column, value, rule, remedy))


def patient_again(source: str, row: int, column: str, first: str) -> Problem:
    """What to say of a patient whom an earlier row has, without the id.

    Parameters
    ----------
    source, row, column
        Where the patient stands again.
    first : str
        The earlier row.
    """
    rule = "a patient appears more than once"
    remedy = f"{first} has the same patient: keep one row for each patient."
    return Problem(source, row, column, None, rule, remedy)


def arm_spelling(
    arms: Mapping[str, str], found: Iterable[str], labels: Mapping[str, str]
) -> dict[str, str]:
    """Code in the study of each code in a file that is one of its arms.

    Parameters
    ----------
    arms : mapping of str to str
        The study's: labels by code.
    found : iterable of str
        Codes in the file.
    labels : mapping of str to str
        That the file gives to codes.

    Returns
    -------
    dict of str to str
        A code goes before a label, be it the study's or the file's.

    Examples
    --------
    >>> arms = {"CBT": "Behaviour therapy", "TAU": "Usual care"}
    >>> arm_spelling(arms, ["CBT", "Usual care", "1", "2"], {"1": "TAU", "2": "Other"})
    {'CBT': 'CBT', 'Usual care': 'TAU', '1': 'TAU'}
    """
    known = {label: code for code, label in arms.items()}
    known |= {canonical_code(code): code for code in arms}
    spelling = {}
    for code in found:
        named = code if code in known else labels.get(code, "").strip()
        if named in known:
            spelling[code] = known[named]
    return spelling


def no_arm_known(study: Study, found: frozenset[str], source: str) -> Problem | None:
    """Tell if there are codes of arms, and not one of them is of the study.

    Parameters
    ----------
    study : Study
    found : frozenset of str
        Codes in the column of the arms.
    source : str
    """
    if not found or found & {canonical_code(code) for code in study.arms}:
        return None
    listed = ", ".join(repr(code) for code in sorted(found)[:LISTED_CODES])
    more = ", ..." if len(found) > LISTED_CODES else ""
    expected = ", ".join(repr(code) for code in study.arms)
    rule = f"none of the study's arms ({expected}) is in the column, but {listed}{more}"
    remedy = "Write the codes as in the file into [arms], or name the right column."
    return Problem(source, None, study.columns.arm, None, rule, remedy)


def _number_checks(part: Part) -> list[pa.Check]:
    """Give the checks of a column of numbers; missing ones pass."""
    checks = []
    if part.limits is not None:
        low, high = part.limits
        checks.append(pa.Check(lambda numbers: numbers.between(low, high), name="within"))
    if part.whole is not None:
        checks.append(pa.Check(lambda numbers: numbers == numbers.round(), name="whole"))
    if part.positive:
        checks.append(pa.Check(lambda numbers: numbers > 0, name="positive"))
    return checks


def _shown(cell: Any) -> str | None:  # whatever a cell may hold
    """Cell as a message shows it."""
    if isinstance(cell, str):
        return cell
    return None if np.ndim(cell) == 0 and pd.isna(cell) else canonical_code(cell)


def _in_order(problems: list[Problem], columns: list[str]) -> list[Problem]:
    """Sort by row, then column of the file; each problem once, though its column has two parts."""
    place = {column: position for position, column in enumerate(columns)}

    def key(problem: Problem) -> tuple[int, int]:
        row = -1 if problem.row is None else problem.row
        return row, -1 if problem.column is None else place[problem.column]

    return sorted(dict.fromkeys(problems), key=key)
