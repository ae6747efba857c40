"""Figure of the priors: the scores they expect, and by how much they let each effect move them."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alliance.diagnostics import words
from alliance.diagnostics.checks.prior_check import (
    PLAUSIBLE,
    TOO_TIGHT,
    TOO_WIDE,
    PriorCheck,
    PriorRow,
)
from alliance.diagnostics.figures.figure_page import COLOURS, STYLE, Page

SIMULATED, IMPOSSIBLE = COLOURS[0], COLOURS[5]
MARKS = {
    PLAUSIBLE: ("o", COLOURS[0]),
    TOO_WIDE: ("X", COLOURS[5]),
    TOO_TIGHT: ("s", COLOURS[3]),
}
WIDTH, ROW_INCHES, AROUND_INCHES, LEAST_INCHES = 9.6, 0.23, 1.0, 3.0
BINS = 56  # 16 to the range, whose ends are edges
REACH = (
    1.25  # the panels show so many ranges to either side; what lies beyond is counted or arrowed
)


def prior_figure(checks: Sequence[PriorCheck]) -> Figure:
    """Draw what the priors expect of each outcome.

    Parameters
    ----------
    checks : sequence of PriorCheck
        Of one study.

    Returns
    -------
    matplotlib.figure.Figure
        A row for each outcome: simulated scores with the outcome's range, and the effects of the
        alliance, the arms and the baseline with their 95% intervals against the whole scale.
    """
    heights = [max(LEAST_INCHES, AROUND_INCHES + ROW_INCHES * len(_effects(c))) for c in checks]
    page = Page(checks[0], WIDTH, heights, _caption(checks))
    with mpl.rc_context(STYLE):
        for part, check in zip(page.strips, checks, strict=True):
            part.suptitle(
                words.with_patients(check.study, check.outcome, check.patients)
                + f": priors {check.verdict}",
                x=0.01,
                ha="left",
                fontsize=9.5,
            )
            scores, effects = part.subplots(1, 2, width_ratios=[1, 1.25])
            _scores(scores, check)
            _forest(effects, check)
    handles = _legend(page.strips[0].axes[1])
    page.legend(handles)
    return page.figure


def _effects(check: PriorCheck) -> list[PriorRow]:
    return [row for row in check.rows if row.share_over_half == row.share_over_half]


def _scores(panel: Axes, check: PriorCheck) -> None:
    low, high = check.study.outcomes[check.outcome].range
    scores, span = check.predictive.scores.ravel(), high - low
    if check.predictive.design.family.discrete:
        values, counts = np.unique(scores, return_counts=True)
        panel.bar(values, counts / len(scores), width=0.85, color=SIMULATED, alpha=0.6)
        panel.set_ylabel("share of simulated scores")
        panel.set_xlim(low - 0.03 * span - 0.5, high + 0.03 * span + 0.5)
    else:
        left, right = low - REACH * span, high + REACH * span
        edges = np.linspace(left, right, BINS + 1)
        heights, _ = np.histogram(scores, edges)
        density = heights / len(scores) / np.diff(edges)
        middle = (edges[:-1] + edges[1:]) / 2
        inside = (middle >= low) & (middle <= high)
        width = edges[1] - edges[0]
        panel.bar(middle[inside], density[inside], width, color=SIMULATED, alpha=0.6)
        panel.bar(
            middle[~inside],
            density[~inside],
            width,
            facecolor="none",
            edgecolor=IMPOSSIBLE,
            hatch="////",
            linewidth=0.4,
        )
        panel.set_ylabel("density of simulated scores")
        panel.set_xlim(left, right)
        beyond = ((scores < left) | (scores > right)).mean()
        if beyond >= 0.001:
            panel.text(
                0.98, 0.78, f"{100 * beyond:.1f}%\nbeyond", transform=panel.transAxes, ha="right",
                fontsize=8,
            )  # fmt: skip
    for end in (low, high):
        panel.axvline(end, color="0.25", linewidth=0.9, linestyle="--")
    share = check.rows[0].share_large
    panel.set_title(f"{100 * share:.1f}% {check.rows[0].level}", fontsize=9)
    panel.set_xlabel(f"score, possible from {low:g} to {high:g}", fontsize=8.5)
    panel.set_yticks([])
    panel.set_ylim(0, panel.get_ylim()[1] * 1.05)


def _forest(panel: Axes, check: PriorCheck) -> None:
    low, high = check.study.outcomes[check.outcome].range
    span, rows = high - low, _effects(check)
    edge = REACH * span
    for position, row in enumerate(rows):
        marker, colour = MARKS[row.verdict]
        left, right = max(row.lower, -edge), min(row.upper, edge)
        panel.plot([left, right], [position, position], color=colour, linewidth=1.6)
        panel.plot(np.clip(row.median, -edge, edge), position, marker, color=colour, markersize=5)
        for end, tip, sign in ((row.lower, left, "<"), (row.upper, right, ">")):
            if end != tip:
                panel.plot(tip, position, sign, color=colour, markersize=6, clip_on=False)
    for value, line in ((span, "-"), (span / 2, ":")):
        for end in (-value, value):
            panel.axvline(end, color="0.35", linewidth=0.9, linestyle=line)
    panel.axvline(0, color="0.8", linewidth=0.9, zorder=0)
    names = words.row_names(check.study, [(row.quantity, row.level) for row in rows])
    panel.set_yticks(range(len(rows)), names, fontsize=8)
    panel.set_ylim(len(rows) - 0.4, -0.6)
    panel.set_xlim(-edge * 1.02, edge * 1.02)
    panel.set_xlabel("change of the expected score, points", fontsize=8.5)


def _legend(panel: Axes) -> Axes:
    """Entries of every mark, whether or not it occurs."""
    for word, (marker, colour) in MARKS.items():
        panel.plot([], [], f"{marker}-", color=colour, markersize=5, label=f"{word}: 95%, median")
    panel.plot([], [], "-", color="0.35", linewidth=0.9, label="the whole scale")
    panel.plot([], [], ":", color="0.35", linewidth=0.9, label="half of it")
    return panel


def _caption(checks: Sequence[PriorCheck]) -> str:
    first = checks[0]
    drawn = len(first.predictive.scores)
    moderator = first.study.moderator
    return (
        f"{drawn} trials simulated from the priors for the patients at hand, before their outcomes "
        f"are looked at (but for the mean and SD that the priors are stated in). Dashed: the ends "
        f"of the outcome's range. Right: 95% prior intervals of what the {moderator.name}, the "
        "baseline and covariates do from their lowest to their highest observed value, and of arm "
        f"contrasts at the mean of the {moderator.name} ratings. Arrows: beyond the panel."
    )
