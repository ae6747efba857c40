"""Trials with a misfit of known size, and how often each posterior predictive check sees it.

A trial has 182 patients in three arms, 12 therapists who treat in all of them, a baseline and an
alliance; sizes are in SDs of the outcome's own population, about 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from recovery_scores import random_numbers

from alliance.data_prep.simulator.simulation import simulate_trial
from alliance.data_prep.study.description import Study
from alliance.diagnostics.checks.predictive_checks import predictive_check
from alliance.inference.draws.datatree import add_patients
from alliance.inference.runs.fit import Fit
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.inference.sampling.sampling import sample_outcome
from alliance.models.design.design import build_design
from alliance.models.spec import ModelSpec

Array = NDArray[np.float64]

TRIALS = 100
PATIENTS, THERAPISTS, ARMS = 182, 12, 3
RESIDUAL_SD = 0.8
SLOPE, BASELINE = 0.35, 0.4
ARM_MEANS = np.array([0.0, 0.2, 0.4])
# Half the draws of the profile ci: limits of p-values hang on the 2,000 replicates, which take each
# draw twice, and hardly on how well the posterior is known.
QUICK = SamplerProfile("ci", chains=2, draws=500, tune=500)
OUTCOME = "function"

Noise = Callable[[np.random.Generator, NDArray[np.int64]], Array]


def normal_noise(random: np.random.Generator, arm: NDArray[np.int64]) -> Array:
    return RESIDUAL_SD * random.standard_normal(len(arm))


def t3_noise(random: np.random.Generator, arm: NDArray[np.int64]) -> Array:
    """Of the same SD: the variance of a t distribution with 3 degrees of freedom is 3."""
    return RESIDUAL_SD * random.standard_t(3, len(arm)) / np.sqrt(3)


def unequal_noise(random: np.random.Generator, arm: NDArray[np.int64]) -> Array:
    """One arm's residual SD is twice that of the others."""
    return np.array([0.6, 0.6, 1.2])[arm] * random.standard_normal(len(arm))


def as_scores(standard: Array) -> Array:
    return 50 + 10 * standard


def as_whole_scores(standard: Array) -> Array:
    """From 0 to 100, whose ends lie 5 SDs away."""
    return np.clip(np.round(as_scores(standard)), 0, 100)


def as_ends(standard: Array) -> Array:
    """From 0 to 10, with 17% of the patients at the floor, 12% at the ceiling."""
    return np.clip(np.round(4.6 + 4.2 * (standard - ARM_MEANS.mean())), 0, 10)


@dataclass(frozen=True)
class Scenario:
    """What is true, and which model is fitted to it.

    Attributes
    ----------
    seen_by : str
        The statistic that should see the misfit; empty for clean trials.
    arm_slopes : tuple of float
        By how much each arm's slope of the alliance lies above the average.
    """

    seen_by: str = ""
    noise: Noise = normal_noise
    scores: Callable[[Array], Array] = as_scores
    limits: tuple[float, float] = (0.0, 100.0)
    arm_slopes: tuple[float, float, float] = (0.0, 0.0, 0.0)
    therapist_sd: float = 0.0
    therapist_slope_sd: float = 0.0
    fitted: dict[str, Any] = field(default_factory=dict)


SMALLEST: dict[str, Any] = {"therapist": "none", "interaction": False}
SCENARIOS = {
    # Everything that the model can hold is there, or nothing of it.
    "clean, full model": Scenario(
        arm_slopes=(-0.1, 0.0, 0.1), therapist_sd=0.25, therapist_slope_sd=0.1
    ),
    "clean, smallest model": Scenario(scores=as_whole_scores, fitted=SMALLEST),
    "floor and ceiling": Scenario(
        "floor", scores=as_ends, limits=(0.0, 10.0), therapist_sd=0.25, therapist_slope_sd=0.1
    ),
    "t3 residuals": Scenario("tails", noise=t3_noise, therapist_sd=0.25, therapist_slope_sd=0.1),
    "unequal residual SDs": Scenario(
        "residual_sd_ratio", noise=unequal_noise, therapist_sd=0.25, therapist_slope_sd=0.1
    ),
    "left-out interaction": Scenario(
        "arm_slopes",
        arm_slopes=(-0.4, 0.0, 0.4),
        therapist_sd=0.25,
        therapist_slope_sd=0.1,
        fitted={"interaction": False},
    ),
    "left-out therapist effect, ICC 30%": Scenario(
        "therapist_means", therapist_sd=0.524, fitted={"therapist": "none"}
    ),
    "left-out therapist effect, ICC 20%": Scenario(
        "therapist_means", therapist_sd=0.4, fitted={"therapist": "none"}
    ),
    "left-out therapist effect, ICC 12%": Scenario(
        "therapist_means", therapist_sd=0.295, fitted={"therapist": "none"}
    ),
    "left-out therapist slopes": Scenario(
        "therapist_slopes",
        therapist_sd=0.25,
        therapist_slope_sd=0.5,
        fitted={"therapist": "intercept"},
    ),
}


@cache
def described(limits: tuple[float, float]) -> Study:
    study = simulate_trial(seed=1).study
    outcome = study.outcomes[OUTCOME].model_copy(update={"range": limits})
    return study.model_copy(update={"outcomes": {OUTCOME: outcome}})


def planted_patients(scenario: Scenario, random: np.random.Generator) -> xr.Dataset:
    arm = random.permutation(PATIENTS) % ARMS
    therapist = random.permutation(PATIENTS) % THERAPISTS
    alliance, baseline = random.standard_normal((2, PATIENTS))
    u = scenario.therapist_sd * random.standard_normal(THERAPISTS)
    v = scenario.therapist_slope_sd * random.standard_normal(THERAPISTS)
    slope = SLOPE + np.array(scenario.arm_slopes)[arm] + v[therapist]
    mean = ARM_MEANS[arm] + BASELINE * baseline + slope * alliance + u[therapist]
    return xr.Dataset(
        {
            "outcome": ("patient", scenario.scores(mean + scenario.noise(random, arm))),
            "baseline": ("patient", 50 + 10 * baseline),
            "moderator": ("patient", 80 + 12 * alliance),
            "arm_index": ("patient", arm),
            "therapist_index": ("patient", therapist),
            "covariates": (("patient", "covariate"), np.empty((PATIENTS, 0))),
        },
        coords={
            "arm": ["GE", "MCE", "SMT"],
            "therapist": [f"T{j}" for j in range(THERAPISTS)],
            "covariate": np.array([], dtype=str),
        },
    )


def planted_fit(scenario: Scenario, random: np.random.Generator, seed: int) -> Fit:
    """A trial of the scenario, sampled."""
    return fit_to(scenario, planted_patients(scenario, random), seed)


def fit_to(scenario: Scenario, data: xr.Dataset, seed: int) -> Fit:
    """What a scenario fits, sampled for these patients."""
    spec = ModelSpec(OUTCOME, **scenario.fitted)
    tree, _ = sample_outcome(build_design(data, spec, scenario.limits), spec.priors, QUICK, seed)
    add_patients(tree, data)
    flow = pd.DataFrame({"outcome": [OUTCOME], "analysed": [PATIENTS]})
    manifest = {"seed": seed, "profile": QUICK.to_dict()}
    return Fit(described(scenario.limits), {OUTCOME: spec}, {OUTCOME: tree}, flow, manifest)


def tripped(name: str, trials: int = TRIALS) -> pd.DataFrame:
    """Which statistics asked for a review, one row for each trial; progress is printed."""
    rows = []
    for number in range(trials):
        fit = planted_fit(SCENARIOS[name], random_numbers(name, number), seed=number)
        check = predictive_check(fit[OUTCOME])
        table = check.table.set_index("statistic")
        row = (table["verdict"] == "REVIEW").to_dict()
        row |= {result.check: result.verdict == "REVIEW" for result in check.results}
        rows.append(row | {"any": any(result.recommendation for result in check.results)})
        if (number + 1) % 20 == 0:
            counts = pd.DataFrame(rows).sum()
            told = ", ".join(f"{key} {count}" for key, count in counts.items() if count)
            print(f"{name}: {number + 1} trials; {told or 'none tripped'}", flush=True)
    return pd.DataFrame(rows)
