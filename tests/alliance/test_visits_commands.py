"""Outcomes over time on the command line: what is answered and what is refused, by which code."""

from __future__ import annotations

import io
from pathlib import Path

import docx
import pytest
from command_line import alliance, csv_rows
from docx.oxml.ns import qn
from explorer_queries import NODE, Query, differences, printed, run_scripts
from visit_trials import LONG, WIDE, patients, rows_of_visits

import alliance as al
from alliance.diagnostics.explorer.contents import contents
from alliance.diagnostics.report import word
from alliance.diagnostics.report.contents import write_section
from alliance.diagnostics.report.kit import for_word
from alliance.diagnostics.report.material import Material

PLANNED = ("--patients", "80", "--therapists", "8", "--interaction", "0.2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fitted run beside its study and both tables."""
    folder = tmp_path_factory.mktemp("visits")
    (folder / "wide.toml").write_text(WIDE, encoding="utf-8")
    (folder / "long.toml").write_text(LONG, encoding="utf-8")
    patients(80).to_csv(folder / "wide.csv", index=False)
    rows_of_visits(patients(80)).to_csv(folder / "long.csv", index=False)
    answer = alliance(
        "fit",
        folder / "long.toml",
        folder / "long.csv",
        "--out",
        folder / "run",
        "--profile",
        "ci",
        "--engine",
        "instant",
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


def test_a_report_speaks_of_the_visit_that_is_asked_about(folder: Path) -> None:
    """Answers, comparison and predictions; results and courses have all visits."""
    material = Material(al.load(folder / "run").fit, visit="last")
    assert material.shown == ("pain_m12",)
    assert set(material.comparison["outcome"]) == {"pain_m12"}
    assert list(material.predictions) == ["pain_m12"]
    asked, whole, beside = (
        str(write_section(material, name)) for name in ("question", "results", "comparison")
    )
    assert "are of the visit m12" in asked
    assert "Pain, w8" not in asked.partition("The trial")[0]
    assert "Pain, w8" in whole
    assert "Course over time" in whole
    assert "Pain, w8" not in beside
    refused = alliance("report", folder / "run", "--visit", "w9")
    assert refused.code == 2
    assert "No outcome has a visit 'w9'" in refused.stderr


def test_a_comparison_of_one_visit_is_drawn(folder: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "one.png"
    answer = alliance("compare", folder / "run", "--visit", "w8", "--figure", drawn)
    assert answer.code == 0, answer.stderr
    assert drawn.stat().st_size > 10_000


@pytest.mark.skipif(NODE is None, reason="node, which runs the page's scripts, is absent")
def test_an_explorer_answers_for_every_visit(folder: Path, tmp_path: Path) -> None:
    fit = al.load(folder / "run").fit
    asked = [Query(f"pain_{visit}", 6.5, "new", by=2.0) for visit in ("w8", "m6", "m12")]
    told = run_scripts(tmp_path, contents(fit), [query.state(fit) for query in asked])
    for query, page in zip(asked, told, strict=True):
        assert differences(page, printed(fit, query)) == []


def test_the_paper_kit_has_the_course_and_every_visit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `report --word` writes it, without a supplement, which takes longest."""
    monkeypatch.setattr(word, "DPI", 30)  # drawn coarsely, which takes less time
    material = Material(al.load(folder / "run").fit)
    built = [write_section(material, name) for name in ("question", "results", "limitations")]
    content = word.word_document("Pain over time", for_word(material, built), simulated=False)
    document = docx.Document(io.BytesIO(content))
    results = next(t for t in document.tables if t.rows[0].cells[0].text == "Outcome")
    outcomes = {row.cells[0].text for row in results.rows[1:]} - {""}
    assert {"Pain, w8", "Pain, m6", "Pain, m12", "Pain, average", "Pain, last-first"} <= outcomes
    first = next(t for t in document.tables if t.rows[0].cells[0].text == "Characteristic")
    told = [row.cells[0].text for row in first.rows]
    assert told.count("Pain before treatment, mean (SD)") == 1  # one baseline of three visits
    captions = [p.text for p in document.paragraphs if p.style.name == "Caption"]
    assert any("Course over time" in text for text in captions)
    described = [node.get("descr") for node in document.element.body.iter(qn("wp:docPr"))]
    assert any("B minus A at w8" in text or "at w8:" in text for text in described)
    methods = "\n".join(p.text for p in document.paragraphs)
    assert "Not available" not in methods.partition("Supplement")[0]


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
    shifted = " ".join(alliance("missing", folder / "run", "--delta", "B=-4").stdout.split())
    assert "-4 is added to unseen scores of Exercise." in shifted
    refused = alliance("missing", folder / "run", "--delta", "B=much")
    assert refused.code == 2


def test_patients_are_left_out_with_all_visits(folder: Path) -> None:
    (row,) = csv_rows(alliance("loo", folder / "run", "--format", "csv").stdout)
    assert (row["outcome"], row["units"]) == ("pain", "80")


def test_therapists_are_left_out_with_all_patients_and_visits(folder: Path) -> None:
    (row,) = csv_rows(
        alliance("loo", folder / "run", "--by", "therapist", "--format", "csv").stdout
    )
    assert (row["outcome"], row["by"], row["units"]) == ("pain", "therapist", "4")


def test_what_the_results_hang_on(folder: Path) -> None:
    """Single persons, who shift each visit, and other priors: a table for each visit."""
    asked = ("sensitivity", folder / "run", "--kind")
    shown = alliance(*asked, "influence", width=100)
    assert shown.code == 0, shown.stderr
    rows = csv_rows(alliance(*asked, "influence", "--format", "csv").stdout)
    assert {(row["outcome"], row["by"]) for row in rows} == {
        (f"pain_{visit}", by) for visit in ("w8", "m6", "m12") for by in ("patient", "therapist")
    }
    refits = csv_rows(alliance(*asked, "refits", "--outcome", "pain_m12", "--format", "csv").stdout)
    assert {(row["outcome"], row["prior"], row["factor"]) for row in refits} == {
        ("pain_m12", "all", "0.5"),
        ("pain_m12", "all", "2.0"),
    }
    scaled = csv_rows(alliance("sensitivity", folder / "run", "--format", "csv").stdout)
    assert {row["outcome"] for row in scaled} == {f"pain_{visit}" for visit in ("w8", "m6", "m12")}
    by_prior = {row["quantity"]: row["strongest_prior"] for row in scaled}
    assert by_prior["therapist_slope_sd"] == "therapist_slope_sd"
    spreads = [float(row["sd_ratio"]) for row in refits if row["quantity"] == "therapist_slope_sd"]
    assert spreads[0] < spreads[1]  # its prior rules it with four therapists


@pytest.mark.mcmc  # nine fits, in worker processes
def test_a_multiverse_has_every_visit(folder: Path) -> None:
    asked = ("multiverse", folder / "wide.toml", folder / "wide.csv", "--vary", "therapist")
    kept = ("--store", folder / "store.sqlite", "--format", "csv")
    answer = alliance(*asked, *kept, "--profile", "ci")
    assert answer.code == 0, answer.stderr
    rows = csv_rows(answer.stdout)
    assert {row["outcome"] for row in rows} == {f"pain_{visit}" for visit in ("w8", "m6", "m12")}
    assert {row["therapist"] for row in rows} == {"none", "intercept", "intercept+slope"}
    assert {row["analysed"] for row in rows} == {"80"}
    assert len({row["at"] for row in rows if row["quantity"] == "arm_contrast"}) == 1


def test_reml_is_compared_at_a_visit_by_either_standard_error(folder: Path) -> None:
    asked = ("compare", folder / "run", "--visit", "m12", "--format", "csv")
    plain, adjusted = (
        csv_rows(alliance(*asked, *more).stdout) for more in ((), ("--df", "kenward-roger"))
    )
    for one, other in zip(plain, adjusted, strict=True):
        assert one["outcome"] == other["outcome"] == "pain_m12"
        assert one["reml_estimate"] == other["reml_estimate"]
        if one["quantity"] == "arm_contrast":
            assert float(one["reml_se"]) < float(other["reml_se"])
    told = alliance(*asked[:-2], "--df", "kenward-roger", width=100).stdout
    assert "Kenward and Roger's standard errors" in " ".join(told.split())


def test_runs_are_compared_by_patients_with_all_visits(folder: Path) -> None:
    """The difference of two runs is that of what each says alone, patient by patient."""
    other = folder / "without"
    fitted = alliance(
        *("fit", folder / "wide.toml", folder / "wide.csv", "--out", other),
        *("--engine", "instant", "--profile", "ci", "--therapist", "none"),
    )
    assert fitted.code in (0, 3), fitted.stderr
    asked = ("loo", folder / "run", other, "--format", "csv")
    alone = [
        sum(float(r["elpd"]) for r in csv_rows(alliance(*one, "--pointwise", *asked[3:]).stdout))
        for one in (("loo", folder / "run"), ("loo", other))
    ]
    rows = {row["fit"]: row for row in csv_rows(alliance(*asked).stdout)}
    assert {row["outcome"] for row in rows.values()} == {"pain"}
    for name, elpd in zip((str(folder / "run"), str(other)), alone, strict=True):
        (own,) = [row for fit, row in rows.items() if name.endswith(fit)]
        assert float(own["elpd"]) == pytest.approx(elpd, abs=1e-6)
    by = csv_rows(alliance(*asked, "--by", "therapist").stdout)
    assert {row["by"] for row in by} == {"therapist"}
    refused = alliance(*asked[:3], "--figure", folder / "loo.png")
    assert refused.code == 2
    assert "no figure of outcomes over time" in refused.stderr


def test_a_trial_of_visits_is_planned(folder: Path) -> None:
    asked = ("assurance", folder / "wide.toml", *PLANNED, "--store", folder / "planned.sqlite")
    answer = alliance(*asked, "--trials", "2", "--leaving", "0.1,0.25", "--visit", "m6", width=200)
    assert answer.code == 0, answer.stderr
    told = " ".join(answer.stdout.split())
    assert "on pain_m6" in told
    assert "10%, 25% of the patients gone by each visit after the first" in told
    refused = alliance(*asked, "--leaving", "0.1,0.2,0.3")
    assert refused.code == 2
    assert "Give 2 as --leaving" in " ".join(refused.stderr.split())


def test_long_data_without_visits_name_the_column_and_the_line(folder: Path) -> None:
    text = LONG.replace(LONG[LONG.index("[visits]") : LONG.index("[outcomes")], "")
    (folder / "plain.toml").write_text(text, encoding="utf-8")
    answer = alliance("check", folder / "plain.toml", folder / "long.csv", width=200)
    told = " ".join((answer.stdout + answer.stderr).split())
    assert answer.code == 2
    assert 'column = "visit"' in told
    assert "keep one row" not in told
