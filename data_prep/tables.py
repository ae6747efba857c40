"""Tables from files: one contract for text, Excel, Parquet, Stata and SPSS."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from data_prep.binary_files import read_excel, read_parquet, read_spss, read_stata
from data_prep.errors import InputError
from data_prep.files import file_bytes, first_of
from data_prep.text_files import read_text

# Besides the empty cell and cells of blanks only, this alone is a missing value. Others that some
# programs write (".", "-99", "n/a") are refused later as text or as out of range, by name.
MISSING = "NA"


def _read_delimited(content: bytes, path: Path, delimiter: str) -> tuple[pd.DataFrame, list[str]]:
    return read_text(content, path.name, delimiter)


READERS: dict[str, Callable[[bytes, Path], tuple[pd.DataFrame, list[str]]]] = {
    ".csv": partial(_read_delimited, delimiter=","),
    ".tsv": partial(_read_delimited, delimiter="\t"),
    ".txt": partial(_read_delimited, delimiter="\t"),
    ".xlsx": read_excel,
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
        The file.
    frame : pandas.DataFrame
        One row for each row that is not empty; every cell is text without blanks at its ends, or
        missing, whatever the format. The index, named ``row``, holds the row numbers that a
        spreadsheet shows: the header is row 1, the first row below it 2. Its attribute
        `data_prep.covariates.LABELLED` holds the value labels of Stata and SPSS files.
    notes : tuple of str
        What the reader passed over and the user should know.
    sha256 : str
        Hash of the file's content, in hexadecimal.
    """

    path: Path
    frame: pd.DataFrame
    notes: tuple[str, ...]
    sha256: str


def read_table(path: Path) -> Table:
    """Table in a file, read by the ending of its name.

    Text files (``.csv`` with commas, ``.tsv`` and ``.txt`` with tabs) must be UTF-8. Of a workbook
    (``.xlsx``) the first sheet is read. Parquet, Stata (``.dta``) and SPSS (``.sav``) files give
    their codes, not their value labels. In every format an empty cell, a cell of blanks and
    ``NA`` are missing values, and nothing else is.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Table
        Its cells.

    Raises
    ------
    InputError
        The file cannot be read, is of an unknown kind or damaged, needs a package that is not
        installed, or is not one table with a name for each column and at least one row.
    """
    content = file_bytes(path, "data file")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        ending = f"the ending {path.suffix!r} is not known" if path.suffix else "it has no ending"
        raise InputError(
            f"{path.name} cannot be read: {ending}.",
            f"Save the table in a format that can be read: {', '.join(READERS)}.",
        )
    cells, notes = reader(content, path)
    frame, more_notes = _cleaned(cells, path.name)
    return Table(path, frame, (*notes, *more_notes), hashlib.sha256(content).hexdigest())


def _cleaned(cells: pd.DataFrame, name: str) -> tuple[pd.DataFrame, list[str]]:
    """Named columns and filled rows of the cells as read."""
    notes: list[str] = []
    columns: dict[str, pd.Series] = {}
    titles = [str(title).strip() for title in cells.columns]
    for position, title in enumerate(titles):
        column = cells.iloc[:, position].str.strip()
        column = column.mask(column.isin(["", MISSING]))
        if not title:
            if column.notna().any():
                filled = column.dropna()
                raise InputError(
                    f"{name}: column {position + 1} has no name, but data, "
                    f"first in row {filled.index[0]}: {filled.iloc[0]!r}.",
                    "Name it in the header, or delete it.",
                )
            notes.append(f"{name}: column {position + 1} is empty and was skipped.")
        elif title in columns:
            raise InputError(
                f"{name}: the column {title!r} stands twice in the header.",
                "Rename or delete one of the two.",
            )
        else:
            columns[title] = column
    frame = pd.DataFrame(columns)
    frame.index.name = "row"
    frame.columns.name = None
    empty = frame.isna().all(axis=1)
    if empty.all():
        raise InputError(
            f"{name} has a header but no rows.", "Check that it was saved and copied in full."
        )
    frame = frame[~empty]
    frame.attrs = dict(cells.attrs)
    gaps = [str(row) for row in empty.index[empty] if row < frame.index[-1]]
    if gaps:
        notes.append(f"{name}: empty rows were skipped: {first_of(gaps)}.")
    return frame, notes
