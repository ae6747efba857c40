"""The command `assurance`: names, options and help."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from alliance.cli.options.common import (
    DEFAULT_SEED,
    EngineName,
    FigureOption,
    FormatOption,
    SeedOption,
    TableFormat,
)
from alliance.cli.options.model_options import StudyArgument, TherapistByArmOption, TherapistOption
from alliance.cli.options.scale_options import DaskOption, StoreOption, WorkersOption


def assurance(
    study: StudyArgument,
    patients: Annotated[
        list[str], typer.Option(metavar="LIST", help="Numbers of patients: 120,240 or 100:400:100.")
    ],
    therapists: Annotated[
        list[str], typer.Option(metavar="LIST", help="Numbers of therapists: 6,12,24.")
    ],
    interaction: Annotated[
        list[str],
        typer.Option(
            metavar="LIST",
            help="Differences of the two arms' alliance slopes, in residual SDs of the outcome for "
            "one SD of the alliance: 0,0.2,0.4. With 0 the chance is that of a false alarm.",
        ),
    ],
    outcome: Annotated[
        str | None, typer.Option(help="Which outcome; needed where there are several.")
    ] = None,
    contrast: Annotated[
        str | None,
        typer.Option(help="Which arms, such as MCE-GE; needed beyond two."),
    ] = None,
    probability: Annotated[
        float,
        typer.Option(help="A trial convinces if the interaction is this probable, either way."),
    ] = 0.975,
    threshold: Annotated[
        float, typer.Option(help="... to be beyond this, in the unit of --interaction.")
    ] = 0.0,
    therapist: TherapistOption = None,
    therapist_by_arm: TherapistByArmOption = None,
    nested: Annotated[
        bool, typer.Option("--nested", help="Each therapist treats in one arm only.")
    ] = False,
    alliance_slope: Annotated[
        float, typer.Option(help="Assumed: residual SDs for one SD of the alliance, average arm.")
    ] = 0.3,
    baseline_slope: Annotated[
        float, typer.Option(help="Assumed: residual SDs for one SD of the baseline.")
    ] = 0.5,
    therapist_sd: Annotated[
        float, typer.Option(help="Assumed: SD between therapists (0.23 is 5% of the variance).")
    ] = 0.23,
    therapist_slope_sd: Annotated[
        float, typer.Option(help="Assumed: SD of the alliance slope between therapists.")
    ] = 0.1,
    trials: Annotated[int, typer.Option(min=1, help="Simulated trials of each size.")] = 200,
    engine: Annotated[EngineName | None, typer.Option(help="instant by default.")] = None,
    store: StoreOption = Path("assurance.sqlite"),
    dask: DaskOption = None,
    workers: WorkersOption = None,
    seed: SeedOption = DEFAULT_SEED,
    figure: FigureOption = None,
    table_format: FormatOption = TableFormat.TABLE,
) -> None:
    """Tell how large a trial must be to find an interaction convincing.

    Trials of every size are simulated under the assumptions and analysed as the study file says:
    the chance that one convinces, how wide its interval is, and how wrong those are that convince.
    """
    # Imported when the command runs: help and usage errors must not wait for pandas.
    import_module("alliance.cli.outputs.assurance").assurance(
        study,
        patients=patients,
        therapists=therapists,
        interaction=interaction,
        outcome=outcome,
        contrast=contrast,
        criterion={"probability": probability, "threshold": threshold},
        settings={"therapist": therapist, "therapist_by_arm": therapist_by_arm},
        nested=nested,
        assumptions={
            "alliance_slope": alliance_slope,
            "baseline_slope": baseline_slope,
            "therapist_sd": therapist_sd,
            "therapist_slope_sd": therapist_slope_sd,
        },
        trials=trials,
        engine=None if engine is None else engine.value,
        store=store,
        dask=dask,
        workers=workers,
        seed=seed,
        figure=figure,
        table_format=table_format.value,
    )
