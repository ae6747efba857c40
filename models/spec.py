"""What is to be fitted, without any data: the outcome, the terms of the model and the priors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from data_prep.errors import InputError
from data_prep.study import Study
from models.priors import Priors

TherapistEffects = Literal["none", "intercept", "intercept+slope"]


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
    """

    outcome: str
    therapist: TherapistEffects = "intercept+slope"
    interaction: bool = True
    priors: Priors = field(default_factory=Priors)

    def __post_init__(self) -> None:
        valid = get_args(TherapistEffects)
        if self.therapist not in valid:
            raise InputError(
                f"Therapist effects {self.therapist!r} are not known.",
                f"Choose one of: {', '.join(valid)}.",
            )

    @property
    def effects(self) -> tuple[str, ...]:
        """Names of the effects that vary between therapists, in the order of their covariance."""
        return {"none": (), "intercept": ("intercept",), "intercept+slope": ("intercept", "slope")}[
            self.therapist
        ]

    def to_dict(self) -> dict[str, Any]:
        """The specification as plain values, for a run's manifest."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelSpec:
        """The specification that `to_dict` wrote."""
        return cls(**{**values, "priors": Priors(**values["priors"])})


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
        If a prior named in the study is not known.
    """
    priors = Priors.with_overrides(study.priors)
    return {
        outcome: ModelSpec(outcome, study.model.therapist, study.model.interaction, priors)
        for outcome in study.outcomes
    }
