"""A forest plot: published, refitted and posterior estimates of every outcome, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from data_prep.errors import InputError
from data_prep.levels import AVERAGE
from diagnostics.figure_page import save
from inference.fit import Fit

# Okabe and Ito's colours, told apart by colour-blind readers; shapes say the same again.
SOURCES = {
    "published": ("Published", "#000000", "D"),
    "ols": ("OLS", "#E69F00", "s"),
    "reml": ("REML", "#009E73", "^"),
    "posterior": ("Posterior", "#0072B2", "o"),
}
SHOWN = ("moderator_slope", "arm_contrast", "interaction")
SLOPES = ("moderator_slope", "interaction")
FORMATS = (".png", ".svg", ".pdf")
SPREAD = 0.17  # vertical distance between the sources of one row
ROW_INCHES, PANEL_INCHES = 0.42, 4.6


def comparison_figure(fit: Fit, table: pd.DataFrame, *, interval: float = 0.95) -> Figure:
    """Draw slopes, contrasts and interactions of every outcome, each outcome on its own scale.

    Parameters
    ----------
    fit : Fit
    table : pandas.DataFrame
        As from `inference.comparison.compare`.
    interval : float
        Probability of the table's intervals, for the caption.

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
    most = max(len(part) for _, part in table.groupby("outcome"))
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        height = lines * (most * ROW_INCHES + 1.1) + 0.9
        figure = Figure(figsize=(columns * PANEL_INCHES + 1.2, height), layout="constrained")
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        for panel, outcome in zip(panels, outcomes, strict=False):
            _draw(panel, fit, outcome, table[table["outcome"] == outcome].to_dict("records"))
        for panel in panels[len(outcomes) :]:
            panel.set_axis_off()
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False)
        figure.suptitle(_title(fit), x=0.01, ha="left", fontsize=11, fontweight="bold")
        figure.supxlabel(_caption(fit, interval), x=0.01, ha="left", fontsize=8)
    return figure


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


def save_figure(figure: Figure, path: Path) -> str:
    """Write a figure as PNG, SVG or PDF.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : Path
        The ending says the format.

    Returns
    -------
    str
        Characters of its texts that no installed font has.

    Raises
    ------
    InputError
        If the ending is another one, or the file cannot be written.
    """
    require_figure(path)
    try:
        return save(figure, path, dpi=150)
    except OSError as error:
        raise InputError(
            f"The figure {str(path)!r} cannot be written: {error.strerror}.", "Name another place."
        ) from error


def _draw(panel: Axes, fit: Fit, outcome: str, rows: Sequence[dict[Any, Any]]) -> None:
    moderator_sd = fit.design(outcome).scaling.moderator[1]
    present = [name for name in SOURCES if f"{name}_estimate" in rows[0]]
    for name in present:
        label, colour, marker = SOURCES[name]
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
    analysed = dict(zip(fit.flow["outcome"], fit.flow["analysed"], strict=True))[outcome]
    panel.set_title(f"{described.label} (n = {analysed})", loc="left", fontsize=9.5)


def _row_label(fit: Fit, row: dict[Any, Any]) -> str:
    if row["quantity"] == "moderator_slope":
        return f"{fit.study.moderator.name} slope"
    if row["quantity"] == "interaction":
        return f"{fit.study.moderator.name} × {row['level']}"
    return str(row["level"])


def _title(fit: Fit) -> str:
    return "SIMULATED DATA" if fit.study.simulated else fit.study.title


def _caption(fit: Fit, interval: float) -> str:
    return (
        f"Estimates and {100 * interval:g}% intervals (published: as printed). "
        f"Slopes and interactions for one SD of the {fit.study.moderator.name}; "
        "contrasts, later arm minus earlier, at its mean."
    )
