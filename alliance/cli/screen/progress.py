"""A progress bar of the sampling, on a terminal and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def sampling_progress(outcomes: Sequence[str]) -> Iterator[Callable[[str, int, int], None] | None]:
    """Show a bar for each outcome on standard error.

    Parameters
    ----------
    outcomes : sequence of str

    Yields
    ------
    callable or None
        To be called with outcome, draws done and draws to do; None where standard error is not a
        terminal.
    """
    console = Console(emoji=False, stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[draws]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        waiting = progress.add_task("compiling the model", total=None, draws="")
        tasks = {
            name: progress.add_task(name, total=None, visible=False, draws="") for name in outcomes
        }

        def show(outcome: str, done: int, total: int) -> None:
            progress.update(waiting, visible=False)
            draws = f"{done:,} of {total:,} draws"
            progress.update(tasks[outcome], completed=done, total=total, draws=draws, visible=True)

        yield show
