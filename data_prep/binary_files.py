"""Cells of Excel, Parquet, Stata and SPSS files, as the text that a text file would have."""

from __future__ import annotations

import datetime
import importlib
import io
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from data_prep.covariates import LABELLED
from data_prep.errors import InputError
from data_prep.files import first_of

# Whole numbers up to here are exact in a double, and lose their ".0" as codes and ids should.
LARGEST_EXACT_INTEGER = 2**53

# What the libraries raise on damaged files, found by damaging files at random.
EXCEL_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    SyntaxError,  # what faults of XML are to Python
    TypeError,
    ValueError,
)
STATA_DAMAGE = (
    struct.error,
    EOFError,
    LookupError,
    OSError,
    OverflowError,
    StopIteration,
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


def _numbered(frame: pd.DataFrame) -> pd.DataFrame:
    """Cells as text, with the rows numbered as they would be in a spreadsheet."""
    cells = [_as_text(frame.iloc[:, position]) for position in range(frame.shape[1])]
    table = pd.DataFrame(dict(enumerate(cells)), index=frame.index)
    # Damaged files can have columns without a name.
    table.columns = pd.Index([name if isinstance(name, str) else "" for name in frame.columns])
    table.index = pd.RangeIndex(2, len(table) + 2)
    return table


def _package(name: str, extra: str, file: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        problem = f"{file}: reading it needs the package {name}, which is not installed."
        raise InputError(problem, f'Install it: pip install "alliance[{extra}]".') from error


def _damaged(name: str, kind: str, error: BaseException) -> InputError:
    reason = " ".join(str(error).split())
    said = f" ({reason})" if reason else ""
    return InputError(
        f"{name} cannot be read as {kind}{said}.",
        "Check that it opens in the program that made it, or export the table as CSV.",
    )


def read_excel(content: bytes, path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Cells of the first sheet of a workbook; see `read_text` for what is returned and raised."""
    openpyxl = _package("openpyxl", "excel", path.name)
    damage = (*EXCEL_DAMAGE, openpyxl.utils.exceptions.InvalidFileException)

    def rows(stored_values: bool) -> tuple[list[str], list[list]]:
        with warnings.catch_warnings():
            # It warns of styles and validations that it leaves out; neither touches a value.
            warnings.simplefilter("ignore", UserWarning)
            book = openpyxl.load_workbook(
                io.BytesIO(content), read_only=True, data_only=stored_values
            )
            sheets = book.worksheets
            if not sheets:
                return [], []
            # Some programs write a size smaller than the sheet, and rows would be lost.
            sheets[0].reset_dimensions()
            return [sheet.title for sheet in sheets], [list(row) for row in sheets[0].iter_rows()]

    try:
        titles, cells = rows(stored_values=True)
        values = [[cell_text(cell.value) for cell in row] for row in cells]
        _check_formulas(values, lambda: rows(stored_values=False)[1], path.name)
    except damage as error:
        raise _damaged(path.name, "an Excel workbook", error) from error
    start = next((at for at, row in enumerate(values) if any(row)), None)
    if start is None:
        where = f"the first sheet, {titles[0]!r}," if titles else "it"
        raise InputError(
            f"{path.name}: {where} is empty.", "Put the table on the first sheet, with a header."
        )
    notes = []
    if len(titles) > 1:
        notes.append(f"{path.name} has {len(titles)} sheets; the first, {titles[0]!r}, was read.")
    width = max(len(row) for row in values)
    padded = [[*row, *[None] * (width - len(row))] for row in values[start:]]
    table = pd.DataFrame(padded[1:], columns=range(width), dtype="str")
    table.columns = pd.Index([name or "" for name in padded[0]])
    table.index = pd.RangeIndex(start + 2, start + 2 + len(table))
    return table, notes


def _check_formulas(
    values: list[list[str | None]], formulas: Callable[[], list[list]], name: str
) -> None:
    """Refuse formulas that were never computed: their cells would pass for missing values."""
    if all(cell is not None for row in values for cell in row):
        return
    uncomputed = [
        cell.coordinate
        for row, stored in zip(formulas(), values, strict=True)
        for cell, value in zip(row, stored, strict=True)
        if value is None and cell.data_type == "f"
    ]
    if uncomputed:
        raise InputError(
            f"{name}: formulas without a stored value in {first_of(uncomputed)}.",
            "Open the file in a spreadsheet program and save it, so that they are computed.",
        )


def read_parquet(content: bytes, path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Cells of a Parquet file; see `read_text` for what is returned and raised."""
    pyarrow = _package("pyarrow", "parquet", path.name)
    parquet = _package("pyarrow.parquet", "parquet", path.name)
    try:
        table = parquet.ParquetFile(io.BytesIO(content)).read()
        table.validate(full=True)
        nested = [field.name for field in table.schema if pyarrow.types.is_nested(field.type)]
        if not nested:
            # Without the metadata of pandas a named index is a column like the others.
            frame = table.to_pandas(ignore_metadata=True, integer_object_nulls=True)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise _damaged(path.name, "a Parquet file", error) from error
    if nested:
        problem = f"{path.name}, column {nested[0]!r}: the cells hold lists or records."
        raise InputError(problem, "Store one value in each cell.")
    named = [not str(column).startswith("__index_level_") for column in frame.columns]
    return _numbered(frame.loc[:, named]), []


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
        raise _damaged(path.name, "a Stata file", error) from error
    notes = []
    if any(issubclass(warning.category, UnicodeWarning) for warning in caught):
        notes.append(f"{path.name}: some text is not UTF-8 and was read as Latin-1.")
    table = _numbered(frame)
    table.attrs[LABELLED] = labels
    return table, notes


def _stata_labels(reader: Any, frame: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Labels of the columns that have a set of them, by the text of the code."""
    sets = reader.value_labels()
    # pandas tells which column has which set nowhere but in this list.
    used = zip(frame.columns, getattr(reader, "_lbllist", []), strict=False)
    return {str(column): _label_texts(sets[name]) for column, name in used if name in sets}


def _label_texts(labels: dict[Any, Any]) -> dict[str, str]:
    return {str(cell_text(code)): str(label) for code, label in labels.items()}


def read_spss(content: bytes, path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Cells of an SPSS file, codes rather than labels; see `read_text` for the rest.

    Values that the file declares as missing are missing.
    """
    pyreadstat = _package("pyreadstat", "spss", path.name)
    try:
        frame, told = pyreadstat.read_sav(str(path), apply_value_formats=False, user_missing=False)
    except (pyreadstat.ReadstatError, pyreadstat.PyreadstatError, OSError, ValueError) as error:
        raise _damaged(path.name, "an SPSS file", error) from error
    table = _numbered(frame)
    labels = told.variable_value_labels
    nominal = [name for name, measure in told.variable_measure.items() if measure == "nominal"]
    table.attrs[LABELLED] = {
        name: _label_texts(labels.get(name, {})) for name in dict.fromkeys([*labels, *nominal])
    }
    return table, []
