"""`alliance predict`: its options and their help."""

from __future__ import annotations

from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from alliance.cli.options.common import (
    AnswerSeedOption,
    FigureOption,
    FormatOption,
    HideSingleOption,
    IntervalOption,
    RunArgument,
    TableFormat,
)

VALUES = "VALUES"  # how lists of numbers are shown in the help


class AverageOver(StrEnum):
    """Patients whom averages are taken over."""

    TRIAL = "trial"
    ROWS = "rows"


def predict(
    run: RunArgument,
    outcome: Annotated[
        list[str] | None, typer.Option(help="Only this outcome; may be repeated.")
    ] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(help="Only this arm, by its code; may be repeated. All arms by default."),
    ] = None,
    alliance: Annotated[
        list[str] | None,
        typer.Option(
            metavar=VALUES,
            help="Values of the alliance: 70,90 or start:stop:step, as 60:110:5; may be repeated. "
            "Its mean by default.",
        ),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(metavar=VALUES, help="Values of the baseline score, in the same way."),
    ] = None,
    covariate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUES",
            help="Values of a covariate, as age=40:70:10 or sex=F,M; a level with commas in it in "
            "double quotes; may be repeated.",
        ),
    ] = None,
    patients: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Patients in a table with the study file's columns, not a grid."
        ),
    ] = None,
    therapist: Annotated[
        str | None,
        typer.Option(
            help="new, average, or a therapist's id (in double quotes if it is such a word); "
            "with --average-over also known (all of the "
            "run) and own. By default the file's therapists, otherwise new.",
        ),
    ] = None,
    at_least: Annotated[
        float | None, typer.Option(help="Also the chance of a score of at least so much.")
    ] = None,
    at_most: Annotated[
        float | None, typer.Option(help="Also the chance of a score of at most so much.")
    ] = None,
    change: Annotated[
        float | None,
        typer.Option(help="Also the chance to improve on the baseline by at least so much."),
    ] = None,
    contrasts: Annotated[
        bool, typer.Option("--contrasts", help="Also compare the arms for the same patient.")
    ] = False,
    better_by: Annotated[
        float | None,
        typer.Option(help="Also the chance that the later arm is better by at least so much."),
    ] = None,
    average_over: Annotated[
        AverageOver | None,
        typer.Option(
            help="Averages instead of single patients: over the trial's patients, or over the "
            "rows asked about (grid or file)."
        ),
    ] = None,
    extrapolate: Annotated[
        bool,
        typer.Option(
            "--extrapolate",
            help="Allow an alliance, a baseline or a covariate beyond what was observed, and mark "
            "it.",
        ),
    ] = False,
    interval: IntervalOption = 0.95,
    seed: AnswerSeedOption = None,
    figure: FigureOption = None,
    table_format: FormatOption = TableFormat.TABLE,
) -> None:
    """Predict outcomes of patients: expected scores, single outcomes, chances, arms compared.

    Nothing is fitted again. Without options: a patient at the means, in every arm, with a new
    therapist.
    """
    import_module("alliance.cli.outputs.predict").predict(
        run,
        outcomes=outcome or [],
        arms=arm or [],
        alliance=alliance or [],
        baseline=baseline or [],
        covariates=covariate or [],
        patients=patients,
        therapist=therapist,
        thresholds={
            "at_least": at_least,
            "at_most": at_most,
            "change": change,
            "better_by": better_by,
        },
        contrasts=contrasts or better_by is not None,
        average_over=None if average_over is None else average_over.value,
        extrapolate=extrapolate,
        interval=interval,
        seed=seed,
        figure=figure,
        table_format=table_format.value,
    )


def therapists(
    run: RunArgument,
    outcome: Annotated[
        list[str] | None, typer.Option(help="Only this outcome; may be repeated.")
    ] = None,
    alliance: Annotated[
        float | None,
        typer.Option(
            help="Where therapists are compared, as slopes may vary. The mean by default."
        ),
    ] = None,
    extrapolate: Annotated[
        bool,
        typer.Option("--extrapolate", help="Allow an alliance that was not observed, and mark it."),
    ] = False,
    interval: IntervalOption = 0.95,
    hide_single: HideSingleOption = False,
    figure: FigureOption = None,
    table_format: FormatOption = TableFormat.TABLE,
) -> None:
    """Compare the therapists: effects, ranks, share of variance, differences in the alliance."""
    import_module("alliance.cli.outputs.predict").therapists(
        run,
        outcomes=outcome or [],
        alliance=alliance,
        extrapolate=extrapolate,
        interval=interval,
        hide_single=hide_single,
        figure=figure,
        table_format=table_format.value,
    )
