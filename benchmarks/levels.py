"""Levels, arms without therapists, residual SDs by arm: seconds of a fit over the usual model's.

Three levels are held against the same fit without clinics; therapists in some arms only, and
residual SDs of arms, against the same patients with therapists in all arms and one residual SD.

    python benchmarks/levels.py [--repeats 7] [--patients 182]

Both models are compiled before; fits of the two alternate, and CPU seconds of this process count,
so that a busy machine slows both alike. Drawing the effects is part of a fit.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from clinic_trials import patients_with_clinics
from nested_trials import patients

from alliance.inference.sampling.profiles import PROFILES
from alliance.inference.sampling.sampling import _compiled, sample_outcome
from alliance.models.design.design import Design, build_design
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec


def compared(designs: dict[str, Design], repeats: int) -> dict[str, Any]:
    """CPU seconds of alternating fits of two designs, the second over the first."""
    before, profile = len(_compiled), PROFILES["standard"]
    seconds: dict[str, list[float]] = {name: [] for name in designs}
    for number in range(repeats + 1):
        for name, design in designs.items():
            started = time.process_time()
            sample_outcome(design, Priors(), profile, seed=number, cores=1)
            if number:  # the first compiles
                seconds[name].append(time.process_time() - started)
    first, second = seconds.values()
    ratios = [b / a for a, b in zip(first, second, strict=True)]
    return {
        **{name: round(statistics.median(own), 3) for name, own in seconds.items()},
        "ratio": round(statistics.median(ratios), 2),
        "compiled": len(_compiled) - before,
    }


def main() -> None:
    """Print the ratios as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--patients", type=int, default=182)
    asked = parser.parse_args()
    found = {}
    for therapist, clinic in (
        ("intercept", "intercept"),
        ("intercept+slope", "intercept"),
        ("intercept+slope", "intercept+slope"),
    ):
        for kind in ("nested", "crossed"):
            data = patients_with_clinics(kind, asked.patients, clinics=7)
            spec = ModelSpec("example", therapist, clinic=clinic)
            designs = {
                "two levels": build_design(data, replace(spec, clinic="none")),
                "three levels": build_design(data, spec),
            }
            found[f"{therapist} / {clinic}, {kind}"] = compared(designs, asked.repeats)
            print(json.dumps(found, indent=1), flush=True)
    for therapist in ("intercept", "intercept+slope"):
        arms, own = ("CBT", "TAU"), {"number": asked.patients, "therapists": 20}
        spec = ModelSpec("example", therapist)
        designs = {
            "in all arms": build_design(patients(arms, (), **own), spec),
            "in one arm": build_design(
                patients(arms, ("TAU",), **own), replace(spec, without_therapist=("TAU",))
            ),
        }
        found[f"therapists, {therapist}"] = compared(designs, asked.repeats)
        data = patients(arms, (), **own)
        designs = {
            "one residual SD": build_design(data, spec),
            "by arm": build_design(data, replace(spec, residual_by_arm=True)),
        }
        found[f"residual SDs, {therapist}"] = compared(designs, asked.repeats)
        print(json.dumps(found, indent=1), flush=True)


if __name__ == "__main__":
    main()
