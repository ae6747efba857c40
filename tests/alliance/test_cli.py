"""The front door: help, version, machine output, and what the commands without sampling do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from command_line import alliance, contents, csv_rows, write_small_trial

import alliance as package
from alliance.cli.app import app
from alliance.data_prep.files import LIST
from alliance.data_prep.study.description import read_study
from alliance.data_prep.trial.trial import load_trial
from alliance.inference.priors.prior_costs import expected_costs

COMMANDS = (
    "demo",
    "simulate",
    "check",
    "fit",
    "diagnose",
    "summary",
    "compare",
    "paper",
    "effects",
    "decide",
    "predict",
    "therapists",
)
# What takes long to import; nothing of it is needed for help or a usage error.
HEAVY = ("pymc", "pytensor", "nutpie", "numba", "arviz", "xarray", "pandas", "numpy", "pandera")
PROBE = """
import sys
from alliance.cli.app import main
sys.argv = ["alliance", *sys.argv[1:]]
try:
    main()
finally:
    print("LOADED", *(name for name in {heavy!r} if name in sys.modules))
"""
FLOW = [
    "outcome",
    "rows_read",
    "without_arm",
    "without_therapist",
    "without_alliance",
    "without_covariate",
    "without_baseline",
    "without_followup",
    "analysed",
]


def parameters() -> Iterator[tuple[str, str, str]]:
    """Command, name as typed, and help of everything that may be given."""
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]  # a group of commands
        for parameter in command.params:
            typed = max(parameter.opts, key=len)
            if parameter.param_type_name == "argument":
                typed = str(parameter.metavar)
            yield name, typed, parameter.help or ""


def test_version() -> None:
    answer = alliance("--version")
    assert (answer.code, answer.stdout) == (0, f"alliance {package.__version__}\n")


def test_help_lists_every_command_and_the_exit_codes() -> None:
    answer = alliance("--help", width=100)
    assert answer.code == 0
    assert [name for name in COMMANDS if f" {name} " not in answer.stdout] == []
    assert "0 fine; 2 wrong input or usage; 3 the diagnostics gate failed" in answer.stdout


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_a_command_explains_everything_that_may_be_given(command: str, flag: str) -> None:
    answer = alliance(command, flag, width=300)
    assert answer.code == 0
    printed = " ".join(answer.stdout.split())
    given = [entry[1:] for entry in parameters() if entry[0] == command]
    assert len(given) >= 2
    for typed, explanation in given:
        assert typed in printed
        assert len(explanation) > 10, typed
        assert explanation.split(".")[0] in printed


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("fit", "--help"),
        ("--version",),
        ("fitt",),
        ("summary", "run", "--format", "x"),
    ],
    ids=" ".join,
)
def test_help_and_usage_errors_load_nothing_heavy(arguments: tuple[str, ...]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROBE.format(heavy=HEAVY), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout.splitlines()[-1] == "LOADED"
    assert ended.returncode == (0 if "-" in arguments[-1] else 2)


def test_the_public_names_are_there() -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert set(package.__all__) <= set(dir(package))
    # A module of the same name would take the name's place as soon as a command imports it.
    modules = {path.stem for path in Path(package.__file__ or "").parent.glob("*.py")}
    assert modules.isdisjoint(set(package.__all__) - {"__version__"})
    with pytest.raises(AttributeError, match="no attribute 'alliance_of_nobody'"):
        _ = package.alliance_of_nobody


@pytest.mark.parametrize("simulated", [True, False])
def test_flow_counts_for_a_machine(simulated: bool, trial_files: Path, tmp_path: Path) -> None:
    study = trial_files.parent / "study.toml"
    if not simulated:
        study = tmp_path / "study.toml"
        text = (trial_files.parent / "study.toml").read_text()
        study.write_text(text.replace("simulated = true\n", ""))
    as_csv = alliance("check", study, trial_files, "--format", "csv")
    as_json = alliance("check", study, trial_files, "--format", "json")
    records = json.loads(as_json.stdout)
    columns = list(records[0])
    assert list(csv_rows(as_csv.stdout)[0]) == columns
    assert columns[: len(FLOW)] == FLOW
    assert ("data" in columns, columns[-1] == "data") == (simulated, simulated)
    assert [record["outcome"] for record in records] == ["function", "gpe", "pain", "disability"]
    # 240 randomised and 182 rated, as in the published trial.
    assert {(record["rows_read"], record["without_alliance"]) for record in records} == {(240, 58)}
    for record in records:
        lacking = sum(count for name, count in record.items() if name.startswith("without_"))
        assert record["analysed"] == 240 - lacking
    assert [{k: str(v) for k, v in record.items()} for record in records] == csv_rows(as_csv.stdout)
    assert ("SIMULATED" in as_csv.stdout, "SIMULATED" in as_json.stdout) == (simulated, simulated)
    assert "Note: 58 of 240 rows without alliance." in as_csv.said


@pytest.mark.parametrize("width", [80, 120])
def test_flow_counts_are_readable_on_a_terminal(width: int, trial_files: Path) -> None:
    answer = alliance("check", trial_files.parent / "study.toml", trial_files, width=width)
    assert "SIMULATED DATA" in answer.stdout
    text = " ".join(answer.stdout.split())
    assert "Left out: no" in text
    assert "Number of patients, by outcome" in text
    assert max(map(len, answer.stdout.splitlines())) <= width


@pytest.mark.parametrize("width", [80, 120])
def test_check_says_what_the_priors_cost(width: int, trial_files: Path) -> None:
    study = read_study(trial_files.parent / "study.toml")
    costs = expected_costs(load_trial(study, trial_files))
    table = costs.table
    answer = alliance("check", trial_files.parent / "study.toml", trial_files, width=width)
    lines = [line.split("│") for line in answer.stdout.splitlines() if "│" in line]
    cells = [[cell.strip() for cell in line[1:-1]] for line in lines]
    found = {tuple(row[:2]): row[2:] for row in cells if len(row) == 7}
    assert len(found) == 12  # slope, arms and interaction of four outcomes
    for outcome in study.outcomes:
        own = table[(table["outcome"] == outcome) & (table["quantity"] == "interaction")]
        worst = own[own["pull"] == own["pull"].max()]
        level, *told = found[outcome, "interaction"]
        assert level == worst["level"].iloc[0]
        shares = [worst["pull"].iloc[0], *worst["coverage"]]
        assert told == [f"{100 * share:.0f}%" for share in shares]
    assert costs.slopes is not None
    assert costs.slopes.words in " ".join(answer.stdout.split())


def test_check_names_outcomes_whose_costs_have_no_closed_form(
    trial_files: Path, tmp_path: Path
) -> None:
    study = tmp_path / "study.toml"
    text = (trial_files.parent / "study.toml").read_text()
    assert 'missing_alliance = "complete_case"' in text
    study.write_text(text.replace('"complete_case"', '"impute"'))
    answer = alliance("check", study, trial_files)
    assert answer.code == 0
    assert "What the priors cost in this design" not in answer.stdout
    assert "no closed form for function, gpe, pain, disability; after a fit" in answer.said


def test_a_study_that_comes_along_needs_no_path(trial_files: Path) -> None:
    answer = alliance("check", "ferreira2013", trial_files)
    assert answer.code == 0
    assert "SIMULATED" in answer.stdout


@pytest.mark.parametrize("columns", ["", "wide", "0"])
def test_an_odd_width_of_the_terminal_is_ignored(
    columns: str, trial_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    answer = alliance("check", "ferreira2013", trial_files)
    assert answer.code == 0
    assert "Left out: no therapist" in answer.stdout


def test_simulate_writes_five_files_and_their_list_the_same_for_the_same_seed(
    tmp_path: Path,
) -> None:
    first, again, other = tmp_path / "first", tmp_path / "again", tmp_path / "other"
    answer = alliance("simulate", first / "trial.csv", "--seed", "5")
    assert (answer.code, answer.stdout) == (0, "")
    names = {"trial.csv", "study.toml", "truth.json", "simulation.toml", "published.toml"}
    assert contents(first).keys() == names | {LIST}
    for name in names:
        assert name in answer.said
    alliance("simulate", again / "trial.csv", "--seed", "5")
    alliance("simulate", other / "trial.csv", "--seed", "6")
    assert contents(again) == contents(first)
    assert contents(other)["trial.csv"] != contents(first)["trial.csv"]


def test_simulate_refuses_to_overwrite_unless_told_to(tmp_path: Path) -> None:
    table = tmp_path / "trial.csv"
    alliance("simulate", table, "--seed", "5")
    before = contents(tmp_path)
    refused = alliance("simulate", table, "--seed", "6")
    assert refused.code == 2
    assert contents(tmp_path) == before
    assert alliance("simulate", table, "--seed", "6", "--overwrite").code == 0
    assert contents(tmp_path)["trial.csv"] != before["trial.csv"]
    assert contents(tmp_path).keys() == before.keys()


def test_simulate_makes_as_many_as_asked(tmp_path: Path) -> None:
    table = tmp_path / "trial.csv"
    options = ("--patients", "60", "--therapists", "6", "--nested")
    assert alliance("simulate", table, *options).code == 0
    rows = csv_rows(table.read_text())
    assert len(rows) == 60
    arms = {row["therapist"]: set() for row in rows}
    for row in rows:
        arms[row["therapist"]].add(row["arm"])
    assert len(arms) == 6
    assert {len(where) for where in arms.values()} == {1}


def test_the_demo_leaves_a_folder_of_the_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    write_small_trial(folder)
    before = contents(tmp_path)
    answer = alliance("demo", "--out", folder)
    assert answer.code == 2
    assert "exists and holds no demo" in answer.said
    assert contents(tmp_path) == before


def test_an_instant_fit_loads_neither_compiler_nor_scheduler(tmp_path: Path) -> None:
    made = alliance("simulate", tmp_path / "trial.csv", "--patients", "120")
    assert made.code == 0, made.stderr
    given = ("fit", tmp_path / "study.toml", tmp_path / "trial.csv", "--engine", "instant")
    heavy = ("pymc", "pytensor", "nutpie", "arviz", "distributed", "dask.dataframe")
    ended = subprocess.run(
        [sys.executable, "-c", PROBE.format(heavy=heavy), *given, "--out", tmp_path / "run"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode in (0, 3), ended.stderr
    assert ended.stdout.splitlines()[-1] == "LOADED"
    assert len(list((tmp_path / "run").glob("*.nc"))) == 4
