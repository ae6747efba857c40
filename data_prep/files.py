"""Reads the bytes of a file that the user named, or says why that is not possible."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from alliance.data_prep.errors import InputError

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
