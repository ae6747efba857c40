"""Tables from files: one contract for text, Excel, Parquet, Stata and SPSS."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from alliance.data_prep.errors import DataError, InputError, Problem
from alliance.data_prep.files import file_bytes, first_of
from alliance.data_prep.tables.binary_files import read_parquet, read_spss, read_stata
from alliance.data_prep.tables.excel_files import Merged, read_excel
from alliance.data_prep.tables.text_files import looks_like_data, no_header, read_text, title_fault

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

    Text files (``.csv`` with commas, ``.tsv`` and ``.txt`` with tabs) must be UTF-8. Of a workbook
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
