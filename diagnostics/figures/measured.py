"""Texts of figures by their measured size: how wide they are, and lines that fit."""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from itertools import pairwise

from matplotlib import font_manager
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text

from alliance.diagnostics.figures.drawing import asked

_GIVEN = "_given"  # of a text that was wrapped: as it was before
# What may end a line within a word that is too long for one
BREAKS = "-/_.,;:"
WORDS = re.compile(r"\S*n = \d\S*|\S+")  # a number of patients is one word


@lru_cache
def fonts_of(characters: frozenset[int], font: str | None) -> tuple[list[str], frozenset[int]]:
    """Families of installed fonts that have what a font lacks, and what none has.

    Parameters
    ----------
    characters : frozenset of int
        Code points.
    font : str or None
        None for the usual one.
    """
    first = FontProperties() if font is None else FontProperties(font)
    usual = font_manager.get_font(font_manager.findfont(first)).get_charmap()
    missing, families = characters - set(usual), []
    for each in sorted(font_manager.fontManager.ttflist, key=lambda one: one.name):
        if not missing:
            break
        if "Last Resort" in each.name:  # has a box for each script, and no letters
            continue
        try:
            known = font_manager.get_font(each.fname).get_charmap()
        except (OSError, RuntimeError):  # a font file that is gone, or of no use
            continue
        if missing & set(known):
            families.append(each.name)
            missing -= set(known)
    return list(dict.fromkeys(families)), missing


def families_of(text: str) -> list[str]:
    """Names of fonts for a text, the one that was asked for first.

    Parameters
    ----------
    text : str
    """
    font = asked().font
    usual = ["DejaVu Sans"] if font is None else [font]
    letters = frozenset(ord(letter) for letter in text if letter.isprintable())
    if font is None and text.isascii():
        return usual
    return [*usual, *fonts_of(letters, font)[0]]


@lru_cache(maxsize=8192)
def _inches(text: str, size: float, weight: str, families: tuple[str, ...], dpi: int) -> float:
    renderer = RendererAgg(1, 1, dpi)  # letters are fitted to dots, and wider where these are few
    letters = FontProperties(family=list(families), size=size, weight=weight)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+", UserWarning)  # said when it is saved
        width, _, _ = renderer.get_text_width_height_descent(text, letters, ismath=False)
    return float(width) / dpi


def width_of(text: str, size: float, weight: str = "normal") -> float:
    """Width of a text in inches; of several lines that of the longest.

    Parameters
    ----------
    text : str
    size : float
        Of its letters, in points.
    weight : str
    """
    families, dpi = tuple(families_of(text)), asked().dpi
    return max(_inches(line, size, weight, families, dpi) for line in text.split("\n"))


def height_of(text: str, size: float) -> float:
    """Height of a text's lines in inches.

    Parameters
    ----------
    text : str
    size : float
    """
    return _high(text.count("\n") + 1, size, tuple(families_of(text)), asked().dpi)


@lru_cache(maxsize=8192)
def _high(lines: int, size: float, families: tuple[str, ...], dpi: int) -> float:
    drawn = Text(0, 0, "\n".join(["lp"] * lines), fontsize=size, fontfamily=list(families))
    drawn.set_figure(Figure(dpi=dpi))
    return float(drawn.get_window_extent(RendererAgg(1, 1, dpi)).height) / dpi


def wrapped(text: str, inches: float, size: float, weight: str = "normal") -> str:
    """A text on as many lines as it needs to be no wider than there is room.

    Parameters
    ----------
    text : str
        Its own ends of lines are kept.
    inches : float
    size : float
        Of its letters, in points.
    weight : str

    Returns
    -------
    str
        Words that are wider than the room are broken.

    Examples
    --------
    >>> wrapped("the slope of the alliance", 0.9, 9).splitlines()
    ['the slope of', 'the alliance']
    """
    lines: list[str] = []
    for paragraph in text.split("\n"):
        if width_of(paragraph, size, weight) <= inches:
            lines.append(paragraph)
            continue
        line = ""
        for word in WORDS.findall(paragraph):
            longer = f"{line} {word}" if line else word
            if width_of(longer, size, weight) <= inches:
                line = longer
                continue
            if line:
                lines.append(line)
            *whole, line = _broken(word, inches, size, weight)
            lines += whole
        lines.append(line)
    return "\n".join(lines)


def _broken(word: str, inches: float, size: float, weight: str) -> list[str]:
    """A word in pieces that fit: broken behind a mark if there is one, else where it must be."""
    pieces = []
    while len(word) > 1 and width_of(word, size, weight) > inches:
        end = max(1, _longest(word, inches, size, weight))
        marks = [k + 1 for k in range(end // 3, end) if word[k] in BREAKS]
        end = marks[-1] if marks else end
        pieces.append(word[:end])
        word = word[end:]
    return [*pieces, word]


def _longest(word: str, inches: float, size: float, weight: str) -> int:
    low, high = 0, len(word)  # the first `low` letters fit, the first `high` do not
    while high - low > 1:
        middle = (low + high) // 2
        fits = width_of(word[:middle], size, weight) <= inches
        low, high = (middle, high) if fits else (low, middle)
    return low


def rewrap(text: Text, inches: float) -> bool:
    """Wrap a text of a figure if it is wider than its room; whether it was.

    Parameters
    ----------
    text : matplotlib.text.Text
    inches : float
    """
    told, size, weight = text.get_text(), float(text.get_fontsize()), str(text.get_fontweight())
    if not told or width_of(told, size, weight) <= inches + 0.01:
        return False
    # Ends of lines that were made for more room are none of a narrower, those that were given are
    given = text.__dict__.get(_GIVEN, told)
    if "".join(given.split()) != "".join(told.split()):
        given = told  # another text since
    text.__dict__[_GIVEN] = given
    text.set_text(wrapped(given, inches, size, weight))
    return text.get_text() != told


def crowded(sizes: list[tuple[float, float]]) -> float:
    """By what factor the distances of labels along an axis must grow for all of them to have room.

    Parameters
    ----------
    sizes : list of (float, float)
        Where each stands, and its extent along the axis; both in the same unit.
    """
    factor = 0.0
    for (one, extent), (other, further) in pairwise(sorted(sizes)):
        if other > one:
            factor = max(factor, (extent + further) / 2 / (other - one))
    return factor
