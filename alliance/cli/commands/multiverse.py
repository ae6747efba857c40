"""The command `multiverse`: names, options and help."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from alliance.cli.options.common import (
    DEFAULT_SEED,
    AtOption,
    EngineName,
    ExtrapolateAtOption,
    FigureOption,
    FormatOption,
    IntervalOption,
    ProfileName,
    SeedOption,
    TableFormat,
)
from alliance.cli.options.model_options import DataArgument, OutcomeOption, StudyArgument
from alliance.cli.options.scale_options import DaskOption, StoreOption, WorkersOption


def multiverse(
    study: StudyArgument,
    data: DataArgument,
    outcome: OutcomeOption = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this choice: likelihood, therapist, covariates, missing_alliance, "
            "prior_scale or patients; may be repeated. All by default."
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Cross every likelihood with all other choices; by default those that must be "
            "compiled only with therapists and missing ratings.",
        ),
    ] = False,
    quantity: Annotated[
        list[str] | None,
        typer.Option(
            help="Draw only this quantity, such as interaction or interaction:MCE-GE; may be "
            "repeated. By default average slope, arm contrasts and interactions."
        ),
    ] = None,
    interval: IntervalOption = 0.95,
    at: AtOption = None,
    extrapolate: ExtrapolateAtOption = False,
    profile: Annotated[
        ProfileName, typer.Option(help="How much is sampled for each analysis.")
    ] = ProfileName.CI,
    engine: Annotated[
        EngineName | None,
        typer.Option(help="nuts for every analysis; by default instant where it fits."),
    ] = None,
    store: StoreOption = Path("multiverse.sqlite"),
    dask: DaskOption = None,
    workers: WorkersOption = None,
    seed: SeedOption = DEFAULT_SEED,
    figure: FigureOption = None,
    table_format: FormatOption = TableFormat.TABLE,
) -> None:
    """Fit every defensible analysis of the trial, and show what the conclusions hang on.

    The figure is the specification curve of each quantity. Analyses whose draws failed the gate are
    shown as such, and counted in no summary.
    """
    # Imported when the command runs: help and usage errors must not wait for pandas.
    import_module("alliance.cli.outputs.multiverse").multiverse(
        study,
        data,
        outcomes=outcome or [],
        vary=vary or [],
        full=full,
        quantities=quantity or [],
        interval=interval,
        at=at,
        extrapolate=extrapolate,
        profile=profile.value,
        engine=None if engine is None else engine.value,
        store=store,
        dask=dask,
        workers=workers,
        seed=seed,
        figure=figure,
        table_format=table_format.value,
    )
