"""Several trials in one model: `trials`."""

from __future__ import annotations

from typing import Annotated

import typer

from alliance.cli import screen
from alliance.cli.options import (
    CoresOption,
    FigureOption,
    FormatOption,
    IntervalOption,
    OutcomeOption,
    RunArgument,
)
from alliance.cli.runs import load_run


def trials(
    run: RunArgument,
    outcome: OutcomeOption = None,
    quantity: Annotated[
        list[str] | None,
        typer.Option(
            help="arm_contrast, moderator_slope or interaction; may be repeated. All by default."
        ),
    ] = None,
    leave_one_out: Annotated[
        bool,
        typer.Option("--leave-one-out", help="Also fit again without each trial in turn."),
    ] = False,
    per_sd: Annotated[
        bool, typer.Option("--per-sd", help="Moderator slopes for one SD instead of one point.")
    ] = False,
    interval: IntervalOption = 0.95,
    cores: CoresOption = None,
    figure: FigureOption = None,
    table_format: FormatOption = "table",
) -> None:
    """Show several trials of one model: each of them, the average, a new one, what they differ by.

    The run comes from `alliance fit STUDY DATA --several-trials varying`, or fixed. The figure is a
    forest plot.
    """
    from alliance.diagnostics.sheets import trials as sheets
    from alliance.inference.trials.asked import several_trials

    fitted = load_run(run, rows=False)
    with screen.fits_progress() as progress:
        found = several_trials(
            fitted,
            outcome or [],
            quantities=quantity or [],
            interval=interval,
            per_sd=per_sd,
            leave_one_out=leave_one_out,
            cores=cores,
            progress=progress,
        )
    if figure is not None:
        from alliance.diagnostics.figures.trials_figure import trials_figure

        each = next(iter(found.each.values()))
        if len(found.each) > 1:
            screen.note("The figure shows the first outcome; name another with --outcome.")
        screen.save(trials_figure(fitted, each, interval=interval), figure)
    if table_format != "table":
        screen.frame(found.table, table_format, study=fitted.study)
        return
    shown = sheets.sheets(fitted, found, interval=interval)
    screen.show(fitted.study, shown, sheets.legend(fitted))
