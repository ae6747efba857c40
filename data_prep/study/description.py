"""The study description: which columns of a trial's table mean what, read from ``study.toml``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import Field, ValidationError, model_validator

from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.files import AnyPath, as_path, file_bytes
from alliance.data_prep.levels import find_arm
from alliance.data_prep.study.model_rules import model_faults
from alliance.data_prep.study.parts import (
    Columns,
    CovariateKind,
    LongTable,
    MissingCode,
    ModelSettings,
    Moderator,
    Number,
    Outcome,
    Table,
    Text,
    raise_between,
    shifted_outcomes,
)
from alliance.data_prep.study.prior_evidence import PriorEvidence, evidence_apart
from alliance.data_prep.study.rules import (
    FEWEST_TO_DIFFER,
    SHORT_KEYS,
    Fault,
    short_keys_apart,
    study_faults,
    without_slopes,
)
from alliance.data_prep.study.toml_files import (
    did_you_mean,
    parse_toml,
    toml_text,
    translated_faults,
)
from alliance.data_prep.study.visits import visit_faults, visits_apart

__all__ = [
    "Columns",
    "ModelSettings",
    "Moderator",
    "Outcome",
    "Study",
    "bundled_studies",
    "find_study",
    "narrowed",
    "read_study",
    "study_text",
]

STUDIES_FOLDER = Path(__file__).parents[1] / "studies"
STUDY_FILE = "study.toml"

# Whole numbers up to here are exact in a double, and are written without the trailing ".0".
LARGEST_EXACT_INTEGER = 2**53


class Study(Table):
    """A trial's description: what `read_study` makes of a ``study.toml``.

    Attributes
    ----------
    title : str
        The study in one line.
    citation : str or None
        Where it is published.
    simulated : bool
        True for data that no patient gave; then every output says so.
    columns : Columns
        Columns of patients, therapists and arms.
    arms : dict of str to str
        Label of each code in the arm column; at least two, in display order.
    moderator : Moderator or None
        The alliance, or the measure that takes its place; None in a plain trial.
    covariates : tuple of str
        Columns to adjust for.
    covariate_kinds : dict of str to {"categorical", "continuous"}
        By covariate, where the study says it; the others' kinds are read off the data.
    reference : dict of str to str
        By covariate, the level that its others are compared with: a code, or the label that the
        file gives it. The first in natural order where nothing is said.
    labels : dict of str to str
        By covariate: the words for tables and figures; the column's name where nothing is said.
    missing_values : dict of str to tuple of str
        By column: what stands there for a missing value besides the empty cell and NA; under
        ``*``, in every column but that of the patients.
    outcomes : dict of str to Outcome
        Outcomes by name, at least one; the names serve as file and variable names. Those at the
        visits of one outcome say so: see `data_prep.study.visits`.
    visits : LongTable or None
        Of a table with a row for each patient and visit.
    trials : dict of str to tuple of str
        Of several trials: the files (without their endings) and sites of shares of each.
    model : ModelSettings
        Therapist effects and interaction.
    priors : dict of str to float
        Priors that replace the defaults; the names are checked where the models are.
    prior_evidence : dict of str to PriorEvidence
        Priors that are taken from the prior pack: ``NAME = { from = ENTRY }`` in [priors].
    """

    title: Text = Field(
        description="the study in one line", examples=["Exercise for chronic low back pain"]
    )
    citation: Text | None = Field(
        default=None,
        description="where the study is published",
        examples=["Author, Journal 2013;1:1-9"],
    )
    simulated: Annotated[bool, Field(strict=True)] = Field(
        default=False, description="whether the data are simulated", examples=[True]
    )
    columns: Columns = Field(description="the columns of patients, therapists and arms")
    arms: dict[str, Text] = Field(
        min_length=2,
        description="a code and a label for each arm, two arms at least",
        examples=["General exercise"],
    )
    moderator: Moderator | None = Field(default=None, description="the alliance")
    covariates: tuple[Text, ...] = Field(
        default=(), description="the columns to adjust for", examples=[["age"]]
    )
    covariate_kinds: dict[str, CovariateKind] = Field(
        default={},
        description="what covariates are: categorical or continuous",
        examples=["categorical"],
    )
    reference: dict[str, MissingCode] = Field(
        default={},
        description="the level of a category that the others are compared with",
        examples=["F"],
    )
    labels: dict[str, Text] = Field(
        default={},
        description="what covariates are called in tables and figures",
        examples=["Age (years)"],
    )
    missing_values: dict[str, tuple[MissingCode, ...]] = Field(
        default={},
        description="what stands for a missing value, by column",
        examples=[[999, "."]],
    )
    outcomes: dict[str, Outcome] = Field(
        min_length=1, description="a table for each outcome, one at least"
    )
    visits: LongTable | None = Field(
        default=None, description="of a table with a row for each visit: which column says so"
    )
    trials: dict[str, tuple[Text, ...]] = Field(
        default={},
        description="of several trials, the files and sites of each",
        examples=[["leeds", "york"]],
    )
    model: ModelSettings = Field(
        default=ModelSettings(), description="therapist effects and interaction"
    )
    priors: dict[str, Number] = Field(
        default={}, description="numbers that replace the default priors", examples=[0.3]
    )
    prior_evidence: dict[str, PriorEvidence] = Field(
        default={}, description="priors that are taken from the prior pack"
    )

    @property
    def measure(self) -> Moderator:
        """The moderator, of a study that has one.

        Raises
        ------
        InputError
            If it has none.
        """
        if self.moderator is None:
            raise InputError(
                "The study has no [moderator], and this asks about one.",
                "Ask for contrasts of the arms: `alliance summary` and `alliance predict` have "
                "them.",
            )
        return self.moderator

    @property
    def rated_arms(self) -> tuple[str, ...]:
        """Codes of the arms whose patients can have the moderator; none without a moderator."""
        if self.moderator is None:
            return ()
        named = self.model.moderator_arms
        return tuple(code for code in self.arms if not named or code in named)

    @property
    def arms_without_therapist(self) -> tuple[str, ...]:
        """Codes of the arms whose patients have no therapist, in display order: all of them where
        the study names no column of therapists.
        """
        named = self.model.without_therapist
        none = self.columns.therapist is None
        return tuple(code for code in self.arms if none or code in named)

    @property
    def clinic_setting(self) -> Literal["none", "intercept", "intercept+slope"]:
        """What varies between clinics: nothing where the study names no column of theirs."""
        return "none" if self.columns.clinic is None else self.model.clinic

    @model_validator(mode="before")
    @classmethod
    def _as_meant(cls, content: Any) -> Any:
        if isinstance(content, dict):
            content = without_slopes(content)
            raise_between([*short_keys_apart(content), *visits_apart(content)])
        return content

    @model_validator(mode="after")
    def _keys_fit(self) -> Self:
        content = self.model_dump()
        raise_between([*study_faults(content), *model_faults(content), *visit_faults(content)])
        return self


def narrowed(
    study: Study,
    *,
    outcomes: Sequence[str] = (),
    delta: Mapping[str, Mapping[str, float]] | None = None,
    **settings: object,
) -> Study:
    """Return the study as it is to be analysed: some of its outcomes, other model settings.

    Parameters
    ----------
    study : Study
    outcomes : sequence of str
        Names of the outcomes to keep; empty keeps all.
    delta : mapping of str to mapping of str to float, optional
        By outcome and arm, its code or its label: shifts of unseen outcomes in the place of
        ``[outcomes.NAME.delta]``. Arms that are not named keep the file's.
    **settings
        Keys of ``[model]`` with other values than the file's: fields of `ModelSettings`. None keeps
        the file's.

    Raises
    ------
    InputError
        If an outcome or an arm is not in the study, a setting does not exist, a shift is not a
        finite number, or the settings do not fit each other, the moderator or the outcomes that
        are left.
    """
    outcomes = with_visits(study, outcomes)
    for name in outcomes:
        if name not in study.outcomes:
            raise InputError(f"The study has no outcome {name!r}.", nearest(name, study.outcomes))
    changes: dict[str, Any] = {key: value for key, value in settings.items() if value is not None}
    if named := changes.get("moderator_arms"):
        changes["moderator_arms"] = _arm_codes(study, named)
        if len(changes["moderator_arms"]) < FEWEST_TO_DIFFER:
            changes.setdefault("interaction", False)
    if named := changes.get("without_therapist"):
        changes["without_therapist"] = _arm_codes(study, named)
    for key, value in changes.items():
        _require_setting(key, value)
    kept = {
        name: outcome
        for name, outcome in study.outcomes.items()
        if not outcomes or name in outcomes
    }
    kept = shifted_outcomes(kept, _by_codes(study, delta or {}))
    model = study.model.model_copy(update=changes)
    changed = study.model_copy(update={"outcomes": kept, "model": model})
    content = changed.model_dump()
    faults = [*model_faults(content), *visit_faults(content)]
    _raise_faults("The study with these settings", faults)
    return changed


def with_visits(study: Study, outcomes: Sequence[str]) -> list[str]:
    """Names of outcomes, of one over time those of all its visits.

    Parameters
    ----------
    study : Study
    outcomes : sequence of str
    """
    found = []
    for name in outcomes:
        visits = [at for at, own in study.outcomes.items() if own.visit_of == name]
        found += visits or [name]
    return found


def _by_codes(
    study: Study, delta: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """Shifts with every arm that is named by its label under its code."""
    found: dict[str, dict[str, float]] = {}
    for outcome, by_arm in delta.items():
        found[outcome] = {find_arm(study.arms, arm) or arm: own for arm, own in by_arm.items()}
        if len(found[outcome]) < len(by_arm):
            raise InputError(
                f"An arm of the outcome {outcome!r} is given two shifts, by its code and its "
                "label.",
                "Keep one.",
            )
    return found


def _arm_codes(study: Study, named: object) -> tuple[str, ...]:
    """Arms, named by code or label, under their codes; unknown ones stay, for the rules to tell."""
    arms = [named] if isinstance(named, str) else list(named)  # type: ignore[call-overload]
    return tuple(dict.fromkeys(find_arm(study.arms, arm) or arm for arm in arms))


def _require_setting(key: str, value: object) -> None:
    """Refuse what is no key of ``[model]``, and a value that the key cannot have."""
    if key not in ModelSettings.model_fields:
        raise InputError(
            f"There is no model setting {key!r}.", nearest(key, list(ModelSettings.model_fields))
        )
    annotation = ModelSettings.model_fields[key].annotation
    if get_origin(annotation) is tuple:  # a list, whose entries the rules look at
        return
    choices = get_args(annotation) or (True, False)
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise InputError(
            f"The {key} setting {value!r} does not exist.",
            f"Choose one of: {', '.join(map(str, choices))}.",
        )


def _raise_faults(source: str, faults: Sequence[Fault]) -> None:
    """Report faults, if there are any, all in one message."""
    if not faults:
        return
    if len(faults) == 1:
        raise InputError(f"{source}, {faults[0].place}: {faults[0].problem}", faults[0].remedy)
    listed = "\n".join(f"  {fault}" for fault in faults)
    raise InputError(f"{source} has {len(faults)} faults:\n{listed}\n", "Correct them all.")


def read_study(path: AnyPath) -> Study:
    """Study described by a TOML file.

    Parameters
    ----------
    path : str or path-like
        The ``study.toml``.

    Returns
    -------
    Study
        The description, complete and consistent.

    Raises
    ------
    InputError
        The file cannot be read, is not TOML, or says what it may not; every fault of the file
        stands in the one message, a line each.
    """
    path = as_path(path)
    content = parse_toml(file_bytes(path, "study file"), path.name)
    faults = [
        *_hoist_covariates(content),
        *short_keys_apart(content),
        *evidence_apart(content),
        *visits_apart(content),
    ]
    try:
        study = Study.model_validate(content)
    except ValidationError as error:
        faults += translated_faults(error, Study)
    between = [*study_faults(content), *model_faults(content), *visit_faults(content)]
    _raise_faults(path.name, [*faults, *between])
    return study


def _hoist_covariates(content: dict[str, Any]) -> list[Fault]:
    """Move ``moderator.covariates``, and what is said of them, to the top level.

    The design's own example writes ``covariates = [...]`` below ``[moderator]``, and everyone who
    follows it does too. It reads as a top-level key, but TOML gives every key to the table above.
    """
    moderator, faults = content.get("moderator"), []
    for key in ("covariates", *SHORT_KEYS, "reference", "labels"):
        if not isinstance(moderator, dict) or key not in moderator:
            continue
        value = moderator.pop(key)
        if key in content:
            verb = "are" if key == "covariates" else "is"
            problem = f"{verb} given both before the first table and under [moderator]."
            faults.append(Fault(key, problem, "Keep one of the two."))
        else:
            content[key] = value
    return faults


def study_text(study: Study) -> str:
    """TOML that `read_study` reads back to an equal study.

    Parameters
    ----------
    study : Study
        Any study.

    Returns
    -------
    str
        Text of a ``study.toml``; settings left at their defaults are written out, so that the
        file still means the same when a default changes.
    """
    content = study.model_dump()
    if content["moderator"] and not content["moderator"]["items"]:
        del content["moderator"]["max_missing"]
    return toml_text(_plain(content))


def _plain(value: Any) -> Any:
    """Copy without what TOML cannot say (None) or need not (empty lists and tables)."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if inner not in (None, (), {})}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST_EXACT_INTEGER:
        return int(value)
    return value


def bundled_studies() -> dict[str, Path]:
    """Study files that come with the package, by name, in alphabetical order."""
    return {path.parent.name: path for path in sorted(STUDIES_FOLDER.glob(f"*/{STUDY_FILE}"))}


def find_study(name_or_path: AnyPath) -> Path:
    """Path of a study file.

    Parameters
    ----------
    name_or_path : str or path-like
        A study file, a folder that holds a ``study.toml``, or the name of a bundled study; what
        exists on the disk comes first.

    Returns
    -------
    Path
        The study file.

    Raises
    ------
    InputError
        There is neither such a file nor such a bundled study.
    """
    path = as_path(name_or_path)
    name_or_path = os.fspath(name_or_path)
    # os.path answers "no" where a Path raises, for instance for a name that is too long.
    if os.path.isfile(path):
        return path
    if os.path.isfile(path / STUDY_FILE):
        return path / STUDY_FILE
    bundled = bundled_studies()
    if name_or_path in bundled:
        return bundled[name_or_path]
    if os.path.isdir(path):
        problem = f"The folder {name_or_path!r} holds no {STUDY_FILE}."
    else:
        problem = f"There is no study file {name_or_path!r}, and no bundled study of that name."
    names = ", ".join(repr(name) for name in bundled) or "none"
    hint = did_you_mean(name_or_path, bundled)
    raise InputError(problem, f"{hint}Give a file's path, or a bundled study: {names}.")
