"""Cells of comma- and tab-separated text files, with their rows numbered as a spreadsheet does.

Whether the first line of a table is its header, or a title, or already a patient.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from array import array
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from alliance.data_prep.errors import InputError
from alliance.data_prep.files import first_of
from alliance.data_prep.tables.binary_files import MOST_CELLS, check_cells

_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_DATE = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}([ T].*)?")


def title_fault(name: str, row: int, named: int, cells: int) -> InputError:
    """What to say of a title above the header.

    Parameters
    ----------
    name : str
        Of the file.
    row : int
        Of the first line.
    named, cells : int
        Filled cells there, and in the rows below.
    """
    return InputError(
        f"{name}, row {row}: the first line fills {named} of {cells} columns, so it is a title, it "
        "seems, and no header.",
        "Delete what stands above the row that names the columns.",
    )


def looks_like_data(titles: Sequence[str], cells: pd.DataFrame) -> bool:
    """Whether what stands in the place of a header is the first patient.

    Parameters
    ----------
    titles : sequence of str
        Texts in the first line.
    cells : pandas.DataFrame, shape (rows, len(titles))
        What stands below.

    Returns
    -------
    bool
        True if one of them is a number or a date, or stands again in its own column.

    Examples
    --------
    >>> looks_like_data(["P1", "48"], pd.DataFrame([["P2", "52"]]))
    True
    >>> looks_like_data(["patient", "age"], pd.DataFrame([["P2", "52"]]))
    False
    """
    for place, title in enumerate(titles):
        if not title:
            continue
        if _NUMBER.fullmatch(title) or _DATE.fullmatch(title):
            return True
        if (cells.iloc[:, place] == title).any():
            return True
    return False


def no_header(name: str, row: int) -> InputError:
    """What to say of a table that begins with its first patient; shows nothing of the line."""
    return InputError(
        f"{name}, row {row}: the first line looks like data and not like a header.",
        "Write the names of the columns, as in the study file, into a line above it.",
    )


DELIMITER_NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "vertical bars"}

# What Excel writes or reads before the header, to say how cells are separated.
SEPARATOR_LINE = re.compile(r"""["']?sep=(.?)["']?,?""", re.IGNORECASE)


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
    header_row, header, first = _header(body, name, delimiter)
    _check_first_line(header, header_row, first, name, delimiter)
    rows = _check_lengths(body, name, delimiter, header_row, len(header))
    # Rows with something in them have a byte for each cell; blank ones may have a thousand for one.
    check_cells(name, rows, len(header), max(MOST_CELLS, len(body)))
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


def _quotes_fault(name: str, row: int, error: csv.Error) -> InputError:
    if "field larger" in str(error):
        return InputError(
            f"{name}, row {row}: a cell of more than {csv.field_size_limit():,} characters.",
            "Shorten it; if no cell is so long, close the quotation mark that opens one there.",
        )
    return InputError(
        f"{name}, row {row}: a quotation mark opens a cell and does not close it properly.",
        'Close it at the end of the cell, and write a quotation mark inside a cell as "".',
    )


def _header(body: bytes, name: str, delimiter: str) -> tuple[int, list[str], list[str]]:
    """Row number of the first row that is not blank, its cells, and the next such row's."""
    number = 0
    found: list[tuple[int, list[str]]] = []
    try:
        for number, row in enumerate(_rows(body, delimiter), start=1):
            if not _is_blank(row):
                found.append((number, row))
                if len(found) == 2:
                    break
    except csv.Error as error:
        if not found:
            raise _quotes_fault(name, number + 1, error) from error
    if not found:
        raise InputError(f"{name} is empty.", "Check that it was saved and copied in full.")
    return *found[0], found[1][1] if len(found) > 1 else []


def _check_first_line(
    header: list[str], number: int, first: list[str], name: str, delimiter: str
) -> None:
    """Refuse a first line that is no header: an instruction, a title, another delimiter."""
    told = SEPARATOR_LINE.fullmatch(delimiter.join(header).strip())
    if told is not None:
        remedy = f"Delete row {number}."
        if told[1] not in ("", delimiter) and told[1] in DELIMITER_NAMES:
            remedy += (
                f" Save the table separated by {DELIMITER_NAMES[delimiter]}, with decimal points."
            )
        raise InputError(
            f"{name}, row {number}: the first line ('sep=') tells a spreadsheet program how cells "
            "are separated; it is no header.",
            remedy,
        )
    filled = sum(bool(cell.strip()) for cell in header)
    below = sum(bool(cell.strip()) for cell in first)
    marks = {mark: header[0].count(mark) for mark in DELIMITER_NAMES if mark in header[0]}
    alike = any(delimiter.join(first).count(mark) == count for mark, count in marks.items())
    if filled == 1 and below > 1 and not (len(header) == 1 and alike):
        raise title_fault(name, number, filled, below)
    _check_delimiter(header, name, delimiter)


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


def _check_lengths(body: bytes, name: str, delimiter: str, number: int, width: int) -> int:
    """The number of rows, blank ones and the header included."""
    lengths = array("L")
    try:
        lengths.extend(map(len, _rows(body, delimiter)))
    except csv.Error as error:
        raise _quotes_fault(name, len(lengths) + 1, error) from error
    counted = np.frombuffer(lengths, dtype=lengths.typecode)
    if np.isin(counted, (0, width)).all():
        return len(counted)
    faulty = [
        f"row {number} has {len(row)}"
        for number, row in enumerate(_rows(body, delimiter), start=1)
        if len(row) != width and not _is_blank(row)
    ]
    if not faulty:
        return len(counted)
    below = counted[number:][counted[number:] > 1]
    if len(below) > 1 and (below == below[0]).all() and below[0] >= 2 * width:
        raise title_fault(name, number, width, int(below[0]))
    raise InputError(
        f"{name}: the header has {width} cells, but {first_of(faulty)}.",
        "Give every row as many cells as the header, and put a cell that contains "
        f"{DELIMITER_NAMES[delimiter]} in quotation marks.",
    )
