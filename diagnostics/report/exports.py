"""The report's tables for other programs: CSV, Markdown and LaTeX."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from alliance.data_prep.errors import InputError, visible
from alliance.data_prep.files import csv_text, list_files, require_own_files
from alliance.diagnostics.report.limitations import bibtex
from alliance.diagnostics.report.page import Section
from alliance.diagnostics.sheet import (
    EMPTY,
    MINUS,
    Sheet,
    code,
    markdown_table,
    on_one_line,
    typeset,
)
from alliance.inference.runs.whole_files import write_whole

MARK = "SIMULATED"
BIBTEX = "citations.bib"
# LaTeX's own characters, and those that not every LaTeX font has.
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        MINUS: r"\textminus{}",
        "≤": r"\ensuremath{\leq}",
        "≥": r"\ensuremath{\geq}",
        "×": r"\ensuremath{\times}",
        EMPTY: "---",
    }
)


def table_files(tables: Iterable[Sheet], *, simulated: bool) -> dict[str, str]:
    """Text of every table in each format, by file name.

    Parameters
    ----------
    tables : iterable of Sheet
    simulated : bool
        Whether each says so, but for those of printed numbers.

    Returns
    -------
    dict of str to str
        ``NAME.csv`` with numbers in full precision, ``NAME.md`` and ``NAME.tex`` as they stand in
        the report; the publications as BibTeX.
    """
    found = {}
    for table in tables:
        marked = simulated and not table.published
        caption = f"{MARK}. {table.caption}" if marked else table.caption
        numbers = table.shown.map(code) if table.numbers is None else table.numbers
        if marked:
            numbers = numbers.assign(data=MARK)
        found[f"{table.name}.csv"] = csv_text(numbers)
        found[f"{table.name}.md"] = markdown_table(table, caption)
        found[f"{table.name}.tex"] = _latex(table, caption)
    return found | {BIBTEX: f"{bibtex()}\n"}


def require_tables(folder: Path, *, overwrite: bool = False) -> None:
    """Refuse a folder for tables, as far as can be told before the work for them.

    Parameters
    ----------
    folder : Path
    overwrite : bool
        As of `write_tables`.

    Raises
    ------
    InputError
        If it is no folder, or its list of files or its publications may not be replaced.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise InputError(f"{str(folder)!r} exists and is not a folder.", "Name another one.")
    require_own_files(folder, [BIBTEX], overwrite=overwrite)


def write_tables(
    sections: Sequence[Section], folder: Path, *, simulated: bool, overwrite: bool = False
) -> list[Path]:
    """Write the tables of all sections.

    Parameters
    ----------
    sections : sequence of Section
    folder : Path
        Made if it does not exist.
    simulated : bool
    overwrite : bool
        Whether tables that were written there before are replaced; other files never are.

    Returns
    -------
    list of Path
        What was written; a list of their digests stands beside them.

    Raises
    ------
    InputError
        If a file is there already, or cannot be written.
    """
    files = table_files(
        (table for section in sections for table in section.tables), simulated=simulated
    )
    contents = {name: text.encode() for name, text in files.items()}
    require_own_files(folder, contents, overwrite=overwrite)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The folder {str(folder)!r} cannot be made: {error.strerror}.", "Name another one."
        ) from error
    try:
        list_files(folder, contents)
    except OSError as error:
        raise InputError(
            f"The tables cannot be written to {str(folder)!r}: {error.strerror}.",
            "Name another folder with `tables`.",
        ) from error
    for name, content in contents.items():
        write_whole(folder / name, content)
    return [folder / name for name in files]


def _as_latex(text: str) -> str:
    return visible(on_one_line(typeset(text))).translate(_LATEX)


def _latex(table: Sheet, caption: str) -> str:
    escaped = table.shown.map(_as_latex)
    escaped.columns = pd.Index([_as_latex(name) for name in escaped.columns])
    columns = "".join("r" if right else "l" for right in table.right)
    return str(
        escaped.style.hide(axis="index").to_latex(
            column_format=columns,
            hrules=True,
            caption=_as_latex(caption),
            label=f"tab:{table.name}",
            position_float="centering",
        )
    )
