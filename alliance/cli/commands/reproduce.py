"""The command `reproduce`: names, options and help."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from alliance.cli.options.common import LARGEST_SEED, FormatOption, RunArgument, TableFormat


def reproduce(
    run: RunArgument,
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DATA]",
            help="The data to refit on; without it the analysed patients kept in the run.",
        ),
    ] = None,
    data_option: Annotated[
        Path | None, typer.Option("--data", metavar="DATA", help="The same, as an option.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=LARGEST_SEED, help="Another seed than the run's.")
    ] = None,
    cores: Annotated[
        int | None, typer.Option(min=1, help="Chains run at a time; never changes a draw.")
    ] = None,
    table_format: FormatOption = TableFormat.TABLE,
) -> None:
    """Refit a run from its study, specification, profile and seed: are the draws identical?

    Exit code 0 if they are, bit for bit; 3 if not, with how far apart the results are and which
    version, seed, data or machine differs.
    """
    if data is not None and data_option is not None:
        raise typer.BadParameter("give the data once.", param_hint="--data")
    import_module("alliance.cli.outputs.reproduce").reproduce(
        run,
        data=data_option if data is None else data,
        seed=seed,
        cores=cores,
        table_format=table_format.value,
    )
