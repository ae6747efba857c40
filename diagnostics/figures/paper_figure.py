"""Posteriors of a paper's findings under named priors, side by side."""

from __future__ import annotations

import math
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alliance.data_prep.errors import InputError
from alliance.diagnostics import words
from alliance.diagnostics.figures.drawing import columns_of
from alliance.diagnostics.figures.figure_page import COLOURS, STYLE, Page
from alliance.inference.paper.paper import Paper

MARKS = ("o", "s", "^", "D", "v")
ROW_INCHES, AROUND_INCHES, PANEL_INCHES = 0.22, 0.9, 4.6
LEAST_INCHES = 2.6  # width of a panel that has less room


def paper_figure(paper: Paper) -> Figure:
    """Draw each finding under each prior, each outcome on its own scale.

    Parameters
    ----------
    paper : Paper

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the paper has no number that could be drawn.
    """
    table = paper.posteriors
    if table.empty:
        raise InputError(
            "No printed number has a standard error: there is nothing to draw.",
            "Add what the paper prints: an interval, se, t or p.",
        )
    groups = [own for _, own in table.groupby("finding", sort=False)]
    most = min(2, len(groups))
    columns = columns_of(most, most * PANEL_INCHES, LEAST_INCHES)
    lines = -(-len(groups) // columns)
    tallest = max(map(len, groups))
    height = lines * (ROW_INCHES * tallest + AROUND_INCHES)
    share = words.level_of(paper.asked.interval)
    caption = (
        "Published numbers, not simulated. Posterior of each printed finding by prior, with "
        f"{share} intervals; a dashed line marks no effect, grey what a sceptic's limit spans."
    )
    page = Page(paper, most * PANEL_INCHES, [height], caption)
    with mpl.rc_context(STYLE):
        panels = page.strips[0].subplots(lines, columns, squeeze=False).ravel()
        for panel, own in zip(panels, groups, strict=False):
            _draw(panel, paper, own.to_dict("records"))
        for panel in panels[len(groups) :]:
            panel.set_axis_off()
    return page.finished()


def _draw(panel: Axes, paper: Paper, rows: list[dict[Any, Any]]) -> None:
    first = rows[0]
    _, estimate = paper.estimates[first["finding"]]
    limits = paper.credibility.set_index("finding")["sceptical_limit"]
    limit, none = float(limits[first["finding"]]), estimate.shown(0.0)
    if not math.isnan(limit):
        low = 1 / limit if estimate.ratio else -limit
        panel.axvspan(low, limit, color="0.9", linewidth=0)
    panel.axvline(none, color="0.4", linestyle="--", linewidth=0.8)
    for k, row in enumerate(rows):
        colour, mark = COLOURS[k % len(COLOURS)], MARKS[k % len(MARKS)]
        panel.plot([row["lower"], row["upper"]], [-k, -k], color=colour)
        panel.plot(row["mean"], -k, mark, color=colour)
    panel.set_yticks([-k for k in range(len(rows))], [row["prior"] for row in rows])
    panel.set_ylim(-len(rows) + 0.4, 0.6)
    if estimate.ratio:
        panel.set_xscale("log")
    level = words.level(paper.printed, first["level"])
    trial = f", {first['trial']}" if first["trial"] else ""
    named = f"{paper.printed.label(first['outcome'])}: {level or words.plain(first['quantity'])}"
    panel.set_title(named + trial, fontsize=9, loc="left")
