"""Seconds of outcomes over time, from a table to the summary, in fresh processes.

Trials are simulated: scores with a correlation of .6 between neighbouring visits, a quarter of the
patients leave before the last visit, and in one of the trials a tenth of all scores are missing
anywhere. Profile `standard`; with therapists, intercepts and slopes that vary between them.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reporting import Target, console, cores, finish, load, parser, table, versions

SEED = 1


@dataclass(frozen=True, slots=True)
class Case:
    """A simulated trial, and what is promised of it."""

    patients: int
    visits: int
    therapists: int
    scattered: float
    cold: bool
    limit: float
    engine: str = "nuts"

    @property
    def name(self) -> str:
        """In words."""
        who = f"{self.therapists:,} therapists" if self.therapists else "no therapists"
        gaps = f", {self.scattered:.0%} missing anywhere" if self.scattered else ""
        caches = "cold" if self.cold else "warm"
        size = f"{self.patients:,} patients x {self.visits} visits"
        return f"{size}, {who}{gaps}, {self.engine}, {caches}"


CASES = (
    Case(200, 4, 12, 0.0, True, 30.0),
    Case(200, 4, 12, 0.0, False, 5.0),
    Case(1_000, 10, 0, 0.0, False, 30.0),
    Case(1_000, 10, 0, 0.1, False, 30.0),
    Case(100_000, 4, 1_000, 0.0, False, 60.0),
    Case(200, 4, 12, 0.0, True, 5.0, "instant"),
)


def write_trial(case: Case, folder: Path) -> None:
    """Study file and table with a row for each patient."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(SEED)
    n, V = case.patients, case.visits
    place = np.arange(V)
    correlation = 0.6 ** np.abs(place[:, None] - place)
    arm, alliance = rng.permutation(n) % 2, rng.normal(50, 10, n)
    before = rng.normal(50, 10, n)
    standard = (alliance - 50) / 10
    Y = 25 + 0.5 * before[:, None] + 10 * rng.multivariate_normal(np.zeros(V), correlation, n)
    Y += (3 * arm + (2 + arm) * standard)[:, None]
    frame = pd.DataFrame({"id": np.arange(n), "arm": np.where(arm, "B", "A")})
    if case.therapists:
        therapist = rng.integers(case.therapists, size=n)
        own = rng.standard_normal((case.therapists, 2)) * (3, 1.5)
        Y += (own[therapist, 0] + own[therapist, 1] * standard)[:, None]
        frame["therapist"] = therapist
    hazard = 1 - 0.75 ** (1 / (V - 1))
    gone = np.cumsum(rng.random((n, V)) < hazard, axis=1) > 0
    gone[:, 0] = False
    Y[gone | (rng.random((n, V)) < case.scattered)] = np.nan
    frame["alliance"], frame["before"] = alliance.round(2), before.round(2)
    for t in range(V):
        frame[f"y{t}"] = Y[:, t].round(2)
    frame.to_csv(folder / "trial.csv", index=False)
    columns = ", ".join(f'v{t} = "y{t}"' for t in range(V))
    therapist = 'therapist = "therapist"\n' if case.therapists else ""
    (folder / "study.toml").write_text(
        f'title = "Simulated visits"\nsimulated = true\n'
        f'[columns]\npatient = "id"\n{therapist}arm = "arm"\n[arms]\nA = "A"\nB = "B"\n'
        '[moderator]\nlabel = "Alliance"\ncolumn = "alliance"\nrange = [-100, 200]\n'
        f'[outcomes.y]\nlabel = "Score"\nbaseline = "before"\nvisits = {{ {columns} }}\n'
        'range = [-200, 300]\nbetter = "higher"\n',
        encoding="utf-8",
    )


def measure(folder: Path, engine: Any, started: float) -> dict[str, Any]:
    """Seconds from the start of the process to the summary, in this process."""
    from alliance.data_prep.study.description import read_study
    from alliance.data_prep.trial.trial import load_trial
    from alliance.inference.runs.fitting import fit_trial
    from alliance.inference.sampling.profiles import find_profile

    trial = load_trial(read_study(folder / "study.toml"), folder / "trial.csv")
    loaded = time.time()
    fit = fit_trial(trial, find_profile("standard"), SEED, engine=engine, cores=cores())
    fitted = time.time()
    fit.summary()
    (spent,) = fit.manifest["seconds"].values()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "table": loaded - started,
        **{name: float(spent[name]) for name in ("compilation", "sampling", "therapist_effects")},
        "summary": time.time() - fitted,
        "total": time.time() - started,
        "processor": used.ru_utime + used.ru_stime,
        "load": load(),
    }


def timed(folder: Path, engine: str, caches: Path | None) -> dict[str, Any]:
    """`measure` in a fresh process, with caches of its own or the user's."""
    environment = dict(os.environ)
    if caches is not None:
        environment |= {
            "XDG_CACHE_HOME": str(caches / "xdg"),
            "NUMBA_CACHE_DIR": str(caches / "numba"),
            "PYTENSOR_FLAGS": f"base_compiledir={caches / 'pytensor'}",
        }
    arguments = [sys.executable, __file__, "--within", str(folder), engine, str(time.time())]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    """Measure every case, print the verdicts, and give the exit code."""
    command = parser(__doc__)
    command.add_argument("--case", type=int, action="append", help="only these, from 0")
    arguments = command.parse_args()
    chosen = [CASES[k] for k in arguments.case or range(len(CASES))]
    rows, targets, figures, out = [], [], [], console()
    for case in chosen:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_trial(case, folder)
            if not case.cold:
                timed(folder, case.engine, None)  # warms the caches
            caches = folder / "caches" if case.cold else None
            seconds = timed(folder, case.engine, caches)
        out.print(f"{case.name}: {seconds['total']:.1f} s")
        rows.append([case.name, *(f"{value:.1f}" for value in seconds.values())])
        targets.append(Target(case.name, seconds["total"], case.limit))
        figures.append(asdict(case) | seconds)
    names = [name for name in figures[0] if name not in Case.__dataclass_fields__]
    out.print(table("Outcomes over time, seconds", ["trial", *names], rows))
    packages = versions("pymc", "nutpie", "numba", "numpy")
    return finish(out, targets, {"cases": figures}, packages, arguments.out)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--within"]:
        print(json.dumps(measure(Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]))))
    else:
        raise SystemExit(main())
