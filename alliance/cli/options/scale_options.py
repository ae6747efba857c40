"""Options of commands that go beyond one file, one fit or one machine; quick to import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DaskOption = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="ADDRESS",
        help="Run on this Dask scheduler, such as tcp://10.0.0.1:8786, instead of this machine.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(min=1, help="Processes on this machine; one for each core by default."),
]
StoreOption = Annotated[
    Path,
    typer.Option(
        help="File that keeps every result as it comes; the same command goes on with it."
    ),
]
SampleOption = Annotated[
    int | None,
    typer.Option(
        "--sample-therapists",
        min=2,
        help="Of many files, all rows of so many therapists drawn at random, as an ordinary trial.",
    ),
]
