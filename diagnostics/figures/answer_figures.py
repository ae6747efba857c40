"""Answers as figures: predicted outcomes by arm, and contrasts, scores and best arm by alliance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from alliance.data_prep.errors import InputError
from alliance.diagnostics import words
from alliance.diagnostics.figures.drawing import columns_of
from alliance.diagnostics.figures.figure_page import (
    COLOURS,
    LINES,
    STYLE,
    Page,
    hatch_extrapolated,
    legend_label,
)
from alliance.inference.answers.effects import Effects
from alliance.inference.answers.predictions import Predictions, covariate_heads, unseen_columns
from alliance.inference.patients.asked_patients import NO_THERAPIST
from alliance.inference.runs.fit import Fit
from alliance.inference.trials.tables import patients_in_arms

PANEL_INCHES, CURVE_INCHES = 3.1, 3.4  # width and height of a panel along the alliance
LEAST_INCHES = 2.05  # width of one that has less room
LEAST_CURVE_INCHES = 3.0  # width of one with the curves of all arms
LINE_INCHES = 2.5  # height of each of several lines of them
ROW_INCHES, AROUND_INCHES = 0.45, 1.0  # for each arm at one value, and for title and axis
MOST_MARKED = 12  # so many values asked about are marked on the curve
ALONG = ("arm", "moderator")


def prediction_figure(fit: Fit, answers: Sequence[Predictions]) -> Figure:
    """Draw predictions by arm: at one value of the alliance, or along several.

    Parameters
    ----------
    fit : Fit
    answers : sequence of Predictions
        Of one interval and the same values of the alliance.

    Returns
    -------
    matplotlib.figure.Figure
        For each outcome one panel for each arm, along the alliance; or, at one value, one line
        for each arm.

    Raises
    ------
    InputError
        If patients differ in more than arm and alliance.
    """
    for answer in answers:
        _require_one_patient(fit, answer)
    arms = max(answer.table["arm"].nunique() for answer in answers)
    along = _several_values(answers[0])
    width = max(6.6, PANEL_INCHES * arms + 0.6) if along else 7.6
    columns = columns_of(arms, width, LEAST_INCHES)
    lines = -(-arms // columns)
    height = CURVE_INCHES if lines == 1 else LINE_INCHES * lines
    if not along:
        height = AROUND_INCHES + ROW_INCHES * arms
    page = Page(fit, width, [height] * len(answers), _caption(fit, answers))
    with mpl.rc_context(STYLE):
        for part, answer in zip(page.strips, answers, strict=True):
            part.suptitle(_headed(fit, answer), x=0.01, ha="left", fontsize=9.5)
            if along:
                _curves(part, fit, answer, columns)
            else:
                _points(part, fit, answer)
        page.legend(page.strips[0].axes[0])
    return page.finished()


def _require_one_patient(fit: Fit, answer: Predictions) -> None:
    table = answer.table
    # In arms without therapists there is none, whoever treats the patient elsewhere
    treated = table["therapist"].ne(NO_THERAPIST)
    if treated.any():
        table = table.assign(
            therapist=table["therapist"].where(treated, table["therapist"][treated].iloc[0])
        )
    head = table.columns[: table.columns.get_loc("extrapolated")]
    differing = [
        name
        for name in head
        if name not in ("outcome", "patient", *ALONG) and _differs(table[name])
    ]
    if not differing and table.duplicated([name for name in ALONG if name in table]).any():
        differing = ["patient"]
    if differing:
        raise InputError(
            "The figure shows one patient in every arm"
            f"{words.of_moderator(fit.study, ' along the {name}')}, and the rows asked about "
            f"differ in {', '.join(differing)}.",
            "Give one value of each, or leave the figure out: the table has all rows.",
        )


def _differs(values: pd.Series) -> bool:
    return bool((values != values.iloc[0]).any())


def _several_values(answer: Predictions) -> bool:
    """Whether the patient is asked about at several values of the alliance."""
    return "moderator" in answer.table and _differs(answer.table["moderator"])


def _curves(part: SubFigure, fit: Fit, answer: Predictions, columns: int) -> None:
    arms = list(answer.table["arm"].unique())
    lines = -(-len(arms) // columns)
    grid = part.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    panels = list(grid.ravel()[: len(arms)])
    counts, observed = _in_arms(fit, answer.outcome), fit[answer.outcome].observed_alliance
    own, ratings = np.empty(0, dtype=str), np.empty(0)
    if not fit.rowless:
        patients = fit.patients(answer.outcome)
        own = np.asarray(patients["arm"].values)[patients["arm_index"].values]
        ratings = patients["moderator"].values
    for arm, panel in zip(arms, panels, strict=True):
        rows = answer.table[answer.table["arm"] == arm].sort_values("moderator")
        _curve(panel, rows, answer.interval)
        if len(ratings):
            _rug(panel, ratings[own == arm])
        values = rows["moderator"]
        hatch_extrapolated(panel, values.min(), values.max(), observed)
        panel.set_title(f"{fit.study.arms[arm]} (n = {counts[arm]})", fontsize=9)
    described = fit.study.outcomes[answer.outcome]
    part.supxlabel(_measured(fit), fontsize=8.5)
    _ends_of_scale(panels, described.range, upright=True)
    for first in grid[:, 0]:
        first.set_ylabel(_scale(fit, answer))
    _leave_empty(grid, len(arms))


def _leave_empty(grid: np.ndarray, used: int) -> None:
    """Draw nothing in the last places of a grid, and the axis in the lowest used of each column."""
    for panel in grid.ravel()[used:]:
        panel.set_axis_off()
    for column in range(grid.shape[1]):
        lowest = (used - 1 - column) // grid.shape[1]
        if lowest >= 0:
            grid[lowest, column].tick_params(labelbottom=True)


def _curve(panel: Axes, rows: pd.DataFrame, interval: float) -> None:
    values, share = rows["moderator"], words.level_of(interval)
    panel.fill_between(
        values,
        rows["outcome_lower"],
        rows["outcome_upper"],
        color=COLOURS[0],
        alpha=0.16,
        linewidth=0,
        label=f"{share} interval, a single patient's outcome",
    )
    panel.fill_between(
        values,
        rows["expected_lower"],
        rows["expected_upper"],
        color=COLOURS[0],
        alpha=0.34,
        linewidth=0,
        label=f"{share} interval, expected score",
    )
    panel.plot(
        values,
        rows["expected"],
        color=COLOURS[0],
        linewidth=1.8,
        marker="o" if len(rows) <= MOST_MARKED else "none",
        markersize=4,
        label="expected score",
    )


def _points(part: SubFigure, fit: Fit, answer: Predictions) -> None:
    """Arms below one another, at one value of the alliance."""
    panel = part.subplots()
    table, share = answer.table.reset_index(drop=True), words.level_of(answer.interval)
    heights = np.arange(len(table))
    panel.hlines(
        heights,
        table["outcome_lower"],
        table["outcome_upper"],
        color=COLOURS[4],
        linewidth=1.4,
        label=f"{share} interval, a single patient's outcome",
    )
    panel.hlines(
        heights,
        table["expected_lower"],
        table["expected_upper"],
        color=COLOURS[0],
        linewidth=4,
        label=f"{share} interval, expected score",
    )
    panel.plot(
        table["expected"],
        heights,
        color="black",
        linestyle="none",
        marker="o",
        markersize=5,
        label="expected score",
    )
    number = _in_arms(fit, answer.outcome)
    names = [f"{fit.study.arms[arm]} (n = {number[arm]})" for arm in table["arm"]]
    panel.set_yticks(heights, names)
    panel.set_ylim(len(table) - 0.5, -0.5)  # the first arm on top
    panel.grid(axis="x", color="0.92")
    panel.set_axisbelow(True)
    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)
    _ends_of_scale([panel], fit.study.outcomes[answer.outcome].range, upright=False)
    panel.set_xlabel(_scale(fit, answer).replace("\n", " "))


def _in_arms(fit: Fit, outcome: str) -> dict[str, int]:
    """Analysed patients of each arm, by its code."""
    if fit.rowless:
        design = fit.design(outcome)
        return dict(zip(design.arms, patients_in_arms(design).tolist(), strict=True))
    patients = fit.patients(outcome)
    counts = np.bincount(patients["arm_index"].values, minlength=len(fit.study.arms))
    return dict(zip(patients["arm"].values.tolist(), counts.tolist(), strict=True))


def _ends_of_scale(panels: Sequence[Axes], ends: tuple[float, float], *, upright: bool) -> None:
    """Mark the ends of the outcome's scale where they are within the panels."""
    limits = panels[0].get_ylim() if upright else panels[0].get_xlim()
    reached = [end for end in ends if min(limits) <= end <= max(limits)]
    for panel in panels:
        label = "end of the scale"
        for end in reached:
            draw = panel.axhline if upright else panel.axvline
            draw(end, color="0.35", linewidth=0.8, linestyle=":", label=label)
            label = "_nolegend_"
        panel.set(**{"ylim" if upright else "xlim": limits})


def _rug(panel: Axes, ratings: np.ndarray) -> None:
    """The arm's observed ratings as ticks along the lower edge."""
    panel.plot(
        ratings,
        np.full(len(ratings), 0.02),
        transform=panel.get_xaxis_transform(),
        linestyle="none",
        marker="|",
        markersize=6,
        markeredgewidth=0.6,
        color="0.3",
        alpha=0.6,
        clip_on=False,
        label="rating of a patient in that arm",
    )


def _headed(fit: Fit, answer: Predictions) -> str:
    return words.with_patients(fit.study, answer.outcome, len(fit.design(answer.outcome).y))


def _scale(fit: Fit, answer: Predictions) -> str:
    described = fit.study.outcomes[answer.outcome]
    return f"score, {words.axis(described)}\n({described.better} is better)"


def _caption(fit: Fit, answers: Sequence[Predictions]) -> str:
    first = answers[0].table.iloc[0]
    therapist = str(first["therapist"])
    level = words.level_of(answers[0].interval)
    parts = [
        f"Predictions for one patient in every arm, with {words.therapist(therapist)}; {level} "
        "equal-tailed intervals, for each value by itself. n: analysed patients."
    ]
    if fit.study.moderator is not None and not _several_values(answers[0]):
        unseen = unseen_columns(fit.design(answers[0].outcome), answers[0].table)
        marked = " (extrapolated: no ratings)" * ("moderator" in unseen)
        parts.append(f"{fit.study.moderator.label}: {first['moderator']:.4g}{marked}.")
    parts += [_fixed(fit, answer, len(answers) > 1) for answer in answers]
    return " ".join(part for part in parts if part)


def _fixed(fit: Fit, answer: Predictions, several: bool) -> str:
    """What is the same for all rows: baseline and covariates."""
    design = fit.design(answer.outcome)
    names = ["baseline"] * design.has_baseline + [*covariate_heads(design)]
    names = [name for name in names if name in answer.table]
    row, unseen = answer.table.iloc[0], unseen_columns(design, answer.table)
    told = ", ".join(
        f"{words.covariate(fit.study, name)} {row[name]:.4g}{' (extrapolated)' * (name in unseen)}"
        for name in names
    )
    if not told:
        return ""
    whose = f"{fit.study.outcomes[answer.outcome].label}: " if several else "The same in all: "
    return f"{whose}{told}."


CURVE, THRESHOLD, CROSSING = COLOURS[0], COLOURS[5], COLOURS[3]
CURVE_PANEL_INCHES = 3.3
PAIR_INCHES, CHANCE_SHARE = 3.6, 2.6  # height of a curve with its chances, and of these to one


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
    most = max(len(answer.contrasts) for answer in answers)
    width = max(6.4, most * CURVE_PANEL_INCHES + 0.6)
    columns = columns_of(most, width, LEAST_INCHES)
    lines = -(-most // columns)
    height = PAIR_INCHES if lines == 1 else 0.85 * PAIR_INCHES * lines
    page = Page(fit, width, [height] * len(answers), _effect_caption(fit, answers[0]))
    with mpl.rc_context(STYLE):
        for part, answer in zip(page.strips, answers, strict=True):
            _effect_row(part, fit, answer, columns)
        page.legend(page.strips[0].axes[0])
    return page.finished()


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
    width = 6.4 if len(answers) == 1 else 9.2
    columns = columns_of(min(2, len(answers)), width, LEAST_CURVE_INCHES)
    lines = -(-len(answers) // columns)
    page = Page(fit, width, [3.3 * lines], caption)
    with mpl.rc_context(STYLE):
        panels = page.strips[0].subplots(lines, columns, squeeze=False).ravel()
        for panel, answer in zip(panels, answers, strict=False):
            draw(panel, fit, answer)
            _along(panel, fit, answer)
            panel.set_title(_curve_headed(fit, answer), loc="left", fontsize=9.5)
        for panel in panels[len(answers) :]:
            panel.set_axis_off()
        page.legend(panels[0])
    return page.finished()


def _effect_row(part: SubFigure, fit: Fit, answer: Effects, columns: int) -> None:
    part.suptitle(_curve_headed(fit, answer), x=0.01, ha="left", fontsize=9.5)
    lines = -(-len(answer.contrasts) // columns)
    axes = part.subplots(
        2 * lines, columns, squeeze=False, sharex=True, height_ratios=[CHANCE_SHARE, 1] * lines
    )
    described = fit.study.outcomes[answer.outcome]
    side = "above" if described.better == "higher" else "below"
    for k, which in enumerate(answer.contrasts):
        line, column = divmod(k, columns)
        curve, chance = axes[2 * line, column], axes[2 * line + 1, column]
        if k:
            curve.sharey(axes[0, 0])
            chance.sharey(axes[1, 0])
        _contrast(curve, answer, which.level)
        curve.set_title(words.level(fit.study, which.level), fontsize=9)
        _curve_rug(curve, answer)
        _chances(chance, answer, which.level)
        _within(chance, answer)
        curve.tick_params(labelbottom=False, labelleft=column == 0)
        chance.tick_params(labelbottom=True, labelleft=column == 0)
        if column == 0:
            curve.set_ylabel(f"{words.axis(described)}\n(better {side} 0)")
            chance.set_ylabel("probability")
    for panel in axes.ravel():
        if not panel.has_data():
            panel.set_axis_off()
    part.supxlabel(_measured(fit), fontsize=8.5)


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
    _changed(panel, answer, level)
    _extrapolated(panel, answer)
    _named(panel, answer)


def _changed(panel: Axes, answer: Effects, level: str) -> None:
    """On the line of no difference, where the better arm changes if it does."""
    for each in answer.crossings:
        own = each.place(answer.interval)
        if each.level == level and own["mean"] == own["mean"]:
            told = f"where the better arm changes if it does, {words.level_of(answer.interval)}"
            ends = [own["lower"], own["upper"]]
            panel.plot(ends, [0, 0], color=CROSSING, linewidth=3.2, alpha=0.6, label=told)
            panel.plot(own["mean"], 0, "o", color=CROSSING, markersize=5)


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
    _curve_rug(panel, answer)
    panel.set_ylabel(f"expected score, {words.axis(described)}\n({described.better} is better)")
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
    _curve_rug(panel, answer)
    _extrapolated(panel, answer)
    _named(panel, answer)


def _curve_rug(panel: Axes, answer: Effects) -> None:
    """The observed ratings as ticks along the lower edge, as far as the curve runs.

    None of a run without rows.
    """
    if not len(answer.ratings):
        return
    low, high = answer.curves.moderator[[0, -1]]
    ratings = answer.ratings[(answer.ratings >= low) & (answer.ratings <= high)]
    panel.plot(
        ratings,
        np.full(len(ratings), 0.02),
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
    panel.set_xlabel(_measured(fit), fontsize=8.5)
    _within(panel, answer)


def _measured(fit: Fit) -> str:
    return f"{fit.study.measure.label}, {words.axis(fit.study.measure)}"


def _within(panel: Axes, answer: Effects) -> None:
    points = answer.curves.moderator
    margin = 0.02 * (points[-1] - points[0])
    panel.set_xlim(points[0] - margin, points[-1] + margin)


def _curve_headed(fit: Fit, answer: Effects) -> str:
    return words.with_patients(fit.study, answer.outcome, answer.patients)


def _over(fit: Fit, answer: Effects) -> str:
    ticks = f" Ticks: observed {fit.study.measure.name}." if len(answer.ratings) else ""
    return (
        f"Averaged over the n analysed patients, imagined in every arm, with "
        f"{words.therapist(answer.therapist)}.{ticks}"
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
        f"changes along the {fit.study.measure.name} is told by the difference of slopes, not "
        f"by where a band excludes zero. {words.arms(fit.study)}.{told}"
    )
