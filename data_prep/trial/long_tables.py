"""Tables with one row for each patient and visit, made into tables with one row for each patient.

What is wrong with visits as such is said here, by the rows of the file; cells are judged afterwards
with all others, under the row that they came from.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from alliance.data_prep.errors import DataError, Problem, nearest
from alliance.data_prep.files import first_of
from alliance.data_prep.study.description import Study
from alliance.data_prep.study.visits import long_column
from alliance.data_prep.tables.cells import canonical_code, parse_codes, without_declared
from alliance.data_prep.tables.roles import study_columns, table_columns

ROWS = "rows of cells"  # attribute of a frame: by column, the row that each cell came from
MOST_VISITS = 60  # a column with more distinct values than this says no visits


def wide_table(frame: pd.DataFrame, study: Study, source: str) -> pd.DataFrame:
    """One row for each patient, and a column for each score and visit.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row for each patient and visit; its index holds the row numbers that problems name.
    study : Study
        With ``visits``.
    source : str
        Name of the file, for messages.

    Returns
    -------
    pandas.DataFrame
        Columns as of `data_prep.tables.roles.study_columns`, indexed by each patient's first row;
        attribute `ROWS`.

    Raises
    ------
    DataError
        If a column is absent, a visit is unknown or twice there for a patient, nobody has a visit,
        or what belongs to a patient changes within one.
    """
    table = study.visits
    if table is None:
        raise ValueError("the study's table has one row for each patient")
    raw = frame.set_axis([str(name) for name in frame.columns], axis="columns")
    if not (pd.api.types.is_integer_dtype(raw.index.dtype) and raw.index.is_unique):
        raw = raw.reset_index(drop=True)
    if absent := _absent(raw, study, source):
        raise DataError(absent)
    scores = _scores(study)
    raw = without_declared(raw, study, columns=[column for column, _ in scores.values()])
    rows = raw.index.to_numpy()
    patient = parse_codes(raw[study.columns.patient])
    visit = parse_codes(raw[table.column])
    order = [canonical_code(label) for label in table.order]
    place = pd.Index(order).get_indexer(pd.Index(visit))
    nobody = pd.isna(pd.Series(patient)).to_numpy()
    problems = [
        Problem(source, int(rows[k]), study.columns.patient, None, "a patient has no id",
                "Give every row the id of its patient.")
        for k in np.flatnonzero(nobody)
    ]  # fmt: skip
    problems += _visit_problems(study, source, rows, visit, place, order)
    code, _ = pd.factorize(pd.Series(patient, dtype=object))
    problems += _again(study, source, rows, code, place)
    own = [column for column in study_columns(study) if column not in scores]
    known, at = np.unique(code, return_index=True)
    first = at[known >= 0]
    for column in own:
        problems += _changes(raw[column], rows, code, first, source, column)
    if problems:
        raise DataError(problems)
    return _spread(raw, code, place, first, own, scores)


def _scores(study: Study) -> dict[str, tuple[str, int]]:
    """Column of the file and place of the visit, by column of the wide table."""
    order = list(study.visits.order) if study.visits else []
    return {
        outcome.followup: (
            outcome.followup.removesuffix(long_column("", outcome.visit)),
            order.index(outcome.visit),
        )
        for outcome in study.outcomes.values()
        if outcome.visit is not None
    }


def _spread(
    raw: pd.DataFrame,
    code: np.ndarray,
    place: np.ndarray,
    first: np.ndarray,
    own: Sequence[str],
    scores: dict[str, tuple[str, int]],
) -> pd.DataFrame:
    rows, columns, came_from = raw.index.to_numpy(), {}, {}
    for column in own:
        columns[column] = raw[column].to_numpy()[first]
    for name, (column, visit) in scores.items():
        at = np.flatnonzero(place == visit)
        cells = np.full(len(first), None, dtype=object)
        where = rows[first].copy()
        cells[code[at]] = raw[column].to_numpy(dtype=object)[at]
        where[code[at]] = rows[at]
        columns[name], came_from[name] = cells, where
    wide = pd.DataFrame(columns, index=pd.Index(rows[first], name="row"))
    wide.attrs = {**raw.attrs, ROWS: came_from}
    return wide


def _absent(raw: pd.DataFrame, study: Study, source: str) -> list[Problem]:
    return [
        Problem(
            source, None, column, None, "the column is not in the file",
            f"{nearest(column, raw.columns)} Correct the name in the study file.",
        )
        for column in table_columns(study)
        if column not in raw.columns
    ]  # fmt: skip


def _visit_problems(
    study: Study,
    source: str,
    rows: np.ndarray,
    visit: np.ndarray,
    place: np.ndarray,
    order: Sequence[str],
) -> list[Problem]:
    """Visits that the study does not know, rows without one, and visits that nobody has."""
    column = str(study.visits and study.visits.column)
    problems = []
    for k in np.flatnonzero(place < 0):
        if visit[k] is None or pd.isna(visit[k]):
            rule, remedy = "a row has no visit", "Write which visit the row is."
            problems.append(Problem(source, int(rows[k]), column, None, rule, remedy))
            continue
        remedy = f"{nearest(visit[k], order)} Correct the cell, or add it to `order` in [visits]."
        rule = "this visit is not in the study file"
        problems.append(Problem(source, int(rows[k]), column, str(visit[k]), rule, remedy))
    for number, label in enumerate(order):
        if not (place == number).any():
            rule = f"nobody has the visit {label!r}"
            remedy = (
                f"{nearest(label, dict.fromkeys(map(str, visit)))} Correct `order` in [visits]."
            )
            problems.append(Problem(source, None, column, None, rule, remedy))
    return problems


def _again(
    study: Study, source: str, rows: np.ndarray, code: np.ndarray, place: np.ndarray
) -> list[Problem]:
    """Patients who have a visit twice."""
    order = list(study.visits.order) if study.visits else []
    keys = pd.Series(list(zip(code.tolist(), place.tolist(), strict=True)))
    known = (code >= 0) & (place >= 0)
    seen: dict[tuple[int, int], int] = {}
    problems = []
    for k in np.flatnonzero(known):
        earlier = seen.setdefault(keys[k], int(rows[k]))
        if earlier != rows[k]:
            rule = f"a patient has the visit {order[place[k]]!r} twice"
            remedy = (
                f"Row {earlier} has the same patient and visit: correct the visit of one of the "
                "two, or keep the score that counts."
            )
            column = str(study.visits and study.visits.column)
            problems.append(Problem(source, int(rows[k]), column, None, rule, remedy))
    return problems


def _changes(
    cells: pd.Series,
    rows: np.ndarray,
    code: np.ndarray,
    first: np.ndarray,
    source: str,
    column: str,
) -> list[Problem]:
    """Rows whose value differs from that of the patient's first row."""
    spelled = pd.Series(parse_codes(cells), dtype=object).fillna("").to_numpy()
    known = np.flatnonzero(code >= 0)
    expected = spelled[first[code[known]]]
    problems = []
    for k, value in zip(known, expected, strict=True):
        if spelled[k] != value:
            rule = (
                f"it belongs to the patient, and differs from row {int(rows[first[code[k]]])} of "
                "the same patient"
            )
            remedy = "Write the same value into all rows of the patient."
            shown = str(spelled[k]) or None
            problems.append(Problem(source, int(rows[k]), column, shown, rule, remedy))
    return problems


def visit_column(raw: pd.DataFrame, study: Study) -> tuple[str, list[str]] | None:
    """The column that tells the rows of a patient apart, with its values, if there is one.

    Parameters
    ----------
    raw : pandas.DataFrame
        A table in which a patient has several rows.
    study : Study
        Without ``visits``.

    Returns
    -------
    tuple of str and list of str, or None
        The one of the fewest values; a column of text before one of numbers.
    """
    patient = pd.Series(parse_codes(raw[study.columns.patient]), dtype=object)
    used = {study.columns.patient, *study_columns(study)}
    found = []
    for number, column in enumerate(map(str, raw.columns)):
        if column in used or int((raw.columns == column).sum()) > 1:
            continue
        values = pd.Series(parse_codes(raw[column]), dtype=object)
        distinct = list(dict.fromkeys(values.dropna()))
        if values.isna().any() or not 2 <= len(distinct) <= min(MOST_VISITS, len(raw) - 1):
            continue
        if not pd.DataFrame({"patient": patient, "visit": values}).duplicated().any():
            text = any(not _number(value) for value in distinct)
            found.append((len(distinct), not text, number, column, [str(v) for v in distinct]))
    if not found:
        return None
    *_, named, listed = min(found)
    return named, listed


def _number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def long_table_problem(raw: pd.DataFrame, study: Study, source: str) -> Problem | None:
    """What to say of a table whose patients have a row for each visit, in a study without visits.

    Parameters
    ----------
    raw : pandas.DataFrame
    study : Study
    source : str
    """
    if study.columns.patient is None or study.visits is not None:
        return None
    patient = pd.Series(parse_codes(raw[study.columns.patient]), dtype=object).dropna()
    if not patient.duplicated().any():
        return None
    found = visit_column(raw, study)
    if found is None:
        return None
    column, values = found
    listed = ", ".join(f'"{value}"' for value in values)
    return Problem(
        source,
        None,
        column,
        None,
        f"patients have a row for each value of this column ({first_of(values)}): a table of "
        "visits, and the study does not say so",
        "Write into the study file, with the visits in the order of time, the table [visits] with "
        f'column = "{column}" and order = [{listed}].',
    )
