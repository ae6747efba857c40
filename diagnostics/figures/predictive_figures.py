"""Figures of posterior predictive checks: distributions, therapists' means, test statistics.

Figure of the priors: the scores they expect, and by how much they let each effect move them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from alliance.data_prep.study.rules import COUNT, OWN_FAMILIES
from alliance.diagnostics import words
from alliance.diagnostics.checks.predictive_checks import INTERVAL, PredictiveCheck, Realised
from alliance.diagnostics.checks.predictive_statistics import FEWEST_IN_GROUP, ROUNDING, distinct
from alliance.diagnostics.checks.prior_check import (
    ALL_ALIKE,
    PLAUSIBLE,
    TOO_TIGHT,
    TOO_WIDE,
    PriorCheck,
    PriorRow,
)
from alliance.diagnostics.figures.drawing import columns_of
from alliance.diagnostics.figures.figure_page import COLOURS, STYLE, Page
from alliance.inference.runs.fit import Fit

Array = NDArray[np.float64]

OBSERVED, REPLICATED, BEYOND = COLOURS[0], COLOURS[1], COLOURS[5]
PANEL_INCHES, PANEL_HIGH = 2.9, 2.9
LEAST_PANEL_INCHES, LEAST_SIDE_INCHES = 2.0, 2.6  # width of panels that have less room
LEAST_STATISTIC_INCHES = 1.5
ROW_INCHES, AROUND_INCHES = 0.2, 1.0  # for each therapist, and for a strip's title and axis
MOST_NAMED = 60  # with more therapists, their names would cover one another
STATISTIC_COLUMNS = 5
MOST_BINS = 30  # of a statistic's histogram


def distribution_figure(fit: Fit, checks: Sequence[PredictiveCheck]) -> Figure:
    """Draw how often each score was observed, and is replicated, over all patients and by arm.

    Parameters
    ----------
    fit : Fit
    checks : sequence of PredictiveCheck

    Returns
    -------
    matplotlib.figure.Figure
        One strip for each outcome, one panel for all arms and for each.
    """
    most = max(len(check.pictures.groups) for check in checks)
    caption = (
        "Bars: patients observed. Points and lines: mean and 95% of the replicates. "
        f"{_about(checks[0])} Shaded: beyond the range, where a model without bounds replicates "
        "scores and none can be observed."
    )
    width = max(6.6, PANEL_INCHES * most)
    columns = columns_of(most, width, LEAST_PANEL_INCHES)
    lines = -(-most // columns)
    height = PANEL_HIGH if lines == 1 else 0.85 * PANEL_HIGH * lines
    page = Page(fit, width, [height] * len(checks), caption)
    with mpl.rc_context(STYLE):
        for part, check in zip(page.strips, checks, strict=True):
            _distributions(part, fit, check, columns)
        page.legend(page.strips[0].axes[0])
    return page.finished()


def therapist_means_figure(fit: Fit, checks: Sequence[PredictiveCheck]) -> Figure:
    """Draw each therapist's observed mean score, and the replicated ones.

    Parameters
    ----------
    fit : Fit
    checks : sequence of PredictiveCheck

    Returns
    -------
    matplotlib.figure.Figure
        One strip for each outcome: with the trial's therapists, and with new ones where the model
        has therapist effects.
    """
    panels = 1 if all(check.pictures.new_means is None for check in checks) else 2
    width = 6.6 if panels == 1 else 9.2
    columns = columns_of(panels, width, LEAST_SIDE_INCHES)
    rows = [len(check.pictures.therapists) for check in checks]
    # Without names two panels below one another need no more room than two side by side
    lines = [panels // columns if count <= MOST_NAMED else 1 for count in rows]
    heights = [
        times * (AROUND_INCHES + ROW_INCHES * min(MOST_NAMED, count))
        for times, count in zip(lines, rows, strict=True)
    ]
    told = (
        " New therapists treat the same patients, with effects drawn from the fitted distribution "
        "of therapists: a dot beyond their line is a therapist unlike the others."
    ) * (panels - 1)
    caption = (
        "Mean score of each therapist's patients, by the observed mean. Lines: 95% of the "
        f"replicates, ticks their means. {_about(checks[0])}{told}"
    )
    if any(check.pictures.left_out for check in checks):
        caption += f" Therapists with fewer than {FEWEST_IN_GROUP} patients are left out."
    page = Page(fit, width, heights, caption)
    with mpl.rc_context(STYLE):
        for part, check in zip(page.strips, checks, strict=True):
            _therapists(part, fit, check, (panels // columns, columns))
        page.legend(page.strips[0].axes[0])
    return page.finished()


def statistics_figure(fit: Fit, checks: Sequence[PredictiveCheck]) -> Figure:
    """Draw every test statistic: histogram of the replicates, and the observed value.

    Parameters
    ----------
    fit : Fit
    checks : sequence of PredictiveCheck

    Returns
    -------
    matplotlib.figure.Figure
        One strip of panels for each outcome.
    """
    width = STATISTIC_COLUMNS * 2.1
    columns = columns_of(STATISTIC_COLUMNS, width, LEAST_STATISTIC_INCHES)
    lines = [-(-len(check.realised) // columns) for check in checks]
    caption = (
        f"{_about(checks[0])} Observed: mean over the posterior draws where the statistic depends "
        "on parameters, whose differences from the replicates of the same draw give the p-value. "
        f"REVIEW: p below the outcome's limit of {checks[0].limit:.4f} (.05 over the number of "
        "statistics)."
    )
    page = Page(fit, width, [0.3 + 1.75 * line for line in lines], caption)
    with mpl.rc_context(STYLE):
        for part, check, line in zip(page.strips, checks, lines, strict=True):
            part.suptitle(_headed(fit, check), x=0.01, ha="left", fontsize=9.5)
            panels = part.subplots(line, columns, squeeze=False).ravel()
            for panel, item in zip(panels, check.realised, strict=False):
                _statistic(panel, item, check.limit)
            for panel in panels[len(check.realised) :]:
                panel.set_axis_off()
        page.legend(page.strips[0].axes[0])
    return page.finished()


FIGURES: dict[str, Callable[[Fit, Sequence[PredictiveCheck]], Figure]] = {
    "distribution": distribution_figure,
    "therapists": therapist_means_figure,
    "statistics": statistics_figure,
}


def _about(check: PredictiveCheck) -> str:
    return (
        f"Replicates: {check.replicates:,} times the same patients, with the same alliance and "
        "therapists, observed again under the model."
    )


def _headed(fit: Fit, check: PredictiveCheck) -> str:
    family = words.plain(fit.specs[check.outcome].family)
    count = len(check.pictures.groups[""])
    return words.with_patients(fit.study, check.outcome, count, f"; family {family}")


def _distributions(part: SubFigure, fit: Fit, check: PredictiveCheck, columns: int) -> None:
    part.suptitle(_headed(fit, check), x=0.01, ha="left", fontsize=9.5)
    pictures = check.pictures
    lines = -(-len(pictures.groups) // columns)
    grid = part.subplots(lines, columns, squeeze=False, sharex=True)
    panels = grid.ravel()
    for panel, (group, members) in zip(panels, pictures.groups.items(), strict=False):
        observed, replicated = pictures.observed[group], pictures.replicated(group)
        _bars(panel, pictures.edges, observed, replicated)
        _shade_outside(panel, fit, check)
        name = fit.study.arms.get(group, group) if group else "all arms"
        panel.set_title(f"{name} (n = {members.sum()})", fontsize=9)
        panel.tick_params(labelbottom=True)
        panel.set_ylim(0, None)
        panel.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for panel in panels[len(pictures.groups) :]:
        panel.set_axis_off()
    for panel in grid[:, 0]:
        panel.set_ylabel("patients" if pictures.bars else "patients in each bin")
    told = words.observed_axis(fit.study.outcomes[check.outcome])
    part.supxlabel(f"score, {told}", fontsize=8.5)


def _bars(panel: Axes, edges: Array, observed: Array, replicated: Array) -> None:
    middle, width = (edges[:-1] + edges[1:]) / 2, np.diff(edges)
    mean = replicated.mean(axis=0)
    lower, upper = np.quantile(replicated, INTERVAL, axis=0)
    panel.bar(
        middle, observed, 0.86 * width, color=OBSERVED, alpha=0.45, linewidth=0, label="observed"
    )
    panel.errorbar(
        middle,
        mean,
        # Of a rare score hardly any replicate has one, and the mean may lie beyond 95% of them.
        yerr=[np.maximum(mean - lower, 0), np.maximum(upper - mean, 0)],
        color="0.15",
        linestyle="none",
        marker="o",
        markersize=2.8,
        elinewidth=0.9,
        label="replicated: mean and 95%",
    )


def _shade_outside(panel: Axes, fit: Fit, check: PredictiveCheck) -> None:
    """Shade what of the axis lies beyond the scores that there are."""
    low, high = fit.study.outcomes[check.outcome].range
    edges, half = check.pictures.edges, 0.0
    if check.pictures.bars:
        half = (edges[1] - edges[0]) / 2
    panel.set_xlim(edges[0], edges[-1])
    label = "outside the range"
    for start, end in ((edges[0], low - half), (high + half, edges[-1])):
        if end - start > ROUNDING * (edges[-1] - edges[0]):
            panel.axvspan(start, end, color=BEYOND, alpha=0.12, linewidth=0, label=label)
            label = "_nolegend_"


def _therapists(part: SubFigure, fit: Fit, check: PredictiveCheck, shape: tuple[int, int]) -> None:
    part.suptitle(_headed(fit, check), x=0.01, ha="left", fontsize=9.5)
    pictures = check.pictures
    panels = part.subplots(*shape, squeeze=False, sharey=True, sharex=True).ravel()
    order = np.argsort(-pictures.observed_means)
    sides = [("with the trial's therapists", pictures.drawn_means)]
    if pictures.new_means is not None:
        sides.append(("with new therapists", pictures.new_means))
    for panel, (name, means) in zip(panels, sides, strict=False):
        _means(panel, pictures.observed_means[order], means[:, order])
        panel.set_title(name, fontsize=9)
        panel.tick_params(labelbottom=True)
    told = words.observed_axis(fit.study.outcomes[check.outcome])
    part.supxlabel(f"mean score, {told}", fontsize=8.5)
    for panel in panels[len(sides) :]:
        panel.set_axis_off()
    first = panels[0]
    first.set_ylim(len(order) - 0.4, -0.6)
    if len(order) <= MOST_NAMED:
        names = [f"{pictures.therapists[j]} (n = {pictures.patients[j]:.0f})" for j in order]
        first.set_yticks(range(len(order)), names)
        for panel in panels:
            panel.tick_params(axis="y", labelsize=8)
    else:
        first.set_yticks([])
        first.set_ylabel(f"{len(order)} therapists, highest mean on top")


def _means(panel: Axes, observed: Array, replicated: Array) -> None:
    lower, upper = np.quantile(replicated, INTERVAL, axis=0)
    place, few = np.arange(len(observed)), len(observed) <= MOST_NAMED
    panel.grid(axis="x", color="0.92")
    panel.set_axisbelow(True)
    panel.hlines(
        place,
        lower,
        upper,
        color=REPLICATED,
        linewidth=3 if few else 0.8,
        label="replicated: mean and 95%",
    )
    ticks: dict[str, Any] = {"linestyle": "none", "marker": "|", "color": "0.25"}
    panel.plot(replicated.mean(axis=0), place, markersize=7 if few else 2, **ticks)
    panel.plot(
        observed,
        place,
        linestyle="none",
        marker="o",
        color=OBSERVED,
        markersize=5 if few else 2,
        label="observed mean",
    )
    panel.tick_params(axis="y", length=0)


def _statistic(panel: Axes, item: Realised, limit: float) -> None:
    values = item.replicated
    bars = distinct(values)
    if len(bars) <= MOST_BINS:
        steps = np.diff(bars)
        width = steps.min() if len(steps) else abs(bars[0]) / 10 or 1.0
        edges = np.append(bars - width / 2, bars[-1] + width / 2)
    else:
        low, high = np.quantile(values, [0.001, 0.999]).tolist()
        edges = np.linspace(low, high, MOST_BINS)
    panel.hist(values, edges.tolist(), color=REPLICATED, alpha=0.7, label="replicated")
    panel.axvline(item.observed.mean(), color=OBSERVED, linewidth=2, label="observed")
    panel.set_yticks([])
    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="x", labelsize=7.5)
    tripped = item.p_value < limit
    p = "p < 0.001" if item.p_value < 0.001 else f"p = {item.p_value:.3f}"
    panel.set_title(
        f"{item.statistic.words}, {p}{': REVIEW' if tripped else ''}",
        fontsize=8,
        color=BEYOND if tripped else "black",
        fontweight="bold" if tripped else "normal",
    )


SIMULATED, IMPOSSIBLE = COLOURS[0], COLOURS[5]
MARKS = {
    PLAUSIBLE: ("o", COLOURS[0]),
    TOO_WIDE: ("X", COLOURS[5]),
    TOO_TIGHT: ("s", COLOURS[3]),
}
WIDTH, PRIOR_ROW_INCHES, PRIOR_AROUND_INCHES, LEAST_INCHES = 9.6, 0.23, 1.0, 3.0
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
    columns = columns_of(2, WIDTH, LEAST_SIDE_INCHES)
    heights = [
        (2 // columns)
        * max(LEAST_INCHES, PRIOR_AROUND_INCHES + PRIOR_ROW_INCHES * len(_effects(c)))
        for c in checks
    ]
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
            scores, effects = part.subplots(
                2 // columns, columns, squeeze=False, width_ratios=[1, 1.25][:columns]
            ).ravel()
            _scores(scores, check)
            _forest(effects, check)
    handles = _legend(page.strips[0].axes[1])
    page.legend(handles)
    return page.finished()


def _effects(check: PriorCheck) -> list[PriorRow]:
    return [row for row in check.rows if row.share_over_half == row.share_over_half]


def _scores(panel: Axes, check: PriorCheck) -> None:
    low, high = check.study.outcomes[check.outcome].range
    scores, span = check.predictive.scores.ravel(), high - low
    if check.study.outcomes[check.outcome].family in OWN_FAMILIES:
        _events(panel, check)
        return
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


def _events(panel: Axes, check: PriorCheck) -> None:
    """Shares of the patients with the event, or mean counts, of the simulated trials."""
    means, row = check.predictive.scores.mean(axis=1), check.rows[0]
    binary = row.level == ALL_ALIKE
    right = 1.0 if binary else float(np.quantile(means, 0.99))
    counts, edges = np.histogram(np.minimum(means, right), BINS // 2, (0.0, right))
    panel.stairs(counts, edges, fill=True, color=SIMULATED, alpha=0.6)
    panel.set_title(f"{100 * row.share_large:.1f}% {row.level}", fontsize=9)
    told = "share with the event" if binary else "mean number of events"
    panel.set_xlabel(f"{told} in a simulated trial", fontsize=8.5)
    panel.set_ylabel("simulated trials")
    panel.set_yticks([])


def _forest(panel: Axes, check: PriorCheck) -> None:
    low, high = check.study.outcomes[check.outcome].range
    span, rows = high - low, _effects(check)
    unbounded = check.study.outcomes[check.outcome].family == COUNT
    if unbounded:  # there is no scale that effects could be as large as
        span = max(max(abs(row.lower), abs(row.upper)) for row in rows)
    edge = REACH * span
    for position, row in enumerate(rows):
        marker, colour = MARKS[row.verdict]
        left, right = max(row.lower, -edge), min(row.upper, edge)
        panel.plot([left, right], [position, position], color=colour, linewidth=1.6)
        panel.plot(np.clip(row.median, -edge, edge), position, marker, color=colour, markersize=5)
        for end, tip, sign in ((row.lower, left, "<"), (row.upper, right, ">")):
            if end != tip:
                panel.plot(tip, position, sign, color=colour, markersize=6, clip_on=False)
    for value, line in () if unbounded else ((span, "-"), (span / 2, ":")):
        for end in (-value, value):
            panel.axvline(end, color="0.35", linewidth=0.9, linestyle=line)
    panel.axvline(0, color="0.8", linewidth=0.9, zorder=0)
    names = words.row_names(check.study, [(row.quantity, row.level) for row in rows])
    panel.set_yticks(range(len(rows)), names, fontsize=8)
    panel.set_ylim(len(rows) - 0.4, -0.6)
    panel.set_xlim(-edge * 1.02, edge * 1.02)
    told = words.points(check.study.outcomes[check.outcome])
    panel.set_xlabel(f"change of the expected score, {told}", fontsize=8.5)


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
    moderator = words.of_moderator(first.study, "the {name}, ")
    at = words.of_moderator(first.study, " at the mean of the {name} ratings")
    return (
        f"{drawn} trials simulated from the priors for the patients at hand, before their outcomes "
        f"are looked at (but for the mean and SD that the priors are stated in). Dashed: the ends "
        f"of the outcome's range. Second: 95% prior intervals of what {moderator}the "
        "baseline and covariates do from their lowest to their highest observed value, and of arm "
        f"contrasts{at}. Arrows: beyond the panel."
    )
