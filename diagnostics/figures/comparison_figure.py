"""A forest plot: published, refitted and posterior estimates of every outcome, side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alliance.data_prep.errors import InputError
from alliance.data_prep.files import AnyPath, as_path
from alliance.data_prep.levels import AVERAGE
from alliance.diagnostics import words
from alliance.diagnostics.figures.figure_page import STYLE, Page, save
from alliance.inference.estimands.compared_at import comparison_places
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.whole_files import FIGURE, require_output, write_whole

# Okabe and Ito's colours, told apart by colour-blind readers; shapes say the same again.
SOURCES = {
    "published": ("#000000", "D"),
    "ols": ("#E69F00", "s"),
    "ols_robust": ("#CC79A7", "v"),
    "reml": ("#009E73", "^"),
    "posterior": ("#0072B2", "o"),
}
SHOWN = ("moderator_slope", "arm_contrast", "interaction")
SLOPES = ("moderator_slope", "interaction")
FORMATS = (".png", ".svg", ".pdf")
_MARKED = {"png": "Description", "svg": "Description", "pdf": "Subject"}  # what bears the mark
SPREAD = 0.17  # vertical distance between the sources of one row
ROW_INCHES, AROUND_INCHES, PANEL_INCHES = 0.42, 0.8, 4.6
LABEL_CHARACTERS = 28  # of a line of a row's name


def comparison_figure(
    fit: Fit, table: pd.DataFrame, *, interval: float = 0.95, at: float | None = None
) -> Figure:
    """Draw slopes, contrasts and interactions of every outcome, each outcome on its own scale.

    Parameters
    ----------
    fit : Fit
    table : pandas.DataFrame
        As from `inference.published.comparison.compare`.
    interval : float
        Probability of the table's intervals, for the caption.
    at : float, optional
        The alliance that was named for the table, for the caption.

    Returns
    -------
    matplotlib.figure.Figure
        One panel for each outcome. Slopes and interactions are shown for one SD of the moderator,
        so that they share the axis of the contrasts: points of the outcome.
    """
    table = table.rename(columns={"posterior_mean": "posterior_estimate"})
    overall = (table["quantity"] != "moderator_slope") | (table["level"] == AVERAGE)
    table = table[table["quantity"].isin(SHOWN) & overall]
    outcomes = fit.outcomes
    columns = min(2, len(outcomes))
    lines = -(-len(outcomes) // columns)
    tallest = max(
        sum(1 + _row_label(fit, row).count("\n") / 2 for row in part.to_dict("records"))
        for _, part in table.groupby("outcome")
    )
    height = lines * (tallest * ROW_INCHES + AROUND_INCHES)
    page = Page(fit, columns * PANEL_INCHES + 1.2, [height], _caption(fit, interval, at))
    with mpl.rc_context(STYLE):
        panels = page.strips[0].subplots(lines, columns, squeeze=False).ravel()
        for panel, outcome in zip(panels, outcomes, strict=False):
            _draw(panel, fit, outcome, table[table["outcome"] == outcome].to_dict("records"))
        for panel in panels[len(outcomes) :]:
            panel.set_axis_off()
        page.legend(panels[0])
    return page.figure


def require_figure(path: Path) -> None:
    """Refuse a place for a figure by its ending, before hours of work for it.

    Raises
    ------
    InputError
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(
            f"{path.name!r} does not end in a figure's format.", f"Use {', '.join(FORMATS)}."
        )


def save_figure(figure: Figure, path: AnyPath, *, overwrite: bool = False) -> str:
    """Write a figure as PNG, SVG or PDF.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : str or path-like
        The ending says the format. An earlier figure of alliance there is replaced.
    overwrite : bool
        Whether another file is, too; what may be data or is part of a run never is.

    Returns
    -------
    str
        Characters of its texts that no installed font has.

    Raises
    ------
    InputError
        If the ending is another one, or the file cannot be written.
    """
    path = as_path(path)
    require_figure(path)
    require_output(path, FIGURE, overwrite=overwrite)
    ending, drawn = path.suffix.lower().removeprefix("."), BytesIO()
    marked = {_MARKED[ending]: FIGURE.mark}
    missing = save(figure, drawn, dpi=150, format=ending, metadata=marked)
    write_whole(path, drawn.getvalue())
    return missing


def _draw(panel: Axes, fit: Fit, outcome: str, rows: Sequence[dict[Any, Any]]) -> None:
    moderator_sd = fit.design(outcome).scaling.moderator[1]
    present = [name for name in SOURCES if f"{name}_estimate" in rows[0]]
    for name in present:
        label, (colour, marker) = words.SOURCES[name], SOURCES[name]
        shift = (present.index(name) - (len(present) - 1) / 2) * SPREAD
        drawn = False
        for position, row in enumerate(rows):
            unit = moderator_sd if row["quantity"] in SLOPES else 1.0
            estimate, lower, upper = (
                unit * row[f"{name}_{part}"] for part in ("estimate", "lower", "upper")
            )
            if pd.isna(estimate):
                continue
            limits = None if pd.isna(lower) else [[estimate - lower], [upper - estimate]]
            panel.errorbar(
                estimate,
                position + shift,
                xerr=limits,
                color=colour,
                marker=marker,
                markersize=4.5,
                linewidth=1.4,
                label="" if drawn else label,
            )
            drawn = True
        if not drawn:  # a source without a number here still has its place in the legend
            panel.errorbar([], [], color=colour, marker=marker, markersize=4.5, label=label)
    panel.axvline(0, color="0.6", linewidth=0.8, zorder=0)
    panel.set_yticks(range(len(rows)), [_row_label(fit, row) for row in rows])
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.grid(axis="y", color="0.93")
    panel.set_axisbelow(True)
    described = fit.study.outcomes[outcome]
    low, high = described.range
    better = "right" if described.better == "higher" else "left"
    panel.set_xlabel(f"points of {low:g} to {high:g}; better to the {better}")
    title = words.with_patients(fit.study, outcome, words.patients(fit, outcome))
    panel.set_title(title, loc="left", fontsize=9.5)


def _row_label(fit: Fit, row: dict[Any, Any]) -> str:
    """A row's name, over several lines where it is long: the panel keeps its room."""
    name, told = fit.study.moderator.name, words.level(fit.study, row["level"])
    if row["quantity"] == "moderator_slope":
        told = f"{name} slope"
    elif row["quantity"] == "interaction":
        told = f"{name} × {told}"
    return textwrap.fill(told, LABEL_CHARACTERS)


def _caption(fit: Fit, interval: float, at: float | None) -> str:
    return (
        f"Estimates and {words.level_of(interval)} intervals (published: as printed). "
        f"Slopes and interactions for one SD of the {fit.study.moderator.name}; "
        f"contrasts, later arm minus earlier. {' '.join(comparison_places(fit, at))}"
    )
