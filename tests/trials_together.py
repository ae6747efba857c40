"""Several trials made with known truths: as rows, as files, and as designs."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.cell_moments import cell_moments
from alliance.models.design.design import moments_design
from alliance.models.spec import ModelSpec
from alliance.models.trials.design import TrialsDesign, trials_design

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
