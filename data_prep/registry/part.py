"""What is left of one file of a registry: problems, moments, counts; that of several adds up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.cell_moments import CellMoments, Column, cell_moments, merged
from alliance.data_prep.errors import DataError, InputError, Problem
from alliance.data_prep.registry.partition import Partition, TypedFile, partition_of, read_typed
from alliance.data_prep.registry.patient_ids import IdHashes
from alliance.data_prep.study.description import Study
from alliance.data_prep.trial.flow import analysed_patients, flow_counts
from alliance.data_prep.trial.seen import Places, Seen, seen_in
from alliance.data_prep.trial.validation import CovariateCells

MOST_PROBLEMS = 1000  # of all files together that are kept

Ends = NDArray[np.float64]
"""Lowest and highest value in each arm, shape (arms, 2); infinite where there is none."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file.

    Attributes
    ----------
    name, sha256 : str
    rows : int
    """

    name: str
    sha256: str
    rows: int


@dataclass(frozen=True, eq=False, slots=True)
class Facts:
    """Moments and counts of files without problems.

    Attributes
    ----------
    known : CellMoments
        No columns: patients whose therapist and arm are known.
    moments : dict of str to CellMoments
        By outcome, of its analysed patients.
    ends : dict of str to dict of Column to Ends
        By outcome and column, of its analysed patients.
    flow : dict of str to dict
        By outcome, as of `data_prep.trial.flow.flow_counts`.
    gaps : dict of str to dict of str to ndarray of int, shape (arms,)
        By outcome and column that its analysis needs, rows in each arm that lack it.
    given : dict of str to dict
        By outcome, how many rows have a follow-up, and a baseline.
    lacking : dict of str to int
        Rows, and those without arm, therapist, moderator.
    arms : ndarray of int, shape (arms,)
        Rows in each arm.
    """

    known: CellMoments
    moments: dict[str, CellMoments]
    ends: dict[str, dict[Column, Ends]]
    flow: dict[str, dict[str, int]]
    gaps: dict[str, dict[str, NDArray[np.int64]]]
    given: dict[str, dict[str, int]]
    lacking: dict[str, int]
    arms: NDArray[np.int64]

    def __add__(self, other: Facts) -> Facts:
        return Facts(
            known=merged([self.known, other.known]),
            moments={
                name: merged([own, other.moments[name]]) for name, own in self.moments.items()
            },
            ends={name: _wider(own, other.ends[name]) for name, own in self.ends.items()},
            flow={name: _added(own, other.flow[name]) for name, own in self.flow.items()},
            gaps={
                name: {column: count + other.gaps[name][column] for column, count in own.items()}
                for name, own in self.gaps.items()
            },
            given={name: _added(own, other.given[name]) for name, own in self.given.items()},
            lacking=_added(self.lacking, other.lacking),
            arms=self.arms + other.arms,
        )


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """What is left of one file, or of several.

    Attributes
    ----------
    sources : tuple of Source
    unread : tuple of (str, str, str)
        Files that could not be read at all, what is wrong, and what to do.
    problems : tuple of Problem
        Of columns and cells.
    totals : tuple of Problem
        Of totals that were scored from items.
    complete : bool
        Whether all files have all columns.
    arms : frozenset of str
        Codes in the column of the arms.
    covariates : dict of str to CovariateCells
    seen : Seen
    ids : IdHashes
    notes : tuple of str
        Of the readers.
    facts : Facts or None
        None if there is anything wrong.
    """

    sources: tuple[Source, ...]
    unread: tuple[tuple[str, str, str], ...]
    problems: tuple[Problem, ...]
    totals: tuple[Problem, ...]
    complete: bool
    arms: frozenset[str]
    covariates: dict[str, CovariateCells]
    seen: Seen
    ids: IdHashes
    notes: tuple[str, ...]
    facts: Facts | None

    def __add__(self, other: Part) -> Part:
        covariates = dict(self.covariates)
        for name, cells in other.covariates.items():
            covariates[name] = covariates[name] + cells if name in covariates else cells
        facts = None
        if self.facts is not None and other.facts is not None:
            facts = self.facts + other.facts
        return Part(
            sources=(*self.sources, *other.sources),
            unread=(*self.unread, *other.unread)[:MOST_PROBLEMS],
            problems=(*self.problems, *other.problems)[:MOST_PROBLEMS],
            totals=(*self.totals, *other.totals)[:MOST_PROBLEMS],
            complete=self.complete and other.complete,
            arms=self.arms | other.arms,
            covariates=covariates,
            seen=self.seen + other.seen,
            ids=self.ids + other.ids,
            notes=(*self.notes, *other.notes)[:MOST_PROBLEMS],
            facts=facts,
        )


NOTHING_SEEN = Seen({}, {}, {}, Places(0, ()), None, {}, {})


def read_part(study: Study, path: Path, continuous: Mapping[str, bool]) -> Part:
    """What is left of one file.

    Parameters
    ----------
    study : Study
    path : Path
    continuous : mapping of str to bool
        As of `data_prep.trial.validation.check_part`.
    """
    try:
        found = read_typed(study, path, continuous)
    except DataError as error:
        return _unusable(path, problems=error.problems)
    except InputError as error:
        return _unusable(path, unread=((path.name, error.problem, error.remedy),))
    seen = NOTHING_SEEN
    if found.seen:
        seen = seen_in(study, found.seen, found.rows, found.name, found.labels)
    return Part(
        sources=(Source(found.name, found.sha256, len(found.rows)),),
        unread=(),
        problems=found.problems[:MOST_PROBLEMS],
        totals=found.totals[:MOST_PROBLEMS],
        complete=found.complete,
        arms=found.arms,
        covariates=found.covariates,
        seen=seen,
        ids=found.ids,
        notes=found.notes,
        facts=None if found.columns is None else facts_of(study, found),
    )


def _unusable(
    path: Path,
    problems: tuple[Problem, ...] = (),
    unread: tuple[tuple[str, str, str], ...] = (),
) -> Part:
    return Part(
        sources=(Source(path.name, "", 0),),
        unread=unread,
        problems=problems[:MOST_PROBLEMS],
        totals=(),
        complete=False,
        arms=frozenset(),
        covariates={},
        seen=NOTHING_SEEN,
        ids=IdHashes(),
        notes=(),
        facts=None,
    )


def facts_of(study: Study, found: TypedFile) -> Facts:
    """Moments and counts of one file's patients.

    Parameters
    ----------
    study : Study
    found : TypedFile
        Without problems.
    """
    assert found.columns is not None
    partition = partition_of(study, found.columns)
    data = partition.data
    arm, therapist = data["arm_index"].values, data["therapist_index"].values
    ids = partition.therapists
    known = np.flatnonzero((arm >= 0) & (therapist >= 0))
    lacking = {
        "row": len(arm),
        "arm": int((arm < 0).sum()),
        "therapist": int((therapist < 0).sum()),
        study.moderator.name: int(np.isnan(data["moderator"].values).sum()),
    }
    moments: dict[str, CellMoments] = {}
    ends: dict[str, dict[Column, Ends]] = {}
    flow, given, gaps = {}, {}, {}
    for name in study.outcomes:
        rows = analysed_patients(data, name)
        columns: dict[Column, np.ndarray] = {"moderator": rows["moderator"].values}
        if "baseline" in rows:
            columns["baseline"] = rows["baseline"].values
        covariates = rows["covariates"].values.T
        columns |= dict(zip(partition.columns, covariates, strict=True))
        columns["outcome"] = rows["outcome"].values
        values = np.array(list(columns.values()), dtype=float)
        moments[name] = cell_moments(
            list(columns), values, ids, rows["therapist_index"].values, rows["arm_index"].values
        )
        own = rows["arm_index"].values
        ends[name] = {
            column: _ends(values[k], own, len(study.arms)) for k, column in enumerate(columns)
        }
        counts = flow_counts(data, name)
        flow[name] = {key: int(value) for key, value in counts.items() if key != "outcome"}
        gaps[name] = _gaps(study, name, partition, len(study.arms))
        given[name] = {
            which: int(np.isfinite(data[f"{name}_{which}"].values).sum())
            for which in ("followup", "baseline")
            if f"{name}_{which}" in data
        }
    return Facts(
        known=cell_moments([], np.empty((0, len(known))), ids, therapist[known], arm[known]),
        moments=moments,
        ends=ends,
        flow=flow,
        gaps=gaps,
        given=given,
        lacking=lacking,
        arms=np.bincount(arm[arm >= 0], minlength=len(study.arms)),
    )


def _gaps(study: Study, name: str, partition: Partition, arms: int) -> dict[str, NDArray[np.int64]]:
    """Rows in each arm that lack a column of the outcome's analysis; see `estimability`."""
    outcome, moderator, data = study.outcomes[name], study.moderator, partition.data
    lacks = {
        study.columns.therapist: data["therapist_index"].values < 0,
        moderator.column or moderator.items[0]: np.isnan(data["moderator"].values),
        outcome.followup: np.isnan(data[f"{name}_followup"].values),
    }
    if outcome.baseline is not None:
        lacks[outcome.baseline] = np.isnan(data[f"{name}_baseline"].values)
    for column, values in zip(partition.columns, data["covariates"].values.T, strict=True):
        lacks[column.covariate] = np.isnan(values)
    arm = data["arm_index"].values
    return {
        column: np.bincount(arm[missing & (arm >= 0)], minlength=arms)
        for column, missing in lacks.items()
    }


def _ends(values: NDArray[np.float64], arm: NDArray[np.int64], arms: int) -> Ends:
    found = np.full((arms, 2), [np.inf, -np.inf])
    np.minimum.at(found[:, 0], arm, values)
    np.maximum.at(found[:, 1], arm, values)
    return found


def _wider(one: dict[Column, Ends], other: dict[Column, Ends]) -> dict[Column, Ends]:
    """Ends of both; a column that one does not have is zero for its patients, as in moments."""
    found = {}
    for name in (*one, *(name for name in other if name not in one)):
        pairs = []
        for own in (one, other):
            if name in own:
                pairs.append(own[name])
            else:
                here = np.isfinite(own["outcome"][:, 0])
                pairs.append(np.where(here[:, None], 0.0, [np.inf, -np.inf]))
        low, high = np.minimum(*pairs)[:, 0], np.maximum(*pairs)[:, 1]
        found[name] = np.column_stack([low, high])
    return found


def _added(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {key: value + other[key] for key, value in one.items()}
