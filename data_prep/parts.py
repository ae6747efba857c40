"""Which column of the file plays which part in the study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from data_prep.study import Study

# Columns of the typed frame; one column of the file may play several parts.
PATIENT = "patient"
THERAPIST = "therapist"
ARM = "arm"
MODERATOR = "moderator"


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


@dataclass(frozen=True)
class Part:
    """A part that a column of the file plays in the study.

    Attributes
    ----------
    name : str
        Column of the typed frame.
    column : str
        Column of the file.
    kind : {"code", "number", "covariate"}
        What its cells hold; a covariate may hold either.
    limits : tuple of float or None
        Lowest and highest possible number.
    setting : str
        Entry of study.toml that holds the limits.
    """

    name: str
    column: str
    kind: Literal["code", "number", "covariate"]
    limits: tuple[float, float] | None = None
    setting: str = ""

    @property
    def whole(self) -> bool:
        """Whether numbers must be whole: answers to items on a scale with whole ends."""
        is_item = self.name.startswith(item_column(""))
        return is_item and all(float(limit).is_integer() for limit in self.limits or ())


def study_parts(study: Study) -> tuple[Part, ...]:
    """List every part of the study and the column that plays it."""
    moderator = study.moderator
    parts = [
        Part(PATIENT, study.columns.patient, "code"),
        Part(THERAPIST, study.columns.therapist, "code"),
        Part(ARM, study.columns.arm, "code"),
    ]
    if moderator.column is not None:
        setting = "`range` in [moderator]"
        parts.append(Part(MODERATOR, moderator.column, "number", moderator.range, setting))
    for item in moderator.items:
        setting = "`item_range` in [moderator]"
        parts.append(Part(item_column(item), item, "number", moderator.item_range, setting))
    for covariate in study.covariates:
        parts.append(Part(covariate_column(covariate), covariate, "covariate"))
    for name, outcome in study.outcomes.items():
        setting = f"`range` in [outcomes.{name}]"
        if outcome.baseline is not None:
            baseline = baseline_column(name)
            parts.append(Part(baseline, outcome.baseline, "number", outcome.range, setting))
        followup = followup_column(name)
        parts.append(Part(followup, outcome.followup, "number", outcome.range, setting))
    return tuple(parts)
