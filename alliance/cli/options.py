"""Options that commands share, and those of the model, made from where its settings are declared.

Quick to import: help and usage errors wait for nothing else.

Values as they are typed: ``60:110:5``, ``function:GE=-2``, ``age=40:70:10``, ``sex=F,M``.

Each reader takes one text, and refuses it with a message that says what may be written; the option
that it was written for is named by Typer, which calls the readers.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_origin

import typer

from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.levels import quoted

MOST_VALUES = 1000
ROUNDING = 1e-9  # of a step: by so much a list may miss its end


class Numbers(tuple[float, ...]):
    """Numbers of one list."""


class Counts(tuple[int, ...]):
    """Numbers of people of one list."""


def numbers(text: str) -> Numbers:
    """Read a list of numbers.

    Parameters
    ----------
    text : str
        A number, numbers with commas between, or START:END:STEP with both ends in it.

    Raises
    ------
    typer.BadParameter
        If it is none of these, or stands for no value or too many.

    Examples
    --------
    >>> numbers("60:70:5"), numbers("80,90")
    ((60.0, 65.0, 70.0), (80.0, 90.0))
    """
    if ":" not in text:
        return Numbers(_number(text, part) for part in text.split(","))
    parts = text.split(":")
    if len(parts) != 3:
        raise typer.BadParameter(
            f"{text} is not a list of values. Write START:END:STEP, for example 60:110:5."
        )
    start, end, step = (_number(text, part) for part in parts)
    if step <= 0 or end < start:
        raise typer.BadParameter(
            f"{text}: the grid is empty. START:END:STEP needs an end that is not below the start, "
            "and a step above zero."
        )
    count = math.floor((end - start) / step + ROUNDING) + 1
    if count > MOST_VALUES:
        raise typer.BadParameter(f"{text} stands for {count} values. Take at most {MOST_VALUES}.")
    return Numbers(start + step * place for place in range(count))


def counts(text: str) -> Counts:
    """Read a list of numbers of people.

    Parameters
    ----------
    text : str
        As for `numbers`.

    Raises
    ------
    typer.BadParameter
        If one is no whole number above zero.

    Examples
    --------
    >>> counts("100:300:100")
    (100, 200, 300)
    """
    values = numbers(text)
    for value in values:
        if not value.is_integer() or value < 1:
            raise typer.BadParameter(f"{value:g} is no number of people. Give whole numbers.")
    return Counts(int(value) for value in values)


def together[Value: (int, float)](lists: Iterable[Iterable[Value]] | None) -> tuple[Value, ...]:
    """Put the lists of an option that was given several times together.

    Parameters
    ----------
    lists : iterable of iterable of float, or None

    Returns
    -------
    tuple of float
        Distinct, ascending; empty where there was no list.
    """
    return tuple(sorted({value for each in lists or () for value in each}))


def _number(text: str, part: str, example: str = "40, lists such as 40,50 or 60:110:5") -> float:
    try:
        value = float(part)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        whole = "" if text == part else f"{text}: "
        raise typer.BadParameter(
            f"{whole}{part.strip()!r} is not a number. Write numbers such as {example}."
        )
    return value


class Shift(NamedTuple):
    """How far unseen outcomes of an arm lie from what is expected."""

    outcome: str
    arm: str
    points: float


SHIFT_EXAMPLE = "Write OUTCOME:ARM=SHIFT, for example function:MCE=-2."


def shift(text: str) -> Shift:
    """Read the shift of an arm's unseen outcomes.

    Parameters
    ----------
    text : str
        ``OUTCOME:ARM=SHIFT``. Names of outcomes hold no colon, so the first one ends them; the code
        of an arm may hold colons and equals signs.

    Raises
    ------
    typer.BadParameter
        If it has another form, or the shift is no finite number.

    Examples
    --------
    >>> shift("function:MCE=-2")
    Shift(outcome='function', arm='MCE', points=-2.0)
    """
    outcome, colon, rest = text.partition(":")
    arm, equals, number = rest.rpartition("=")
    if not (outcome and colon and arm and equals):
        raise typer.BadParameter(
            f"The shift {text!r} does not name an outcome and an arm. {SHIFT_EXAMPLE}"
        )
    try:
        points = float(number)
    except ValueError:
        raise typer.BadParameter(
            f"The shift {text!r}: {number!r} is not a number. {SHIFT_EXAMPLE}"
        ) from None
    if not math.isfinite(points):
        raise typer.BadParameter(f"The shift {text!r} is not a finite number. {SHIFT_EXAMPLE}")
    return Shift(outcome, arm, points)


class ArmShift(NamedTuple):
    """How far unseen scores of an arm are shifted."""

    arm: str
    points: float


def arm_shift(text: str) -> ArmShift:
    """Read the shift of an arm.

    Parameters
    ----------
    text : str
        ``ARM=SHIFT``; the code or the label of the arm may hold equals signs.

    Raises
    ------
    typer.BadParameter
        If it has another form, or the shift is no finite number.

    Examples
    --------
    >>> arm_shift("MCE=-2")
    ArmShift(arm='MCE', points=-2.0)
    """
    arm, equals, number = text.rpartition("=")
    try:
        points = float(number)
    except ValueError:
        points = math.nan
    if not (arm and equals and math.isfinite(points)):
        raise typer.BadParameter(f"{text!r} is no shift. Write ARM=SHIFT, for example MCE=-2.")
    return ArmShift(arm, points)


def by_outcome_and_arm(shifts: Iterable[Shift]) -> dict[str, dict[str, float]]:
    """Put shifts together, as `data_prep.study.description.narrowed` takes them.

    Parameters
    ----------
    shifts : iterable of Shift

    Raises
    ------
    InputError
        If an arm is named twice.
    """
    found: dict[str, dict[str, float]] = {}
    for outcome, arm, points in shifts:
        if arm in found.setdefault(outcome, {}):
            raise InputError(
                f"The arm {arm!r} of the outcome {outcome!r} is given two shifts.", "Keep one."
            )
        found[outcome][arm] = points
    return found


def covariates(
    texts: Sequence[str], known: Mapping[str, Sequence[str] | None]
) -> dict[str, list[float | str]]:
    """Values of covariates, each as ``NAME=VALUES``.

    Parameters
    ----------
    texts : sequence of str
    known : mapping of str to sequence of str, or None
        The run's covariates with their levels; None where a covariate is numbers.

    Returns
    -------
    dict of str to list
        Numbers, or levels. Levels stand between commas; a level with commas in it is found as a
        whole, and one in double quotes is always one level.

    Raises
    ------
    InputError
        If there is no name or no value, or a covariate is given twice or is none of the run.

    Examples
    --------
    >>> covariates(["age=40:60:10", "sex=F,M"], {"age": None, "sex": ("F", "M")})
    {'age': [40.0, 50.0, 60.0], 'sex': ['F', 'M']}
    >>> covariates(["sex=w, female,m"], {"sex": ("m", "w, female")})
    {'sex': ['w, female', 'm']}
    """
    found: dict[str, list[float | str]] = {}
    for text in texts:
        name, values = _named(text, known)
        if name in found:
            raise InputError(f"--covariate {name} is given twice.", "Give all its values in one.")
        levels = known[name]
        if levels is not None:
            found[name] = [*_levels(values, levels)]
        elif ":" in values:
            try:
                found[name] = [*sorted(set(numbers(values)))]
            except typer.BadParameter as error:
                raise InputError(f"--covariate {name}={error.message}", "") from None
        else:
            found[name] = [value.strip() for value in values.split(",") if value.strip()]
    return found


def _named(text: str, known: Mapping[str, object]) -> tuple[str, str]:
    """Name and values; names with an equals sign in them are found as a whole."""
    for name in sorted(known, key=len, reverse=True):
        rest = text.strip().removeprefix(name).lstrip()
        if text.strip().startswith(name) and rest.startswith("=") and rest[1:].strip():
            return name, rest[1:].strip()
    name, equals, values = (part.strip() for part in text.partition("="))
    if not (name and equals and values) or name in known:
        raise InputError(
            f"--covariate {text!r} does not name a covariate and its values.",
            "Write NAME=VALUES, as age=40:70:10 or sex=F,M.",
        )
    remedy = nearest(name, list(known)) if known else "The study names no covariates."
    raise InputError(f"The run has no covariate {name!r}.", remedy)


def _levels(text: str, levels: Sequence[str]) -> list[str]:
    """The levels in a text, each as long as it can be; pieces as they stand if some are none."""
    spelled = {quoted(level): level for level in levels} | {level: level for level in levels}
    pieces = text.split(",")
    rest: dict[int, list[str] | None] = {len(pieces): []}
    for start in reversed(range(len(pieces))):
        rest[start] = None
        for end in range(len(pieces), start, -1):
            whole, after = ",".join(pieces[start:end]).strip(), rest[end]
            if whole in spelled and after is not None:
                rest[start] = [spelled[whole], *after]
                break
    found = rest[0]
    return [piece.strip() for piece in pieces if piece.strip()] if found is None else found


DEFAULT_SEED = 2013  # the year of the paper; any number would do, and it stands in the manifest
LARGEST_SEED = 2**63 - 1  # as in `inference.runs.fitting`, which help cannot wait for
RUN_HELP = "Folder that `alliance fit --out` wrote."
SAMPLING = "Sampling"
MANY = "Many fits, many files"

TableFormat = Literal["table", "csv", "json", "markdown"]
ProfileName = Literal["ci", "standard", "publication"]  # as `inference.sampling.profiles.PROFILES`
EngineName = Literal["nuts", "instant"]  # as `inference.sampling.profiles.Engine`

StudyArgument = Annotated[
    str,
    typer.Argument(
        metavar="STUDY",
        help="A study.toml, or the name of a study that comes along: ferreira2013, "
        "ferreira2013_over_time, headache, headache_over_time.",
    ),
]
DataArgument = Annotated[
    Path,
    typer.Argument(metavar="DATA", help="Table: .csv .tsv .txt .xlsx .parquet .dta .sav"),
]
ManyDataArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="DATA...",
        help="Table: .csv .tsv .txt .xlsx .parquet .dta .sav; or several, patterns, and shares.",
    ),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help=RUN_HELP)]
OutcomeOption = Annotated[
    list[str] | None, typer.Option("--outcome", help="Only this outcome; may be repeated.")
]
VisitOption = Annotated[
    str,
    typer.Option("--visit", help="Of outcomes over time: this visit, the last one, or all."),
]
TrialOption = Annotated[
    str | None,
    typer.Option(
        "--trial",
        help="Of several trials in one model: one of them by its name, average, or new. The "
        "average one by default.",
    ),
]
IN_MARKDOWN: ContextVar[bool] = ContextVar("in_markdown", default=False)  # tables for people


def _as_table(wanted: TableFormat) -> TableFormat:
    """Markdown is a table for people, and the screen knows how it is set."""
    IN_MARKDOWN.set(wanted == "markdown")
    return "table" if wanted == "markdown" else wanted


FormatOption = Annotated[
    TableFormat,
    typer.Option(
        "--format",
        callback=_as_table,
        help="How tables are printed; markdown is for job summaries and notes.",
    ),
]
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
        settings = {name: value for name, value in typed.items() if value not in (None, [])}
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
        if get_origin(field.annotation) is tuple:
            told += "; may be repeated"
        option = typer.Option(
            names,
            help=f"{told[:1].upper()}{told[1:]}.",
            rich_help_panel="Model, in place of the settings in the study file",
        )
        found[name] = inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[_typed_as(field.annotation), option],
        )
    return found


def _typed_as(annotation: Any) -> Any:
    """The type of an option: a list where the setting is one, to be given several times."""
    return list[str] | None if get_origin(annotation) is tuple else annotation | None
