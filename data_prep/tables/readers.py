"""Tables from files: one contract for text, Excel, Parquet, Stata and SPSS.

Cells of text files have their rows numbered as a spreadsheet does. A first line may be the header,
a title, or already a patient.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from alliance.data_prep.errors import DataError, InputError, Problem
from alliance.data_prep.files import file_bytes, first_of
from alliance.data_prep.tables.binary_files import (
    MOST_CELLS,
    check_cells,
    read_parquet,
    read_spss,
    read_stata,
)
from alliance.data_prep.tables.dialects import has_semicolons, western_text, with_decimal_points
from alliance.data_prep.tables.excel_files import Merged, read_excel

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

FIRST_LINES = 100_000  # bytes in which the first lines are looked for

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
        What separates the cells: a comma or a tab. A file whose first line has semicolons in its
        place is read with these, and with decimal commas where numbers have them.

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
        The content is neither UTF-8 text nor beyond doubt Latin-1 or Windows-1252, is separated
        by something else, has a quotation mark that
        is not closed, or rows longer or shorter than the header.
    """
    notes = []
    body = content.removeprefix(codecs.BOM_UTF8)
    if len(body) < len(content):
        notes.append(f"{name} begins with a byte-order mark, which was skipped.")
    body, told = _as_utf8(body, name, delimiter)
    notes += told
    start = body[:FIRST_LINES].decode(errors="ignore")
    semicolons = delimiter == "," and has_semicolons(start, delimiter)
    if semicolons and not SEPARATOR_LINE.fullmatch(start.lstrip().partition("\n")[0].strip()):
        delimiter = ";"
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
    if delimiter == ";":
        cells, commas = with_decimal_points(cells)
        also = ", and its numbers have decimal commas" if commas else ""
        notes.append(f"{name}: cells are separated by semicolons{also}; it was read so.")
    cells.columns = pd.Index(header)
    return cells, notes


def _as_utf8(body: bytes, name: str, delimiter: str) -> tuple[bytes, list[str]]:
    """The content in UTF-8, and what is to be said of another encoding."""
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
        if (text := western_text(body)) is not None:
            letters = sorted({letter for letter in text if not letter.isascii()})
            told = (
                f"{name} is not UTF-8 and was read as Windows-1252 (Latin-1), with the letters "
                f"{' '.join(letter for letter in letters if letter.strip())}; if names look wrong, "
                "save it as UTF-8."
            )
            return text.encode(), [told]
        before = body[: error.start].decode()
        # The letter stands for the faulty byte, so that its row counts even if it comes first.
        row = sum(1 for _ in csv.reader(io.StringIO(f"{before}x", newline=""), delimiter=delimiter))
        byte = body[error.start]
        problem = f"{name}, row {row}: byte 0x{byte:02X} is not UTF-8"
        problem += f" ({bytes([byte]).decode('latin-1')!r} in Latin-1)." if byte >= 0xA0 else "."
        raise InputError(problem, utf8) from error
    return body, []


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


# Besides the empty cell and cells of blanks only, this alone is a missing value, unless the study
# file declares others (`missing_values`). What some programs write (".", "-99", "n/a") is refused
# as text or as out of range, or asked about in a note, by name.
MISSING = "NA"

WORKBOOK = ".xlsx"
_SHEET = re.compile(rf"(.+{re.escape(WORKBOOK)})#(.+)", re.IGNORECASE)


def _read_delimited(content: bytes, path: Path, delimiter: str) -> tuple[pd.DataFrame, list[str]]:
    return read_text(content, path.name, delimiter)


READERS: dict[str, Callable[[bytes, Path], tuple[pd.DataFrame, list[str]]] | None] = {
    ".csv": partial(_read_delimited, delimiter=","),
    ".tsv": partial(_read_delimited, delimiter="\t"),
    ".txt": partial(_read_delimited, delimiter="\t"),
    WORKBOOK: None,  # read by sheet, below
    ".parquet": read_parquet,
    ".dta": read_stata,
    ".sav": read_spss,
}


@dataclass(frozen=True)
class Table:
    """A table as it stands in a file.

    Attributes
    ----------
    path : Path
        The file; with ``#SHEET`` behind it where a sheet was named.
    frame : pandas.DataFrame
        One row for each row that is not empty; every cell is text without blanks at its ends, or
        missing, whatever the format. The index, named ``row``, holds the row numbers that a
        spreadsheet shows: the header is row 1, the first row below it 2. Its attribute
        `data_prep.tables.cells.LABELLED` holds the value labels of Stata and SPSS files.
    notes : tuple of str
        What the reader passed over and the user should know.
    sha256 : str
        Hash of the file's content, in hexadecimal.
    header_row : int
        Row of the header.
    places : dict of str to int
        By column, its place in the file, from 1.
    sheet : str or None
        Title of the sheet that was read.
    other_sheets : mapping of str to tuple of str
        Titles of the others, and the texts in their first row.
    merged : tuple of Merged
        Merged cells of the sheet.
    """

    path: Path
    frame: pd.DataFrame
    notes: tuple[str, ...]
    sha256: str
    header_row: int = 1
    places: Mapping[str, int] = field(default_factory=dict)
    sheet: str | None = None
    other_sheets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    merged: tuple[Merged, ...] = ()

    def require(self, columns: Sequence[str]) -> None:
        """Refuse a table whose lack of these columns, or of cells in them, has a plain reason.

        Parameters
        ----------
        columns : sequence of str
            Those that the study names.

        Raises
        ------
        InputError
            Another sheet has more of them; there is none, and the first line looks like data.
        DataError
            Cells of them are merged.
        """
        lacking = [column for column in columns if column not in self.frame.columns]
        if lacking:
            self._offer_sheet(columns, lacking)
        if len(lacking) == len(columns) and looks_like_data(list(self.frame.columns), self.frame):
            raise no_header(self.path.name, self.header_row)
        if problems := list(self._merged(columns)):
            raise DataError(problems)

    def _offer_sheet(self, columns: Sequence[str], lacking: Sequence[str]) -> None:
        found = {
            title: [column for column in columns if column in header]
            for title, header in self.other_sheets.items()
        }
        best = max(found, key=lambda title: len(found[title]), default=None)
        if best is None or len(found[best]) <= len(columns) - len(lacking):
            return
        all_of_them = len(found[best]) == len(columns)
        has = "has all of them" if all_of_them else f"has {first_of(found[best])}"
        name = split_sheet(self.path)[0].name
        raise InputError(
            f"{name}: the sheet {self.sheet!r} was read, which has no column {first_of(lacking)}; "
            f"the sheet {best!r} {has}.",
            f"Name the sheet behind the file, '{name}#{best}', or make it the first one.",
        )

    def _merged(self, columns: Sequence[str]) -> Iterator[Problem]:
        for range_ in self.merged:
            if range_.rows[1] <= self.header_row:
                continue
            for column in columns:
                place = self.places.get(column, 0)
                inside = range_.columns[0] <= place <= range_.columns[1]
                first_only = range_.rows[0] == range_.rows[1] and place == range_.columns[0]
                if inside and not first_only:
                    yield Problem(
                        self.path.name,
                        range_.rows[0],
                        column,
                        None,
                        f"the cells {range_.reference} are merged, so that only the first of them "
                        "holds a value and the others pass for missing",
                        "Unmerge them, and write the value into every row that it belongs to.",
                    )


def split_sheet(path: Path) -> tuple[Path, str | None]:
    """Split a path into the file, and the sheet of a workbook that is named behind it.

    Examples
    --------
    >>> file, sheet = split_sheet(Path("trial.xlsx#Data"))
    >>> file.name, sheet
    ('trial.xlsx', 'Data')
    """
    named = _SHEET.fullmatch(str(path))
    if named is None or path.exists():  # a file may have such a name
        return path, None
    return Path(named[1]), named[2]


def read_table(path: Path, *, may_be_empty: bool = False) -> Table:
    """Table in a file, read by the ending of its name.

    Text files (``.csv`` with commas or semicolons, ``.tsv`` and ``.txt`` with tabs) are UTF-8, or
    Latin-1 or Windows-1252 where that is beyond doubt. Of a workbook
    (``.xlsx``) the first sheet is read, or the one that is named: ``trial.xlsx#Data``. Parquet,
    Stata (``.dta``) and SPSS (``.sav``) files give their codes, not their value labels. In every
    format an empty cell, a cell of blanks and ``NA`` are missing values, and nothing else is.

    Parameters
    ----------
    path : Path
        The file.
    may_be_empty : bool
        Whether a table without rows is none the less one, as a part of a larger one may be.

    Returns
    -------
    Table
        Its cells.

    Raises
    ------
    InputError
        The file cannot be read, is of an unknown kind or damaged, has more cells than are read,
        needs a package that is not installed, or is not one table with a name for each column and
        at least one row.
    """
    file, wanted = split_sheet(path)
    content = file_bytes(file, "data file")
    ending = file.suffix.lower()
    if ending not in READERS:
        what = f"the ending {file.suffix!r} is not known" if file.suffix else "it has no ending"
        raise InputError(
            f"{file.name} cannot be read: {what}.",
            f"Save the table in a format that can be read: {', '.join(READERS)}.",
        )
    digest = hashlib.sha256(content).hexdigest()
    reader = READERS[ending]
    if reader is not None:
        cells, notes = reader(content, file)
        frame, places, more = _cleaned(cells, file.name, may_be_empty)
        return Table(path, frame, (*notes, *more), digest, _header_row(cells), places)
    sheet = read_excel(content, file.name, wanted)
    try:
        frame, places, more = _cleaned(sheet.frame, path.name, may_be_empty, sheet.places)
    except InputError as error:
        if wanted is not None or not sheet.others:
            raise
        other = max(sheet.others, key=lambda title: len(sheet.others[title]))
        told = (
            f"The first sheet, {sheet.title!r}, was read; another one is named behind the file: "
            f"'{file.name}#{other}'."
        )
        raise InputError(error.problem, f"{error.remedy} {told}") from error
    notes = []
    if sheet.others:
        which = "the first," if wanted is None else "the one named,"
        many = len(sheet.others) + 1
        notes = [f"{file.name} has {many} sheets; {which} {sheet.title!r}, was read."]
    return Table(
        path,
        frame,
        (*notes, *more),
        digest,
        _header_row(sheet.frame),
        places,
        sheet.title,
        sheet.others,
        sheet.merged,
    )


def _header_row(cells: pd.DataFrame) -> int:
    return int(cells.index.start) - 1 if isinstance(cells.index, pd.RangeIndex) else 1


def _cleaned(
    cells: pd.DataFrame, name: str, may_be_empty: bool, at: Sequence[int] = ()
) -> tuple[pd.DataFrame, dict[str, int], list[str]]:
    """Named columns and filled rows of the cells as read; the columns' places."""
    titles = [str(title).strip() for title in cells.columns]
    row = _header_row(cells)
    columns: dict[str, pd.Series] = {}
    places: dict[str, int] = {}
    skipped: list[int] = []
    unnamed: list[tuple[int, int]] = []
    for position, title in enumerate(titles):
        place = at[position] if at else position + 1
        column = cells.iloc[:, position]
        if not column.isna().all():
            column = column.str.strip()
            column = column.mask(column.isin(["", MISSING]))
        if not title:
            filled = np.flatnonzero(column.notna())
            if len(filled):
                unnamed.append((place, int(column.index[filled[0]])))
            else:
                skipped.append(place)
        elif title in columns:
            if looks_like_data(titles, cells):
                raise no_header(name, row)
            raise InputError(
                f"{name}: the column {title!r} stands twice in the header.",
                "Rename or delete one of the two.",
            )
        else:
            columns[title] = column
            places[title] = place
    if unnamed:
        if len(unnamed) > len(columns):
            raise title_fault(name, row, len(columns), len(columns) + len(unnamed))
        if looks_like_data(titles, cells):
            raise no_header(name, row)
        place, first = unnamed[0]
        raise InputError(
            f"{name}: column {place} has no name, but data, first in row {first}.",
            "Name it in the header, or delete it.",
        )
    notes = [f"{name}: {_listed(skipped)} empty and skipped."] if skipped else []
    frame = pd.DataFrame(columns)
    frame.index.name = "row"
    frame.columns.name = None
    empty = frame.isna().all(axis=1)
    if empty.all() and not may_be_empty:
        raise InputError(
            f"{name} has a header but no rows.", "Check that it was saved and copied in full."
        )
    frame = frame[~empty]
    frame.attrs = dict(cells.attrs)
    gaps = [str(row) for row in empty.index[empty] if len(frame) and row < frame.index[-1]]
    if gaps:
        notes.append(f"{name}: empty rows were skipped: {first_of(gaps)}.")
    return frame, places, notes


def _listed(places: Sequence[int]) -> str:
    """Columns by their places, neighbours as a range: "columns 3, 5 to 9 are"."""
    runs: list[list[int]] = []
    for place in places:
        if runs and place == runs[-1][-1] + 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    texts = [f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return f"columns {first_of(texts)} are" if len(places) > 1 else f"column {texts[0]} is"
