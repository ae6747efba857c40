"""Cells of comma- and tab-separated text files, with their rows numbered as a spreadsheet does."""

from __future__ import annotations

import codecs
import csv
import io
from array import array
from collections.abc import Iterator

import numpy as np
import pandas as pd

from data_prep.errors import InputError
from data_prep.files import first_of

DELIMITER_NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "vertical bars"}


def read_text(content: bytes, name: str, delimiter: str) -> tuple[pd.DataFrame, list[str]]:
    """Cells of a delimited text file.

    Parameters
    ----------
    content : bytes
        The file's content.
    name : str
        The file's name, for messages.
    delimiter : str
        What separates the cells: a comma or a tab.

    Returns
    -------
    cells : pandas.DataFrame
        Text as in the file, blank lines included as empty rows; columns named as in the header,
        index = row number (the first line of the file is row 1).
    notes : list of str
        What the user should know.

    Raises
    ------
    InputError
        The content is not UTF-8 text, is separated by something else, has a quotation mark that
        is not closed, or rows longer or shorter than the header.
    """
    notes = []
    body = content.removeprefix(codecs.BOM_UTF8)
    if len(body) < len(content):
        notes.append(f"{name} begins with a byte-order mark, which was skipped.")
    _check_encoding(body, name, delimiter)
    header_row, header = _header(body, name, delimiter)
    _check_delimiter(header, name, delimiter)
    _check_lengths(body, name, delimiter, len(header))
    cells = pd.read_csv(
        io.BytesIO(body),
        sep=delimiter,
        header=None,
        names=list(range(len(header))),
        dtype=str,
        keep_default_na=False,
        na_values=[""],
        skip_blank_lines=False,  # blank lines count in the numbering
        encoding="utf-8",
    )
    cells.index = pd.RangeIndex(1, len(cells) + 1)
    cells = cells.iloc[header_row:]
    cells.columns = pd.Index(header)
    return cells, notes


def _check_encoding(body: bytes, name: str, delimiter: str) -> None:
    utf8 = "Save it as UTF-8 (in Excel: Save as, CSV UTF-8)."
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError(f"{name} is encoded as UTF-16.", utf8)
    null = body.find(b"\0")
    if null >= 0:
        row = body.count(b"\n", 0, null) + 1
        problem = f"{name}, row {row}: a NUL byte, so this is not a text file in UTF-8."
        raise InputError(problem, f"Export the table again. {utf8}")
    try:
        body.decode()
    except UnicodeDecodeError as error:
        before = body[: error.start].decode()
        # The letter stands for the faulty byte, so that its row counts even if it comes first.
        row = sum(1 for _ in csv.reader(io.StringIO(f"{before}x", newline=""), delimiter=delimiter))
        byte = body[error.start]
        problem = f"{name}, row {row}: byte 0x{byte:02X} is not UTF-8"
        problem += f" ({bytes([byte]).decode('latin-1')!r} in Latin-1)." if byte >= 0xA0 else "."
        raise InputError(problem, utf8) from error


def _rows(body: bytes, delimiter: str) -> Iterator[list[str]]:
    text = io.TextIOWrapper(io.BytesIO(body), encoding="utf-8", newline="")
    return csv.reader(text, delimiter=delimiter, strict=True)


def _is_blank(row: list[str]) -> bool:
    return not row or (len(row) == 1 and not row[0].strip())


def _quotes_fault(name: str, row: int) -> InputError:
    return InputError(
        f"{name}, row {row}: a quotation mark opens a cell and does not close it properly.",
        'Close it at the end of the cell, and write a quotation mark inside a cell as "".',
    )


def _header(body: bytes, name: str, delimiter: str) -> tuple[int, list[str]]:
    """Row number of the first row that is not blank, and its cells."""
    number = 0
    try:
        for number, row in enumerate(_rows(body, delimiter), start=1):
            if not _is_blank(row):
                return number, row
    except csv.Error as error:
        raise _quotes_fault(name, number + 1) from error
    raise InputError(f"{name} is empty.", "Check that it was saved and copied in full.")


def _check_delimiter(header: list[str], name: str, delimiter: str) -> None:
    if len(header) > 1:
        return
    found = {mark: header[0].count(mark) for mark in DELIMITER_NAMES if mark in header[0]}
    if not found:
        return
    likely = DELIMITER_NAMES[max(found, key=lambda mark: found[mark])]
    expected = DELIMITER_NAMES[delimiter]
    problem = f"{name}: the cells are separated by {likely}, it seems, not by {expected}."
    if likely == "tabs":
        remedy = "Rename the file so that it ends in .tsv."
    elif likely == "commas":
        remedy = "Rename the file so that it ends in .csv."
    else:
        remedy = f"Save it separated by {expected}, with decimal points, not decimal commas."
    raise InputError(problem, remedy)


def _check_lengths(body: bytes, name: str, delimiter: str, width: int) -> None:
    lengths = array("L")
    try:
        lengths.extend(map(len, _rows(body, delimiter)))
    except csv.Error as error:
        raise _quotes_fault(name, len(lengths) + 1) from error
    if np.isin(np.frombuffer(lengths, dtype=lengths.typecode), (0, width)).all():
        return
    faulty = [
        f"row {number} has {len(row)}"
        for number, row in enumerate(_rows(body, delimiter), start=1)
        if len(row) != width and not _is_blank(row)
    ]
    if not faulty:
        return
    raise InputError(
        f"{name}: the header has {width} cells, but {first_of(faulty)}.",
        "Give every row as many cells as the header, and put a cell that contains "
        f"{DELIMITER_NAMES[delimiter]} in quotation marks.",
    )
