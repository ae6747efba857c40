"""Events of a binary outcome: which of a column's two values says that the event happened.

The study says it (``event = "yes"``). Where it does not, 1 beside 0, yes beside no and the like say
it themselves; anything else is refused, with the values found. A 1 beside a 2 may be either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from alliance.data_prep.study.description import Study
from alliance.data_prep.tables.cells import (
    LABELLED,
    canonical_code,
    declaring,
    looks_missing,
    natural_key,
    parse_codes,
    without_declared,
)

# The value without the event, and the one with it, in small letters.
UNAMBIGUOUS = (("0", "1"), ("no", "yes"), ("n", "y"), ("false", "true"), ("absent", "present"))
LISTED = 6  # values of a wrong column that a message lists


@dataclass(frozen=True, slots=True)
class Event:
    """What a binary outcome's column says.

    Attributes
    ----------
    event, other : str
        Values with and without the event; the latter empty where no row has it.
    said : bool
        Whether the study names the event.
    """

    event: str
    other: str
    said: bool

    def words(self, outcome: str, column: str) -> str:
        """A note for the reader.

        Parameters
        ----------
        outcome, column : str
        """
        if self.said:
            other = f", {self.other!r} its absence" if self.other else ""
            return f"Outcome {outcome!r}: {self.event!r} in column {column!r} is the event{other}."
        return (
            f"Outcome {outcome!r}: {self.event!r} in column {column!r} is taken for the event. "
            f'If it is not, write event = "{self.other}" under [outcomes.{outcome}].'
        )


@dataclass(frozen=True, slots=True)
class NoEvent:
    """Why a column tells no event: a rule that it breaks, and what to do."""

    rule: str
    remedy: str


def find_event(
    values: Sequence[str], event: str | None, labels: Mapping[str, str], column: str, outcome: str
) -> Event | NoEvent:
    """Which value is the event.

    Parameters
    ----------
    values : sequence of str
        Different values of the column, each once.
    event : str, optional
        As the study has it: a value, or the label that the file gives one.
    labels : mapping of str to str
        What the file says of values.
    column, outcome : str
        For messages.
    """
    groups: dict[str, str] = {}  # values that differ in capitals are one
    for value in sorted(values, key=natural_key):
        groups.setdefault(value.casefold(), value)
    found = [
        f"{value!r} ({labels[value]})" if value in labels else repr(value)
        for value in groups.values()
    ]
    listed = ", ".join(found[:LISTED]) + (", ..." if len(found) > LISTED else "")
    say = f'event = "{next(iter(groups.values()), "yes")}" under [outcomes.{outcome}]'
    if len(groups) > 2:
        marks = [value for value in groups.values() if looks_missing(value)]
        remedy = "Keep two of them; recode the others, or leave the cells empty."
        if marks and len(groups) - len(marks) <= 2:
            remedy = f"If a missing value is meant, write {declaring(column, marks)}."
        return NoEvent(f"a binary outcome has two values, and {listed} are found", remedy)
    if event is not None:
        wanted = canonical_code(event).casefold()
        named = [
            key
            for key, value in groups.items()
            if wanted in (key, labels.get(value, "").strip().casefold())
        ]
        if not named:
            rule = f"the event {event!r} is not among the values found: {listed}"
            return NoEvent(rule, f"Correct `event` under [outcomes.{outcome}] of the study file.")
        return _event(groups, named[0], said=True)
    for names in (groups, {labels.get(value, key).strip().casefold(): key
                           for key, value in groups.items()}):  # fmt: skip
        for pair in UNAMBIGUOUS:
            if names and set(names) <= set(pair):
                key = pair[1] if names is groups else names.get(pair[1], "")
                if key in groups:
                    return _event(groups, key, said=False)
                return Event(pair[1], next(iter(groups.values())), said=False)
    return NoEvent(
        f"which of the values found is the event is not clear: {listed}",
        f"Say it: {say} of the study file.",
    )


def _event(groups: Mapping[str, str], key: str, *, said: bool) -> Event:
    others = [value for other, value in groups.items() if other != key]
    return Event(groups[key], others[0] if others else "", said)


def event_of(cells: pd.Series, study: Study, outcome: str, attributes: Mapping) -> Event | NoEvent:
    """The event of an outcome, from its column.

    Parameters
    ----------
    cells : pandas.Series
    study : Study
    outcome : str
    attributes : mapping
        Of the table, with `LABELLED`.
    """
    described = study.outcomes[outcome]
    labels = attributes.get(LABELLED, {}).get(described.followup, {})
    codes = parse_codes(cells)
    values = list(dict.fromkeys(code for code in codes if code is not None))
    return find_event(values, described.event, labels, described.followup, outcome)


def events(cells: pd.Series, found: Event) -> np.ndarray:
    """1 where the event happened, 0 where it did not, NaN where the cell is empty.

    Parameters
    ----------
    cells : pandas.Series
    found : Event
    """
    event = found.event.casefold()
    codes = parse_codes(cells)
    return np.array([np.nan if code is None else float(code.casefold() == event) for code in codes])


def event_notes(frame: pd.DataFrame, study: Study) -> list[str]:
    """Say which values are the events of the study's binary outcomes.

    Parameters
    ----------
    frame : pandas.DataFrame
        The table as read.
    study : Study
    """
    notes = []
    frame = without_declared(frame.set_axis(list(map(str, frame.columns)), axis="columns"), study)
    for name, outcome in study.outcomes.items():
        if outcome.family == "binary":
            found = event_of(frame[outcome.followup], study, name, frame.attrs)
            if isinstance(found, Event):
                notes.append(found.words(name, outcome.followup))
    return notes


def separation_notes(study: Study, outcome: str, arm: np.ndarray, scores: np.ndarray) -> list[str]:
    """Say which arms have no event, or nothing else: what no maximum likelihood can answer.

    Parameters
    ----------
    study : Study
    outcome : str
    arm : ndarray of int, shape (n,)
        Of the analysed patients.
    scores : ndarray, shape (n,)
        Events, or counts of them.
    """
    family = study.outcomes[outcome].family
    if family not in ("binary", "count"):
        return []
    notes = []
    for position, code in enumerate(study.arms):
        own = scores[arm == position]
        if not len(own) or (own.any() and not (family == "binary" and own.all())):
            continue
        what = "had the event" if own.all() else "had no event"
        ratios = "odds ratio" if family == "binary" else "rate ratio"
        notes.append(
            f"Outcome {outcome!r}: all {len(own)} analysed patients of the arm {code!r} {what}. "
            f"Its {ratios}s have no maximum likelihood estimate; here the priors bound them, and "
            "they should be reported with the priors and with alliance sensitivity."
        )
    return notes
