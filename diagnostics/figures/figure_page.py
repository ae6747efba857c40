"""What figures have in common: colours, a head with title and legend, a foot with the caption."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text

# Okabe and Ito's colours, told apart by colour-blind readers; line styles say the same again.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
LINES = ("-", "--", "-.", ":")
# Labels are drawn as they were typed: between dollars stand prices, and no mathematics.
AS_TYPED: dict[Any, Any] = {"text.parse_math": False}
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    **AS_TYPED,
}
TITLE_INCHES, LEGEND_INCHES, CAPTION_INCHES = 0.2, 0.62, 0.145
TITLE_CHARACTERS, CAPTION_CHARACTERS = 10.5, 16.5  # to an inch
WIDE_INCHES = 8  # from here on there is room for four entries of a legend side by side


class Titled(Protocol):
    """Whose title a figure bears: a study, or a paper."""

    @property
    def title(self) -> str:
        """The title."""
        ...

    @property
    def simulated(self) -> bool:
        """Whether the figure must say so."""
        ...


class Studied(Protocol):
    """What a figure is of: a fit, a trial before it is fitted, or a paper."""

    @property
    def study(self) -> Titled:
        """What bears the title."""


def figure_title(fit: Studied) -> str:
    """The study's title; of simulated data that they are simulated."""
    return "SIMULATED DATA" if fit.study.simulated else fit.study.title


def legend_label(text: str) -> str:
    """A text as a legend's entry: matplotlib leaves out those that begin with an underscore.

    Examples
    --------
    >>> legend_label("usual care"), legend_label("_control").strip()
    ('usual care', '_control')
    """
    return f"\N{HAIR SPACE}{text}" if text.startswith("_") else text


def hatch_extrapolated(
    panel: Axes, first: float, last: float, observed: tuple[float, float]
) -> None:
    """Hatch what of the range from first to last lies beyond the observed ratings."""
    label = "extrapolated: no ratings"
    for start, end in ((first, observed[0]), (observed[1], last)):
        if start < end:
            panel.axvspan(
                start, end, facecolor="none", edgecolor="0.6", hatch="///", linewidth=0, label=label
            )
            label = "_nolegend_"


def save(figure: Figure, target: Any, **options: Any) -> str:
    """Write a figure with every letter that the installed fonts have.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    target : path or file
        Like the options, as `matplotlib.figure.Figure.savefig` takes it.

    Returns
    -------
    str
        Characters that no installed font has; they are drawn as boxes.
    """
    with mpl.rc_context(AS_TYPED), warnings.catch_warnings():  # ticks are first made here
        texts = [text for text in figure.findobj(Text) if not text.get_text().isascii()]
        characters = {
            ord(letter) for text in texts for letter in text.get_text() if letter.isprintable()
        }
        families, missing = fonts_of(frozenset(characters))
        if families:
            for text in texts:
                text.set_fontfamily([*mpl.rcParams["font.family"], *families])
        # Said by the return value, once, and not a letter at a time.
        warnings.filterwarnings("ignore", r"Glyph \d+", UserWarning)
        warnings.filterwarnings("ignore", "Matplotlib currently does not support", UserWarning)
        figure.savefig(target, **options)
    return "".join(map(chr, sorted(missing)))


@lru_cache
def fonts_of(characters: frozenset[int]) -> tuple[list[str], frozenset[int]]:
    """Families of installed fonts that have what the usual one lacks, and what none has.

    Parameters
    ----------
    characters : frozenset of int
        Code points.
    """
    usual = font_manager.get_font(font_manager.findfont(FontProperties())).get_charmap()
    missing, families = characters - set(usual), []
    for font in sorted(font_manager.fontManager.ttflist, key=lambda each: each.name):
        if not missing:
            break
        if "Last Resort" in font.name:  # has a box for each script, and no letters
            continue
        try:
            known = font_manager.get_font(font.fname).get_charmap()
        except (OSError, RuntimeError):  # a font file that is gone, or of no use
            continue
        if missing & set(known):
            families.append(font.name)
            missing -= set(known)
    return list(dict.fromkeys(families)), missing


class Page:
    """A figure with a head for title and legend, and a foot for the caption.

    Each has a strip of its own, so that they never cover one another, however narrow the figure.

    Parameters
    ----------
    fit : Fit, or anything of a study
        Whose title it bears.
    width : float
        Inches.
    heights : sequence of float
        Inches of each strip of panels.
    caption : str

    Attributes
    ----------
    figure : matplotlib.figure.Figure
    strips : list of matplotlib.figure.SubFigure
        For the panels.
    """

    def __init__(self, fit: Studied, width: float, heights: Sequence[float], caption: str) -> None:
        title = textwrap.fill(figure_title(fit), int(TITLE_CHARACTERS * width))
        lines = textwrap.fill(caption, int(CAPTION_CHARACTERS * width))
        head = LEGEND_INCHES + TITLE_INCHES * (title.count("\n") + 1)
        foot = 0.15 + CAPTION_INCHES * (lines.count("\n") + 1)
        all_heights = [head, *heights, foot]
        self.figure = Figure(figsize=(width, sum(all_heights)), layout="constrained")
        parts = self.figure.subfigures(
            len(all_heights), 1, squeeze=False, height_ratios=all_heights
        )[:, 0]
        with mpl.rc_context(AS_TYPED):
            parts[0].text(0.01, 0.97, title, va="top", fontsize=11, fontweight="bold")
            parts[-1].text(0.01, 0.9, lines, va="top", fontsize=8)
        self._head: SubFigure = parts[0]
        self.strips: list[SubFigure] = list(parts[1:-1])

    def legend(self, panel: Axes) -> None:
        """Put a panel's legend into the head."""
        handles, labels = panel.get_legend_handles_labels()
        with mpl.rc_context(AS_TYPED):
            self._head.legend(
                handles,
                labels,
                loc="lower left",
                bbox_to_anchor=(0.0, 0.0),
                ncols=3 if self.figure.get_figwidth() < WIDE_INCHES else 4,
                frameon=False,
                fontsize=8,
            )
