"""Options that commands share, and those of the model, made from where its settings are declared.

Quick to import: help and usage errors wait for nothing else.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

import typer

DEFAULT_SEED = 2013  # the year of the paper; any number would do, and it stands in the manifest
LARGEST_SEED = 2**63 - 1  # as in `inference.runs.fitting`, which help cannot wait for
RUN_HELP = "Folder that `alliance fit --out` wrote."
SAMPLING = "Sampling"
MANY = "Many fits, many files"

TableFormat = Literal["table", "csv", "json"]
ProfileName = Literal["ci", "standard", "publication"]  # as `inference.sampling.profiles.PROFILES`
EngineName = Literal["nuts", "instant"]  # as `inference.sampling.profiles.Engine`

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
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help=RUN_HELP)]
OutcomeOption = Annotated[
    list[str] | None, typer.Option("--outcome", help="Only this outcome; may be repeated.")
]
FormatOption = Annotated[TableFormat, typer.Option("--format", help="How tables are printed.")]
FigureOption = Annotated[
    Path | None, typer.Option("--figure", help="Also draw a figure: FILE.png, .svg or .pdf.")
]
IntervalOption = Annotated[
    float, typer.Option(help="Probability of the equal-tailed intervals, between 0 and 1.")
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
HideSingleOption = Annotated[
    bool,
    typer.Option(
        "--hide-single",
        help="Leave out therapists with one patient: what is said of them is said of the patient.",
    ),
]
ExtrapolateAtOption = Annotated[
    bool,
    typer.Option("--extrapolate", help="Allow an alliance that was not observed, and mark it."),
]
PublishedOption = Annotated[
    Path | None,
    typer.Option(help="A published.toml, instead of the one that was kept with the run."),
]
NestedOption = Annotated[
    bool, typer.Option("--nested", help="Each therapist treats in one arm only.")
]
SeedOption = Annotated[
    int, typer.Option(min=0, max=LARGEST_SEED, help="The same seed gives the same draws.")
]
OwnSeedOption = Annotated[
    int | None,
    typer.Option(min=0, max=LARGEST_SEED, help="Of random draws; the run's own by default."),
]
ProfileOption = Annotated[
    ProfileName,
    typer.Option(
        help="How much is sampled: ci 2 x 1000, standard 4 x 1000, publication 4 x 5000.",
        rich_help_panel=SAMPLING,
    ),
]
CoresOption = Annotated[
    int | None,
    typer.Option(
        min=1, help="Chains run at a time; never changes a draw.", rich_help_panel=SAMPLING
    ),
]
DaskOption = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="ADDRESS",
        help="Run on this Dask scheduler, such as tcp://10.0.0.1:8786, instead of this machine.",
        rich_help_panel=MANY,
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Processes on this machine; one for each core by default.",
        rich_help_panel=MANY,
    ),
]
StoreOption = Annotated[
    Path,
    typer.Option(
        help="File that keeps every result as it comes; the same command goes on with it.",
        rich_help_panel=MANY,
    ),
]


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Marks the parameter of a command in whose place the options of the model are.

    Attributes
    ----------
    only : tuple of str
        Settings that the command takes; empty for all.
    """

    only: tuple[str, ...] = ()


# What was typed, by the keys of [model]; what was not is left to the study file.
Settings = Mapping[str, Any]
AllSettings = Annotated[Settings, ModelOptions()]


def with_model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the model, in place of a parameter marked `ModelOptions`.

    Each field of `data_prep.study.parts.ModelSettings` becomes an option: its name, its choices
    and its description are those of the field.

    Parameters
    ----------
    command : callable

    Returns
    -------
    callable
        That passes what was typed as one mapping; the command itself if it takes no setting.
    """
    parameters = inspect.signature(command, eval_str=True).parameters
    marked = {
        name: mark
        for name, each in parameters.items()
        if get_origin(each.annotation) is Annotated
        for mark in each.annotation.__metadata__
        if isinstance(mark, ModelOptions)
    }
    if not marked:
        return command
    ((place, mark),) = marked.items()
    options = _model_parameters(mark.only)

    @wraps(command)
    def called(**given: Any) -> None:
        typed = {name: given.pop(name) for name in options}
        settings = {name: value for name, value in typed.items() if value is not None}
        command(**given, **{place: settings})

    replaced = [
        new
        for name, each in parameters.items()
        for new in (options.values() if name == place else [each])
    ]
    called.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what Typer reads
        [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in replaced]
    )
    return called


def _model_parameters(only: tuple[str, ...]) -> dict[str, inspect.Parameter]:
    # Imported when a command that has them runs or explains itself: pydantic takes its time.
    from alliance.data_prep.study.parts import ModelSettings

    found = {}
    for name, field in ModelSettings.model_fields.items():
        if only and name not in only:
            continue
        written = name.replace("_", "-")
        names = f"--{written}/--no-{written}" if field.annotation is bool else f"--{written}"
        told = field.description or ""
        option = typer.Option(
            names,
            help=f"{told[:1].upper()}{told[1:]}.",
            rich_help_panel="Model, in place of the settings in the study file",
        )
        found[name] = inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[field.annotation | None, option],  # type: ignore[operator]  # a type at run time
        )
    return found
