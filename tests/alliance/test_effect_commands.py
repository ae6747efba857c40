"""The commands `effects` and `decide`: answers for a machine and a person, figures, refusals."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_line import alliance, contents, csv_rows, missing_from, printed_columns

from alliance.inference.scores.thresholds import Thresholds

if TYPE_CHECKING:  # PyMC is not loaded for tests that do without it
    from alliance.inference.runs.fit import Fit

FUNCTION = ("--outcome", "function")


@pytest.fixture(scope="module")
def run(made_fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two outcomes with made-up draws. Do not change it."""
    from alliance.inference.runs.run_folder import save_fit

    path = tmp_path_factory.mktemp("effects") / "run"
    save_fit(made_fit, path)
    return path


def test_effects_for_a_machine_are_the_tidy_table(run: Path, made_fit: Fit) -> None:
    from alliance.inference.answers.effects import COLUMNS, effects_along, effects_table

    options = ("--threshold", "function=2", "--rope", "function=-1:1", "--grid", "11")
    answer = alliance("effects", run, *options, "--format", "csv")
    assert answer.code == 0, answer.stderr
    rows = csv_rows(answer.stdout)
    assert list(rows[0]) == printed_columns(COLUMNS)
    assert {row["data"] for row in rows} == {"SIMULATED"}
    assert {row["outcome"] for row in rows} == {"function", "gpe"}
    thresholds = Thresholds(better_by=2, equivalence=(-1, 1))
    table = effects_table(effects_along(made_fit["function"], grid=11, thresholds=thresholds))
    printed = [row for row in rows if row["outcome"] == "function"]
    for name in ("mean", "band_upper", "prob_better_by", "prob_equivalent", "prob_best"):
        told = [float(row[name] or "nan") for row in printed]
        assert told == pytest.approx(table[name].tolist(), rel=1e-12, nan_ok=True), name
    assert not any(row["threshold"] for row in rows if row["outcome"] == "gpe")


def test_named_values_are_answered_alone(run: Path) -> None:
    options = ("--alliance", "60:80:10", "--alliance", "101", "--contrast", "GE-SMT")
    answer = alliance("effects", run, *FUNCTION, *options, "--format", "json")
    rows = json.loads(answer.stdout)
    contrasts = [row for row in rows if row["quantity"] == "arm_contrast"]
    assert [row["moderator"] for row in contrasts] == [60, 70, 80, 101]
    assert {row["level"] for row in contrasts} == {"GE-SMT"}
    assert {row["extrapolated"] for row in rows} == {False}


def test_extrapolation_is_refused_and_on_request_marked(run: Path) -> None:
    refused = alliance("effects", run, *FUNCTION, "--alliance", "30")
    assert (refused.code, refused.stdout) == (2, "")
    assert missing_from(refused.said, ("30 lies outside", "--extrapolate")) == []
    assert re.search(r"\d+ to 112", refused.said)
    options = (*FUNCTION, "--alliance", "30,80", "--extrapolate")
    table = csv_rows(alliance("effects", run, *options, "--format", "csv").stdout)
    marked = {row["moderator"] for row in table if row["extrapolated"] == "True"}
    assert marked == {"30.0"}
    shown = alliance("effects", run, *options)
    assert "30*" in shown.stdout
    assert "80*" not in shown.stdout
    assert "* extrapolated: ratings were from" in shown.stdout


@pytest.mark.parametrize("width", [80, 120])
def test_effects_are_readable_on_a_terminal(width: int, run: Path) -> None:
    answer = alliance("effects", run, "--rope", "gpe=-1:1", "--threshold", "gpe=1", width=width)
    assert answer.code == 0, answer.stderr
    assert max(map(len, answer.stdout.splitlines())) <= width
    text = " ".join(answer.stdout.split())
    words = (
        "SIMULATED DATA",
        "expected score by arm",
        "difference of slopes",
        "Where the 95% band over all values excludes zero:",
        "is told by the difference of slopes alone",
        "with an average therapist",
        "P(by 1)",
        "P(-1 to 1)",
    )
    assert missing_from(text, words) == []
    assert ("No room here for: 95% band" in text) == (width == 80)


def test_a_model_without_interaction_says_so(
    made_fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from effect_fits import fit_of

    from alliance.cli.commands.answer import print_effects
    from alliance.inference.answers.effects import effects_along

    fit = fit_of(interaction=False)
    print_effects(fit, [effects_along(fit["function"])])
    printed = capsys.readouterr().out
    assert "no interaction: the slopes of all arms are the same" in printed
    assert "difference of slopes" not in printed


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_figures_are_written(ending: str, run: Path, tmp_path: Path) -> None:
    path = tmp_path / f"figure.{ending}"
    answer = alliance("effects", run, *FUNCTION, "--figure", path, "--format", "csv")
    assert answer.code == 0, answer.stderr
    assert f"Written: {path}" in answer.said
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending]
    assert path.read_bytes().startswith(start)


def test_decisions_for_a_machine(run: Path) -> None:
    options = ("--threshold", "function=3", "--threshold", "gpe=1", "--reach", "gpe=2")
    answer = alliance("decide", run, *options, "--lift", "5", "--format", "csv", "--seed", "7")
    assert answer.code == 0, answer.stderr
    rows = csv_rows(answer.stdout)
    assert {row["data"] for row in rows} == {"SIMULATED"}
    by_outcome = {
        name: {row["quantity"] for row in rows if row["outcome"] == name}
        for name in ("function", "gpe")
    }
    common = {"arm_contrast", "lift"}
    improved = {"share_improved", "share_improved_contrast"}
    reaching = {"share_reaching", "share_reaching_contrast"}
    assert by_outcome == {"function": common | improved, "gpe": common | reaching}
    assert "gpe has no baseline: the share who improve cannot be told" in answer.said
    assert re.search(
        r"function: lifted values stop at 112, so that \d+ of \d+ patients", answer.said
    )
    assert "reads the association of alliance and outcome as causal" in answer.said
    again = alliance("decide", run, *options, "--lift", "5", "--format", "csv", "--seed", "7")
    assert again.stdout == answer.stdout


@pytest.mark.parametrize("command", ["effects", "decide"])
def test_the_source_of_a_threshold_stands_beside_it(command: str, run: Path) -> None:
    options = (*FUNCTION, "--threshold", "2", "--source", "Hefford 2012")
    rows = csv_rows(alliance(command, run, *options, "--format", "csv").stdout)
    told = {row["source"] for row in rows if row["threshold"]}
    assert told == {"Hefford 2012"}
    assert {row["source"] for row in rows if not row["threshold"]} <= {""}
    shown = " ".join(alliance(command, run, *options).stdout.split())
    assert "Source of thresholds and regions: Hefford 2012." in shown


def test_nothing_is_said_of_a_lift_that_was_not_asked_for(run: Path) -> None:
    answer = alliance("decide", run, *FUNCTION, "--threshold", "3", "--format", "csv")
    assert answer.code == 0
    assert answer.stderr == ""


@pytest.mark.parametrize("width", [80, 100])
def test_decisions_are_readable_on_a_terminal(width: int, run: Path) -> None:
    options = ("--threshold", "2", "--rope", "-1:1", "--reach", "20", "--lift", "5")
    answer = alliance("decide", run, *FUNCTION, *options, width=width)
    assert answer.code == 0, answer.stderr
    assert max(map(len, answer.stdout.splitlines())) <= width
    text = " ".join(answer.stdout.split())
    words = (
        "SIMULATED DATA",
        "share who improve by 2 points or more",
        "share with a score of 20 or better",
        "alliance lifted by 5 points",
        "as treated",
        "of the patients of a therapist drawn anew",
        "own",
    )
    assert missing_from(text, words) == []


REFUSED = {
    "unknown outcome": (("effects", "--outcome", "functoin"), ("Did you mean 'function'",)),
    "unknown arm": (
        ("effects", *FUNCTION, "--contrast", "MCE-XX"),
        ("no contrast 'MCE-XX'", "MCE-GE"),
    ),
    "unknown therapist": (
        ("effects", *FUNCTION, "--therapist", "nobody"),
        ("no therapist 'nobody'",),
    ),
    "empty grid": (("effects", *FUNCTION, "--grid", "1"), ("1 values of its grid", "2 to 1001")),
    "empty list of values": (
        ("effects", *FUNCTION, "--alliance", "90:60:5"),
        ("'--alliance': 90:60:5", "the grid is empty"),
    ),
    "no value": (
        ("decide", *FUNCTION, "--threshold", "1", "--alliance", "x"),
        ("'--alliance': 'x'", "is not a number"),
    ),
    "value off the scale": (
        ("decide", *FUNCTION, "--threshold", "1", "--alliance", "120", "--extrapolate"),
        ("no 120 on its scale", "16 to 112"),
    ),
    "threshold wider than the scale": (
        ("effects", *FUNCTION, "--threshold", "28"),
        ("runs from 3 to 30", "-27 to 27"),
    ),
    "threshold of no outcome": (
        ("effects", "--threshold", "2"),
        ("points of one outcome", "--threshold function=2"),
    ),
    "score off the scale": (
        ("decide", *FUNCTION, "--reach", "31"),
        ("outside the scale", "3 to 30"),
    ),
    "region that is none": (("decide", *FUNCTION, "--rope", "1"), ("is not a region", "LOW:HIGH")),
    "nothing asked": (("decide", *FUNCTION), ("Nothing is asked", "no threshold has a default")),
    "lift off the scale": (("decide", *FUNCTION, "--lift", "97"), ("16 to 112", "up to 96")),
    "no interval": (
        ("effects", *FUNCTION, "--interval", "95"),
        ("probability 95 is not between 0 and 1",),
    ),
    "figure of no format": (
        ("effects", *FUNCTION, "--figure", "figure.jpg"),
        ("figure.jpg", ".png, .svg, .pdf"),
    ),
    "plot of no kind": (
        ("effects", *FUNCTION, "--plot", "forest"),
        ("'--plot'", "'effect', 'score', 'best'"),
    ),
    "no run": (("effects",), ("RUN",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_query_is_refused_with_what_would_do(
    case: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (command, *options), words = REFUSED[case]
    where = () if case == "no run" else (run,)
    answer = alliance(command, *where, *options)
    assert answer.code == 2, answer.stderr
    assert answer.stdout == ""
    assert missing_from(answer.said, words) == [], answer.said
    assert contents(tmp_path) == {}


def test_answers_come_without_a_compiler(run: Path) -> None:
    """Everything is arithmetic on saved draws: what could compile a model is not even loaded."""
    asked = [["effects", str(run)], ["decide", str(run), "--lift", "5"]]
    program = (
        "import sys; from alliance.cli.app import main\n"
        f"for words in {asked}:\n"
        "    sys.argv = ['alliance', *words, '--format', 'csv']\n"
        "    try:\n        main()\n"
        "    except SystemExit as end:\n        print('ENDED', end.code)\n"
        "print('LOADED', *({'pymc', 'pytensor', 'nutpie'} & sys.modules.keys()))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert [line for line in lines if line.startswith("ENDED")] == ["ENDED 0"] * len(asked)
    assert lines[-1] == "LOADED"


@pytest.mark.mcmc
def test_acupuncture_is_better_by_five_points_at_baseline_40(
    shared_data: Path, tmp_path: Path
) -> None:
    """One command and one figure, against the coefficients' own arithmetic."""
    from alliance.inference.runs.run_folder import load_fit

    run, figure = tmp_path / "run", tmp_path / "figure.png"
    data = shared_data / "acupuncture_vickers2004.csv"
    options = ("--out", run, "--profile", "ci", "--outcome", "headache_12m")
    assert alliance("fit", "headache", data, *options).code == 0
    asked = ("--alliance", "40", "--threshold", "5", "--figure", figure, "--format", "csv")
    answer = alliance("effects", run, *asked)
    assert answer.code == 0, answer.stderr
    assert figure.stat().st_size > 10_000
    (row,) = (r for r in csv_rows(answer.stdout) if r["quantity"] == "arm_contrast")
    fit = load_fit(run)
    estimands = fit.estimands("headache_12m").stack(sample=("chain", "draw"))
    named = dict(zip(estimands["quantity"].values, estimands.values, strict=False))
    mean = fit.design("headache_12m").scaling.moderator[0]
    at_40 = named["arm_contrast"] + named["interaction"] * (40 - mean)
    assert float(row["prob_better_by"]) == pytest.approx((at_40 <= -5).mean())
    assert float(row["mean"]) == pytest.approx(at_40.mean())
    # Published: 4.6 fewer points on average, and more for those who have more to lose.
    assert 0.9 < float(row["prob_better_by"]) < 1
