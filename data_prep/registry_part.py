"""What is left of one file of a registry: its faults, or its moments and counts; they merge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.cell_moments import CellMoments, Column, cell_moments, merged
from data_prep.covariates import CovariateColumn
from data_prep.errors import DataError, InputError, Problem
from data_prep.flow import analysed_patients, flow_counts
from data_prep.partition import Partition, read_partition
from data_prep.study import Study

MOST_PROBLEMS = 100  # of all files together that are kept


@dataclass(frozen=True, slots=True)
class Faults:
    """Why files cannot be used.

    Attributes
    ----------
    problems : tuple of Problem
    unread : str
        Why a file could not be read at all; empty if all could.
    """

    problems: tuple[Problem, ...]
    unread: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """Moments and counts of one file, or of several.

    Attributes
    ----------
    known : CellMoments
        No columns: patients whose therapist and arm are known.
    moments : dict of str to CellMoments
        By outcome, of its analysed patients.
    flow : dict of str to dict
        By outcome, as of `data_prep.flow.flow_counts`.
    lacking : dict of str to int
        Rows, and those without arm, therapist, moderator.
    levels : dict of str to tuple of str, or None
        By covariate, the levels that occur; None where no file has text.
    numbers : frozenset of str
        Covariates that are numbers in some file.
    sha256 : tuple of str
        Of each file.
    """

    known: CellMoments
    moments: dict[str, CellMoments]
    flow: dict[str, dict[str, int]]
    lacking: dict[str, int]
    levels: dict[str, tuple[str, ...] | None]
    numbers: frozenset[str]
    sha256: tuple[str, ...]


def read_part(study: Study, path: Path) -> Part | Faults:
    """One file's moments, or its faults.

    Parameters
    ----------
    study : Study
    path : Path
    """
    try:
        partition = read_partition(study, path)
    except DataError as error:
        return Faults(error.problems[:MOST_PROBLEMS])
    except InputError as error:
        return Faults((), str(error))
    return part_of(study, partition)


def part_of(study: Study, partition: Partition) -> Part:
    """Moments and counts of one file's patients."""
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
    moments, flow = {}, {}
    for name in study.outcomes:
        rows = analysed_patients(data, name)
        columns: dict[Column, np.ndarray] = {"moderator": rows["moderator"].values}
        if "baseline" in rows:
            columns["baseline"] = rows["baseline"].values
        covariates = rows["covariates"].values.T
        columns |= dict(zip(partition.columns, covariates, strict=True))
        columns["outcome"] = rows["outcome"].values
        moments[name] = cell_moments(
            list(columns),
            np.array(list(columns.values()), dtype=float),
            ids,
            rows["therapist_index"].values,
            rows["arm_index"].values,
        )
        counts = flow_counts(data, name)
        flow[name] = {key: int(value) for key, value in counts.items() if key != "outcome"}
    numbers = {
        name
        for name, levels in partition.levels.items()
        if levels is None
        and np.isfinite(
            data["covariates"].values[:, partition.columns.index(CovariateColumn(name))]
        ).any()
    }
    return Part(
        known=cell_moments([], np.empty((0, len(known))), ids, therapist[known], arm[known]),
        moments=moments,
        flow=flow,
        lacking=lacking,
        levels=partition.levels,
        numbers=frozenset(numbers),
        sha256=(partition.sha256,),
    )


def merged_parts(one: Part | Faults, other: Part | Faults) -> Part | Faults:
    """What two are together; faults of either stand for both.

    Parameters
    ----------
    one, other : Part or Faults
        The first of the earlier files.
    """
    if isinstance(one, Faults) or isinstance(other, Faults):
        found = [each for each in (one, other) if isinstance(each, Faults)]
        problems = tuple(problem for each in found for problem in each.problems)
        return Faults(problems[:MOST_PROBLEMS], next((f.unread for f in found if f.unread), ""))
    levels: dict[str, tuple[str, ...] | None] = {}
    for name, own in one.levels.items():
        text = [some for some in (own, other.levels[name]) if some is not None]
        together = dict.fromkeys(label for some in text for label in some)
        levels[name] = tuple(together) if text else None
    return Part(
        known=merged([one.known, other.known]),
        moments={name: merged([own, other.moments[name]]) for name, own in one.moments.items()},
        flow={name: _added(own, other.flow[name]) for name, own in one.flow.items()},
        lacking=_added(one.lacking, other.lacking),
        levels=levels,
        numbers=one.numbers | other.numbers,
        sha256=(*one.sha256, *other.sha256),
    )


def _added(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {key: value + other[key] for key, value in one.items()}
