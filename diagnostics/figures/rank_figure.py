"""Figure of a calibration: where true values lie in their posteriors, for every quantity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alliance.data_prep.study.description import Study
from alliance.diagnostics.figures.figure_page import COLOURS, LINES, STYLE, Page, legend_label
from alliance.inference.many_fits.calibration import BAND

if TYPE_CHECKING:
    from alliance.inference.many_fits.calibration_runs import StudyCalibration

WIDTH, ROW_INCHES, COLUMNS = 9.6, 2.0, 4


class _Of:
    """A study without a fit, for the page's title."""

    def __init__(self, study: Study) -> None:
        self.study = study


def rank_figure(study: Study, found: StudyCalibration) -> Figure:
    """Draw the distribution of every quantity's ranks, less that of even ones.

    Parameters
    ----------
    study : Study
    found : StudyCalibration

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each quantity, a line for each outcome; the band is that of even ranks.
    """
    labels = list(dict.fromkeys(label for own in found.outcomes.values() for label in own.labels))
    rows = -(-len(labels) // COLUMNS)
    page = Page(_Of(study), WIDTH, [ROW_INCHES * rows], _caption(found))
    with mpl.rc_context(STYLE):
        panels = page.strips[0].subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False)
        for panel, (quantity, level) in zip(panels.flat, labels, strict=False):
            _panel(panel, found, quantity, level)
        for panel in panels.flat[len(labels) :]:
            panel.set_visible(False)
        for panel in panels[:, 0]:
            panel.set_ylabel("share of trials,\nless even", fontsize=8)
        last = [panels[(len(labels) - 1 - column) // COLUMNS, column] for column in range(COLUMNS)]
        for panel in last:
            panel.set_xlabel("share of posterior below truth", fontsize=8)
            panel.tick_params(labelbottom=True)
    page.legend(panels.flat[0])
    return page.figure


def _panel(panel: Axes, found: StudyCalibration, quantity: str, level: str) -> None:
    words = quantity.replace("_", " ")
    panel.set_title(f"{words}, {level}" if level else words, fontsize=8.5)
    banded = False
    for k, (outcome, own) in enumerate(found.outcomes.items()):
        if (quantity, level) not in own.labels:
            continue
        curve = own.curve(quantity, level)
        even = curve["pit"]
        if not banded:
            panel.fill_between(
                even,
                curve["lower"] - even,
                curve["upper"] - even,
                color="0.85",
                label=f"{100 * BAND:.0f}% of even ranks, everywhere at once",
            )
            panel.axhline(0, color="0.6", linewidth=0.8)
            banded = True
        panel.plot(
            even,
            curve["share"] - even,
            color=COLOURS[k % len(COLOURS)],
            linestyle=LINES[k % len(LINES)],
            linewidth=1.3,
            drawstyle="steps-post",
            label=legend_label(outcome),
        )
    panel.set_xlim(0, 1)
    panel.set_xticks(np.linspace(0, 1, 3), ["0", "0.5", "1"])


def _caption(found: StudyCalibration) -> str:
    trials = ", ".join(f"{name} {len(own.pit)}" for name, own in found.outcomes.items())
    return (
        f"Simulated trials: {trials}. True values are drawn from the priors. A line above zero "
        "says that they lie low in their posteriors too often, one below that they lie high; "
        "above on the left and below on the right that posteriors are too narrow, the reverse "
        "too wide."
    )
