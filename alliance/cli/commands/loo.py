"""The command `loo`: names, options and help."""

from __future__ import annotations

from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from alliance.cli.options.common import RUN_HELP, FigureOption, FormatOption, TableFormat


class LeftOut(StrEnum):
    """What is left out at a time."""

    PATIENT = "patient"
    THERAPIST = "therapist"


class Refits(StrEnum):
    """Which therapists are left out by fitting again."""

    NEEDED = "needed"
    ALL = "all"
    NONE = "none"


def loo(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help=f"{RUN_HELP} With several, the fits are compared."),
    ],
    outcome: Annotated[
        list[str] | None, typer.Option("--outcome", help="Only this outcome; may be repeated.")
    ] = None,
    by: Annotated[
        LeftOut,
        typer.Option(
            help="What is left out at a time: a patient, who keeps the therapist, or a therapist "
            "with all patients."
        ),
    ] = LeftOut.PATIENT,
    refits: Annotated[
        Refits,
        typer.Option(
            help="By therapist: fit again without those whose Pareto k is too high, all, or none."
        ),
    ] = Refits.NEEDED,
    pointwise: Annotated[
        bool,
        typer.Option(
            "--pointwise", help="One row for each patient, by position, or therapist left out."
        ),
    ] = False,
    cores: Annotated[
        int | None, typer.Option(min=1, help="Chains run at a time; never changes a draw.")
    ] = None,
    figure: FigureOption = None,
    table_format: FormatOption = TableFormat.TABLE,
) -> None:
    """Leave out patients or therapists: how well they are predicted, and which fit predicts better.

    Runs that are compared must be of the same patients, with other terms or another family.
    """
    # Imported when the command runs: help and usage errors must not wait for pandas and PyMC.
    import_module("alliance.cli.outputs.loo").loo(
        runs,
        outcomes=outcome or [],
        by=by.value,
        refits="where needed" if refits is Refits.NEEDED else refits.value,
        pointwise=pointwise,
        cores=cores,
        figure=figure,
        table_format=table_format.value,
    )
