"""A registry of 20,000,000 rows in 50 Parquet files: one pass, beside Dask's own sums.

Made-up patients of 10,000 therapists in three arms. Two processes, one after the other and several
times: ours reads and checks every file and keeps cross-products by therapist and arm; Dask's reads
the same columns and sums them by therapist. Each tells its seconds, imports not counted, and its
peak memory.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from reporting import Target, console, finish, load, parser, spread, table

ROWS, FILES, THERAPISTS = 20_000_000, 50, 10_000
MOST_TIMES, MOST_GIB = 3.0, 3.0  # promised
STUDY = """
title = "A registry"
[columns]
patient = "patient"
therapist = "therapist"
arm = "arm"
[arms]
A = "Arm A"
B = "Arm B"
C = "Arm C"
[moderator]
label = "Working alliance"
column = "alliance"
range = [0, 100]
[outcomes.pain]
label = "Pain"
baseline = "pain_0"
followup = "pain_1"
range = [0, 10]
better = "lower"
"""
COLUMNS = ["patient", "therapist", "arm", "alliance", "pain_0", "pain_1"]


def write_files(folder: Path, rows: int, files: int) -> None:
    """Made-up patients; therapists spread over all files."""
    import pandas as pd

    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    (folder / "parts").mkdir()
    each = rows // files
    effects = np.random.default_rng(0).normal(0, 0.4, (2, THERAPISTS))
    names = np.array([f"T{j}" for j in range(THERAPISTS)])
    for k in range(files):
        random = np.random.default_rng([1, k])
        therapist, arm = random.integers(THERAPISTS, size=each), random.integers(3, size=each)
        alliance = np.clip(random.normal(70, 12, each), 0, 100)
        before = np.clip(random.normal(6, 1, each), 0, 10)
        slope = -0.03 + 0.01 * arm + 0.02 * effects[1, therapist]
        after = 4 - 0.3 * arm + 0.4 * (before - 6) + slope * (alliance - 70)
        after = np.clip(after + effects[0, therapist] + random.normal(0, 1, each), 0, 10)
        pd.DataFrame(
            {
                "patient": np.arange(k * each, (k + 1) * each),
                "therapist": pd.Categorical.from_codes(therapist, names).astype(str),
                "arm": np.array(["A", "B", "C"])[arm],
                "alliance": np.where(random.random(each) < 0.1, np.nan, alliance),
                "pain_0": before,
                "pain_1": after,
            }
        ).to_parquet(folder / "parts" / f"{k:03}.parquet", index=False)


def cpu_seconds() -> float:
    """Of the processor, by this process with its threads and by those that it started."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def measure(kind: str, folder: Path) -> dict[str, Any]:
    """One pass, in this process."""
    if kind == "ours":
        import dask.array  # noqa: F401  # loaded on the way, and below before the clock starts

        from alliance.data_prep.registry.registry import load_registry
        from alliance.data_prep.study.description import read_study

        study = read_study(folder / "study.toml")
        started, worked = time.perf_counter(), cpu_seconds()
        found = load_registry(study, folder / "parts")
        told = int(found.flow["analysed"].iloc[0])
    else:
        import dask.dataframe as dd

        started, worked = time.perf_counter(), cpu_seconds()
        frame = dd.read_parquet(folder / "parts" / "*.parquet", columns=COLUMNS)
        sums = frame.groupby("therapist")[["patient", "alliance", "pain_0", "pain_1"]].sum()
        told = len(sums.compute(scheduler="threads"))
    seconds, cpu = time.perf_counter() - started, cpu_seconds() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": seconds, "cpu": cpu, "gib": peak, "told": told}


def ratio_of(measured: dict[str, list[float]]) -> list[float]:
    """Ours to Dask's, process by process."""
    return [a / b for a, b in zip(measured["ours"], measured["dask"], strict=True)]


def in_fresh_process(kind: str, folder: Path) -> dict[str, Any]:
    finished = subprocess.run(
        [sys.executable, __file__, "--measure", kind, str(folder)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(finished.stdout)


def main() -> int:
    command = parser(__doc__)
    command.add_argument("--repeats", type=int, default=3, help="processes of each kind (3)")
    command.add_argument("--rows", type=int, default=ROWS)
    command.add_argument("--files", type=int, default=FILES)
    command.add_argument("--measure", nargs=2, help="used by the script itself")
    arguments = command.parse_args()
    if arguments.measure:
        kind, place = arguments.measure
        print(json.dumps(measure(kind, Path(place))))
        return 0
    out = console()
    found: dict[str, list[dict[str, Any]]] = {"ours": [], "dask": []}
    loads = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_files(folder, arguments.rows, arguments.files)
        out.print(f"{arguments.rows:,} rows in {arguments.files} files: written", style="dim")
        for repeat in range(arguments.repeats):
            loads.append(load())
            for kind, measured in found.items():
                measured.append(in_fresh_process(kind, folder))
                out.print(f"{kind}, process {repeat + 1}: done", style="dim")
    seconds = {kind: [one["seconds"] for one in some] for kind, some in found.items()}
    worked = {kind: [one["cpu"] for one in some] for kind, some in found.items()}
    peaks = {kind: max(one["gib"] for one in some) for kind, some in found.items()}
    ratios = ratio_of(seconds)
    rows = [
        ("seconds", *(spread(own, 1) for own in seconds.values())),
        ("CPU seconds", *(spread(own, 1) for own in worked.values())),
        ("peak memory, GiB", *(f"{own:.2f}" for own in peaks.values())),
        ("ratio of seconds", spread(ratios, 2), "1"),
        ("ratio of CPU seconds", spread(ratio_of(worked), 2), "1"),
    ]
    title = f"{arguments.rows:,} rows, {arguments.files} files: median (range) of processes"
    out.print(table(title, ["", "checked, cross-products", "Dask: sums"], rows))
    targets = [
        Target("times Dask's own sums", statistics.median(ratios), MOST_TIMES, "times"),
        Target("peak memory", peaks["ours"], MOST_GIB, "GiB"),
    ]
    from alliance.inference.runs.fit import installed_versions

    return finish(
        out, targets, {"registry": found, "load": loads}, installed_versions(), arguments.out
    )


if __name__ == "__main__":
    raise SystemExit(main())
