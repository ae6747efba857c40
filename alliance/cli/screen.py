"""What a person sees on a terminal: messages, tables that fit, figures that are saved, progress.

Data go to standard output, everything else to standard error.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import table as rich_table
from rich.console import Console
from rich.markup import escape

from alliance.data_prep.errors import DataError
from alliance.inference.digits import figures

if TYPE_CHECKING:
    import pandas as pd

    from alliance.inference.runs.fit import Fit

WIDE = 170  # columns where standard output is not a terminal and nobody said how wide it is
COLOURS = {
    "PASS": "green",
    "REVIEW": "yellow",
    "FAIL": "bold red",
    "supported": "green",
    "agrees": "green",
    "supported (practically equivalent)": "green",
    "undetermined": "yellow",
    "not supported": "magenta",
    "contradicted": "red",
    "differs": "red",
}
UNBOUNDED = 10_000  # columns of a screen on which every table has room
SHORT = 9  # letters of a line in a column of words, at least, beside numbers on one line


def out() -> Console:
    """Standard output as rich sees it; wide where it is not a terminal."""
    if sys.stdout.isatty():
        return Console(emoji=False)
    columns = os.environ.get("COLUMNS", "")
    return Console(
        emoji=False, width=int(columns) if columns.isdecimal() and int(columns) else WIDE
    )


def _err() -> Console:
    return Console(emoji=False, stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Tell how things go."""
    _err().print(escape(text))


def note(text: str) -> None:
    """Tell what a user should know though it is no error."""
    _err().print(f"[yellow]Note:[/yellow] {escape(text)}")


def error(text: str) -> None:
    """Tell what is wrong."""
    _err().print(f"[bold red]Error:[/bold red] {escape(text.strip())}")


def problems(found: DataError) -> None:
    """Tell every problem of a data file, as a table."""
    table = Table(title=f"{len(found.problems)} problem(s) in the data", title_justify="left")
    for name in ("File", "Row", "Column", "Value", "Rule", "What to do"):
        table.add_column(name, overflow="fold")
    for problem in found.shown:
        cells = (problem.file, problem.row, problem.column, problem.value)
        table.add_row(
            *("" if cell is None else escape(str(cell)) for cell in cells),
            escape(problem.rule),
            escape(problem.remedy),
        )
    console = (
        Console(emoji=False, stderr=True)
        if sys.stderr.isatty()
        else Console(emoji=False, stderr=True, width=WIDE)
    )
    console.print(table)
    hidden = len(found.problems) - len(found.shown)
    if hidden:
        console.print(f"... and {hidden} more: `alliance check STUDY DATA --format csv` lists all.")


def frame(
    tables: pd.DataFrame | Sequence[pd.DataFrame], table_format: str, *, simulated: bool = False
) -> None:
    """Print tables as one for a machine, as CSV or JSON; missing numbers are empty or null.

    Parameters
    ----------
    tables : pandas.DataFrame or sequence of pandas.DataFrame
    table_format : {"csv", "json"}
    simulated : bool
        Whether a column says that the data are simulated.
    """
    import pandas as pd

    table = tables if isinstance(tables, pd.DataFrame) else pd.concat(tables, ignore_index=True)
    if simulated:
        table = table.assign(data="SIMULATED")
    if table_format == "csv":
        text = table.to_csv(index=False)
    else:
        finite = table.replace([math.inf, -math.inf], math.nan)  # strict JSON knows neither
        records = table.astype(object).where(finite.notna(), None).to_dict("records")
        text = json.dumps(records, indent=2, ensure_ascii=False) + "\n"
    sys.stdout.write(text)


def save(drawn: Any, path: Path) -> None:
    """Write a figure, and say so; once for a figure, which characters no installed font has.

    Parameters
    ----------
    drawn : matplotlib.figure.Figure
    path : Path
    """
    from alliance.diagnostics.figures.comparison_figure import save_figure

    missing = save_figure(drawn, path)
    if missing:
        note(f"No installed font has {' '.join(missing)}: drawn as boxes. Install one that has.")
    say(f"Written: {path}")


def marked_title(simulated: bool, text: str) -> str:
    """A table's title; of simulated data it says so."""
    mark = "[reverse] SIMULATED DATA [/reverse] " if simulated else ""
    return f"{mark}[bold]{escape(text)}[/bold]"


def outcome_title(fit: Fit, outcome: str) -> str:
    """What a table of one outcome is headed with: its label, scale and number of patients."""
    from alliance.models.spec import JOINT

    if outcome == JOINT:
        text = (
            f"{outcome}: shared by the outcomes, {patients_of(fit, outcome)} patients; slopes in "
            "SDs of benefit for one SD of the alliance, correlations of the scores as they are"
        )
        return marked_title(fit.study.simulated, text)
    described = fit.study.outcomes[outcome]
    low, high = described.range
    text = (
        f"{outcome}: {described.label} ({figures(low)} to {figures(high)}, {described.better} is "
        "better), "
        f"{patients_of(fit, outcome)} patients"
    )
    return marked_title(fit.study.simulated, text)


def outcome_table(fit: Fit, outcome: str, about: str = "") -> Table:
    """An empty table about one outcome, with the columns that name a quantity."""
    title = f"{outcome_title(fit, outcome)}{about}"
    shown = Table(title=title, title_justify="left")
    shown.add_column("Quantity")
    shown.add_column("Level")
    return shown


def patients_of(fit: Fit, outcome: str) -> int:
    """Number of patients whom an outcome, or the joint model, was fitted to."""
    from alliance.models.spec import JOINT

    if outcome == JOINT:
        return int(fit.manifest[JOINT]["patients"])
    counts = dict(zip(fit.flow["outcome"], fit.flow["analysed"], strict=True))
    return int(counts[outcome])


def words(quantity: str) -> str:
    """A quantity's name as words."""
    return quantity.replace("_", " ")


def coloured(word: str) -> str:
    """A verdict in its colour."""
    colour = COLOURS.get(word)
    return f"[{colour}]{word}[/{colour}]" if colour else word


class Table(rich_table.Table):
    """A table whose cells are never cut: a word too long for its column goes on in the next line.

    Cells that are not to be wrapped are so only where the whole table has room for them.
    """

    def add_column(self, *args: Any, **options: Any) -> None:
        """Add a column, as of `rich.table.Table`."""
        super().add_column(*args, **{"overflow": "fold", **options})


def needed(shown: rich_table.Table) -> int:
    """Columns of the screen that a table needs, whatever its title.

    Parameters
    ----------
    shown : rich.table.Table
    """
    title, shown.title = shown.title, None
    width = Console(emoji=False, width=UNBOUNDED).measure(shown).maximum
    shown.title = title
    return width


def print_whole(console: Console, shown: rich_table.Table) -> None:
    """Print a table with all of its columns, broken into more lines where there is no room.

    Parameters
    ----------
    console : rich.console.Console
    shown : rich.table.Table
    """
    if _least(shown) > console.width:
        for column in shown.columns:
            column.no_wrap = False
    console.print(shown)


def print_fitting(console: Console, shown: rich_table.Table, fewest: int) -> None:
    """Print a table, without those of its last columns that have no room, and name these.

    Parameters
    ----------
    console : rich.console.Console
    shown : rich.table.Table
    fewest : int
        Columns that are shown on however narrow a screen.
    """
    left_out: list[str] = []
    while len(shown.columns) > fewest and needed(shown) > console.width:
        left_out.insert(0, str(shown.columns.pop().header))
    print_whole(console, shown)
    if left_out:
        told = ", ".join(left_out)
        console.print(f"No room here for: {escape(told)}. See --format csv.")


def _least(shown: rich_table.Table) -> int:
    """Columns of the screen that it needs with the other cells broken into short lines."""
    before = [column.max_width for column in shown.columns]
    for column in shown.columns:
        if not column.no_wrap:
            column.max_width = max(SHORT, column.min_width or 0)
    width = needed(shown)
    for column, own in zip(shown.columns, before, strict=True):
        column.max_width = own
    return width


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
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

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


@contextmanager
def fits_progress() -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar of many fits with the time left on standard error, where that is a terminal."""
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


@contextmanager
def refits_progress(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show a line about refits on standard error, where that is a terminal.

    Parameters
    ----------
    what : str
        What is being done.

    Yields
    ------
    callable or None
        To be called with the refits done and the refits to do.
    """
    console = Console(emoji=False, stderr=True)
    if not console.is_terminal:
        yield None
        return
    with console.status(escape(what)) as status:
        yield lambda done, total: status.update(f"{escape(what)}, {done} of {total} refits")
