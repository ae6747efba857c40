"""From a table file to the posterior summary of large trials, stage by stage.

Every measurement runs in a fresh process with warm caches: the process starts, imports, reads and
validates the CSV file, fits with the profile `standard` and both therapist effects, summarises and
writes the run folder. What is promised ends with the summary and includes the start and the
imports; writing comes after it. The trials are simulated.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from reporting import Target, console, cores, finish, load, parser, spread, table

if TYPE_CHECKING:
    from alliance.inference.sampling.profiles import Engine

SEED = 1
LONGEST = 30.0  # seconds from table to summary that are promised for PROMISED
ONE_OUTCOME = ("function",)
ALL_OUTCOMES = ("function", "gpe", "pain", "disability")
WARM_UP = (240, 12)  # patients and therapists; the compiled model does not depend on them


@dataclass(frozen=True, slots=True)
class Case:
    """A simulated trial and the outcomes to fit."""

    patients: int
    therapists: int
    outcomes: tuple[str, ...]
    engine: str = "nuts"

    @property
    def name(self) -> str:
        """Its size in words."""
        several = "1 outcome" if len(self.outcomes) == 1 else f"{len(self.outcomes)} outcomes"
        return f"{self.patients:,} / {self.therapists:,}, {several}, {self.engine}"


PROMISED = (
    Case(100_000, 1_000, ONE_OUTCOME),
    Case(100_000, 1_000, ALL_OUTCOMES),
    Case(1_000_000, 10_000, ONE_OUTCOME, "instant"),
)
LARGE = (Case(10_000, 100, ONE_OUTCOME), Case(1_000_000, 10_000, ONE_OUTCOME))

# Stages in order; those up to "summary" count towards what is promised.
STAGES = (
    "start and imports",
    "read",
    "validate",
    "design",
    "moments",
    "compile",
    "sample",
    "therapist effects",
    "rest of the fit",
    "summary",
    "save",
)


def measure(
    folder: Path, outcomes: tuple[str, ...], engine: Engine, started: float
) -> dict[str, Any]:
    """Seconds of every stage, in this process.

    Parameters
    ----------
    folder : Path
        Where ``trial.csv`` and ``study.toml`` stand; the run goes beside them.
    outcomes : tuple of str
    engine : {"nuts", "instant"}
    started : float
        When the process was started, in seconds since 1970.
    """
    from alliance.data_prep.study.description import narrowed, read_study
    from alliance.data_prep.trial import trial as trial_module
    from alliance.inference.runs import fit as fit_module
    from alliance.inference.runs import fitting as fitting_module
    from alliance.inference.runs.run_folder import save_fit
    from alliance.inference.sampling.profiles import find_profile
    from alliance.models.design import design as design_module

    seconds = dict.fromkeys(STAGES, 0.0)
    seconds["start and imports"] = time.time() - started

    def clocked(module: Any, name: str, stage: str) -> AbstractContextManager[Any]:
        real: Callable[..., Any] = getattr(module, name)

        def wrapper(*arguments: Any, **options: Any) -> Any:
            begun = time.perf_counter()
            result = real(*arguments, **options)
            seconds[stage] += time.perf_counter() - begun
            return result

        return mock.patch.object(module, name, wrapper)

    clock = time.perf_counter()
    study = narrowed(read_study(folder / "study.toml"), outcomes=outcomes)
    with clocked(trial_module, "read_table", "read"):
        trial = trial_module.load_trial(study, folder / "trial.csv")
    loaded = time.perf_counter()
    seconds["validate"] = loaded - clock - seconds["read"]
    with (
        clocked(fitting_module, "build_design", "design"),
        clocked(design_module, "therapist_moments", "moments"),
    ):
        fit = fitting_module.fit_trial(
            trial, find_profile("standard"), SEED, engine=engine, cores=cores()
        )
    fitted = time.perf_counter()
    for spent in fit.manifest["seconds"].values():
        seconds["compile"] += spent["compilation"]
        seconds["sample"] += spent["sampling"]
        seconds["therapist effects"] += spent["therapist_effects"]
    # Moments are computed when they are asked for.
    seconds["compile" if engine == "nuts" else "sample"] -= seconds["moments"]
    known = ("design", "moments", "compile", "sample", "therapist effects")
    seconds["rest of the fit"] = fitted - loaded - sum(seconds[stage] for stage in known)
    summary = fit.summary()
    summarised = time.perf_counter()
    seconds["summary"] = summarised - fitted
    total = time.time() - started
    save_fit(fit, folder / "run")
    seconds["save"] = time.perf_counter() - summarised
    return {
        "stages": seconds,
        "to_summary": total,
        "cpu_seconds": time.process_time(),
        "analysed": trial.flow["analysed"].tolist(),
        "smallest_ess_bulk": float(summary["ess_bulk"].min()),
        "largest_r_hat": float(summary["r_hat"].max()),
        "peak_memory_gb": _peak_memory(),
        "versions": fit_module.installed_versions(),
    }


def _peak_memory() -> float | None:
    """Largest resident memory of this process in GB, where the system tells."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, else in kB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def simulated(patients: int, therapists: int, folder: Path) -> Path:
    """Write a simulated trial into a new folder."""
    from alliance.data_prep.simulator.simulation import simulate_trial, write_simulated

    place = folder / f"{patients}-{therapists}"
    if not place.exists():
        trial = simulate_trial(seed=SEED, patients=patients, therapists=therapists)
        write_simulated(trial, place / "trial.csv")
    return place


def in_fresh_process(
    place: Path, outcomes: tuple[str, ...], engine: str = "nuts"
) -> dict[str, Any]:
    """Run `measure` in a new interpreter."""
    with tempfile.TemporaryDirectory(dir=place.parent) as run:
        folder = Path(run)
        for name in ("trial.csv", "study.toml"):
            (folder / name).symlink_to(place / name)
        before = load()
        arguments = [str(folder), ",".join(outcomes), engine, repr(time.time())]
        finished = subprocess.run(
            [sys.executable, __file__, "--measure", *arguments],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    return json.loads(finished.stdout) | {"load": before}


def main() -> int:
    command = parser(__doc__)
    command.add_argument("--repeats", type=int, default=3, help="processes for each trial (3)")
    command.add_argument("--large", action="store_true", help="also 10,000 and 1,000,000 patients")
    command.add_argument("--measure", nargs=4, help="used by the script itself")
    arguments = command.parse_args()
    if arguments.measure:
        folder, outcomes, engine, started = arguments.measure
        found = measure(Path(folder), tuple(outcomes.split(",")), engine, float(started))
        print(json.dumps(found))
        return 0

    out = console()
    cases = (*PROMISED, *LARGE) if arguments.large else PROMISED
    found: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        in_fresh_process(simulated(*WARM_UP, folder), ALL_OUTCOMES)
        for case in cases:
            place = simulated(case.patients, case.therapists, folder)
            found[case.name] = []
            for repeat in range(arguments.repeats):
                found[case.name].append(in_fresh_process(place, case.outcomes, case.engine))
                out.print(f"{case.name}, process {repeat + 1}: done", style="dim")

    def row(title: str, figure: Callable[[dict[str, Any]], float], digits: int) -> tuple[str, ...]:
        cells = [spread([figure(one) for one in some], digits) for some in found.values()]
        return title, *cells

    def of_stage(stage: str) -> Callable[[dict[str, Any]], float]:
        return lambda one: one["stages"][stage]

    rows = [row(stage, of_stage(stage), 2) for stage in STAGES]
    rows.insert(STAGES.index("save"), row("TABLE TO SUMMARY", itemgetter("to_summary"), 2))
    rows += [
        row("CPU seconds", itemgetter("cpu_seconds"), 2),
        row("load", itemgetter("load"), 1),
        row("patients analysed", lambda one: one["analysed"][0], 0),
        row("smallest bulk ESS", itemgetter("smallest_ess_bulk"), 0),
        row("peak memory, GB", lambda one: one["peak_memory_gb"] or 0.0, 2),
    ]
    out.print(
        table(
            f"Seconds: median (range) over {arguments.repeats} fresh processes with warm caches",
            ["patients / therapists", *found],
            rows,
        )
    )
    targets = [
        Target(
            f"{case.name}: table to summary",
            statistics.median(measured["to_summary"] for measured in found[case.name]),
            LONGEST,
        )
        for case in PROMISED
    ]
    packages = found[PROMISED[0].name][0]["versions"]
    return finish(out, targets, {"cases": found}, packages, arguments.out)


if __name__ == "__main__":
    raise SystemExit(main())
