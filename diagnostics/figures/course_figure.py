"""Courses over time: means of the arms beside those observed, and contrasts, visit by visit."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alliance.diagnostics import words
from alliance.diagnostics.figures.drawing import columns_of
from alliance.diagnostics.figures.figure_page import COLOURS, LINES, STYLE, Page, legend_label
from alliance.inference.answers.assumed_courses import CONTRAST, MEAN, Courses
from alliance.inference.posterior import Posterior
from alliance.inference.runs.fit import Fit

WIDTH, HEIGHT = 8.0, 3.4
LEAST_INCHES = 2.6  # width of a panel that has less room
APART = 0.012  # of the axis, between the arms' marks at one visit
MARKS = ("o", "s", "^", "D", "v", "P", "X")


def course_figure(
    fit: Fit, found: Courses, table: pd.DataFrame, *, interval: float = 0.95
) -> Figure:
    """Draw the arms' means over time, and their contrasts.

    Parameters
    ----------
    fit : Fit
    found : Courses
    table : pandas.DataFrame
        As from `inference.answers.assumed_courses.course_table`.
    interval : float
        Probability of the table's intervals.

    Returns
    -------
    matplotlib.figure.Figure
        Left: adjusted means with intervals, joined by lines; hollow: means of the patients who were
        seen, with their number. Right: contrasts of the arms with intervals. Visits stand at their
        times where the study tells them, else at even distances.
    """
    described = [own.outcome for own in found.posteriors]
    times = [own.visit_time for own in described]
    known = [time for time in times if time is not None]
    even = len(known) < len(times)
    places = np.arange(len(times), dtype=float) if even else np.array(known)
    share = words.level_of(interval)
    caption = (
        f"First: adjusted means with {share} intervals; hollow: means of those seen, with their "
        f"number below. Second: differences of adjusted means; "
        f"{described[0].better} scores are better."
    )
    columns = columns_of(2, WIDTH, LEAST_INCHES)
    page = Page(fit, WIDTH, [HEIGHT * (2 // columns)], caption)
    with mpl.rc_context(STYLE):
        left, right = page.strips[0].subplots(2 // columns, columns, squeeze=False).ravel()
        _means(left, fit, found, table, places)
        _contrasts(right, fit, table, places)
        for panel in (left, right):
            panel.set_xticks(places, [own.visit or "follow-up" for own in described])
            span = np.ptp(places) or 1.0
            panel.set_xlim(places[0] - 0.12 * span, places[-1] + 0.12 * span)
        left.set_title(
            words.headed(fit, found.outcome).partition(" (")[0], loc="left", fontsize=9.5
        )
        right.set_title("difference of the arms", loc="left", fontsize=9.5)
        for panel in (left, right):
            panel.set_ylabel(words.points(described[0]))
        page.legend(left, right)
    return page.finished()


def _means(panel: Axes, fit: Fit, found: Courses, table: pd.DataFrame, places: np.ndarray) -> None:
    span, arms = np.ptp(places) or 1.0, list(fit.study.arms)
    for k, arm in enumerate(arms):
        own = table[(table["quantity"] == MEAN) & (table["level"] == arm)]
        at = places + APART * span * (2 * k - len(arms) + 1)
        colour, line = COLOURS[k % len(COLOURS)], LINES[k % len(LINES)]
        mark = MARKS[k % len(MARKS)]
        panel.errorbar(
            at,
            own["mean"],
            [own["mean"] - own["lower"], own["upper"] - own["mean"]],
            color=colour,
            linestyle=line,
            marker=mark,
            markersize=4,
            label=legend_label(words.level(fit.study, arm)),
        )
        seen = [_observed(own, k) for own in found.posteriors]
        panel.plot(at, [mean for mean, _ in seen], mark, mfc="none", mec=colour, markersize=7)
    low, high = panel.get_ylim()
    step = 0.06 * (high - low)
    for k in range(len(arms)):
        for place, posterior in zip(places, found.posteriors, strict=True):
            panel.text(
                place,
                low - step * (k + 0.5),
                f"{_observed(posterior, k)[1]}",
                color=COLOURS[k % len(COLOURS)],
                ha="center",
                va="center",
                fontsize=7,
            )
    panel.set_ylim(low - step * (len(arms) + 0.5), high)


def _observed(posterior: Posterior, arm: int) -> tuple[float, int]:
    """Mean score of the patients of an arm who were seen, and their number."""
    own = posterior.scores[posterior.rows.arm_index == arm]
    return (float(own.mean()) if len(own) else np.nan), len(own)


def _contrasts(panel: Axes, fit: Fit, table: pd.DataFrame, places: np.ndarray) -> None:
    shown = table[table["quantity"] == CONTRAST]
    levels = list(dict.fromkeys(shown["level"]))
    span = np.ptp(places) or 1.0
    panel.axhline(0, color="0.6", linewidth=0.8)
    for k, level in enumerate(levels):
        own = shown[shown["level"] == level]
        at = places + APART * span * (2 * k - len(levels) + 1)
        panel.errorbar(
            at,
            own["mean"],
            [own["mean"] - own["lower"], own["upper"] - own["mean"]],
            color="black" if len(levels) == 1 else COLOURS[(k + 3) % len(COLOURS)],
            linestyle=LINES[k % len(LINES)],
            marker=MARKS[k % len(MARKS)],
            markersize=4,
            label=legend_label(words.level(fit.study, level)),
        )
