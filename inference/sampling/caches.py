"""Where compiled code is kept, and that what is found there is what was written.

PyTensor keeps code in the home folder; where that cannot be written or is full, a run keeps its own
for as long as it lasts. numba loads machine code without a look at it, and code that was damaged
ends the process: here each file bears a checksum, and one without it is compiled again.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import pickle
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

LEAST_FREE = 64 * 2**20  # bytes; the code of one model takes a few megabytes
_MARK = b"alliance:sha256:"
_UNREADABLE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    TypeError,
    ValueError,
    pickle.PickleError,
)


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=3)


tell: Callable[[str], None] = _warn
"""How it is said that a cache is not used; the command line puts its own note here."""


@cache
def prepare_caches() -> None:
    """See to it, once in a process and before PyTensor is loaded, that its caches can be used."""
    if "pytensor" not in sys.modules:
        folder = _pytensor_folder()
        if why := _of_no_use(folder):
            own = tempfile.mkdtemp(prefix="alliance-cache-")
            atexit.register(shutil.rmtree, own, ignore_errors=True)
            flags = [flag for flag in os.environ.get("PYTENSOR_FLAGS", "").split(",") if flag]
            kept = [flag for flag in flags if "compiledir" not in flag]
            os.environ["PYTENSOR_FLAGS"] = ",".join([*kept, f"base_compiledir={own}"])
            tell(
                f"Compiled code cannot be kept in {str(folder)!r} ({why}): this run compiles for "
                "itself alone. Free some space or delete that folder, and later runs start sooner."
            )
    _check_what_numba_loads()


def _pytensor_folder() -> Path:
    """PyTensor's folder of compiled code, without loading it."""
    for flag in reversed(os.environ.get("PYTENSOR_FLAGS", "").split(",")):
        name, _, value = flag.partition("=")
        if name.strip() == "base_compiledir" and value:
            return Path(value.strip()).expanduser()
    local = os.environ.get("LOCALAPPDATA")
    if sys.platform == "win32" and local:
        return Path(local) / "PyTensor"
    return Path("~/.pytensor").expanduser()


def _of_no_use(folder: Path) -> str:
    """Why nothing can be kept in a folder; empty if something can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
        free = shutil.disk_usage(folder).free
    except (OSError, RuntimeError) as error:
        return str(getattr(error, "strerror", None) or error)
    return "" if free >= LEAST_FREE else f"{free // 2**20} MiB are free"


@cache
def _check_what_numba_loads() -> None:
    from numba.core.caching import IndexDataCacheFile

    # Private to numba, and looked at each time it is loaded: without them nothing is checked.
    if not all(hasattr(IndexDataCacheFile, name) for name in ("_load_index", "_load_data")):
        return
    read_index, read_data = IndexDataCacheFile._load_index, IndexDataCacheFile._load_data
    open_for_write = IndexDataCacheFile._open_for_write

    def load_index(self: Any) -> Any:
        try:
            return read_index(self) if _whole(self._index_path) else {}
        except _UNREADABLE:
            return {}

    def load_data(self: Any, name: str) -> Any:
        path = self._data_path(name)
        if not _whole(path):
            raise FileNotFoundError(path)  # which numba answers by compiling
        return read_data(self, name)

    class Summed:
        """A file that is written with the checksum of its content at the end."""

        def __init__(self, opened: Any) -> None:
            self.opened, self.sum = opened, hashlib.sha256()

        def __enter__(self) -> Summed:
            self.file = self.opened.__enter__()
            return self

        def write(self, content: bytes) -> int:
            self.sum.update(content)
            return int(self.file.write(content))

        def __exit__(self, *fault: Any) -> Any:
            if fault[0] is None:
                self.file.write(_MARK + self.sum.hexdigest().encode())
            return self.opened.__exit__(*fault)

    IndexDataCacheFile._load_index = load_index
    IndexDataCacheFile._load_data = load_data
    IndexDataCacheFile._open_for_write = lambda self, path: Summed(open_for_write(self, path))
    save = IndexDataCacheFile.save

    def save_if_possible(self: Any, key: Any, data: Any) -> None:
        try:
            save(self, key, data)
        except OSError as error:
            _tell_once(str(Path(self._cache_path)), str(error.strerror))

    IndexDataCacheFile.save = save_if_possible


@cache
def _tell_once(folder: str, why: str) -> None:
    tell(
        f"Compiled code cannot be kept in {folder!r} ({why}). Free some space or delete that "
        "folder, and later runs start sooner."
    )


def _whole(path: str) -> bool:
    """Whether a file is there and is what was written; one that is damaged is told of."""
    try:
        content = Path(path).read_bytes()
    except OSError:
        return False
    body, mark, told = content.rpartition(_MARK)
    if mark and hashlib.sha256(body).hexdigest().encode() == told:
        return True
    if mark or _MARK[:8] in content[-len(_MARK) - 64 :]:
        _tell_damage(str(Path(path).parent))
    return False  # of before there were checksums, or of another program: compiled again


@cache
def _tell_damage(folder: str) -> None:
    tell(
        f"Compiled code in {folder!r} is damaged and compiled again. Delete that folder, should "
        "this be said again."
    )
