"""Cells of one sheet of an Excel workbook, read row by row and never more than a bound."""

from __future__ import annotations

import io
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from alliance.data_prep.errors import InputError, extra_package, nearest
from alliance.data_prep.files import first_of
from alliance.data_prep.tables.binary_files import cell_text, check_text, damaged

# A cell takes some 100 bytes and 5 microseconds: this is 20 s and 1 GB at most, whatever the size
# that a file pretends to have. Text and Parquet files are read faster, and have a larger bound.
MOST_CELLS = 3_000_000
MOST_ROWS = 1_048_576  # of a sheet of Excel
MOST_STRINGS = 1_000_000  # distinct texts
MOST_CHARACTERS = 100_000_000  # of all cells: a text that many hold is stored once
MOST_TAGS = 20_000_000  # of XML in one sheet: cells with a format and no value have one each
MOST_OTHER_TAGS = 1_000_000  # in styles, names and all else that is held in memory as a whole
MOST_BYTES_WITHOUT_END = 2**24  # of XML: a row of a sheet and a text are held as a whole
CHUNK = 2**20

# What the libraries raise on damaged files, found by damaging files at random.
EXCEL_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,  # an encrypted member
    SyntaxError,  # what faults of XML are to Python
    TypeError,
    ValueError,
)
EXPORT = "Export the table as CSV (UTF-8) or Parquet, which are read up to a larger size."


@dataclass(frozen=True, slots=True)
class Merged:
    """Cells that are merged into one that holds a value.

    Attributes
    ----------
    reference : str
        As ``B2:B17``.
    rows, columns : tuple of int
        First and last, counted from 1.
    """

    reference: str
    rows: tuple[int, int]
    columns: tuple[int, int]


@dataclass(frozen=True, eq=False, slots=True)
class Sheet:
    """One sheet of a workbook.

    Attributes
    ----------
    title : str
    frame : pandas.DataFrame
        As of `data_prep.tables.readers.read_text`, but columns without any cell are left out.
    places : tuple of int
        Of the columns in the sheet, from 1.
    merged : tuple of Merged
    others : dict of str to tuple of str
        Titles of the other sheets, and the texts in the first row of each that is not empty.
    """

    title: str
    frame: pd.DataFrame
    places: tuple[int, ...]
    merged: tuple[Merged, ...]
    others: dict[str, tuple[str, ...]]


def read_excel(content: bytes, name: str, wanted: str | None = None) -> Sheet:
    """Read one sheet of a workbook.

    Parameters
    ----------
    content : bytes
    name : str
        The file's name, for messages.
    wanted : str or None
        Title of the sheet; the first one by default.

    Returns
    -------
    Sheet

    Raises
    ------
    InputError
        The content is no workbook, damaged, larger than the bounds above, or holds formulas that
        were never computed; the sheet is not there, or empty.
    """
    openpyxl = extra_package("openpyxl", "excel", f"{name}: reading it")
    damage = (*EXCEL_DAMAGE, openpyxl.utils.exceptions.InvalidFileException)
    try:
        _check_size(content, name)
        with warnings.catch_warnings():
            # It warns of styles and validations that it leaves out; neither touches a value.
            warnings.simplefilter("ignore", UserWarning)
            book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
            sheets = {sheet.title: sheet for sheet in book.worksheets}
            title = _chosen(list(sheets), wanted, name)
            rows, merged, uncomputed = _sheet_rows(sheets[title], name)
            others = {
                other: _first_texts(sheet) for other, sheet in sheets.items() if other != title
            }
    except InputError:
        raise
    except damage as error:
        raise damaged(name, "an Excel workbook", error) from error
    if uncomputed:
        raise InputError(
            f"{name}: formulas without a stored value in {first_of(uncomputed)}.",
            "Open the file in a spreadsheet program and save it, so that they are computed.",
        )
    if not rows:
        where = f"the sheet {title!r} is empty"
        if wanted is None:
            where = f"the first sheet, {title!r}, is empty"
        named = f", or name another one: '{name}#{next(iter(others))}'" if others else ""
        raise InputError(f"{name}: {where}.", f"Put the table on it, with a header{named}.")
    frame, places = _frame(rows)
    return Sheet(title, frame, tuple(places), tuple(merged), others)


def _chosen(titles: list[str], wanted: str | None, name: str) -> str:
    if not titles:
        raise InputError(
            f"{name} has no sheet with cells.", "Put the table on a sheet, with a header."
        )
    if wanted is None:
        return titles[0]
    if wanted not in titles:
        raise InputError(f"{name} has no sheet {wanted!r}.", nearest(wanted, titles))
    return wanted


def _check_size(content: bytes, name: str) -> None:
    """Refuse what would unpack to more than the bounds, before any of it is held in memory."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for member in archive.infolist():
            if not member.filename.lower().endswith((".xml", ".rels")):
                continue
            sheet = "worksheets/" in member.filename
            strings = "sharedStrings" in member.filename
            most = MOST_TAGS if sheet or strings else MOST_OTHER_TAGS
            # Of all that is neither, at most so many bytes in all
            end, longest = {
                (True, False): (b"row", MOST_BYTES_WITHOUT_END),
                (False, True): (b"si>", MOST_BYTES_WITHOUT_END),
            }.get((sheet, strings), (None, most * 100))
            size = tags = texts = without_end = 0
            most_bytes = 4 * MOST_CHARACTERS if strings else 2**62  # 4 of one character at most
            with archive.open(member) as file:
                while chunk := file.read(CHUNK):
                    tags += chunk.count(b"<")
                    texts += chunk.count(b"<si") + chunk.count(b":si>")
                    ended = end is not None and end in chunk
                    without_end = 0 if ended else without_end + len(chunk)
                    size += len(chunk)
                    if (
                        tags > most
                        or texts > MOST_STRINGS
                        or without_end > longest
                        or size > most_bytes
                    ):
                        raise InputError(
                            f"{name} unpacks to more than is read of a workbook: "
                            f"{MOST_CELLS:,} cells, {MOST_STRINGS:,} different texts and "
                            f"{MOST_CHARACTERS:,} characters at most.",
                            f"Delete what does not belong to the table. {EXPORT}",
                        )


def _sheet_rows(sheet: Any, name: str) -> tuple[dict[int, dict[int, str]], list[Merged], list[str]]:
    """Filled cells by row and column, merged cells, and formulas that were never computed."""
    parser, uncomputed = _parser(sheet)
    rows: dict[int, dict[int, str]] = {}
    low = high = 0  # first and last column with a cell
    characters = 0
    with sheet._get_source() as source:
        parser.source = source
        for number, cells in parser.parse():
            filled = {}
            for cell in cells:
                text = cell_text(cell["value"])
                if text:
                    filled[cell["column"]] = text
                    characters += len(text)
            if not filled:
                continue
            check_text(name, characters, MOST_CHARACTERS)
            rows[number] = filled
            low = min(low or min(filled), min(filled))
            high = max(high, max(filled))
            first = next(iter(rows))
            height = number - first + 1
            if height < 1:
                raise ValueError("its rows are out of order")
            if height * high > MOST_CELLS or height > MOST_ROWS:
                last = f"{_letters(max(filled))}{number}"
                raise InputError(
                    f"{name}: the sheet {sheet.title!r} holds something as far away as {last}, "
                    f"which makes {height:,} rows of {high:,} columns; of a workbook at most "
                    f"{MOST_CELLS:,} cells are read.",
                    f"Delete what stands far from the table. {EXPORT}",
                )
    return rows, list(_merged(parser, rows)), uncomputed


def _parser(sheet: Any) -> tuple[Any, list[str]]:
    """Read cells as openpyxl does, but only those that are there; note uncomputed formulas."""
    from openpyxl.worksheet._reader import FORMULA_TAG, WorkSheetParser

    uncomputed: list[str] = []

    class Parser(WorkSheetParser):
        def parse_cell(self, element: Any) -> dict[str, Any]:
            cell = super().parse_cell(element)
            empty = cell["value"] is None and element.find(FORMULA_TAG) is not None
            if empty and element.get("t") != "str":  # some formulas are meant to give no text
                uncomputed.append(str(element.get("r", "a cell")))
            return dict(cell)

    book = sheet.parent
    return Parser(
        None,
        sheet._shared_strings,
        data_only=True,
        epoch=book.epoch,
        date_formats=book._date_formats,
        timedelta_formats=book._timedelta_formats,
    ), uncomputed


def _merged(parser: Any, rows: dict[int, dict[int, str]]) -> Iterator[Merged]:
    """Ranges of merged cells whose first cell holds a value."""
    ranges = getattr(parser.merged_cells, "mergeCell", ())
    for found in sorted(ranges, key=lambda found: (found.min_col, found.min_row)):
        if found.min_col in rows.get(found.min_row, {}):
            yield Merged(
                str(found.ref), (found.min_row, found.max_row), (found.min_col, found.max_col)
            )


def _first_texts(sheet: Any) -> tuple[str, ...]:
    parser, _ = _parser(sheet)
    with sheet._get_source() as source:
        parser.source = source
        for _, cells in parser.parse():
            texts = [cell_text(cell["value"]) for cell in cells]
            if any(texts):
                return tuple(text for text in texts if text)
    return ()


def _frame(rows: dict[int, dict[int, str]]) -> tuple[pd.DataFrame, list[int]]:
    """Rows below the header, under the numbers that the spreadsheet shows; the columns' places."""
    numbers = list(rows)
    header = rows[numbers[0]]
    used = sorted({place for row in rows.values() for place in row})
    columns: dict[int, list[str | None]] = {place: [] for place in used}
    nothing: dict[int, str] = {}
    for number in range(numbers[0] + 1, numbers[-1] + 1):
        row = rows.get(number, nothing)
        for place, column in columns.items():
            column.append(row.get(place))
    table = pd.DataFrame(columns, dtype="str")
    table.columns = pd.Index([header.get(place, "") for place in used])
    table.index = pd.RangeIndex(numbers[0] + 1, numbers[-1] + 1)
    return table, used


def _letters(column: int) -> str:
    """Name of a column as a spreadsheet shows it.

    Examples
    --------
    >>> _letters(1), _letters(27), _letters(16384)
    ('A', 'AA', 'XFD')
    """
    text = ""
    while column:
        column, rest = divmod(column - 1, 26)
        text = chr(ord("A") + rest) + text
    return text
