"""Progress of the commands that fit many times: where they run, and what is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from alliance.cli.running import INTERRUPTED
from alliance.cli.screen import render

if TYPE_CHECKING:
    from alliance.inference.many_fits.task_runner import Workers
    from alliance.inference.many_fits.task_store import TaskStore


@contextmanager
def many_fits(
    store: Path, facts: Mapping[str, Any], address: str | None, workers: int | None
) -> Iterator[tuple[Workers, TaskStore, Callable[[int, int], None] | None]]:
    """A store, workers, and a progress bar with the time left where there is a terminal.

    Parameters
    ----------
    store : Path
    facts : mapping of str to plain values
        All that decides the results.
    address : str or None
    workers : int or None

    Yields
    ------
    LocalProcesses or distributed.Client
    TaskStore
    callable or None
        To be called with the fits done and the fits to do.
    """
    from alliance.inference.many_fits.task_runner import open_workers
    from alliance.inference.many_fits.task_store import open_store

    try:
        with (
            open_store(store, facts) as kept,
            _progress() as progress,
            open_workers(address, workers) as working,
        ):
            yield working, kept, progress
    except KeyboardInterrupt:
        render.error(f"Interrupted. What is done is kept in {store}: the same command goes on.")
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(emoji=False, stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("starting the workers", total=None)

        def show(done: int, total: int) -> None:
            progress.update(bar, completed=done, total=total, description="fits")

        yield show
