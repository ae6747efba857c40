"""A trial in many files, larger than memory: checked file by file, and kept as cross-products.

Each file is a task of Dask, and so is each merging of two results; memory is bounded by the files
that are read at a time, and by therapists x columns x columns. The exact Gaussian model needs no
more. Results are merged in pairs in the order of the files, whatever order they come in.
"""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd

from data_prep.cell_moments import CellMoments, Column
from data_prep.cells import natural_key
from data_prep.covariates import MOST_LEVELS, Covariate
from data_prep.crossing import TherapistsInArms, crossing_of
from data_prep.errors import DataError, InputError, Problem
from data_prep.estimability import PATIENTS_PER_ARM
from data_prep.flow import counted
from data_prep.notes import empty_level_notes
from data_prep.partition import TEXT
from data_prep.registry_part import Faults, Part, merged_parts, read_part
from data_prep.study import Study

ENDINGS = (".parquet", *TEXT)
MARKS = "*?["

Compute = Callable[[Any], Any]
"""What computes a Dask value: `dask.compute` on threads, or a client's."""


@dataclass(frozen=True, eq=False, slots=True)
class Registry:
    """A trial's moments, checked against its study.

    Attributes
    ----------
    study : Study
    moments : dict of str to CellMoments
        By outcome, of the analysed patients: columns ``moderator``, ``baseline`` (where the
        outcome has one), those of the covariates, ``outcome``.
    covariates : tuple of Covariate
    flow : pandas.DataFrame
        As `data_prep.trial.Trial.flow`.
    therapists_in_arms : {"crossed", "partly crossed", "nested"}
    notes : tuple of str
    source : str
        What was read.
    files : tuple of str
        Names.
    sha256 : str
        Hash of the files' hashes, in their order.
    """

    study: Study
    moments: dict[str, CellMoments]
    covariates: tuple[Covariate, ...]
    flow: pd.DataFrame
    therapists_in_arms: TherapistsInArms
    notes: tuple[str, ...]
    source: str
    files: tuple[str, ...]
    sha256: str


def is_registry(data: Path) -> bool:
    """Whether a path names many files: a pattern, or a folder."""
    return data.is_dir() or (any(mark in str(data) for mark in MARKS) and not data.exists())


def registry_files(data: Path) -> list[Path]:
    """Files that a pattern or a folder stands for, in the order of their names.

    Parameters
    ----------
    data : Path
        Such as ``registry/*.parquet``.

    Returns
    -------
    list of Path

    Raises
    ------
    InputError
        If there are none, or one is of another kind.
    """
    pattern = str(data / "*") if data.is_dir() else str(data)
    found = [Path(name) for name in sorted(glob.glob(pattern))]
    found = [path for path in found if path.is_file() and not path.name.startswith(".")]
    if data.is_dir():
        found = [path for path in found if path.suffix.lower() in ENDINGS]
    if not found and data.is_dir():
        raise InputError(
            f"{str(data)!r} is a folder without any file ending in {', '.join(ENDINGS)}.",
            "Name the file, or a folder or pattern of files.",
        )
    if not found:
        raise InputError(
            f"There are no files {pattern!r}.", f"Name some, ending in {', '.join(ENDINGS)}."
        )
    for path in found:
        if path.suffix.lower() not in ENDINGS:
            raise InputError(
                f"{str(path)!r} cannot be one of many files: its ending is not known.",
                f"Name files ending in {', '.join(ENDINGS)}.",
            )
    return found


def load_registry(study: Study, data: Path, compute: Compute | None = None) -> Registry:
    """Read many files in one pass, and check them against the study.

    Parameters
    ----------
    study : Study
        The moderator neither imputed nor with a reliability or a ceiling.
    data : Path
        A pattern or a folder.
    compute : callable, optional
        Computes a Dask value; on local threads by default.

    Returns
    -------
    Registry

    Raises
    ------
    InputError
        If there are no files, one cannot be read, or the study needs patients' rows.
    DataError
        With the problems of all files.
    """
    require_moments(study)
    files = registry_files(data)
    parts = [dask.delayed(read_part, pure=False)(study, path) for path in files]
    while len(parts) > 1:
        pairs = [parts[k : k + 2] for k in range(0, len(parts), 2)]
        parts = [
            dask.delayed(merged_parts, pure=False)(*pair) if len(pair) == 2 else pair[0]
            for pair in pairs
        ]
    whole = on_threads(parts[0]) if compute is None else compute(parts[0])
    if isinstance(whole, Faults):
        if whole.problems:
            raise DataError(whole.problems)
        raise InputError(whole.unread, "Mend the file, or leave it out.")
    return _registry(study, whole, str(data), files)


def require_moments(study: Study) -> None:
    """Refuse models that need more of the patients than cross-products.

    Raises
    ------
    InputError
    """
    model = study.model
    native = [name for name, each in study.outcomes.items() if each.family != "gaussian"]
    needs = {
        'likelihood = "native"': model.likelihood == "native" and bool(native),
        'missing_alliance = "impute"': model.missing_alliance == "impute",
        "reliability = true": model.reliability,
        "ceiling = true": model.ceiling,
        "joint = true": model.joint,
        "delta": any(each.delta for each in study.outcomes.values()),
    }
    if asked := [name for name, wanted in needs.items() if wanted]:
        raise InputError(
            f"{asked[0]} needs the rows of all patients, and a table in many files is read as "
            "cross-products.",
            "Leave it out, or fit a random sample of therapists: --sample-therapists 200.",
        )


def on_threads(value: Any) -> Any:
    """Compute a Dask value here; threads share what is read."""
    return dask.compute(value, scheduler="threads")[0]


def _registry(study: Study, whole: Part, source: str, files: list[Path]) -> Registry:
    covariates = _covariates(study, whole, source)
    columns = [column for each in covariates for column in each.columns]
    moments, problems, levels = {}, [], list[str]()
    for name, found in whole.moments.items():
        has_baseline = study.outcomes[name].baseline is not None
        baseline = ["baseline"] if has_baseline else []
        wanted: list[Column] = ["moderator", *baseline, *columns, "outcome"]
        own = _sorted(found)
        centre = [0.0 if name not in own.columns else own.centre[own.columns.index(name)]
                  for name in wanted]  # fmt: skip
        moments[name] = own.moved(wanted, np.array(centre))
        problems += _outcome_problems(study, name, moments[name], source)
        having = [moments[name].n * moments[name].centre[wanted.index(each)] for each in columns]
        levels += empty_level_notes(name, covariates, having, moments[name].n)
    if problems:
        raise DataError(problems)
    known = whole.known
    patients = np.zeros((len(known.therapists), len(study.arms)), dtype=np.int64)
    patients[known.therapist_index, known.arm_index] = known.count
    kind, notes = crossing_of(patients, list(study.arms))
    lacking = dict(whole.lacking)
    rows = lacking.pop("row", 0)
    told = [
        f"{count} of {counted(rows, 'row')} without {what}."
        for what, count in lacking.items()
        if count
    ]
    flow = [{"outcome": name, **counts} for name, counts in whole.flow.items()]
    digest = hashlib.sha256("".join(whole.sha256).encode()).hexdigest()
    return Registry(
        study=study,
        moments=moments,
        covariates=covariates,
        flow=pd.DataFrame(flow),
        therapists_in_arms=kind,
        notes=(*told, *levels, *notes),
        source=source,
        files=tuple(path.name for path in files),
        sha256=digest,
    )


def _sorted(found: CellMoments) -> CellMoments:
    """Therapists in natural order, and cells by therapist and arm."""
    order = sorted(range(len(found.therapists)), key=lambda j: natural_key(found.therapists[j]))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    index = place[found.therapist_index]
    cells = np.lexsort((found.arm_index, index))
    return CellMoments(
        found.columns,
        tuple(found.therapists[j] for j in order),
        index[cells],
        found.arm_index[cells],
        found.count[cells],
        found.centre,
        found.sums[cells],
        found.products[cells],
    )


def _covariates(study: Study, whole: Part, source: str) -> tuple[Covariate, ...]:
    """The covariates with the levels of all files."""
    covariates: list[Covariate] = []
    problems = []
    for name in study.covariates:
        levels = whole.levels[name]
        if levels is None:
            covariates.append(Covariate(name))
            continue
        rule = ""
        if name in whole.numbers:
            rule = "the covariate is numbers in some files and text in others"
        elif len(levels) > MOST_LEVELS:
            rule = f"the covariate is text with {len(levels)} different values"
        elif len(levels) < 2:
            rule = f"the covariate has the same value ({', '.join(levels)}) in every row"
        if rule:
            remedy = "Correct the files, or remove it from `covariates` in the study file."
            problems.append(Problem(source, None, name, None, rule, remedy))
        covariates.append(Covariate(name, tuple(sorted(levels, key=natural_key))))
    if problems:
        raise DataError(problems)
    return tuple(covariates)


def _outcome_problems(study: Study, name: str, found: CellMoments, source: str) -> list[Problem]:
    """Too few patients in an arm, or a column without any spread."""
    followup = study.outcomes[name].followup

    def problem(rule: str, remedy: str) -> Problem:
        return Problem(source, None, followup, None, f"outcome {name!r}: {rule}", remedy)

    by_arm = np.bincount(found.arm_index, weights=found.count, minlength=len(study.arms))
    problems = [
        problem(
            f"the arm {code!r} has {counted(int(count), 'analysed patient')}, and it needs "
            f"{PATIENTS_PER_ARM}",
            "Fill in what is missing, or take the arm out of [arms] and out of the files.",
        )
        for code, count in zip(study.arms, by_arm, strict=True)
        if count < PATIENTS_PER_ARM
    ]
    if problems:
        return problems
    squares = np.einsum("cqq->q", found.products)
    return [
        problem(
            f"the {_told(column)} is {found.centre[k]:g} for every analysed patient",
            "Fill in missing cells, or leave the column out of the study file.",
        )
        for k, column in enumerate(found.columns)
        # A level that all or none of them have has no coefficient, see `models.encoding`.
        if not squares[k] > 0 and (isinstance(column, str) or column.level is None)
    ]


def _told(column: Column) -> str:
    return column if isinstance(column, str) else column.covariate
