"""One file of a registry: its columns typed and checked, the quick way or cell by cell."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from data_prep.cells import LARGEST_NUMBER, canonical_code, parse_numbers
from data_prep.errors import InputError
from data_prep.flow import MISSING_ALLIANCE
from data_prep.parts import (
    ARM,
    MODERATOR,
    PATIENT,
    THERAPIST,
    Part,
    baseline_column,
    covariate_column,
    followup_column,
    study_parts,
)
from data_prep.study import Study
from data_prep.tables import MISSING, read_table
from data_prep.trial import scored_moderator
from data_prep.validation import validate

Array = NDArray[np.float64]
TEXT = {".csv": ",", ".tsv": "\t", ".txt": "\t"}


@dataclass(frozen=True, eq=False, slots=True)
class Codes:
    """A column of codes.

    Attributes
    ----------
    index : ndarray of int, shape (n,)
        Position in `labels`, -1 where missing.
    labels : list of str
    """

    index: NDArray[np.int64]
    labels: list[str]


Column = Codes | Array


@dataclass(frozen=True, eq=False, slots=True)
class Partition:
    """Patients of one file, as a trial's data, with a column for every level of a category.

    Attributes
    ----------
    data : xarray.Dataset
        As `data_prep.trial.Trial.data`, but with therapists by position, and categorical covariates
        without a level of reference.
    therapists : list of str
        Ids, in no order.
    levels : dict of str to tuple of str, or None
        By covariate: the levels that occur, None where it is continuous or has no value.
    sha256 : str
    """

    data: xr.Dataset
    therapists: list[str]
    levels: dict[str, tuple[str, ...] | None]
    sha256: str


def read_partition(study: Study, path: Path) -> Partition:
    """Read one file of a registry.

    Columns of the types that their parts need are checked as they are; any other table, and any
    with a fault, is read cell by cell like a trial's file.

    Parameters
    ----------
    study : Study
    path : Path
        ``.parquet``, ``.csv``, ``.tsv`` or ``.txt``; a file without rows is no fault.

    Returns
    -------
    Partition

    Raises
    ------
    InputError
        If the file cannot be read.
    DataError
        With all problems of the file.
    """
    columns = _quick(study, path)
    if columns is None:
        frame = read_table(path).frame
        columns = _careful(study, frame, path.name)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return _partition(study, columns, digest)


def _quick(study: Study, path: Path) -> dict[str, Column] | None:
    """Typed columns by part, or None where a cell must be looked at by itself."""
    parts = study_parts(study)
    table = arrow_table(path, parts)
    if table is not None and not table.num_rows:
        return _no_rows(study, parts)
    if table is None or study.moderator.items:
        return None
    found: dict[str, Column] = {}
    for part in parts:
        column = _quick_column(part, table.column(part.column), list(study.arms))
        if column is None:
            return None
        found[part.name] = column
    return found


def _no_rows(study: Study, parts: Sequence[Part]) -> dict[str, Column]:
    nobody = np.empty(0, dtype=np.int64)
    found: dict[str, Column] = {MODERATOR: np.empty(0)}
    for part in parts:
        found[part.name] = np.empty(0)
    return found | {THERAPIST: Codes(nobody, []), ARM: Codes(nobody, list(study.arms))}


def arrow_table(path: Path, parts: Sequence[Part]) -> Any:
    """The columns of these parts; None where they are not all there, or the file is damaged.

    Parameters
    ----------
    path : Path
    parts : sequence of Part

    Raises
    ------
    InputError
        If pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            "Tables in many files are read with the package pyarrow, which is not installed.",
            'Install it: pip install "alliance[parquet]".',
        ) from error
    names = list(dict.fromkeys(part.column for part in parts))
    codes = {part.column: pa.string() for part in parts if part.kind == "code"}
    try:
        if path.suffix.lower() == ".parquet":
            repeated = [part.column for part in parts if part.name in (THERAPIST, ARM)]
            return pyarrow.parquet.read_table(
                path, columns=names, use_threads=False, read_dictionary=repeated
            )
        table = pyarrow.csv.read_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(delimiter=TEXT[path.suffix.lower()]),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=names,
                column_types=codes,
                null_values=["", MISSING],
                strings_can_be_null=True,
            ),
        )
    except (pa.ArrowException, OSError, KeyError):
        return None  # the careful way says what is wrong
    return table if table.column_names == names else None


def _quick_column(part: Part, column: Any, arms: list[str]) -> Column | None:
    import pyarrow as pa
    import pyarrow.compute

    kind = column.type
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)
    if part.kind == "number" or (part.kind == "covariate" and numeric):
        return _numbers(part, column) if numeric else None
    if not (numeric or pa.types.is_string(kind) or pa.types.is_dictionary(kind)
            or pa.types.is_large_string(kind)):  # fmt: skip
        return None
    if part.name == PATIENT:  # only that each has an id of his or her own
        if column.null_count:
            return None
        if numeric:
            once = bool(pd.Index(column.to_numpy()).is_unique)
        else:
            once = pyarrow.compute.count_distinct(column).as_py() == len(column)
        return Codes(np.empty(0, dtype=np.int64), []) if once else None
    codes = codes_of(column)
    if part.name == ARM:
        spelling = {canonical_code(code): place for place, code in enumerate(arms)}
        if any(label not in spelling for label in codes.labels):
            return None
        places = np.array([*(spelling[label] for label in codes.labels), -1], dtype=np.int64)
        return Codes(places[codes.index], arms)
    if part.kind == "covariate" and len(codes.labels):
        values, _ = parse_numbers(pd.Series(codes.labels, dtype=object))
        if np.isfinite(values).any():
            return None
    return codes


def _numbers(part: Part, column: Any) -> Array | None:
    """Numbers within their limits, NaN where missing."""
    import pyarrow as pa

    values = column.cast(pa.float64()).to_numpy()
    low, high = part.limits or (-LARGEST_NUMBER, LARGEST_NUMBER)
    if (values < low).any() or (values > high).any():
        return None
    if part.whole is not None and (values != np.round(values))[~np.isnan(values)].any():
        return None
    return np.asarray(values, dtype=float)


def codes_of(column: Any) -> Codes:
    """Codes of an Arrow column, in one spelling."""
    encoded = column.unify_dictionaries().combine_chunks().dictionary_encode()
    spelled = [_spelled(value) for value in encoded.dictionary.to_pylist()]
    labels = list(dict.fromkeys(label for label in spelled if label not in ("", MISSING)))
    place = {label: j for j, label in enumerate(labels)}
    places = np.array([*(place.get(label, -1) for label in spelled), -1], dtype=np.int64)
    index = encoded.indices.fill_null(len(spelled)).to_numpy(zero_copy_only=False)
    return Codes(places[index], labels)


@lru_cache(maxsize=200_000)  # the same therapists stand in every file
def _spelled(value: Any) -> str:
    return "" if value is None or value != value else canonical_code(value)


def _careful(study: Study, frame: pd.DataFrame, source: str) -> dict[str, Column]:
    typed = validate(frame, study, source, whole=False)
    moderator = scored_moderator(typed, study, source)
    found: dict[str, Column] = {MODERATOR: moderator}
    for name in typed.columns:
        values = typed[name].to_numpy()
        if name == ARM:
            index = pd.Index(list(study.arms)).get_indexer(pd.Index(values))
            found[name] = Codes(index.astype(np.int64), list(study.arms))
        elif values.dtype == object:
            index, labels = pd.factorize(values)
            found[name] = Codes(index.astype(np.int64), [str(label) for label in labels])
        else:
            found[name] = values.astype(float)
    return found


def _partition(study: Study, columns: dict[str, Column], sha256: str) -> Partition:
    therapist, arm = columns[THERAPIST], columns[ARM]
    assert isinstance(therapist, Codes)
    assert isinstance(arm, Codes)
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {
        "arm_index": (("patient",), arm.index),
        "therapist_index": (("patient",), therapist.index),
        "moderator": (("patient",), np.asarray(columns[MODERATOR])),
    }
    covariates: dict[str, Array] = {}
    levels: dict[str, tuple[str, ...] | None] = {}
    for name in study.covariates:
        column = columns[covariate_column(name)]
        if isinstance(column, Codes):
            levels[name] = tuple(column.labels)
            missing = column.index < 0
            for place, label in enumerate(column.labels):
                indicator = (column.index == place).astype(float)
                covariates[f"{name}[{label}]"] = np.where(missing, np.nan, indicator)
        else:
            levels[name] = None
            covariates[name] = column
    rows = len(arm.index)
    stacked = np.stack(list(covariates.values()), axis=1) if covariates else np.empty((rows, 0))
    variables["covariates"] = (("patient", "covariate"), stacked)
    for name, outcome in study.outcomes.items():
        followup = np.asarray(columns[followup_column(name)])
        variables[f"{name}_followup"] = (("patient",), followup)
        if outcome.baseline is not None:
            baseline = np.asarray(columns[baseline_column(name)])
            variables[f"{name}_baseline"] = (("patient",), baseline)
    coords = {
        "arm": np.array(list(study.arms), dtype=str),
        "therapist": np.arange(len(therapist.labels)),
        "covariate": np.array(list(covariates), dtype=object),
    }
    attributes = {MISSING_ALLIANCE: study.model.missing_alliance}
    data = xr.Dataset(variables, coords=coords, attrs=attributes)
    return Partition(data, therapist.labels, levels, sha256)
