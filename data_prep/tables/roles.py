"""Which column of the file plays which part in the study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from alliance.data_prep.study.description import Study
from alliance.data_prep.study.parts import CovariateKind, Moderator
from alliance.data_prep.study.rules import BINARY, CONTINUOUS, OWN_FAMILIES, WHOLE_SCORES
from alliance.data_prep.study.visits import long_column

# Columns of the typed frame; one column of the file may play several parts.
PATIENT = "patient"
THERAPIST = "therapist"
CLINIC = "clinic"
ARM = "arm"
MODERATOR = "moderator"

WHOLE_ANSWERS = (
    "must be a whole number, as the ends of the item range are",
    "Write a whole number, or leave the cell empty if the answer is missing.",
)


def item_column(name: str) -> str:
    """Column of the typed frame for one item of the moderator's questionnaire."""
    return f"item:{name}"


def covariate_column(name: str) -> str:
    """Column of the typed frame for one covariate."""
    return f"covariate:{name}"


def followup_column(outcome: str) -> str:
    """Column of the typed frame for an outcome after treatment."""
    return f"followup:{outcome}"


def baseline_column(outcome: str) -> str:
    """Column of the typed frame for an outcome before treatment."""
    return f"baseline:{outcome}"


def exposure_column(outcome: str) -> str:
    """Column of the typed frame for what an outcome's events were counted over."""
    return f"exposure:{outcome}"


@dataclass(frozen=True)
class Part:
    """A part that a column of the file plays in the study.

    Attributes
    ----------
    name : str
        Column of the typed frame.
    column : str
        Column of the file.
    kind : {"code", "number", "covariate", "event"}
        What its cells hold; a covariate may hold either, an event is one of two values.
    limits : tuple of float or None
        Lowest and highest possible number.
    setting : str
        Entry of study.toml that holds the limits.
    whole : tuple of str or None
        Rule and remedy for a number that is not whole; None where it need not be.
    declared : {"categorical", "continuous"}, optional
        What the study says of a covariate; None where it is read off the cells.
    positive : bool
        Whether numbers must be above zero.
    reference : str, optional
        Level, or its label, that a category's others are compared with.
    """

    name: str
    column: str
    kind: Literal["code", "number", "covariate", "event"]
    limits: tuple[float, float] | None = None
    setting: str = ""
    whole: tuple[str, str] | None = None
    declared: CovariateKind | None = None
    positive: bool = False
    reference: str | None = None


def study_parts(study: Study) -> tuple[Part, ...]:
    """List every part of the study and the column that plays it."""
    parts = []
    if study.columns.patient is not None:
        parts.append(Part(PATIENT, study.columns.patient, "code"))
    if study.columns.therapist is not None:
        parts.append(Part(THERAPIST, study.columns.therapist, "code"))
    if study.columns.clinic is not None and study.clinic_setting != "none":
        parts.append(Part(CLINIC, study.columns.clinic, "code"))
    parts += [
        Part(ARM, study.columns.arm, "code"),
    ]
    if study.moderator is not None:
        parts += _moderator_parts(study.moderator)
    for covariate in study.covariates:
        declared = study.covariate_kinds.get(covariate)
        reference = study.reference.get(covariate)
        part = covariate_column(covariate)
        parts.append(Part(part, covariate, "covariate", declared=declared, reference=reference))
    for name, outcome in study.outcomes.items():
        setting = f"`range` in [outcomes.{outcome.visit_of or name}]"
        if outcome.baseline is not None:
            baseline = baseline_column(name)
            parts.append(Part(baseline, outcome.baseline, "number", outcome.range, setting))
        followup = followup_column(name)
        if outcome.exposure is not None:
            parts.append(Part(exposure_column(name), outcome.exposure, "number", positive=True))
        if outcome.family == BINARY:
            parts.append(Part(followup, outcome.followup, "event", setting=name))
            continue
        whole = _whole_scores(study, name)
        parts.append(Part(followup, outcome.followup, "number", outcome.range, setting, whole))
    return tuple(parts)


def _moderator_parts(moderator: Moderator) -> list[Part]:
    if moderator.column is not None:
        setting = "`range` in [moderator]"
        return [Part(MODERATOR, moderator.column, "number", moderator.range, setting)]
    setting, limits = "`item_range` in [moderator]", moderator.item_range
    on_whole_scale = all(end.is_integer() for end in limits or ())
    whole = WHOLE_ANSWERS if on_whole_scale else None
    return [
        Part(item_column(item), item, "number", limits, setting, whole) for item in moderator.items
    ]


def study_columns(study: Study) -> tuple[str, ...]:
    """List the columns of the file that the study needs, each once."""
    return tuple(dict.fromkeys(part.column for part in study_parts(study)))


def table_columns(study: Study) -> tuple[str, ...]:
    """List the columns that a table needs as it is read: with a row for each visit, if it has."""
    if study.visits is None:
        return study_columns(study)
    apart = {
        outcome.followup: outcome.followup.removesuffix(long_column("", str(outcome.visit)))
        for outcome in study.outcomes.values()
        if outcome.visit is not None
    }
    named = (apart.get(column, column) for column in study_columns(study))
    patient, *rest = named
    return tuple(dict.fromkeys([patient, study.visits.column, *rest]))


def _whole_scores(study: Study, name: str) -> tuple[str, str] | None:
    """Rule and remedy for a follow-up that is not whole though its family asks for it."""
    family = study.outcomes[name].family
    native = study.model.likelihood == "native" or family in OWN_FAMILIES
    if not native or family not in WHOLE_SCORES:
        return None
    return (
        f"must be a whole number, as the family {family} {WHOLE_SCORES[family]}",
        f"Correct the cell, or set {CONTINUOUS} in [outcomes.{name}] of the study file.",
    )
