"""What a person sees on a terminal: messages, tables that fit, figures that are saved, progress.

Data go to standard output, everything else to standard error.
"""

from __future__ import annotations

import ast
import json
import math
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer
from rich import table as rich_table
from rich.console import Console
from rich.markup import escape
from rich.text import Text

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
PROSE = {"message", "recommendation", "rule", "remedy", "reason"}  # columns that hold sentences

# An argument in backticks, alone or with a value; or a call.
ARGUMENT = re.compile(r"`([a-z]\w*)(?:=([^`]+)|\([^`]*\))?`")

INSTEAD = {
    'compare_loo(by="therapist")': "`alliance loo RUN --by therapist`",
    "influence()": "`alliance sensitivity RUN --kind influence`",
    "loo_figure()": "`alliance loo RUN --figure FILE`",
    "path": "--out",
    "prior_refits()": "`alliance sensitivity RUN --kind refits`",
    "raise_alliance": "--lift",
    "save_fit()": "`alliance fit --out`",
    "unseen_improvement()": "`alliance sensitivity RUN --kind unseen`",
}
"""What a shell has instead of calls, and of arguments with another name than the option."""


def as_options(text: str) -> str:
    """A message with the arguments that it names as options of this command line.

    What is no option of any command, such as a key of the study file, stays as it is.

    Parameters
    ----------
    text : str
        In the notation of `data_prep.errors`.

    Examples
    --------
    >>> as_options('Give `therapist="none"`, or leave `interaction=False` and `joint` out.')
    'Give --therapist none, or leave --no-interaction and --joint out.'
    >>> as_options("Correct `range`, or ask with `target_accept=0.95` and `extrapolate=True`.")
    'Correct `range`, or ask with --target-accept 0.95 and --extrapolate.'
    """
    return ARGUMENT.sub(_as_option, text) if "`" in text else text


def _as_option(found: re.Match[str]) -> str:
    asked, (name, value) = found[0], found.groups()
    if asked.strip("`") in INSTEAD:
        return INSTEAD[asked.strip("`")]
    option = _options().get(name) if "(" not in asked else None
    if option is None or value is None:
        return option.name if option else asked
    try:
        given = ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return asked  # no value as Python writes one: it merely looks like an argument
    if isinstance(given, bool):
        return (option.switch and (option.name if given else option.opposite)) or asked
    several = given if isinstance(given, list | tuple) else [given]
    return f"{option.name} {shlex.quote(','.join(map(str, several)))}"


class Option(NamedTuple):
    """An option of some command: whether it is a switch, and what switches it off."""

    name: str
    switch: bool
    opposite: str


@cache
def _options() -> dict[str, Option]:
    """Options of all commands, by the argument's name."""
    from alliance.cli.app import app  # here, because its commands print through this

    root: Any = typer.main.get_command(app)
    found: dict[str, Option] = {}
    for command in root.commands.values():
        for parameter in command.params:
            if parameter.param_type_name != "option":
                continue
            option = Option(parameter.opts[0], parameter.is_flag, *parameter.secondary_opts or [""])
            name = option.name.removeprefix("--").replace("-", "_")
            found[name] = max(option, found.get(name, option))  # a switch before one with a value
    return found


class Screen(Console):
    """A terminal on which messages name options."""

    def render_str(self, text: str, **options: Any) -> Text:
        """A text with its markup, as of `rich.console.Console`."""
        return super().render_str(as_options(text), **options)


def out() -> Screen:
    """Standard output as rich sees it; wide where it is not a terminal."""
    if sys.stdout.isatty():
        return Screen(emoji=False)
    columns = os.environ.get("COLUMNS", "")
    return Screen(emoji=False, width=int(columns) if columns.isdecimal() and int(columns) else WIDE)


def _err() -> Screen:
    return Screen(emoji=False, stderr=True, highlight=False, soft_wrap=True)


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
        Screen(emoji=False, stderr=True)
        if sys.stderr.isatty()
        else Screen(emoji=False, stderr=True, width=WIDE)
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
    prose = {name: table[name].map(as_options, na_action="ignore") for name in PROSE & set(table)}
    table = table.assign(**prose)
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
    width = Screen(emoji=False, width=UNBOUNDED).measure(shown).maximum
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

    console = Screen(emoji=False, stderr=True)
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
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Screen(emoji=False, stderr=True)
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
    console = Screen(emoji=False, stderr=True)
    if not console.is_terminal:
        yield None
        return
    with console.status(escape(what)) as status:
        yield lambda done, total: status.update(f"{escape(what)}, {done} of {total} refits")
