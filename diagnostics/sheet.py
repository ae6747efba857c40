"""A table as people read it, built once and shown by terminal, report and exports alike.

`diagnostics.sheets` builds them; `alliance.cli.screen` prints them, `diagnostics.report.page` and
`diagnostics.report.exports` make HTML, Markdown, LaTeX and CSV of them. A cell is text with its
final digits; whether a column holds numbers, and is set to the right, follows from its cells.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from alliance.data_prep.errors import visible

EMPTY = "\N{EM DASH}"  # where a number is missing: an empty cell says nothing to a screen reader
MINUS = "\N{MINUS SIGN}"  # read out as such, and as wide as a plus
_NEGATIVE = re.compile(r"(?<![\w.-])-(?=\d)")
# A cell that reads as a number: such columns are set to the right.
_NUMBER = re.compile(rf"^(half-)?N\(|^[<>≥≤x]?\s?[+{MINUS}-]?\d|^-?infinite$")
# What Markdown, or HTML within it, takes for a mark; an underscore within a word is none.
_MARKDOWN = re.compile(r"[\\`*\[\]<>|~$&#]|(?<!\w)_|_(?!\w)")

Row = Mapping[str, str]


class Cell(str):
    """The text of a cell that has more to it than its letters.

    Attributes
    ----------
    short : str
        The same where there is no room for it.
    code : str
        What files for machines call it.
    target : str
        Name of the report's section that it leads to; empty if to none.
    alarm : bool
        Whether it asks for a look.
    """

    short: str
    code: str
    target: str
    alarm: bool
    __slots__ = ("alarm", "code", "short", "target")

    def __new__(
        cls, text: str, *, short: str = "", code: str = "", target: str = "", alarm: bool = False
    ) -> Cell:
        """The text, with what else is known of it."""
        made = super().__new__(cls, text)
        made.short, made.code, made.target, made.alarm = short or text, code or text, target, alarm
        return made


def fitting(text: str, room: int) -> str:
    """A text, or its short form where there is no room for so many characters.

    Examples
    --------
    >>> fitting(Cell("Acupuncture minus Usual care", short="A minus U"), 10)
    'A minus U'
    """
    return text if len(text) <= room or not isinstance(text, Cell) else text.short


def alarmed(text: str, alarm: bool) -> str:
    """A text that asks for a look, or does not."""
    return Cell(text, alarm=True) if alarm else text


def typeset(text: str) -> str:
    """A text with minus signs before its negative numbers, as pages have them.

    Examples
    --------
    >>> typeset("-0.5 to 1 for MCE-GE, pages 1282-1291")
    '−0.5 to 1 for MCE-GE, pages 1282-1291'
    """
    return _NEGATIVE.sub(MINUS, text)


@dataclass(frozen=True, eq=False, slots=True)
class Sheet:
    """A table as it is read, and the numbers behind it.

    Attributes
    ----------
    name : str
        Unique in a report; names the files that it is written to.
    title : str
        What it is about.
    rows : sequence of mapping of str to str
        The text of each cell by the heading of its column; missing where there is nothing.
    note : str
        What the columns are: units, intervals.
    numbers : pandas.DataFrame or None
        What the CSV file holds, in full precision; the text if None.
    heads : int
        So many columns from the left say what a row is.
    fewest : int
        So many columns from the left are shown on however narrow a screen; the others give way
        from the right.
    inputs : collection of str
        Columns of what was asked, which give way before any answer does, the last first.
    breaks : collection of int
        Rows below which a line is drawn.
    once : int
        So many columns from the left are not repeated on a screen where they are as in the row
        above.
    paper : collection of str
        Columns that a screen leaves out: what is said below the table fills pages only.
    stack : collection of str
        Columns of one kind, such as estimates by source, that a narrow screen shows one below the
        other.
    subject : str
        The outcome that it is about, by its code.
    published : bool
        Whether it is of printed numbers alone, which are not simulated in a report of simulated
        data either.
    """

    name: str
    title: str
    rows: Sequence[Row]
    note: str = ""
    numbers: pd.DataFrame | None = None
    heads: int = 1
    fewest: int = 3
    breaks: Collection[int] = ()
    once: int = 0
    paper: Collection[str] = ()
    stack: Collection[str] = ()
    subject: str = ""
    published: bool = False
    inputs: Collection[str] = ()
    kind: str = field(default="table", init=False)

    @property
    def gives_way(self) -> str | None:
        """The column that a narrow screen leaves out next; None where all must stay."""
        asked = [name for name in self.inputs if name in self.columns]
        if asked:
            return asked[-1]
        return self.columns[-1] if len(self.columns) > self.fewest else None

    @property
    def columns(self) -> list[str]:
        """The headings, in the order in which rows have them."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    @property
    def caption(self) -> str:
        """Title and note, as sentences."""
        told = [
            part if part.endswith(".") else f"{part}." for part in (self.title, self.note) if part
        ]
        return " ".join(told)

    @property
    def cells(self) -> list[list[str]]:
        """The text of every cell, row by row."""
        columns = self.columns
        return [[row.get(name, "") for name in columns] for row in self.rows]

    @property
    def filled(self) -> list[list[str]]:
        """The text of every cell, a dash where there is none."""
        return [[cell or EMPTY for cell in row] for row in self.cells]

    @property
    def shown(self) -> pd.DataFrame:
        """The table of `filled`, by its headings."""
        return pd.DataFrame(self.filled, columns=self.columns, dtype=object)

    @property
    def abbreviated(self) -> bool:
        """Whether a level has a short form, as the codes of arms are."""
        cells = (cell for row in self.rows for name, cell in row.items() if name != "Outcome")
        return any(isinstance(cell, Cell) and cell.short != cell for cell in cells)

    @property
    def right(self) -> tuple[bool, ...]:
        """Whether each column is of numbers, but for a few words, and is set to the right."""
        found = []
        for column in zip(*self.cells, strict=True):
            filled = [cell for cell in column if cell not in ("", EMPTY)]
            numbers = sum(bool(_NUMBER.match(cell)) for cell in filled)
            found.append(2 * numbers > len(filled))
        return tuple(found)

    def without(self, names: Collection[str]) -> Sheet:
        """The sheet without some of its columns.

        Parameters
        ----------
        names : collection of str
        """
        rows = [{name: row[name] for name in row if name not in names} for row in self.rows]
        return replace(self, rows=rows)

    def stacked(self, source: str, value: str) -> Sheet:
        """The sheet with the columns of one kind one below the other.

        Parameters
        ----------
        source, value : str
            Headings for the columns' own headings, and for their cells.

        Returns
        -------
        Sheet
            A row for each cell that is not empty; what stands behind them is said in the last.
        """
        rows: list[Row] = []
        breaks = []
        for row in self.rows:
            filled = [name for name in row if name in self.stack and row[name]]
            names = list(row)
            before = [name for name in names if names.index(name) < self.heads]
            after = [name for name in names if name not in (*before, *self.stack)]
            for k, name in enumerate(filled):
                last = k == len(filled) - 1
                rows.append(
                    {head: row[head] for head in before}
                    | {source: name, value: row[name]}
                    | {each: row[each] if last else "" for each in after}
                )
            breaks.append(len(rows) - 1)
        return replace(self, rows=rows, breaks=breaks, stack=(), once=self.heads)


def joined(
    name: str,
    note: str,
    sheets: Iterable[tuple[str, Sheet]],
    *,
    head: str = "Outcome",
    numbers: pd.DataFrame | None = None,
) -> Sheet:
    """Sheets of several outcomes as one, with a column that says which.

    Parameters
    ----------
    name, note : str
        Of the whole.
    sheets : iterable of (str, Sheet)
        Each with what the column says.
    head : str
        Heading of the column.
    numbers : pandas.DataFrame, optional
        What the file holds; by default what the files of the sheets would.
    """
    given = list(sheets)
    rows = [{head: label, **row} for label, sheet in given for row in sheet.rows]
    if numbers is None:
        own = [sheet.numbers for _, sheet in given if sheet.numbers is not None]
        numbers = pd.concat(own, ignore_index=True) if own else None
    heads = 1 + max((sheet.heads for _, sheet in given), default=0)
    return Sheet(name, "", rows, note, numbers, heads=heads)


def without_empty(sheet: Sheet, *names: str) -> Sheet:
    """The sheet without those of the named columns that say nothing.

    Parameters
    ----------
    sheet : Sheet
    *names : str
    """
    return sheet.without([name for name in names if not any(row.get(name) for row in sheet.rows)])


def code(cell: str) -> str:
    """What files for machines call a cell."""
    return cell.code if isinstance(cell, Cell) else cell


def on_one_line(text: str) -> str:
    """A text without its line breaks."""
    return " ".join(text.split("\n"))


def as_markdown(text: str) -> str:
    r"""A text that shows as it is: no mark of Markdown or HTML in it is one.

    Examples
    --------
    >>> print(as_markdown("a|b *c*"))
    a\|b \*c\*
    """
    return _MARKDOWN.sub(r"\\\g<0>", visible(on_one_line(text)))


def markdown_table(sheet: Sheet, caption: str) -> str:
    """A table in Markdown, below its caption.

    Parameters
    ----------
    sheet : Sheet
    caption : str
    """
    shown = sheet.shown.map(lambda cell: as_markdown(str(cell)))
    shown.columns = pd.Index([as_markdown(str(name)) for name in shown.columns])
    align = ["right" if right else "left" for right in sheet.right]
    text = shown.to_markdown(index=False, tablefmt="pipe", colalign=align, disable_numparse=True)
    return f"{as_markdown(caption)}\n\n{text}\n"
