"""Tables on narrow screens: the last columns are left out as far as there is no room for them."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

UNBOUNDED = 10_000  # columns of a screen on which every table has room


def print_fitting(console: Console, table: Table, fewest: int) -> None:
    """Print a table, without those of its last columns that have no room, and name these.

    Parameters
    ----------
    console : rich.console.Console
    table : rich.table.Table
    fewest : int
        Columns that are shown on however narrow a screen.
    """
    left_out: list[str] = []
    while len(table.columns) > fewest and _needed(table) > console.width:
        left_out.insert(0, str(table.columns.pop().header))
    console.print(table)
    if left_out:
        told = ", ".join(left_out)
        console.print(f"No room here for: {escape(told)}. See --format csv.")


def _needed(table: Table) -> int:
    """Columns of the screen that a table needs, whatever its title."""
    title, table.title = table.title, None
    needed = Console(emoji=False, width=UNBOUNDED).measure(table).maximum
    table.title = title
    return needed
