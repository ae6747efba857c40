"""Priors of a study from the prior pack: ``moderator_slope = { from = "fluckiger2018" }``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from alliance.data_prep.errors import nearest
from alliance.data_prep.study.rules import Fault

WEIGHT = 0.8  # of the evidence, in a mixture with the default prior
FROM, KEYS = "from", ("from", "weight", "heterogeneity")


class PriorEvidence(BaseModel):
    """What a prior is taken from.

    Attributes
    ----------
    entry : str
        Of the prior pack, `models.prior_pack`.
    weight : float
        Of the evidence in the mixture with the prior that would stand there without it.
    heterogeneity : float or None
        SD of true values between studies, in place of the entry's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    entry: str = Field(description="the entry of the prior pack", examples=["fluckiger2018"])
    weight: Annotated[float, Field(strict=True, gt=0, lt=1)] = Field(
        default=WEIGHT, description="the weight of the evidence", examples=[WEIGHT]
    )
    heterogeneity: Annotated[float, Field(strict=True, gt=0, le=10)] | None = Field(
        default=None, description="the SD between studies", examples=[0.15]
    )


def evidence_apart(content: dict[str, Any]) -> list[Fault]:
    """Move tables under ``[priors]`` that name evidence to where `Study` has them.

    Parameters
    ----------
    content : dict
        Of the file; changed.

    Returns
    -------
    list of Fault
        What such tables may not say.
    """
    priors = content.get("priors")
    if not isinstance(priors, dict):
        return []
    faults = []
    for name, given in list(priors.items()):
        if not isinstance(given, dict) or FROM not in given:
            continue
        del priors[name]
        place = f"priors.{name}"
        own = {"entry" if key == FROM else key: value for key, value in given.items()}
        unknown = [key for key in given if key not in KEYS]
        if unknown:
            faults.append(Fault(f"{place}.{unknown[0]}", "there is no such key.",
                                nearest(unknown[0], KEYS)))  # fmt: skip
        elif not isinstance(given[FROM], str):
            faults.append(Fault(f"{place}.{FROM}", "is no name of the prior pack.",
                                'Write { from = "fluckiger2018" }.'))  # fmt: skip
        elif not _between(own.get("weight", WEIGHT), 0, 1):
            faults.append(Fault(f"{place}.weight", "is no share between 0 and 1.",
                                "Write weight = 0.8."))  # fmt: skip
        elif not _between(own.get("heterogeneity", 1.0), 0, 10):
            faults.append(Fault(f"{place}.heterogeneity", "is no SD above 0 and up to 10.",
                                "Write heterogeneity = 0.15."))  # fmt: skip
        else:
            numbers = {key: float(own[key]) for key in own if key != "entry"}
            content.setdefault("prior_evidence", {})[name] = {"entry": own["entry"], **numbers}
    if not priors:
        del content["priors"]
    return faults


def _between(value: object, low: float, high: float) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and low < float(value) < high  # type: ignore[arg-type]
