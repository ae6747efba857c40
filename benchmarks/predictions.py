"""Seconds and memory of 1,000 predictions from 4,000 draws, and of PyMC's compiled route.

1,000 patients of 50 new therapists, the draws of the profile `standard`, every family of the
simulated trial. Both sides draw the therapists' effects and every patient's outcome; ours also
gives the expected scores, means, SDs, intervals and, in a column of its own, the chance of reaching
a threshold. PyMC's side is `pm.sample_posterior_predictive` on the patient-level model with
explicit `sample_vars`, and gives the outcomes alone: its first call in a fresh process with empty
caches, which compiles, and later ones with the same model. The peak is what Python and NumPy
allocate beyond what is there before, by tracemalloc. The trial is simulated.
"""

from __future__ import annotations

import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from cold_and_warm import with_caches
from reporting import Target, console, finish, load, parser, spread, table

from alliance.data_prep.simulator.simulation import simulate_trial
from alliance.data_prep.study.description import narrowed
from alliance.data_prep.trial.trial import trial_from_frame
from alliance.inference.answers.predictions import Predictions, predict
from alliance.inference.draws.datatree import draws_of
from alliance.inference.patients.asked_patients import AskedPatients
from alliance.inference.posterior import Rows
from alliance.inference.runs.fit import Fit, installed_versions
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.runs.run_folder import load_fit, save_fit
from alliance.inference.sampling.profiles import find_profile
from alliance.inference.scores.thresholds import Thresholds
from alliance.models.design.design import Design
from alliance.models.patient_level import patient_level_model

SEED = 1
PATIENTS, THERAPISTS = 1_000, 50
LONGEST, LARGEST = 1.0, 1.0  # seconds and GiB that are promised
GIB = 2**30
# Outcomes of the simulated trial, by likelihood; together they have every family that it knows.
CASES = (("published", "function"), ("native", "gpe"), ("native", "function"))


def patients_of(fit: Fit, outcome: str) -> AskedPatients:
    """Patients at random, of the same values in every run of this script."""
    random = np.random.default_rng(SEED)
    ratings = fit.patients(outcome)["moderator"].values
    low, high = fit.study.outcomes[outcome].range
    baseline = random.uniform(low, high, PATIENTS)
    rows = Rows(
        arm_index=np.arange(PATIENTS) % len(fit.study.arms),
        moderator=random.uniform(ratings.min(), ratings.max(), PATIENTS),
        baseline=baseline if fit.design(outcome).has_baseline else None,
        covariates=np.empty((PATIENTS, 0)),
    )
    return AskedPatients(
        outcome=outcome,
        names=tuple(map(str, range(PATIENTS))),
        rows=rows,
        own_arm=True,
        therapists=tuple(f"N{number % THERAPISTS}" for number in range(PATIENTS)),
        extrapolated=np.zeros(PATIENTS, dtype=bool),
        alliance_named=False,
    )


def timed(act: Callable[[], Any], repeats: int) -> tuple[list[float], Any]:
    """Seconds of each call, and what the last one gave."""
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        found = act()
        seconds.append(time.perf_counter() - begun)
    return seconds, found


def peak(act: Callable[[], Any]) -> float:
    """GiB that a call allocates at most."""
    tracemalloc.start()
    act()
    found = tracemalloc.get_traced_memory()[1] / GIB
    tracemalloc.stop()
    return found


def compiled_route(fit: Fit, design: Design, asked: AskedPatients) -> tuple[Any, xr.Dataset]:
    """The patient-level model of the patients asked about, and the draws it is given."""
    labels = list(dict.fromkeys(asked.therapists or ()))
    index = np.array([labels.index(name) for name in asked.therapists or ()])
    imagined = replace(
        design,
        X=asked.rows.matrix(design),
        y=np.zeros(PATIENTS),
        therapist_index=index,
        therapists=tuple(labels),
        moderator_missing=np.zeros(PATIENTS, dtype=bool),
        count=np.ones(PATIENTS),
    )
    draws = draws_of(fit.trees[design.outcome])
    model = patient_level_model(imagined, fit.specs[design.outcome].priors)
    names = list(model.coords["coefficient"])
    used = [design.coefficients.index(name) for name in names]
    with model:
        predictor = model["X"][:, used] @ model["beta"]
        for k, column in enumerate(design.effect_columns):
            effect = model["therapist_effect"][index, k]
            predictor = predictor + effect * imagined.X[:, column]
        eta = design.scale.link_location + design.scale.link_unit * predictor
        _outcome(model, design, eta)
    kept = draws.drop_dims(["therapist", "effect"])  # else PyMC keeps the trial's therapists
    # Absent coefficients are zero, as their columns are.
    return model, kept.reindex(coefficient=names, fill_value=0.0)


def _outcome(model: pm.Model, design: Design, eta: Any) -> None:
    """The family's distribution as PyMC writes it."""
    if design.family.name == "gaussian":
        pm.Normal("predicted", eta, model["residual_sd"])
    elif design.family.name == "ordinal":
        pm.OrderedLogistic("predicted", eta=eta, cutpoints=model["cutpoint"], compute_p=False)
    else:
        share, precision = pm.math.sigmoid(eta), model["precision"]
        alpha, beta = share * precision, (1 - share) * precision
        pm.BetaBinomial("predicted", alpha=alpha, beta=beta, n=design.scale.top)


def by_pymc(model: pm.Model, draws: xr.Dataset) -> xr.DataArray:
    """Outcomes through PyMC; the first call for a model compiles it."""
    # What the draws hold must be frozen where something above it is not held: the cutpoints.
    frozen = [name for name in ("cutpoint",) if name in draws]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Potentials.*")
        warnings.filterwarnings("ignore", message=".*object mode.*")
        tree = pm.sample_posterior_predictive(
            xr.DataTree.from_dict({"posterior": draws}),
            model=model,
            var_names=["predicted"],
            sample_vars=["therapist_standard", "predicted"],
            freeze_vars=frozen,
            predictions=True,
            progressbar=False,
            random_seed=SEED,
        )
    return tree["predictions"].dataset["predicted"]


def in_cold_process(fit: Fit, outcome: str) -> float:
    """Seconds of PyMC's first prediction in a new interpreter whose caches are empty."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save_fit(fit, folder / "run")
        finished = subprocess.run(
            [sys.executable, __file__, "--first", str(folder / "run"), outcome],
            check=True,
            env=with_caches(folder / "caches"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    return float(json.loads(finished.stdout))


def first(run: Path, outcome: str) -> float:
    """Seconds of the first call, imports and the model's own writing left out."""
    fit = load_fit(run)
    model, draws = compiled_route(fit, fit.design(outcome), patients_of(fit, outcome))
    seconds, _ = timed(lambda: by_pymc(model, draws), 1)
    return seconds[0]


def measure(fit: Fit, outcome: str, repeats: int) -> dict[str, Any]:
    """Both ways for one outcome."""
    design = fit.design(outcome)
    asked = patients_of(fit, outcome)
    low, high = fit.study.outcomes[outcome].range
    middle = Thresholds(at_least=float(round((low + high) / 2)))

    def ours(thresholds: Thresholds | None = None) -> Predictions:
        return predict(fit[outcome], asked, therapist="new", thresholds=thresholds)

    ours()
    before = load()
    seconds, found = timed(ours, repeats)
    with_threshold, _ = timed(lambda: ours(middle), repeats)
    model, draws = compiled_route(fit, design, asked)
    by_pymc(model, draws)
    later, theirs = timed(lambda: by_pymc(model, draws), repeats)
    outcomes = design.scale.offset + design.scale.unit * theirs.values
    own = found.draws["outcome"]
    sd = own.std(("chain", "draw")).values
    gap = (own.mean(("chain", "draw")).values - outcomes.mean(axis=(0, 1))) / sd
    return {
        "outcome": outcome,
        "family": design.family.name,
        "draws": own.sizes["chain"] * own.sizes["draw"],
        "seconds": seconds,
        "with_threshold": with_threshold,
        "peak_gib": peak(lambda: ours(middle)),
        "pymc_first": [in_cold_process(fit, outcome)],
        "pymc_later": later,
        "largest_gap_of_means_in_sd": float(np.abs(gap).max()),
        "load": before,
    }


def main() -> int:
    command = parser(__doc__)
    command.add_argument("--repeats", type=int, default=5, help="predictions of each case (5)")
    command.add_argument("--first", nargs=2, help="used by the script itself")
    arguments = command.parse_args()
    if arguments.first:
        print(json.dumps(first(Path(arguments.first[0]), arguments.first[1])))
        return 0
    logging.getLogger("pymc").setLevel(logging.ERROR)
    out = console()
    simulated = simulate_trial(seed=SEED)
    found = []
    for likelihood, outcome in CASES:
        study = narrowed(simulated.study, outcomes=[outcome], likelihood=likelihood)
        fit = fit_trial(trial_from_frame(study, simulated.frame), find_profile("standard"), SEED)
        found.append(measure(fit, outcome, arguments.repeats))
        out.print(f"{outcome}, {found[-1]['family']}: done", style="dim", highlight=False)

    def ratio(one: dict[str, Any], which: str) -> str:
        return f"{statistics.median(one[which]) / statistics.median(one['seconds']):.1f}"

    rows = [
        (
            one["family"],
            spread(one["seconds"]),
            spread(one["with_threshold"]),
            f"{one['peak_gib']:.2f}",
            spread(one["pymc_first"]),
            ratio(one, "pymc_first"),
            spread(one["pymc_later"]),
            ratio(one, "pymc_later"),
            f"{one['largest_gap_of_means_in_sd']:.3f}",
            f"{one['load']:.1f}",
        )
        for one in found
    ]
    columns = ["family", "seconds", "and a chance", "peak, GiB", "PyMC, compiling", "ratio"]
    columns += ["PyMC, later", "ratio", "means apart, SD", "load"]
    title = (
        f"{PATIENTS:,} rows by {found[0]['draws']:,} draws: median (range) of "
        f"{arguments.repeats} predictions"
    )
    out.print(table(title, columns, rows))
    targets = []
    for one in found:
        what = f"{one['family']}: {PATIENTS:,} rows by {one['draws']:,} draws"
        targets.append(Target(what, statistics.median(one["seconds"]), LONGEST))
        with_chance = statistics.median(one["with_threshold"])
        targets.append(Target(f"{what}, and a chance", with_chance, LONGEST))
        targets.append(Target(f"{what}, peak", one["peak_gib"], LARGEST, unit="GiB"))
    return finish(out, targets, {"cases": found}, installed_versions(), arguments.out)


if __name__ == "__main__":
    raise SystemExit(main())
