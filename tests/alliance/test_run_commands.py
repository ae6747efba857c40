"""What the commands that need draws do: runs written, judged, compared, narrowed and replaced."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from command_line import Answer, alliance, contents, csv_rows, printed_columns, tables_in
from made_draws import NoSampler

from alliance.inference.runs import fitting as fitting_module

pytestmark = pytest.mark.mcmc

OVERVIEW = (
    *(
        "outcome",
        "analysed",
        "gate",
        "draws",
        "reviews",
        "r_hat",
        "ess_bulk",
        "ess_tail",
        "divergences",
    ),
    *("seconds_sampling", "seconds_compilation"),
)
OUTCOMES = ("function", "gpe", "pain", "disability")
DATE = rb"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d\+00:00)?"
TABLES = {"summary.csv", "flow.csv", "gate.csv"}
GATE_FAILED = 3
REPORT = "report.html"
KEPT = {"manifest.json", "study.toml", "published.toml"}


def stuck(tree: xr.DataTree) -> xr.DataTree:
    """The tree with the second chain's residual SD at one value, as a chain that never moves."""
    posterior = tree["posterior"].to_dataset()
    values = posterior["residual_sd"].values.copy()
    values[1] = values[1, 0]
    posterior["residual_sd"] = (posterior["residual_sd"].dims, values)
    changed = tree.copy()
    changed["posterior"] = xr.DataTree(posterior)
    return changed


@pytest.mark.parametrize("table_format", ["csv", "json"])
def test_fit_prints_data_on_stdout_and_messages_on_stderr(
    table_format: str, trial_files: Path, tmp_path: Path
) -> None:
    run = tmp_path / "new" / "run"
    options = ("--out", run, "--profile", "ci", "--outcome", "gpe", "--format", table_format)
    answer = alliance("fit", "ferreira2013", trial_files, *options)
    assert answer.code == 0, answer.stderr
    printed = csv_rows(answer.stdout) if table_format == "csv" else json.loads(answer.stdout)
    assert [list(row) for row in printed] == [printed_columns(OVERVIEW)]
    # Draws that may be used, and a Gaussian that expects scores beyond 5, where the scale ends.
    assert (printed[0]["outcome"], printed[0]["draws"], printed[0]["gate"]) == (
        *("gpe", "PASS", "REVIEW"),
    )
    assert "predictive_range" in printed[0]["reviews"].split("; ")
    assert "58 of 240 rows without alliance" in answer.said
    assert f"Written: {run}" in answer.said
    assert [path.name for path in run.parent.iterdir()] == ["run"]  # nothing hidden beside it


def test_a_run_folder_holds_what_was_promised(demo: tuple[Path, Answer]) -> None:
    run = demo[0] / "run"
    assert contents(run).keys() == {f"{outcome}.nc" for outcome in OUTCOMES} | TABLES | KEPT | {
        REPORT
    }
    printed = alliance("summary", run, "--format", "csv").stdout
    labels = {"outcome_label", "level_label"}  # a run's own tables stand beside its study file
    told = [{k: v for k, v in row.items() if k not in labels} for row in csv_rows(printed)]
    assert csv_rows((run / "summary.csv").read_text()) == told
    assert list(dict.fromkeys(row["outcome"] for row in csv_rows(printed))) == list(OUTCOMES)
    for name in TABLES:
        assert {row["data"] for row in csv_rows((run / name).read_text())} == {"SIMULATED"}


def test_every_published_finding_has_a_verdict(demo: tuple[Path, Answer]) -> None:
    rows = csv_rows(alliance("compare", demo[0] / "run", "--format", "csv").stdout)
    findings = [row for row in rows if row["claim"]]
    # 16 statements of 2013 and 4 numbers of the parent trial (published-facts.md).
    assert sorted(row["claim"] == "number" for row in findings) == [False] * 16 + [True] * 4
    assert all(row["verdict"] and row["explanation"] and row["source"] for row in findings)
    assert not any(row["verdict"] for row in rows if not row["claim"])


def test_a_run_without_published_findings_is_compared_with_the_refits_alone(
    run_folder: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(run_folder, tmp_path / "run")
    (run / "published.toml").unlink()
    answer = alliance("compare", run, "--accept-changed", "--format", "csv")
    assert answer.code == 0
    assert "No published.toml is kept with this run" in answer.said
    assert "published.toml in the run folder is no longer the file" in answer.said
    rows = csv_rows(answer.stdout)
    assert {row["verdict"] for row in rows} == {""}
    assert all(row["ols_estimate"] for row in rows if row["quantity"] == "arm_contrast")


def test_what_does_not_match_is_said(run_folder: Path, trial_files: Path, tmp_path: Path) -> None:
    kept = run_folder / "study.toml"
    same = alliance("diagnose", run_folder, "--study", kept, "--data", trial_files)
    assert (same.code, same.stderr) == (0, "")
    other = tmp_path / "other.csv"
    other.write_text(trial_files.read_text() + "\n")
    study = tmp_path / "study.toml"
    study.write_text(kept.read_text().replace("reliability = 0.77\n", ""))
    answer = alliance("diagnose", run_folder, "--study", study, "--data", other)
    assert answer.code == 0
    assert "The study given differs from the one fitted in: moderator." in answer.said
    assert "other.csv is not the data that were fitted (trial.csv)" in answer.said


def test_narrowing_reaches_the_manifest_and_the_tables(
    trial_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    NoSampler().install(monkeypatch)  # the draws do not matter here
    run = tmp_path / "run"
    options = ("--outcome", "pain", "--outcome", "gpe", "--therapist", "none", "--no-interaction")
    answer = alliance(
        "fit", "ferreira2013", trial_files, "--out", run, "--profile", "ci", "--seed", "9", *options
    )
    assert answer.code in (0, GATE_FAILED), answer.stderr
    manifest = json.loads((run / "manifest.json").read_text())
    specifications = manifest["specifications"]
    assert list(specifications) == ["gpe", "pain"]
    assert {s["therapist"] for s in specifications.values()} == {"none"}
    assert {s["interaction"] for s in specifications.values()} == {False}
    assert (manifest["seed"], manifest["profile"]["name"]) == (9, "ci")
    quantities = {
        row["quantity"] for row in csv_rows(alliance("summary", run, "--format", "csv").stdout)
    }
    absent = {"interaction", "therapist_sd", "therapist_slope_sd", "therapist_icc"}
    assert not quantities & absent
    assert {"moderator_slope", "arm_contrast", "residual_sd"} <= quantities
    # The published findings on outcomes that were left out are no faults of the file.
    compared = alliance("compare", run, "--format", "csv")
    assert compared.code == 0, compared.stderr
    claimed = {row["outcome"] for row in csv_rows(compared.stdout) if row["claim"]}
    assert claimed == {"gpe", "pain"}


def test_diagnose_refuses_a_stuck_chain(run_folder: Path, tmp_path: Path) -> None:
    run = shutil.copytree(run_folder, tmp_path / "run")
    tree = stuck(xr.load_datatree(run / "pain.nc", engine="h5netcdf"))
    tree.to_netcdf(run / "pain.nc", engine="h5netcdf")
    answer = alliance("diagnose", run, "--accept-changed", "--format", "csv")
    assert answer.code == GATE_FAILED
    assert "The diagnostics gate failed" in answer.said
    assert "pain.nc in the run folder is no longer the file that was written" in answer.said
    rows = csv_rows(answer.stdout)
    failed = [row for row in rows if row["verdict"] == "FAIL"]
    assert {row["outcome"] for row in failed} == {"pain"}
    variation = next(row for row in failed if row["check"] == "variation")
    assert "residual_sd" in variation["worst"]
    assert "chain 1" in variation["worst"]
    assert "residual_sd" in variation["message"]
    assert variation["recommendation"]
    shown = alliance("diagnose", run, "--accept-changed")
    assert shown.code == GATE_FAILED
    assert re.search(r"variation\s+│ FAIL", shown.stdout)
    assert "residual_sd" in shown.stdout


@pytest.mark.parametrize("damage", ["stuck", "not finite"])
def test_a_failed_gate_still_writes_everything(
    damage: str, trial_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = fitting_module.fit_outcome

    def damaged(*arguments: Any, **options: Any) -> Any:
        tree, *others = sample(*arguments, **options)
        tree = stuck(tree)
        if damage == "not finite":
            tree["posterior"]["residual_sd"].values[1, -5:] = np.nan
        return tree, *others

    monkeypatch.setattr(fitting_module, "fit_outcome", damaged)
    run = tmp_path / "run"
    options = ("--out", run, "--profile", "ci", "--outcome", "function")
    answer = alliance("fit", "ferreira2013", trial_files, *options)
    assert answer.code == GATE_FAILED, answer.stderr
    assert "The diagnostics gate failed: do not use these draws" in answer.said
    assert f"Written: {run}" in answer.said
    assert "FAIL" in answer.stdout
    assert contents(run).keys() == {"function.nc"} | TABLES | KEPT
    assert "FAIL" in {row["verdict"] for row in csv_rows((run / "gate.csv").read_text())}
    assert alliance("diagnose", run).code == GATE_FAILED


def test_the_demo_goes_the_whole_way(demo: tuple[Path, Answer]) -> None:
    out, answer = demo
    assert answer.code == 0, answer.stderr
    # Summary and comparison of each outcome, and the gate; then what the parent trial printed.
    simulated, _, printed = answer.stdout.partition("PUBLISHED, NOT SIMULATED")
    assert tables_in(simulated) == simulated.count("SIMULATED DATA") == 2 * 4 + 1
    assert tables_in(printed) == 2
    assert "SIMULATED" not in printed
    for words in ("function: Patient-Specific Functional Scale", "undetermined", "PASS"):
        assert words in answer.stdout
    assert f"The run is in {Path(out.name) / 'run'}" in answer.said


def test_the_demo_goes_twice_and_ends_the_same(demo: tuple[Path, Answer], tmp_path: Path) -> None:
    out = shutil.copytree(demo[0], tmp_path / "demo")
    before = contents(out)
    again = alliance("demo", "--out", out, "--profile", "ci", "--format", "json")
    assert again.code == 0, again.stderr
    rows = json.loads(again.stdout)
    assert {row["data"] for row in rows} == {"SIMULATED"}
    assert len(rows) == len(csv_rows(before["run/summary.csv"].decode()))
    after = contents(out)
    assert after.keys() == before.keys()
    # Times and dates differ, and nothing that was computed.
    for told in (before, after):
        told[f"run/{REPORT}"] = re.sub(DATE, b"", told[f"run/{REPORT}"])
    unlike = {name for name in before if before[name] != after[name]}
    assert unlike <= {"run/manifest.json", *(f"run/{outcome}.nc" for outcome in OUTCOMES)}


def test_a_run_is_replaced_when_told_to(
    run_folder: Path, trial_files: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(run_folder, tmp_path / "run")
    options = ("--out", run, "--profile", "ci", "--outcome", "gpe", "--overwrite", "--seed", "8")
    answer = alliance("fit", "ferreira2013", trial_files, *options)
    assert answer.code == 0, answer.stderr
    assert not (run / "pain.nc").exists()
    assert json.loads((run / "manifest.json").read_text())["seed"] == 8
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_fit_alone_has_the_draws_it_has_in_company(
    demo: tuple[Path, Answer], run_folder: Path
) -> None:
    company = csv_rows((demo[0] / "run" / "summary.csv").read_text())
    alone = csv_rows((run_folder / "summary.csv").read_text())
    assert alone
    assert alone == [row for row in company if row["outcome"] == "pain"]


def test_cores_change_no_draw(run_folder: Path, trial_files: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    study = trial_files.parent / "study.toml"
    options = ("--out", run, "--profile", "ci", "--outcome", "pain", "--cores", "1")
    assert alliance("fit", study, trial_files, *options).code == 0
    assert (run / "summary.csv").read_bytes() == (run_folder / "summary.csv").read_bytes()
