"""`alliance therapists`: one line for each therapist, best first, and how much they differ."""

from __future__ import annotations

from typing import Annotated

import typer

from alliance.cli import screen
from alliance.cli.options import (
    ExtrapolateAtOption,
    FigureOption,
    FormatOption,
    HideSingleOption,
    IntervalOption,
    OutcomeOption,
    RunArgument,
)
from alliance.cli.runs import load_run


def therapists(
    run: RunArgument,
    outcome: OutcomeOption = None,
    alliance: Annotated[
        float | None,
        typer.Option(
            help="Where therapists are compared, as slopes may vary. The mean by default."
        ),
    ] = None,
    extrapolate: ExtrapolateAtOption = False,
    interval: IntervalOption = 0.95,
    hide_single: HideSingleOption = False,
    figure: FigureOption = None,
    table_format: FormatOption = "table",
) -> None:
    """Compare the therapists: effects, ranks, share of variance, differences in the alliance."""
    from alliance.inference.answers.therapists import therapists as described

    fit = load_run(run)
    answers = [
        described(
            fit[name],
            alliance=alliance,
            interval=interval,
            extrapolate=extrapolate,
            hide_single=hide_single,
        )
        for name in fit.chosen(outcome or [])
    ]
    if any(answer.ranks is None for answer in answers):
        screen.note(
            "The model has no therapist effects: only the alliance is described. Fit with "
            "--therapist intercept or intercept+slope to compare therapists."
        )
    if figure is not None:
        from alliance.diagnostics.figures.therapist_figure import therapist_figure

        screen.save(therapist_figure(fit, answers), figure)
    if table_format != "table":
        tables = [answer.table for answer in answers]
        screen.frame(tables, table_format, simulated=fit.study.simulated)
        return
    from alliance.diagnostics.sheets import therapists as sheets

    for answer in answers:
        screen.show(fit.study, [sheets.therapists(fit, answer)])
        legend = [*sheets.therapists_legend(fit, answer), ""]
        screen.show(fit.study, [sheets.spreads(fit, answer)], legend)
