"""Several trials made with known truths: as rows, as files, and as designs."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.cell_moments import cell_moments
from alliance.data_prep.moments import Moments
from alliance.inference.draws.datatree import divergences, engine_facts, fell_back
from alliance.inference.many_fits.calibration import rank_numbers
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.inference.sampling.trials import fit_trials
from alliance.models.design.design import moments_design
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec
from alliance.models.trials.design import SPREADS, TrialsDesign, trials_design

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """What trials are drawn from, in SDs; arms A, B, ... with effects that sum to zero."""

    arm: tuple[float, ...] = (-0.15, 0.15)
    slope: float = 0.3
    interaction: tuple[float, ...] = (-0.1, 0.1)
    arm_sd: float = 0.2
    slope_sd: float = 0.1
    interaction_sd: float = 0.1
    therapist_sd: float = 0.2
    therapist_slope_sd: float = 0.1
    ecological: float = 0.0  # what a trial's mean alliance adds to the contrast of B and A
    spread: float = 0.5  # SD of the trials' mean alliance


@dataclass(frozen=True, eq=False)
class Rows:
    """Patients of several trials."""

    trial: NDArray[np.int64]
    therapist: NDArray[np.int64]
    arm: NDArray[np.int64]
    moderator: Array
    baseline: Array
    outcome: Array
    truth: Truth
    own_arm: Array
    own_slope: Array
    own_interaction: Array
    own_mean: Array  # of each trial's population of patients
    lacking: Mapping[int, Sequence[int]] = field(default_factory=dict)

    @property
    def trials(self) -> int:
        return int(self.trial.max()) + 1

    @property
    def trial_of(self) -> dict[str, str]:
        pairs = dict(zip(self.therapist.tolist(), self.trial.tolist(), strict=True))
        return {f"T{j:03d}": f"trial {t + 1}" for j, t in sorted(pairs.items())}

    def design(self, spec: ModelSpec | None = None) -> TrialsDesign:
        """Standardised, from cross-products."""
        spec = spec or ModelSpec("y", several_trials="varying")
        found = cell_moments(
            ["moderator", "baseline", "outcome"],
            np.array([self.moderator, self.baseline, self.outcome]),
            list(self.trial_of),
            self.therapist,
            self.arm,
        )
        arms = [chr(ord("A") + k) for k in range(len(self.truth.arm))]
        return trials_design(moments_design(found, spec, arms, []), self.trial_of, spec)


def made_trials(
    trials: int,
    seed: int,
    *,
    truth: Truth | None = None,
    therapists: int = 6,
    patients: int = 20,
    lacking: Mapping[int, Sequence[int]] | None = None,
) -> Rows:
    """Trials with so many therapists, of so many patients each.

    Levels, SDs of residuals (.6 to 1) and baseline slopes are each trial's own.
    """
    rng, truth, lacking = np.random.default_rng(seed), truth or Truth(), lacking or {}
    K, parts = len(truth.arm), []
    centre = np.eye(K) - 1 / K
    own_arm, own_slope, own_interaction, own_mean = [], [], [], []
    for t in range(trials):
        arms = [k for k in range(K) if k not in lacking.get(t, ())]
        mean = rng.normal(0, truth.spread)
        arm = np.array(truth.arm) + truth.arm_sd * centre @ rng.normal(size=K)
        arm = arm + truth.ecological * mean * (np.arange(K) - (K - 1) / 2)
        slope = truth.slope + truth.slope_sd * rng.normal()
        interaction = np.array(truth.interaction) + truth.interaction_sd * centre @ rng.normal(
            size=K
        )
        own_arm.append(arm), own_slope.append(slope)
        own_interaction.append(interaction), own_mean.append(mean)
        level, sd, before = rng.normal(0, 0.5), rng.uniform(0.6, 1.0), rng.uniform(0.3, 0.5)
        for j in range(therapists):
            u = truth.therapist_sd * rng.normal()
            v = truth.therapist_slope_sd * rng.normal()
            k = rng.choice(arms, size=patients)
            x, b = rng.normal(mean, 1, patients), rng.normal(size=patients)
            y = level + before * b + arm[k] + (slope + interaction[k] + v) * (x - mean) + u
            y = y + sd * rng.normal(size=patients)
            block = np.full(patients, t), np.full(patients, t * therapists + j), k, x, b, y
            parts.append(block)
    joined = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    return Rows(
        *joined,
        truth,
        np.array(own_arm),
        np.array(own_slope),
        np.array(own_interaction),
        np.array(own_mean),
        lacking,
    )


def drawn_from_priors(
    rows: Rows, priors: Priors, rng: np.random.Generator
) -> tuple[TrialsDesign, xr.Dataset]:
    """The same patients with outcomes from the priors, and what these were made of.

    On the standardised scale, which is that of the rows and stays so: see docs/calibration.md.

    Returns
    -------
    TrialsDesign
    xarray.Dataset
        The true parameters, as `fit_trials` names them, without chains and draws.
    """
    given = rows.design()
    pooled, t, j = given.pooled, rows.trial, rows.therapist
    X = pooled.encoding.matrix(rows.arm, rows.moderator, rows.baseline, np.empty((len(t), 0)))
    slopes = pooled.encoding.places("moderator", "interaction")
    centred = X.copy()
    centred[:, slopes] -= (
        given.centres[t][:, None] * pooled.encoding.slope_weights[rows.arm][:, : len(slopes)]
    )
    number, p, _ = given.maps.shape
    sds = {
        name: abs(rng.normal(0, getattr(priors, name)))
        for name in (*SPREADS.values(), "therapist_sd", "therapist_slope_sd")
    }
    correlation = 2 * rng.beta(*[priors.therapist_correlation] * 2) - 1  # LKJ of two
    means = given.means_prior(priors) * rng.standard_normal(given.maps.shape[2])
    between = given.own_prior(priors)
    between[given.shared] = [sds[SPREADS[given.kinds[k]]] for k in given.shared]
    own = given.maps @ means + between * rng.standard_normal((number, p))
    residual = abs(rng.normal(0, priors.residual_sd, number))
    first, second = rng.standard_normal((2, len(pooled.therapists)))
    intercept = sds["therapist_sd"] * first
    slope = correlation * first + np.sqrt(1 - correlation**2) * second
    y = (centred[:, pooled.present] * own[t]).sum(axis=1) + intercept[j]
    y += sds["therapist_slope_sd"] * slope[j] * centred[:, slopes[0]]
    y += residual[t] * rng.standard_normal(len(t))
    W = np.column_stack([X, y])
    each = [W[j == k] for k in range(len(pooled.therapists))]
    moments = Moments(np.array([w.T @ w for w in each]), np.array([len(w) for w in each]))
    design = replace(given, pooled=replace(pooled, given=(moments,)))
    m, arms = len(given.shared), [name for name in given.coefficients if name.startswith("arm[")]
    told = xr.Dataset(
        {
            "beta": ("shared", means[:m]),
            "trial_across": ("arm_basis", means[m:]),
            "trial_beta": (("trial", "coefficient"), own),
            "trial_residual_sd": ("trial", residual),
            "therapist_correlation": correlation,
            **sds,
        },
        {
            "shared": [given.coefficients[k] for k in given.shared],
            "arm_basis": arms,
            "trial": list(given.trials),
            "coefficient": list(given.coefficients),
        },
    )
    return design, told


def ranked_set(
    seed: int,
    number: int,
    priors: Priors,
    profile: SamplerProfile,
    *,
    fitted: Priors | None = None,
) -> dict[str, Any]:
    """Ranks of a set's true parameters: 3 to 10 trials with outcomes from the priors.

    Every other set has a third arm, which its last trial lacks. As of
    `inference.many_fits.calibration.ranked_trial`, of what all sets have: what trials share, the
    first trial's own parameters, and the first contrast in a new trial.
    """
    rng = np.random.default_rng([seed, number])
    trials, three = int(rng.integers(3, 11)), number % 2 == 1
    truth = Truth(arm=(0.0,) * 3, interaction=(0.0,) * 3) if three else None
    rows = made_trials(
        trials, int(rng.integers(2**32)), truth=truth, therapists=int(rng.integers(4, 9)),
        patients=int(rng.integers(15, 31)), lacking={trials - 1: [2]} if three else None,
    )  # fmt: skip
    design, told = drawn_from_priors(rows, priors, rng)
    tree, _ = fit_trials(design, fitted or priors, profile, number, engine="instant")
    posterior = tree["posterior"].dataset
    first, new = design.trials[0], rng.standard_normal()
    true: dict[str, float] = {}
    drawn: dict[str, Array] = {}
    for name in (*SPREADS.values(), "therapist_sd", "therapist_slope_sd", "therapist_correlation"):
        true[name], drawn[name] = float(told[name]), posterior[name].values
    for name in ("arm[1]", "moderator", "interaction[1]"):
        true[name] = float(told["beta"].sel(shared=name))
        drawn[name] = posterior["beta"].sel(coefficient=name).values
    true["across"] = float(told["trial_across"][0])
    drawn["across"] = posterior["trial_across"].sel(arm_basis="arm[1]").values
    true["first residual_sd"] = float(told["trial_residual_sd"][0])
    drawn["first residual_sd"] = posterior["trial_residual_sd"].sel(trial=first).values
    for name in ("intercept", "baseline", "arm[1]", "moderator", "interaction[1]"):
        own = {"trial": first, "coefficient": name}
        true[f"first {name}"] = float(told["trial_beta"].sel(own))
        drawn[f"first {name}"] = posterior["trial_beta"].sel(own).values
    true["new arm[1]"] = true["arm[1]"] + true["trial_arm_sd"] * new
    noise = rng.standard_normal(drawn["arm[1]"].shape)
    drawn["new arm[1]"] = drawn["arm[1]"] + drawn["trial_arm_sd"] * noise
    return rank_numbers(_estimands(drawn), _estimands(true), rng) | {
        "divergent": divergences(tree) > 0,
        "fallback": fell_back(engine_facts(tree)),
    }


def _estimands(values: Mapping[str, Any]) -> xr.DataArray:
    """Numbers by name as `inference.estimands.estimands.estimand_draws` has them."""
    stacked = np.stack([np.atleast_2d(each) for each in values.values()], axis=-1)
    names = list(values)
    coords = {"quantity": ("estimand", names), "level": ("estimand", [""] * len(names))}
    return xr.DataArray(stacked, dims=("chain", "draw", "estimand"), coords=coords)


STUDY = """
title = "Several trials"
[columns]
patient = "patient"
therapist = "therapist"
arm = "arm"
[arms]
A = "Usual care"
B = "Therapy"
[moderator]
label = "Alliance"
column = "wai"
range = [0, 100]
[outcomes.pain]
label = "Pain"
baseline = "pain_0"
followup = "pain_8"
range = [0, 100]
better = "lower"
"""


def written(rows: Rows, folder: Path, *, together: bool = False) -> list[Path]:
    """The rows as one file for each trial, or all in one with a column ``trial``; a study beside.

    One SD of the alliance, the baseline and the outcome is 10 points, around 50.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.toml").write_text(STUDY)
    header = ["patient", "therapist", "arm", "wai", "pain_0", "pain_8", "trial"]
    tables: dict[str, list[list[object]]] = {}
    for i, t in enumerate(rows.trial.tolist()):
        scaled = [
            round(float(np.clip(50 + 10 * column[i], 0, 100)), 2)
            for column in (rows.moderator, rows.baseline, rows.outcome)
        ]
        name = "all" if together else f"trial{t + 1}"
        arm = "ABC"[rows.arm[i]]
        tables.setdefault(name, []).append(
            [f"P{i}", f"T{rows.therapist[i] % 100}", arm, *scaled, f"trial{t + 1}"]
        )
    paths = []
    for name, own in tables.items():
        path = folder / f"{name}.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([header, *own])
        paths.append(path)
    return paths
