"""What a report is made of, and one HTML file of it that needs nothing else.

Figures are inline SVG: text as outlines, identifiers of their own, alternative text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from html import escape
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from alliance.data_prep.errors import visible
from alliance.diagnostics.figures.figure_page import lettered
from alliance.diagnostics.sheet import Cell, Sheet, typeset
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.whole_files import GENERATOR


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
class Code:
    """Text for a program, to be copied as it is."""

    text: str
    title: str
    kind: str = field(default="code", init=False)


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
    published : bool
        As of `diagnostics.sheet.Sheet`.
    """

    name: str
    figure: Figure
    title: str
    description: str
    published: bool = False
    kind: str = field(default="picture", init=False)


Part = (
    Paragraph | Heading | Notice | Listing | Facts | Formula | Code | References | Sheet | Picture
)


@dataclass(frozen=True, eq=False, slots=True)
class Section:
    """A section of the report.

    Attributes
    ----------
    name : str
        Unique in the report; its place is ``#name``.
    title : str
    parts : sequence of Part
    published : bool
        As of `diagnostics.sheet.Sheet`.
    appendix : bool
        Whether it stands behind what every reader wants to know.
    """

    name: str
    title: str
    parts: Sequence[Part]
    published: bool = False
    appendix: bool = False

    @property
    def tables(self) -> tuple[Sheet, ...]:
        """The tables of the section."""
        return tuple(part for part in self.parts if isinstance(part, Sheet))


# Outlines look the same on every machine: no font is missing there, none has to be loaded.
STYLE: dict[Any, Any] = {"svg.fonttype": "path", "svg.image_inline": True}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_IDENTIFIER = re.compile(r'\bid="([^"]+)"')
_LINK = re.compile(r'(xlink:href="#|url\(#)([^")]+)')
# Coordinates, but no scales: those of glyphs are small numbers whose every digit counts.
_ENDS = re.compile(r" (?=to )|(?<= to) |(?<=[<>]) ")  # blanks at which no number may be broken
_LONG_NUMBER = re.compile(r"(scale\([^)]*\))|(-?\d+\.\d{2})\d+")


def inline_svg(figure: Figure, name: str, title: str, description: str) -> str:
    """A figure as an SVG element for an HTML page.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    name : str
        Unique in the page; begins every identifier within the figure.
    title, description : str
        Alternative text.

    Returns
    -------
    str
        The element, with two decimals of a point in its coordinates. The page's style sheet has
        what figures share: joins of lines, and widths from ``--width`` (inches).
    """
    buffer = io.StringIO()
    with mpl.rc_context(STYLE | {"svg.hashsalt": name}), lettered(figure):
        # By itself: `savefig` draws a figure once more before, to lay it out
        FigureCanvasSVG(figure).print_svg(buffer, metadata=_NO_METADATA)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    body = text[text.index(">") + 1 : text.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", body, flags=re.S)
    # Numbered as they are met: matplotlib's own differ from run to run.
    used = dict.fromkeys(found[2] for found in _LINK.finditer(body))
    own = {given: f"{name}-{number}" for number, given in enumerate(used)}
    body = _IDENTIFIER.sub(lambda found: f'id="{own[found[1]]}"' if found[1] in own else "", body)
    body = _LINK.sub(lambda found: f"{found[1]}{own[found[2]]}", body)
    body = body.replace("xlink:href", "href")
    body = _LONG_NUMBER.sub(lambda found: found[1] or found[2], body)
    width, height = figure.get_size_inches() * 72
    return (
        f'<svg role="img" aria-labelledby="{name}-title {name}-desc" '
        f'viewBox="0 0 {width:.2f} {height:.2f}" style="--width: {width / 72:.2f}" '
        'xmlns="http://www.w3.org/2000/svg">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(description)}</desc>{_squeezed(body)}</svg>'
    )


def _squeezed(body: str) -> str:
    body = re.sub(r"\s*\n\s*", "\n", body)
    return re.sub(r" +(?=/?>)", "", body)


TEMPLATES = Path(__file__).parent / "templates"


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_shown,
    )
    environment.filters["typeset"] = typeset
    environment.filters["unbroken"] = lambda text: _ENDS.sub("\N{NO-BREAK SPACE}", text)
    environment.tests["linked"] = lambda cell: isinstance(cell, Cell) and bool(cell.target)
    environment.tests["alarming"] = lambda cell: isinstance(cell, Cell) and cell.alarm
    return environment.get_template("report.html")


def _shown(value: Any) -> Any:
    """What an expression of the template gives; of other people's text what steers is shown."""
    if isinstance(value, Markup):
        return Markup(visible(value))
    return visible(value) if isinstance(value, str) else value


def report_html(fit: Fit, sections: Sequence[Section], *, explorer: str = "") -> str:
    """A run's report as an HTML page.

    Parameters
    ----------
    fit : Fit
    sections : sequence of Section
        As from `diagnostics.report.contents.write_sections`.
    explorer : str
        Address of the run's explorer, if there is one.

    Returns
    -------
    str
        With its style sheet and figures within, without a script.
    """
    return _template().render(
        title=fit.study.title,
        simulated=fit.study.simulated,
        generator=GENERATOR,
        version=fit.manifest.get("versions", {}).get("alliance", "version not recorded"),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        styles=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        main=[section for section in sections if not section.appendix],
        appendices=[section for section in sections if section.appendix],
        letters=ascii_uppercase,
        explorer=explorer,
        svg=_svg,
    )


def _svg(picture: Picture) -> Markup:
    name = f"figure-{picture.name}"
    return Markup(
        inline_svg(picture.figure, name, visible(picture.title), visible(picture.description))
    )
