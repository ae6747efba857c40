"""Figures of leave-one-out: Pareto k, calibration of single outcomes, differences of elpd."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from alliance.diagnostics import words
from alliance.diagnostics.checks.loo_checks import LooCheck
from alliance.diagnostics.figures.drawing import columns_of
from alliance.diagnostics.figures.figure_page import COLOURS, STYLE, Page
from alliance.inference.leaving_out.leave_one_out import BAND, LeaveOneOut, LooPit
from alliance.inference.leaving_out.leave_one_out_comparison import (
    CLEAR,
    FEW_UNITS,
    SMALL_DIFFERENCE,
    LooComparison,
)
from alliance.inference.runs.fit import Fit

FINE, HIGH = COLOURS[0], COLOURS[5]
ROW_INCHES, AROUND_INCHES = 0.3, 1.1  # for each fit of a comparison, and for title and axis
LEAST_INCHES = 2.4  # width of a panel that has less room
MOST_NAMED = 40  # with more therapists, their names would cover one another


def loo_figure(fit: Fit, checks: Sequence[LooCheck]) -> Figure:
    """Draw every patient's Pareto k, and the calibration of their outcomes.

    Parameters
    ----------
    fit : Fit
    checks : sequence of LooCheck

    Returns
    -------
    matplotlib.figure.Figure
        One strip for each outcome, with two panels.
    """
    caption = (
        "First: Pareto k of leaving out each patient; over the dashed line importance sampling is "
        "not reliable. Second: share of patients whose score lies at or below that share of its "
        "leave-one-out predictive distribution, minus what a calibrated fit has; calibrated fits "
        f"stay within the band everywhere with {100 * BAND:g}% probability."
    )
    columns = columns_of(2, 9.2, LEAST_INCHES)
    page = Page(fit, 9.2, [2.9 * (2 // columns)] * len(checks), caption)
    with mpl.rc_context(STYLE):
        for part, check in zip(page.strips, checks, strict=True):
            left, right = _panels(part, fit, check.left_out, (2 // columns, columns))
            _pareto_k(left, check.left_out)
            _calibration(right, check.pit)
        page.legend(page.strips[0].axes[0])
    return page.finished()


def pareto_k_figure(fit: Fit, answers: Sequence[LeaveOneOut]) -> Figure:
    """Draw Pareto k of what is left out, patients or therapists.

    Parameters
    ----------
    fit : Fit
    answers : sequence of LeaveOneOut
    """
    by = answers[0].by
    caption = (
        f"Pareto k of leaving out each {by}; over the dashed line importance sampling is not "
        "reliable, and crosses mark those whose elpd comes from a fit without them."
    )
    page = Page(fit, 7.4, [2.9] * len(answers), caption)
    with mpl.rc_context(STYLE):
        for part, answer in zip(page.strips, answers, strict=True):
            (panel,) = _panels(part, fit, answer, (1, 1))
            _pareto_k(panel, answer)
        page.legend(page.strips[0].axes[0])
    return page.finished()


def calibration_figure(fit: Fit, pits: Sequence[LooPit]) -> Figure:
    """Draw the calibration of single outcomes, by leave-one-out PIT.

    Parameters
    ----------
    fit : Fit
    pits : sequence of LooPit
    """
    caption = (
        "Share of patients whose score lies at or below that share of its leave-one-out "
        "predictive distribution, minus what a calibrated fit has; calibrated fits stay within "
        f"the band everywhere with {100 * BAND:g}% probability."
    )
    page = Page(fit, 7.4, [2.7] * len(pits), caption)
    with mpl.rc_context(STYLE):
        for part, pit in zip(page.strips, pits, strict=True):
            part.suptitle(
                words.with_patients(fit.study, pit.outcome, len(pit.values)),
                x=0.01,
                ha="left",
                fontsize=9.5,
            )
            _calibration(part.subplots(), pit)
        page.legend(page.strips[0].axes[0])
    return page.finished()


def elpd_figure(fit: Fit, comparisons: Sequence[LooComparison]) -> Figure:
    """Draw differences of elpd from the fit that predicts best, with their standard errors.

    Parameters
    ----------
    fit : Fit
        Any of those compared, for the study.
    comparisons : sequence of LooComparison
    """
    caption = (
        f"Points: differences from the fit that predicts best; lines: {CLEAR:g} standard errors "
        f"to each side. Shaded: differences under {SMALL_DIFFERENCE:g}, of fits that predict "
        f"alike. With fewer than {FEW_UNITS} units the standard errors are unreliable."
    )
    heights = [AROUND_INCHES + ROW_INCHES * len(each.names) for each in comparisons]
    page = Page(fit, 7.4, heights, caption)
    with mpl.rc_context(STYLE):
        for part, comparison in zip(page.strips, comparisons, strict=True):
            (panel,) = _panels(part, fit, comparison.results[0], (1, 1))
            _differences(panel, comparison)
        page.legend(page.strips[0].axes[0])
    return page.finished()


def _panels(part: SubFigure, fit: Fit, found: LeaveOneOut, shape: tuple[int, int]) -> list[Axes]:
    patients = int(found.patients.sum())
    many = "" if found.by == "patient" else f"{len(found.units)} {found.by}s, "
    label = fit.study.outcomes[found.outcome].label
    part.suptitle(f"{label} ({many}n = {patients})", x=0.01, ha="left", fontsize=9.5)
    return list(part.subplots(*shape, squeeze=False).ravel())


def _pareto_k(panel: Axes, found: LeaveOneOut) -> None:
    position = np.arange(1, len(found.units) + 1)
    high = ~(found.pareto_k <= found.good_k)
    panel.axhline(
        found.good_k,
        color="0.25",
        linestyle="--",
        linewidth=1.0,
        label=f"reliable up to {found.good_k:.2g}",
    )
    panel.plot(position[~high], found.pareto_k[~high], "o", color=FINE, ms=3, label="reliable")
    # Drawn even where there are none: one legend serves all panels
    panel.plot(position[high], found.pareto_k[high], "^", color=HIGH, ms=5, label="too high")
    if found.by != "patient":
        panel.plot(
            position[found.refitted],
            found.pareto_k[found.refitted],
            "x",
            color="black",
            ms=8,
            label="fitted again without it",
        )
    panel.set_ylabel("Pareto k")
    known = found.pareto_k[np.isfinite(found.pareto_k)]
    least, most = float(known.min(initial=0.0)), float(known.max(initial=1.0))
    room = 0.07 * (most - least)  # for half a mark beyond the first and the last
    panel.set_ylim(least - room, most + room)
    if found.by == "patient" or len(found.units) > MOST_NAMED:
        panel.set_xlabel(f"{found.by}, by position (1 to {len(found.units)})")
        return
    names = [f"{unit}\nn = {n}" for unit, n in zip(found.units, found.patients, strict=True)]
    panel.set_xticks(position, names, fontsize=7.5)
    panel.set_xlabel(f"{found.by} left out")


def _calibration(panel: Axes, pit: LooPit) -> None:
    curve = pit.curve()
    panel.axhline(0, color="0.35", linewidth=0.9)
    panel.fill_between(
        curve["pit"],
        curve["lower"] - curve["pit"],
        curve["upper"] - curve["pit"],
        color=FINE,
        alpha=0.18,
        linewidth=0,
        label=f"{100 * BAND:g}% of calibrated fits",
    )
    panel.step(curve["pit"], curve["share"] - curve["pit"], where="post", color=FINE, linewidth=1.2)
    panel.set_xlim(0, 1)
    panel.set_xlabel("share of the predictive distribution (LOO-PIT)")
    panel.set_ylabel("share of patients\nminus calibrated")
    panel.text(
        0.98,
        0.96,
        f"p = {pit.p_value:.2g}",
        transform=panel.transAxes,
        ha="right",
        va="top",
        fontsize=8,
    )


def _differences(panel: Axes, comparison: LooComparison) -> None:
    table = comparison.table
    rows = np.arange(len(table))
    panel.axvspan(-SMALL_DIFFERENCE, 0, color="0.9", label=f"under {SMALL_DIFFERENCE:g}: alike")
    panel.axvline(0, color="0.35", linewidth=0.9)
    panel.errorbar(
        table["elpd_difference"],
        rows,
        xerr=CLEAR * table["se_difference"],
        fmt="o",
        color=FINE,
        ms=5,
        capsize=3,
        label=f"difference, {CLEAR:g} standard errors",
    )
    panel.set_yticks(rows, table["fit"], fontsize=8.5)
    panel.set_ylim(len(table) - 0.5, -0.5)
    what = "elpd of whole scores" if comparison.whole_scores else "elpd"
    panel.set_xlabel(f"difference of {what} from the best, {comparison.by} by {comparison.by}")
