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
    found = []
    for text in figure.findobj(Text):
        told = text.get_text().strip()
        if not told or not _seen(text):
            continue
        # Of an annotation the words alone: its arrow may cross what it points at
        box = Text.get_window_extent(text, renderer)
        if box.width > 0 and box.height > 0:
            found.append((told, box))
    return found


def _seen(text: Text) -> bool:
    if not text.get_visible():
        return False
    panel = text.axes
    if panel is None:
        return True
    if not panel.get_visible():
        return False
    for axis in (panel.xaxis, panel.yaxis):
        low, high = sorted(axis.get_view_interval())
        margin = 1e-9 * (high - low)
        drawn = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        for tick in [*axis.majorTicks, *axis.minorTicks]:
            if text in (tick.label1, tick.label2):
                inside = low - margin <= tick.get_loc() <= high + margin
                return panel.axison and inside and tick in drawn
        if text is axis.label or text is axis.offsetText:
            return panel.axison
    return True


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
