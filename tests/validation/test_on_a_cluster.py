"""A scheduler and two workers on loopback: the same results, with one worker killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from distributed import Client

from alliance.data_prep.simulator.simulation import simulate_trial, write_simulated

pytestmark = pytest.mark.validation

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
ALLIANCE = [sys.executable, "-c", "from alliance.cli.app import main; main()"]
CALIBRATE = ["calibrate", "ferreira2013", "--outcome", "pain", "--trials", "120"]


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Address of a scheduler, and its two workers."""
    place = folder / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": ENVIRONMENT}
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
         "--scheduler-file", str(place)],
        **quiet,
    )  # fmt: skip
    workers: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(2):
            command = [*dask, "worker", "--scheduler-file", str(place), "--nthreads", "1"]
            workers.append(subprocess.Popen([*command, "--no-nanny", "--no-dashboard"], **quiet))
        with Client(scheduler_file=str(place), timeout="30s") as client:
            client.wait_for_workers(2, timeout=60)
            address = client.scheduler.address
        yield address, workers
    finally:
        for process in [*workers, scheduler]:
            process.kill()
            process.wait()


def told(folder: Path, *arguments: str, kill: subprocess.Popen[bytes] | None = None) -> str:
    """What a command prints; a worker is killed once it is some way on."""
    if kill is not None:
        timer = threading.Timer(8.0, kill.kill)  # half of a run that takes 15 seconds or more
        timer.start()
    finished = subprocess.run(
        [*ALLIANCE, *arguments], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    if kill is not None:
        timer.join()
        assert kill.wait(timeout=10) != 0
    return finished.stdout


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster")
    made = simulate_trial(seed=3, patients=300, therapists=12)
    write_simulated(made, folder / "trial.csv")
    (folder / "parts").mkdir()
    for k, rows in enumerate(np.array_split(np.arange(300), 7)):
        made.frame.iloc[rows].to_parquet(folder / "parts" / f"{k}.parquet", index=False)
    return folder


def test_calibration_is_the_same_with_one_worker_killed(tmp_path: Path) -> None:
    as_csv = ["--format", "csv"]
    here = told(tmp_path, *CALIBRATE, *as_csv, "--store", "here")
    with cluster(tmp_path) as (address, workers):
        there = told(tmp_path, *CALIBRATE, *as_csv, "--store", "there", "--dask", address)
        killed = told(
            tmp_path, *CALIBRATE, *as_csv, "--store", "killed", "--dask", address, kill=workers[0]
        )
    assert here == there == killed


def test_a_multiverse_is_the_same_with_one_worker_killed(trial: Path, tmp_path: Path) -> None:
    asked = ["multiverse", str(trial / "study.toml"), str(trial / "trial.csv"), "--format", "csv",
             "--outcome", "pain"]  # fmt: skip
    here = told(tmp_path, *asked, "--vary", "therapist", "--vary", "prior_scale", "--store", "h")
    with cluster(tmp_path) as (address, workers):
        there = told(
            tmp_path, *asked, "--vary", "therapist", "--vary", "prior_scale", "--store", "t",
            "--dask", address,
        )  # fmt: skip
        killed = told(
            tmp_path, *asked, "--vary", "therapist", "--vary", "prior_scale", "--vary",
            "covariates", "--vary", "patients", "--store", "k", "--dask", address, kill=workers[1],
        )  # fmt: skip
        assert here == there
        whole = ["--vary", "therapist", "--vary", "prior_scale", "--vary", "covariates", "--vary",
                 "patients", "--store", "w"]  # fmt: skip
        assert killed == told(tmp_path, *asked, *whole)


def test_a_registry_is_the_same_on_a_cluster(trial: Path, tmp_path: Path) -> None:
    study = str(trial / "study.toml")
    asked = ["fit", study, str(trial / "parts"), "--profile", "ci", "--outcome", "pain"]
    told(tmp_path, *asked, "--out", "here")
    with cluster(tmp_path) as (address, workers):
        told(tmp_path, *asked, "--out", "there", "--dask", address)
        workers[0].kill()
        time.sleep(1)
        told(tmp_path, *asked, "--out", "killed", "--dask", address)
    runs = [(tmp_path / name / "summary.csv").read_text() for name in ("here", "there", "killed")]
    assert runs[0] == runs[1] == runs[2]
