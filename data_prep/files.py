"""Reads the bytes of a file that the user named, or says why that is not possible.

Files that a command wrote, known again by their contents: nothing else is ever replaced.

A name does not tell whose a file is: anybody may keep a ``summary.csv``. Where files are written
side by side, a list of their digests stands with them; what is to be replaced must be what the list
says. It is written first and keeps the digests of what is replaced, so that a command that is
killed on the way leaves no file that the next one does not know.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from alliance.data_prep.errors import InputError, visible
from alliance.data_prep.partial_files import current_umask, write_partial

if TYPE_CHECKING:
    import pandas as pd

type AnyPath = str | os.PathLike[str]
"""How a caller of the Python interface may name a file or a folder."""

# So many places are named in one message.
NAMED_PLACES = 10


def as_path(named: AnyPath) -> Path:
    """The path of a file or a folder that a caller named.

    Parameters
    ----------
    named : str or path-like
        A leading ``~`` is not the home folder; a shell turns it into that.

    Raises
    ------
    InputError
        If it is neither text nor a path, such as an open file.

    Examples
    --------
    >>> as_path("trial.csv").suffix
    '.csv'
    """
    if not isinstance(named, str | os.PathLike):
        raise InputError(
            f"A {type(named).__name__} is given where a file or folder is meant.",
            'Give its path, as text ("trial.csv") or as a pathlib.Path.',
        )
    return Path(named)


def file_bytes(path: Path, kind: str) -> bytes:
    """Everything in a file.

    Parameters
    ----------
    path : Path
        The file as the user named it.
    kind : str
        What the file is to the user, for the message: ``"study file"``, ``"data file"``.

    Returns
    -------
    bytes
        The file's content, at least one byte.

    Raises
    ------
    InputError
        The file is missing, a folder, not readable, or empty.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"There is no {kind} {str(path)!r}.", _other_names(path)) from error
    except IsADirectoryError as error:
        problem = f"{str(path)!r} is a folder, not a {kind}."
        raise InputError(problem, "Name the file inside it.") from error
    except OSError as error:
        problem = f"The {kind} {str(path)!r} cannot be read: {error.strerror}."
        raise InputError(problem, "Check the path and the file's permissions.") from error
    if not content.strip():
        raise InputError(
            f"The {kind} {str(path)!r} is empty.", "Check that it was saved and copied in full."
        )
    return content


def file_sha256(path: Path) -> str:
    """Hash of a file's content, in hexadecimal, without holding the content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _other_names(path: Path) -> str:
    """Sentence that offers files of like name in the same folder, or the one that is missing."""
    if not path.parent.is_dir():
        return f"There is no folder {str(path.parent)!r} either; check the path."
    close = get_close_matches(path.name, [entry.name for entry in path.parent.iterdir()], n=3)
    if close:
        return f"Did you mean {' or '.join(repr(str(path.parent / name)) for name in close)}?"
    return "Check the path."


def first_of(places: Sequence[str]) -> str:
    """List for a message, cut after the first ten places.

    Examples
    --------
    >>> first_of(["row 3", "row 5"])
    'row 3, row 5'
    """
    shown = ", ".join(places[:NAMED_PLACES])
    more = len(places) - NAMED_PLACES
    return f"{shown} and {more} more" if more > 0 else shown


# What a spreadsheet takes for a formula, unless it is a number.
_COMPUTED = re.compile(r"[=+\-@\t\r]")
_PLAIN_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]inf")


def csv_text(table: pd.DataFrame) -> str:
    r"""A table as CSV of which a spreadsheet computes nothing.

    Parameters
    ----------
    table : pandas.DataFrame

    Returns
    -------
    str
        Text cells and names of columns that begin as a formula does have an apostrophe before them,
        and characters that steer a terminal are written out (`data_prep.errors.visible`); numbers
        are as they are, written as text, too.

    Examples
    --------
    >>> import pandas as pd
    >>> csv_text(pd.DataFrame({"code": ["=1+1", "-2.5", "a"], "x": [-1, 2, 3]})).splitlines()
    ['code,x', "'=1+1,-1", '-2.5,2', 'a,3']
    """
    from pandas.api.types import is_bool_dtype, is_numeric_dtype  # help does not wait for pandas

    shown = table.copy(deep=False)
    for position, kind in enumerate(table.dtypes):
        if not (is_numeric_dtype(kind) or is_bool_dtype(kind)):
            shown.isetitem(position, table.iloc[:, position].map(_as_text).array)
    shown.columns = table.columns.map(_as_text)
    return str(shown.to_csv(index=False, lineterminator="\n"))


def _as_text(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    computed = _COMPUTED.match(cell) and not _PLAIN_NUMBER.fullmatch(cell)
    return visible(f"'{cell}" if computed else cell)


LIST = "alliance-files.json"
_FORMAT = 1
_SHOWN = 5  # foreign files that a message names


def digest(path: Path) -> str:
    """SHA-256 of a file.

    Parameters
    ----------
    path : Path

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def foreign_files(
    folder: Path, names: Iterable[str], known: Mapping[str, Collection[str]]
) -> list[str]:
    """Of some names in a folder those that are there and were not written by a command.

    Parameters
    ----------
    folder : Path
    names : iterable of str
    known : mapping of str to collection of str
        Digests by name.

    Returns
    -------
    list of str
        Links and folders are foreign whatever they are called, as is what cannot be read.
    """
    found = []
    for name in names:
        path = folder / name
        if not os.path.lexists(path):
            continue
        try:
            own = path.is_file() and not path.is_symlink() and digest(path) in known.get(name, ())
        except OSError:
            own = False
        if not own:
            found.append(name)
    return found


def named(names: Iterable[str]) -> str:
    """The first names of some files, for a message.

    Parameters
    ----------
    names : iterable of str
    """
    every = list(names)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(repr(name) for name in every[:_SHOWN]) + more


def require_own_files(folder: Path, names: Collection[str], *, overwrite: bool) -> None:
    """Refuse to write files where others are.

    Parameters
    ----------
    folder : Path
    names : collection of str
        Of the files to be written.
    overwrite : bool
        Whether what an earlier command wrote may be replaced.

    Raises
    ------
    InputError
        If one of them is there and may not be replaced.
    """
    taken = [name for name in names if os.path.lexists(folder / name)]
    foreign = foreign_files(folder, [*taken, *_list_if_there(folder)], _listed(folder))
    if foreign:
        raise InputError(
            f"{str(folder)!r} holds {named(foreign)}, which alliance did not write or which was "
            "changed since: nothing is replaced.",
            "Name another folder.",
        )
    if taken and not overwrite:
        raise InputError(
            f"{str(folder)!r} holds {taken[0]!r} already.",
            "Name another folder, or replace the files with `overwrite=True`.",
        )


def list_files(folder: Path, contents: Mapping[str, bytes]) -> Path:
    """Write the list of files that are about to be written, with those they replace.

    Parameters
    ----------
    folder : Path
        That `require_own_files` let pass.
    contents : mapping of str to bytes
        By name.

    Returns
    -------
    Path
        The list.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    kept = {name: own for name, own in _listed(folder).items() if name != LIST}
    for name, content in contents.items():
        before = [digest(folder / name)] if (folder / name).is_file() else []
        kept[name] = list(dict.fromkeys([*before, hashlib.sha256(content).hexdigest()]))
    path = folder / LIST
    text = json.dumps({"format": _FORMAT, "files": kept}, indent=2, ensure_ascii=False)
    partial = write_partial(path, f"{text}\n".encode())
    partial.chmod(0o666 & ~current_umask())
    partial.replace(path)
    return path


def _list_if_there(folder: Path) -> list[str]:
    return [LIST] if os.path.lexists(folder / LIST) else []


def _listed(folder: Path) -> dict[str, list[str]]:
    """Digests by name; the list knows itself. Empty where there is none of ours."""
    path = folder / LIST
    if path.is_symlink() or not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    files = found.get("files") if isinstance(found, dict) else None
    if not isinstance(files, dict) or found.get("format") != _FORMAT:
        return {}
    sound = {name: own for name, own in files.items() if isinstance(own, list)}
    return {**sound, LIST: [digest(path)]}
