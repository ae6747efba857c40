"""Damaged files, thousands of them: no traceback, no hang, no crash, and no silent change.

    uv run python tests/fuzz.py [data studies runs stores] [--inputs 2000] [--seed 1]

Each input is a sound file with random damage, read by the command that reads it in a process of its
own, with 2 GB of addresses and 20 s. Data files and studies may be read or refused (exit code 2); a
changed run or store must be refused, said to be changed, or give what it gave before.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from typing import Any

MOST_BYTES, MOST_SECONDS = 2 * 2**30, 20.0
KINDS = ("data", "studies", "runs", "stores")
FORMATS = (".csv", ".tsv", ".xlsx", ".parquet", ".dta", ".sav")
FINE, REFUSED, FAULT, CHANGED = 0, 2, 70, 71
HOSTILE = (
    *("\x00", "\x1b[2J", "\u202e", '"', "'", "\n", "\t", "=", "[", "]", "{", "#", "\\", "\ufeff"),
    *("\udcff", "1e999", "-1", "nan", "NA", "", "999999999999999999999", "true"),
)


def damaged(content: bytes, chance: random.Random, *, text: bool) -> bytes:
    """The content with one to three faults: bits, bytes, slices, or pieces of hostile text."""
    found = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 3))):
        place = chance.randrange(len(found) + 1)
        size = min(chance.choice((1, 2, 4, 8, 64, 1000)), max(len(found) - place, 0))
        kind = chance.choice(("bit", "bytes", "cut", "drop", "double", "fill", "text"))
        if kind == "text" or (text and chance.random() < 0.5):
            piece = chance.choice(HOSTILE).encode(errors="surrogateescape")
            found[place : place + chance.choice((0, size))] = piece
        elif kind == "bit" and place < len(found):
            found[place] ^= 1 << chance.randrange(8)
        elif kind == "bytes":
            found[place : place + size] = chance.randbytes(size)
        elif kind == "cut":
            del found[place:]
        elif kind == "drop":
            del found[place : place + size]
        elif kind == "double":
            found[place:place] = found[place : place + size]
        else:
            found[place : place + size] = bytes([chance.choice((0, 0x7F, 0xFF))]) * size
    return bytes(found)


def command(*arguments: object) -> tuple[int, str, str]:
    """Exit code and what was printed; an exception passes through."""
    from alliance.cli.app import app

    out, err = io.StringIO(), io.StringIO()
    code = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            app([str(each) for each in arguments], standalone_mode=True)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    return code, out.getvalue(), err.getvalue()


def bounded(read: Callable[[], int], most: int = MOST_BYTES) -> tuple[int, str]:
    """What became of a reading in a process of its own, and its traceback."""
    with tempfile.TemporaryFile() as told:
        number = os.fork()
        if number == 0:
            code = FAULT
            try:
                os.setsid()
                resource.setrlimit(resource.RLIMIT_AS, (most, most))
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                code = read()
            except BaseException:  # noqa: BLE001  # whatever it is, it is what is looked for
                told.write(traceback.format_exc().encode(errors="backslashreplace"))
                told.flush()
            finally:
                os._exit(code)
        end = time.monotonic() + MOST_SECONDS
        while time.monotonic() < end:
            done, status = os.waitpid(number, os.WNOHANG)
            if done:
                told.seek(0)
                return os.waitstatus_to_exitcode(status), told.read().decode()
            time.sleep(0.002)
        os.killpg(number, signal.SIGKILL)
        os.waitpid(number, 0)
        return -signal.SIGALRM, "no end within 20 s"


def sound_files(folder: Path) -> tuple[Path, dict[str, Path]]:
    """A simulated trial's study, and its table in every format."""
    import pyreadstat

    from alliance.data_prep.simulator.simulation import simulate_trial, write_simulated

    write_simulated(simulate_trial(seed=5, patients=40, therapists=4), folder / "trial.csv")
    import pandas as pd

    table = pd.read_csv(folder / "trial.csv")
    files = {ending: folder / f"sound{ending}" for ending in FORMATS}
    table.to_csv(files[".csv"], index=False)
    table.to_csv(files[".tsv"], index=False, sep="\t")
    table.to_excel(files[".xlsx"], index=False)
    table.to_parquet(files[".parquet"], index=False)
    table.to_stata(files[".dta"], write_index=False)
    pyreadstat.write_sav(table, str(files[".sav"]))
    return folder / "study.toml", files


def data(folder: Path, chance: random.Random) -> Iterator[tuple[str, Callable[[], int]]]:
    """Damaged tables."""
    study, files = sound_files(folder)
    for path in files.values():  # what is loaded here, no child loads
        if command("check", study, path)[0]:
            raise RuntimeError(f"the sound {path.name} is refused")
    while True:
        ending = chance.choice(FORMATS)
        path = folder / f"damaged{ending}"
        text = ending in (".csv", ".tsv")
        content = damaged(files[ending].read_bytes(), chance, text=text)

        def read(path: Path = path, content: bytes = content) -> int:
            path.write_bytes(content)
            return command("check", study, path)[0]

        yield ending, read


def studies(folder: Path, chance: random.Random) -> Iterator[tuple[str, Callable[[], int]]]:
    """Damaged study files and published findings."""
    study, files = sound_files(folder)
    content = study.read_bytes()
    command("check", study, files[".csv"])  # what is loaded here, no child loads
    while True:
        spoiled = damaged(content, chance, text=True)

        def read(spoiled: bytes = spoiled) -> int:
            path = folder / "damaged.toml"
            path.write_bytes(spoiled)
            return command("check", path, files[".csv"])[0]

        yield "study.toml", read


def runs(folder: Path, chance: random.Random) -> Iterator[tuple[str, Callable[[], int]]]:
    """Runs with one damaged file."""
    study, files = sound_files(folder)
    run = folder / "run"
    options = ("--engine", "instant", "--profile", "ci", "--outcome", "gpe")
    code, _, told = command("fit", study, files[".csv"], "--out", run, *options)
    if code not in (0, 3):
        raise RuntimeError(told)
    _, before, _ = command("summary", run, "--format", "csv")
    contents = {entry.name: entry.read_bytes() for entry in sorted(run.iterdir())}
    while True:
        name = chance.choice(list(contents))
        spoiled = damaged(contents[name], chance, text=not name.endswith(".nc"))

        def read(name: str = name, spoiled: bytes = spoiled) -> int:
            copy = folder / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(run, copy)
            (copy / name).write_bytes(spoiled)
            code, after, told = command("summary", copy, "--format", "csv")
            said = "no longer" in told or "without hashes" in told
            return CHANGED if code == 0 and after != before and not said else code

        yield name, read


def stores(folder: Path, chance: random.Random) -> Iterator[tuple[str, Callable[[], int]]]:
    """Damaged stores of results."""
    from alliance.data_prep.errors import InputError
    from alliance.inference.many_fits.task_runner import TaskOutcome, open_store

    facts, path = {"question": "fuzz"}, folder / "sound.sqlite"
    results = {f"task {k}": TaskOutcome({"value": k / 3}) for k in range(200)}
    with open_store(path, facts) as store:
        for task, outcome in results.items():
            store.put(task, outcome)
    content = path.read_bytes()
    while True:
        spoiled = damaged(content, chance, text=False)

        def read(spoiled: bytes = spoiled) -> int:
            copy = folder / "copy.sqlite"
            for left in folder.glob("copy.sqlite*"):
                left.unlink()
            copy.write_bytes(spoiled)
            try:
                with open_store(copy, facts) as store:
                    found = store.outcomes()
            except InputError:
                return REFUSED
            # What is lost is fitted again; what is there is what was put there.
            same = all(results.get(task) == outcome for task, outcome in found.items())
            return FINE if same else CHANGED

        yield "store", read


def fuzz(
    kind: str, inputs: int, seed: int, tell: Callable[[str], None] = lambda _: None
) -> tuple[Counter[str], list[str]]:
    """Read so many damaged files of a kind.

    Parameters
    ----------
    kind : {"data", "studies", "runs", "stores"}
    inputs, seed : int
    tell : callable
        Is told each failure when it is found, and every hundred inputs what came of them so far.

    Returns
    -------
    Counter of str
        How many were read, were refused, or how they failed.
    list of str
        The first failure of each kind, with its traceback.
    """
    made = {"data": data, "studies": studies, "runs": runs, "stores": stores}[kind]
    counts, failures = Counter[str](), dict[str, str]()
    folder = Path(tempfile.mkdtemp(prefix="alliance-fuzz-"))
    try:
        for number, (name, read) in zip(
            range(inputs), made(folder, random.Random(seed)), strict=False
        ):
            # SPSS files are read in a process that bounds itself, and takes its start from this one
            code, told = bounded(read, MOST_BYTES * (4 if name == ".sav" else 1))
            if code in (0, 3):
                counts["read"] += 1
            elif code == REFUSED:
                counts["refused"] += 1
            else:
                last = told.strip().splitlines()[-1][:100] if told.strip() else ""
                words = {CHANGED: "silent change", -signal.SIGALRM: "hang"}.get(code, f"{code}")
                what = f"{words} {name} {last}"
                counts[what] += 1
                if what not in failures:
                    failures[what] = f"input {number}: {what}\n{told}"
                    tell(failures[what])
            if (number + 1) % 100 == 0:
                tell(f"{kind} after {number + 1} inputs: {dict(counts.most_common())}")
    finally:
        with suppress(OSError):
            shutil.rmtree(folder)
    return counts, list(failures.values())


def main(arguments: Any = None) -> int:
    """Fuzz the kinds that are named, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=KINDS, metavar="KIND")
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    failed = 0
    for kind in given.kinds:
        counts, failures = fuzz(kind, given.inputs, given.seed, partial(print, flush=True))
        print(f"{kind}: {dict(counts.most_common())}", flush=True)
        failed += len(failures)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
