"""A fault is told in the words of whoever asked: arguments in Python, options in a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_line import alliance, write_small_trial
from rich.markup import escape
from rich.table import Table

from alliance.cli.screen import INSTEAD, Screen, as_options
from alliance.data_prep.errors import InputError
from alliance.data_prep.study.description import read_study

if TYPE_CHECKING:  # PyMC is not loaded for tests that do without it
    from alliance.inference.runs.fit import Fit

OPTION = re.compile(r"--[a-z]")


@pytest.fixture(scope="module")
def run(made_fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from alliance.inference.runs.run_folder import save_fit

    path = tmp_path_factory.mktemp("messages") / "run"
    save_fit(made_fit, path)
    return path


def saved_twice(fit: Fit, run: Path) -> None:
    from alliance.inference.runs.run_folder import save_fit

    save_fit(fit, run)


def loaded_from_nowhere(fit: Fit, run: Path) -> None:
    from alliance.inference.runs.run_folder import load_fit

    load_fit(run / "nothing")


def effects_beyond_the_ratings(fit: Fit, run: Path) -> None:
    from alliance.inference.answers.effects import effects_along

    effects_along(fit["gpe"], values=[16.5])


def effects_on_one_point(fit: Fit, run: Path) -> None:
    from alliance.inference.answers.effects import effects_along

    effects_along(fit["gpe"], grid=1)


def lift_of_nothing(fit: Fit, run: Path) -> None:
    from alliance.inference.answers.decisions import decisions
    from alliance.inference.scores.thresholds import Thresholds

    decisions(fit["gpe"], Thresholds(better_by=1.0), raise_alliance=0.0)


def joint_model_at_once(fit: Fit, run: Path) -> None:
    from alliance.inference.sampling.engines import require_engine

    require_engine([], "instant", joint=True)


def assurance_of_two_outcomes(fit: Fit, run: Path) -> None:
    from alliance.inference.many_fits.assurance import Assumptions, Criterion, assurance_question

    study = read_study(run / "study.toml")
    assurance_question(study, None, Assumptions(0.1, 0.0, 0.0, 0.0), Criterion(0.9, 0.0))


Fault = tuple[Callable[["Fit", Path], None], tuple[str, ...], str, str]

FEW = ("--therapists", "6", "--trials", "2")
FAULTS: dict[str, Fault] = {
    "a run that is there": (
        saved_twice,
        ("fit", "study.toml", "trial.csv", "--out", "RUN"),
        "Name another folder with `path`, or replace the run in it with `overwrite=True`.",
        "Name another folder with --out, or replace the run in it with --overwrite.",
    ),
    "a run that is not there": (
        loaded_from_nowhere,
        ("summary", "RUN/nothing"),
        "Give the folder that `save_fit()` wrote.",
        "Give the folder that `alliance fit --out` wrote.",
    ),
    "a value beyond the ratings": (
        effects_beyond_the_ratings,
        ("effects", "RUN", "--outcome", "gpe", "--alliance", "16.5"),
        "add `extrapolate=True` to have",
        "add --extrapolate to have",
    ),
    "a curve through one point": (
        effects_on_one_point,
        ("effects", "RUN", "--outcome", "gpe", "--grid", "1"),
        "Give `grid` a number from 2",
        "Give --grid a number from 2",
    ),
    "a lift of nothing": (
        lift_of_nothing,
        ("decide", "RUN", "--outcome", "gpe", "--threshold", "1", "--lift", "0"),
        "Give `raise_alliance` a number",
        "Give --lift a number",
    ),
    "a joint model at once": (
        joint_model_at_once,
        ("fit", "study.toml", "trial.csv", "--engine", "instant", "--joint", "--out", "new"),
        "Leave `engine` or `joint` out.",
        "Leave --engine or --joint out.",
    ),
    "a plan for two outcomes": (
        assurance_of_two_outcomes,
        ("assurance", "study.toml", "--interaction", "0.1", "--patients", "60", *FEW),
        "Choose one with `outcome`.",
        "Choose one with --outcome.",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_python_names_the_argument_and_the_terminal_the_option(
    made_fit: Fit, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    ask, command, in_python, in_terminal = FAULTS[name]
    monkeypatch.chdir(tmp_path)
    write_small_trial(tmp_path)
    with pytest.raises(InputError) as refused:
        ask(made_fit, run)
    assert in_python in str(refused.value)
    assert not OPTION.search(str(refused.value))
    answer = alliance(*(word.replace("RUN", str(run)) for word in command))
    assert answer.code == 2, answer.stderr
    assert in_terminal in answer.said
    assert "`" not in answer.said.replace("`alliance fit --out`", "")


def test_advice_is_told_in_options_as_table_csv_and_json(run: Path, made_fit: Fit) -> None:
    """The made draws have no energy and few draws: the gate advises more of them."""
    from alliance.diagnostics.gate.fit_gate import check_fit

    advice = [
        result.recommendation for report in check_fit(made_fit) for result in report.all_results
    ]
    named = {text for text in advice if as_options(text) != text}
    assert named  # else nothing is tried here
    assert not any(OPTION.search(text) for text in advice)
    expected = {as_options(text) for text in named}
    records = json.loads(alliance("diagnose", run, "--format", "json").stdout)
    assert expected <= {record["recommendation"] for record in records}
    printed = " ".join(alliance("diagnose", run, width=120).stdout.split())
    assert all(" ".join(text.split()) in printed for text in expected)
    table = alliance("diagnose", run, "--format", "csv").stdout.replace('""', '"')
    assert all(text in table for text in expected)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("`at_least`", "--at-least"),
        ('`therapist="intercept+slope"`', "--therapist intercept+slope"),
        ("`rope='-1:1'`", "--rope -1:1"),
        ("`draws=2500`", "--draws 2500"),
        ("`alliance=[60, 90]`", "--alliance 60,90"),
        ("`covariate='sex=not known'`", "--covariate 'sex=not known'"),  # as a shell takes it
        ("`joint=True`", "--joint"),
        ("`joint=False`", "--no-joint"),
        ("`extrapolate=False`", "`extrapolate=False`"),  # there is no --no-extrapolate
        ("`draws=True`", "`draws=True`"),  # no switch
        ("`influence()`", "`alliance sensitivity RUN --kind influence`"),
        # Not options: keys of the study file, commands, calls and values that are none.
        ("`item_range` in [moderator]", "`item_range` in [moderator]"),
        ("`alliance check STUDY DATA`", "`alliance check STUDY DATA`"),
        ("`alliance()`", "`alliance()`"),
        ("`therapist=none of them`", "`therapist=none of them`"),
        ("`--joint`", "`--joint`"),
        ("seed", "seed"),
    ],
)
def test_exactly_what_is_an_option_is_turned_into_one(written: str, told: str) -> None:
    assert as_options(f"Try {written}, or not.") == f"Try {told}, or not."


def test_brackets_and_wide_words_are_measured_as_they_are_printed() -> None:
    screen = Screen(width=60, record=True, file=StringIO())
    table = Table("Told")
    table.add_row(escape('`likelihood="native"` under [priors]'))
    wide = Screen(width=10_000, file=StringIO()).measure(table).maximum
    assert wide == len("| --likelihood native under [priors] |")
    screen.print(table)
    assert "│ --likelihood native under [priors] │" in screen.export_text()


def test_what_stands_instead_is_a_command_that_there_is() -> None:
    for written, typed in INSTEAD.items():
        words = typed.strip("`").split()
        options = [word for word in words if word.startswith("--")]
        commands = words[1:2] if words[0] == "alliance" else ["fit", "multiverse", "decide"]
        helps = [alliance(command, "--help", width=200).stdout for command in commands]
        assert any(all(option in text for option in options) for text in helps), written
