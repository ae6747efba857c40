"""What stands below a run's tables on a terminal: patients and choices; never in machine output."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command_line import FRAME, Answer, alliance, csv_rows
from made_draws import NoSampler

from alliance.cli.commands.look import patients_in_words

OPTIONS = ("--profile", "ci", "--outcome", "function", "--outcome", "gpe")


def a_run(table: Path, folder: Path, *options: str) -> Path:
    """A run of two outcomes of the simulated trial with made-up draws, which no gate passes."""
    with pytest.MonkeyPatch.context() as patch:
        NoSampler().install(patch)
        answer = alliance("fit", "ferreira2013", table, "--out", folder, *OPTIONS, *options)
    assert folder.is_dir(), answer.stderr
    return folder


@pytest.fixture(scope="module")
def plain(trial_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_run(trial_files, tmp_path_factory.mktemp("plain") / "run")


@pytest.fixture(scope="module")
def shifted(trial_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shifted") / "run"
    return a_run(trial_files, folder, "--delta", "function:MCE=-2", "--delta", "function:GE=1")


def below(answer: Answer, heading: str) -> str:
    """What stands below the heading, as running text."""
    assert answer.code == 0, answer.stderr
    lines = answer.stdout.splitlines()
    return " ".join(" ".join(lines[lines.index(heading) + 1 :]).split())


def test_flow_counts_in_words() -> None:
    row = {
        "outcome": "pain",
        "rows_read": 30,
        "without_arm": 0,
        "without_therapist": 1,
        "without_alliance": 4,
        "without_covariate": 0,
        "without_baseline": 2,
        "without_followup": 3,
        "analysed": 20,
        "alliance_imputed": 0,
    }
    assert patients_in_words(row, "bond") == (
        "20 of 30 analysed: 20 complete cases, 0 with imputed bond; left out: 1 without therapist, "
        "4 without bond, 2 without baseline, 3 without follow-up"
    )
    imputed = row | {"without_alliance": 0, "analysed": 24, "alliance_imputed": 4}
    assert patients_in_words(imputed, "bond").startswith(
        "24 of 30 analysed: 20 complete cases, 4 with imputed bond; left out: 1 without therapist,"
    )
    none = {"rows_read": 8, "without_arm": 0, "analysed": 8, "alliance_imputed": 0}
    assert patients_in_words(none, "bond") == (
        "8 of 8 analysed: 8 complete cases, 0 with imputed bond"
    )


@pytest.mark.parametrize("width", [80, 170])
def test_summary_tells_patients_and_choices(plain: Path, width: int) -> None:
    answer = alliance("summary", plain, width=width)
    said = below(answer, "Patients")
    for row in csv_rows((plain / "flow.csv").read_text()):
        analysed = f"{row['analysed']} of 240 analysed: {row['analysed']} complete cases, 0 with"
        assert analysed in said
        assert f"58 without alliance, {row['without_followup']} without follow-up" in said
    assert "chosen nothing but the defaults" in below(answer, "Model")
    assert "by default likelihood: Gaussian, as published; therapist effects: intercept" in said
    assert max(map(len, answer.stdout.splitlines())) <= width


def test_imputed_patients_are_counted_apart(plain: Path, tmp_path: Path) -> None:
    # Counts alone are looked at, and they come from the flow, whatever was fitted.
    run = shutil.copytree(plain, tmp_path / "run")
    flow = csv_rows((run / "flow.csv").read_text())
    names = list(flow[0])
    flow[0] |= {"without_alliance": "40", "analysed": "185", "alliance_imputed": "18"}
    text = "\n".join(",".join(row[name] for name in names) for row in flow)
    (run / "flow.csv").write_text(f"{','.join(names)}\n{text}\n")
    said = below(alliance("summary", run, "--accept-changed"), "Patients")
    assert "function 185 of 240 analysed: 167 complete cases, 18 with imputed alliance" in said
    assert "gpe 167 of 240 analysed: 167 complete cases, 0 with imputed alliance" in said


def test_outcomes_with_the_same_patients_share_a_line(plain: Path) -> None:
    same = {
        tuple(value for name, value in row.items() if name != "outcome")
        for row in csv_rows((plain / "flow.csv").read_text())
    }
    assert len(same) == 1
    said = below(alliance("summary", plain), "Patients")
    assert said.startswith("every outcome 167 of 240")
    assert said.count("complete cases") == 1


@pytest.mark.parametrize("command", ["summary", "compare"])
def test_departures_come_first(command: str, shifted: Path) -> None:
    said = below(alliance(command, shifted), "Model")
    assert said.startswith(
        "chosen unseen outcomes: missing at random, in arm_contrast_delta shifted: function in GE "
        "by +1 ("
    )
    chosen, defaults = said.split(" by default ")
    assert "MCE by -2 (" in chosen
    assert "likelihood: Gaussian, as published" in defaults
    assert "unseen outcomes" not in defaults


def test_shifted_contrasts_are_in_every_table(shifted: Path) -> None:
    levels = ["MCE-GE", "SMT-GE", "SMT-MCE"]
    for text in (
        (shifted / "summary.csv").read_text(),
        alliance("summary", shifted, "--format", "csv").stdout,
        alliance("compare", shifted, "--format", "csv").stdout,
        alliance("summary", shifted, "--priors", "--format", "csv").stdout,
    ):
        rows = [row for row in csv_rows(text) if row["quantity"] == "arm_contrast_delta"]
        assert [(row["outcome"], row["level"]) for row in rows] == [
            ("function", level) for level in levels
        ]
    shown = alliance("summary", shifted).stdout.translate(dict.fromkeys(map(ord, FRAME), " "))
    arms = ("Motor control exercise", "Spinal manipulative therapy", "General exercise")
    for first, second in ((0, 2), (1, 2), (1, 0)):  # by their labels, where there is room
        assert f"arm contrast delta   {arms[first]} minus {arms[second]}" in shown


def test_a_run_without_shifts_has_no_shifted_contrasts(plain: Path) -> None:
    assert "arm_contrast_delta" not in (plain / "summary.csv").read_text()
    assert "arm contrast delta" not in alliance("summary", plain).stdout


@pytest.mark.parametrize("command", ["summary", "compare"])
@pytest.mark.parametrize("table_format", ["csv", "json"])
def test_machine_output_has_the_table_alone(command: str, table_format: str, shifted: Path) -> None:
    answer = alliance(command, shifted, "--format", table_format)
    assert answer.code == 0
    assert "complete cases" not in answer.stdout + answer.stderr
    assert "by default" not in answer.stdout + answer.stderr


def test_the_shifts_of_the_command_line_are_kept_with_the_run(shifted: Path) -> None:
    kept = (shifted / "study.toml").read_text()
    assert "[outcomes.function.delta]\nMCE = -2\nGE = 1\n" in kept
    assert "[outcomes.gpe.delta]" not in kept


def test_runs_stand_side_by_side_with_the_choices_of_each(
    plain: Path, shifted: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(shifted, other)
    answer = alliance("summary", plain, "--beside", other)
    assert answer.code == 0, answer.stderr
    assert "side by side" in answer.stdout
    # The shifted contrasts are there for one of them, and its choice is said under its name.
    assert "arm contrast delta" in answer.stdout
    assert "shift" in below(answer, "Model of other")
    rows = csv_rows(alliance("summary", plain, "--beside", other, "--format", "csv").stdout)
    shown = {row["quantity"]: row for row in rows if row["outcome"] == "function"}
    assert shown["arm_contrast_delta"]["run_mean"] == ""
    assert float(shown["arm_contrast_delta"]["other_mean"]) != float(
        shown["arm_contrast"]["other_mean"]
    )
    assert alliance("summary", plain, "--beside", plain).code == 2
