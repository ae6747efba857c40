"""From a data file to the files of a study: what is read, guessed and written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from alliance.data_prep.errors import InputError, extra_package
from alliance.data_prep.files import file_bytes
from alliance.data_prep.initial.columns import columns_of
from alliance.data_prep.initial.draft import Ask, Question, decide_alone
from alliance.data_prep.initial.guesses import draft_study
from alliance.data_prep.initial.keeping_out import NAME, keep_out
from alliance.data_prep.initial.text import MARKS, draft_text, published_text
from alliance.data_prep.initial.title_rows import below_titles
from alliance.data_prep.initial.wide import as_wide, long_keys
from alliance.data_prep.partial_files import current_umask, write_partial
from alliance.data_prep.tables.readers import WORKBOOK, read_table, split_sheet

PUBLISHED = "published.toml"
FEWEST_ROWS = 8  # of a sheet that may hold a trial


@dataclass(frozen=True, slots=True)
class Begun:
    """What was written, and what is to be said of it.

    Attributes
    ----------
    data : Path
        The table that the study describes.
    written : tuple of Path
    notes, undecided : tuple of str
    """

    data: Path
    written: tuple[Path, ...]
    notes: tuple[str, ...]
    undecided: tuple[str, ...]


def begin(
    data: Path,
    out: Path,
    given: Mapping[str, str],
    *,
    ask: Ask | None = None,
    published: bool = False,
    overwrite: bool = False,
) -> Begun:
    """Write a first study file for a table, and what belongs to it.

    Parameters
    ----------
    data : Path
        The table; of a workbook without a sheet behind its name the sheet that looks like a trial.
    out : Path
        The study file.
    given : mapping of str to str
        Columns by part, as of `draft_study`.
    ask : callable, optional
        Answers questions; without it every guess is taken.
    published : bool
        Whether a file of published findings is written beside it, to be filled in.
    overwrite : bool
        Whether files that are there may be replaced.

    Returns
    -------
    Begun

    Raises
    ------
    InputError
        If the table cannot be read, a column that is given is not there, or a file is there
        already or cannot be written.
    """
    asking = decide_alone if ask is None else ask
    files: dict[Path, str] = {}
    read = _table(data, asking)
    frame, source, notes = read.frame, read.path, list(read.notes)
    stem = split_sheet(source)[0].stem
    written = None if read.as_it_is else out.parent / f"{stem}-table.csv"
    keys = long_keys(columns_of(frame))
    if keys is not None:
        patient, visit = keys
        frame = as_wide(frame, patient, visit)
        written = out.parent / f"{stem}-wide.csv"
        notes.append(
            f"{source.name} has a row for each patient and {visit}; {written.name} has one for "
            f"each patient, with a column for each {visit}, and the study describes that."
        )
    if written is not None:
        files[written] = frame.to_csv(index=False)
        source = written
    draft = draft_study(columns_of(frame), source.name, dict(given), asking)
    files[out] = draft_text(draft)
    if published:
        names = [outcome.name for outcome in draft.outcomes]
        files[out.with_name(PUBLISHED)] = published_text(names, list(draft.arms))
    _require_free(files, data, overwrite=overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        partial = write_partial(path, text.encode())
        if path != written:  # what holds patients' data stays its owner's alone
            partial.chmod(0o666 & ~current_umask())
        os.replace(partial, path)
    kept = _kept_out(out.parent, split_sheet(data)[0], source)
    return Begun(source, (*files, *kept), tuple(notes), tuple(draft.undecided))


@dataclass(frozen=True, eq=False, slots=True)
class _Read:
    """A table, and whether a study can describe the file as it is."""

    frame: pd.DataFrame
    path: Path
    notes: tuple[str, ...]
    as_it_is: bool = True


def _table(data: Path, ask: Ask) -> _Read:
    """The table, and of a workbook the sheet that looks most like a trial."""
    file, wanted = split_sheet(data)
    if wanted is not None or file.suffix.lower() != WORKBOOK:
        return _one_table(data)
    titles = _titles(file)
    if len(titles) == 1:
        return _one_table(data)
    found: dict[str, _Read] = {}
    faults: list[InputError] = []
    for title in titles:
        try:
            found[title] = _one_table(Path(f"{file}#{title}"))
        except InputError as error:
            faults.append(error)
    sizes = {
        title: int(read.frame.notna().to_numpy().sum())
        for title, read in found.items()
        if len(read.frame) >= FEWEST_ROWS
    }
    if not sizes:
        if faults:
            raise faults[0]
        raise InputError(
            f"No sheet of {file.name} has a table of {FEWEST_ROWS} rows or more.",
            f"Name the sheet: '{file.name}#SHEET'.",
        )
    best = max(sizes, key=lambda title: sizes[title])
    question = Question("Which sheet holds the trial?", best, tuple(sizes))
    chosen = ask(question) if len(sizes) > 1 else best
    others = ", ".join(repr(title) for title in titles if title != chosen)
    told = f"The sheet {chosen!r} was read; the others ({others}) were not."
    notes = [note for note in found[chosen].notes if " sheets; " not in note]
    return replace(found[chosen], notes=(*notes, told))


def _one_table(path: Path) -> _Read:
    """The table of a file or a sheet, below its titles if it has any."""
    try:
        table = read_table(path)
    except InputError:
        below = below_titles(path)
        if below is None:
            raise
        frame, titles = below
        rows = "1 row" if titles == 1 else f"{titles} rows"
        told = (
            f"{path.name} has {rows} of titles above the names of its columns; the table below is "
            "written to a file of its own, and the study describes that."
        )
        return _Read(frame, path, (told,), as_it_is=False)
    return _Read(table.frame, path, ())  # what the reader notes, the check tells


def _titles(data: Path) -> list[str]:
    file_bytes(data, "data file")
    openpyxl = extra_package("openpyxl", "excel", f"{data.name}: reading it")
    book = openpyxl.load_workbook(data, read_only=True)
    try:
        return [str(title) for title in book.sheetnames]
    finally:
        book.close()


def _require_free(files: Mapping[Path, str], data: Path, *, overwrite: bool) -> None:
    """Refuse to replace the data, and what is there already."""
    for path, text in files.items():
        if path.exists() and split_sheet(data)[0].exists() and path.samefile(split_sheet(data)[0]):
            raise InputError(f"{path} is the data file.", "Name another file: `out`.")
        if path.is_dir():
            raise InputError(f"{path} is a folder.", "Name a file in it: `out`.")
        if path.exists() and not overwrite:
            raise InputError(
                f"{path} exists already.", "Name another file (`out`), or give `overwrite`."
            )
        if os.path.lexists(path) and not _is_ours(path, text):
            raise InputError(
                f"{path} exists, and is no draft that `alliance init` wrote: it is not replaced.",
                "Name another file (`out`), or move that one away.",
            )


def _is_ours(path: Path, text: str) -> bool:
    """Whether what is there is an earlier draft of this text, or, of a table, the same."""
    if path.is_symlink() or not path.is_file():
        return False
    mark = next((mark for mark in MARKS if text.startswith(mark)), text)
    with path.open("rb") as file:
        same = file.read(len(mark.encode())) == mark.encode()
        return same and (mark is not text or not file.read(1))


def _kept_out(folder: Path, data: Path, described: Path) -> list[Path]:
    """Write what keeps the data out of repositories, beside the study and beside the data."""
    places: dict[Path, list[str]] = {folder.resolve(): []}
    for file in dict.fromkeys([data, described]):
        own = file.resolve().parent
        inside = own in places or any((above / ".git").exists() for above in (own, *own.parents))
        if inside:
            places.setdefault(own, []).append(file.name)
    return [own / NAME for own, names in places.items() if keep_out(own, names)]
