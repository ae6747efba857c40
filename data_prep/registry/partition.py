"""One file of a registry: its columns typed and checked, the quick way or cell by cell.

Patients' ids of many files held against each other: 8 bytes of each are kept, not the id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.covariates import CovariateColumn, column_names
from alliance.data_prep.errors import DataError, Problem, extra_package
from alliance.data_prep.files import file_sha256
from alliance.data_prep.study.description import Study
from alliance.data_prep.tables.binary_files import check_cells, check_long_texts
from alliance.data_prep.tables.cells import (
    LABELLED,
    LARGEST_NUMBER,
    NOT_A_NUMBER,
    Codes,
    Column,
    canonical_code,
    declared,
    folded,
    number_fault,
    number_of,
    parse_codes,
    typed_columns,
    without_declared,
)
from alliance.data_prep.tables.readers import MISSING, read_table
from alliance.data_prep.tables.roles import (
    ARM,
    MODERATOR,
    PATIENT,
    THERAPIST,
    Part,
    baseline_column,
    covariate_column,
    followup_column,
    study_columns,
    study_parts,
)
from alliance.data_prep.trial.flow import deciding_settings
from alliance.data_prep.trial.trial import scored_moderator
from alliance.data_prep.trial.validation import CovariateCells, check_part

Hashes = NDArray[np.uint64]

# In this spelling a number is one and the same id, whether a file stores it as text or as number.
_WHOLE = r"(?:0|-?[1-9][0-9]{0,17})"


@dataclass(frozen=True, eq=False, slots=True)
class IdHashes:
    """Ids of patients, each as a number that is the same for the same id, and only by chance else.

    Attributes
    ----------
    exact : tuple of ndarray of uint64
        One array for each file.
    alike : tuple of ndarray of uint64
        The same for ids that differ in spelling only (`data_prep.tables.cells.folded`).
    """

    exact: tuple[Hashes, ...] = ()
    alike: tuple[Hashes, ...] = ()

    def __add__(self, other: IdHashes) -> IdHashes:
        return IdHashes((*self.exact, *other.exact), (*self.alike, *other.alike))

    def suspects(self, most: int) -> IdHashes:
        """Return those that occur more than once, `most` of them.

        Parameters
        ----------
        most : int

        Returns
        -------
        IdHashes
            Of ids that occur twice, and of spellings under which there are several ids.
        """
        exact = _sorted(self.exact)
        same = all(one is other for one, other in zip(self.exact, self.alike, strict=True))
        alike = exact if same else _sorted(self.alike)
        twice = exact[1:][exact[1:] == exact[:-1]]
        several = alike[1:][alike[1:] == alike[:-1]]
        if len(several) <= len(twice):  # every id has one spelling: it is the same ids twice
            several = several[:0]
        return IdHashes((np.unique(twice)[:most],), (np.unique(several)[:most],))


def _sorted(arrays: Sequence[Hashes]) -> Hashes:
    joined = np.concatenate(arrays) if arrays else np.empty(0, dtype=np.uint64)
    joined.sort()
    return joined


def hashes_of_numbers(ids: NDArray[np.integer]) -> IdHashes:
    """Hash ids that are whole numbers.

    Parameters
    ----------
    ids : ndarray of int, shape (n,)
    """
    exact = _of_numbers(ids.astype(np.int64, copy=False))
    return IdHashes((exact,), (exact,))


def hashes_of_codes(codes: Iterable[str | None]) -> IdHashes:
    """Hash ids in the spelling of `data_prep.tables.cells.canonical_code`.

    Parameters
    ----------
    codes : iterable of str or None
        None where a patient has no id.
    """
    texts = [code for code in codes if code is not None]
    exact = _of_texts(texts)
    spelled = [folded(text) for text in texts]
    return IdHashes((exact,), (exact if spelled == texts else _of_texts(spelled),))


def hashes_of_arrow(column: Any) -> IdHashes:
    """Hash ids in an Arrow column of text, all of them in the spelling of their codes.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
    """
    import pyarrow.compute as pc

    plain = pc.all(pc.and_(pc.string_is_ascii(column), pc.ascii_is_printable(column)))
    if not plain.as_py() or pc.any(pc.match_substring(column, " ")).as_py():
        return hashes_of_codes(column.to_pylist())
    exact = _of_texts(column.to_numpy())
    # As `folded` does it, of letters without accents and without blanks
    alike = pc.replace_substring_regex(pc.ascii_lower(column), r"(^|[^0-9.,])0+([0-9])", r"\1\2")
    same = pc.all(pc.equal(alike, column)).as_py()
    return IdHashes((exact,), (exact if same else _of_texts(alike.to_numpy()),))


def _of_texts(texts: Sequence[str] | NDArray[np.object_]) -> Hashes:
    codes = pd.Series(texts, dtype="str")
    whole = codes.str.fullmatch(_WHOLE).to_numpy(dtype=bool)
    found = np.empty(len(codes), dtype=np.uint64)
    found[whole] = _of_numbers(codes[whole].to_numpy(dtype=object).astype(np.int64))
    rest: Any = codes[~whole].to_numpy(dtype=object)
    found[~whole] = pd.util.hash_array(rest, categorize=False)
    return found


def _of_numbers(ids: NDArray[np.int64]) -> Hashes:
    return np.asarray(pd.util.hash_array(ids))


Array = NDArray[np.float64]

# Of one file whose columns are taken as they are: 8 bytes each.
MOST_QUICK_CELLS = 250_000_000
# A text that is not spelled as `canonical_code` would spell it.
_CARE = r"^\s|\s$|^[+-]?\d+\.0+$|^(?:NA)?$"


@dataclass(frozen=True, eq=False, slots=True)
class TypedFile:
    """One file of a registry after a look at all its cells.

    Attributes
    ----------
    name : str
    sha256 : str
    rows : ndarray of int, shape (n,)
        Numbers of the rows.
    columns : dict of str to Column, or None
        By part; None where there are problems.
    problems : tuple of Problem
        Of columns or cells.
    totals : tuple of Problem
        Of totals that were scored from items.
    complete : bool
        Whether no column is absent.
    arms : frozenset of str
        Codes in the column of the arms.
    covariates : dict of str to CovariateCells
    seen : dict of str to Column
        As `columns`, with faulty cells missing; empty where a column is absent.
    ids : IdHashes
    notes : tuple of str
        Of the reader.
    labels : dict of str to dict of str to str
        Of values, by column.
    """

    name: str
    sha256: str
    rows: NDArray[np.int64]
    columns: dict[str, Column] | None
    problems: tuple[Problem, ...]
    totals: tuple[Problem, ...]
    complete: bool
    arms: frozenset[str]
    covariates: dict[str, CovariateCells]
    seen: dict[str, Column]
    ids: IdHashes
    notes: tuple[str, ...]
    labels: dict[str, dict[str, str]]


@dataclass(frozen=True, eq=False, slots=True)
class Partition:
    """Patients of one file, as a trial's data, with a column for every level of a category.

    Attributes
    ----------
    data : xarray.Dataset
        As `data_prep.trial.trial.Trial.data`, but with therapists by position, and categorical
        covariates without a level of reference.
    columns : tuple of CovariateColumn
        What the columns of its covariates stand for.
    therapists : list of str
        Ids, in no order.
    """

    data: xr.Dataset
    columns: tuple[CovariateColumn, ...]
    therapists: list[str]


def read_typed(study: Study, path: Path, continuous: Mapping[str, bool]) -> TypedFile:
    """Read one file of a registry by the rules of a trial's file.

    Columns of a Parquet file that have the types which their parts need, and no cell that must be
    looked at by itself, are taken as they are. Any other table is read cell by cell, like a trial's
    file; what the quick way does not leave to it comes out the same.

    Parameters
    ----------
    study : Study
    path : Path
        Of any kind that `data_prep.tables.readers.read_table` reads; a file without rows is no
        fault.
    continuous : mapping of str to bool
        As of `data_prep.trial.validation.check_part`.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    if path.suffix.lower() == ".parquet":
        quick = _quick(study, path, continuous)
        if quick is not None:
            return quick
    table = read_table(path, may_be_empty=True)
    table.require(study_columns(study))
    name = table.path.name
    checked = check_part(table.frame, study, name, continuous)
    columns: dict[str, Column] = {}
    totals: tuple[Problem, ...] = ()
    ids = IdHashes()
    if checked.typed is not None:
        if PATIENT in checked.typed:
            ids = hashes_of_codes(checked.typed[PATIENT].tolist())
        moderator = np.full(len(checked.typed), np.nan)
        try:
            if not checked.problems:
                moderator = scored_moderator(checked.typed, study, name)
        except DataError as error:
            totals = error.problems
        columns = typed_columns(study, checked.typed, moderator)
    faulty = bool(checked.problems or totals)
    return TypedFile(
        name=name,
        sha256=table.sha256,
        rows=table.frame.index.to_numpy(dtype=np.int64),
        columns=None if faulty else columns,
        problems=checked.problems,
        totals=totals,
        complete=checked.typed is not None,
        arms=checked.arms,
        covariates=checked.covariates,
        seen=columns,
        ids=ids,
        notes=table.notes,
        labels=table.frame.attrs.get(LABELLED, {}),
    )


def _quick(study: Study, path: Path, continuous: Mapping[str, bool]) -> TypedFile | None:
    """Typed columns by part, or None where a cell must be looked at by itself."""
    parts = study_parts(study)
    patient = study.columns.patient
    scored = study.moderator is not None and study.moderator.items
    if scored or (patient is not None and declared(study, patient)):
        return None
    columns = study.columns
    codes = [column for column in (columns.therapist, columns.arm) if column is not None]
    table = arrow_table(path, study_columns(study), codes)
    if table is None:
        return None
    found: dict[str, Column] = {}
    ids = IdHashes() if patient is None else None
    for part in parts:
        cells = table.column(part.column)
        if part.name == PATIENT:
            ids = _quick_ids(cells)
            continue
        column = _quick_column(part, cells, study, continuous)
        if column is None:
            return None
        found[part.name] = column
    if ids is None:
        return None
    arms = found[ARM]
    assert isinstance(arms, Codes)
    rated = found.setdefault(MODERATOR, np.full(table.num_rows, np.nan))
    can = np.append(np.isin(arms.labels, study.rated_arms), True)[arms.index]
    if (~can & np.isfinite(np.asarray(rated))).any():
        return None  # a rating where there can be none
    return TypedFile(
        name=path.name,
        sha256=file_sha256(path),
        rows=np.arange(2, table.num_rows + 2),  # as in a spreadsheet, whose header is row 1
        columns=found,
        problems=(),
        totals=(),
        complete=True,
        arms=frozenset(canonical_code(code) for code, count in arms.counts().items() if count),
        covariates={name: _counted(found[covariate_column(name)]) for name in study.covariates},
        seen=found,
        ids=ids,
        notes=(),
        labels={},
    )


def _counted(column: Column) -> CovariateCells:
    if isinstance(column, Codes):
        texts = int((column.index >= 0).sum())
        return CovariateCells(0, texts, texts, frozenset([False] if texts else []))
    numbers = int(np.isfinite(column).sum())
    return CovariateCells(numbers, 0, 0, frozenset([True] if numbers else []))


def arrow_table(path: Path, columns: Sequence[str], repeated: Sequence[str]) -> Any:
    """These columns of a Parquet file; None where it needs a careful look.

    Parameters
    ----------
    path : Path
    columns : sequence of str
    repeated : sequence of str
        Those of text in which the same values recur.

    Returns
    -------
    pyarrow.Table or None

    Raises
    ------
    InputError
        If pyarrow is not installed, or there are more cells or long texts than are read.
    """
    pa = extra_package("pyarrow", "parquet", f"{path.name}: reading it")
    parquet = extra_package("pyarrow.parquet", "parquet", f"{path.name}: reading it")
    try:
        with parquet.ParquetFile(path, read_dictionary=list(repeated)) as file:
            titles = [name.strip() for name in file.schema_arrow.names]
            plain = (
                all(titles)
                and len(set(titles)) == len(titles)
                and not any(pa.types.is_nested(kind) for kind in file.schema_arrow.types)
                and not any(name.startswith("__index_level_") for name in columns)
                and set(columns) <= set(file.schema_arrow.names)
            )
            if not plain:
                return None
            check_cells(path.name, file.metadata.num_rows, len(columns), MOST_QUICK_CELLS)
            table = file.read(columns=list(columns), use_threads=False)
            check_long_texts(path.name, table)
            table.validate(full=True)
    except (pa.ArrowException, OSError, KeyError, ValueError):
        return None  # the careful way says what is wrong
    return table if set(table.column_names) == set(columns) else None


def _quick_ids(column: Any) -> IdHashes | None:
    """Ids of patients, each of whom has one; None where they need a careful look."""
    import pyarrow as pa

    if column.null_count:
        return None  # and so that no row is empty
    if pa.types.is_integer(column.type) and column.type != pa.uint64():
        return hashes_of_numbers(column.to_numpy())
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return None
    return None if _needs_care(column) else hashes_of_arrow(column)


def _needs_care(column: Any) -> bool:
    """Whether a text is not spelled as its code is."""
    import pyarrow.compute as pc

    trimmed = pc.utf8_trim_whitespace(column)
    changed = pc.any(pc.or_(pc.not_equal(trimmed, column), pc.match_substring_regex(column, _CARE)))
    return bool(changed.as_py())


def _quick_column(
    part: Part, column: Any, study: Study, continuous: Mapping[str, bool]
) -> Column | None:
    import pyarrow as pa

    kind = column.type
    numeric = pa.types.is_integer(kind) or pa.types.is_float64(kind)
    as_number = continuous.get(part.column, numeric) if part.kind == "covariate" else False
    if part.kind == "number" or as_number:
        if not numeric:
            return None
        return _numbers(part, column, declared(study, part.column))
    text = pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type)
    text = text or pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (pa.types.is_integer(kind) or text):
        return None
    codes = codes_of(column, declared(study, part.column))
    if part.name == ARM:
        arms = list(study.arms)
        spelling = {canonical_code(code): place for place, code in enumerate(arms)}
        if any(label not in spelling for label in codes.labels):
            return None
        places = np.array([*(spelling[label] for label in codes.labels), -1], dtype=np.int64)
        return Codes(places[codes.index], arms)
    judged = part.kind == "covariate" and part.column not in continuous
    return None if judged and any(map(_is_number, codes.labels)) else codes


def rows_of_ids(study: Study, path: Path, suspects: IdHashes) -> list[tuple[str, int]]:
    """Ids of patients in a file that are among the suspects, and their rows.

    Parameters
    ----------
    study : Study
    path : Path
    suspects : IdHashes
        As of `IdHashes.suspects`.
    """
    frame = without_declared(read_table(path, may_be_empty=True).frame, study)
    codes = parse_codes(frame[str(study.columns.patient)])
    known = np.array([code is not None for code in codes], dtype=bool)
    texts, rows = codes[known].tolist(), frame.index.to_numpy()[known]
    own = hashes_of_codes(texts)
    wanted = np.isin(own.exact[0], suspects.exact[0]) | np.isin(own.alike[0], suspects.alike[0])
    return [(texts[place], int(rows[place])) for place in np.flatnonzero(wanted)]


@lru_cache(maxsize=10_000)
def _is_number(label: str) -> bool:
    """Whether a text is a number, in a wrong spelling or not."""
    return number_of(label) is not None or number_fault(label)[0] != NOT_A_NUMBER


def _numbers(part: Part, column: Any, missing: Sequence[str]) -> Array | None:
    """Numbers within their limits, NaN where missing."""
    values: Array = np.asarray(column.to_numpy(), dtype=float)
    if missing:
        numbers = [number for code in missing if (number := number_of(code)) is not None]
        values = np.where(np.isin(values, numbers), np.nan, values)
    low, high = part.limits or (-LARGEST_NUMBER, LARGEST_NUMBER)
    low, high = max(low, -LARGEST_NUMBER), min(high, LARGEST_NUMBER)
    if (values < low).any() or (values > high).any():
        return None
    if part.whole is not None and (values != np.round(values))[~np.isnan(values)].any():
        return None
    return values


def codes_of(column: Any, missing: Sequence[str] = ()) -> Codes:
    """Codes of an Arrow column of text or whole numbers, in one spelling.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
    missing : sequence of str
        Codes that stand for a missing value.
    """
    encoded = column.unify_dictionaries().combine_chunks().dictionary_encode()
    spelled = [_spelled(value) for value in encoded.dictionary.to_pylist()]
    none = {"", MISSING, *missing}
    labels = [label for label in dict.fromkeys(spelled) if label not in none]
    place = {label: j for j, label in enumerate(labels)}
    places = np.array([*(place.get(label, -1) for label in spelled), -1], dtype=np.int64)
    index = encoded.indices.fill_null(len(spelled)).to_numpy(zero_copy_only=False)
    return Codes(places[index], labels)


@lru_cache(maxsize=200_000)  # the same therapists stand in every file
def _spelled(value: Any) -> str:
    return "" if value is None else canonical_code(value)


def partition_of(study: Study, columns: Mapping[str, Column]) -> Partition:
    """Patients of one file as a trial's data.

    Parameters
    ----------
    study : Study
    columns : mapping of str to Column
        By part.
    """
    arm = columns[ARM]
    assert isinstance(arm, Codes)
    rows = len(arm.index)
    therapist = columns.get(THERAPIST, Codes(np.full(rows, -1, dtype=np.int64), []))
    assert isinstance(therapist, Codes)
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {
        "arm_index": (("patient",), arm.index),
        "therapist_index": (("patient",), therapist.index),
        "moderator": (("patient",), np.asarray(columns[MODERATOR])),
    }
    covariates: dict[CovariateColumn, Array] = {}
    for name in study.covariates:
        column = columns[covariate_column(name)]
        if isinstance(column, Codes) and column.labels:
            missing = column.index < 0
            for place, label in enumerate(column.labels):
                indicator = (column.index == place).astype(float)
                covariates[CovariateColumn(name, label)] = np.where(missing, np.nan, indicator)
        else:  # nobody has a level: missing, as a number would be
            values = np.full(rows, np.nan) if isinstance(column, Codes) else column
            covariates[CovariateColumn(name)] = values
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
        "covariate": np.array(column_names(list(covariates)), dtype=object),
    }
    data = xr.Dataset(variables, coords=coords, attrs=deciding_settings(study))
    return Partition(data, tuple(covariates), therapist.labels)
