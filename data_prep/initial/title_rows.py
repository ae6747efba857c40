"""A table below lines of text: titles, names of the trial, dates of the export."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from alliance.data_prep.files import file_bytes
from alliance.data_prep.tables.cells import LABELLED, TITLED
from alliance.data_prep.tables.dialects import western_text, with_decimal_points
from alliance.data_prep.tables.excel_files import read_excel
from alliance.data_prep.tables.readers import MISSING, WORKBOOK, looks_like_data, split_sheet

MOST_TITLES = 10  # rows above the header
FEWEST_COLUMNS = 3
MARKS = ",;\t"


def below_titles(path: Path) -> tuple[pd.DataFrame, int] | None:
    """Table whose header is not in the first row that is filled.

    Parameters
    ----------
    path : Path
        A text file, or a workbook with or without a sheet behind its name.

    Returns
    -------
    frame : pandas.DataFrame
        As of `data_prep.tables.readers.Table`; rows are numbered as if the header were in row 1.
    titles : int
        Rows above the header.
    None
        If there is no such table.
    """
    file, sheet = split_sheet(path)
    content, ending = file_bytes(file, "data file"), file.suffix.lower()
    mark = ""
    if ending == WORKBOOK:
        cells = read_excel(content, file.name, sheet).frame
        rows = [[str(name) for name in cells.columns]]
        rows += [["" if pd.isna(cell) else str(cell) for cell in row] for row in cells.to_numpy()]
    elif ending in (".csv", ".tsv", ".txt"):
        mark, rows = _text_rows(content)
    else:
        return None
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    header = _header(rows)
    if not header:
        return None
    width = len(rows[header])
    table = [row[:width] + [""] * (width - len(row)) for row in rows[header + 1 :]]
    frame = pd.DataFrame(table, columns=rows[header], dtype="str")
    frame = frame.mask(frame.isin(["", MISSING]))
    if mark == ";":
        frame, _ = with_decimal_points(frame)
    frame = frame.loc[:, [bool(name) for name in frame.columns]]
    frame.index = pd.RangeIndex(2, len(frame) + 2, name="row")
    frame.attrs = {LABELLED: {}, TITLED: {}}
    return frame, header


def _text_rows(content: bytes) -> tuple[str, list[list[str]]]:
    """Cells by the mark that divides most lines into the same number of them."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = western_text(content) or ""
    best: tuple[int, int] = (0, 0)
    found: tuple[str, list[list[str]]] = ("", [])
    for mark in MARKS:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=mark))
        widths = Counter(len(row) for row in rows if len(row) >= FEWEST_COLUMNS)
        for width, count in widths.most_common(1):
            if (count, width) > best:
                best, found = (count, width), (mark, rows)
    return found


def _header(rows: Sequence[list[str]]) -> int | None:
    """Place of the first row that names every column of those below; None if it is no title's."""
    filled = [sum(map(bool, row)) for row in rows]
    if len(rows) < 3:
        return None
    width = max(filled[1:])
    for place, row in enumerate(rows[: MOST_TITLES + 1]):
        if filled[place] < max(FEWEST_COLUMNS, width):
            continue
        below = pd.DataFrame([r[: len(row)] for r in rows[place + 1 :]])
        named = [cell for cell in row if cell]
        if len(set(named)) < len(named) or looks_like_data(
            row, below.reindex(columns=range(len(row)))
        ):
            return None
        return place
    return None
