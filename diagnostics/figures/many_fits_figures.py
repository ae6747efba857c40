"""Figure of a multiverse: the specification curve of each quantity, with the choices below it.

Figure of a calibration: where true values lie in their posteriors, for every quantity.

Figure of a design study: chance of a convincing interaction, and the interval's width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alliance.data_prep.study.description import Study
from alliance.diagnostics import words
from alliance.diagnostics.figures.drawing import columns_of
from alliance.diagnostics.figures.figure_page import COLOURS, LINES, STYLE, Page, legend_label
from alliance.diagnostics.multiverse import USABLE, compared_places
from alliance.inference.many_fits.assurance import AssuranceQuestion
from alliance.inference.many_fits.calibration import BAND
from alliance.inference.many_fits.multiverse import Multiverse, own_universe

if TYPE_CHECKING:
    from alliance.inference.many_fits.calibration_runs import StudyCalibration


LABEL_INCHES, LEAST_INCHES, EACH_INCHES = 1.6, 8.0, 5.0
LEAST_CURVE_INCHES = 3.2  # width of a curve that has less room
CURVE_INCHES, ROW_INCHES = 1.9, 0.155
USED, UNUSED, OWN = COLOURS[0], COLOURS[5], COLOURS[6]


def multiverse_figure(
    multiverse: Multiverse,
    curves: Sequence[pd.DataFrame],
    interval: float,
    at: float | None = None,
) -> Figure:
    """Draw a strip for each quantity, a column for each outcome: intervals, and what was chosen.

    Parameters
    ----------
    multiverse : Multiverse
    curves : sequence of pandas.DataFrame
        As from `diagnostics.multiverse.curves_of`.
    interval : float
        Probability of the intervals.
    at : float, optional
        The alliance that was named for the contrasts of arms.

    Returns
    -------
    matplotlib.figure.Figure
    """
    options = _options(multiverse, curves)
    by_quantity: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for curve in curves:
        key = curve["quantity"].iloc[0], curve["level"].iloc[0]
        by_quantity.setdefault(key, []).append(curve)
    most = max(map(len, by_quantity.values()))
    width = LABEL_INCHES + max(LEAST_INCHES, EACH_INCHES * most)
    columns = columns_of(most, width, LEAST_CURVE_INCHES)
    strips = [
        own[first : first + columns]
        for own in by_quantity.values()
        for first in range(0, len(own), columns)
    ]
    rows = sum(len(values) for values in options.values()) + len(options)
    below = ROW_INCHES * rows + 0.2
    together = pd.concat([curve["at"] for curve in curves])
    places = compared_places(together, multiverse.study, at)
    caption = f"{_caption(interval)} {places}"
    page = Page(multiverse, width, [CURVE_INCHES + below] * len(strips), caption)
    with mpl.rc_context(STYLE):
        for strip, own in zip(page.strips, strips, strict=True):
            panels = strip.subplots(
                2, columns, sharex="col", height_ratios=[CURVE_INCHES, below], squeeze=False
            )
            for k, curve in enumerate(own):
                _curve(panels[0, k], multiverse, curve)
                _choices(panels[1, k], multiverse, curve, options, named=k == 0)
            for panel in panels[:, len(own) :].flat:
                panel.set_visible(False)
    page.legend(page.strips[0].axes[0], *[strip.axes[0] for strip in page.strips])
    return page.finished()


def _options(multiverse: Multiverse, curves: Sequence[pd.DataFrame]) -> dict[str, list[str]]:
    together = pd.concat(curves)
    return {
        choice: [str(value) for value in sorted(together[choice].unique(), key=_order)]
        for choice in multiverse.varied
    }


def _order(value: object) -> tuple[float, str]:
    return (value, "") if isinstance(value, float) else (0.0, str(value))


def _curve(panel: Axes, multiverse: Multiverse, curve: pd.DataFrame) -> None:
    first = curve.iloc[0]
    described = multiverse.study.outcomes[first["outcome"]]
    name = words.quantity_and_level(multiverse.study, first["quantity"], first["level"])
    usable = curve["verdict"].isin(USABLE).to_numpy()
    places = np.arange(len(curve))
    for kept, colour, marker, label in (
        (usable, USED, "o", "draws passed the gate"),
        (~usable, UNUSED, "x", "draws failed the gate: do not use"),
    ):
        own = curve[kept]
        panel.vlines(places[kept], own["lower"], own["upper"], color=colour, alpha=0.45, lw=1.1)
        panel.plot(places[kept], own["mean"], marker, color=colour, ms=3, label=label)
    panel.axhline(0, color="0.4", linewidth=0.8, linestyle="--")
    for place in np.flatnonzero(_own(multiverse, curve)):
        panel.axvspan(place - 0.5, place + 0.5, color="0.88", linewidth=0, zorder=0)
        panel.plot(
            place,
            curve["mean"].iloc[place],
            "D",
            mfc="none",
            mec=OWN,
            ms=7,
            label="as the study file asks",
        )
    panel.set_title(f"{described.label}: {name}", loc="left", fontsize=9.5)
    unit = words.unit(multiverse.study, first["quantity"], outcome=first["outcome"])
    panel.set_ylabel(unit, fontsize=8.5)
    panel.tick_params(labelbottom=False, bottom=False)


def _own(multiverse: Multiverse, curve: pd.DataFrame) -> np.ndarray:
    """Which of the analyses is the one that the study file asks for."""
    own = own_universe(multiverse.study, str(curve["outcome"].iloc[0]))
    same = np.ones(len(curve), dtype=bool)
    for choice in multiverse.varied:
        same &= (curve[choice].astype(str) == str(getattr(own, choice))).to_numpy()
    return same


def _choices(
    panel: Axes,
    multiverse: Multiverse,
    curve: pd.DataFrame,
    options: dict[str, list[str]],
    *,
    named: bool,
) -> None:
    for place in np.flatnonzero(_own(multiverse, curve)):
        panel.axvspan(place - 0.5, place + 0.5, color="0.88", linewidth=0, zorder=0)
    labels, height = [], 0.0
    for choice, values in options.items():
        labels.append((height, words.plain(choice), "bold"))
        height += 1
        for value in values:
            chosen = curve[choice].astype(str) == value
            panel.plot(
                np.flatnonzero(chosen), np.full(int(chosen.sum()), height), "|", color="0.15", ms=5
            )
            labels.append((height, words.plain(value), "normal"))
            height += 1
    texts = [text if named else "" for _, text, _ in labels]
    panel.set_yticks([at for at, _, _ in labels], texts, fontsize=7)
    for tick, (_, _, weight) in zip(panel.get_yticklabels(), labels, strict=True):
        tick.set_fontweight(weight)
    panel.set_ylim(height - 0.3, -0.7)
    panel.tick_params(left=False, bottom=False, labelbottom=False)
    panel.spines[["left", "bottom"]].set_visible(False)
    panel.set_xlim(-1, len(curve))


def _caption(interval: float) -> str:
    return (
        "Each column is one analysis: its posterior mean with the "
        f"{words.level_of(interval)} interval, and marks below that say what was chosen. Slopes "
        "and interactions are for one point of the alliance. The analyses share the patients, so "
        "that their agreement is no further evidence; what moves along with a choice hangs on it."
    )


WIDTH, RANK_ROW_INCHES, COLUMNS = 9.6, 2.0, 4
LEAST_RANK_INCHES = 1.8  # width of a panel that has less room


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
    columns = columns_of(COLUMNS, WIDTH, LEAST_RANK_INCHES)
    rows = -(-len(labels) // columns)
    page = Page(_Of(study), WIDTH, [RANK_ROW_INCHES * rows], _rank_caption(study, found))
    with mpl.rc_context(STYLE):
        panels = page.strips[0].subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for panel, (quantity, level) in zip(panels.flat, labels, strict=False):
            _panel(panel, study, found, quantity, level)
        for panel in panels.flat[len(labels) :]:
            panel.set_visible(False)
        for panel in panels[:, 0]:
            panel.set_ylabel("share of trials, less even", fontsize=8)
        shown = range(min(columns, len(labels)))
        last = [panels[(len(labels) - 1 - column) // columns, column] for column in shown]
        for panel in last:
            panel.set_xlabel("share of posterior below truth", fontsize=8)
            panel.tick_params(labelbottom=True)
    page.legend(panels.flat[0])
    return page.finished()


def _panel(panel: Axes, study: Study, found: StudyCalibration, quantity: str, level: str) -> None:
    panel.set_title(words.quantity_and_level(study, quantity, level), fontsize=8.5)
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
            label=legend_label(words.label(study, outcome)),
        )
    panel.set_xlim(0, 1)
    panel.set_xticks(np.linspace(0, 1, 3), ["0", "0.5", "1"])


def _rank_caption(study: Study, found: StudyCalibration) -> str:
    trials = ", ".join(
        f"{words.label(study, name)} {len(own.pit)}" for name, own in found.outcomes.items()
    )
    return (
        f"Simulated trials: {trials}. True values are drawn from the priors. A line above zero "
        "says that they lie low in their posteriors too often, one below that they lie high; "
        "above on the left and below on the right that posteriors are too narrow, the reverse "
        "too wide."
    )


PANEL_WIDTH, LEAST_WIDTH, HEIGHT = 2.6, 7.0, 2.6
LEAST_ASSURANCE_INCHES = 2.0  # width of a panel that has less room
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
    columns = columns_of(len(sizes), width, LEAST_ASSURANCE_INCHES)
    lines = -(-len(sizes) // columns)
    heights = [HEIGHT * lines] * 2
    page = Page(question, width, heights, _assurance_caption(question, table))
    with mpl.rc_context(STYLE):
        grids = [
            strip.subplots(lines, columns, sharey=True, squeeze=False) for strip in page.strips
        ]
        chances, widths = (grid.ravel()[: len(sizes)] for grid in grids)
        for grid in grids:
            for panel in grid.ravel()[len(sizes) :]:
                panel.set_axis_off()
        for size, above, below in zip(sizes, chances, widths, strict=True):
            own = table[table["interaction"] == size]
            _assurance_panel(above, own, "convincing", 2 * own["convincing_error"])
            _assurance_panel(below, own, "mean_width", None)
            above.set_title(f"interaction {size:g}" if size else "no interaction", fontsize=9)
            above.set_ylim(-0.02, 1.02)
            below.set_ylim(bottom=0)
            below.set_xlabel("patients", fontsize=8.5)
        for above, below in zip(*(grid[:, 0] for grid in grids), strict=True):
            above.set_ylabel("share of trials that convince", fontsize=8.5)
            below.set_ylabel("mean width of 95% intervals", fontsize=8.5)
    page.legend(chances[0])
    return page.finished()


def _assurance_panel(
    panel: Axes, table: pd.DataFrame, column: str, errors: pd.Series | None
) -> None:
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
    sizes = sorted(table["patients"].unique())
    panel.set_xticks(sizes, [f"{size:g}" for size in sizes], fontsize=8)


def _assurance_caption(question: AssuranceQuestion, table: pd.DataFrame) -> str:
    criterion, assumed = question.criterion, question.assumptions
    contrast = words.level(question.study, question.contrast)
    label = words.label(question.study, question.spec.outcome)
    return (
        f"Interaction {contrast} on {label}, in residual SDs of the "
        f"outcome for one SD of the alliance; {table['trials'].min()} simulated trials of each "
        "size. A trial convinces if the interaction is beyond "
        f"{criterion.threshold:g} in one direction with a probability of "
        f"{criterion.probability:g} or more; bars are two standard errors. Assumed: alliance slope "
        f"{assumed.alliance_slope:g}, baseline slope {assumed.baseline_slope:g}, therapist SD "
        f"{assumed.therapist_sd:g}, SD of slopes {assumed.therapist_slope_sd:g}, "
        f"{words.assumed_clinics(question.study, assumed.clinic_sd)}"
        f"{words.assumed_visits(question.study, assumed.visit_correlation, assumed.leaving)}"
        f"arms of equal size, {words.treating(question.study, nested=question.nested)}."
    )
