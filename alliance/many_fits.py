"""Options and progress of the commands that fit many times: where they run, and what is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from distributed import Client

DaskOption = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="ADDRESS",
        help="Run on this Dask scheduler, such as tcp://10.0.0.1:8786, instead of this machine.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(min=1, help="Processes on this machine; one for each core by default."),
]
StoreOption = Annotated[
    Path,
    typer.Option(
        help="File that keeps every result as it comes; the same command goes on with it."
    ),
]


@contextmanager
def many_fits(
    address: str | None, workers: int | None
) -> Iterator[tuple[Client, Callable[[int, int], None] | None]]:
    """A cluster, and a progress bar with the time left where standard error is a terminal.

    Parameters
    ----------
    address : str or None
    workers : int or None

    Yields
    ------
    distributed.Client
    callable or None
        To be called with the fits done and the fits to do.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from inference.cluster import open_cluster

    console = Console(emoji=False, stderr=True)
    if not console.is_terminal:
        with open_cluster(address, workers) as client:
            yield client, None
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
        with open_cluster(address, workers) as client:

            def show(done: int, total: int) -> None:
                progress.update(bar, completed=done, total=total, description="fits")

            yield client, show
