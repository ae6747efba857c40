"""What a report is made of: sections, and the parts that sections are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from alliance.diagnostics.sheet import Sheet


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


Part = Paragraph | Heading | Notice | Listing | Facts | Formula | References | Sheet | Picture


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
    def tables(self) -> tuple[Sheet, ...]:
        """The tables of the section."""
        return tuple(part for part in self.parts if isinstance(part, Sheet))
