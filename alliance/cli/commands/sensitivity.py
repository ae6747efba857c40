"""The command `sensitivity`: names, options and help."""

from __future__ import annotations

from enum import StrEnum
from importlib import import_module
from typing import Annotated

import typer

from alliance.cli.options.common import FigureOption, FormatOption, RunArgument, TableFormat


class SensitivityKind(StrEnum):
    """What a result may hang on."""

    PRIORS = "priors"
    REFITS = "refits"
    INFLUENCE = "influence"
    UNSEEN = "unseen"


def sensitivity(
    run: RunArgument,
    outcome: Annotated[
        list[str] | None, typer.Option("--outcome", help="Only this outcome; may be repeated.")
    ] = None,
    kind: Annotated[
        SensitivityKind,
        typer.Option(
            help="What results may hang on: priors (by power-scaling), priors again (by refits "
            "with half and double scales), single patients and therapists, or an early improvement "
            "that the trial did not see."
        ),
    ] = SensitivityKind.PRIORS,
    each_prior: Annotated[
        bool,
        typer.Option(
            "--each-prior",
            help="Priors: sensitivity to each kind. Refits: each kind of scale alone too.",
        ),
    ] = False,
    all_units: Annotated[
        bool,
        typer.Option("--all-units", help="Influence: every patient and therapist, every quantity."),
    ] = False,
    cores: Annotated[
        int | None, typer.Option(min=1, help="Chains run at a time; never changes a draw.")
    ] = None,
    figure: FigureOption = None,
    table_format: FormatOption = TableFormat.TABLE,
) -> None:
    """Ask what the results hang on: priors, single persons, or what was not seen."""
    # Imported when the command runs: help and usage errors must not wait for pandas and PyMC.
    import_module("alliance.cli.outputs.sensitivity").sensitivity(
        run,
        outcomes=outcome or [],
        kind=kind.value,
        each_prior=each_prior,
        all_units=all_units,
        cores=cores,
        figure=figure,
        table_format=table_format.value,
    )
