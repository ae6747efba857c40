"""Commands killed at random moments: nothing is lost, and the next command leaves nothing over.

    uv run python tests/kills.py [--kills 100] [--seed 1]

SIGKILL, SIGTERM and SIGINT in turn, over a first fit, one that replaces a run, a report, a
calibration and a multiverse. Half of the moments lie in the last third of the command's time, when
files are written. After each kill the same command runs to its end.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
WAIT_SECONDS = 20.0  # in which workers notice that they are alone
QUICK = ("--engine", "instant", "--profile", "ci", "--outcome", "gpe")
SMALL = ("--outcome", "pain", "--patients", "60", "--therapists", "4", "--engine", "instant")
COMMANDS: dict[str, tuple[str, ...]] = {
    "fit": ("fit", "study.toml", "trial.csv", "--out", "new", *QUICK),
    "overwrite": ("fit", "study.toml", "trial.csv", "--out", "run", "--overwrite", *QUICK),
    "report": ("report", "run", "--out", "page.html", "--tables", "tables", "--overwrite"),
    "calibrate": ("calibrate", "ferreira2013", *SMALL, "--trials", "4", "--store", "cal.sqlite"),
    "multiverse": (
        *("multiverse", "study.toml", "trial.csv", "--outcome", "gpe", "--vary", "therapist"),
        *("--engine", "instant", "--store", "multi.sqlite"),
    ),
}
MADE = {
    "fit": "new",
    "report": "page.html",
    "calibrate": "cal.sqlite",
    "multiverse": "multi.sqlite",
}


def started(folder: Path, arguments: tuple[str, ...]) -> subprocess.Popen[str]:
    """A command in a session of its own, so that what it starts can be found."""
    return subprocess.Popen(
        [sys.executable, "-c", "from alliance.cli.app import main; main()", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ended(folder: Path, arguments: tuple[str, ...]) -> tuple[int, str, float]:
    """Exit code, what was printed, and seconds of a command that nobody disturbs."""
    begin = time.monotonic()
    running = started(folder, arguments)
    said, _ = running.communicate()
    return running.returncode, said, time.monotonic() - begin


def alive(session: int) -> list[int]:
    """Processes of a session that still run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(entry.name))
    return found


def problems(folder: Path, name: str, before: str) -> list[str]:
    """What is wrong after the next command has run."""
    found = []
    # What was whole before the kill came is not replaced: the same command refuses, and it is read
    whole = name == "fit" and (folder / MADE[name]).exists()
    if whole and ended(folder, ("summary", MADE[name], "--format", "csv"))[:2] != (0, before):
        found.append("the run that was written is not whole")
    code, said, _ = ended(folder, COMMANDS[name])
    if code not in ((2,) if whole else (0, 3)):
        found.append(f"the next command ended with {code}: {said[-500:]}")
    hidden = [path.name for path in folder.rglob(".*")]
    if hidden:
        found.append(f"left over: {hidden}")
    leftover = [path.name for path in folder.iterdir() if path.name.endswith(("-wal", "-shm"))]
    if leftover:
        found.append(f"left over: {leftover}")
    code, now, _ = ended(folder, ("summary", "run", "--format", "csv"))
    if code != 0 or now != before:
        found.append(f"the run is another one, or lost ({code})")
    if name in MADE and not (folder / MADE[name]).exists():
        found.append(f"{MADE[name]} is missing")
    return found


def kill_one(
    sound: Path, name: str, number: signal.Signals, moment: float, before: str
) -> tuple[bool, list[str]]:
    """Whether the command was still running, and what is wrong afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="alliance-kill-"))
    try:
        shutil.copytree(sound, folder / "place")
        place = folder / "place"
        running = started(place, COMMANDS[name])
        time.sleep(moment)
        killed = running.poll() is None
        if killed:
            running.send_signal(number)
        running.communicate()
        found = []
        # What was there is there at once, or comes back with the next command that reads it.
        code, now, _ = ended(place, ("summary", "run", "--format", "csv"))
        if code != 0 or before not in now:
            found.append(f"lost at once ({code}): {now[-300:]}")
        end = time.monotonic() + WAIT_SECONDS
        while alive(running.pid) and time.monotonic() < end:
            time.sleep(0.2)
        if left := alive(running.pid):
            found.append(f"processes left: {left}")
            os.killpg(running.pid, signal.SIGKILL)
        return killed, found + problems(place, name, before)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(arguments: Any = None) -> int:
    """Kill so many commands, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    chance, failed, killed = random.Random(given.seed), 0, 0
    with tempfile.TemporaryDirectory(prefix="alliance-kills-") as name:
        sound = Path(name) / "sound"
        sound.mkdir()
        for first in (("simulate", "trial.csv", "--patients", "80"), COMMANDS["overwrite"]):
            code, said, _ = ended(sound, first)
            if code not in (0, 3):
                raise RuntimeError(said)
        _, before, _ = ended(sound, ("summary", "run", "--format", "csv"))
        seconds = {}
        for command in COMMANDS:
            place = Path(name) / command
            shutil.copytree(sound, place)
            code, said, seconds[command] = ended(place, COMMANDS[command])
            if code not in (0, 3):
                raise RuntimeError(f"{command}: {said}")
        number = 0
        while killed < given.kills and number < 3 * given.kills:
            command = list(COMMANDS)[number % len(COMMANDS)]
            which = SIGNALS[number // len(COMMANDS) % len(SIGNALS)]
            start = 0.66 if chance.random() < 0.5 else 0.0
            moment = chance.uniform(start, 1.0) * seconds[command]
            number += 1
            hit, found = kill_one(sound, command, which, moment, before)
            killed += hit
            failed += bool(found)
            word = "; ".join(found) or ("well" if hit else "had ended")
            print(f"{killed:3d} {command} {which.name} after {moment:.1f} s: {word}", flush=True)
    print(f"{killed} kills, {failed} with problems", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
