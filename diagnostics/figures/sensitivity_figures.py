"""Figures of sensitivity: to priors, to single persons, and to what was not seen."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from alliance.diagnostics import words
from alliance.diagnostics.checks.sensitivity_checks import MOST_MOVED, OUT_OF_PROPORTION, most_moved
from alliance.diagnostics.figures.drawing import columns_of
from alliance.diagnostics.figures.figure_page import COLOURS, STYLE, Page
from alliance.inference.answers.unseen_improvement import INTERVAL, UnseenImprovement
from alliance.inference.estimands.compared_at import places_in_words
from alliance.inference.leaving_out.therapists import Influence
from alliance.inference.priors.power_scaling import SENSITIVE, PowerScaling
from alliance.inference.priors.prior_refits import ALL, PriorRefits
from alliance.inference.runs.fit import Fit

Array = NDArray[np.float64]

PRIOR, DATA, HIGH = COLOURS[5], COLOURS[0], COLOURS[5]
ROW_INCHES, AROUND_INCHES = 0.2, 0.9  # for each quantity, and for title and axis
LEAST_INCHES = 2.4  # width of a panel that has less room
NAMED = 3  # units that are named in a panel of influence
MOST_TICKS = 20  # therapists whose names have room along an axis


def power_scaling_figure(fit: Fit, answers: Sequence[PowerScaling]) -> Figure:
    """Draw how sensitive every reported quantity is to its priors and to the likelihood.

    Parameters
    ----------
    fit : Fit
    answers : sequence of PowerScaling
    """
    caption = (
        "Power-scaling sensitivity (Kallioinen et al. 2024): distance that the posterior moves "
        "when prior or likelihood is weighed a little more. Left of the dashed line a quantity is "
        "not sensitive; where a prior rules a quantity, its name stands in brackets. "
        f"{places_in_words(fit)}"
    )
    heights = [AROUND_INCHES + ROW_INCHES * len(each.labels) for each in answers]
    page = Page(fit, 7.4, heights, caption)
    with mpl.rc_context(STYLE):
        for part, found in zip(page.strips, answers, strict=True):
            panel = _panel(part, fit, found.outcome)
            rows = np.arange(len(found.labels))
            panel.axvline(
                SENSITIVE,
                color="0.35",
                linestyle="--",
                linewidth=0.9,
                label=f"sensitive from {SENSITIVE:g}",
            )
            panel.plot(
                found.likelihood, rows, "o", color=DATA, ms=4.5, mfc="white", label="likelihood"
            )
            panel.plot(found.prior, rows, "s", color=PRIOR, ms=4, label="all priors")
            panel.plot(
                found.by_kind.max(axis=1), rows, "|", color="black", ms=8, label="strongest prior"
            )
            right = max(found.likelihood.max(), found.prior.max(), found.by_kind.max())
            names = words.row_names(fit.study, found.labels)
            for row, column in _strongest_ruling(found):
                names[row] = f"{names[row]} [{words.plain(found.kinds[column])}]"
            panel.set_xlim(-0.01, right * 1.05)
            panel.set_yticks(rows, names, fontsize=7.5)
            panel.set_ylim(len(rows) - 0.5, -0.5)
            panel.grid(axis="y", color="0.92", linewidth=0.6)
            panel.set_xlabel("power-scaling sensitivity")
        page.legend(page.strips[0].axes[0])
    return page.finished()


def _strongest_ruling(found: PowerScaling) -> list[tuple[int, int]]:
    rows = np.flatnonzero(found.ruled.any(axis=1))
    return [(int(row), int(found.by_kind[row].argmax())) for row in rows]


def prior_refits_figure(fit: Fit, answers: Sequence[PriorRefits]) -> Figure:
    """Draw how far posterior means move when all prior scales are halved or doubled.

    Parameters
    ----------
    fit : Fit
    answers : sequence of PriorRefits
    """
    caption = (
        "Fits with every prior scale multiplied: change of the posterior mean in SDs of the "
        "posterior as fitted. Lines: two Monte Carlo standard errors to each side. "
        f"{places_in_words(fit)}"
    )
    heights = [AROUND_INCHES + ROW_INCHES * len(each.labels) for each in answers]
    page = Page(fit, 7.4, heights, caption)
    with mpl.rc_context(STYLE):
        for part, found in zip(page.strips, answers, strict=True):
            panel, table = _panel(part, fit, found.outcome), found.table
            rows = np.arange(len(found.labels))
            panel.axvline(0, color="0.35", linewidth=0.9)
            factors = [factor for prior, factor in found.priors if prior == ALL]
            for k, factor in enumerate(factors):
                own = table[(table["prior"] == ALL) & (table["factor"] == factor)]
                panel.errorbar(
                    own["shift_sd"],
                    rows + 0.16 * (2 * k - len(factors) + 1),
                    xerr=2 * own["shift_sd_mcse"],
                    fmt="os^D"[k % 4],
                    color=COLOURS[(0, 5, 2, 3)[k % 4]],
                    ms=4,
                    label=f"scales times {factor:g}",
                )
            panel.set_yticks(rows, words.row_names(fit.study, found.labels), fontsize=7.5)
            panel.set_ylim(len(rows) - 0.5, -0.5)
            panel.grid(axis="y", color="0.92", linewidth=0.6)
            panel.set_xlabel("change of the posterior mean (SDs)")
        page.legend(page.strips[0].axes[0])
    return page.finished()


def influence_figure(fit: Fit, answers: Sequence[Sequence[Influence]]) -> Figure:
    """Draw how far the results move when one patient or therapist is left out.

    Parameters
    ----------
    fit : Fit
    answers : sequence of sequence of Influence
        For each outcome by patient and, where available, by therapist.
    """
    caption = (
        "Largest change of the posterior mean of a slope, an interaction or an arm contrast when "
        "one patient (by position) or all patients of one therapist are left out. "
        f"Dashed: where the gate asks for a look, {MOST_MOVED:g} SD and "
        f"{OUT_OF_PROPORTION:g} times what so many move by themselves. Ringed: the largest, "
        "named above. Crosses: Pareto k too high for the change to be exact. "
        f"{places_in_words(fit)}"
    )
    most = max(len(each) for each in answers)
    columns = columns_of(most, 9.2, LEAST_INCHES)
    lines = -(-most // columns)
    page = Page(fit, 9.2, [2.7 * lines] * len(answers), caption)
    with mpl.rc_context(STYLE):
        for part, each in zip(page.strips, answers, strict=True):
            n = int(each[0].patients.sum())
            _head(part, fit, each[0].outcome, f"n = {n}")
            panels = part.subplots(lines, columns, squeeze=False).ravel()
            for panel, found in zip(panels, each, strict=False):
                _influence(panel, fit, found)
            for panel in panels[len(each) :]:
                panel.set_axis_off()
        page.legend(page.strips[0].axes[0])
    return page.finished()


def _influence(panel: Axes, fit: Fit, found: Influence) -> None:
    size = np.abs(found.shift_sd)
    worst, height = size.argmax(axis=1), size.max(axis=1)
    position = np.arange(1, len(found.units) + 1)
    bad = found.unreliable
    limit = most_moved(found)
    panel.step(position, limit, "--", where="mid", color="0.35", lw=0.9, label="asks for a look")
    panel.vlines(position, 0, height, color="0.75", linewidth=0.8)
    panel.plot(position[~bad], height[~bad], "o", color=DATA, ms=3.5, label="left out")
    panel.plot(position[bad], height[bad], "x", color=HIGH, ms=6, label="k too high")
    largest = np.argsort(-height)[:NAMED]
    panel.plot(position[largest], height[largest], "o", mfc="none", mec="black", ms=8)
    # Of the largest also what moves
    what = words.quantity_and_level(fit.study, *found.labels[worst[largest[0]]])
    first, *others = [str(found.units[unit]) for unit in largest]
    panel.set_title("; ".join([f"{first} ({what})", *others]), fontsize=7.5, loc="left")
    panel.set_ylim(0, 1.15 * max(limit.max(), height.max()))
    panel.set_ylabel("change of the mean (SDs)")
    if found.by != "patient" and len(found.units) <= MOST_TICKS:
        panel.set_xticks(position, found.units, fontsize=7.5, rotation=90)
        panel.set_xlabel(f"{found.by} left out")
    else:
        panel.set_xlabel(f"{found.by} left out, by position (1 to {len(found.units)})")


def unseen_improvement_figure(fit: Fit, answers: Sequence[UnseenImprovement]) -> Figure:
    """Draw the alliance slope against the strength of an improvement that was not seen.

    Parameters
    ----------
    fit : Fit
    answers : sequence of UnseenImprovement
        Left the slope along equal shares of both remaining variances; right the contours of its
        posterior mean over both shares, with the benchmarks.
    """
    caption = (
        "First: slope if an improvement before the rating explains this share of what remains of "
        "the alliance and as much of what then remains of the outcome; band: "
        f"{100 * INTERVAL:g}% interval of the posterior; triangles: where mean and interval reach "
        "zero. Second: posterior mean of the slope over both shares (zero is the thick line); "
        "diamonds: an improvement 1, 2 and 3 times as strong as the observed baseline "
        "score or covariate (Cinelli & Hazlett 2020)."
    )
    columns = columns_of(2, 9.2, LEAST_INCHES)
    page = Page(fit, 9.2, [3.0 * (2 // columns)] * len(answers), caption)
    with mpl.rc_context(STYLE):
        for part, found in zip(page.strips, answers, strict=True):
            _head(part, fit, found.outcome, f"n = {found.patients} with a rating")
            left, right = part.subplots(2 // columns, columns, squeeze=False).ravel()
            _curve(left, found)
            _contours(right, found)
        page.legend(page.strips[0].axes[0])
    return page.finished()


def _curve(panel: Axes, found: UnseenImprovement) -> None:
    curve = found.curve()
    panel.axhline(0, color="0.35", linewidth=0.9)
    panel.fill_between(
        curve["share"],
        curve["lower"],
        curve["upper"],
        color=DATA,
        alpha=0.18,
        linewidth=0,
        label=f"posterior, {100 * INTERVAL:g}%",
    )
    panel.plot(curve["share"], curve["mean"], color=DATA, linewidth=1.4, label="posterior mean")
    panel.plot(curve["share"], curve["linear"], color=HIGH, linestyle="--", label="linear model")
    points = [found.tipping_mean, found.tipping_interval]
    panel.plot(points, [0, 0], "v", color="black", ms=6, label="reaches zero")
    panel.set_xlim(0, float(curve["share"].max()))
    panel.set_xlabel("share of both remaining variances")
    panel.set_ylabel("slope for one point of the alliance")


def _contours(panel: Axes, found: UnseenImprovement) -> None:
    places = [
        (each, each.strength.r2_treatment, each.strength.r2_outcome)
        for each in found.benchmarks
        if each.strength is not None
    ]
    limit_x = min(0.95, max([0.4, *(1.15 * x for _, x, _ in places)]))
    limit_y = min(1.0, max([0.6, *(1.15 * y for _, _, y in places)]))
    x, y = np.meshgrid(np.linspace(0, limit_x, 80), np.linspace(0, limit_y, 80))
    size = np.sqrt(y * x / (1 - x))
    mean = found.slope.mean() - found.direction * found.unit.mean() * size
    lines = panel.contour(x, y, mean, levels=8, colors="0.6", linewidths=0.8)
    shown = [level for level in lines.levels if level]
    sizes = found.direction * (found.slope.mean() - np.array(shown)) / found.unit.mean()
    marks = np.array([(x / limit_x, y / limit_y) for _, x, y in places]).reshape(-1, 2)
    where = _beside(np.array([limit_x, limit_y]), sizes, marks)
    panel.clabel(lines, shown, fontsize=7, fmt="%.2g", manual=where)
    panel.contour(x, y, mean, levels=[0.0], colors="black", linewidths=1.8)
    named: set[str] = set()
    for each, across, up in places:
        panel.plot([across], [up], "D", color=HIGH, ms=5, zorder=3)
        first = each.name not in named
        named.add(each.name)
        panel.annotate(
            f"{each.times:g} x {each.name}" if first else f"{each.times:g} x",
            (across, up),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
        )
    if not places:
        panel.text(
            0.97,
            0.96,
            "no baseline score or covariate to compare with",
            transform=panel.transAxes,
            ha="right",
            va="top",
            fontsize=7.5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 2},
        )
    panel.set_xlabel("share of what remains of the alliance")
    panel.set_ylabel("share of what remains\nof the outcome")


RAYS = np.array([(1, 1), (1, 0.5), (0.5, 1), (1, 0.2), (0.2, 1)])  # in shares of the panel's sides
NAME = 0.4  # share of the panel's width that a benchmark's name may take


def _beside(limits: Array, sizes: Array, marks: Array) -> list[tuple[float, float]]:
    """Where contours of sqrt(y x / (1 - x)) are labelled: each as far from the marks as may be.

    Parameters
    ----------
    limits : ndarray, shape (2,)
        Of both axes, which begin at zero.
    sizes : ndarray
        Of the contours; those that no ray crosses are left out.
    marks : ndarray, shape (m, 2)
        Where benchmarks stand, in shares of the panel's sides; their names go on to the right.
    """
    names = marks[:, None] + np.linspace(0, NAME, 9)[:, None] * np.array([1.0, 0.0])
    points = np.linspace(0, 1, 400)[:, None, None] * RAYS  # (400, rays, 2)
    x, y = np.moveaxis(points * limits, -1, 0)
    own = np.sqrt(y * x / (1 - x))
    found = []
    for size in sizes[sizes > 0]:
        crossed = [
            points[np.searchsorted(own[:, ray], size), ray]
            for ray in range(len(RAYS))
            if size < own[-1, ray]
        ]
        away = [float(np.linalg.norm(each - names, axis=-1).min(initial=2.0)) for each in crossed]
        if crossed:
            across, up = crossed[int(np.argmax(away))] * limits
            found.append((float(across), float(up)))
    return found


def _panel(part: SubFigure, fit: Fit, outcome: str) -> Axes:
    _head(part, fit, outcome, f"n = {fit.patients(outcome).sizes['patient']}")
    panel: Axes = part.subplots()
    return panel


def _head(part: SubFigure, fit: Fit, outcome: str, n: str) -> None:
    label = fit.study.outcomes[outcome].label
    part.suptitle(f"{label} ({n})", x=0.01, ha="left", fontsize=9.5)
