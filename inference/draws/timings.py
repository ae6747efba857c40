"""How long the phases of an outcome's fit took."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds spent on one outcome.

    Attributes
    ----------
    compilation : float
        Zero where a model of the same shape had been compiled before, or nothing is compiled.
    sampling : float
    therapist_effects : float
    """

    compilation: float
    sampling: float
    therapist_effects: float
