"""Files that are written whole or not at all: an interruption leaves what was there before."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from alliance.data_prep.errors import InputError

GENERATOR = "alliance report"  # in the page's head: what an earlier report is known by
_HEAD_BYTES = 2000  # of a file, in which the generator stands if it is a report


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
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.absolute().parent)
        partial = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        partial.chmod(0o666 & ~current_umask())  # mkstemp's own mode shuts out everybody else
        partial.replace(path)
    except OSError as error:
        raise InputError(
            f"{str(path)!r} cannot be written: {error.strerror or error}.", "Name another place."
        ) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def is_report(path: Path) -> bool:
    """Whether a file is a report that `alliance report` wrote: its head says so.

    Parameters
    ----------
    path : Path
        A file.
    """
    with path.open("rb") as file:
        return GENERATOR.encode() in file.read(_HEAD_BYTES)


def current_umask() -> int:
    """The permissions that new files of this process do not get."""
    current = os.umask(0o022)
    os.umask(current)
    return current
