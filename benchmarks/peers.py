"""One trial, one model, many programs: seconds of a first fit and of the next ones, in one run.

A simulated trial of 182 patients and 12 therapists, both therapist effects, on the same
standardised columns. A first fit includes what a process does once (compiling); the next ones have
other outcomes of the same shape. Bayesian programs draw 4 x (1,000 + 1,000); statsmodels and lme4
give REML estimates without a posterior. Programs in R are measured where R and the package are
there. Importing is in no figure. Calibration is measured beside simuk on the same model and draws,
and refits at sizes up to 1,000,000 patients, as far as a program takes less than a minute.
"""

from __future__ import annotations

import json
import logging
import shutil
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import simuk
import statsmodels.api as sm
from against_bambi import complete_trial
from bambi_fit import bambi_model
from plain_pymc import plain_model
from reporting import Target, console, cores, finish, load, parser, table, versions

from alliance.inference.draws.datatree import draws_of
from alliance.inference.many_fits.calibration import CalibrationQuestion, ranked_trial
from alliance.inference.many_fits.calibration_runs import PROFILE
from alliance.inference.runs.fit import installed_versions
from alliance.inference.runs.fitting import this_machine
from alliance.inference.sampling.engines import fit_outcome
from alliance.inference.sampling.profiles import Engine, find_profile
from alliance.models.design.design import Design, build_design
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec, specify

SEED, OUTCOME, THERAPISTS = 1, "function", 12
STANDARD = find_profile("standard")
PRIORS = Priors()
SIMUK_FITS, OUR_FITS = 20, 100
FEWEST_TIMES = 15.0  # simuk's seconds for a fit over ours: promised
SIZES = (182, 1_000, 10_000, 100_000, 1_000_000)
LONGEST = 60.0  # seconds of a refit, beyond which larger sizes are not tried
DRAWS = {
    "draws": STANDARD.draws,
    "tune": STANDARD.tune,
    "chains": STANDARD.chains,
    "progressbar": False,
}

Fit = Callable[[Design], Any]
Means = dict[str, float]


def ours(engine: Engine) -> Fit:
    def fit(design: Design) -> Means:
        tree, _ = fit_outcome(design, PRIORS, STANDARD, SEED, engine=engine, cores=cores())
        beta = draws_of(tree)["beta"].mean(("chain", "draw"))
        return dict(zip(beta["coefficient"].values.tolist(), beta.values.tolist(), strict=True))

    return fit


def in_bambi(design: Design) -> Means:
    tree = bambi_model(design, PRIORS).fit(cores=cores(), random_seed=SEED, **DRAWS)
    draws = tree["posterior"].dataset
    return {"moderator": float(draws["moderator"].mean())}


def in_pymc(design: Design) -> Means:
    with plain_model(design, PRIORS):
        tree = pm.sample(cores=cores(), random_seed=SEED, **DRAWS)
    beta = tree["posterior"].dataset["beta"].mean(("chain", "draw"))
    return dict(zip(beta["coefficient"].values.tolist(), beta.values.tolist(), strict=True))


def in_statsmodels(design: Design) -> Means:
    moderator = design.X[:, design.coefficients.index("moderator")]
    Z = np.column_stack([np.ones_like(moderator), moderator])
    model = sm.MixedLM(design.y, design.X[:, design.present], design.therapist_index, Z)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a variance of zero is told by a warning
        found = model.fit(reml=True)
    names = [design.coefficients[k] for k in design.present]
    return dict(zip(names, np.asarray(found.fe_params).tolist(), strict=True))


PROGRAMS: dict[str, Fit] = {
    "alliance, nuts": ours("nuts"),
    "alliance, instant": ours("instant"),
    "bambi": in_bambi,
    "PyMC, not centred": in_pymc,
    "statsmodels (REML)": in_statsmodels,
}
IN_R = {"lme4 (REML)": "lme4", "rstanarm": "rstanarm", "brms": "brms"}


def other_outcomes(design: Design, seed: int) -> Design:
    """The same patients with noise in their outcomes, standardised again."""
    y = design.y + 0.3 * np.random.default_rng(seed).standard_normal(len(design.y))
    return replace(design, y=(y - y.mean()) / y.std(ddof=1))


def timed(fit: Fit, design: Design) -> tuple[float, Means]:
    started = time.perf_counter()
    found = fit(design)
    return time.perf_counter() - started, found


def in_r(method: str, design: Design) -> dict[str, Any]:
    """Seconds in R, or why there are none."""
    if shutil.which("Rscript") is None:
        return {"skipped": "R is not installed"}
    names = [design.coefficients[k] for k in design.present]
    frame = pd.DataFrame(design.X[:, design.present], columns=names)
    # R's programs have names of their own for an intercept
    frame.columns = [
        name.replace("[", "_").replace("]", "").replace("intercept", "one") for name in names
    ]
    frame = frame.assign(y=design.y, therapist=design.therapist_index)
    with tempfile.TemporaryDirectory() as temporary:
        data, out = Path(temporary) / "data.csv", Path(temporary) / "out.json"
        frame.to_csv(data, index=False)
        script = Path(__file__).with_name("peers.R")
        finished = subprocess.run(
            ["Rscript", "--vanilla", str(script), method, str(data), str(cores()), str(out)],
            capture_output=True,
            text=True,
            check=False,
        )
        if not out.exists():
            absent = finished.stdout.startswith("absent")
            lines = finished.stderr.strip().splitlines() or ["no output"]
            why = [line for line in lines if "rror" in line or "not found" in line] or lines
            return {"skipped": f"{method} is not installed" if absent else why[-1].strip()}
        found = json.loads(out.read_text())
    place = names.index("moderator")
    return {**found, "moderator": found["mean"][place]}


def calibration(design: Design) -> dict[str, float]:
    """Seconds of one calibration fit by each engine, after a first, and by simuk.

    simuk fits PyMC's plain model with nutpie, compiled for each simulation.
    """
    found = {}
    for engine in ("nuts", "instant"):
        question = CalibrationQuestion(design, PRIORS, PROFILE, SEED, engine)
        ranked_trial(question, 0)
        started = time.perf_counter()
        for number in range(1, OUR_FITS + 1):
            ranked_trial(question, number)
        found[engine] = (time.perf_counter() - started) / OUR_FITS
    settings = {
        "draws": PROFILE.draws,
        "tune": PROFILE.tune,
        "chains": PROFILE.chains,
        "cores": cores(),
        "progressbar": False,
    }
    check = simuk.SBC(
        plain_model(design, PRIORS),
        num_simulations=SIMUK_FITS,
        sample_kwargs=settings,
        seed=SEED,
        keep_fits=False,
        progress_bar=False,
    )
    started = time.perf_counter()
    check.run_simulations()
    found["simuk"] = (time.perf_counter() - started) / SIMUK_FITS
    return found


def made_up(patients: int) -> Design:
    """A design of so many patients, a hundredth as many therapists, all observed."""
    from alliance.data_prep.simulator.inputs import imagined_patients
    from alliance.data_prep.trial.flow import analysed_patients

    study = complete_trial(SEED, THERAPISTS).study
    random = np.random.default_rng(SEED)
    therapists = max(THERAPISTS, patients // 100)
    data = imagined_patients(study, patients, therapists, random)
    design = build_design(
        analysed_patients(data, OUTCOME), ModelSpec(OUTCOME), study.outcomes[OUTCOME].range
    )
    intercepts, slopes = random.normal(0, (0.25, 0.1), (therapists, 2)).T
    moderator = design.X[:, design.coefficients.index("moderator")]
    own = design.therapist_index
    y = 0.3 * moderator + intercepts[own] + slopes[own] * moderator + random.normal(size=patients)
    return replace(design, y=(y - y.mean()) / y.std(ddof=1))


def by_size(report: Callable[[str], None], largest: int) -> list[dict[str, Any]]:
    """Seconds of a refit at each size, for each program as far as it is quick enough."""
    rows: list[dict[str, Any]] = []
    slow: set[str] = set()
    for patients in [size for size in SIZES if size <= largest]:
        design = made_up(patients)
        for name, fit in PROGRAMS.items():
            if name in slow:
                continue
            if patients == SIZES[0]:
                fit(design)
            seconds, _ = timed(fit, replace(design))  # without moments that are there already
            rows.append({"program": name, "patients": patients, "seconds": seconds})
            if 5 * seconds > LONGEST and not name.startswith("alliance"):
                slow.add(name)
            report(f"{patients:,} patients, {name}: {seconds:.2f} s")
    return rows


def main() -> int:
    command = parser(__doc__)
    command.add_argument("--repeats", type=int, default=3, help="fits after the first (3)")
    command.add_argument("--largest", type=int, default=SIZES[-1], help="patients (1,000,000)")
    arguments = command.parse_args()
    for package in ("pymc", "bambi", "simuk"):
        logging.getLogger(package).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork.*")
    out = console()

    def report(line: str) -> None:
        out.print(line, style="dim", highlight=False)

    trial = complete_trial(SEED, THERAPISTS)
    design = build_design(trial.analysed(OUTCOME), specify(trial.study)[OUTCOME])
    before = load()
    found: dict[str, dict[str, Any]] = {}
    for name, fit in PROGRAMS.items():
        first, means = timed(fit, design)
        next_ones = [timed(fit, other_outcomes(design, k))[0] for k in range(arguments.repeats)]
        found[name] = {
            "first": first,
            "again": statistics.median(next_ones),
            "moderator": means["moderator"],
        }
        report(f"{name}: done")
    for name, method in IN_R.items():
        found[name] = in_r(method, design)
        report(f"{name}: {found[name].get('skipped', 'done')}")
    calibrated = calibration(design)
    report("calibration: done")
    sizes = by_size(report, arguments.largest)
    base = found["alliance, nuts"]
    rows = [
        (name, own["skipped"], "", "", "")
        if "skipped" in own
        else (
            name,
            f"{own['first']:.2f}",
            f"{own['again']:.2f}",
            f"{own['again'] / base['again']:.1f}",
            f"{own['moderator']:+.3f}",
        )
        for name, own in found.items()
    ]
    columns = ("program", "first fit, s", "next fits, s", "over alliance, nuts", "slope")
    out.print(table("182 patients, 12 therapists", columns, rows))
    rows = [(name, f"{own:.3f}") for name, own in calibrated.items()]
    out.print(table("Seconds of one calibration fit", ("program", "seconds"), rows))
    targets = [
        Target(
            "simuk over ours, a calibration fit by NUTS",
            calibrated["simuk"] / calibrated["nuts"],
            FEWEST_TIMES,
            "times",
            at_least=True,
        )
    ]
    figures = {
        "programs": found,
        "calibration": calibrated,
        "sizes": sizes,
        "load": before,
        "machine": this_machine(),
    }
    packages = installed_versions() | versions("bambi", "simuk")
    return finish(out, targets, figures, packages, arguments.out)


if __name__ == "__main__":
    raise SystemExit(main())
