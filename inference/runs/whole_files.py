"""Files that are written whole or not at all, and the places where one may be written.

An interruption or a full disk leaves what was there before. What was there before is replaced only
if a command wrote it, or if that is asked for; input and parts of a run never are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from glob import glob
from pathlib import Path
from typing import NamedTuple

from alliance.data_prep.errors import InputError
from alliance.data_prep.partial_files import current_umask, write_partial
from alliance.data_prep.tables.readers import READERS

GENERATOR = "alliance report"  # in the page's head, and on every figure
EXPLORER_GENERATOR = "alliance explore"
MANIFEST, REPORT, EXPLORER = "manifest.json", "report.html", "explorer.html"
_END_BYTES = 4000  # at both ends of a file, in which a mark stands
# Endings of what commands read: a file of another's with one of them is not replaced at all.
_READ = frozenset({*READERS, ".toml", ".json", ".sqlite", ".nc", ".py", ".ipynb", ".r"})


class Kind(NamedTuple):
    """A kind of file that commands write.

    Attributes
    ----------
    noun : str
        For messages.
    mark : str
        Text at the beginning or the end of every file of the kind, by which it is known again.
    """

    noun: str
    mark: str


PAGE = Kind("report", f'<meta name="generator" content="{GENERATOR}')
WORD = Kind("Word document of alliance", f"<cp:category>{GENERATOR}</cp:category>")
EXPLORER_PAGE = Kind("explorer", f'<meta name="generator" content="{EXPLORER_GENERATOR}')
PAGES = {REPORT: PAGE, EXPLORER: EXPLORER_PAGE}  # what they are called within a run
FIGURE = Kind("figure of alliance", "drawn by alliance: the next one of this name replaces it")
JUNIT = Kind("JUnit file of alliance", 'name="alliance diagnose: ')


def require_output(
    path: Path, kind: Kind, *, overwrite: bool = False, inputs: Iterable[Path | str] = ()
) -> None:
    """Refuse a place for a file, before the work for it.

    Parameters
    ----------
    path : Path
        The file to be.
    kind : Kind
    overwrite : bool
        Whether another file there may be replaced. What is read, and a run's own files, never are.
    inputs : iterable of Path or str
        Files, folders and patterns that are read.

    Raises
    ------
    InputError
        If the folder does not exist, or something that is not replaced is there.
    """
    other = "Name another file."
    if not path.absolute().parent.is_dir():
        raise InputError(
            f"{str(path)!r} cannot be written: the folder {str(path.parent)!r} does not exist.",
            "Make it, or name another place.",
        )
    if path.is_dir():
        raise InputError(f"{str(path)!r} cannot be written: it is a folder.", "Name a file in it.")
    own = (
        os.path.lexists(path)
        and path.is_file()
        and not path.is_symlink()
        and written_as(path, kind)
    )
    page = PAGES.get(path.name) is kind and (own or not os.path.lexists(path))
    if not page and path.name in _run_files(path.absolute().parent):
        raise InputError(f"{str(path)!r} is part of a run, and is not replaced.", other)
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_file():
        raise InputError(f"{str(path)!r} is a link or a device, and no file.", other)
    if any(_is(given, path) for given in inputs):
        raise InputError(f"{str(path)!r} is read, and is not replaced.", other)
    if own:
        return
    if any(path.resolve().is_relative_to(Path(given).resolve()) for given in inputs):
        raise InputError(f"{str(path)!r} is among what is read, and is not replaced.", other)
    if path.suffix.lower() in _READ:
        raise InputError(
            f"{str(path)!r} exists and is not a {kind.noun}; what may be data is not replaced.",
            other,
        )
    if not overwrite:
        raise InputError(
            f"{str(path)!r} exists and is not a {kind.noun}.",
            "Name another file, or replace it with `overwrite=True`.",
        )


def _run_files(folder: Path) -> frozenset[str]:
    """Names that the files of a run have or may have; none where the folder is no run."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except OSError:
        return frozenset()
    except ValueError:  # a damaged run is one
        manifest = {}
    files = manifest.get("files") if isinstance(manifest, dict) else None
    listed = files if isinstance(files, dict) else {}
    present = [entry.name for entry in folder.iterdir() if entry.suffix in (".nc", ".toml")]
    return frozenset({MANIFEST, *PAGES, "published.toml", *listed, *present})


def _is(given: Path | str, path: Path) -> bool:
    """Whether an input is this file, a sheet of it, or a pattern that it fits."""
    workbook, sheet, _ = str(given).partition(".xlsx#")
    for place in (given, *([f"{workbook}.xlsx"] if sheet else []), *glob(str(given))):
        try:
            if path.samefile(place):
                return True
        except OSError:
            continue
    return False


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside it, and rename it.

    Parameters
    ----------
    path : Path
        An earlier file there is replaced.
    content : bytes

    Raises
    ------
    InputError
        If it cannot be written.
    """
    partial = None
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        partial = write_partial(path, content)
        partial.chmod(0o666 & ~current_umask())  # its own mode shuts out everybody else
        partial.replace(path)
    except OSError as error:
        raise InputError(
            f"{str(path)!r} cannot be written: {error.strerror or error}.", "Name another place."
        ) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def written_as(path: Path, kind: Kind) -> bool:
    """Whether a file is of a kind that commands write.

    Parameters
    ----------
    path : Path
        A file.
    kind : Kind
    """
    try:
        with path.open("rb") as file:
            ends = file.read(_END_BYTES)
            file.seek(max(os.fstat(file.fileno()).st_size - _END_BYTES, 0))
            ends += file.read(_END_BYTES)
    except OSError:
        return False
    return kind.mark.encode() in ends
