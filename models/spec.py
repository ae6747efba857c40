"""What is to be fitted, without any data: the outcome, the terms of the model and the priors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from data_prep.errors import InputError
from data_prep.study import Study
from models.priors import Priors

TherapistEffects = Literal["none", "intercept", "intercept+slope"]
AllianceStructure = Literal["total", "within_between"]
MissingAlliance = Literal["complete_case", "impute"]


@dataclass(frozen=True, slots=True)
class ModeratorSpec:
    """How the alliance enters the model.

    Attributes
    ----------
    structure : {"total", "within_between"}
        One slope, or one for patients within a therapist and one between therapists' true means.
    missing : {"complete_case", "impute"}
        Patients without a rating are left out, or their alliance is a parameter of the model.
    reliability : float or None
        Share of the observed variance that is true; None takes the rating for the truth.
    ceiling : float or None
        Score at which the rating is cut off: the alliance of patients who have it lies there or
        above. None takes the rating as it is.
    """

    structure: AllianceStructure = "total"
    missing: MissingAlliance = "complete_case"
    reliability: float | None = None
    ceiling: float | None = None

    @property
    def latent(self) -> bool:
        """Whether some patient's alliance is a parameter."""
        return self.missing == "impute" or self.reliability is not None or self.ceiling is not None


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One outcome's model: a description that knows neither data nor sampler.

    Attributes
    ----------
    outcome : str
        Name of the outcome in the study.
    therapist : {"none", "intercept", "intercept+slope"}
        Which effects vary between therapists: nothing, the mean outcome, or the mean outcome and
        (correlated with it) the slope of the alliance.
    interaction : bool
        Whether the alliance's slope differs between arms.
    priors : Priors
        Scales on the standardised scale.
    family : str
        Name of an entry of `models.families.FAMILIES`.
    moderator : ModeratorSpec
    therapist_by_arm : bool
        Whether arm effects vary between therapists.
    """

    outcome: str
    therapist: TherapistEffects = "intercept+slope"
    interaction: bool = True
    priors: Priors = field(default_factory=Priors)
    family: str = "gaussian"
    moderator: ModeratorSpec = field(default_factory=ModeratorSpec)
    therapist_by_arm: bool = False

    def __post_init__(self) -> None:
        valid = get_args(TherapistEffects)
        if self.therapist not in valid:
            raise InputError(
                f"Therapist effects {self.therapist!r} are not known.",
                f"Choose one of: {', '.join(valid)}.",
            )
        if self.therapist_by_arm and self.therapist == "none":
            raise InputError(
                "Arm effects that vary between therapists need therapist effects.",
                'Set therapist = "intercept" or "intercept+slope", or therapist_by_arm = false.',
            )

    @property
    def effects(self) -> tuple[str, ...]:
        """Correlated effects that vary between therapists, in the order of their covariance."""
        return {"none": (), "intercept": ("intercept",), "intercept+slope": ("intercept", "slope")}[
            self.therapist
        ]

    @property
    def exact(self) -> bool:
        """Whether the therapist effects integrate out in closed form: `models.exact_gaussian`.

        So they do for Gaussian outcomes as long as every patient's alliance is observed; with a
        latent alliance they are multiplied by another parameter.
        """
        return self.family == "gaussian" and not self.moderator.latent

    def to_dict(self) -> dict[str, Any]:
        """The specification as plain values, for a run's manifest."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelSpec:
        """The specification that `to_dict` wrote."""
        parts = {
            "priors": Priors(**values["priors"]),
            "moderator": ModeratorSpec(**values["moderator"]),
        }
        return cls(**{**values, **parts})


def specify(study: Study) -> dict[str, ModelSpec]:
    """Specification of every outcome, from the study's settings and priors.

    Parameters
    ----------
    study : Study
        See `data_prep.study.narrowed` for other outcomes or settings than the file's.

    Returns
    -------
    dict of str to ModelSpec
        By outcome.

    Raises
    ------
    InputError
        If a prior named in the study is not known, or a setting lacks what it needs.
    """
    priors, model = Priors.with_overrides(study.priors), study.model
    if model.reliability and study.moderator.reliability is None:
        raise InputError(
            "The model asks for the alliance's reliability, and [moderator] states none.",
            "Add `reliability`, from 0 to 1, to [moderator], or set reliability = false.",
        )
    if model.joint:
        raise InputError(
            "The joint model of all outcomes cannot be fitted in this version.",
            "Set joint = false, or leave --joint out: each outcome is then fitted by itself.",
        )
    moderator = ModeratorSpec(
        structure=model.alliance,
        missing=model.missing_alliance,
        reliability=study.moderator.reliability if model.reliability else None,
        ceiling=study.moderator.range[1] if model.ceiling else None,
    )
    return {
        name: ModelSpec(
            outcome=name,
            therapist=model.therapist,
            interaction=model.interaction,
            priors=priors,
            family=outcome.family if model.likelihood == "native" else "gaussian",
            moderator=moderator,
            therapist_by_arm=model.therapist_by_arm,
        )
        for name, outcome in study.outcomes.items()
    }
