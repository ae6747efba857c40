"""Recovery and calibration of several trials in one model, and what a confounder of trials does.

    uv run python benchmarks/several_trials.py --out benchmarks/results/several_trials.json

Sets of 3 to 10 trials with 4 to 8 therapists of 15 to 30 patients. Means and SDs between trials are
drawn from their priors; levels, baseline slopes and residual SDs are each trial's own, and what a
contrast gains with a trial's mean alliance is drawn as well: an ecological confounder. Then, with
that confounder at .6 SDs for one SD of a trial's mean alliance and slopes of the arms that differ
by .2 within trials, the interaction of the model, of the model across trials, and of all patients
taken as one trial.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alliance.inference.sampling.instant import instant_outcome
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.inference.sampling.trials import fit_trials
from alliance.models.priors import Priors
from alliance.models.trials.design import TrialsDesign

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from trials_together import Rows, Truth, made_trials  # what tests make, too

Array = NDArray[np.float64]
PRIORS = Priors()
SHORT = SamplerProfile("ci", chains=2, draws=500, tune=500)
CONFOUNDER, WITHIN = 0.6, 0.2
LEVELS = (0.5, 0.8, 0.95)


def drawn_truth(rng: np.random.Generator) -> Truth:
    """Means and SDs from the priors; two arms."""
    half = abs(rng.normal(0, PRIORS.arm) / np.sqrt(2)) * rng.choice([-1, 1])
    differ = rng.normal(0, PRIORS.interaction) / np.sqrt(2)
    return Truth(
        arm=(-half, half),
        slope=rng.normal(0, PRIORS.moderator_slope),
        interaction=(-differ, differ),
        arm_sd=abs(rng.normal(0, PRIORS.trial_arm_sd)),
        slope_sd=abs(rng.normal(0, PRIORS.trial_slope_sd)),
        interaction_sd=abs(rng.normal(0, PRIORS.trial_interaction_sd)),
        therapist_sd=abs(rng.normal(0, PRIORS.therapist_sd)),
        therapist_slope_sd=abs(rng.normal(0, PRIORS.therapist_slope_sd)),
        ecological=rng.normal(0, PRIORS.interaction * np.sqrt(2)),
    )


def quantities(
    posterior: xr.Dataset, design: TrialsDesign, generator: np.random.Generator
) -> dict[str, Array]:
    """Draws on the scale of the truth, that of residual SDs near .8."""
    outcome, moderator = design.pooled.scaling.outcome[1], design.pooled.scaling.moderator[1]

    def flat(name: str, **chosen: Any) -> Array:
        return np.asarray(posterior[name].sel(**chosen).values).ravel()

    root = np.sqrt(2.0)  # B minus A is so many times the coefficient on the basis, with its sign
    sign = np.sign(np.diff(design.pooled.encoding.slope_weights[:, 1]))[0]
    arm = sign * root * outcome * flat("beta", coefficient="arm[1]")
    found = {
        "arm_contrast": arm,
        "moderator_slope": outcome / moderator * flat("beta", coefficient="moderator"),
        "interaction": sign
        * root
        * outcome
        / moderator
        * flat("beta", coefficient="interaction[1]"),
        "trial_arm_sd": root * outcome * flat("trial_arm_sd"),
        "trial_slope_sd": outcome / moderator * flat("trial_slope_sd"),
        "trial_interaction_sd": root * outcome / moderator * flat("trial_interaction_sd"),
        "first_trial": sign
        * root
        * outcome
        * flat("trial_beta", trial=design.trials[0], coefficient="arm[1]"),
    }
    found["new_trial"] = arm + found["trial_arm_sd"] * generator.standard_normal(len(arm))
    if design.across:
        across = flat("trial_across", arm_basis="arm[1]")
        found["interaction_across"] = sign * root * outcome / moderator * across
    return found


def truths(rows: Rows, design: TrialsDesign, rng: np.random.Generator) -> dict[str, float]:
    """What `quantities` are of; the average trial is one with the mean alliance of all patients."""
    truth, mean = rows.truth, design.pooled.scaling.moderator[0]
    centred = truth.ecological * mean
    contrast = truth.arm[1] - truth.arm[0] + centred
    return {
        "arm_contrast": contrast,
        "moderator_slope": truth.slope,
        "interaction": truth.interaction[1] - truth.interaction[0],
        "interaction_across": truth.ecological,
        "trial_arm_sd": np.sqrt(2) * truth.arm_sd,
        "trial_slope_sd": truth.slope_sd,
        "trial_interaction_sd": np.sqrt(2) * truth.interaction_sd,
        "first_trial": _at_observed_mean(rows, 0),
        "new_trial": contrast + np.sqrt(2) * truth.arm_sd * rng.normal(),
    }


def _at_observed_mean(rows: Rows, trial: int) -> float:
    """The first trial's contrast at the mean of its patients, not at that of its population."""
    here = rows.trial == trial
    arm, slopes = rows.own_arm[trial], rows.own_interaction[trial]
    away = rows.moderator[here].mean() - rows.own_mean[trial]
    return float(arm[1] - arm[0] + (slopes[1] - slopes[0]) * away)


def calibrate(sets: int, start: int) -> dict[str, Any]:
    """Coverage and scores over so many sets."""
    held: dict[str, list[list[bool]]] = {}
    scores: dict[str, list[float]] = {}
    engines, begun = {"instant": 0, "nuts": 0}, time.perf_counter()
    for k in range(sets):
        rng = np.random.default_rng([start, k])
        rows = made_trials(
            int(rng.integers(3, 11)), start + k, truth=drawn_truth(rng),
            therapists=int(rng.integers(4, 9)), patients=int(rng.integers(15, 31)),
        )  # fmt: skip
        design = rows.design()
        tree, _ = fit_trials(design, PRIORS, SHORT, k, engine="instant")
        engines["nuts" if "instant_pareto_k" in tree["sample_stats"].attrs else "instant"] += 1
        found = quantities(tree["posterior"].dataset, design, rng)
        true = truths(rows, design, rng)
        for name, draws in found.items():
            scores.setdefault(name, []).append((true[name] - draws.mean()) / draws.std())
            rank = (draws < true[name]).mean()
            held.setdefault(name, []).append([abs(rank - 0.5) <= level / 2 for level in LEVELS])
        if (k + 1) % 25 == 0 or k + 1 == sets:
            so_far = _calibrated(k + 1, engines, time.perf_counter() - begun, held, scores)
            print(json.dumps(so_far), file=sys.stderr, flush=True)
    return so_far


def _calibrated(
    sets: int,
    engines: dict[str, int],
    seconds: float,
    held: dict[str, list[list[bool]]],
    scores: dict[str, list[float]],
) -> dict[str, Any]:
    return {
        "sets": sets,
        "engines": dict(engines),
        "seconds_each": seconds / sets,
        "quantities": {
            name: {
                "coverage": dict(
                    zip(map(str, LEVELS), np.mean(held[name], axis=0).tolist(), strict=True)
                ),
                "mean_z": float(np.mean(own)),
                "sd_z": float(np.std(own)),
            }
            for name, own in scores.items()
        },
    }


def confounded(sets: int, start: int) -> dict[str, Any]:
    """The interaction within trials, across them, and of all patients taken as one trial."""
    truth = Truth(
        interaction=(-WITHIN / 2, WITHIN / 2), ecological=CONFOUNDER, spread=1.0, arm_sd=0.1,
        interaction_sd=0.05,
    )  # fmt: skip
    found: dict[str, list[float]] = {"within": [], "across": [], "as one trial": []}
    covered: dict[str, list[bool]] = {"within": [], "as one trial": []}
    for k in range(sets):
        rows = made_trials(8, start + k, truth=truth, therapists=5, patients=25)
        design = rows.design()
        rng = np.random.default_rng(k)
        tree, _ = fit_trials(design, PRIORS, SHORT, k, engine="instant")
        own = quantities(tree["posterior"].dataset, design, rng)
        pooled = replace(design.pooled, outcome="one")
        single, _ = instant_outcome(pooled, PRIORS, SHORT, k)
        scale = np.sqrt(2) * pooled.scaling.outcome[1] / pooled.scaling.moderator[1]
        sign = np.sign(np.diff(pooled.encoding.slope_weights[:, 1]))[0]
        naive = sign * scale * single["posterior"]["beta"].sel(coefficient="interaction[1]").values
        for name, draws in (
            ("within", own["interaction"]),
            ("across", own["interaction_across"]),
            ("as one trial", naive.ravel()),
        ):
            found[name].append(float(draws.mean()))
            if name in covered:
                covered[name].append(abs((draws < WITHIN).mean() - 0.5) <= 0.475)
    return {
        "sets": sets,
        "truth": {"within": WITHIN, "across": CONFOUNDER},
        "mean": {name: float(np.mean(own)) for name, own in found.items()},
        "error": {name: float(np.std(own) / np.sqrt(sets)) for name, own in found.items()},
        "coverage_of_within": {name: float(np.mean(own)) for name, own in covered.items()},
    }


def main() -> None:
    """Run both, and write what was found."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--sets", type=int, default=300)
    options.add_argument("--confounded", type=int, default=100)
    asked = options.parse_args()
    found = {
        "calibration": calibrate(asked.sets, 50_000),
        "confounded": confounded(asked.confounded, 90_000),
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
