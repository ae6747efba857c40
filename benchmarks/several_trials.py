"""Recovery and calibration of several trials in one model, and what a confounder of trials does.

    uv run python benchmarks/several_trials.py --out benchmarks/results/several_trials.json

Sets of 3 to 10 trials with 4 to 8 therapists of 15 to 30 patients; all parameters are drawn from
their priors, on the scale of the model: simulation-based calibration. Then 100 sets in which the
contrast of two arms grows by .6 SDs for one SD of a trial's mean alliance, an ecological
confounder, and slopes of the arms differ by .2 within trials: the interaction of the model, of the
model across trials, and of all patients taken as one trial.
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
from numpy.typing import NDArray

from alliance.inference.many_fits.calibration import calibration_of
from alliance.inference.sampling.instant import instant_outcome
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.inference.sampling.trials import fit_trials
from alliance.models.priors import Priors

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from trials_together import Truth, made_trials, ranked_set  # what tests make, too

Array = NDArray[np.float64]
PRIORS = Priors()
SHORT = SamplerProfile("ci", chains=2, draws=500, tune=500)
CONFOUNDER, WITHIN = 0.6, 0.2
SEED = 17


def calibrate(sets: int) -> dict[str, Any]:
    """Where true values lie in the posteriors of so many sets."""
    found, begun = [], time.perf_counter()
    for number in range(sets):
        found.append(ranked_set(SEED, number, PRIORS, SHORT))
        if (number + 1) % 25 == 0:
            print(number + 1, f"{time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    ranks = calibration_of("several trials", found)
    table = ranks.table.drop(columns=["outcome", "level", "trials"]).set_index("quantity")
    return {
        "sets": sets,
        "engines": {"instant": sets - ranks.fallbacks, "nuts": ranks.fallbacks},
        "seconds_each": (time.perf_counter() - begun) / sets,
        "quantities": json.loads(table.to_json(orient="index")),
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
        tree, _ = fit_trials(design, PRIORS, SHORT, k, engine="instant")
        own = tree["posterior"].dataset
        single, _ = instant_outcome(replace(design.pooled, outcome="one"), PRIORS, SHORT, k)
        scaling = design.pooled.scaling
        # B minus A is so many times the coefficient on the basis, with its sign
        sign = np.sign(np.diff(design.pooled.encoding.slope_weights[:, 1]))[0]
        scale = sign * np.sqrt(2) * scaling.outcome[1] / scaling.moderator[1]
        naive = single["posterior"]["beta"].sel(coefficient="interaction[1]")
        for name, draws in (
            ("within", own["beta"].sel(coefficient="interaction[1]")),
            ("across", own["trial_across"].isel(arm_basis=0)),
            ("as one trial", naive),
        ):
            draws = scale * draws.values
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
        "calibration": calibrate(asked.sets),
        "confounded": confounded(asked.confounded, 90_000),
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
