"""The commands `effects` and `decide`: names, options and help."""

from __future__ import annotations

from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from alliance.cli.options.common import (
    AnswerSeedOption,
    FormatOption,
    IntervalOption,
    RunArgument,
    TableFormat,
)


class Plot(StrEnum):
    """What a figure of effects shows."""

    EFFECT = "effect"
    SCORE = "score"
    BEST = "best"


OutcomesOption = Annotated[
    list[str] | None, typer.Option("--outcome", help="Only this outcome; may be repeated.")
]
ContrastsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--contrast",
        help="MCE-GE for MCE minus GE, in either order; may be repeated. All pairs by default.",
    ),
]
AllianceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--alliance", help="Values to answer at: 40, or 40,50, or 60:110:5; may be repeated."
    ),
]
ThresholdOption = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold",
        help="Chance of being better by this many points; pain=2 where there are several outcomes.",
    ),
]
RopeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--rope", help="Chance that a contrast lies in LOW:HIGH, differences that count as nothing."
    ),
]
SourceOption = Annotated[
    str | None,
    typer.Option("--source", help="Where thresholds and regions come from; told with the answers."),
]
ExtrapolateOption = Annotated[
    bool,
    typer.Option("--extrapolate", help="Allow values beyond the observed alliance, and mark them."),
]


def _output() -> Any:
    # Imported when a command runs: help and usage errors must not wait for pandas and PyMC.
    return import_module("alliance.cli.outputs.effects")


def effects(
    run: RunArgument,
    outcome: OutcomesOption = None,
    contrast: ContrastsOption = None,
    values: AllianceOption = None,
    threshold: ThresholdOption = None,
    rope: RopeOption = None,
    source: SourceOption = None,
    grid: Annotated[
        int, typer.Option(help="Values of the alliance that curve and bands are computed at.")
    ] = 41,
    interval: IntervalOption = 0.95,
    therapist: Annotated[
        str,
        typer.Option(
            help="Who treats all patients: average, new (bands then hold what differs between "
            "therapists), or a therapist's id (in double quotes if it is one of these words)."
        ),
    ] = "average",
    extrapolate: ExtrapolateOption = False,
    seed: AnswerSeedOption = None,
    figure: Annotated[
        Path | None, typer.Option(help="Also draw a figure: FILE.png, .svg or .pdf.")
    ] = None,
    plot: Annotated[
        Plot,
        typer.Option(
            help="What the figure shows: contrasts with their bands, the arms' expected scores, "
            "or the chance that each arm is best."
        ),
    ] = Plot.EFFECT,
    table_format: FormatOption = TableFormat.TABLE,
) -> None:
    """Compare the arms along the alliance: curves with bands, regions, difference of slopes.

    A threshold counts in the direction of improvement; none has a default.
    """
    _output().effects(
        run,
        outcomes=outcome or [],
        contrasts=contrast or [],
        alliance=values or [],
        thresholds=threshold or [],
        ropes=rope or [],
        source=source,
        grid=grid,
        interval=interval,
        therapist=therapist,
        extrapolate=extrapolate,
        seed=seed,
        figure=figure,
        plot=plot.value,
        table_format=table_format.value,
    )


def decide(
    run: RunArgument,
    outcome: OutcomesOption = None,
    contrast: ContrastsOption = None,
    values: AllianceOption = None,
    threshold: ThresholdOption = None,
    rope: RopeOption = None,
    reach: Annotated[
        list[str] | None,
        typer.Option(
            "--reach", help="Share of patients with this score or a better one; pain=3 as above."
        ),
    ] = None,
    source: SourceOption = None,
    lift: Annotated[
        float | None,
        typer.Option(help="What changes if every patient's alliance is this many points higher."),
    ] = None,
    interval: IntervalOption = 0.95,
    extrapolate: ExtrapolateOption = False,
    seed: AnswerSeedOption = None,
    table_format: FormatOption = TableFormat.TABLE,
) -> None:
    """Hold effects against thresholds: chances, shares who improve, a lifted alliance.

    With a threshold and a baseline also the share of patients who improve by so much. No threshold
    has a default.
    """
    _output().decide(
        run,
        outcomes=outcome or [],
        contrasts=contrast or [],
        alliance=values or [],
        thresholds=threshold or [],
        ropes=rope or [],
        reaches=reach or [],
        source=source,
        lift=lift,
        interval=interval,
        extrapolate=extrapolate,
        seed=seed,
        table_format=table_format.value,
    )
