"""Options of commands that take a study and its data: both, and the settings of the model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Likelihood(StrEnum):
    """Which outcome families are used."""

    PUBLISHED = "published"
    NATIVE = "native"


class TherapistSetting(StrEnum):
    """What varies between therapists."""

    NONE = "none"
    INTERCEPT = "intercept"
    INTERCEPT_SLOPE = "intercept+slope"


class AllianceStructure(StrEnum):
    """How the alliance is taken apart."""

    TOTAL = "total"
    WITHIN_BETWEEN = "within_between"


class MissingAlliance(StrEnum):
    """What happens to patients without a rating."""

    COMPLETE_CASE = "complete_case"
    IMPUTE = "impute"


StudyArgument = Annotated[
    str,
    typer.Argument(
        metavar="STUDY",
        help="A study.toml, or the name of a study that comes along: ferreira2013, headache.",
    ),
]
DataArgument = Annotated[
    Path,
    typer.Argument(metavar="DATA", help="Table: .csv .tsv .txt .xlsx .parquet .dta .sav"),
]
OutcomeOption = Annotated[
    list[str] | None, typer.Option("--outcome", help="Only this outcome; may be repeated.")
]
LikelihoodOption = Annotated[
    Likelihood | None,
    typer.Option(help="published: Gaussian, as linear models are; native: the study's family."),
]
TherapistOption = Annotated[
    TherapistSetting | None, typer.Option(help="What varies between therapists.")
]
TherapistByArmOption = Annotated[
    bool | None,
    typer.Option(
        "--therapist-by-arm/--no-therapist-by-arm",
        help="Whether arm effects vary between therapists.",
    ),
]
InteractionOption = Annotated[
    bool | None,
    typer.Option(
        "--interaction/--no-interaction", help="Whether alliance slopes differ between arms."
    ),
]
StructureOption = Annotated[
    AllianceStructure | None,
    typer.Option("--alliance", help="One slope, or one within and one between therapists."),
]
BetweenInteractionOption = Annotated[
    bool | None,
    typer.Option(
        "--between-interaction/--no-between-interaction",
        help="Whether the slope between therapists differs between arms too.",
    ),
]
MissingAllianceOption = Annotated[
    MissingAlliance | None,
    typer.Option(help="Patients without a rating: left out, or imputed inside the model."),
]
ReliabilityOption = Annotated[
    bool | None,
    typer.Option(
        "--reliability/--no-reliability",
        help="Whether ratings are the true alliance plus noise, by the study's reliability.",
    ),
]
CeilingOption = Annotated[
    bool | None,
    typer.Option(
        "--ceiling/--no-ceiling",
        help="Whether ratings at the top of the range may stand for more.",
    ),
]
JointOption = Annotated[
    bool | None,
    typer.Option(
        "--joint/--no-joint", help="Whether all outcomes are modelled together (Gaussian)."
    ),
]
