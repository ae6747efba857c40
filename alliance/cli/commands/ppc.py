"""The command `ppc`: names, options and help."""

from __future__ import annotations

from enum import StrEnum
from importlib import import_module
from typing import Annotated

import typer

from alliance.cli.options.common import FigureOption, FormatOption, RunArgument, TableFormat


class PredictivePlot(StrEnum):
    """What a figure of posterior predictive checks shows."""

    DISTRIBUTION = "distribution"
    THERAPISTS = "therapists"
    STATISTICS = "statistics"


def ppc(
    run: RunArgument,
    outcome: Annotated[
        list[str] | None, typer.Option("--outcome", help="Only this outcome; may be repeated.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the replicates; the run's own by default.")
    ] = None,
    figure: FigureOption = None,
    plot: Annotated[
        PredictivePlot,
        typer.Option(
            help="What the figure shows: scores over all patients and by arm, therapists' means, "
            "or test statistics."
        ),
    ] = PredictivePlot.DISTRIBUTION,
    table_format: FormatOption = TableFormat.TABLE,
) -> None:
    """Check whether outcomes replicated under the model look like those observed.

    A check that asks for a REVIEW says what to do; the exit code stays 0.
    """
    # Imported when the command runs: help and usage errors must not wait for pandas and PyMC.
    import_module("alliance.cli.outputs.ppc").ppc(
        run,
        outcomes=outcome or [],
        seed=seed,
        figure=figure,
        plot=plot.value,
        table_format=table_format.value,
    )
