"""`alliance paper`: what a person sees, what a machine reads, and how faults leave it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from command_line import alliance

import alliance as al

FINDING = """
[[finding]]
outcome = "pain"
quantity = "arm_contrast"
level = "B-A"
claim = "number"
known_by = "assumed"
source = "made for this test"
"""


def test_the_real_numbers_of_2007_are_marked_as_published() -> None:
    answer = alliance("paper", "ferreira2013")
    assert answer.code == 0
    assert "SIMULATED DATA" not in answer.stdout
    assert "Published numbers, not simulated" in answer.stdout
    assert "2.90 (0.95 to 4.85)" in answer.stdout  # 2.9 (0.9, 4.8), symmetric about 2.9


def test_a_machine_reads_one_table_and_a_notebook_the_same() -> None:
    answer = alliance("paper", "headache", "--threshold", "3", "--format", "json")
    records = json.loads(answer.stdout)
    kinds = {record["about"] for record in records}
    assert kinds == {"consistency", "posterior", "credibility", "therapists"}
    table = al.paper("headache", threshold=3).table
    assert len(table) == len(records)
    own = [record for record in records if record["about"] == "posterior"]
    assert own[0]["prob_threshold"] == pytest.approx(
        table.loc[table["about"] == "posterior", "prob_threshold"].iloc[0]
    )


def test_one_outcome_keeps_the_places_of_its_findings() -> None:
    table = al.paper("ferreira2013", outcome="gpe", threshold=1).table
    assert set(table["outcome"]) == {"gpe"}
    assert set(table["finding"].dropna()) == {19, 20}
    answer = alliance("paper", "ferreira2013", "--outcome", "gp")
    assert answer.code == 2
    assert "no finding on an outcome 'gp'" in answer.said


def test_no_column_that_answers_is_lost_on_a_narrow_screen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    told = alliance("paper", "headache").stdout
    for name in ("Arithmetic", "P(benefit)", "Reading", "Tipping share"):
        assert name in told


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    place = tmp_path / "paper.svg"
    assert alliance("paper", "ferreira2013", "--figure", place).code == 0
    assert place.stat().st_size > 1000


@pytest.mark.parametrize(
    ("entry", "options", "said"),
    [
        ("estimate = 1.0\nlower = 2.0\nupper = 0.5", (), "upside down"),
        ("estimate = 1.0\nse = 0.0", (), "greater than 0"),
        ("estimate = 1.0\nse = 0.5", ("--therapists", "6"), "has no n"),
        ("estimate = 1.0\nse = 0.5", ("--threshold", "-1"), "is none"),
        ("estimate = 1.0\nse = 0.5", ("--share", "1.5"), "no share of variance"),
        ("estimate = 1.0\nse = 0.5", ("--interval", "2"), "between 0 and 1"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    entry: str, options: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "published.toml"
    path.write_text(FINDING + entry, encoding="utf-8")
    answer = alliance("paper", path, *options)
    assert answer.code == 2
    assert said in answer.said
    assert "Traceback" not in answer.stderr


def test_the_answer_waits_for_nothing_that_it_does_not_need() -> None:
    """Imports are most of its time: 0.5 s of a processor's, and 2 s more with these."""
    heavy = ("arviz_stats", "xarray", "scipy.stats", "scipy.optimize", "pandera", "pymc", "numba")
    script = (
        "import sys; from alliance.cli.app import main; sys.argv = ['alliance', 'paper', "
        "'headache', '--format', 'json']\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', [name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("LOADED []\n")


def test_there_is_no_such_paper() -> None:
    answer = alliance("paper", "ferreira2031")
    assert answer.code == 2
    assert "ferreira2013" in answer.said


def test_the_report_has_a_section_of_the_printed_numbers_which_are_not_simulated(
    tmp_path: Path,
) -> None:
    trial = al.simulate(patients=60, therapists=4, seed=4)
    trial.save(tmp_path / "trial.csv")
    study = al.study("ferreira2013")
    run = al.fit(trial, outcome="gpe", profile="ci", engine="instant", seed=1, progress=False)
    assert study.published is not None
    run.report(tmp_path / "report.html", published=study.published, tables=tmp_path / "tables")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "PUBLISHED, NOT SIMULATED" in page
    own = pd.read_csv(tmp_path / "tables" / "paper_posteriors.csv")
    assert "data" not in own  # the mark of simulated data
    assert own["mean"].iloc[0] == pytest.approx(1.7)
