"""Predicted outcomes by arm: expected scores and single outcomes, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from alliance.data_prep.errors import InputError
from alliance.diagnostics import words
from alliance.diagnostics.figures.figure_page import COLOURS, STYLE, Page, hatch_extrapolated
from alliance.inference.answers.predictions import Predictions, covariate_heads, unseen_columns
from alliance.inference.runs.fit import Fit

PANEL_INCHES, CURVE_INCHES = 3.1, 3.4  # width and height of a panel along the alliance
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
    along = _differs(answers[0].table["moderator"])
    width = max(6.6, PANEL_INCHES * arms + 0.6) if along else 7.6
    height = CURVE_INCHES if along else AROUND_INCHES + ROW_INCHES * arms
    page = Page(fit, width, [height] * len(answers), _caption(fit, answers))
    with mpl.rc_context(STYLE):
        for part, answer in zip(page.strips, answers, strict=True):
            part.suptitle(_headed(fit, answer), x=0.01, ha="left", fontsize=9.5)
            (_curves if along else _points)(part, fit, answer)
        page.legend(page.strips[0].axes[0])
    return page.figure


def _require_one_patient(fit: Fit, answer: Predictions) -> None:
    table = answer.table
    head = table.columns[: table.columns.get_loc("extrapolated")]
    differing = [
        name
        for name in head
        if name not in ("outcome", "patient", *ALONG) and _differs(table[name])
    ]
    if not differing and table.duplicated(list(ALONG)).any():
        differing = ["patient"]
    if differing:
        raise InputError(
            f"The figure shows one patient in every arm along the {fit.study.moderator.name}, and "
            f"the rows asked about differ in {', '.join(differing)}.",
            "Give one value of each, or leave the figure out: the table has all rows.",
        )


def _differs(values: pd.Series) -> bool:
    return bool((values != values.iloc[0]).any())


def _curves(part: SubFigure, fit: Fit, answer: Predictions) -> None:
    arms = list(answer.table["arm"].unique())
    panels = part.subplots(1, len(arms), squeeze=False, sharex=True, sharey=True)[0]
    patients = fit.patients(answer.outcome)
    own = np.asarray(patients["arm"].values)[patients["arm_index"].values]
    ratings = patients["moderator"].values
    observed = np.nanmin(ratings), np.nanmax(ratings)
    for arm, panel in zip(arms, panels, strict=True):
        rows = answer.table[answer.table["arm"] == arm].sort_values("moderator")
        _curve(panel, rows, answer.interval)
        _rug(panel, ratings[own == arm])
        values = rows["moderator"]
        hatch_extrapolated(panel, values.min(), values.max(), observed)
        panel.set_title(f"{fit.study.arms[arm]} (n = {(own == arm).sum()})", fontsize=9)
    moderator, described = fit.study.moderator, fit.study.outcomes[answer.outcome]
    part.supxlabel(
        f"{moderator.label}, points of {moderator.range[0]:g} to {moderator.range[1]:g}",
        fontsize=8.5,
    )
    _ends_of_scale(panels, described.range, upright=True)
    panels[0].set_ylabel(_scale(fit, answer))


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
    patients = fit.patients(answer.outcome)
    counts = np.bincount(patients["arm_index"].values, minlength=len(fit.study.arms))
    number = dict(zip(patients["arm"].values.tolist(), counts.tolist(), strict=True))
    names = [f"{fit.study.arms[arm]} (n = {number[arm]})" for arm in table["arm"]]
    panel.set_yticks(heights, names)
    panel.set_ylim(len(table) - 0.5, -0.5)  # the first arm on top
    panel.grid(axis="x", color="0.92")
    panel.set_axisbelow(True)
    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)
    _ends_of_scale([panel], fit.study.outcomes[answer.outcome].range, upright=False)
    panel.set_xlabel(_scale(fit, answer).replace("\n", " "))


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
    low, high = described.range
    return f"score, points of {low:g} to {high:g}\n({described.better} is better)"


def _caption(fit: Fit, answers: Sequence[Predictions]) -> str:
    first = answers[0].table.iloc[0]
    therapist = str(first["therapist"])
    level, moderator = words.level_of(answers[0].interval), fit.study.moderator
    parts = [
        f"Predictions for one patient in every arm, with {words.therapist(therapist)}; {level} "
        "equal-tailed intervals, for each value by itself. n: analysed patients."
    ]
    if not _differs(answers[0].table["moderator"]):
        unseen = unseen_columns(fit.design(answers[0].outcome), answers[0].table)
        marked = " (extrapolated: no ratings)" * ("moderator" in unseen)
        parts.append(f"{moderator.label}: {first['moderator']:.4g}{marked}.")
    parts += [_fixed(fit, answer, len(answers) > 1) for answer in answers]
    return " ".join(part for part in parts if part)


def _fixed(fit: Fit, answer: Predictions, several: bool) -> str:
    """What is the same for all rows: baseline and covariates."""
    design = fit.design(answer.outcome)
    names = ["baseline"] * design.has_baseline + [*covariate_heads(design)]
    names = [name for name in names if name in answer.table]
    row, unseen = answer.table.iloc[0], unseen_columns(design, answer.table)
    told = ", ".join(
        f"{name} {row[name]:.4g}{' (extrapolated)' * (name in unseen)}" for name in names
    )
    if not told:
        return ""
    whose = f"{fit.study.outcomes[answer.outcome].label}: " if several else "The same in all: "
    return f"{whose}{told}."
