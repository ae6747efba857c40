"""Outcomes over time on the command line: what is answered and what is refused, by which code."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import alliance, csv_rows
from explorer_queries import NODE, Query, differences, printed, run_scripts
from visit_trials import LONG, WIDE, patients, rows_of_visits

import alliance as al
from alliance.diagnostics.explorer.contents import contents

pytestmark = pytest.mark.mcmc


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fitted run beside its study and both tables."""
    folder = tmp_path_factory.mktemp("visits")
    (folder / "wide.toml").write_text(WIDE, encoding="utf-8")
    (folder / "long.toml").write_text(LONG, encoding="utf-8")
    patients(80).to_csv(folder / "wide.csv", index=False)
    rows_of_visits(patients(80)).to_csv(folder / "long.csv", index=False)
    answer = alliance(
        "fit", folder / "long.toml", folder / "long.csv", "--out", folder / "run", "--profile", "ci"
    )
    assert answer.code == 0, answer.stderr
    return folder


def test_the_summary_has_a_row_for_each_visit(folder: Path) -> None:
    rows = csv_rows(alliance("summary", folder / "run", "--format", "csv").stdout)
    contrasts = [row["visit"] for row in rows if row["quantity"] == "arm_contrast"]
    assert contrasts == ["w8", "m6", "m12", "average", "last-first", "area"]
    assert {row["outcome"] for row in rows} == {"pain"}
    assert {row["outcome_label"] for row in rows} == {"Pain"}


def test_answers_are_of_the_last_visit_or_the_one_that_is_named(folder: Path) -> None:
    asked = ("predict", folder / "run", "--alliance", "5", "--baseline", "50", "--format", "csv")
    last, first = (csv_rows(alliance(*asked, *visit).stdout) for visit in ((), ("--visit", "w8")))
    assert {row["outcome"] for row in last} == {"pain_m12"}
    assert {row["outcome"] for row in first} == {"pain_w8"}
    refused = alliance(*asked, "--visit", "w9")
    assert refused.code == 2
    assert "No outcome has a visit 'w9'" in refused.stderr


@pytest.mark.skipif(NODE is None, reason="node, which runs the page's scripts, is absent")
def test_an_explorer_answers_for_every_visit(folder: Path, tmp_path: Path) -> None:
    fit = al.load(folder / "run").fit
    asked = [Query(f"pain_{visit}", 6.5, "new", by=2.0) for visit in ("w8", "m6", "m12")]
    told = run_scripts(tmp_path, contents(fit), [query.state(fit) for query in asked])
    for query, page in zip(asked, told, strict=True):
        assert differences(page, printed(fit, query)) == []


def test_what_if_those_who_left_had_followed_another_arm(folder: Path) -> None:
    asked = ("missing", folder / "run", "--assume", "j2r", "--reference", "Usual care")
    answer = alliance(*asked, width=100)
    assert answer.code == 0, answer.stderr
    assert "jump to reference" in answer.stdout
    assert "no Bayesian reading" in " ".join(answer.stdout.split())
    rows = csv_rows(alliance(*asked, "--format", "csv").stdout)
    assert len(rows) == 9  # two arms and a contrast at three visits
    tipped = alliance("missing", folder / "run", "--tip", "--delta", "B=-40", width=100)
    assert "leaves a chance of 0.975" in " ".join(tipped.stdout.split())
    refused = alliance("missing", folder / "run", "--delta", "B=much")
    assert refused.code == 2


def test_patients_are_left_out_with_all_visits(folder: Path) -> None:
    (row,) = csv_rows(alliance("loo", folder / "run", "--format", "csv").stdout)
    assert (row["outcome"], row["units"]) == ("pain", "80")


@pytest.mark.parametrize(
    "asked",
    [
        ("sensitivity", "run"),
        ("loo", "run", "--by", "therapist"),
        ("multiverse", "wide.toml", "wide.csv"),
        ("calibrate", "wide.toml"),
        ("fit", "wide.toml", "wide.csv", "--out", "other", "--engine", "instant"),
    ],
)
def test_what_is_not_there_is_refused_in_words(folder: Path, asked: tuple[str, ...]) -> None:
    here = {"run", "wide.toml", "wide.csv"}
    placed = [folder / word if word in here else word for word in asked]
    answer = alliance(*placed)
    assert answer.code == 2
    assert "outcomes over time" in " ".join(answer.stderr.split())


def test_long_data_without_visits_name_the_column_and_the_line(folder: Path) -> None:
    text = LONG.replace(LONG[LONG.index("[visits]") : LONG.index("[outcomes")], "")
    (folder / "plain.toml").write_text(text, encoding="utf-8")
    answer = alliance("check", folder / "plain.toml", folder / "long.csv", width=200)
    told = " ".join((answer.stdout + answer.stderr).split())
    assert answer.code == 2
    assert 'column = "visit"' in told
    assert "keep one row" not in told
