"""Every code block of the README and of the documents runs as it is printed.

Shell blocks run in one folder with the files that they speak of: a simulated trial with its study,
a folder of many files, a table like that of the headache trial, a first study file of it, and runs
that the instant engine makes in a second. A block that makes one of them runs in a copy of the
folder without it, so that each stands by itself. A TOML block whose first line is a comment with a
file's name is that file. What would take minutes is reduced here, in the open, and nowhere else.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import yaml
from command_line import alliance

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = "docs/tutorials/first_questions.md"
COMING_FROM = "docs/coming-from/"
OTHERS = ("r", "sas")  # and text, where no highlighter knows a program's language
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
# What installs, clones, tests or measures, and what needs other machines.
EXEMPT = {
    "pip install uv",
    "git clone ...",
    "cd alliance",
    "uv run pytest",
    "uv run pre-commit install",
    "bash .ci/lowest",
    "bash .ci/run",
    "bash .ci/site",
    "uv run python benchmarks/against_bambi.py --out benchmarks/results/against_bambi.json",
    "uv run python benchmarks/scale.py --out benchmarks/results/scale.json",
    "uv run python benchmarks/cold_and_warm.py --out benchmarks/results/cold_and_warm.json",
    "uv run python benchmarks/prior_coverage.py --out benchmarks/results/prior_coverage.json",
    "uv run alliance fit study.toml a.share b.share 'sites/*.csv' --engine instant --out pooled",
    "dask scheduler --host 10.0.0.1",
    "dask worker tcp://10.0.0.1:8786 --nthreads 1",
    "alliance fit study.toml registry/ --dask tcp://10.0.0.1:8786 --out cluster",
    "alliance calibrate study.toml --dask tcp://10.0.0.1:8786",
}
# Commands that sample long, or fit hundreds of trials: what is appended, a later option ruling.
REDUCED = {
    "fit": "--profile ci",
    "calibrate": "--trials 2 --outcome pain",
    "assurance": "--trials 2 --patients 60 --therapists 6 --interaction 0.3",
    "multiverse": "--vary therapist",
}
SLOW = (
    "demo", "alliance fit headache", "alliance report", "calibrate", "assurance", "multiverse",
    "al.fit(",
)  # fmt: skip


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    document: str
    number: int
    language: str
    text: str

    @property
    def slow(self) -> bool:
        return any(words in self.text for words in SLOW)

    @property
    def commands(self) -> list[str]:
        """Commands of a shell block, without comments, a blank between words."""
        lines = self.text.replace("\\\n", " ").splitlines()
        bare = [part for line in lines for part in re.sub(r"\s#.*", "", line).split("&&")]
        return [" ".join(part.split()) for part in bare if part.strip()]


def blocks() -> list[Block]:
    """All blocks of all documents, in their order."""
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
    documents += [
        path
        for path in sorted((ROOT / "docs").rglob("*.md"))
        if not path.relative_to(ROOT / "docs").parts[0].startswith("_")  # what a build made
    ]
    return [
        Block(str(document.relative_to(ROOT)), number, language, text)
        for document in documents
        for number, (language, text) in enumerate(
            FENCE.findall(document.read_text(encoding="utf-8")), start=1
        )
    ]


def chosen(*languages: str) -> list[Any]:
    """Blocks in these languages as cases of a test; those that take long bear the mark mcmc.

    The tutorial's run in `test_tutorial`, which holds what they print against the text.
    """
    return [
        pytest.param(
            block,
            id=f"{block.document}-{block.number}",
            marks=[pytest.mark.mcmc] if block.slow else [],
        )
        for block in blocks()
        if block.language in languages and block.document != TUTORIAL
    ]


def headache_table() -> pd.DataFrame:
    """A table with the columns of the headache trial: 400 patients, 12 acupuncturists, made up."""
    random = np.random.default_rng(2004)
    count = 400
    group, therapist = np.arange(count) % 2, np.arange(count) // 2 % 12
    before = np.clip(random.gamma(2.8, 9.5, count), 7, 95)
    shift = random.normal(0, 1, 12)[therapist]
    table = pd.DataFrame(
        {
            "id": np.arange(100, 100 + count),
            "age": random.integers(20, 65, count),
            "sex": random.integers(0, 2, count),
            "migraine": random.integers(0, 2, count),
            "chronicity": random.integers(1, 40, count),
            "acupuncturist": therapist + 1,
            "group": group,
            "pk1": before.round(2),
        }
    )
    for name in ("pk2", "pk5"):
        slope = 0.8 - 0.2 * group
        score = 2 + shift + slope * before - 1.0 * group + random.normal(0, 8, count)
        table[name] = np.clip(score, 0, 99).round(2)
    return table


def run_made(command: str, *arguments: object) -> None:
    quick = ("--engine", "instant", "--profile", "ci") if command == "fit" else ()
    answer = alliance(command, *arguments, *quick)
    assert answer.code == 0, answer.stderr


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which commands run."""
    from alliance.data_prep.simulator.simulation import simulate_trial, write_simulated

    folder = tmp_path_factory.mktemp("workshop")
    made = simulate_trial(seed=2013)
    write_simulated(made, folder / "trial.csv")
    (folder / "registry").mkdir()
    for k, rows in enumerate(np.array_split(np.arange(len(made.frame)), 3)):
        made.frame.iloc[rows].to_parquet(folder / "registry" / f"{k}.parquet", index=False)
    (folder / "trials").mkdir()
    for k in range(3):  # every third patient, so that all arms are in every trial
        made.frame.iloc[k::3].to_csv(folder / "trials" / f"trial_{k + 1}.csv", index=False)
    headache_table().to_csv(folder / "headache.csv", index=False)
    run_made("fit", "headache", folder / "headache.csv", "--out", folder / "headache")
    own = (folder / "study.toml", folder / "trial.csv")
    asked = ("--outcome", "gpe", "--outcome", "pain")  # of four: those that documents ask about
    run_made("fit", *own, *asked, "--out", folder / "alliance-demo" / "run")
    run_made("init", folder / "headache.csv", "--yes", "--out", folder / "mine.toml")
    (folder / "published.toml").unlink()  # the simulated trial's, which mine.toml has not
    run_made("fit", folder / "mine.toml", folder / "headache.csv", "--out", folder / "run")
    for block in blocks():
        name = re.match(r"# (\S+\.toml)\n", block.text)
        if block.language == "toml" and name:
            (folder / name[1]).write_text(block.text, encoding="utf-8")
    for name, options in {"RUN": (), "WITH": (), "WITHOUT": ("--no-interaction",)}.items():
        run_made("fit", *own, "--outcome", "pain", *options, "--out", folder / name)
    return folder


def place_of(block: Block, workshop: Path, folder: Path) -> Path:
    """The workshop, or a copy of it without what the block makes anew.

    A multiverse keeps its analyses in a store, which belongs to one question.
    """
    made = [Path(name) for name in re.findall(r"--out (\S+)", block.text)]
    made += [Path("multiverse.sqlite")] if "alliance multiverse" in block.text else []
    there = [name for name in made if (workshop / name).exists()]
    if not there:
        return workshop
    copy = folder / "workshop"
    shutil.copytree(workshop, copy, copy_function=os.link)
    for name in there:
        if (copy / name).is_dir():
            shutil.rmtree(copy / name)
        else:
            (copy / name).unlink()
    return copy


@pytest.mark.usefixtures("workers_in_this_process")
@pytest.mark.parametrize("block", chosen("sh", ""))
def test_commands_run(
    block: Block,
    workshop: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """Each ends with exit code 0 and prints something; what is installed or cloned is left out.

    The demo is the one that other tests look into, with the profile ci.
    """
    monkeypatch.chdir(place_of(block, workshop, tmp_path))
    for command in block.commands:
        if command in EXEMPT:
            continue
        words = shlex.split(command.removeprefix("uv run "))
        assert words[0] == "alliance", f"neither run nor exempt: {command}"
        if words[1:] == ["demo"]:
            answer = request.getfixturevalue("demo")[1]
        else:
            answer = alliance(*words[1:], *shlex.split(REDUCED.get(words[1], "")))
        assert answer.code == 0, f"{command}\n{answer.stderr}"
        assert answer.stdout or answer.stderr, command
        if "--figure" in words:
            assert Path(words[words.index("--figure") + 1]).stat().st_size > 0


@pytest.mark.parametrize("block", chosen("python"))
def test_python_runs(block: Block, workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workshop)
    exec(compile(block.text, block.document, "exec"), {})


@pytest.mark.parametrize("block", chosen("toml", "json"))
def test_examples_of_files_can_be_read(block: Block) -> None:
    """What they mean is a matter of `tests/test_house.py` and of the tests of the gate."""
    assert (tomllib.loads if block.language == "toml" else json.loads)(block.text)


WORKFLOWS = [block for block in chosen("yaml") if "\njobs:" in block.values[0].text]


@pytest.mark.mcmc
@pytest.mark.parametrize("block", WORKFLOWS)
def test_the_steps_of_a_workflow_pass(block: Block, tmp_path: Path) -> None:
    """Every step of ours, in the shell and the order of the job."""
    alliance("simulate", tmp_path / "trial.csv")
    [job] = yaml.safe_load(block.text)["jobs"].values()
    steps = [step["run"] for step in job["steps"] if "alliance " in step.get("run", "")]
    steps = [step for step in steps if not step.startswith("pip ")]
    assert len(steps) > 3
    place = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    summary = tmp_path / "summary.md"
    for step in steps:
        done = subprocess.run(
            ["bash", "-c", step],
            cwd=tmp_path,
            env={**os.environ, **place, "GITHUB_STEP_SUMMARY": str(summary)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (step, done.stderr)
    assert summary.read_text(encoding="utf-8").count("\n|:--") == 4


@pytest.mark.parametrize("block", [each for each in chosen("yaml") if each not in WORKFLOWS])
def test_settings_of_dask_exist(block: Block) -> None:
    """Every key that a reader is told to write is one that Dask has a default of."""
    importlib.import_module("distributed")  # brings its defaults

    def keys(told: dict[str, Any], above: str = "") -> list[str]:
        return [
            key
            for name, value in told.items()
            for key in (
                keys(value, f"{above}{name}.") if isinstance(value, dict) else [f"{above}{name}"]
            )
        ]

    named = keys(yaml.safe_load(block.text))
    assert len(named) > 3
    for key in named:
        dask.config.get(key)  # KeyError if there is none


def test_no_block_is_passed_over() -> None:
    """A block in another language needs a test here; printed output has one in the tutorial's.

    Code of other programs, which nobody needs to have, is set beside ours and not run.
    """
    languages = {block.language for block in blocks()}
    assert languages <= {"sh", "", "python", "toml", "json", "text", "yaml", *OTHERS}
    unrun = [block for block in blocks() if block.language in ("text", *OTHERS)]
    beside = [block for block in unrun if block.document.startswith(COMING_FROM)]
    assert [block.document for block in unrun if block not in beside] == [TUTORIAL]
    assert len(beside) > 5
    commands = {command for block in blocks() for command in block.commands}
    assert commands >= EXEMPT  # none is left over from an earlier text
