"""What is kept of a table for notes about its codes, numbers and items; several tables add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alliance.data_prep.cell_moments import CellMoments, cell_moments, merged
from alliance.data_prep.covariates import (
    FEW_VALUES,
    PATIENTS_PER_CODE,
    kind_notes,
    name_notes,
)
from alliance.data_prep.study.description import Study
from alliance.data_prep.tables.cells import (
    LABELLED,
    Codes,
    Column,
    Numbers,
    declaring,
    looks_missing,
    marker_codes,
    numbers_of,
    spelled,
    spelling_note,
    sums,
)
from alliance.data_prep.tables.roles import (
    MODERATOR,
    THERAPIST,
    baseline_column,
    covariate_column,
    followup_column,
    item_column,
)
from alliance.data_prep.trial.flow import counted
from alliance.data_prep.trial.items import direction_notes

LISTED_ROWS = 20  # rows that a note lists before it says how many more there are


@dataclass(frozen=True, slots=True)
class Places:
    """Rows of files: how many, and the first ones.

    Attributes
    ----------
    count : int
    first : tuple of (str, int)
        File and row of the first `LISTED_ROWS`.
    """

    count: int
    first: tuple[tuple[str, int], ...]

    def __add__(self, other: Places) -> Places:
        return Places(self.count + other.count, (*self.first, *other.first)[:LISTED_ROWS])

    def told(self, *, files: bool) -> str:
        """Such as ``rows 4, 11``; with the names of the files, ``a.csv row 4; b.csv row 2``."""
        by_file: dict[str, list[int]] = {}
        for file, row in self.first:
            by_file.setdefault(file, []).append(row)
        texts = [
            (f"{file} " if files else "")
            + ("row " if len(rows) == 1 else "rows ")
            + ", ".join(map(str, rows))
            for file, rows in by_file.items()
        ]
        more = self.count - len(self.first)
        return "; ".join(texts) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True, eq=False, slots=True)
class Seen:
    """What the notes need.

    Attributes
    ----------
    codes : dict of str to dict of str to None
        By part, of therapists and categories: the codes that occur, each once.
    numbers : dict of str to Numbers
        By part: of continuous covariates, of a moderator that is no sum of items, of outcomes and
        their baselines.
    places : dict of (str, str) to Places
        By part and code: where codes and numbers stand that may mean a missing value.
    unscored : Places
        Patients who left too many items unanswered.
    items : CellMoments or None
        Of the items of those who answered all.
    few : dict of str to dict of float to int, or None
        By covariate of numbers: its different values with their counts; None where there are many.
    labels : dict of str to dict of str to str
        Of values, by column of the file.
    """

    codes: dict[str, dict[str, None]]
    numbers: dict[str, Numbers]
    places: dict[tuple[str, str], Places]
    unscored: Places
    items: CellMoments | None
    few: dict[str, dict[float, int] | None]
    labels: dict[str, dict[str, str]]

    def __add__(self, other: Seen) -> Seen:
        codes = {
            name: {**self.codes.get(name, {}), **other.codes.get(name, {})}
            for name in (*self.codes, *other.codes)
        }
        items = [each.items for each in (self, other) if each.items is not None]
        return Seen(
            codes,
            _added(self.numbers, other.numbers),
            _added(self.places, other.places),
            self.unscored + other.unscored,
            merged(items) if items else None,
            {
                name: _few(self.few.get(name, {}), other.few.get(name, {}))
                for name in (*self.few, *other.few)
            },
            {
                name: {**self.labels.get(name, {}), **other.labels.get(name, {})}
                for name in (*self.labels, *other.labels)
            },
        )


def _added[K, V: (Numbers, Places)](one: Mapping[K, V], other: Mapping[K, V]) -> dict[K, V]:
    both = dict(one)
    for key, value in other.items():
        both[key] = both[key] + value if key in both else value
    return both


def _few(one: dict[float, int] | None, other: dict[float, int] | None) -> dict[float, int] | None:
    both = None if one is None or other is None else sums(one, other)
    return None if both is None or len(both) > FEW_VALUES[1] else both


def _few_of(values: NDArray[np.float64]) -> dict[float, int] | None:
    values = values[np.isfinite(values)]
    if len(np.unique(values[: 100 * FEW_VALUES[1]])) > FEW_VALUES[1]:
        return None  # the usual column tells itself here
    distinct, times = np.unique(values, return_counts=True)
    return _few(dict(zip(distinct.tolist(), times.tolist(), strict=True)), {})


def seen_in(
    study: Study,
    columns: Mapping[str, Column],
    rows: NDArray[np.int64],
    source: str,
    labels: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> Seen:
    """Keep of one table what the notes need.

    Parameters
    ----------
    study : Study
    columns : mapping of str to Column
        As of `data_prep.tables.cells.typed_columns`.
    rows : ndarray of int, shape (n,)
        Number of each row.
    source : str
        Name of the file.
    labels : mapping of str to mapping of str to str
        Of values, by column of the file.
    """
    codes: dict[str, dict[str, None]] = {}
    numbers, places = {}, {}

    def placed(mask: NDArray[np.bool_]) -> Places:
        where = rows[mask]
        return Places(len(where), tuple((source, int(row)) for row in where[:LISTED_ROWS]))

    for name in _asked_about(study):
        column = columns[name]
        if isinstance(column, Codes):
            codes[name] = {code: None for code, count in column.counts().items() if count}
            for place, code in enumerate(column.labels):
                if looks_missing(code):
                    places[name, code] = placed(column.index == place)
        else:
            numbers[name] = numbers_of(column)
            for value in numbers[name].tails:
                places[name, spelled(value)] = placed(column == value)
    unscored, items = Places(0, ()), None
    if study.moderator is not None and study.moderator.items:
        answers = np.array([columns[item_column(item)] for item in study.moderator.items])
        unanswered = np.isnan(answers).sum(axis=0)
        partly = (unanswered > study.moderator.max_missing) & (unanswered < len(answers))
        unscored = placed(partly)
        complete = answers[:, unanswered == 0]
        nowhere = np.zeros(complete.shape[1], dtype=np.int64)
        items = cell_moments(study.moderator.items, complete, ["all"], nowhere, nowhere)
    few = {
        name: _few_of(column)
        for name in study.covariates
        if not isinstance(column := columns[covariate_column(name)], Codes)
    }
    own = {name: dict(labels[name]) for name in study.covariates if name in labels}
    return Seen(codes, numbers, places, unscored, items, few, own)


def _asked_about(study: Study) -> dict[str, str]:
    """Parts whose codes and numbers may mean a missing value, and their columns in the file."""
    therapist = study.columns.therapist
    parts = {} if therapist is None else {THERAPIST: therapist}
    parts |= {covariate_column(name): name for name in study.covariates}
    if study.moderator is not None and study.moderator.column is not None:
        parts[MODERATOR] = study.moderator.column
    for name, outcome in study.outcomes.items():
        if outcome.baseline is not None and outcome.baseline not in parts.values():
            parts[baseline_column(name)] = outcome.baseline
        parts[followup_column(name)] = outcome.followup
    return parts


def category_notes(study: Study, seen: Seen) -> list[str]:
    """Say what was made of covariates of codes; see `data_prep.covariates.kind_notes`.

    Parameters
    ----------
    study : Study
    seen : Seen
    """
    notes = []
    for name in study.covariates:
        levels = list(seen.codes.get(covariate_column(name), {}))
        values: NDArray[Any] = np.array(levels, dtype=object)
        if not levels:
            few = seen.few.get(name)
            if few is None or sum(few.values()) < PATIENTS_PER_CODE * len(few):
                numbers = seen.numbers.get(covariate_column(name))
                if numbers is not None and numbers.repeated_whole(PATIENTS_PER_CODE):
                    notes += name_notes(name, study.covariate_kinds)
                continue
            values = np.array(sorted(few))
        raw = pd.DataFrame({name: pd.Series(levels, dtype="str")})
        raw.attrs[LABELLED] = seen.labels
        notes += kind_notes(raw, {name: values}, study.covariate_kinds)
    return notes


def scoring_notes(study: Study, seen: Seen, *, files: bool) -> list[str]:
    """Say who has no total because too many items are unanswered.

    Parameters
    ----------
    study : Study
    seen : Seen
    files : bool
        Whether rows are named with their files.
    """
    if not seen.unscored.count:
        return []
    settings = study.measure
    where = seen.unscored.told(files=files)
    return [
        f"{counted(seen.unscored.count, 'patient')} left more than {settings.max_missing} of the "
        f"{len(settings.items)} items unanswered, so the {settings.name} is missing: {where}."
    ]


def code_notes(study: Study, seen: Seen, *, files: bool) -> list[str]:
    """Ask about codes that look like missing values, are spelled apart, and items turned round.

    Parameters
    ----------
    study : Study
    seen : Seen
    files : bool
        Whether rows are named with their files.

    Returns
    -------
    list of str
    """
    notes: list[str] = []
    if seen.items is not None and seen.items.n:
        notes += direction_notes(study.measure, seen.items.products.sum(axis=0), seen.items.n)
    for part, column in _asked_about(study).items():
        own = seen.codes.get(part, {})
        numbers = seen.numbers.get(part)
        if own:
            times = {code: places.count for (of, code), places in seen.places.items() if of == part}
            pairs = [(code, times.get(code, 1)) for code in own]
            found = marker_codes(pairs, words=part == THERAPIST)
            as_what = "a therapist" if part == THERAPIST else "a category"
            told = f"counts as {as_what}" if len(found) == 1 else f"count as {as_what} each"
        else:
            found = list(map(spelled, numbers.apart())) if numbers is not None else []
            told = "stands" if len(found) == 1 else "stand"
            if numbers is not None:
                low, high = numbers.rest()
                told += f" apart from the other values ({low:g} to {high:g})"
        if found:
            notes.append(_marker_note(column, found, told, part, seen, files=files))
        what = "therapist" if part == THERAPIST else f"category of {column!r}"
        notes += spelling_note(what, [code for code in own if code not in found])
    return notes


def _marker_note(
    column: str, found: Sequence[str], told: str, part: str, seen: Seen, *, files: bool
) -> str:
    where = ", ".join(f"{code!r} ({seen.places[part, code].told(files=files)})" for code in found)
    return (
        f"Column {column!r}: {where} {told}. If a missing value is meant, empty the cells, or "
        f"write {declaring(column, found)}; correct what is a slip."
    )
