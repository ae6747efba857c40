"""What a report is made of: sections, and the parts that sections are made of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import pandas as pd
from matplotlib.figure import Figure

EMPTY = "\N{EM DASH}"  # where a number is missing: an empty cell says nothing to a screen reader
# A cell that reads as a number: such columns are set to the right.
_NUMBER = re.compile(r"^[<>≥≤]?\s?[+−-]?\d")


class Anchor(str):
    """A cell's text that leads to another section.

    Attributes
    ----------
    target : str
        Name of the section.
    """

    target: str
    __slots__ = ("target",)

    def __new__(cls, text: str, target: str) -> Self:
        """The text, with where it leads."""
        made = super().__new__(cls, text)
        made.target = target
        return made


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text."""

    text: str
    kind: str = field(default="paragraph", init=False)


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading within a section."""

    text: str
    kind: str = field(default="heading", init=False)


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that must not be overlooked."""

    text: str
    kind: str = field(default="notice", init=False)


@dataclass(frozen=True, slots=True)
class Listing:
    """Sentences one below the other."""

    items: Sequence[str]
    kind: str = field(default="listing", init=False)


@dataclass(frozen=True, slots=True)
class Facts:
    """Terms, each with what is said of it."""

    rows: Sequence[tuple[str, str]]
    kind: str = field(default="facts", init=False)


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula in MathML, and the same in words."""

    mathml: str
    words: str
    kind: str = field(default="formula", init=False)


@dataclass(frozen=True, slots=True)
class Reference:
    """A publication: its text, and its digital object identifier if it has one."""

    text: str
    doi: str = ""


@dataclass(frozen=True, slots=True)
class References:
    """A list of publications."""

    items: Sequence[Reference]
    kind: str = field(default="references", init=False)


@dataclass(frozen=True, eq=False, slots=True)
class ReportTable:
    """A table as it is read, and the numbers behind it.

    Attributes
    ----------
    name : str
        Unique in the report; names the files that it is written to.
    caption : str
        What the table shows, with units and the label of its intervals.
    shown : pandas.DataFrame
        Text in every cell.
    numbers : pandas.DataFrame or None
        What the CSV file holds, in full precision; the text if None.
    row_heads : int
        So many columns from the left say what a row is.
    """

    name: str
    caption: str
    shown: pd.DataFrame
    numbers: pd.DataFrame | None = None
    row_heads: int = 1
    kind: str = field(default="table", init=False)

    @property
    def right(self) -> tuple[bool, ...]:
        """Whether each column holds numbers only, and is set to the right."""
        found = []
        for position in range(self.shown.shape[1]):
            column = self.shown.iloc[:, position].astype(str)
            cells = [text for text in column if text not in ("", EMPTY)]
            found.append(bool(cells) and all(_NUMBER.match(text) for text in cells))
        return tuple(found)


@dataclass(frozen=True, eq=False, slots=True)
class Picture:
    """A figure with its title, and a description for those who do not see it.

    Attributes
    ----------
    name : str
        Unique in the report.
    figure : matplotlib.figure.Figure
    title : str
    description : str
        What it shows, in words and numbers.
    """

    name: str
    figure: Figure
    title: str
    description: str
    kind: str = field(default="picture", init=False)


Part = Paragraph | Heading | Notice | Listing | Facts | Formula | References | ReportTable | Picture


@dataclass(frozen=True, eq=False, slots=True)
class Section:
    """A section of the report.

    Attributes
    ----------
    name : str
        Unique in the report; its place is ``#name``.
    title : str
    parts : sequence of Part
    """

    name: str
    title: str
    parts: Sequence[Part]

    @property
    def tables(self) -> tuple[ReportTable, ...]:
        """The tables of the section."""
        return tuple(part for part in self.parts if isinstance(part, ReportTable))
