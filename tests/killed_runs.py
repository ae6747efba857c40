"""A run of many tasks in a process of its own, killed at random moments and started again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FACTS = {"question": "killed"}
TASKS = {f"t{k}": (k,) for k in range(60)}
SECONDS = 0.02  # of a task; one at a time


def third(shared: float, number: int) -> dict[str, Any]:
    """A number that only survives as text if every digit does."""
    return {"value": shared * number / 3}


def third_slowly(shared: float, number: int) -> dict[str, Any]:
    time.sleep(SECONDS)
    return third(shared, number)


def run(store: Path) -> None:
    """Every task, on workers of this process; a line on standard output at each result."""
    from distributed import Client, LocalCluster

    from alliance.inference.many_fits.task_runner import open_store, run_tasks

    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        open_store(store, FACTS) as kept,
    ):
        run_tasks(
            client, kept, third_slowly, 0.1, TASKS, progress=lambda *_: print("one", flush=True)
        )


def killed_and_resumed(store: Path, kills: int, seed: int) -> int:
    """Kill a run so many times at random moments, and let it end; how often it was killed."""
    moments, killed = random.Random(seed), 0
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    while True:
        running = subprocess.Popen(
            [sys.executable, __file__, str(store)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert running.stdout is not None
        running.stdout.readline()  # the store is open
        if killed < kills:
            # On average a kill for each half of so many equal parts of the work
            time.sleep(moments.uniform(0, SECONDS * len(TASKS) / (kills + 1)))
            running.send_signal(signal.SIGKILL)
        running.communicate()
        killed += running.returncode == -signal.SIGKILL
        if running.returncode != -signal.SIGKILL:
            if running.returncode:
                raise RuntimeError(f"the run ended with code {running.returncode}")
            return killed


if __name__ == "__main__":
    run(Path(sys.argv[1]))
