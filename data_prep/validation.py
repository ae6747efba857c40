"""A trial's table checked against its study: a typed frame, or every problem at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from data_prep.cells import canonical_code, number_fault, parse_codes, parse_numbers
from data_prep.covariates import column_faults, is_continuous
from data_prep.errors import DataError, Problem, nearest
from data_prep.missing_values import declaring, looks_missing, without_declared
from data_prep.parts import ARM, PATIENT, THERAPIST, Part, study_parts
from data_prep.study import Study

LISTED_CODES = 5  # codes of a wrong arm column that a message lists


def validate(frame: pd.DataFrame, study: Study, source: str, *, whole: bool = True) -> pd.DataFrame:
    """Check a trial's table against its study, cell by cell.

    Parameters
    ----------
    frame : pandas.DataFrame, shape (patients, columns)
        Cells as the file has them (text or native types). Its index holds the row numbers that
        problems name; it is replaced by positions if it is not one whole number for each row.
    study : Study
    source : str
        Name of the file, for messages.
    whole : bool
        Whether this is the whole table. In a part of one a covariate may have a single value, and
        there may be no row, or none of the study's arms.

    Returns
    -------
    pandas.DataFrame, shape (patients, parts)
        Columns `PATIENT`, `THERAPIST`, `ARM` (str or None; arms spelled as in the study),
        `MODERATOR` or one `item_column` for each item, a `followup_column` and, where there is
        one, a `baseline_column` for each outcome (float), a `covariate_column` for each covariate
        (float where continuous, str or None where categorical). Index "row".

    Raises
    ------
    DataError
        With every column that is absent or, when none is, every wrong cell and column, in the
        order of rows.
    """
    parts = study_parts(study)
    raw = without_declared(_numbered(frame), study)
    problems = list(_column_problems(raw, parts, source, whole=whole))
    if problems:
        raise DataError(problems)
    check = _Check(raw, study, parts, source, whole=whole)
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


def _column_problems(
    raw: pd.DataFrame, parts: tuple[Part, ...], source: str, *, whole: bool
) -> Iterator[Problem]:
    """Columns of the study that the file does not have, or has twice; a file without rows."""
    for column in dict.fromkeys(part.column for part in parts):
        count = int((raw.columns == column).sum())
        if count == 0:
            remedy = f"{nearest(column, raw.columns)} Correct the name in the study file."
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
    ) -> None:
        self.whole = whole
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
            PATIENT: pa.Column(unique=True, report_duplicates="exclude_first"),
            THERAPIST: pa.Column(nullable=True),
            ARM: pa.Column(nullable=True, checks=pa.Check(self._is_known_arm, name="known arm")),
        }
        for part in self.parts:
            if part.kind == "number":
                columns[part.name] = pa.Column(float, nullable=True, checks=_number_checks(part))
        return pa.DataFrameSchema(columns)

    def _is_known_arm(self, codes: pd.Series) -> pd.Series:
        return codes.isin(list(self.study.arms))

    def _duplicates(
        self, patients: pd.Series, places: np.ndarray, column: str
    ) -> Iterator[Problem]:
        """Patients that an earlier row has; their ids stay out of the messages."""
        first = dict(zip(patients.to_numpy()[::-1], self.rows[::-1].tolist(), strict=True))
        rule = "a patient appears more than once"
        for row, patient in zip(self.rows[places].tolist(), patients.iloc[places], strict=True):
            remedy = f"Row {first[patient]} has the same patient: keep one row for each patient."
            yield Problem(self.source, row, column, None, rule, remedy)

    def _fault_finder(self, part: Part, check: str) -> Callable[[object], tuple[str, str]]:
        """Tell what is wrong with a cell that fails a check: the rule and the remedy."""
        if check == "not_nullable":
            no_id = "Give every row the id of its patient, or delete rows without one."
            return lambda _: ("a patient has no id", no_id)
        if check == "known arm":
            known = list(self.study.arms)
            return lambda cell: (
                "this arm is not in the study file",
                f"{nearest(canonical_code(cell), known)} Correct the cell, or add the arm to "
                "[arms].",
            )
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
        values, wrong = parse_numbers(cells)
        self._add(self.problems, part, np.flatnonzero(wrong), number_fault)
        return values

    def _arms(self, codes: np.ndarray, part: Part) -> np.ndarray:
        """Arms spelled as in the study; all missing if not a single one is of the study."""
        spelling = {canonical_code(code): code for code in self.study.arms}
        arms = pd.Series(codes, dtype=object)
        found = arms.dropna().unique()
        arms = arms.replace({code: spelling[code] for code in found if code in spelling})
        if self.whole and len(found) and not set(found) & set(spelling):
            listed = ", ".join(repr(code) for code in sorted(found)[:LISTED_CODES])
            more = ", ..." if len(found) > LISTED_CODES else ""
            expected = ", ".join(repr(code) for code in self.study.arms)
            rule = f"none of the study's arms ({expected}) is in the column, but {listed}{more}"
            remedy = "Write the codes as in the file into [arms], or name the right column."
            self.problems.append(Problem(self.source, None, part.column, None, rule, remedy))
            return np.full(len(codes), None, dtype=object)
        return arms.to_numpy()

    def _covariate(self, cells: pd.Series, part: Part) -> np.ndarray:
        values, wrong = parse_numbers(cells)
        if is_continuous(cells, values, wrong):
            self._add(self.problems, part, np.flatnonzero(wrong), number_fault)
        else:
            values = parse_codes(cells)
        if self.whole and (not wrong.any() or values.dtype == object):
            for rule, remedy in column_faults(values):
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
        for row, cell in zip(self.rows[positions].tolist(), cells, strict=True):
            value = _shown(cell)
            if value not in faults:
                faults[value] = fault(cell)
            rule, remedy = faults[value]
            if value is not None and looks_missing(value):
                remedy += f" If it means a missing value: {declaring(part.column, [value])}."
            problems.append(Problem(self.source, row, part.column, value, rule, remedy))


def _number_checks(part: Part) -> list[pa.Check]:
    """Give the checks of a column of numbers; missing ones pass."""
    checks = []
    if part.limits is not None:
        low, high = part.limits
        checks.append(pa.Check(lambda numbers: numbers.between(low, high), name="within"))
    if part.whole is not None:
        checks.append(pa.Check(lambda numbers: numbers == numbers.round(), name="whole"))
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
