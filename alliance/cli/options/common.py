"""Options that several commands share, with their help: nothing that takes long to import."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_SEED = 2013  # the year of the paper; any number would do, and it stands in the manifest
LARGEST_SEED = 2**63 - 1  # as in `inference.runs.fitting`, which help cannot wait for
RUN_HELP = "Folder that `alliance fit --out` wrote."


class TableFormat(StrEnum):
    """How a table is printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


class ProfileName(StrEnum):
    """Sampling profiles; the same names as `inference.sampling.profiles.PROFILES`."""

    CI = "ci"
    STANDARD = "standard"
    PUBLICATION = "publication"


class EngineName(StrEnum):
    """Ways to the posterior; the same names as `inference.sampling.profiles.Engine`."""

    NUTS = "nuts"
    INSTANT = "instant"


class EffectsKept(StrEnum):
    """How therapists' effects are kept; as `inference.sampling.profiles.TherapistEffectsKept`."""

    AUTO = "auto"
    DRAWS = "draws"
    SUMMARY = "summary"


RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help=RUN_HELP)]
FormatOption = Annotated[TableFormat, typer.Option("--format", help="How tables are printed.")]
SeedOption = Annotated[
    int, typer.Option(min=0, max=LARGEST_SEED, help="The same seed gives the same draws.")
]
AnswerSeedOption = Annotated[
    int | None,
    typer.Option("--seed", min=0, max=LARGEST_SEED, help="Of random draws; the run's by default."),
]
FigureOption = Annotated[
    Path | None, typer.Option("--figure", help="Also draw a figure: FILE.png, .svg or .pdf.")
]
IntervalOption = Annotated[
    float, typer.Option(help="Probability of the equal-tailed intervals, between 0 and 1.")
]
HideSingleOption = Annotated[
    bool,
    typer.Option(
        "--hide-single",
        help="Leave out therapists with one patient: what is said of them is said of the patient.",
    ),
]
AtOption = Annotated[
    float | None,
    typer.Option(
        "--at",
        metavar="VALUE",
        help="Compare the arms at this alliance, in its own points; by default at the mean of the "
        "analysed patients.",
    ),
]
ExtrapolateAtOption = Annotated[
    bool,
    typer.Option("--extrapolate", help="Allow an alliance that was not observed, and mark it."),
]
