"""Same seed, same draws: from a cold and a warm cache, in another process, in another order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.validation

ROOT = Path(__file__).resolve().parents[2]

# Prints the hash of every posterior variable of two trials of different size. The first trial is
# the one with whose data the model is compiled.
PROGRAM = """
import hashlib, json, sys
from alliance.data_prep.simulator.simulation import simulate_trial
from alliance.data_prep.trial.trial import trial_from_frame
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.sampling.profiles import find_profile

sizes = {"usual": (240, 12), "large": (700, 40)}
cores = int(sys.argv[1])
found, compilations = {}, 0
for name in sys.argv[2:]:
    made = simulate_trial(seed=1, patients=sizes[name][0], therapists=sizes[name][1])
    trial = trial_from_frame(made.study, made.frame)
    fit = fit_trial(trial, find_profile("ci"), seed=1, cores=cores)
    compilations += sum(s["compilation"] > 0.1 for s in fit.manifest["seconds"].values())
    for outcome in fit.outcomes:
        draws = fit.trees[outcome]["posterior"].dataset
        for variable in sorted(draws.data_vars):
            digest = hashlib.sha256(draws[variable].values.tobytes()).hexdigest()
            found[f"{name} {outcome} {variable}"] = digest
print(json.dumps({"draws": found, "compilations": compilations}))
"""


def drawn(caches: Path, *arguments: str) -> dict[str, str]:
    """Hashes of the draws of a process of its own, with its caches in a folder of their own."""
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=os.environ
        | {
            "PYTENSOR_FLAGS": f"base_compiledir={caches / 'pytensor'}",
            "NUMBA_CACHE_DIR": str(caches / "numba"),
            "PYTHONPATH": str(ROOT),
        },
        check=True,
        capture_output=True,
        text=True,
        timeout=600,
    )
    result = json.loads(finished.stdout)
    assert result["compilations"] == 1
    return result["draws"]


def files_in(folder: Path) -> int:
    return sum(1 for path in folder.rglob("*.nb*") if path.is_file())


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(scope="module")
def cold(caches: Path) -> dict[str, str]:
    assert files_in(caches) == 0
    found = drawn(caches, "2", "usual", "large")
    assert files_in(caches) > 10  # the cache is where it was looked for
    return found


def test_every_variable_of_every_outcome_is_compared(cold: dict[str, str]) -> None:
    assert len(cold) == 2 * 4 * 6
    assert sum(name.endswith("therapist_effect") for name in cold) == 2 * 4
    assert len(set(cold.values())) == len(cold)


def test_a_warm_cache_gives_the_same_draws(caches: Path, cold: dict[str, str]) -> None:
    before = files_in(caches)
    assert drawn(caches, "2", "usual", "large") == cold
    assert files_in(caches) == before  # nothing was compiled anew


def test_one_core_and_another_order_give_the_same_draws(caches: Path, cold: dict[str, str]) -> None:
    """The model is then compiled with the other trial's data and therapists."""
    assert drawn(caches, "1", "large", "usual") == cold


def test_another_cold_cache_gives_the_same_draws(tmp_path: Path, cold: dict[str, str]) -> None:
    assert drawn(tmp_path, "1", "large", "usual") == cold
