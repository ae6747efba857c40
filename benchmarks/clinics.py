"""Three levels against two: seconds of a fit with clinics over those of the same fit without.

    python benchmarks/clinics.py [--repeats 7] [--patients 182]

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

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from clinic_trials import patients_with_clinics

from alliance.inference.sampling.profiles import PROFILES
from alliance.inference.sampling.sampling import _compiled, sample_outcome
from alliance.models.design.design import build_design
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec


def main() -> None:
    """Print the ratios as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--patients", type=int, default=182)
    asked = parser.parse_args()
    profile = PROFILES["standard"]
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
                "two": build_design(data, replace(spec, clinic="none")),
                "three": build_design(data, spec),
            }
            before = len(_compiled)
            seconds: dict[str, list[float]] = {name: [] for name in designs}
            for number in range(asked.repeats + 1):
                for name, design in designs.items():
                    started = time.process_time()
                    sample_outcome(design, Priors(), profile, seed=number, cores=1)
                    if number:  # the first compiles
                        seconds[name].append(time.process_time() - started)
            ratios = [b / a for a, b in zip(seconds["two"], seconds["three"], strict=True)]
            found[f"{therapist} / {clinic}, {kind}"] = {
                **{name: round(statistics.median(own), 3) for name, own in seconds.items()},
                "ratio": round(statistics.median(ratios), 2),
                "compiled": len(_compiled) - before,
            }
            print(json.dumps(found, indent=1), flush=True)


if __name__ == "__main__":
    main()
