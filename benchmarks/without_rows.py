"""Shares fitted, and printed numbers answered: seconds of whole commands.

50 shares of 20,000 made-up patients each, with 20 therapists in three arms, are made once; then
`alliance fit` by the instant engine takes all of them, and `alliance paper` answers the bundled
study. Both as processes; CPU seconds stand beside those on the clock, which other work moves.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from registry import STUDY
from reporting import Target, console, finish, parser, spread, table

SHARES, PATIENTS, THERAPISTS = 50, 20_000, 20
FIT_SECONDS, PAPER_SECONDS = 5.0, 1.5  # promised
PROGRAM = Path(sys.executable).parent / "alliance"


def write_shares(folder: Path, shares: int, patients: int) -> list[Path]:
    """Shares of made-up patients."""
    import pandas as pd

    from alliance.data_prep.shares.share_files import make_share, write_share
    from alliance.data_prep.study.description import read_study

    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    study, found = read_study(folder / "study.toml"), []
    for k in range(shares):
        random = np.random.default_rng([2, k])
        therapist, arm = (
            random.integers(THERAPISTS, size=patients),
            random.integers(3, size=patients),
        )
        alliance = np.clip(random.normal(70, 12, patients), 0, 100)
        before = np.clip(random.normal(6, 1, patients), 0, 10)
        own = random.normal(0, 0.4, THERAPISTS)[therapist]
        after = 4 - 0.3 * arm + 0.4 * (before - 6) - 0.02 * (alliance - 70) + own
        frame = pd.DataFrame(
            {
                "patient": np.arange(k * patients, (k + 1) * patients),
                "therapist": [f"T{j}" for j in therapist],
                "arm": np.array(["A", "B", "C"])[arm],
                "alliance": alliance,
                "pain_0": before,
                "pain_1": np.clip(after + random.normal(0, 1, patients), 0, 10),
            }
        )
        rows, share = folder / f"site{k:02}.parquet", folder / f"site{k:02}.share"
        frame.to_parquet(rows, index=False)
        write_share(make_share(study, rows), share)
        rows.unlink()
        found.append(share)
    return found


def timed(*words: object) -> tuple[float, float]:
    """Seconds on the clock and of the processor that a command takes."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [str(PROGRAM), *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "100"},
    )
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(done.stderr)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu


def main() -> int:
    """Make the shares, time the commands, and hold them to what is promised."""
    command = parser(__doc__)
    command.add_argument("--repeats", type=int, default=3, help="processes of each kind (3)")
    command.add_argument("--shares", type=int, default=SHARES)
    command.add_argument("--patients", type=int, default=PATIENTS, help="of each share")
    asked = command.parse_args()
    out, found = console(), {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shares = write_shares(folder, asked.shares, asked.patients)
        out.print(f"{len(shares)} shares of {asked.patients:,} patients: made", style="dim")
        fit = ("fit", folder / "study.toml", *shares, "--engine", "instant", "--overwrite")
        commands = {
            "fit of the shares": (*fit, "--out", folder / "run"),
            "paper": ("paper", "ferreira2013"),
        }
        for name, words in commands.items():
            timed(*words)  # fills the caches of byte code, and is not counted
            found[name] = [timed(*words) for _ in range(asked.repeats)]
    rows = [
        (name, spread([one[0] for one in own]), spread([one[1] for one in own]))
        for name, own in found.items()
    ]
    out.print(table("Median (range) of processes", ["", "seconds", "CPU seconds"], rows))
    limits = {"fit of the shares": FIT_SECONDS, "paper": PAPER_SECONDS}
    targets = [
        Target(name, statistics.median(one[0] for one in found[name]), limit)
        for name, limit in limits.items()
    ]
    from alliance.inference.runs.fit import installed_versions

    return finish(out, targets, {"seconds": found}, installed_versions(), asked.out)


if __name__ == "__main__":
    raise SystemExit(main())
