"""Files that commands read and write: where they may write, and whether a changed run is read.

Two options are the same for every command that has use for them, and are added here: `--overwrite`
beside a file that is written, `--accept-changed` beside a run that is read.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

WRITTEN = ("figure", "junit")  # arguments of commands that name one file each
_NOT_READ = (*WRITTEN, "word", "out", "tables", "store")
_TOLD = {
    "overwrite": "Replace a file that alliance did not write; data and parts of a run never are.",
    "accept_changed": "Read a run whose files are no longer those that were written; a note says "
    "which.",
}
_asked: ContextVar[Mapping[str, bool]] = ContextVar("asked", default={})  # noqa: B039  # nobody changes it


def with_file_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that its files ask for; `asked` tells whether they were typed.

    Parameters
    ----------
    command : callable

    Returns
    -------
    callable
        The command itself if it has no use for them, or has them already.
    """
    signature = inspect.signature(command, eval_str=True)
    names = set(signature.parameters)
    used = {"overwrite": bool(names & set(WRITTEN)), "accept_changed": "run" in names}
    added = [name for name, use in used.items() if use and name not in names]
    if not added:
        return command

    @wraps(command)
    def called(**given: Any) -> None:
        token = _asked.set({name: given.pop(name) for name in added})
        try:
            command(**given)
        finally:
            _asked.reset(token)

    keyword = inspect.Parameter.KEYWORD_ONLY
    more = [
        inspect.Parameter(
            name,
            keyword,
            default=False,
            annotation=Annotated[
                bool, typer.Option(f"--{name.replace('_', '-')}", help=_TOLD[name])
            ],
        )
        for name in added
    ]
    own = [each.replace(kind=keyword) for each in signature.parameters.values()]
    called.__signature__ = inspect.Signature([*own, *more])  # type: ignore[attr-defined]  # what Typer reads
    return called


def asked(name: str) -> bool:
    """Whether `overwrite` or `accept_changed` was typed.

    Parameters
    ----------
    name : str
    """
    return _asked.get().get(name, False)


def tidy(given: Mapping[str, Any]) -> list[str]:
    """Clean, where a command reads and writes, what another one left that was killed.

    Parameters
    ----------
    given : mapping of str to any
        The command's arguments.

    Returns
    -------
    list of str
        What was done, in sentences.
    """
    from alliance.data_prep.partial_files import remove_left_over

    named = [given.get(name) for name in (*WRITTEN, "word", "out", "tables", "store")]
    places = [place for place in named if isinstance(place, Path)]
    runs = [given.get("run"), given.get("out"), *(given.get("beside") or [])]
    folders = [place.absolute().parent for place in places] + places
    if "tables" in given:  # the report stands in the run
        folders += [run for run in runs if isinstance(run, Path)]
    told: list[str] = []
    if folders_of_runs := [run for run in runs if isinstance(run, Path)]:
        from alliance.inference.runs.run_folder import recover_run  # a second's imports

        told = [sentence for run in folders_of_runs for sentence in recover_run(run)]
    return told + [
        f"Removed {name}, which a command that was killed left behind."
        for folder in dict.fromkeys(folders)
        for name in remove_left_over(folder)
    ]


def require_places(given: Mapping[str, Any]) -> None:
    """Refuse places where a command's files may not be written, before its work.

    Parameters
    ----------
    given : mapping of str to any
        The command's arguments.

    Raises
    ------
    InputError
    """
    places = {name: Path(given[name]) for name in WRITTEN if given.get(name) is not None}
    if not places:
        return
    from alliance.diagnostics.figures.results_figures import require_figure
    from alliance.inference.runs.whole_files import FIGURE, JUNIT, require_output

    read = list(_read(value for name, value in given.items() if name not in _NOT_READ))
    for name, place in places.items():
        if name == "figure":
            require_figure(place)
        kind = FIGURE if name == "figure" else JUNIT
        require_output(place, kind, overwrite=asked("overwrite"), inputs=read)


def _read(values: Any) -> Iterator[Path | str]:
    for value in values:
        if isinstance(value, Path) or (isinstance(value, str) and Path(value).is_file()):
            yield value
        elif isinstance(value, list | tuple):
            yield from _read(value)


def say_of_caches(note: Callable[[str], None]) -> None:
    """Have it told as a note where compiled code cannot be kept.

    Parameters
    ----------
    note : callable
    """
    from alliance.inference.sampling import caches

    caches.tell = note


def fault_of_machine(error: OSError | MemoryError) -> str:
    """What to say where the machine refuses: a folder that is closed, a disk that is full.

    Parameters
    ----------
    error : OSError or MemoryError
    """
    if isinstance(error, MemoryError):
        return "There is not enough memory for this. Close other programs, or give fewer data."
    place = "" if error.filename is None else f"{str(error.filename)!r}: "
    why = error.strerror or str(error) or type(error).__name__
    return f"{place}{why}. Check the place, its permissions and the room on the disk."


def leave_quietly() -> NoReturn:
    """End the process though its output is closed, without a word to nobody.

    What is still kept for a closed output would be written, and fail, at the end.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(nowhere, stream.fileno())
    raise SystemExit(1)


def open_outputs() -> None:
    """Give a process that was started without outputs some that lead nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # open to the end
