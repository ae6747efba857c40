"""Columns of scores by what they measure, each with the time that its name tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from alliance.data_prep.initial import names
from alliance.data_prep.initial.columns import Column
from alliance.data_prep.initial.names import Timed, baseline_alone, rank, timed
from alliance.data_prep.initial.scales import FEW_STEPS

FEWEST_ITEMS = 4
SURE_MARKS = ("before", "alone", "after", "later", "unit")

type Measures = dict[str, dict[str, Timed]]


def measures(columns: Mapping[str, Column]) -> Measures:
    """Group columns of scores by what they measure, each with its time.

    Parameters
    ----------
    columns : mapping of str to Column
        By name.

    Returns
    -------
    dict of str to dict of str to Timed
        By what is measured, and by column.
    """
    found: Measures = {}
    for name, column in columns.items():
        score = scored(name)
        event = len(column.levels) == 2 and score
        described = rank(name, names.COVARIATE) is not None and not score
        if not (column.numeric or event) or described:
            continue
        mark = timed(name)
        found.setdefault(mark.stem, {})[name] = mark
    groups = {}
    for stem, group in found.items():
        marked = [mark for mark in group.values() if mark.kind]
        if len(items_among([columns[name] for name in group])) >= FEWEST_ITEMS:
            continue
        numbered = all(mark.kind == "number" for mark in marked)  # phq9, sf36, site2
        alone = len(group) == 1 and (not marked or numbered)
        if scored(next(iter(group))) if alone else bool(marked):
            groups[stem] = group
    return _with_lone_baselines(columns, _with_longer_names(columns, groups))


def _with_longer_names(columns: Mapping[str, Column], groups: Measures) -> Measures:
    """A baseline whose follow-up goes on otherwise: thkspre and thksord."""
    for stem, group in groups.items():
        if len(stem) < 3 or not all(mark.first for mark in group.values()):
            continue
        for name, column in columns.items():
            goes_on = name.lower().startswith(stem) and name not in group
            if goes_on and column.numeric and len(column.levels) > 2 and name not in groups:
                group[name] = Timed(stem, names.AFTER, name[len(stem) :], "after")
    return groups


def _with_lone_baselines(columns: Mapping[str, Column], groups: Measures) -> Measures:
    """A column that is called baseline alone belongs to the follow-up it goes with best."""
    for name, column in columns.items():
        if not baseline_alone(name) or not column.numeric:
            continue
        lacking = [
            stem
            for stem, group in groups.items()
            if name not in group and not before_treatment(group)
        ]
        together = {stem: _correlation(columns, column, groups[stem]) for stem in lacking}
        if together and (best := max(together, key=lambda stem: together[stem])):
            if best:
                groups.pop("", None)
            groups[best][name] = Timed(best, names.BEFORE, name, "alone")
    return groups


def _correlation(columns: Mapping[str, Column], column: Column, group: dict[str, Timed]) -> float:
    found = [0.0]
    for name in group:
        other = columns[name].values
        both = np.isfinite(column.values) & np.isfinite(other)
        if both.sum() > 2 and np.ptp(other[both]) > 0 and np.ptp(column.values[both]) > 0:
            found.append(float(np.corrcoef(column.values[both], other[both])[0, 1]))
    return max(found)


def scored(name: str) -> bool:
    """Whether a name is that of a score."""
    return rank(name, names.SCORES) is not None


def items_among(columns: Sequence[Column]) -> list[Column]:
    """Items of one questionnaire: numbered without a gap, on one scale of few whole answers."""
    numbered: dict[str, dict[int, Column]] = {}
    for column in columns:
        mark = timed(column.name)
        if mark.kind in ("number", "visit") and column.whole and len(column.levels) <= FEW_STEPS:
            stem = column.name[: len(column.name) - len(mark.mark)].lower()
            numbered.setdefault(stem, {})[int(mark.time)] = column
    for group in numbered.values():
        places = sorted(group)
        low = min(float(each.finite.min()) for each in group.values())
        high = max(float(each.finite.max()) for each in group.values())
        together = places == list(range(places[0], places[0] + len(places)))
        if len(group) >= FEWEST_ITEMS and together and high - low < FEW_STEPS:
            return [group[place] for place in places]
    return []


def surest(groups: Measures) -> Measures:
    """Groups with a baseline or a time by name, or with the name of a score; all if none has."""
    sure = {
        stem: group
        for stem, group in groups.items()
        if any(mark.kind in SURE_MARKS for mark in group.values())
        or any(mark.time == names.BEFORE and mark.kind for mark in group.values())
        or any(map(scored, group))
    }
    return sure or groups


def before_treatment(group: dict[str, Timed]) -> list[str]:
    """Columns of before treatment: those that say so, or else the first of several visits."""
    said = [name for name, mark in group.items() if mark.kind and mark.time == names.BEFORE]
    return said or [name for name, mark in group.items() if mark.first]


def in_time(mark: Timed) -> float:
    """When a follow-up was measured, to be sorted by."""
    return names.AFTER if mark.time == names.UNMARKED else mark.time
