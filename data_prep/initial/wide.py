"""A long table, one row for each patient and visit, as one row for each patient."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from alliance.data_prep.initial import names
from alliance.data_prep.initial.columns import Column
from alliance.data_prep.initial.names import rank
from alliance.data_prep.tables.cells import LABELLED, TITLED, natural_key

MOST_VISITS = 30
FEWEST_ROWS = 1.5  # of a patient on average


def long_keys(columns: Sequence[Column]) -> tuple[str, str] | None:
    """Columns of patients and visits, where a table has a row for each patient and visit.

    Parameters
    ----------
    columns : sequence of Column

    Returns
    -------
    tuple of str, or None
    """
    for patient in _ranked(columns, names.PATIENT):
        if patient.unique or patient.filled < len(patient.codes):
            continue
        if len(patient.codes) < FEWEST_ROWS * len(patient.levels):
            continue
        for visit in _ranked(columns, names.VISIT):
            if not 2 <= len(visit.levels) <= MOST_VISITS or visit.filled < len(visit.codes):
                continue
            pairs = pd.DataFrame({"patient": patient.codes, "visit": visit.codes})
            if not pairs.duplicated().any():
                return patient.name, visit.name
    return None


def _ranked(columns: Sequence[Column], vocabulary: tuple[str, ...]) -> list[Column]:
    ranks = [(rank(column.name, vocabulary), column) for column in columns]
    known = [(place, column) for place, column in ranks if place is not None]
    return [column for _, column in sorted(known, key=lambda pair: pair[0])]


def as_wide(frame: pd.DataFrame, patient: str, visit: str) -> pd.DataFrame:
    """One row for each patient: what changes between visits has a column for each of them.

    Parameters
    ----------
    frame : pandas.DataFrame
        As of `data_prep.tables.readers.Table`.
    patient, visit : str
        As of `long_keys`.

    Returns
    -------
    pandas.DataFrame
        Columns that are the same at all visits of a patient under their names; the others as
        ``NAME_VISIT``. Columns that only count the visits are left out.
    """
    others = [name for name in frame.columns if name not in (patient, visit)]
    visits = sorted(frame[visit].dropna().unique(), key=natural_key)

    def differs(key: str) -> set[str]:
        """Columns that differ between some rows with the same value of the key."""
        most = frame.groupby(key, sort=False)[others].nunique().max()
        return set(most.index[most > 1])

    constant = [name for name in others if name not in differs(patient)]
    changing = [name for name in others if name in differs(patient) & differs(visit)]
    wide = frame.groupby(patient, sort=False)[constant].first()
    by_visit = frame.set_index([patient, visit])
    for name in changing:
        for each in visits:
            cells = by_visit[name].xs(each, level=1)
            wide[f"{name}_{each}"] = cells.reindex(wide.index)
    found = wide.reset_index()
    found.index = pd.RangeIndex(2, len(found) + 2, name="row")
    labels, titles = frame.attrs.get(LABELLED, {}), frame.attrs.get(TITLED, {})
    origin = {name: name for name in (patient, *constant)}
    origin |= {f"{name}_{each}": name for name in changing for each in visits}
    found.attrs = {
        LABELLED: {name: labels[own] for name, own in origin.items() if own in labels},
        TITLED: {name: titles[own] for name, own in origin.items() if own in titles},
    }
    return found
