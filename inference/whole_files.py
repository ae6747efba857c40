"""Files that are written whole or not at all: an interruption leaves what was there before."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from data_prep.errors import InputError


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


def current_umask() -> int:
    """The permissions that new files of this process do not get."""
    current = os.umask(0o022)
    os.umask(current)
    return current
