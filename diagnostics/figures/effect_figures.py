"""Figures of effects along the alliance: contrasts with bands, the arms' scores, the best arm."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from alliance.diagnostics import words
from alliance.diagnostics.figures.figure_page import (
    COLOURS,
    LINES,
    STYLE,
    Page,
    hatch_extrapolated,
    legend_label,
)
from alliance.diagnostics.sheet import fitting
from alliance.inference.answers.effects import Effects
from alliance.inference.runs.fit import Fit

CURVE, THRESHOLD = COLOURS[0], COLOURS[5]
PANEL_INCHES = 3.3
CHARACTERS_PER_INCH = 13


def effect_figure(fit: Fit, answers: Sequence[Effects]) -> Figure:
    """Draw every contrast along the alliance, with bands, probabilities and the ratings.

    Parameters
    ----------
    fit : Fit
    answers : sequence of Effects
        Of one interval.

    Returns
    -------
    matplotlib.figure.Figure
        One row of panels for each outcome, one column for each contrast; below each curve the
        probabilities that go with it.
    """
    columns = max(len(answer.contrasts) for answer in answers)
    width = max(6.4, columns * PANEL_INCHES + 0.6)
    page = Page(fit, width, [3.6] * len(answers), _effect_caption(fit, answers[0]))
    with mpl.rc_context(STYLE):
        for part, answer in zip(page.strips, answers, strict=True):
            _effect_row(part, fit, answer, columns, width / columns)
        page.legend(page.strips[0].axes[0])
    return page.figure


def score_figure(fit: Fit, answers: Sequence[Effects]) -> Figure:
    """Draw the expected score of every arm along the alliance.

    Parameters
    ----------
    fit : Fit
    answers : sequence of Effects
    """
    first = answers[0]
    caption = (
        f"Lines: posterior means; shades: {words.level_of(first.interval)} intervals, for each "
        f"value by itself. {_over(fit, first)}"
    )
    return _by_outcome(fit, answers, _scores, caption)


def best_figure(fit: Fit, answers: Sequence[Effects]) -> Figure:
    """Draw the chance that each arm has the best expected score of all along the alliance.

    Parameters
    ----------
    fit : Fit
    answers : sequence of Effects
    """
    caption = (
        "Posterior probability that an arm's expected score is the best of all, at each value. "
        f"{_over(fit, answers[0])}"
    )
    return _by_outcome(fit, answers, _best, caption)


FIGURES: dict[str, Callable[[Fit, Sequence[Effects]], Figure]] = {
    "effect": effect_figure,
    "score": score_figure,
    "best": best_figure,
}


def _by_outcome(
    fit: Fit,
    answers: Sequence[Effects],
    draw: Callable[[Axes, Fit, Effects], None],
    caption: str,
) -> Figure:
    """One panel for each outcome, with the arms' legend."""
    columns = min(2, len(answers))
    lines = -(-len(answers) // columns)
    page = Page(fit, 6.4 if columns == 1 else 9.2, [3.3 * lines], caption)
    with mpl.rc_context(STYLE):
        panels = page.strips[0].subplots(lines, columns, squeeze=False).ravel()
        for panel, answer in zip(panels, answers, strict=False):
            draw(panel, fit, answer)
            _along(panel, fit, answer)
            panel.set_title(_headed(fit, answer), loc="left", fontsize=9.5)
        for panel in panels[len(answers) :]:
            panel.set_axis_off()
        page.legend(panels[0])
    return page.figure


def _effect_row(part: SubFigure, fit: Fit, answer: Effects, columns: int, inches: float) -> None:
    room = int(CHARACTERS_PER_INCH * (inches - 0.4))
    part.suptitle(_headed(fit, answer), x=0.01, ha="left", fontsize=9.5)
    axes = part.subplots(
        2, columns, squeeze=False, sharex=True, sharey="row", height_ratios=[2.6, 1]
    )
    described = fit.study.outcomes[answer.outcome]
    for k, which in enumerate(answer.contrasts):
        curve, chance = axes[0, k], axes[1, k]
        _contrast(curve, answer, which.level)
        curve.set_title(fitting(words.level(fit.study, which.level), room), fontsize=9)
        _rug(curve, answer)
        _chances(chance, answer, which.level)
        _along(chance, fit, answer)
        curve.tick_params(labelbottom=False)
    side = "above" if described.better == "higher" else "below"
    axes[0, 0].set_ylabel(
        f"points of {described.range[0]:g} to {described.range[1]:g}\n(better {side} 0)"
    )
    axes[1, 0].set_ylabel("probability")
    for panel in axes[:, len(answer.contrasts) :].ravel():
        panel.set_axis_off()


def _contrast(panel: Axes, answer: Effects, level: str) -> None:
    points, band = answer.curves.moderator, answer.contrast_bands[level]
    share = words.level_of(answer.interval)
    panel.fill_between(
        points,
        band.band_lower,
        band.band_upper,
        color=CURVE,
        alpha=0.16,
        linewidth=0,
        label=f"{share} band, all values at once",
    )
    panel.fill_between(
        points,
        band.lower,
        band.upper,
        color=CURVE,
        alpha=0.30,
        linewidth=0,
        label=f"{share} interval, each value by itself",
    )
    panel.plot(points, band.median, color=CURVE, linewidth=1.8, label="median")
    panel.axhline(0, color="0.35", linewidth=0.9)
    if answer.thresholds.equivalence is not None:
        low, high = answer.thresholds.equivalence
        panel.axhspan(low, high, color="0.85", zorder=0, label="region of equivalence")
    if answer.thresholds.better_by is not None:
        panel.axhline(
            answer.curves.direction * answer.thresholds.better_by,
            color=THRESHOLD,
            linewidth=1.1,
            linestyle="--",
            label=f"better by {answer.thresholds.better_by:g}",
        )
    _extrapolated(panel, answer)
    _named(panel, answer)


def _chances(panel: Axes, answer: Effects, level: str) -> None:
    """Probability of being better at all, and by the threshold."""
    which = next(each for each in answer.contrasts if each.level == level)
    draws, points = which.of(answer.curves.expected), answer.curves.moderator
    gains = answer.curves.direction * draws
    lines = [("better", ("0.25", "-"), gains > 0)]
    threshold = answer.thresholds.better_by
    if threshold is not None:
        lines.append((f"by {threshold:g}", (THRESHOLD, "--"), gains >= threshold))
    for _, (colour, style), hits in lines:
        panel.plot(points, hits.mean(axis=0), color=colour, linestyle=style, linewidth=1.2)
    panel.set_ylim(-0.03, 1.03)
    panel.set_yticks([0, 0.5, 1])
    panel.grid(axis="y", color="0.92")
    panel.set_axisbelow(True)
    _extrapolated(panel, answer)
    _named(panel, answer)
    if answer.named and len(answer.shown) == 1:
        (value,) = answer.shown
        place = int(np.searchsorted(points, value))
        told = [f"P({name}) {_equal(hits[:, place].mean())}" for name, _, hits in lines]
        panel.set_title(f"at {value:g}: {', '.join(told)}", loc="right", fontsize=8.5)


def _equal(value: float) -> str:
    told = words.chance(value)
    return told if told.startswith(("<", ">")) else f"= {told}"


def _scores(panel: Axes, fit: Fit, answer: Effects) -> None:
    described = fit.study.outcomes[answer.outcome]
    for k, arm in enumerate(answer.curves.arms):
        band, colour = answer.arm_bands[arm], COLOURS[k % len(COLOURS)]
        panel.fill_between(
            answer.curves.moderator, band.lower, band.upper, color=colour, alpha=0.15, linewidth=0
        )
        panel.plot(
            answer.curves.moderator,
            answer.curves.expected[:, k].mean(axis=0),
            color=colour,
            linestyle=LINES[k % len(LINES)],
            linewidth=1.8,
            label=legend_label(fit.study.arms[arm]),
        )
    _rug(panel, answer)
    low, high = described.range
    panel.set_ylabel(
        f"expected score, points of {low:g} to {high:g}\n({described.better} is better)"
    )
    _extrapolated(panel, answer)
    _named(panel, answer)


def _best(panel: Axes, fit: Fit, answer: Effects) -> None:
    for k, (arm, chance) in enumerate(zip(answer.curves.arms, answer.curves.best(), strict=True)):
        panel.plot(
            answer.curves.moderator,
            chance,
            color=COLOURS[k % len(COLOURS)],
            linestyle=LINES[k % len(LINES)],
            linewidth=1.8,
            label=legend_label(fit.study.arms[arm]),
        )
    panel.set_ylim(-0.06, 1.03)
    panel.set_ylabel("probability of being best")
    panel.grid(axis="y", color="0.92")
    panel.set_axisbelow(True)
    _rug(panel, answer)
    _extrapolated(panel, answer)
    _named(panel, answer)


def _rug(panel: Axes, answer: Effects) -> None:
    """The observed ratings as ticks along the lower edge."""
    panel.plot(
        answer.ratings,
        np.full(len(answer.ratings), 0.02),
        transform=panel.get_xaxis_transform(),
        linestyle="none",
        marker="|",
        markersize=6,
        markeredgewidth=0.6,
        color="0.3",
        alpha=0.6,
        clip_on=False,
        label="a patient's rating",
    )


def _extrapolated(panel: Axes, answer: Effects) -> None:
    points = answer.curves.moderator
    hatch_extrapolated(panel, points[0], points[-1], answer.observed)


def _named(panel: Axes, answer: Effects) -> None:
    if answer.named:
        for value in answer.shown:
            panel.axvline(value, color="0.35", linewidth=0.8, linestyle=":")


def _along(panel: Axes, fit: Fit, answer: Effects) -> None:
    moderator = fit.study.moderator
    low, high = moderator.range
    panel.set_xlabel(f"{moderator.label}, points of {low:g} to {high:g}", fontsize=8.5)
    points = answer.curves.moderator
    margin = 0.02 * (points[-1] - points[0])
    panel.set_xlim(points[0] - margin, points[-1] + margin)


def _headed(fit: Fit, answer: Effects) -> str:
    return words.with_patients(fit.study, answer.outcome, answer.patients)


def _over(fit: Fit, answer: Effects) -> str:
    return (
        f"Averaged over the n analysed patients, imagined in every arm, with "
        f"{words.therapist(answer.therapist)}. Ticks: observed {fit.study.moderator.name}."
    )


def _effect_caption(fit: Fit, answer: Effects) -> str:
    threshold = answer.thresholds.better_by
    lower = "first arm is better than the second"
    if threshold is not None:
        lower += f" (solid), and by {threshold:g} or more (dashed)"
    source = f" Source of the threshold: {answer.thresholds.source}."
    told = source if threshold is not None and answer.thresholds.source else ""
    return (
        f"Lower panels: probability that the {lower}. {_over(fit, answer)} Whether a contrast "
        f"changes along the {fit.study.moderator.name} is told by the difference of slopes, not "
        f"by where a band excludes zero. {words.arms(fit.study)}.{told}"
    )
