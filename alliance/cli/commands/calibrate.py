"""The command `calibrate`: names, options and help."""

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
from alliance.cli.options.model_options import (
    BetweenInteractionOption,
    CeilingOption,
    InteractionOption,
    JointOption,
    LikelihoodOption,
    MissingAllianceOption,
    OutcomeOption,
    ReliabilityOption,
    StructureOption,
    StudyArgument,
    TherapistByArmOption,
    TherapistOption,
)
from alliance.cli.options.scale_options import DaskOption, StoreOption, WorkersOption


def calibrate(
    study: StudyArgument,
    data: Annotated[
        Path | None,
        typer.Option(help="A trial whose patients are kept; imagined ones by default."),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Simulated trials of each outcome.")] = 200,
    patients: Annotated[int, typer.Option(min=1, help="Patients imagined.")] = 182,
    therapists: Annotated[int, typer.Option(min=1, help="Therapists imagined.")] = 12,
    nested: Annotated[
        bool, typer.Option("--nested", help="Each imagined therapist treats in one arm only.")
    ] = False,
    outcome: OutcomeOption = None,
    likelihood: LikelihoodOption = None,
    therapist: TherapistOption = None,
    therapist_by_arm: TherapistByArmOption = None,
    interaction: InteractionOption = None,
    structure: StructureOption = None,
    between_interaction: BetweenInteractionOption = None,
    missing_alliance: MissingAllianceOption = None,
    reliability: ReliabilityOption = None,
    ceiling: CeilingOption = None,
    joint: JointOption = None,
    engine: Annotated[
        EngineName | None,
        typer.Option(help="instant by default for Gaussian outcomes as rated, nuts for others."),
    ] = None,
    store: StoreOption = Path("calibration.sqlite"),
    dask: DaskOption = None,
    workers: WorkersOption = None,
    seed: SeedOption = DEFAULT_SEED,
    figure: FigureOption = None,
    table_format: FormatOption = TableFormat.TABLE,
) -> None:
    """Check by simulation whether posteriors are as wide, and where, as they say.

    Parameters are drawn from the priors and trials from the parameters; each trial is fitted, and
    the true values must be spread evenly over the posteriors. Exit code 3 if they are not.
    """
    # Imported when the command runs: help and usage errors must not wait for pandas.
    import_module("alliance.cli.outputs.calibrate").calibrate(
        study,
        data,
        trials=trials,
        patients=patients,
        therapists=therapists,
        nested=nested,
        outcomes=outcome or [],
        settings={
            "likelihood": likelihood,
            "therapist": therapist,
            "therapist_by_arm": therapist_by_arm,
            "interaction": interaction,
            "alliance": structure,
            "between_interaction": between_interaction,
            "missing_alliance": missing_alliance,
            "reliability": reliability,
            "ceiling": ceiling,
            "joint": joint,
        },
        engine=None if engine is None else engine.value,
        store=store,
        dask=dask,
        workers=workers,
        seed=seed,
        figure=figure,
        table_format=table_format.value,
    )
