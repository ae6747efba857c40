"""What the commands print about a run: columns, units, labels, widths, and the word SIMULATED."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import alliance, csv_rows, printed_columns, tables_in

pytestmark = pytest.mark.mcmc

TIDY = (
    *("outcome", "quantity", "level", "mean", "sd", "lower", "upper"),
    *("prob_positive", "ess_bulk", "ess_tail", "r_hat", "at"),
)
PRIORS = ("outcome", "quantity", "level", "distribution", "location", "scale")
GATE = (
    *("outcome", "check", "verdict", "value", "review", "fail"),
    *("worst", "message", "recommendation", "about"),
)
COMPARISON = (
    *("outcome", "quantity", "level", "claim"),
    *(f"published_{name}" for name in ("estimate", "lower", "upper", "p")),
    *(
        f"{model}_{name}"
        for model in ("ols_main", "ols", "reml")
        for name in ("estimate", "se", "df", "lower", "upper", "p_value")
    ),
    *(f"posterior_{name}" for name in ("mean", "sd", "lower", "upper")),
    *("prob_positive", "verdict", "explanation", "known_by", "source", "note", "refit_note", "at"),
)
SLOPES = ("moderator_slope", "interaction", "therapist_slope_sd")


@pytest.fixture(scope="module")
def real_run(trial_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one outcome of the same table, under a study file that does not say simulated."""
    folder = tmp_path_factory.mktemp("real")
    text = (trial_files.parent / "study.toml").read_text()
    assert "simulated = true\n" in text
    (folder / "study.toml").write_text(text.replace("simulated = true\n", ""))
    options = ("--out", folder / "run", "--profile", "ci", "--outcome", "pain")
    answer = alliance("fit", folder / "study.toml", trial_files, *options)
    assert answer.code == 0, answer.stderr
    assert "SIMULATED" not in answer.stdout + answer.stderr
    return folder / "run"


def analysed_patients(table: Path, followup: str, baseline: str) -> np.ndarray:
    """Alliance and follow-up of the patients with alliance, baseline and follow-up: (n, 2)."""
    rows = csv_rows(table.read_text())
    names = ("wai_total", followup, baseline)
    return np.array(
        [[float(row[name]) for name in names[:2]] for row in rows if all(row[n] for n in names)]
    )


@pytest.mark.parametrize(
    ("command", "columns", "count"),
    [
        (("summary",), TIDY, None),
        (("summary", "--interval", "0.5"), TIDY, None),
        (("summary", "--priors"), PRIORS, None),
        (("diagnose",), GATE, 17),  # 9 checks of draws, 8 of the model
        (("compare",), COMPARISON, None),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_machine_output_is_data_alone(
    command: tuple[str, ...], columns: tuple[str, ...], count: int | None, run_folder: Path
) -> None:
    arguments = (command[0], run_folder, *command[1:])
    as_csv = alliance(*arguments, "--format", "csv")
    as_json = alliance(*arguments, "--format", "json")
    assert (as_csv.code, as_json.code, as_csv.stderr, as_json.stderr) == (0, 0, "", "")
    rows, records = csv_rows(as_csv.stdout), json.loads(as_json.stdout)
    assert list(rows[0]) == list(records[0]) == printed_columns(columns)
    assert count is None or len(rows) == count
    assert len(rows) == len(records)
    assert {row["data"] for row in rows} == {"SIMULATED"}
    assert {row["outcome"] for row in rows} == {"pain"}
    for row, record in zip(rows, records, strict=True):
        for name, value in record.items():
            shown = row[name]
            if isinstance(value, float):
                assert float(shown) == value
            else:
                assert shown == ("" if value is None else str(value))


@pytest.mark.parametrize(
    "command",
    [("summary",), ("summary", "--priors"), ("summary", "--per-sd"), ("diagnose",), ("compare",)],
    ids=" ".join,
)
@pytest.mark.parametrize("width", [80, 200])
def test_every_table_says_simulated_and_fits_the_terminal(
    command: tuple[str, ...], width: int, run_folder: Path
) -> None:
    answer = alliance(command[0], run_folder, *command[1:], width=width)
    assert answer.code == 0
    assert tables_in(answer.stdout) == answer.stdout.count("SIMULATED DATA") == 1
    assert max(map(len, answer.stdout.splitlines())) <= width
    assert "…" not in answer.stdout  # no cell was cut


@pytest.mark.parametrize("command", ["summary", "diagnose", "compare"])
@pytest.mark.parametrize("table_format", ["table", "csv", "json"])
def test_a_real_study_is_never_called_simulated(
    command: str, table_format: str, real_run: Path
) -> None:
    answer = alliance(command, real_run, "--format", table_format)
    assert answer.code == 0
    assert "pain" in answer.stdout
    assert "SIMULATED" not in answer.stdout + answer.stderr
    if table_format == "json":
        assert "data" not in json.loads(answer.stdout)[0]


def test_the_interval_is_labelled_with_its_probability(run_folder: Path) -> None:
    assert "95% interval" in alliance("summary", run_folder).stdout
    assert "99.5% interval" in alliance("summary", run_folder, "--interval", "0.995").stdout
    assert "99.9% interval" in alliance("compare", run_folder, "--interval", "0.999").stdout


def test_per_sd_multiplies_slopes_by_the_sd_of_the_alliance(
    run_folder: Path, trial_files: Path
) -> None:
    point = csv_rows(alliance("summary", run_folder, "--format", "csv").stdout)
    per_sd = csv_rows(alliance("summary", run_folder, "--per-sd", "--format", "csv").stdout)
    sd = analysed_patients(trial_files, "vas_8w", "vas_0")[:, 0].std(ddof=1)
    seen = set()
    for one, other in zip(point, per_sd, strict=True):
        assert [one[name] for name in TIDY[:3]] == [other[name] for name in TIDY[:3]]
        factor = sd if one["quantity"] in SLOPES else 1.0
        seen.add((one["quantity"], factor))
        for name in ("mean", "sd", "lower", "upper"):
            assert float(other[name]) == pytest.approx(factor * float(one[name]), rel=1e-9)
        assert other["prob_positive"] == one["prob_positive"]
    assert {name for name, factor in seen if factor != 1.0} == set(SLOPES)
    assert len(seen) > len(SLOPES)
    assert "for one SD of" in " ".join(alliance("summary", run_folder, "--per-sd").stdout.split())


def test_priors_are_printed_on_the_outcomes_scale(run_folder: Path, trial_files: Path) -> None:
    rows = csv_rows(alliance("summary", run_folder, "--priors", "--format", "csv").stdout)
    prior = {(row["quantity"], row["level"]): row for row in rows}
    alliance_sd, outcome_sd = analysed_patients(trial_files, "vas_8w", "vas_0").std(0, ddof=1)
    slope = prior["moderator_slope", "average"]
    # Scales of the documented defaults: 0.3 for the slope, 0.5 for an arm, 1 for the residual SD.
    assert slope["distribution"] == "normal"
    assert float(slope["location"]) == 0
    assert float(slope["scale"]) == pytest.approx(0.3 * outcome_sd / alliance_sd)
    contrast = prior["arm_contrast", "SMT-GE"]
    assert float(contrast["scale"]) == pytest.approx(0.5 * np.sqrt(2) * outcome_sd)
    residual = prior["residual_sd", ""]
    assert residual["distribution"] == "half-normal"
    assert float(residual["scale"]) == pytest.approx(outcome_sd)
