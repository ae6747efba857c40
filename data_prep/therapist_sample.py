"""All patients of some therapists of a registry, drawn at random, as an ordinary trial."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import pandas as pd

from data_prep.cells import natural_key, parse_codes
from data_prep.errors import DataError, InputError, Problem
from data_prep.files import AnyPath, as_path
from data_prep.partition import arrow_table, codes_of
from data_prep.parts import study_parts
from data_prep.registry import Compute, on_threads, registry_files
from data_prep.study import Study
from data_prep.tables import read_table
from data_prep.trial import Trial, trial_from_frame
from data_prep.validation import validate


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
    everyone = sorted({name for names, _ in found for name in names}, key=natural_key)
    if not everyone:
        raise InputError(f"No row of {str(data)!r} has a therapist.", "Name the right column.")
    generator = np.random.default_rng(seed)
    places = generator.permutation(len(everyone))[:number]
    chosen = frozenset(everyone[place] for place in places)
    frames = run([dask.delayed(rows_of, pure=False)(study, path, chosen) for path in files])
    problems: list[Problem] = []
    for path, frame in zip(files, frames, strict=True):
        try:
            validate(frame, study, path.name, whole=False)
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(problems)
    together: pd.DataFrame = pd.concat(frames, ignore_index=True)
    trial = trial_from_frame(study, together, str(data))
    note = (
        f"A random sample of {len(chosen):,} of {len(everyone):,} therapists (seed {seed}): "
        f"{len(together):,} of {sum(rows for _, rows in found):,} rows. What is said holds for "
        "therapists like these; it is less certain than from all rows."
    )
    return replace(trial, notes=(note, *trial.notes))


def therapists_of(study: Study, path: Path) -> tuple[list[str], int]:
    """Ids of the therapists in a file, and its number of rows."""
    column = study.columns.therapist
    table = arrow_table(path, [part for part in study_parts(study) if part.column == column])
    if table is not None:
        return codes_of(table.column(column)).labels, table.num_rows
    frame = _frame(path, column)
    return [str(name) for name in pd.unique(parse_codes(frame[column])) if name], len(frame)


def rows_of(study: Study, path: Path, chosen: frozenset[str]) -> pd.DataFrame:
    """Rows of these therapists in a file, in the columns of the study, under their numbers."""
    parts, column = study_parts(study), study.columns.therapist
    table = arrow_table(path, parts)
    if table is None:
        frame = _frame(path, column)
        kept = pd.Series(parse_codes(frame[column]), index=frame.index).isin(chosen)
        return frame[kept.to_numpy()]
    codes = codes_of(table.column(column))
    wanted = np.array([*(label in chosen for label in codes.labels), False])[codes.index]
    frame = table.filter(wanted).to_pandas(ignore_metadata=True, integer_object_nulls=True)
    # As in a spreadsheet, whose header is row 1
    return frame.set_index(pd.Index(np.flatnonzero(wanted) + 2, name="row"))


def _frame(path: Path, column: str) -> pd.DataFrame:
    frame = read_table(path).frame
    if column not in frame:
        raise InputError(f"{path.name} has no column {column!r}.", "Every file needs the same.")
    return frame
