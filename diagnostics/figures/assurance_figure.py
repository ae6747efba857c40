"""Figure of a design study: chance of a convincing interaction, and the interval's width."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alliance.diagnostics.figures.figure_page import COLOURS, LINES, STYLE, Page
from alliance.inference.many_fits.planned_trials import AssuranceQuestion

PANEL_WIDTH, LEAST_WIDTH, HEIGHT = 2.6, 7.0, 2.6
MARKERS = "osD^vP"


def assurance_figure(question: AssuranceQuestion, table: pd.DataFrame) -> Figure:
    """Draw chances above and widths below, a column of panels for each size of the interaction.

    Parameters
    ----------
    question : AssuranceQuestion
    table : pandas.DataFrame
        As from `inference.many_fits.assurance.assurance`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    sizes = sorted(table["interaction"].unique())
    width = max(LEAST_WIDTH, PANEL_WIDTH * len(sizes))
    page = Page(question, width, [HEIGHT, HEIGHT], _caption(question, table))
    with mpl.rc_context(STYLE):
        chances = page.strips[0].subplots(1, len(sizes), sharey=True, squeeze=False)[0]
        widths = page.strips[1].subplots(1, len(sizes), sharey=True, squeeze=False)[0]
        for size, above, below in zip(sizes, chances, widths, strict=True):
            own = table[table["interaction"] == size]
            _panel(above, own, "convincing", 2 * own["convincing_error"])
            _panel(below, own, "mean_width", None)
            above.set_title(f"interaction {size:g}" if size else "no interaction", fontsize=9)
            above.set_ylim(-0.02, 1.02)
            below.set_ylim(bottom=0)
            below.set_xlabel("patients", fontsize=8.5)
        chances[0].set_ylabel("share of trials that convince", fontsize=8.5)
        widths[0].set_ylabel("mean width of 95% intervals", fontsize=8.5)
    page.legend(chances[0])
    return page.figure


def _panel(panel: Axes, table: pd.DataFrame, column: str, errors: pd.Series | None) -> None:
    for k, (therapists, own) in enumerate(table.groupby("therapists")):
        panel.errorbar(
            own["patients"],
            own[column],
            None if errors is None else errors[own.index],
            color=COLOURS[k % len(COLOURS)],
            linestyle=LINES[k % len(LINES)],
            marker=MARKERS[k % len(MARKERS)],
            markersize=4,
            capsize=2,
            linewidth=1.2,
            label=f"{therapists} therapists",
        )
    panel.set_xticks(sorted(table["patients"].unique()))
    panel.tick_params(axis="x", labelrotation=45, labelsize=8)


def _caption(question: AssuranceQuestion, table: pd.DataFrame) -> str:
    criterion, assumed = question.criterion, question.assumptions
    return (
        f"Interaction {question.contrast} on {question.spec.outcome}, in residual SDs of the "
        f"outcome for one SD of the alliance; {table['trials'].min()} simulated trials of each "
        "size. A trial convinces if the interaction is beyond "
        f"{criterion.threshold:g} in one direction with a probability of "
        f"{criterion.probability:g} or more; bars are two standard errors. Assumed: alliance slope "
        f"{assumed.alliance_slope:g}, baseline slope {assumed.baseline_slope:g}, therapist SD "
        f"{assumed.therapist_sd:g}, SD of slopes {assumed.therapist_slope_sd:g}, arms of equal "
        f"size, therapists {'in one arm each' if question.nested else 'in all arms'}."
    )
