"""Seconds of the commands of this checkout, and of another one beside it, in the same run.

    uv run python benchmarks/commands.py --before ../before

Each checkout has an environment of its own (`.venv`), in which it is installed. Both fit the same
simulated trial, 240 patients with all four outcomes, and ask their own run. The commands take turns
with those of the other checkout, which of the two comes first changes from one repetition to the
next, and each ratio is the median over the repetitions of seconds here over seconds there: what
else the machine does touches both. Cold is a fit with empty caches of compiled code and fonts, warm
every other command.
"""

from __future__ import annotations

import statistics
import tempfile
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path

from cold_and_warm import Run, timed
from reporting import Target, console, finish, parser, spread, table

from alliance.data_prep.simulator.simulation import simulate_trial, write_simulated
from alliance.inference.runs.fit import installed_versions

SEED = 1
SLOWER = 1.1  # ratio of seconds up to which a command counts as not slower
COLD, FIT = "fit --profile ci, cold", "fit --profile ci, warm"
ASKED = {
    "--help": ("--help",),
    "fit --help": ("fit", "--help"),
    "summary": ("summary", "RUN"),
    "predict": ("predict", "RUN", "--outcome", "function", "--alliance", "60:110:10"),
    "report": ("report", "RUN", "--out", "report.html", "--overwrite"),
}


class Checkout:
    """A checkout with its program, its caches and its run of the trial.

    Parameters
    ----------
    root : Path
        Of the checkout.
    inputs : tuple of Path
        Study file and table.
    place : Path
        Folder for its runs and caches.
    """

    def __init__(self, root: Path, inputs: tuple[Path, Path], place: Path) -> None:
        self.program = root / ".venv" / "bin" / "alliance"
        self.inputs, self.place = inputs, place
        self.fits = 0
        place.mkdir()
        self.fit(FIT, place / "warm")  # fills the caches, and is not counted
        self.run = f"run-{self.fits}"

    def _timed(self, name: str, words: tuple[str, ...], caches: Path) -> Run:
        return timed(name, [str(self.program), *words], caches, name, self.place)

    def fit(self, name: str, caches: Path) -> Run:
        """Fit the trial into a new folder."""
        self.fits += 1
        inputs = map(str, self.inputs)
        words = ("fit", *inputs, "--out", f"run-{self.fits}", "--profile", "ci")
        return self._timed(name, words, caches)

    def ask(self, name: str) -> Run:
        """Run one of the commands: a fit, or a question to the run."""
        if name == COLD:
            return self.fit(name, self.place / f"cold-{self.fits}")
        if name == FIT:
            return self.fit(name, self.place / "warm")
        words = tuple(self.run if word == "RUN" else word for word in ASKED[name])
        return self._timed(name, words, self.place / "warm")


def main() -> int:
    command = parser(__doc__)
    command.add_argument("--before", type=Path, required=True, help="the other checkout")
    command.add_argument("--repeats", type=int, default=7, help="of each warm command (7)")
    command.add_argument("--cold", type=int, default=3, help="fits with empty caches (3)")
    arguments = command.parse_args()
    if arguments.repeats < 1 or arguments.cold < 0:
        command.error("--repeats must be at least 1, and --cold at least 0")
    roots = {"before": arguments.before.resolve(), "here": Path(__file__).resolve().parents[1]}
    for root in roots.values():
        if not (root / ".venv" / "bin" / "alliance").is_file():
            command.error(f"{root} has no .venv with alliance: run `uv sync` there")
    out = console()

    runs: dict[str, dict[str, list[Run]]] = defaultdict(lambda: {name: [] for name in roots})
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_simulated(simulate_trial(seed=SEED), folder / "trial" / "trial.csv")
        inputs = (folder / "trial" / "study.toml", folder / "trial" / "trial.csv")
        sides = {name: Checkout(root, inputs, folder / name) for name, root in roots.items()}
        for name in (COLD, FIT, *ASKED):
            for repeat in range(arguments.cold if name == COLD else arguments.repeats):
                turn = list(sides) if repeat % 2 == 0 else list(sides)[::-1]
                for side in turn:
                    run = sides[side].ask(name)
                    runs[name][side].append(run)
                    out.print(f"{name}, {side}: {run.seconds:.2f} s", style="dim", highlight=False)

    rows, targets = [], []
    for name, by_side in runs.items():
        pairs = list(zip(by_side["here"], by_side["before"], strict=True))
        ratio = [here.seconds / there.seconds for here, there in pairs]
        of_cpu = [here.cpu_seconds / there.cpu_seconds for here, there in pairs]
        seconds = [spread([run.seconds for run in by_side[side]]) for side in roots]
        rows.append((name, *seconds, spread(ratio), spread(of_cpu)))
        targets.append(Target(f"{name}, here over before", statistics.median(ratio), SLOWER, ""))
    columns = ["", "seconds before", "seconds here", "ratio", "ratio of CPU seconds"]
    out.print(table("Median (range) of processes that took turns", columns, rows))
    figures = {
        "runs": {
            name: {side: [asdict(run) for run in some] for side, some in by_side.items()}
            for name, by_side in runs.items()
        }
    }
    return finish(out, targets, figures, installed_versions(), arguments.out)


if __name__ == "__main__":
    raise SystemExit(main())
