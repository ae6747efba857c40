"""All patients of some therapists of a registry, drawn at random, as an ordinary trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path

import dask
import numpy as np
import pandas as pd

from alliance.data_prep.errors import DataError, InputError, Problem
from alliance.data_prep.files import AnyPath, as_path, file_sha256
from alliance.data_prep.registry.part import Source
from alliance.data_prep.registry.partition import arrow_table, codes_of
from alliance.data_prep.registry.registry import Compute, on_threads, patients_again, registry_files
from alliance.data_prep.registry.rules import kind_of, refuse_copies
from alliance.data_prep.study.description import Study
from alliance.data_prep.tables.binary_files import as_cells
from alliance.data_prep.tables.cells import natural_key, parse_codes
from alliance.data_prep.tables.missing_values import declared, without_declared
from alliance.data_prep.tables.readers import Table, read_table
from alliance.data_prep.tables.roles import study_columns
from alliance.data_prep.trial.trial import Trial, trial_from_frame
from alliance.data_prep.trial.validation import check_columns, check_part


def sample_therapists(
    study: Study, data: AnyPath, number: int, seed: int, compute: Compute | None = None
) -> Trial:
    """Take so many therapists at random, with all their patients.

    Parameters
    ----------
    study : Study
    data : str or path-like
        A pattern or a folder.
    number : int
        Of therapists; all of them if there are not more.
    seed : int
    compute : callable, optional
        Computes a Dask value; on local threads by default.

    Returns
    -------
    Trial
        Whose notes say how it was drawn.

    Raises
    ------
    InputError
        If there are no files, or one cannot be read.
    DataError
        With the problems of the chosen therapists' rows.
    """
    data = as_path(data)
    files = registry_files(data)
    run = on_threads if compute is None else compute
    found = run([dask.delayed(therapists_of, pure=False)(study, path) for path in files])
    refuse_copies(source for _, source in found)
    everyone = sorted({name for names, _ in found for name in names}, key=natural_key)
    if not everyone:
        raise InputError(f"No row of {str(data)!r} has a therapist.", "Name the right column.")
    generator = np.random.default_rng(seed)
    places = generator.permutation(len(everyone))[:number]
    chosen = frozenset(everyone[place] for place in places)
    frames = run([dask.delayed(rows_of, pure=False)(study, path, chosen) for path in files])
    named = [(path.name, frame) for path, frame in zip(files, frames, strict=True)]
    if problems := _problems(study, named):
        raise DataError(problems)
    together: pd.DataFrame = pd.concat(frames, ignore_index=True)
    trial = trial_from_frame(study, together, str(data))
    rows = sum(source.rows for _, source in found)
    note = (
        f"A random sample of {len(chosen):,} of {len(everyone):,} therapists (seed {seed}): "
        f"{len(together):,} of {rows:,} rows. What is said holds for "
        "therapists like these; it is less certain than from all rows."
    )
    return replace(trial, notes=(note, *trial.notes))


def _problems(study: Study, files: Sequence[tuple[str, pd.DataFrame]]) -> list[Problem]:
    """Problems of the rows, under the names of their files; what a covariate is, all rows tell."""
    checked = [check_part(frame, study, name, {}) for name, frame in files]
    cells = [each.covariates for each in checked]
    declared = study.covariate_kinds
    found = {
        name: kind_of(reduce(add, [own[name] for own in cells]), declared.get(name))
        for name in study.covariates
    }
    checked = [check_part(frame, study, name, found) for name, frame in files]
    column = study.columns.patient
    ids = [
        (name, [(code, int(row)) for code, row in zip(parse_codes(frame[column]), frame.index,
                                                      strict=True) if code is not None])
        for name, frame in files
    ]  # fmt: skip
    again, _ = patients_again(ids, column)
    return [*(problem for each in checked for problem in each.problems), *again]


def therapists_of(study: Study, path: Path) -> tuple[list[str], Source]:
    """Ids of the therapists in a file, and the file."""
    column = study.columns.therapist
    table = None
    if path.suffix.lower() == ".parquet":
        table = arrow_table(path, study_columns(study), [column])
    if table is None:
        found = _table(study, path)
        names = [str(name) for name in pd.unique(parse_codes(found.frame[column])) if name]
        return names, Source(path.name, found.sha256, len(found.frame))
    codes = codes_of(table.column(column), declared(study, column))
    return codes.labels, Source(path.name, file_sha256(path), table.num_rows)


def rows_of(study: Study, path: Path, chosen: frozenset[str]) -> pd.DataFrame:
    """Rows of these therapists in a file, in the columns of the study, under their numbers."""
    column = study.columns.therapist
    table = None
    if path.suffix.lower() == ".parquet":
        table = arrow_table(path, study_columns(study), [column])
    if table is None:
        frame = _table(study, path).frame
        kept = pd.Series(parse_codes(frame[column]), index=frame.index).isin(chosen)
        return frame.loc[kept.to_numpy(), list(study_columns(study))]
    codes = codes_of(table.column(column), declared(study, column))
    wanted = np.array([*(label in chosen for label in codes.labels), False])[codes.index]
    frame = as_cells(table.filter(wanted))
    # As in a spreadsheet, whose header is row 1
    return frame.set_index(pd.Index(np.flatnonzero(wanted) + 2, name="row"))


def _table(study: Study, path: Path) -> Table:
    """Read one file, whose columns are those of the study."""
    found = read_table(path, may_be_empty=True)
    found.require(study_columns(study))
    checked = check_columns(found.frame, study, path.name)
    if checked:
        raise DataError(checked)
    return replace(found, frame=without_declared(found.frame, study))
