"""A forest plot: each trial, the average one and a new one."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alliance.diagnostics import words
from alliance.diagnostics.figures.drawing import columns_of
from alliance.diagnostics.figures.figure_page import COLOURS, STYLE, Page
from alliance.inference.runs.fit import Fit
from alliance.inference.trials.views import AVERAGE_TRIAL, NEW_TRIAL

ROW_INCHES, AROUND_INCHES, PANEL_INCHES = 0.22, 1.4, 4.4
MOST_COLUMNS = 2
LEAST_INCHES = 3.0  # width of a panel that has less room
LARGEST_MARK, SMALLEST_MARK = 9.0, 3.0


def trials_figure(fit: Fit, table: pd.DataFrame, *, interval: float) -> Figure:
    """Draw every quantity of the table in a panel of its own.

    Parameters
    ----------
    fit : Fit
    table : pandas.DataFrame
        Rows of `inference.trials.tables.whole_table`, with a column ``patients`` (missing for the
        average and a new trial).
    interval : float

    Returns
    -------
    matplotlib.figure.Figure
    """
    groups = [own for _, own in table.groupby(["outcome", "quantity", "level"], sort=False)]
    most = min(MOST_COLUMNS, len(groups))
    columns = columns_of(most, most * PANEL_INCHES, LEAST_INCHES)
    lines = -(-len(groups) // columns)
    height = lines * (ROW_INCHES * max(map(len, groups)) + AROUND_INCHES)
    caption = (
        f"Posterior means with {words.level_of(interval)} intervals. Trials, drawn towards the "
        "average as far as they tell little, with marks the larger the more patients; below the "
        "line the average trial (diamond) and what a new trial may be like (thin). A dashed line "
        "marks zero."
    )
    page = Page(fit, most * PANEL_INCHES, [height], caption)
    with mpl.rc_context(STYLE):
        panels = page.strips[0].subplots(lines, columns, squeeze=False).ravel()
        for panel, own in zip(panels, groups, strict=False):
            _draw(panel, fit, own)
        for panel in panels[len(groups) :]:
            panel.set_axis_off()
    return page.finished()


def _draw(panel: Axes, fit: Fit, own: pd.DataFrame) -> None:
    apart = own["trial"].isin([AVERAGE_TRIAL, NEW_TRIAL])
    rows = pd.concat([own[~apart], own[apart].sort_values("trial")]).to_dict("records")
    most = max((row["patients"] for row in rows if row["patients"] > 0), default=1)
    for k, row in enumerate(rows):
        new, average = row["trial"] == NEW_TRIAL, row["trial"] == AVERAGE_TRIAL
        colour = COLOURS[1] if new or average else COLOURS[0]
        width = 0.9 if new else 2.4 if average else 1.4
        panel.plot([row["lower"], row["upper"]], [-k, -k], color=colour, linewidth=width)
        size = LARGEST_MARK * (row["patients"] / most) ** 0.5 if row["patients"] > 0 else 6.0
        mark = "D" if average else "|" if new else "s"
        panel.plot(row["mean"], -k, mark, color=colour, markersize=max(size, SMALLEST_MARK))
    panel.axvline(0.0, color="0.4", linestyle="--", linewidth=0.8)
    line = -(len(rows) - int(apart.sum())) + 0.5
    panel.axhline(line, color="0.8", linewidth=0.8)
    panel.set_yticks([-k for k in range(len(rows))], [words.trial(row["trial"]) for row in rows])
    panel.set_ylim(-len(rows) + 0.4, 0.6)
    first = rows[0]
    named = words.quantity_and_level(fit.study, first["quantity"], first["level"])
    title = f"{fit.study.outcomes[first['outcome']].label}: {named}"
    panel.set_title(title, fontsize=9, loc="left")
    panel.set_xlabel(words.unit(fit.study, first["quantity"], outcome=first["outcome"]))
