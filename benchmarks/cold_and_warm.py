"""Seconds of `alliance fit --profile ci` and `alliance demo`, with cold caches and with warm ones.

Each command runs as a process of its own, its caches in a folder of their own: PyTensor's compiled
functions, numba's, matplotlib's list of fonts. Cold is the first run with an empty folder, warm
every further run with the same folder. Installation and byte code are in place in both. The trial
is simulated, 240 patients, all four outcomes.
"""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from reporting import Target, console, finish, load, parser, spread, table

from alliance.data_prep.simulator.simulation import simulate_trial, write_simulated
from alliance.inference.runs.fit import installed_versions

SEED = 1
# Longest seconds promised: cold, warm.
FIT, DEMO = "alliance fit --profile ci", "alliance demo"
PROMISED = {FIT: (25.0, 9.0), DEMO: (120.0, 45.0)}


@dataclass(frozen=True, slots=True)
class Run:
    """One process: its seconds on the clock and of CPU, and the load before it."""

    command: str
    caches: str
    seconds: float
    cpu_seconds: float
    load: float


def with_caches(folder: Path) -> dict[str, str]:
    """This environment, with every cache of compiled code and fonts in `folder`."""
    flags = [
        flag
        for flag in os.environ.get("PYTENSOR_FLAGS", "").split(",")
        if flag and not flag.strip().startswith(("base_compiledir", "compiledir"))
    ]
    return os.environ | {
        "PYTENSOR_FLAGS": ",".join([*flags, f"base_compiledir={folder / 'pytensor'}"]),
        "NUMBA_CACHE_DIR": str(folder / "numba"),
        "MPLCONFIGDIR": str(folder / "matplotlib"),
        "XDG_CACHE_HOME": str(folder / "xdg"),
    }


def children_cpu() -> float:
    """CPU seconds of the finished child processes."""
    times = os.times()
    return times.children_user + times.children_system


def timed(name: str, arguments: Sequence[str], caches: Path, state: str, place: Path) -> Run:
    """Run a command and take its time.

    Raises
    ------
    RuntimeError
        If its exit code is not 0; the message holds what it said.
    """
    before, cpu = load(), children_cpu()
    started = time.perf_counter()
    finished = subprocess.run(
        arguments, env=with_caches(caches), cwd=place, capture_output=True, text=True
    )
    seconds = time.perf_counter() - started
    if finished.returncode != 0:
        said = f"{finished.stdout[-1000:]}\n{finished.stderr[-2000:]}"
        raise RuntimeError(f"{shlex.join(arguments)} ended with {finished.returncode}:\n{said}")
    return Run(name, state, seconds, children_cpu() - cpu, before)


def main() -> int:
    command = parser(__doc__)
    command.add_argument("--cold", type=int, default=3, help="runs with empty caches (3)")
    command.add_argument("--warm", type=int, default=5, help="runs with warm caches (5)")
    command.add_argument(
        "--program",
        default=str(Path(sys.executable).with_name("alliance")),
        help="the program to time (the alliance beside this Python)",
    )
    arguments = command.parse_args()
    if arguments.cold < 1 or arguments.warm < 1:
        command.error("--cold and --warm must be at least 1")
    program = shlex.split(arguments.program)
    out = console()

    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_simulated(simulate_trial(seed=SEED), folder / "trial" / "trial.csv")
        inputs = [str(folder / "trial" / name) for name in ("study.toml", "trial.csv")]

        def fit(run: str) -> list[str]:
            return [*program, "fit", *inputs, "--out", run, "--profile", "ci"]

        def demo(run: str) -> list[str]:
            return [*program, "demo", "--out", run]

        commands: dict[str, Callable[[str], list[str]]] = {FIT: fit, DEMO: demo}
        for position, (name, arguments_for) in enumerate(commands.items()):
            for repeat in range(arguments.cold + arguments.warm):
                state = "cold" if repeat < arguments.cold else "warm"
                # The warm runs use the caches that the last cold run left.
                caches = folder / f"caches-{position}-{min(repeat, arguments.cold - 1)}"
                run = timed(name, arguments_for(f"run-{position}-{repeat}"), caches, state, folder)
                runs.append(run)
                out.print(f"{name}, {state}: {run.seconds:.1f} s", style="dim", highlight=False)

    rows, targets = [], []
    for name in commands:
        for state, limit in zip(("cold", "warm"), PROMISED[name], strict=True):
            some = [run for run in runs if (run.command, run.caches) == (name, state)]
            seconds = [run.seconds for run in some]
            rows.append(
                (
                    f"{name}, {state} caches",
                    spread(seconds, 1),
                    spread([run.cpu_seconds for run in some], 1),
                    spread([run.load for run in some], 1),
                )
            )
            targets.append(Target(f"{name}, {state} caches", statistics.median(seconds), limit))
    out.print(
        table(
            f"Median (range) over {arguments.cold} cold and {arguments.warm} warm processes",
            ["", "seconds", "CPU seconds", "load"],
            rows,
        )
    )
    figures = {"runs": [asdict(run) for run in runs], "program": "alliance"}
    return finish(out, targets, figures, installed_versions(), arguments.out)


if __name__ == "__main__":
    raise SystemExit(main())
