"""Files and folders under way: hidden beside their place, and cleaned when they were left behind.

What is being written bears a lock of the operating system, which ends with its process however that
ends. What is found without one was left by a process that was killed, and the next command that
writes there removes it.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # Windows

PARTIAL, PREVIOUS = "partial", "previous"
# In place of a lock, where the file system has none: what was touched so lately is taken as in use.
_RECENT_SECONDS = 3600.0
_ENDINGS = frozenset({".nc", ".csv", ".toml", ".json"})  # of what a run's folder holds


def hidden_prefix(name: str, kind: str) -> str:
    """How the names of hidden things beside a place begin.

    Parameters
    ----------
    name : str
        Of the place.
    kind : {"partial", "previous"}

    Examples
    --------
    >>> hidden_prefix("run", PARTIAL)
    '.run.partial-'
    """
    return f".{name}.{kind}-"


@contextmanager
def folder_under_way(target: Path) -> Iterator[Path]:
    """A hidden folder beside a place, locked; what is left of it is removed at the end.

    Parameters
    ----------
    target : Path
        Whose parent exists.

    Yields
    ------
    Path
        For its owner alone.
    """
    prefix = hidden_prefix(target.name, PARTIAL)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=target.absolute().parent))
    lock = _open_locked(folder)
    try:
        yield folder
    finally:
        _remove_folder(folder)
        _close(lock)


def write_partial(target: Path, content: bytes) -> Path:
    """Write a hidden file beside a place, to the disk.

    Parameters
    ----------
    target : Path
        Whose parent exists.
    content : bytes

    Returns
    -------
    Path
        For its owner alone; to be renamed or removed.

    Raises
    ------
    OSError
        If it cannot be written; then nothing is left of it.
    """
    prefix = hidden_prefix(target.name, PARTIAL)
    handle, name = tempfile.mkstemp(prefix=prefix, dir=target.absolute().parent)
    try:
        with os.fdopen(handle, "wb") as file:
            _lock(file.fileno())
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:  # Ctrl-C too: nothing is left half written, and it goes on
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def current_umask() -> int:
    """The permissions that new files of this process do not get."""
    current = os.umask(0o022)
    os.umask(current)
    return current


def remove_left_over(folder: Path) -> list[str]:
    """Remove what killed commands left in a folder: files and runs under way.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of str
        Names of what was removed.
    """
    removed = []
    for entry in left_over(folder, PARTIAL):
        if is_held(entry):
            continue
        with suppress(OSError):
            if entry.is_dir():
                _remove_folder(entry)
            else:
                entry.unlink()
            if not os.path.lexists(entry):
                removed.append(entry.name)
    return removed


def left_over(folder: Path, kind: str, name: str | None = None) -> list[Path]:
    """Hidden things of a kind in a folder, in use or not; links are none.

    Parameters
    ----------
    folder : Path
    kind : {"partial", "previous"}
    name : str, optional
        Of the place that they are beside; by default of any.
    """
    own = ".+" if name is None else re.escape(name)
    # `tempfile` ends names in this way
    form = re.compile(rf"\.{own}\.{kind}-[a-z0-9_]{{8}}", re.DOTALL)
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return []
    return [each for each in entries if form.fullmatch(each.name) and not each.is_symlink()]


def is_held(path: Path) -> bool:
    """Whether a process writes a file or folder.

    Parameters
    ----------
    path : Path
    """
    try:
        lock = _open_locked(path)
    except BlockingIOError:
        return True
    except OSError:
        return False
    if lock is None:
        return time.time() - path.stat().st_mtime < _RECENT_SECONDS
    _close(lock)
    return False


def _open_locked(path: Path) -> int | None:
    """A handle with the lock; None where there are no locks."""
    if fcntl is None:
        return None
    handle = os.open(path, os.O_RDONLY)
    try:
        locked = _lock(handle)
    except BlockingIOError:
        os.close(handle)
        raise
    if not locked:
        os.close(handle)
    return handle if locked else None


def _lock(handle: int) -> bool:
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a file system without locks
        return False
    return True


def _close(handle: int | None) -> None:
    if handle is not None:
        os.close(handle)


def _remove_folder(folder: Path) -> None:
    """Remove a run's folder under way; what a run never holds stays, and the folder with it."""
    with suppress(OSError):
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                _remove_folder(entry)
            elif entry.suffix in _ENDINGS and entry.is_file() and not entry.is_symlink():
                entry.unlink()
        folder.rmdir()
