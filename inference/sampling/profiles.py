"""How much to sample: a few named profiles, and seeds for every phase from one integer."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal
from zlib import crc32

import numpy as np

from alliance.data_prep.errors import InputError, nearest

Engine = Literal["nuts", "instant"]
"""NUTS on a compiled model, or importance sampling without one; see `sampling.engines`."""

TherapistEffectsKept = Literal["auto", "draws", "summary"]

# Two effects of 10,000 therapists at 4 x 1,000 draws are 80 million numbers: 640 MB.
MANY_THERAPISTS = 10_000

# Fewer draws are too few to judge, fewer of tuning find no step size; a trajectory of 2^15 steps
# takes a second for each draw of a small trial.
SETTING_LIMITS: dict[str, tuple[float, float]] = {
    "draws": (100, 1_000_000),
    "tune": (100, 1_000_000),
    "target_accept": (0.5, 0.999),
    "max_treedepth": (1, 15),
}

# What a random number is drawn for; the position is part of the seed, so new phases go last.
DEFAULT_SEED = 2013  # the year of the paper; any number would do, and it stands in the manifest
PHASES = ("sampling", "therapist_effects", "predictions", "replicates", "prior", "new_trial")


@dataclass(frozen=True, slots=True)
class SamplerProfile:
    """Settings of the No-U-Turn sampler.

    Attributes
    ----------
    name : str
        Also names the thresholds of the convergence gate.
    chains, draws, tune : int
        Chains, and kept and tuning draws of each.
    target_accept : float
        The exact Gaussian model has no funnel: 0.8 gave 15% more effective draws than 0.9.
    max_treedepth : int
    therapist_effects : {"auto", "draws", "summary"}
        Keep the therapists' effects as draws, or their means and SDs alone; ``auto`` keeps draws of
        fewer than `MANY_THERAPISTS`.
    """

    name: str
    chains: int
    draws: int
    tune: int
    target_accept: float = 0.8
    max_treedepth: int = 10
    therapist_effects: TherapistEffectsKept = "auto"

    def keeps_draws(self, therapists: int) -> bool:
        """Whether effects of so many therapists are kept as draws."""
        if self.therapist_effects == "auto":
            return therapists < MANY_THERAPISTS
        return self.therapist_effects == "draws"

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values."""
        return asdict(self)

    def adjusted(
        self,
        *,
        draws: int | None = None,
        tune: int | None = None,
        target_accept: float | None = None,
        max_treedepth: int | None = None,
    ) -> SamplerProfile:
        """The profile with settings of one's own; its name, and the gate's thresholds, stay.

        Parameters
        ----------
        draws, tune : int, optional
        target_accept : float, optional
        max_treedepth : int, optional

        Raises
        ------
        InputError
            If a setting is out of range.
        """
        given = {
            "draws": draws,
            "tune": tune,
            "target_accept": target_accept,
            "max_treedepth": max_treedepth,
        }
        changes: dict[str, Any] = {k: value for k, value in given.items() if value is not None}
        for name, value in changes.items():
            low, high = SETTING_LIMITS[name]
            if not low <= value <= high:
                raise InputError(
                    f"{name} cannot be {value:g}.", f"Give a number from {low:g} to {high:g}."
                )
        return replace(self, **changes)

    def accepting(self, rate: float) -> SamplerProfile:
        """The profile with at least this target: shorter steps enter a funnel."""
        return replace(self, target_accept=max(self.target_accept, rate))


# The chains of `ci` are the first two of `standard`, draw for draw: what CI sees is a part of
# what is published. A limit of a 95% interval has a Monte Carlo error of 2.67 / sqrt(effective
# draws) posterior SDs (`inference.estimands.estimands.limit_error`): about 5% in `standard`, 2% in
# `publication`, and 6% with the fewest that the gate of `publication` lets pass.
PROFILES = {
    profile.name: profile
    for profile in (
        SamplerProfile("ci", chains=2, draws=1000, tune=1000),
        SamplerProfile("standard", chains=4, draws=1000, tune=1000),
        SamplerProfile("publication", chains=4, draws=5000, tune=2000),
    )
}


def find_profile(name: str) -> SamplerProfile:
    """Profile of that name.

    Raises
    ------
    InputError
        If there is none; the message lists those there are.
    """
    if name not in PROFILES:
        raise InputError(f"There is no sampling profile {name!r}.", nearest(name, PROFILES))
    return PROFILES[name]


def seed_sequence(seed: int, phase: str, outcome: str, chain: int = 0) -> np.random.SeedSequence:
    """Independent stream of random numbers for one phase of one outcome's fit.

    It depends on the outcome's name, not on its place among others, so that an outcome fitted
    alone has the draws it has in company; and on the chain, so that two chains are the first two
    of four.

    Parameters
    ----------
    seed : int
        The run's seed, not negative.
    phase : str
        One of `PHASES`.
    outcome : str
    chain : int

    Returns
    -------
    numpy.random.SeedSequence
    """
    key = (PHASES.index(phase), crc32(outcome.encode()), chain)
    return np.random.SeedSequence(seed, spawn_key=key)
