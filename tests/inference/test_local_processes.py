"""Processes of this machine: what dies is done again, nobody can reach them, none is left over."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from worker_tasks import dies_at_five, dies_once, environment, unpicklable

from alliance.inference.many_fits.task_runner import (
    MOST_DEATHS,
    LocalProcesses,
    TaskOutcome,
    open_store,
    run_tasks,
)

TASKS = {f"t{k}": (k,) for k in range(12)}
HANGING = 120  # seconds after which a process is given up, on a busy machine
PATIENCE = 60  # seconds to end; a worker that still loads its libraries listens afterwards

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are those of Unix")


def test_what_dies_is_done_again_by_another(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    with open_store(tmp_path / "s", {}) as store, LocalProcesses(2) as workers:
        found = run_tasks(workers, store, dies_once, str(marks), TASKS)
        assert store.outcomes() == found
    assert found == {name: TaskOutcome({"value": k / 3}) for name, (k,) in TASKS.items()}
    assert len(list(marks.iterdir())) == 4  # of 0, 3, 6 and 9


def test_a_task_that_takes_its_processes_with_it_has_failed(tmp_path: Path) -> None:
    with open_store(tmp_path / "s", {}) as store, LocalProcesses(2) as workers:
        found = run_tasks(workers, store, dies_at_five, None, TASKS)
    assert found["t5"].result is None
    assert found["t5"].failure is not None
    assert f"{MOST_DEATHS + 1} processes" in found["t5"].failure
    assert "exit code 7" in found["t5"].failure
    rest = {name: outcome.result for name, outcome in found.items() if name != "t5"}
    assert rest == {name: {"value": k} for name, (k,) in TASKS.items() if k != 5}


def test_a_script_needs_no_guard(tmp_path: Path) -> None:
    """`multiprocessing` has workers read the main script: a plain one would start for ever."""
    script = tmp_path / "script.py"
    script.write_text(
        "import operator, pickle\n"
        "from alliance.inference.many_fits.task_runner import LocalProcesses\n"
        "with LocalProcesses(1) as workers:\n"
        "    found = workers.outcomes(operator.add, pickle.dumps(1), {'a': (2,)})\n"
        "    print([(name, each.result) for name, each in found])\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=HANGING)
    assert done.stdout == "[('a', 3)]\n", done.stderr


def test_a_result_that_cannot_be_sent_is_a_failure_and_not_a_wait(tmp_path: Path) -> None:
    with open_store(tmp_path / "s", {}) as store, LocalProcesses(1) as workers:
        found = run_tasks(workers, store, unpicklable, None, {"a": (0,), "b": (1,)})
    assert found["a"] == TaskOutcome({"value": 0})
    assert found["b"].failure is not None
    assert "pickle" in found["b"].failure


def test_workers_compute_on_one_thread_unless_the_environment_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"]
    with open_store(tmp_path / "s", {}) as store, LocalProcesses(1) as workers:
        found = run_tasks(workers, store, environment, None, {name: (name,) for name in names})
    assert [found[name].result for name in names] == [{"value": "3"}, {"value": "1"}]
    assert "OPENBLAS_NUM_THREADS" not in os.environ


CALIBRATE = "from alliance.cli.app import main; main()"


@contextmanager
def started(store: Path) -> Iterator[subprocess.Popen[str]]:
    arguments = ["calibrate", "ferreira2013", "--outcome", "pain", "--trials", "100000"]
    with subprocess.Popen(
        [sys.executable, "-c", CALIBRATE, *arguments, "--workers", "2", "--store", str(store)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def at_work(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Its processes, once there are two workers and multiprocessing's tracker."""
    own, end = psutil.Process(process.pid), time.monotonic() + HANGING
    while len(found := own.children(recursive=True)) < 3:
        assert time.monotonic() < end, "no workers"
        assert process.poll() is None
        time.sleep(0.02)
    return found


def test_no_process_of_a_run_can_be_connected_to(tmp_path: Path) -> None:
    """Not one socket, of any kind: there is nothing that another process could send code to."""
    with started(tmp_path / "s") as process:
        for _ in range(20):  # from the start into the work
            family = [psutil.Process(process.pid), *at_work(process)]
            sockets = {one.pid: one.net_connections(kind="all") for one in family}
            assert sockets == {one.pid: [] for one in family}
            time.sleep(0.15)


def test_workers_end_with_a_run_that_is_killed(tmp_path: Path) -> None:
    with started(tmp_path / "s") as process:
        workers = at_work(process)
        time.sleep(1)
        process.kill()
        process.wait(timeout=HANGING)
        _, left = psutil.wait_procs(workers, timeout=PATIENCE)
    assert [one for one in left if one.status() != psutil.STATUS_ZOMBIE] == []
