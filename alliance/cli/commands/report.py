"""The command `report`: name, options and help."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from alliance.cli.options.common import (
    AtOption,
    ExtrapolateAtOption,
    HideSingleOption,
    IntervalOption,
    RunArgument,
)


def report(
    run: RunArgument,
    out: Annotated[
        Path | None, typer.Option(help="The HTML file; report.html in the run folder by default.")
    ] = None,
    tables: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Also write each table there, as CSV, Markdown and LaTeX."
        ),
    ] = None,
    published: Annotated[
        Path | None,
        typer.Option(help="A published.toml, instead of the one that was kept with the run."),
    ] = None,
    interval: IntervalOption = 0.95,
    at: AtOption = None,
    extrapolate: ExtrapolateAtOption = False,
    hide_single: HideSingleOption = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace tables, or a file that is no report; an earlier report always is.",
        ),
    ] = False,
) -> None:
    """Write the report: one HTML file to read, print and send; exit code 3 if the gate failed.

    It needs no network and no script, and holds no patient's row and no patient's identifier.
    """
    # Imported when the command runs: help and usage errors must not wait for pandas and PyMC.
    import_module("alliance.cli.outputs.report").report(
        run,
        out,
        tables,
        published,
        interval=interval,
        overwrite=overwrite,
        at=at,
        extrapolate=extrapolate,
        hide_single=hide_single,
    )
