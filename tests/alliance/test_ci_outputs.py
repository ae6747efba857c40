"""What continuous integration stands on: `reproduce`'s exit codes, diagnose's JSON and JUnit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from command_line import alliance, csv_rows, printed_columns
from made_draws import PATIENT_ID, NoSampler, named_patients, small_trial

from alliance.cli import screen
from alliance.data_prep.simulator.simulation import simulate_trial
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.run_folder import save_fit

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "checks-in-ci.md"
# The keys of every record of `alliance diagnose --format json`, and what they may hold: machines
# rely on it, and docs/checks-in-ci.md promises it.
SCHEMA: dict[str, tuple[type, ...]] = {
    "outcome": (str,),
    "check": (str,),
    "verdict": (str,),
    "value": (float, type(None)),
    "review": (float, type(None)),
    "fail": (float, type(None)),
    "worst": (str,),
    "message": (str,),
    "recommendation": (str,),
    "about": (str,),
}
ALWAYS = {
    "completeness",
    "variation",
    "r_hat",
    "ess_bulk",
    "ess_tail",
    "mcse",
    "divergences",
    "tree_depth",
    "ebfmi",
}


@pytest.fixture
def run(made_fit: Fit, tmp_path: Path) -> Path:
    """A run with made-up draws, that fails the gate."""
    save_fit(made_fit, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def sampler(monkeypatch: pytest.MonkeyPatch) -> NoSampler:
    return NoSampler().install(monkeypatch)


def data_file(folder: Path, *, rows: int = 90) -> Path:
    made = simulate_trial(seed=4, patients=90, therapists=5)
    path = folder / "trial.csv"
    named_patients(made.frame, small_trial().study).iloc[:rows].to_csv(path, index=False)
    return path


class TestJson:
    def test_every_record_has_these_keys_and_types(self, run: Path) -> None:
        answer = alliance("diagnose", run, "--format", "json")
        assert answer.code == 3  # made-up draws do not pass
        records = json.loads(answer.stdout, parse_constant=pytest.fail)
        for record in records:
            assert list(record) == printed_columns(SCHEMA)  # data only where they are simulated
            for name, kinds in SCHEMA.items():
                assert type(record[name]) in kinds, (name, record)
            assert record["verdict"] in ("PASS", "REVIEW", "FAIL")
            assert record["data"] == "SIMULATED"
            assert bool(record["recommendation"]) == (record["verdict"] != "PASS")

    def test_every_outcome_has_the_checks_of_the_draws(self, run: Path, made_fit: Fit) -> None:
        records = json.loads(alliance("diagnose", run, "--format", "json").stdout)
        for outcome in made_fit.outcomes:
            found = [each["check"] for each in records if each["outcome"] == outcome]
            assert set(found) >= ALWAYS
            assert len(found) == len(set(found))

    def test_the_document_promises_what_is_printed(self) -> None:
        text = DOCUMENT.read_text(encoding="utf-8")
        schema = json.loads(re.search(r"```json\n(\{\n  \"\$schema\".*?)```", text, re.S)[1])
        properties = schema["items"]["properties"]
        names = {"string": str, "number": float, "null": type(None)}
        promised = {
            name: tuple(names[kind] for kind in ([t] if isinstance(t, str) else t))
            for name, each in properties.items()
            if (t := each.get("type", "string"))
        }
        assert promised == {**SCHEMA, "outcome_label": (str,), "data": (str,)}
        assert schema["items"]["required"] == list(SCHEMA)
        assert properties["verdict"]["enum"] == ["PASS", "REVIEW", "FAIL"]

    def test_infinite_numbers_are_null(self, capsys: pytest.CaptureFixture[str]) -> None:
        table = pd.DataFrame({"value": [float("inf"), -float("inf"), float("nan"), 1.5]})
        screen.frame(table, "json")
        printed = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
        assert [each["value"] for each in printed] == [None, None, None, 1.5]


class TestJUnit:
    def test_the_file_agrees_with_the_json(self, run: Path, tmp_path: Path) -> None:
        path = tmp_path / "gate.xml"
        answer = alliance("diagnose", run, "--format", "json", "--junit", path)
        assert answer.code == 3
        assert f"Written: {path}" in answer.stderr
        records = json.loads(answer.stdout)
        root = ET.parse(path).getroot()
        verdicts = [each["verdict"] for each in records]
        assert int(root.get("tests")) == len(records)
        assert int(root.get("failures")) == verdicts.count("FAIL") > 0
        assert int(root.get("skipped")) == verdicts.count("REVIEW")
        names = [(case.get("classname"), case.get("name")) for case in root.iter("testcase")]
        assert names == [(f"alliance.{each['outcome']}", each["check"]) for each in records]
        assert PATIENT_ID not in path.read_text(encoding="utf-8")

    def test_a_place_that_cannot_be_written_to_is_exit_2(self, run: Path, tmp_path: Path) -> None:
        answer = alliance("diagnose", run, "--junit", tmp_path / "missing" / "gate.xml")
        assert answer.code == 2
        assert "name another place." in answer.said


class TestReproduce:
    def test_identical_draws_are_exit_0(self, run: Path, sampler: NoSampler) -> None:
        answer = alliance("reproduce", run)
        assert answer.code == 0
        assert answer.stdout.count("identical") == 2
        assert "Reproduced: every draw of every parameter is identical." in answer.said

    def test_so_are_those_from_the_data(
        self, run: Path, sampler: NoSampler, tmp_path: Path
    ) -> None:
        data = data_file(tmp_path)
        assert alliance("reproduce", run, data).code == 0
        assert alliance("reproduce", run, "--data", data).code == 0

    def test_another_seed_is_exit_3_and_said(self, run: Path, sampler: NoSampler) -> None:
        answer = alliance("reproduce", run, "--seed", 4)
        assert answer.code == 3
        assert "The seed is 4; the run's is 3." in answer.said
        assert "Not reproduced: the draws differ." in answer.said
        assert answer.stdout.count("different") == 2

    def test_other_data_are_exit_3_and_said(
        self, run: Path, sampler: NoSampler, tmp_path: Path
    ) -> None:
        answer = alliance("reproduce", run, data_file(tmp_path, rows=80))
        assert answer.code == 3
        assert "trial.csv is not the data that were fitted" in answer.said

    def test_within_some_monte_carlo_errors_other_draws_are_fine(
        self, run: Path, sampler: NoSampler
    ) -> None:
        rows = csv_rows(alliance("reproduce", run, "--seed", 4, "--format", "csv").stdout)
        furthest = max(float(row["in_mcse"]) for row in rows)
        assert furthest > 0
        near = alliance("reproduce", run, "--seed", 4, "--within", 1.01 * furthest)
        assert near.code == 0
        assert "the draws differ, and no quantity is further apart" in near.said
        assert alliance("reproduce", run, "--seed", 4, "--within", 0.99 * furthest).code == 3

    def test_strictly_a_changed_table_data_file_or_study_is_exit_3(
        self, run: Path, sampler: NoSampler, tmp_path: Path
    ) -> None:
        assert alliance("reproduce", run, "--strict").code == 0
        data = data_file(tmp_path)  # the same patients in a file with other bytes
        assert alliance("reproduce", run, data).code == 0
        answer = alliance("reproduce", run, data, "--strict")
        assert answer.code == 3
        assert "Not reproduced, strictly" in answer.said
        with (run / "summary.csv").open("a", encoding="utf-8") as table:
            table.write("\n")
        assert alliance("reproduce", run).code == 0
        answer = alliance("reproduce", run, "--strict", "--within", 4)
        assert answer.code == 3
        assert "summary.csv in the run folder is no longer the file that was written" in answer.said

    def test_machines_get_every_quantity(self, run: Path, sampler: NoSampler) -> None:
        answer = alliance("reproduce", run, "--seed", 4, "--format", "csv")
        rows = csv_rows(answer.stdout)
        assert {"outcome", "quantity", "level", "identical", "in_mcse", "in_sd"} <= set(rows[0])
        assert len(rows) > 20
        assert {row["identical"] for row in rows} == {"False"}
        assert answer.code == 3

    def test_wrong_input_is_exit_2(self, run: Path, sampler: NoSampler, tmp_path: Path) -> None:
        assert alliance("reproduce", tmp_path / "nothing").code == 2
        assert alliance("reproduce", run, tmp_path / "missing.csv").code == 2
        other = tmp_path / "other.csv"
        other.write_text("patient,arm\n1,GE\n", encoding="utf-8")
        answer = alliance("reproduce", run, other)
        assert answer.code == 2
        assert "wai_total" in answer.said or "therapist" in answer.said
        assert alliance("reproduce", run, other, "--data", other).code == 2
        (run / "gpe.nc").write_bytes(b"spoiled")
        damaged = alliance("reproduce", run)
        assert damaged.code == 2
        assert "is damaged" in damaged.said


class TestMarkdown:
    def test_tables_and_sentences_are_set_for_a_summary(self, run: Path) -> None:
        answer = alliance("diagnose", run, "--format", "markdown")
        assert answer.code == 3
        lines = answer.stdout.splitlines()
        assert lines[0].startswith("SIMULATED DATA. ")
        assert sum(line.startswith("|:--") for line in lines) == 2  # a table for each outcome
        widths = {line.count("|") - line.count("\\|") for line in lines if line.startswith("|")}
        assert len(widths) == 1
        assert "┃" not in answer.stdout
        # Marks of Markdown are shown as they are
        assert "`" not in answer.stdout.replace("\\`", "")
        table = alliance("diagnose", run).stdout
        assert "┃" in table  # the next command is not set in Markdown

    def test_problems_of_data_are_annotated_with_file_and_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = data_file(tmp_path)
        text = data.read_text(encoding="utf-8").replace("MCE", "M%E", 1)
        data.write_text(text, encoding="utf-8")
        row = 1 + next(k for k, line in enumerate(text.splitlines()) if "M%E" in line)
        plain = alliance("check", "ferreira2013", data)
        assert "::error" not in plain.said
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        told = alliance("check", "ferreira2013", data)
        assert told.code == 2
        [line] = [line for line in told.stderr.splitlines() if line.startswith("::error")]
        assert line.startswith(f"::error file={data.name},line={row}::")
