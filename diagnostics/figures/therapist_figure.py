"""A caterpillar plot: what each therapist adds to the outcome, and the slopes of the alliance."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from alliance.data_prep.errors import InputError
from alliance.diagnostics import words
from alliance.diagnostics.figures.drawing import columns_of
from alliance.diagnostics.figures.figure_page import COLOURS, STYLE, Page
from alliance.inference.answers.therapists import Therapists
from alliance.inference.runs.fit import Fit

ROW_INCHES, AROUND_INCHES = 0.22, 1.0  # for each therapist, and for an outcome's title and axis
MOST_NAMED = 60  # with more therapists, their names would cover one another
TALLEST_INCHES = MOST_NAMED * ROW_INCHES + AROUND_INCHES
WIDTH = {1: 6.6, 2: 9.2}  # by the number of panels side by side
LEAST_INCHES = 2.6  # width of a panel that has less room
QUANTITIES = ("therapist_effect", "therapist_slope")


def therapist_figure(fit: Fit, answers: Sequence[Therapists]) -> Figure:
    """Draw the therapists' effects, best first, and their slopes of the alliance if they vary.

    Parameters
    ----------
    fit : Fit
    answers : sequence of Therapists
        Of one interval, and of a study's outcomes: what varies between therapists is the same.

    Returns
    -------
    matplotlib.figure.Figure
        One strip for each outcome, one line for each therapist with the number of patients.

    Raises
    ------
    InputError
        If the model of no outcome has therapist effects.
    """
    drawn = [answer for answer in answers if answer.ranks is not None]
    if not drawn:
        raise InputError(
            "The model has no therapist effects to draw.",
            'Fit with `therapist="intercept"` or intercept+slope.',
        )
    shown = [name for name in QUANTITIES if len(_rows(drawn[0], name))]
    columns = columns_of(len(shown), WIDTH[len(shown)], LEAST_INCHES)
    rows = [len(_rows(answer, QUANTITIES[0])) for answer in drawn]
    # Without names two panels below one another need no more room than two side by side
    lines = [len(shown) // columns if count <= MOST_NAMED else 1 for count in rows]
    heights = [
        times * min(TALLEST_INCHES, AROUND_INCHES + ROW_INCHES * count)
        for times, count in zip(lines, rows, strict=True)
    ]
    page = Page(fit, WIDTH[len(shown)], heights, _caption(fit, drawn))
    with mpl.rc_context(STYLE):
        for part, answer in zip(page.strips, drawn, strict=True):
            _outcome(part, fit, answer, shown, columns)
        page.legend(page.strips[0].axes[-1])
    return page.finished()


def _rows(answer: Therapists, quantity: str) -> pd.DataFrame:
    return answer.table[answer.table["quantity"] == quantity].set_index("level")


def _outcome(
    part: SubFigure, fit: Fit, answer: Therapists, shown: Sequence[str], columns: int
) -> None:
    described = fit.study.outcomes[answer.outcome]
    effects = _rows(answer, "therapist_effect")
    order = list(effects.index)  # best first
    patients = int(effects["patients"].sum())
    part.suptitle(
        f"{described.label} ({len(order)} therapists, n = {patients})",
        x=0.01,
        ha="left",
        fontsize=9.5,
    )
    lines = len(shown) // columns
    panels = part.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    share = words.level_of(answer.interval)
    side = "above" if described.better == "higher" else "below"
    name, place = words.of_moderator(fit.study, "{name}"), ""
    if name:
        at = effects["moderator"].iloc[0]
        low, high = fit[answer.outcome].observed_alliance
        beyond = " (extrapolated)" * (not low <= at <= high)
        place = f" at {name} {at:.4g}{beyond}"
    slope = words.unit(fit.study, "therapist_slope", outcome=answer.outcome) if name else ""
    labels = {
        "therapist_effect": f"effect{place}, {words.axis(described)}\n(better {side} 0)",
        "therapist_slope": f"slope: {slope}\n({described.better} scores are better)",
    }
    for panel, quantity in zip(panels, shown, strict=True):
        _caterpillar(panel, _rows(answer, quantity).loc[order], share)
        panel.set_xlabel(labels[quantity])
    if "therapist_slope" in shown:
        panels[-1].axvline(
            _rows(answer, "therapist_slope")["mean"].mean(),
            color=COLOURS[5],
            linewidth=1.1,
            linestyle="--",
            zorder=0,
            label="mean of these therapists' slopes",
        )
    first = panels[0]
    first.set_ylim(len(order) - 0.4, -0.6)  # the best on top
    if len(order) <= MOST_NAMED:
        names = [f"{name} (n = {effects['patients'][name]:.0f})" for name in order]
        first.set_yticks(range(len(order)), names)
        for panel in panels:
            panel.tick_params(axis="y", labelsize=8)
    else:
        first.set_yticks([])
        first.set_ylabel(f"{len(order)} therapists, best on top (names in the table)")


def _caterpillar(panel: Axes, rows: pd.DataFrame, share: str) -> None:
    panel.axvline(0, color="0.35", linewidth=0.9)
    panel.grid(axis="x", color="0.92")
    panel.set_axisbelow(True)
    few = len(rows) <= MOST_NAMED
    middle = rows["mean"].to_numpy()
    panel.errorbar(
        middle,
        np.arange(len(rows)),
        xerr=[middle - rows["lower"], rows["upper"] - middle],
        color=COLOURS[0],
        linestyle="none",
        marker="o",
        markersize=4.5 if few else 2,
        elinewidth=1.4 if few else 0.5,
        label=f"posterior mean and {share} interval",
    )
    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)


def _caption(fit: Fit, answers: Sequence[Therapists]) -> str:
    name = words.of_moderator(fit.study, "{name}")
    slopes = bool(len(_rows(answers[0], "therapist_slope")))
    told = f" Slope: change of the expected score with the {name}, with this therapist." * slopes
    return (
        "Effect: expected score with this therapist minus that with an average one, for a patient "
        f"at the means, averaged over arms; best on top.{told} n: the therapist's analysed "
        f"patients. {words.level_of(answers[0].interval)} equal-tailed intervals. Therapists with "
        "few patients are drawn towards the average, and order and overlap of single intervals say "
        "little: the table has ranks with their intervals."
    )
