"""Simulated trials for recovery: true parameters on the design's own, standardised scale.

A trial keeps its patients: arms, therapists, and, where the alliance is latent, the ratings. What
the ratings leave open (true, missing, or above the ceiling) is drawn anew for every trial from its
distribution given them, as are therapist effects and outcomes. One compiled model then serves all
trials of an option: the outcomes alone are given to it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import nutpie
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy import special, stats

from alliance.inference.draws.datatree import draws_of, sampled_tree
from alliance.inference.estimands.estimands import estimand_draws
from alliance.inference.posterior import Posterior
from alliance.inference.sampling.compilation import compile_model
from alliance.inference.sampling.profiles import PROFILES
from alliance.inference.sampling.sampling import PATIENT_LEVEL_TARGET_ACCEPT, sample_outcome
from alliance.models.design.design import Design, build_design
from alliance.models.design.ratings import latent_patients
from alliance.models.families.family import Scale
from alliance.models.latent_ratings import latent_gaussian_model
from alliance.models.patient_level import patient_level_model
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec, ModeratorSpec

Array = NDArray[np.float64]

PROFILE = PROFILES["ci"]
PATIENTS, THERAPISTS = 240, 12
BETA = {
    "intercept": 0.0,
    "baseline": 0.4,
    "arm[1]": 0.3,
    "moderator": 0.35,
    "interaction[1]": 0.15,
}
THERAPIST_SD = 0.3
THERAPIST_ARM_SD = 0.3  # of arm effects, on their basis, where they vary between therapists
OWN: dict[str, dict[str, Any]] = {
    "gaussian": {"residual_sd": 0.7},
    "student_t": {"residual_sd": 0.5, "degrees_of_freedom": 4.0},
    "ordinal": {"cutpoint": np.array([-2.0, -0.7, 0.6, 2.0])},
    "beta_binomial": {"precision": 15.0},
    "binary": {},
    "count": {"overdispersion": 0.7},
}
LIMITS = {
    **{"ordinal": (1.0, 5.0), "beta_binomial": (3.0, 30.0)},
    **{"binary": (0.0, 1.0), "count": (0.0, 1000.0)},
}
# The outcome's mean and unit, and where the links of bounded scores are centred
OUTCOME = (50.0, 8.0)
SCALES = {
    "gaussian": Scale(*OUTCOME, 0, 0.0, 1.0),
    "student_t": Scale(*OUTCOME, 0, 0.0, 1.0),
    "ordinal": Scale(1.0, 1.0, 4, 0.0, float(np.pi / np.sqrt(3))),
    "beta_binomial": Scale(3.0, 1.0, 27, 0.3, 0.7),
    # Two events in five, and three events a patient
    "binary": Scale(0.0, 1.0, 1, float(np.log(0.4 / 0.6)), float(np.pi / np.sqrt(3))),
    "count": Scale(0.0, 1.0, 0, float(np.log(3.0)), 1.0),
}

RELIABILITY = 0.7
AT_CEILING = 0.3  # share of patients
MISSING = 0.25  # share of patients, more of them in one arm and at low baselines
# The alliance in SDs of its ratings, on baseline and arm; the rest is noise
ALLIANCE_ON_BASELINE, ALLIANCE_ON_ARM = 0.3, 0.2


@dataclass(frozen=True)
class Patients:
    """Patients of an option, and how what their ratings leave open is distributed."""

    data: xr.Dataset
    spec: ModelSpec
    mean: Array  # of each latent patient's alliance given what is observed, in points
    sd: Array
    above: float | None  # the ceiling, in points; the alliance lies above it


def patients_of(option: str, family: str = "gaussian", seed: int = 1) -> Patients:
    """Two arms, 12 therapists in both, a baseline, and ratings as the option has them."""
    random = np.random.default_rng(seed)
    arm = np.arange(PATIENTS) % 2
    therapist = np.arange(PATIENTS) // 2 % THERAPISTS
    baseline = random.permutation(_normal_scores(PATIENTS))
    noise = random.permutation(_normal_scores(PATIENTS))
    alliance, moderator = noise, ModeratorSpec()
    mean, sd, above = np.zeros(0), np.zeros(0), None
    if option == "reliability":
        moderator = ModeratorSpec(reliability=RELIABILITY)
        alliance = noise / noise.std(ddof=1)
        mean = RELIABILITY * alliance
        sd = np.full(PATIENTS, np.sqrt(RELIABILITY * (1 - RELIABILITY)))
    elif option == "ceiling":
        top = np.quantile(noise, 1 - AT_CEILING)
        alliance = np.minimum(noise, top)
        moderator = ModeratorSpec(ceiling=_points(top))
        mean, sd = np.zeros((alliance == top).sum()), np.ones((alliance == top).sum())
        above = float(_points(top))
    elif option in ("impute", "complete_case"):
        moderator = ModeratorSpec(missing="impute" if option == "impute" else "complete_case")
        expected = ALLIANCE_ON_BASELINE * baseline + ALLIANCE_ON_ARM * (2 * arm - 1)
        alliance = expected + noise
        chance = special.expit(special.logit(MISSING) + 0.8 * (2 * arm - 1) - 0.8 * baseline)
        gone = random.random(PATIENTS) < chance
        alliance = np.where(gone, np.nan, alliance)
        mean, sd = expected[gone], np.ones(gone.sum())
    data = xr.Dataset(
        {
            "outcome": ("patient", np.arange(PATIENTS) % 3 + 3.0),  # until there are any
            "baseline": ("patient", 10 + 4 * baseline),
            "moderator": ("patient", _points(alliance)),
            "arm_index": ("patient", arm),
            "therapist_index": ("patient", therapist),
            "covariates": (("patient", "covariate"), np.empty((PATIENTS, 0))),
        },
        coords={
            "arm": ["A", "B"],
            "therapist": [f"T{j}" for j in range(THERAPISTS)],
            "covariate": np.array([], dtype=str),
        },
    )
    spec = ModelSpec(
        "example",
        "intercept",
        family=family,
        moderator=moderator,
        therapist_by_arm=option == "therapist_by_arm",
    )
    return Patients(data, spec, _points(mean), 10 * sd, above)


def _normal_scores(count: int) -> Array:
    """Quantiles of the normal distribution: mean 0 and, nearly, SD 1, whatever the order."""
    return stats.norm.ppf((np.arange(count) + 0.5) / count)


def _points(standard: Any) -> Any:
    return 80.0 + 10.0 * standard


@dataclass(frozen=True)
class SimulatedOutcome:
    """One trial of an option: its design, and the truth in the names of the tidy table."""

    design: Design
    data: xr.Dataset
    truth: pd.Series
    latent: Array  # true alliance of the latent patients, standardised


def simulate(patients: Patients, random: np.random.Generator) -> SimulatedOutcome:
    """Draw what the ratings leave open, therapist effects and outcomes."""
    family = patients.spec.family
    before = build_design(patients.data, patients.spec, LIMITS.get(family))
    scale = SCALES[family]
    lower = -np.inf if patients.above is None else (patients.above - patients.mean) / patients.sd
    share = random.uniform(stats.norm.cdf(lower), 1, len(patients.mean))
    latent = patients.mean + patients.sd * stats.norm.ppf(share)
    centre, unit = before.scaling.moderator
    latent = (latent - centre) / unit
    X = before.X.copy()
    column = before.coefficients.index("moderator")
    positions = latent_positions(patients, before)
    X[positions, column] = latent
    X[:, before.coefficients.index("interaction[1]")] = (
        X[:, column] * X[:, before.coefficients.index("arm[1]")]
    )
    effects = THERAPIST_SD * random.standard_normal(THERAPISTS)
    predictor = X @ [BETA[name] for name in before.coefficients]
    predictor += effects[before.therapist_index]
    if patients.spec.therapist_by_arm:
        on_arm = THERAPIST_ARM_SD * random.standard_normal(THERAPISTS)
        arm = X[:, before.coefficients.index("arm[1]")]
        predictor += on_arm[before.therapist_index] * arm
    eta = scale.link_location + scale.link_unit * predictor
    auxiliary = {name: np.atleast_1d(value)[None] for name, value in OWN[family].items()}
    variable = before.family.random(random, eta[None], auxiliary, scale)[0]
    data = patients.data.assign(outcome=("patient", scale.offset + scale.unit * variable))
    design = build_design(data, patients.spec, LIMITS.get(family))
    if design.family.discrete:
        # One centre of the link for all trials: a matter of the prior alone
        design = replace(design, scale=scale)
    return SimulatedOutcome(design, data, _truth(design, latent), latent)


def latent_positions(patients: Patients, design: Design) -> list[int]:
    if patients.spec.moderator.missing == "complete_case" and not patients.spec.moderator.latent:
        return np.flatnonzero(design.moderator_missing).tolist()
    return latent_patients(design)


def _truth(design: Design, latent: Array) -> pd.Series:
    """Reported quantities at the true parameters."""
    family = design.family.name
    present = [design.coefficients[k] for k in design.present]
    one = ("chain", "draw")
    values: dict[str, Any] = {
        "beta": ((*one, "coefficient"), np.array([[[BETA[name] for name in present]]])),
        "therapist_sd": (one, [[THERAPIST_SD]]),
    }
    if "arm[1]" in design.effects:
        values["therapist_arm_sd"] = (one, [[THERAPIST_ARM_SD]])
    for name, value in OWN[family].items():
        array = np.atleast_1d(value)[None, None]
        values[name] = ((*one, "threshold"), array) if name == "cutpoint" else (one, array[..., 0])
    coords: dict[str, Any] = {"chain": [0], "draw": [0], "coefficient": present}
    if len(latent) and design.moderator.latent:
        values["moderator_latent"] = ((*one, "latent_patient"), latent[None, None])
        coords["latent_patient"] = latent_patients(design)
    encoding = design.encoding
    if not design.family.discrete:
        encoding = replace(encoding, scaling=replace(design.scaling, outcome=OUTCOME))
    found = estimand_draws(
        Posterior(replace(design, encoding=encoding), xr.Dataset(values, coords=coords))
    )
    labels = zip(found["quantity"].values, found["level"].values, strict=True)
    return pd.Series(
        found.values.ravel(), index=pd.MultiIndex.from_tuples(labels, names=["quantity", "level"])
    )


class Sampler:
    """Samples trials of one option; patient-level models are compiled for the first of them."""

    def __init__(self) -> None:
        self.compiled: Any = None

    def __call__(self, design: Design, seed: int) -> xr.Dataset:
        if design.exact:
            return draws_of(sample_outcome(design, Priors(), PROFILE, seed)[0])
        if self.compiled is None:
            model = latent_gaussian_model if design.integrated else patient_level_model
            self.compiled = compile_model(model(design, Priors()))
        outcome = design.y.astype(int) if design.family.discrete else design.y
        raw = nutpie.sample(
            self.compiled.with_data(outcome=outcome),
            draws=PROFILE.draws,
            tune=PROFILE.tune,
            chains=PROFILE.chains,
            target_accept=PATIENT_LEVEL_TARGET_ACCEPT,
            seed=seed,
            progress_bar=False,
        )
        return draws_of(sampled_tree(raw, design, 0.0))
