"""Ctrl-C: exit code 130, a message, and the old run whole or no run at all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_line import alliance, contents

from alliance.inference.runs import run_folder as run_folder_module

pytestmark = pytest.mark.mcmc

# The command line with many draws, once for each --out, which says when the compiled model begins
# to draw them and how a command ended.
LONG_FITS = """
import dataclasses, sys
import nutpie
from alliance.cli.app import main
from alliance.inference.sampling.profiles import PROFILES

start = nutpie.sample

def sample(*arguments, **options):
    sampler = start(*arguments, **options)
    print("SAMPLING", file=sys.stderr, flush=True)
    return sampler

nutpie.sample = sample
PROFILES["publication"] = dataclasses.replace(PROFILES["publication"], draws=100_000)
*arguments, first, second = sys.argv[1:]
for out in (first, second):
    sys.argv = ["alliance", *arguments, "--out", out]
    try:
        main()
    except SystemExit as end:
        print("ENDED", end.code, file=sys.stderr, flush=True)
"""
INTERRUPTED = 130
HANGING = 300  # seconds after which the process is given up, compilation on a busy machine included
PATIENCE = 10  # seconds; all the draws would take longer


@pytest.fixture
def place(run_folder: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder with an older run in it, or with none."""
    folder = tmp_path / "place"
    folder.mkdir()
    if request.param == "older run":
        shutil.copytree(run_folder, folder / "run")
    return folder


either_way = pytest.mark.parametrize("place", ["no run", "older run"], indirect=True)


def fit(trial_files: Path, place: Path, profile: str) -> list[str]:
    study = trial_files.parent / "study.toml"
    options = ["--out", place / "run", "--overwrite", "--profile", profile, "--outcome", "gpe"]
    return list(map(str, ["fit", study, trial_files, *options]))


def unharmed(place: Path, before: dict[str, bytes | None]) -> bool:
    """Nothing was changed, nothing is left over, and an older run can still be read."""
    if contents(place) != before:
        return False
    return not before or alliance("summary", place / "run").code == 0


def test_ctrl_c_while_sampling(run_folder: Path, trial_files: Path, tmp_path: Path) -> None:
    old = shutil.copytree(run_folder, tmp_path / "old run")
    new = tmp_path / "new run"
    before = contents(tmp_path)
    study = trial_files.parent / "study.toml"
    options = ["--overwrite", "--profile", "publication", "--outcome", "gpe"]
    arguments = map(str, ["fit", study, trial_files, *options, old, new])
    command = [sys.executable, "-c", LONG_FITS, *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        watchdog = threading.Timer(HANGING, process.kill)
        watchdog.start()
        said, sent, ended = "", 0.0, []
        for line in process.stderr:
            said += line
            if line.startswith("SAMPLING"):
                time.sleep(0.3)  # into the sampling, which would take ten seconds and more
                sent = time.monotonic()
                process.send_signal(signal.SIGINT)
            elif line.startswith("ENDED"):
                ended.append((line.split()[1], time.monotonic() - sent < PATIENCE))
        watchdog.cancel()
        assert process.stdout.read() == ""
    assert ended == [(str(INTERRUPTED), True)] * 2, said
    assert said.count("Interrupted: no run was written.") == 2
    assert "Traceback" not in said
    assert contents(tmp_path) == before
    assert alliance("summary", old).code == 0


@pytest.mark.skipif(sys.platform == "win32", reason="groups of processes are those of Unix")
@pytest.mark.parametrize("moment", [0, 3], ids=["at the start", "at work"])
def test_ctrl_c_at_a_terminal_ends_the_workers_in_silence(moment: float, tmp_path: Path) -> None:
    """A terminal sends it to the whole group of processes."""
    store = tmp_path / "store.sqlite"
    arguments = ["ferreira2013", "--outcome", "pain", "--trials", "100000", "--workers", "2"]
    command = [sys.executable, "-c", "from alliance.cli.app import main; main()", "calibrate"]
    with subprocess.Popen(
        [*command, *arguments, "--store", store],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        watchdog = threading.Timer(HANGING, os.killpg, (process.pid, signal.SIGKILL))
        watchdog.start()
        own = psutil.Process(process.pid)
        while len(started := own.children(recursive=True)) < 3:  # two workers and their tracker
            time.sleep(0.02)
        time.sleep(moment)
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate()
        watchdog.cancel()
    assert process.returncode == INTERRUPTED, said
    assert "Traceback" not in said
    assert said.count(f"What is done is kept in {store}") == 1, said
    _, left = psutil.wait_procs(started, timeout=PATIENCE)
    assert all(child.status() == psutil.STATUS_ZOMBIE for child in left)  # nobody to bury them


@either_way
def test_ctrl_c_while_writing(
    place: Path, trial_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        hidden = [path.name for path in place.iterdir() if path.name.startswith(".run.partial")]
        assert len(hidden) == 1  # the draws are half written by now
        raise KeyboardInterrupt

    before = contents(place)
    monkeypatch.setattr(run_folder_module.os, "fsync", interrupt)
    answer = alliance(*fit(trial_files, place, "ci"))
    monkeypatch.undo()
    assert answer.code == INTERRUPTED, answer.stderr
    assert "Interrupted: no run was written." in answer.said
    assert answer.stdout == ""
    assert unharmed(place, before)


@pytest.mark.parametrize("place", ["older run"], indirect=True)
def test_ctrl_c_while_the_old_run_steps_aside(
    place: Path, trial_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def interrupted(path: Path, target: Any) -> Path:
        if path.name.startswith(".run.partial"):
            assert not (place / "run").exists()  # the old run stands aside at this moment
            raise KeyboardInterrupt
        return rename(path, target)

    before = contents(place)
    monkeypatch.setattr(Path, "rename", interrupted)
    answer = alliance(*fit(trial_files, place, "ci"))
    monkeypatch.undo()
    assert answer.code == INTERRUPTED, answer.stderr
    assert unharmed(place, before)
