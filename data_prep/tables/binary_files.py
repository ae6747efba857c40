"""Cells of Parquet and Stata files, as the text that a text file would have."""

from __future__ import annotations

import datetime
import importlib
import io
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from alliance.data_prep.covariates import LABELLED
from alliance.data_prep.errors import InputError

# Whole numbers up to here are exact in a double, and lose their ".0" as codes and ids should.
LARGEST_EXACT_INTEGER = 2**53

# Of one file that is read cell by cell: text of so many cells takes about 2 GB at most.
MOST_CELLS = 30_000_000

# What the library raises on damaged files, found by damaging files at random.
STATA_DAMAGE = (
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    StopIteration,
    TypeError,
    UnboundLocalError,
    ValueError,
)


def cell_text(value: object) -> str | None:
    """Text of one cell; None where it is missing.

    Whole numbers have no decimals, other numbers as many as they need to be read back equal;
    dates are written as in ISO 8601.

    Examples
    --------
    >>> cell_text(3.0), cell_text(0.1), cell_text(" GE "), cell_text(float("nan"))
    ('3', '0.1', 'GE', None)
    """
    if isinstance(value, str):
        return value.strip()
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, (float, np.floating)):
        if np.isnan(value):
            return None
        exact = float(value).is_integer() and abs(float(value)) <= LARGEST_EXACT_INTEGER
        return str(int(value)) if exact else str(value)
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)


def _as_text(column: pd.Series) -> pd.Series:
    if column.dtype == object:
        return pd.Series([cell_text(value) for value in column], column.index, dtype="str")
    codes, distinct = pd.factorize(column)
    # The array keeps single precision, whose text is shorter.
    is_float = pd.api.types.is_float_dtype(column.dtype)
    values = np.asarray(distinct) if is_float else distinct
    texts = np.array([*map(cell_text, values), None], dtype=object)  # -1 marks a missing cell
    return pd.Series(texts[codes], column.index, dtype="str")


def numbered(frame: pd.DataFrame) -> pd.DataFrame:
    """Cells as text, with the rows numbered as they would be in a spreadsheet."""
    cells = [_as_text(frame.iloc[:, position]) for position in range(frame.shape[1])]
    table = pd.DataFrame(dict(enumerate(cells)), index=frame.index)
    # Damaged files can have columns without a name.
    table.columns = pd.Index([name if isinstance(name, str) else "" for name in frame.columns])
    table.index = pd.RangeIndex(2, len(table) + 2)
    return table


def package(name: str, extra: str, file: str) -> ModuleType:
    """A package that reads one format; if it is not installed, how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        problem = f"{file}: reading it needs the package {name}, which is not installed."
        raise InputError(problem, f'Install it: pip install "alliance[{extra}]".') from error


def damaged(name: str, kind: str, error: BaseException | str) -> InputError:
    """What to say of a file that a library cannot make sense of."""
    reason = " ".join(str(error).split())
    said = f" ({reason})" if reason else ""
    return InputError(
        f"{name} cannot be read as {kind}{said}.",
        "Check that it opens in the program that made it, or export the table as CSV.",
    )


def check_cells(name: str, rows: int, columns: int, most: int = MOST_CELLS) -> None:
    """Refuse a file that tells of more cells than are read, before they are given any room.

    Raises
    ------
    InputError
    """
    if rows * columns > most:
        raise InputError(
            f"{name} has {rows:,} rows of {columns:,} columns, it says, and at most "
            f"{most:,} cells of one file are read.",
            "Keep the columns that the study needs; divide what is still larger into several "
            "files, and name their folder.",
        )


def _with_text(table: Any, name: str) -> Any:
    """Columns of bytes as the text that some programs store in this way."""
    import pyarrow as pa

    for place, field in enumerate(table.schema):
        kind = field.type
        if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
            continue
        try:
            table = table.set_column(place, field.name, table.column(place).cast(pa.string()))
        except pa.ArrowInvalid as error:
            raise InputError(
                f"{name}, column {field.name!r}: the cells hold bytes that are not text.",
                "Store text or numbers in the column.",
            ) from error
    return table


def as_cells(table: Any) -> pd.DataFrame:
    """Cells of an Arrow table, as text."""
    return numbered(table.to_pandas(ignore_metadata=True, integer_object_nulls=True))


def read_parquet(content: bytes, path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Cells of a Parquet file; see `read_text` for what is returned and raised."""
    pyarrow = package("pyarrow", "parquet", path.name)
    parquet = package("pyarrow.parquet", "parquet", path.name)
    try:
        file = parquet.ParquetFile(io.BytesIO(content))
        check_cells(path.name, file.metadata.num_rows, file.metadata.num_columns)
        table = file.read()
        table.validate(full=True)
        nested = [field.name for field in table.schema if pyarrow.types.is_nested(field.type)]
        if not nested:
            # Without the metadata of pandas a named index is a column like the others.
            frame = _with_text(table, path.name).to_pandas(
                ignore_metadata=True, integer_object_nulls=True
            )
    except (pyarrow.ArrowException, MemoryError, OSError, OverflowError, ValueError) as error:
        raise damaged(path.name, "a Parquet file", error) from error
    if nested:
        problem = f"{path.name}, column {nested[0]!r}: the cells hold lists or records."
        raise InputError(problem, "Store one value in each cell.")
    named = [not str(column).startswith("__index_level_") for column in frame.columns]
    return numbered(frame.loc[:, named]), []


def read_stata(content: bytes, path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Cells of a Stata file, codes rather than labels; see `read_text` for the rest."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            opened: Any = pd.read_stata(
                io.BytesIO(content), convert_categoricals=False, iterator=True
            )
            with opened as reader:
                frame = reader.read()
                labels = _stata_labels(reader, frame)
    except STATA_DAMAGE as error:
        raise damaged(path.name, "a Stata file", error) from error
    notes = []
    if any(issubclass(warning.category, UnicodeWarning) for warning in caught):
        notes.append(f"{path.name}: some text is not UTF-8 and was read as Latin-1.")
    table = numbered(frame)
    table.attrs[LABELLED] = labels
    return table, notes


def _stata_labels(reader: Any, frame: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Labels of the columns that have a set of them, by the text of the code."""
    sets = reader.value_labels()
    # pandas tells which column has which set nowhere but in this list.
    used = zip(frame.columns, getattr(reader, "_lbllist", []), strict=False)
    return {str(column): label_texts(sets[name]) for column, name in used if name in sets}


def label_texts(labels: Mapping[Any, Any]) -> dict[str, str]:
    """Labels of values, by the text of the code."""
    return {str(cell_text(code)): str(label) for code, label in labels.items()}
