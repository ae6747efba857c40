"""Every output of the command line, written to a folder; and two such folders held together.

A change that should change nothing shows that it did not:

    git worktree add ../before HEAD~1
    (cd ../before && uv run python "$OLDPWD/tests/golden_outputs.py" write /tmp/before)
    uv run python tests/golden_outputs.py write /tmp/after
    uv run python tests/golden_outputs.py compare /tmp/before /tmp/after

`write` simulates a trial, and takes the headache trial where ../shared/data has it; fits them under
every engine, family and option; and keeps what each command prints, as table, CSV and JSON, with
its exit code and its notes, and the report's tables. Draws are the same on one machine only
(decision 0005), so both folders are written on the same one. What stands there already is kept: a
run that was stopped goes on. All of it takes about 40 minutes; names of runs behind the folder
(`write FOLDER nuts joint`) write those alone.

`compare` names the outputs that differ, with the largest difference of their numbers relative to
the larger one, and those that only one folder has. Exit code 1 if there is any.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HEADACHE = "acupuncture_vickers2004.csv"
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
# What may differ between two runs of the same code: the time, how long it took, where it was.
PASSING = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(\+00:00|Z)?|\d+(\.\d+)? s\b|\d+ MiB"
)


class Run(NamedTuple):
    """One fit: its name, the study and data file, the options of `fit`, and what is asked of it."""

    name: str
    study: str
    data: str
    options: tuple[str, ...]
    outcome: str
    alliance: str
    threshold: str
    reach: str


def simulated(name: str, *options: str, study: str = "study.toml", data: str = "trial.csv") -> Run:
    """A fit of two outcomes of the simulated trial."""
    return Run(
        name,
        study,
        data,
        ("--profile", "ci", "--outcome", "function", "--outcome", "gpe", *options),
        outcome="function",
        alliance="70,90",
        threshold="1",
        reach="20",
    )


def headache(name: str, *options: str) -> Run:
    """A fit of the headache trial, which has covariates."""
    return Run(
        name,
        "headache",
        HEADACHE,
        ("--profile", "ci", *options),
        outcome="headache_12m",
        alliance="30,40",
        threshold="5",
        reach="25",
    )


RUNS = (
    simulated("nuts"),
    simulated("instant", "--engine", "instant"),
    simulated("native", "--likelihood", "native"),
    simulated("student_t", "--likelihood", "native", study="student_t.toml"),
    simulated("intercept", "--therapist", "intercept"),
    simulated("no_therapist", "--therapist", "none", "--engine", "instant"),
    simulated("by_arm", "--therapist-by-arm"),
    simulated("one_slope", "--no-interaction", "--engine", "instant"),
    simulated("within_between", "--alliance", "within_between"),
    simulated("within_between_native", "--alliance", "within_between", "--likelihood", "native"),
    simulated("impute", "--missing-alliance", "impute", data="gaps.csv"),
    simulated("complete_cases", "--engine", "instant", data="gaps.csv"),
    simulated("reliability", "--reliability"),
    simulated("ceiling", "--ceiling"),
    simulated("delta", "--engine", "instant", "--delta", "function:GE=-2", data="gaps.csv"),
    simulated("joint", "--joint"),
    simulated("joint_native", "--joint", "--likelihood", "native", study="ordinal.toml"),
    simulated("registry", "--engine", "instant", data="parts/*.csv"),
    headache("headache"),
    headache("headache_instant", "--engine", "instant"),
)


def questions(run: Run) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What is asked of a run: a name and a command for each question."""
    folder, outcome = run.name, ("--outcome", run.outcome)
    yield "diagnose", ("diagnose", folder)
    yield "summary", ("summary", folder)
    yield "summary_per_sd", ("summary", folder, "--per-sd", "--interval", "0.8")
    yield "summary_priors", ("summary", folder, "--priors")
    yield "compare", ("compare", folder)
    asked = ("--alliance", run.alliance)
    yield "predict", ("predict", folder, *outcome, *asked, "--at-least", run.reach)
    yield (
        "predict_average",
        ("predict", folder, *outcome, *asked, "--therapist", "average", "--contrasts"),
    )
    yield "predict_over_trial", ("predict", folder, *outcome, "--average-over", "trial")
    yield "predict_change", ("predict", folder, *outcome, *asked, "--change", run.threshold)
    yield "effects", ("effects", folder, *outcome, *asked, "--threshold", run.threshold)
    yield "effects_grid", ("effects", folder, *outcome, "--grid", "5")
    yield (
        "decide",
        ("decide", folder, *outcome, "--threshold", run.threshold, "--reach", run.reach),
    )
    yield (
        "decide_lift",
        ("decide", folder, *outcome, "--lift", "5", f"--rope=-{run.threshold}:{run.threshold}"),
    )
    yield "therapists", ("therapists", folder)
    yield "ppc", ("ppc", folder)
    yield "loo", ("loo", folder)
    yield "loo_therapist", ("loo", folder, "--by", "therapist", "--refits", "none")
    for kind in ("priors", "influence", "unseen"):
        yield f"sensitivity_{kind}", ("sensitivity", folder, "--kind", kind)


def trials(folder: Path) -> None:
    """Write the trials and their study files."""
    if (folder / "parts").exists():
        return
    code, _, said = ask("simulate", str(folder / "trial.csv"), "--patients", "90", "--seed", "3")
    if code:
        raise SystemExit(said)
    study = (folder / "study.toml").read_text(encoding="utf-8")
    families = re.compile(r'family = "\w+"')
    for family in ("student_t", "ordinal"):
        own = families.sub(f'family = "{family}"', study)
        if family == "ordinal":  # of the two outcomes, the rating alone
            head, tail = own.split("[outcomes.gpe]")
            own = f"{families.sub('family = "gaussian"', head)}[outcomes.gpe]{tail}"
        (folder / f"{family}.toml").write_text(own, encoding="utf-8")
    with (folder / "trial.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    gaps = [list(row) for row in rows]
    for row in gaps[::9]:
        row[header.index("wai_total")] = ""
    for row in gaps[4::11]:
        row[header.index("psfs_8w")] = ""
    _write_csv(folder / "gaps.csv", [header, *gaps])
    (folder / "parts").mkdir()
    for part in range(3):
        _write_csv(folder / "parts" / f"{part}.csv", [header, *rows[part::3]])
    data = Path(__file__).resolve().parents[2] / "shared" / "data" / HEADACHE
    if data.exists():
        shutil.copy(data, folder / HEADACHE)


def _write_csv(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def ask(*arguments: str) -> tuple[int, str, str]:
    """Run a command in this process: exit code, standard output, standard error."""
    from typer.testing import CliRunner

    from alliance.cli.app import app

    result = CliRunner(env={"COLUMNS": "100"}).invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return 1, result.stdout, f"{type(result.exception).__name__}: {result.exception}"
    return result.exit_code, result.stdout, result.stderr


def keep(path: Path, arguments: tuple[str, ...], formats: tuple[str, ...]) -> None:
    """Write what a command prints in each format, unless it is there already."""
    for form in formats:
        target = path.with_name(f"{path.name}.{form}")
        if target.exists():
            continue
        asked = arguments if form == "text" else (*arguments, "--format", form)
        code, printed, said = ask(*asked)
        text = f"{printed}\n-- exit code {code}\n{said}"
        target.write_text(text, encoding="utf-8")
        print(target.relative_to(target.parents[1]), code, flush=True)


def write(folder: Path, names: list[str]) -> None:
    """Write every output of the named runs, or of all; the folder becomes the working one."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    trials(Path())
    outputs = Path("outputs")
    unknown = set(names) - {run.name for run in RUNS}
    if unknown:
        raise SystemExit(f"No such run: {', '.join(sorted(unknown))}.")
    for run in RUNS:
        if names and run.name not in names:
            continue
        if run.data == HEADACHE and not Path(HEADACHE).exists():
            print(f"{run.name}: left out, {HEADACHE} is not there", flush=True)
            continue
        place = outputs / run.name
        place.mkdir(parents=True, exist_ok=True)
        keep(place / "check", ("check", run.study, run.data), ("text", "json"))
        keep(
            place / "fit", ("fit", run.study, run.data, "--out", run.name, *run.options), ("text",)
        )
        for name, arguments in questions(run):
            keep(place / name, arguments, ("table", "csv", "json"))
        if not (place / "tables").exists():
            report = ("report", run.name, "--out", f"{run.name}.html", "--overwrite")
            keep(place / "report", (*report, "--tables", str(place / "tables")), ("text",))


def numbers(text: str) -> list[float]:
    """The numbers of a text."""
    return [float(number) for number in NUMBER.findall(text)]


def difference(before: str, after: str) -> str | None:
    """How two outputs differ: None, the largest relative difference of numbers, or in words."""
    before, after = (PASSING.sub("", text) for text in (before, after))
    if before == after:
        return None
    if NUMBER.sub("#", before) != NUMBER.sub("#", after):
        return "words"
    pairs = zip(numbers(before), numbers(after), strict=True)
    return f"numbers, {max(abs(a - b) / max(abs(a), abs(b), 1e-300) for a, b in pairs):.1e}"


def compare(before: Path, after: Path) -> int:
    """Print what differs; the exit code."""
    found = {
        folder: {
            str(path.relative_to(folder / "outputs")): path
            for path in sorted((folder / "outputs").rglob("*"))
            if path.is_file()
        }
        for folder in (before, after)
    }
    different = 0
    for name in sorted(found[before].keys() | found[after].keys()):
        sides = [found[folder].get(name) for folder in (before, after)]
        if None in sides:
            how: str | None = f"only in {after if sides[0] is None else before}"
        else:
            how = difference(*(side.read_text(encoding="utf-8") for side in sides if side))
        if how is not None:
            different += 1
            print(f"{name}: {how}")
    same = len(found[before].keys() & found[after].keys()) - different
    print(f"{max(same, 0)} outputs are the same, {different} differ")
    return int(different > 0)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", folder, *names]:
            write(Path(folder), names)
        case ["compare", before, after]:
            sys.exit(compare(Path(before), Path(after)))
        case _:
            sys.exit(__doc__)
