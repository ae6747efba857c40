"""What figures have in common: colours, a head with title and legend, a foot with the caption."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, Protocol
from unicodedata import bidirectional

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, MaxNLocator

from alliance.data_prep.errors import InputError
from alliance.diagnostics.figures.drawing import MM_PER_INCH, asked
from alliance.diagnostics.figures.measured import (
    crowded,
    families_of,
    fonts_of,
    height_of,
    rewrap,
    width_of,
    wrapped,
)

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
TITLE_SIZE, LEGEND_SIZE, CAPTION_SIZE = 11.0, 8.0, 8.0  # points, of letters of the usual size
PAD_INCHES = 0.06  # around title, legend and caption
MOST_ENTRIES = 4  # of a legend side by side
HANDLE, BETWEEN = 2.8, 2.0  # of a legend: a mark before its text, and columns, in letters' sizes
LABELS_SHARE = 0.4  # of the width, at most, for the names of rows
MARGIN = 0.98  # of the width: viewers that set letters themselves set some a little wider
GAP = 0.05  # inches between labels along an axis
LEAST_PANEL = 0.55  # of its height, that a panel keeps in a figure that is asked to be low
FROM_LEFT = "\N{LEFT-TO-RIGHT MARK}"
LEFT_TITLE = 0.8  # of a panel's place, at most, until it is known how wide the panel is
POINTS = 72  # to an inch
HIGHER = 1.3  # where texts leave a panel no room at all
ROUNDS = 8  # of making room: each gives what the texts of the one before asked for


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
    with lettered(figure) as missing:
        figure.savefig(target, **options)
    return missing


@contextmanager
def lettered(figure: Figure) -> Generator[str]:
    """While a figure is drawn: every letter in a font that has it, and labels as they were typed.

    Parameters
    ----------
    figure : matplotlib.figure.Figure

    Yields
    ------
    str
        Characters that no installed font has; they are drawn as boxes.
    """
    with mpl.rc_context(AS_TYPED), warnings.catch_warnings():  # ticks are first made here
        texts = [text for text in figure.findobj(Text) if not text.get_text().isascii()]
        characters = {
            ord(letter) for text in texts for letter in text.get_text() if letter.isprintable()
        }
        for text in texts:
            text.set_fontfamily(families_of(text.get_text()))
        # Said by what is yielded, once, and not a letter at a time.
        warnings.filterwarnings("ignore", r"Glyph \d+", UserWarning)
        warnings.filterwarnings("ignore", "Matplotlib currently does not support", UserWarning)
        _, missing = fonts_of(frozenset(characters), asked().font)
        yield "".join(map(chr, sorted(missing)))


_CAPTION = "_caption"  # of a figure, where it does not stand in it


def caption_of(figure: Figure) -> str:
    """What stands below a figure, or would.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Of a `Page`.
    """
    return str(figure.__dict__[_CAPTION])


class Page:
    """A figure with a head for title and legend, and a foot for the caption.

    Each has a strip of its own, and every text as many lines as it needs, so that none covers
    another or is cut, however narrow the figure is asked to be (`diagnostics.figures.drawing`).

    Parameters
    ----------
    fit : Fit, or anything of a study
        Whose title it bears.
    width : float
        Inches, where nobody asked for another width.
    heights : sequence of float
        Inches of each strip of panels, at least: names that need several lines get more.
    caption : str
    labels : float
        Share of the width, at most, for the names of rows.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
    strips : list of matplotlib.figure.SubFigure
        For the panels.
    caption : str
        What stands below, or would.
    """

    def __init__(
        self,
        fit: Studied,
        width: float,
        heights: Sequence[float],
        caption: str,
        *,
        labels: float = LABELS_SHARE,
    ) -> None:
        drawing = asked()
        self._labels = labels
        self._heights = [float(height) for height in heights]
        self._size = drawing.scale
        self._title = figure_title(fit) if drawing.caption or fit.study.simulated else ""
        self._entries: tuple[list[Any], list[str]] = ([], [])
        self._across: dict[Axes, Text] = {}
        self.caption = caption
        whole = [1.0, *self._heights, 1.0]
        self.figure = Figure(
            figsize=(drawing.inches(width), sum(whole)), dpi=drawing.dpi, layout="constrained"
        )
        self._grid = self.figure.add_gridspec(len(whole), 1, height_ratios=whole)
        self._parts = [self.figure.add_subfigure(self._grid[k, 0]) for k in range(len(whole))]
        self.strips: list[SubFigure] = self._parts[1:-1]

    def legend(self, *panels: Axes) -> None:
        """Put the legend of panels into the head: each label once."""
        found: dict[str, Any] = {}
        for panel in panels:
            for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
                found.setdefault(label, handle)
        self._entries = list(found.values()), list(found)

    def across(self, panel: Axes, title: str, size: float, above: float) -> None:
        """Give a panel a title that begins at the page's edge and may be as wide as the page.

        Parameters
        ----------
        panel : Axes
        title : str
        size : float
            Of its letters, in points.
        above : float
            Points between panel and title.
        """
        # Its height is reserved by a title of blanks: one that is wider than its panel would take
        # the width of other panels in matplotlib's layout
        panel.set_title(" ", loc="left", fontsize=size, pad=above)
        self._across[panel] = panel.annotate(
            title,
            xy=(PAD_INCHES * POINTS, 1.0),
            xycoords=("subfigure points", "axes fraction"),
            xytext=(0, above),
            textcoords="offset points",
            fontsize=size,
            annotation_clip=False,
            in_layout=False,
        )

    def finished(self) -> Figure:
        """The figure, with room for all of its texts.

        Raises
        ------
        InputError
            If it is asked to be lower than its texts are.
        """
        with mpl.rc_context(STYLE), warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"Glyph \d+", UserWarning)  # said when it is saved
            self._letters()
            above, below = self._head(), self._foot()
            for panel, title in self._across.items():
                rewrap(title, MARGIN * (self.figure.get_figwidth() - 2 * PAD_INCHES))
                lines = title.get_text().count("\n")
                _titles(panel)[1].set_text(" " + "\n " * lines)
            for strip in self.strips:
                self._narrow(strip)
            settled = False
            for _ in range(ROUNDS):
                if not self._laid_out(above, below):
                    self._heights = [HIGHER * height for height in self._heights]
                elif not self._give_room():
                    settled = True
                    break
            if not (settled or self._laid_out(above, below)):
                raise InputError(
                    f"A figure {self.figure.get_figwidth() * MM_PER_INCH:.0f} mm wide has no room "
                    "for its texts.",
                    "Give a larger `width`, or leave it out.",
                )
            self._read_to_the_right()
            height = asked().height
            if height is not None:
                self._in_height(height / MM_PER_INCH, above, below)
        self.figure.__dict__[_CAPTION] = self.caption
        return self.figure

    def widest(self, texts: Iterable[str], size: float) -> float:
        """Inches of the widest of texts, in letters of this size where figures have room.

        Parameters
        ----------
        texts : iterable of str
        size : float
            Points.
        """
        return max((width_of(text, size * self._size) for text in texts), default=0.0)

    def _panels(self) -> list[Axes]:
        return [panel for panel in self.figure.axes if panel.get_visible()]

    def _letters(self) -> None:
        """Give every text the size and the font that are asked for."""
        ticks: set[int] = set()
        for panel in self._panels():
            for name, axis in (("x", panel.xaxis), ("y", panel.yaxis)):
                labels = [tick.label1 for tick in axis.get_major_ticks()]
                if not labels:
                    continue
                size = float(labels[0].get_fontsize()) * self._size
                told = " ".join(label.get_text() for label in labels)
                panel.tick_params(axis=name, labelsize=size)  # type: ignore[arg-type]
                panel.tick_params(axis=name, labelfontfamily=families_of(told))  # type: ignore[arg-type]
                # Among them those that matplotlib keeps for later
                kept = [*axis.majorTicks, *axis.minorTicks]
                ticks |= {id(label) for tick in kept for label in (tick.label1, tick.label2)}
        for text in self.figure.findobj(Text):
            if id(text) not in ticks:
                text.set_fontsize(float(text.get_fontsize()) * self._size)
                text.set_fontfamily(families_of(text.get_text()))

    def _head(self) -> float:
        """Draw title and legend; the inches that they need."""
        room, part = self.figure.get_figwidth() - 2 * PAD_INCHES, self._parts[0]
        large, small = TITLE_SIZE * self._size, LEGEND_SIZE * self._size
        title = wrapped(self._title, MARGIN * room, large, "bold")
        needed = height_of(title, large) + PAD_INCHES if title else 0.0
        handles, labels = self._entries
        if labels:
            columns, labels = _in_columns(labels, room, small)
            legend = part.legend(
                handles,
                labels,
                loc="lower left",
                bbox_to_anchor=(0.0, 0.0),
                ncols=columns,
                columnspacing=BETWEEN,
                borderaxespad=0.2,
                frameon=False,
                fontsize=small,
            )
            for text in legend.get_texts():
                text.set_fontfamily(families_of(text.get_text()))
            drawn = legend.get_window_extent(RendererAgg(1, 1, self.figure.dpi))
            needed += float(drawn.height) / self.figure.dpi + PAD_INCHES
        needed += PAD_INCHES
        if title:
            part.text(
                PAD_INCHES / self.figure.get_figwidth(),
                1 - PAD_INCHES / needed,
                title,
                va="top",
                fontsize=large,
                fontweight="bold",
                fontfamily=families_of(title),
            )
        return needed

    def _foot(self) -> float:
        """Draw the caption; the inches that it needs."""
        if not asked().caption:
            return 0.02
        width, small = self.figure.get_figwidth(), CAPTION_SIZE * self._size
        told = wrapped(self.caption, MARGIN * (width - 2 * PAD_INCHES), small)
        needed = height_of(told, small) + 2 * PAD_INCHES
        self._parts[-1].text(
            PAD_INCHES / width,
            1 - PAD_INCHES / needed,
            told,
            va="top",
            fontsize=small,
            fontfamily=families_of(told),
        )
        return needed

    def _laid_out(self, above: float, below: float) -> bool:
        """Lay the figure out; whether its panels have any room beside their texts."""
        heights = [above, *self._heights, below]
        self._grid.set_height_ratios(heights)
        self.figure.set_figheight(sum(heights))
        engine = self.figure.get_layout_engine()
        assert engine is not None  # it was made with one
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            engine.execute(self.figure)
        return not any("constrained_layout not applied" in str(each.message) for each in told)

    def _narrow(self, strip: SubFigure) -> None:
        """Give names of rows no more of the width than leaves some for what is drawn."""
        for panel in strip.axes:
            # matplotlib makes room for the middle of a title: it must not lie beyond its panel
            cell = self.figure.get_figwidth() / _columns(panel)
            _grown(_titles(panel)[1], LEFT_TITLE * cell)
        named = [
            (panel, labels, shown[0][2])
            for panel in strip.axes
            if panel.get_visible()
            and (labels := _fixed(panel.yaxis)) is not None
            and (shown := _labels(panel, panel.yaxis))
        ]
        room = self._labels * self.figure.get_figwidth()
        room /= max(1, len({_column(panel) for panel, _, _ in named}))
        for panel, labels, size in named:
            panel.yaxis.set_ticklabels([wrapped(label, room, size) for label in labels])

    def _read_to_the_right(self) -> None:
        """Keep the order of words in texts that begin with a script that is read to the left."""
        for panel in self._panels():
            for axis in (panel.xaxis, panel.yaxis):
                labels = _fixed(axis)
                if labels is not None and any(map(_to_the_left, labels)):
                    axis.set_ticklabels([_from_the_left(label) for label in labels])
        for text in self.figure.findobj(Text):
            if _to_the_left(text.get_text()) and not text.get_text().startswith(FROM_LEFT):
                text.set_text(_from_the_left(text.get_text()))

    def _give_room(self) -> bool:
        """Wrap what is wider than its panel, and make strips higher by what that needs."""
        changed = False
        for k, strip in enumerate(self.strips):
            extra: dict[int, float] = {}
            width = self.figure.get_figwidth()
            own = 0.0
            for text in (getattr(strip, "_suptitle", None), getattr(strip, "_supxlabel", None)):
                own += 0.0 if text is None else _grown(text, 0.98 * width)
            for panel in strip.axes:
                if panel.get_visible():
                    row = _row(panel)
                    more, moved = _more(panel, self.figure.dpi)
                    extra[row] = max(extra.get(row, 0.0), more)
                    changed |= moved
            added = own + sum(extra.values())
            if added > 0.005:
                self._heights[k] += added
                changed = True
        return changed

    def _in_height(self, height: float, above: float, below: float) -> None:
        """Share a height that was asked for out to the strips."""
        least = []
        for strip, needed in zip(self.strips, self._heights, strict=True):
            spare: dict[int, float] = {}
            for panel in strip.axes:
                if panel.get_visible():
                    high = panel.bbox.height / self.figure.dpi
                    own = high * (1 - max(LEAST_PANEL, _crowded_rows(panel)))
                    spare[_row(panel)] = min(spare.get(_row(panel), np.inf), own)
            least.append(needed - sum(spare.values()))
        fewest = above + below + sum(least)
        if height < fewest:
            raise InputError(
                f"A figure {height * MM_PER_INCH:.0f} mm high has no room for its texts.",
                f"Give `height={np.ceil(fewest * MM_PER_INCH):.0f}` or more, or leave it out; "
                "`caption=False` leaves title and caption out.",
            )
        over = (height - fewest) / max(1e-9, sum(self._heights) - sum(least))
        self._heights = [
            low + over * (high - low) for low, high in zip(least, self._heights, strict=True)
        ]
        self._laid_out(above, below)


def _in_columns(labels: list[str], room: float, size: float) -> tuple[int, list[str]]:
    """Columns of a legend that fit side by side, and its labels, wrapped where even one is wide."""
    letters = size / 72
    widths = [width_of(label, size) + HANDLE * letters for label in labels]
    for columns in range(min(MOST_ENTRIES, len(labels)), 1, -1):
        parts = np.array_split(np.array(widths), columns)
        needed = sum(float(part.max()) for part in parts) + (columns - 1) * BETWEEN * letters
        if needed <= room:
            return columns, labels
    return 1, [wrapped(label, room - (HANDLE + 1) * letters, size) for label in labels]


def _to_the_left(text: str) -> bool:
    return not text.isascii() and any(bidirectional(letter) in ("R", "AL") for letter in text)


def _from_the_left(text: str) -> str:
    """The text with a mark in each line: A minus B is not to be read as B minus A."""
    return "\n".join(FROM_LEFT + line for line in text.split("\n"))


def _row(panel: Axes) -> int:
    spec = panel.get_subplotspec()
    return 0 if spec is None else spec.rowspan.start


def _columns(panel: Axes) -> int:
    spec = panel.get_subplotspec()
    return 1 if spec is None else spec.get_gridspec().ncols


def _column(panel: Axes) -> int:
    spec = panel.get_subplotspec()
    return 0 if spec is None else spec.colspan.start


def _fixed(axis: Axis) -> list[str] | None:
    """Labels that were given for an axis; None where it has numbers or none."""
    if not isinstance(axis.get_major_locator(), FixedLocator):
        return None
    # matplotlib keeps labels that were given in a function
    if not isinstance(axis.get_major_formatter(), FixedFormatter | FuncFormatter):
        return None
    found = [str(label.get_text()) for label in axis.get_majorticklabels()]
    return found if any(found) else None


def _grown(text: Text, inches: float) -> float:
    """Inches by which a text is higher once it is wrapped to its room."""
    size, before = float(text.get_fontsize()), text.get_text()
    if not rewrap(text, inches):
        return 0.0
    return height_of(text.get_text(), size) - height_of(before, size)


def _titles(panel: Axes) -> tuple[Text, Text, Text]:
    return panel.title, panel._left_title, panel._right_title  # type: ignore[attr-defined]


def _more(panel: Axes, dpi: float) -> tuple[float, bool]:
    """Wrap a panel's texts to its size; inches it must be higher, and whether it got narrower."""
    width, height = panel.bbox.width / dpi, panel.bbox.height / dpi
    more = max(_grown(title, width) for title in _titles(panel))
    more += _grown(panel.xaxis.label, width + 0.1)
    moved = rewrap(panel.yaxis.label, height)
    if _crowded_columns(panel) > 1:
        fixed = _fixed(panel.xaxis)
        if fixed is None:
            many = len(panel.get_xticks())
            panel.xaxis.set_major_locator(MaxNLocator(max(1, many - 3)))
        else:
            panel.tick_params(axis="x", labelrotation=90)
            size = float(panel.xaxis.get_major_ticks()[0].label1.get_fontsize())
            more += max(width_of(label, size) for label in fixed)
        moved = True
    rows = _crowded_rows(panel)
    return more + (height * (rows - 1) if rows > 1 else 0.0), moved


def _crowded_rows(panel: Axes) -> float:
    """How much higher a panel must be for the names of its rows."""
    dots = _dpi(panel)
    return crowded(
        [
            (float(panel.transData.transform((1, place))[1]), (height_of(told, size) + GAP) * dots)
            for place, told, size in _labels(panel, panel.yaxis)
        ]
    )


def _crowded_columns(panel: Axes) -> float:
    """How much wider a panel would have to be for the labels below it."""
    ticks = panel.xaxis.get_major_ticks()
    if ticks and ticks[0].label1.get_rotation():
        return 0.0
    dots = _dpi(panel)
    return crowded(
        [
            (
                float(panel.transData.transform((place, 1))[0]),
                (width_of(told, size) + GAP) * dots,
            )
            for place, told, size in _labels(panel, panel.xaxis)
        ]
    )


def _dpi(panel: Axes) -> float:
    figure = panel.get_figure(root=True)
    assert figure is not None  # it is drawn in one
    return float(figure.dpi)


def _labels(panel: Axes, axis: Axis) -> list[tuple[float, str, float]]:
    """Labels along an axis that are seen: where they stand, and the size of their letters."""
    if not panel.axison:
        return []
    axis.get_majorticklabels()  # matplotlib makes them when they are asked for
    low, high = sorted(axis.get_view_interval())
    return [
        (float(tick.get_loc()), str(tick.label1.get_text()), float(tick.label1.get_fontsize()))
        for tick in axis.get_major_ticks()
        if tick.label1.get_visible() and tick.label1.get_text() and low <= tick.get_loc() <= high
    ]
