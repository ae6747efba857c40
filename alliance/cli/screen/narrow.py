"""Tables on narrow screens: nothing is cut; the last columns give way where they may."""

from __future__ import annotations

from typing import Any

from rich import table
from rich.console import Console
from rich.markup import escape

from alliance.cli.screen.arguments import Screen

UNBOUNDED = 10_000  # columns of a screen on which every table has room
SHORT = 9  # letters of a line in a column of words, at least, beside numbers on one line


class Table(table.Table):
    """A table whose cells are never cut: a word too long for its column goes on in the next line.

    Cells that are not to be wrapped are so only where the whole table has room for them.
    """

    def add_column(self, *args: Any, **options: Any) -> None:
        """Add a column, as of `rich.table.Table`."""
        super().add_column(*args, **{"overflow": "fold", **options})


def needed(shown: table.Table) -> int:
    """Columns of the screen that a table needs, whatever its title.

    Parameters
    ----------
    shown : rich.table.Table
    """
    title, shown.title = shown.title, None
    width = Screen(emoji=False, width=UNBOUNDED).measure(shown).maximum
    shown.title = title
    return width


def print_whole(console: Console, shown: table.Table) -> None:
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


def print_fitting(console: Console, shown: table.Table, fewest: int) -> None:
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


def _least(shown: table.Table) -> int:
    """Columns of the screen that it needs with the other cells broken into short lines."""
    before = [column.max_width for column in shown.columns]
    for column in shown.columns:
        if not column.no_wrap:
            column.max_width = max(SHORT, column.min_width or 0)
    width = needed(shown)
    for column, own in zip(shown.columns, before, strict=True):
        column.max_width = own
    return width
