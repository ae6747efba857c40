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
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from alliance.cli.files import asked
from alliance.cli.options import IN_MARKDOWN
from alliance.data_prep.errors import UNSEEN, DataError, visible
from alliance.data_prep.files import csv_text

if TYPE_CHECKING:
    import pandas as pd

    from alliance.data_prep.study.description import Study
    from alliance.diagnostics.sheet import Sheet
    from alliance.diagnostics.verdicts import CheckResult
    from alliance.diagnostics.words import Described

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
    "plausible": "green",
    "too wide": "yellow",
    "too tight": "yellow",
    "identical": "green",
    "different": "yellow",
}
STACKED = ("Source", "Estimate (interval)")  # headings of estimates one below the other
WORD = len("Questionnaire")  # letters of a word that is not broken
LONG = 24  # letters of a line of running text that a column should have room for
UNBOUNDED = 10_000  # columns of a screen on which every table has room
SHORT = 9  # letters of a line in a column of words, at least, beside numbers on one line
PROSE = {"message", "recommendation", "rule", "remedy", "reason"}  # columns that hold sentences

# An argument in backticks, alone or with a value; or a call.
ARGUMENT = re.compile(r"`([a-z]\w*)(?:=([^`]+)|\([^`]*\))?`")

INSTEAD = {
    'leave_out("therapist")': "`alliance loo RUN --by therapist`",
    'sensitivity("influence")': "`alliance sensitivity RUN --kind influence`",
    "leave_out().plot()": "`alliance loo RUN --figure FILE`",
    "path": "--out",
    "raise_alliance": "--lift",
    'sensitivity("refits")': "`alliance sensitivity RUN --kind refits`",
    "save()": "`alliance fit --out`",
    'sensitivity("unseen")': "`alliance sensitivity RUN --kind unseen`",
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
        return super().render_str(visible(as_options(text)), **options)


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


def _annotate(found: DataError) -> None:
    """Where GitHub Actions runs the command, name file and line of each problem for its pages."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    for problem in found.shown:
        place = f"file={problem.file}" + (f",line={problem.row}" if problem.row else "")
        told = visible(as_options(f"{problem.rule}. {problem.remedy}"))
        for mark, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
            place, told = place.replace(mark, code), told.replace(mark, code)
        sys.stderr.write(f"::error {place}::{told}\n")


def problems(found: DataError) -> None:
    """Tell every problem of a data file, as a table."""
    _annotate(found)
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
    tables: pd.DataFrame | Sequence[pd.DataFrame], table_format: str, study: Study | None = None
) -> None:
    """Print tables as one for a machine, as CSV or JSON; missing numbers are empty or null.

    Codes of outcomes, arms and levels keep their columns; what people read stands in columns behind
    them, named as these with ``_label``.

    Parameters
    ----------
    tables : pandas.DataFrame or sequence of pandas.DataFrame
    table_format : {"csv", "json"}
    study : Study, optional
        It has the labels, and says whether a column tells that the data are simulated.
    """
    import pandas as pd

    from alliance.diagnostics import words

    table = tables if isinstance(tables, pd.DataFrame) else pd.concat(tables, ignore_index=True)
    if study is not None:
        labels = {"outcome": words.label, "arm": words.level, "level": words.level}
        for column, read in labels.items():
            if column in table:
                codes = table[column].dropna().unique()
                said = {code: str(read(study, code)) for code in codes}
                table = table.assign(**{f"{column}_label": table[column].map(said)})
        if study.simulated:
            table = table.assign(data="SIMULATED")
    prose = {name: table[name].map(as_options, na_action="ignore") for name in PROSE & set(table)}
    table = table.assign(**prose)
    if table_format == "csv":
        text = csv_text(table)
    else:
        finite = table.replace([math.inf, -math.inf], math.nan)  # strict JSON knows neither
        records = table.astype(object).where(finite.notna(), None).to_dict("records")
        text = json.dumps(records, indent=2, ensure_ascii=False) + "\n"
        text = UNSEEN.sub(lambda found: json.dumps(found[0])[1:-1], text)  # JSON loses nothing
    sys.stdout.write(text)


def save(drawn: Any, path: Path) -> None:
    """Write a figure, and say so; once for a figure, which characters no installed font has.

    Parameters
    ----------
    drawn : matplotlib.figure.Figure
    path : Path
    """
    from alliance.diagnostics.figures import drawing
    from alliance.diagnostics.figures.figure_page import caption_of
    from alliance.diagnostics.figures.results_figures import save_figure

    missing = save_figure(drawn, path, overwrite=asked("overwrite"))
    if not drawing.asked().caption:
        say(f"Caption: {caption_of(drawn)}")
    if missing:
        note(f"No installed font has {' '.join(missing)}: drawn as boxes. Install one that has.")
    say(f"Written: {path}")


def tell(lines: Iterable[str]) -> None:
    """Print what belongs to the tables: sentences, each on lines of its own."""
    if IN_MARKDOWN.get():
        from alliance.diagnostics.sheet import as_markdown

        told = (as_markdown(as_options(line.strip())) for line in lines if line.strip())
        sys.stdout.writelines(f"{line}\n\n" for line in told)
        return
    for line in lines:
        out().print(escape(line))


def tripped(results: Iterable[CheckResult]) -> None:
    """Print the checks that ask for a look: what was found, and once what is to be done.

    Parameters
    ----------
    results : iterable of CheckResult
    """
    from alliance.diagnostics.words import plain

    found = [result for result in results if result.recommendation]
    for result in found:
        told = f"{plain(result.check)}: {result.message}"
        if IN_MARKDOWN.get():
            tell([f"{result.verdict} {told}"])
            continue
        out().print(f"{coloured(str(result.verdict))} {escape(told)}")
    tell(f"What to do: {text}" for text in dict.fromkeys(each.recommendation for each in found))


def facts(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Print terms, each with what is said of it, below a heading.

    Parameters
    ----------
    title : str
    rows : sequence of (str, str)
    """
    if IN_MARKDOWN.get():
        tell([f"{title}:", *(f"{name}: {text}" for name, text in rows)])
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in rows:
        grid.add_row(f"  {escape(name)}", escape(text))
    out().print(f"[bold]{title}[/bold]")
    out().print(grid)


def show(study: Described, sheets: Sequence[Sheet], legend: Iterable[str] | None = None) -> None:
    """Print tables of one kind, in a form that has room, and what their columns mean.

    Parameters
    ----------
    study : Study
        Whose they are.
    sheets : sequence of Sheet
        All get the same form and, from the right, lose the same columns.
    legend : iterable of str, optional
        What is said below them, before the labels of the arms.
    """
    from alliance.diagnostics.words import arms

    whole = [sheet.without(sheet.paper) for sheet in sheets if sheet.rows]
    if IN_MARKDOWN.get():
        from alliance.diagnostics.sheet import markdown_table

        mark = "SIMULATED DATA. " if study.simulated else ""
        for sheet in whole:
            sys.stdout.write(f"{markdown_table(sheet, mark + sheet.title)}\n")
        tell(legend or [])
        return
    console = out()
    for short, stacked, dropping in _forms(study, whole):
        own = [sheet.stacked(*STACKED) if stacked else sheet for sheet in whole]
        kept, left_out = _fitted(own, short, console.width, dropping=dropping)
        if _needed(kept, short) <= console.width:
            break
    for sheet in kept:
        if sheet.title:
            console.print(_title(study, sheet))
        table = _table(sheet, short)
        if _least(table) > console.width:
            table = _table(sheet, short, tight=True)
        if _least(table) > console.width:
            for column in table.columns:
                column.no_wrap = False
        console.print(table)
    if legend is not None:
        named = any(sheet.abbreviated for sheet in kept)
        coded = "; A-B is A minus B" if short and len(study.arms) > 1 else ""
        tell([*legend, *([f"Arms: {arms(study)}{coded}."] if named else [])])
    if left_out:
        tell([f"No room here for: {', '.join(left_out)}. See --format csv."])


def _forms(study: Described, sheets: Sequence[Sheet]) -> list[tuple[bool, bool, bool]]:
    """Forms of tables, the best first: by codes of arms, one below the other, without columns."""
    # Codes that are numbers say nothing: then labels are worth more than the last columns
    speaking = not all(code.isdigit() for code in study.arms)
    stacks = [False, True] if all(sheet.stack for sheet in sheets) else [False]
    names = [False, True] if speaking else [False]
    dropped = [True] if speaking and len(stacks) == 1 else [False, True]
    return [
        *((short, stacked, False) for stacked in stacks for short in names),
        *((short, stacks[-1], True) for short in dropped),
    ]


def _fitted(
    sheets: Sequence[Sheet], short: bool, width: int, *, dropping: bool
) -> tuple[list[Sheet], list[str]]:
    """Sheets without the columns that give way where there is no room, and the names of these."""
    left_out: list[str] = []
    kept = list(sheets)
    while dropping and _needed(kept, short) > width:
        next_one = kept[0].gives_way
        if next_one is None or any(sheet.gives_way != next_one for sheet in kept):
            break
        left_out.append(next_one)
        kept = [sheet.without([next_one]) for sheet in kept]
    order = sheets[0].columns if sheets else []
    return kept, sorted(left_out, key=order.index)


def _needed(sheets: Sequence[Sheet], short: bool) -> int:
    """Columns of the screen that tables need; labels and long texts may go over several lines."""
    console = Screen(emoji=False, width=UNBOUNDED)
    tables = [_table(sheet, short) for sheet in sheets]
    for sheet, table in zip(sheets, tables, strict=True):
        for cells, column in zip(zip(*sheet.cells, strict=True), table.columns, strict=True):
            if not column.no_wrap:
                column.max_width = max(_room(cell, short) for cell in (column.header, *cells))
    return max((console.measure(table).maximum for table in tables), default=0)


def _room(cell: Any, short: bool) -> int:
    """Letters of a line that a cell's text should have."""
    from alliance.diagnostics.sheet import Cell

    text = _text(cell, short)
    if not isinstance(cell, Cell) or short or len(text) <= SHORT:
        return min(len(text), LONG)
    return next(n for n in range(SHORT, len(text) + 1) if len(textwrap.wrap(text, n)) <= 2)


def _title(study: Described, sheet: Sheet) -> str:
    """What stands above a table; of simulated data it says so."""
    mark = "[reverse] SIMULATED DATA [/reverse] " if study.simulated else ""
    subject = f"{sheet.subject}: " if sheet.subject else ""
    head, colon, verdict = sheet.title.rpartition(": ")
    return f"{mark}[bold]{escape(subject + head + colon)}[/bold]{coloured(verdict)}"


def _table(sheet: Sheet, short: bool, *, tight: bool = False) -> Table:
    """A sheet as rich prints it; where room is tight with headings of one word a line."""
    table = Table()
    for k, (name, right) in enumerate(zip(sheet.columns, sheet.right, strict=True)):
        side: Literal["left", "right"] = "right" if right else "left"
        told = [_text(row[k], short) for row in sheet.cells]
        if right:  # a heading may go over several lines, and numbers do not
            least = max(map(len, name.split())) if tight else WORD
            name = "\n".join(textwrap.wrap(name, max(least, *map(len, told))))
        words = " ".join([name, *told]).split()
        whole = min(WORD, max(map(len, words)))  # longer words are folded where need be
        name = escape(name)
        table.add_column(name, justify=side, no_wrap=right, overflow="fold", min_width=whole)
    above: list[str] = []
    for k, row in enumerate(sheet.cells):
        repeated = [n < sheet.once and row[: n + 1] == above[: n + 1] for n in range(len(row))]
        cells = zip(row, repeated, strict=True)
        table.add_row(
            *("" if same else _marked(cell, short) for cell, same in cells),
            end_section=k in sheet.breaks,
        )
        above = [] if k in sheet.breaks else row
    return table


def _text(cell: Any, short: bool) -> str:
    from alliance.diagnostics.sheet import Cell

    coded = short and isinstance(cell, Cell) and len(cell.code) < len(cell)
    return cell.code if coded else str(cell)


def _marked(cell: str, short: bool) -> str:
    from alliance.diagnostics.sheet import Cell

    text = _text(cell, short)
    alarm = isinstance(cell, Cell) and cell.alarm
    return f"[yellow]{escape(text)}[/yellow]" if alarm else coloured(text)


def coloured(text: str) -> str:
    """A verdict in its colour, and other texts as they are."""
    colour = COLOURS.get(text)
    return f"[{colour}]{escape(text)}[/{colour}]" if colour else escape(text)


def _least(shown: Table) -> int:
    """Columns of the screen that it needs with the other cells broken into short lines."""
    before = [column.max_width for column in shown.columns]
    for column in shown.columns:
        if not column.no_wrap:
            column.max_width = SHORT
    width = Screen(emoji=False, width=UNBOUNDED).measure(shown).maximum
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
