"""Effective draws per second of sampling: the exact model here, and bambi on the same data.

Both fit the same trial in the same process with the same terms, the same priors on the same
standardised columns, chains, draws and cores. One difference remains: bambi has no correlation
between a therapist's intercept and slope, so its model is the smaller one. Our time includes the
therapists' effects, which the exact model draws after sampling and bambi within it.

bambi 0.21 hands its default `inference_method="pymc"` on to `pm.sample` as the sampler's name, so
by default it runs PyMC's own NUTS even where nutpie is installed. With
`inference_method="nutpie"` it runs the sampler that is used here; that row shows what the exact
model alone contributes. What is promised is held against the default.

The smallest bulk ESS is taken over all model parameters and all quantities of the tidy table,
computed from either's draws by the same code. Compilation is in no time. CPU seconds, summed over
threads and worker processes, stand beside the seconds on the clock: other work on the machine
moves them less.
"""

from __future__ import annotations

import logging
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any
from unittest import mock

import arviz_stats as azs
import numpy as np
import xarray as xr
from bambi_fit import cpu_clock, fit_bambi
from reporting import Target, console, cores, finish, load, parser, spread, table, versions

from alliance.data_prep.simulator.simulation import simulate_trial
from alliance.data_prep.trial.trial import Trial, trial_from_frame
from alliance.inference.draws.datatree import draws_of
from alliance.inference.estimands.estimands import estimand_draws
from alliance.inference.posterior import Posterior
from alliance.inference.runs.fit import installed_versions
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.sampling import sampling
from alliance.inference.sampling.profiles import find_profile
from alliance.inference.sampling.sampling import sample_outcome
from alliance.models.design.design import Design, build_design
from alliance.models.priors import Priors
from alliance.models.spec import specify

ANALYSED = 182  # patients with an alliance rating in the trial of 2013
SIMULATED = 2 * ANALYSED  # enough that as many have every measurement
THERAPISTS = (12, 20)
OUTCOME = "function"
STANDARD = find_profile("standard")

OURS = "exact"
BAMBI = {"bambi (PyMC's NUTS)": "pymc", "bambi + nutpie": "nutpie"}  # the first is its default
SMALLEST_RATIO, LONGEST_REFIT, COMPILATIONS = 20.0, 0.3, 1.0


@dataclass(frozen=True, slots=True)
class Run:
    """One fit: the time of its sampling, the smallest bulk ESS and the quantity that has it."""

    method: str
    therapists: int
    seed: int
    seconds: float
    cpu_seconds: float
    smallest_ess: float
    quantity: str
    load: float

    @property
    def rate(self) -> float:
        """Smallest bulk ESS per second of sampling."""
        return self.smallest_ess / self.seconds

    @property
    def cpu_rate(self) -> float:
        """Smallest bulk ESS per CPU second of sampling."""
        return self.smallest_ess / self.cpu_seconds


@dataclass(frozen=True, slots=True)
class Ratio:
    """Smallest ESS per second, ours divided by theirs: median over trials, clock and CPU."""

    therapists: int
    method: str
    seconds: float
    cpu_seconds: float


def complete_trial(seed: int, therapists: int) -> Trial:
    """A simulated trial of `ANALYSED` patients who have every measurement."""
    simulated = simulate_trial(seed=seed, patients=SIMULATED, therapists=therapists)
    frame = simulated.frame.dropna().head(ANALYSED)
    if len(frame) < ANALYSED:
        raise RuntimeError(f"only {len(frame)} complete patients; raise SIMULATED")
    return trial_from_frame(simulated.study, frame)


def all_quantities(draws: xr.Dataset, design: Design) -> xr.DataArray:
    """Draws of every parameter and every reported quantity, dims ``chain, draw, name``."""
    reported = estimand_draws(Posterior(design, draws))
    labels = zip(reported["quantity"].values, reported["level"].values, strict=True)
    names = [f"{quantity} {level}".strip() for quantity, level in labels]
    parts = [
        reported.drop_vars(["quantity", "level"]).rename(estimand="name").assign_coords(name=names)
    ]
    for variable, values in draws.data_vars.items():
        if variable == "beta":
            labelled = [f"beta[{name}]" for name in values["coefficient"].values]
            parts.append(values.rename(coefficient="name").assign_coords(name=labelled))
        elif variable != "therapist_effect":
            parts.append(values.expand_dims(name=[f"parameter {variable}"]))
    return xr.concat(parts, dim="name", coords="minimal", compat="override").transpose(
        "chain", "draw", "name"
    )


def smallest_ess(quantities: xr.DataArray) -> tuple[float, str]:
    """The smallest bulk ESS, and the name of the quantity that has it."""
    ess = azs.ess(quantities, method="bulk")
    position = int(ess.argmin("name"))
    return float(ess[position]), str(ess["name"].values[position])


@contextmanager
def counted_compilations(into: list[int]) -> Iterator[None]:
    """Append to `into` how many models were compiled inside."""
    real: Callable[..., Any] = sampling.compile_model
    with mock.patch.object(sampling, "compile_model", side_effect=real) as compile_model:
        yield
    into.append(compile_model.call_count)


def fit_ours(design: Design, priors: Priors, seed: int) -> tuple[xr.Dataset, float, float, float]:
    """Draws, seconds and CPU seconds of sampling with the therapists' effects, and of the whole."""
    started, cpu = time.perf_counter(), cpu_clock()
    tree, seconds = sample_outcome(design, priors, STANDARD, seed, cores=cores())
    whole, cpu = time.perf_counter() - started, cpu_clock() - cpu
    return draws_of(tree), seconds.sampling + seconds.therapist_effects, cpu, whole


def measured(
    seeds: int, compilations: list[int], report: Callable[[str], None]
) -> tuple[list[Run], list[float], dict[str, float]]:
    """Runs of all methods on all trials, seconds of our refits, and how far the means lie apart.

    Parameters
    ----------
    seeds : int
        Trials for each number of therapists.
    compilations : list of int
        The numbers of models that our fits compiled are appended.
    report : callable
        Called with a line for each trial.

    Returns
    -------
    runs : list of Run
    refits : list of float
    gaps : dict of str to float
        By method: the largest difference of posterior means from ours, in posterior SDs.
    """
    runs: list[Run] = []
    refits: list[float] = []
    gaps = dict.fromkeys(BAMBI, 0.0)
    sample = ("chain", "draw")
    for therapists in THERAPISTS:
        for seed in range(1, seeds + 1):
            trial = complete_trial(seed, therapists)
            spec = specify(trial.study)[OUTCOME]
            design = build_design(trial.analysed(OUTCOME), spec)
            before = load()
            with counted_compilations(compilations):
                draws, seconds, cpu, whole = fit_ours(design, spec.priors, seed)
            refits.append(whole)
            ours = all_quantities(draws, design)
            runs.append(Run(OURS, therapists, seed, seconds, cpu, *smallest_ess(ours), before))
            for method, sampler in BAMBI.items():
                before = load()
                draws, seconds, cpu = fit_bambi(design, spec.priors, STANDARD, seed, sampler)
                theirs = all_quantities(draws, design)
                run = Run(method, therapists, seed, seconds, cpu, *smallest_ess(theirs), before)
                runs.append(run)
                difference = ours.sel(name=theirs["name"]).mean(sample) - theirs.mean(sample)
                gap = float((np.abs(difference) / theirs.std(sample)).max())
                gaps[method] = max(gaps[method], gap)
            report(f"{therapists} therapists, trial {seed}: done")
    return runs, refits, gaps


def compared(runs: list[Run]) -> tuple[list[tuple[str, ...]], list[Ratio]]:
    """Rows of the table, and the ratios of ours to each of bambi's, trial by trial."""
    rows: list[tuple[str, ...]] = []
    ratios: list[Ratio] = []
    for therapists in THERAPISTS:
        size = [run for run in runs if run.therapists == therapists]
        ours = {run.seed: run for run in size if run.method == OURS}
        for method in (OURS, *BAMBI):
            some = [run for run in size if run.method == method]
            clock = [ours[run.seed].rate / run.rate for run in some]
            cpu = [ours[run.seed].cpu_rate / run.cpu_rate for run in some]
            ratios.append(
                Ratio(therapists, method, statistics.median(clock), statistics.median(cpu))
            )
            rows.append(
                (
                    f"{therapists}: {method}",
                    spread([run.seconds for run in some]),
                    spread([run.cpu_seconds for run in some]),
                    spread([run.smallest_ess for run in some], 0),
                    statistics.mode(run.quantity for run in some),
                    spread([run.rate for run in some], 0),
                    "" if method == OURS else spread(clock, 1),
                    "" if method == OURS else spread(cpu, 1),
                    spread([run.load for run in some], 1),
                )
            )
    return rows, ratios


def main() -> int:
    command = parser(__doc__)
    command.add_argument("--seeds", type=int, default=5, help="trials for each number (5)")
    arguments = command.parse_args()
    for package in ("pymc", "bambi"):
        logging.getLogger(package).setLevel(logging.ERROR)
    # PyMC forks its chains; nutpie's threads are idle then.
    warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork.*")
    out = console()

    compilations: list[int] = []
    trial = complete_trial(0, THERAPISTS[0])
    with counted_compilations(compilations):
        first = fit_trial(trial, STANDARD, seed=0, cores=cores()).manifest["seconds"]
    spec = specify(trial.study)[OUTCOME]
    for sampler in BAMBI.values():  # what any first fit of a process costs, once and uncounted
        fit_bambi(build_design(trial.analysed(OUTCOME), spec), spec.priors, STANDARD, 0, sampler)
    runs, refits, gaps = measured(
        arguments.seeds, compilations, lambda line: out.print(line, style="dim", highlight=False)
    )
    rows, ratios = compared(runs)

    title = (
        f"{ANALYSED} patients (simulated), outcome {OUTCOME}, {STANDARD.chains} x "
        f"({STANDARD.tune} + {STANDARD.draws}) draws; median (range) over {arguments.seeds} trials"
    )
    columns = ("therapists: method", "seconds", "CPU s", "smallest ESS", "often of", "ESS per s")
    out.print(table(title, (*columns, "ours / bambi", "the same, CPU", "load"), rows))
    for method, gap in gaps.items():
        out.print(f"Largest difference of means from {method}: {gap:.2f} posterior SDs.")
    out.print(
        f"Four outcomes: compiled once, {first[OUTCOME]['compilation']:.1f} s. Refits afterwards: "
        f"{spread(refits)} s, with {sum(compilations[1:])} compilations in {len(refits)} refits."
    )
    default = next(iter(BAMBI))
    targets = [
        Target(
            f"{ratio.therapists} therapists: ESS per second, ours / {default}",
            ratio.seconds,
            SMALLEST_RATIO,
            "times",
            at_least=True,
        )
        for ratio in ratios
        if ratio.method == default
    ]
    targets += [
        Target("Refit after the first, median", statistics.median(refits), LONGEST_REFIT),
        Target("Compilations for four outcomes", compilations[0], COMPILATIONS, ""),
    ]
    figures = {
        "runs": [asdict(run) for run in runs],
        "ratios": [asdict(ratio) for ratio in ratios if ratio.method != OURS],
        "refit_seconds": refits,
        "first_fit_seconds": first,
        "compilations": compilations,
        "largest_difference_of_means_in_sd": gaps,
    }
    return finish(out, targets, figures, installed_versions() | versions("bambi"), arguments.out)


if __name__ == "__main__":
    raise SystemExit(main())
