"""Boxes of a figure's texts, as they are drawn: inside the page, and none over another."""

from __future__ import annotations

from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

SLACK = 1.5  # dots: a box is taller than its letters


def boxes(figure: Figure) -> list[tuple[str, Bbox]]:
    """Every text that is seen, with its box in dots."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    hidden, found = _hidden(figure), []
    for text in figure.findobj(Text):
        told = text.get_text().strip()
        if not told or not text.get_visible() or id(text) in hidden:
            continue
        # Of an annotation the words alone: its arrow may cross what it points at
        box = Text.get_window_extent(text, renderer)
        if box.width > 0 and box.height > 0:
            found.append((told, box))
    return found


def _hidden(figure: Figure) -> set[int]:
    """Texts that matplotlib keeps and does not draw: ticks beyond the panel, axes that are off."""
    found = set()
    for panel in figure.axes:
        if not panel.get_visible():
            found |= {id(text) for text in panel.findobj(Text)}
        for axis in (panel.xaxis, panel.yaxis):
            low, high = sorted(axis.get_view_interval())
            margin = 1e-9 * (high - low)
            drawn = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            for tick in [*axis.majorTicks, *axis.minorTicks]:
                inside = low - margin <= tick.get_loc() <= high + margin
                if not (panel.axison and inside and tick in drawn):
                    found |= {id(tick.label1), id(tick.label2)}
            if not panel.axison:
                found |= {id(axis.label), id(axis.offsetText)}
    return found


def troubles(figure: Figure) -> list[str]:
    """What leaves the page, and what covers what; empty where all is well."""
    found = boxes(figure)
    width, height = figure.bbox.width, figure.bbox.height
    told = [
        f"{text!r} leaves the page"
        for text, box in found
        if box.x0 < -SLACK or box.y0 < -SLACK or box.x1 > width + SLACK or box.y1 > height + SLACK
    ]
    for (one, first), (other, second) in combinations(found, 2):
        across = min(first.x1, second.x1) - max(first.x0, second.x0)
        along = min(first.y1, second.y1) - max(first.y0, second.y0)
        if across > SLACK and along > SLACK:
            told.append(f"{one!r} covers {other!r}")
    return told
