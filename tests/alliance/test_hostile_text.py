"""Text of other people only shows: it steers no terminal, no page and no spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import docx
import html5lib
import pandas as pd
import pytest
from command_line import STUDY, Answer, alliance, small_trial, trial_text
from docx.oxml.ns import qn

from alliance.data_prep.errors import UNSEEN, InputError, visible
from alliance.data_prep.files import csv_text
from alliance.diagnostics.report import word
from alliance.diagnostics.report.exports import table_files
from alliance.diagnostics.sheet import Sheet

ESCAPE, TURNED, C1 = "\x1b[2J\x1b]0;owned\x07", "\u202eneddih\u202c", "\x9b31m"
HOSTILE = f"a{ESCAPE}b{TURNED}c{C1}"
SHOWN = r"a\x1b[2J\x1b]0;owned\x07b\u202eneddih\u202cc\x9b31m"
HEBREW = "\u05e9\u05dc\u05d5\u05dd"
FORMULAS = ("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1")
NUMBERS = ("-2.5", "+3", "-1e-5", "-.5", "1")


def quiet(answer: Answer) -> str:
    """What was printed, which steers nothing."""
    printed = answer.stdout + answer.stderr
    assert UNSEEN.findall(printed) == []
    return printed


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A trial whose title, labels, codes of therapists and levels of a covariate are hostile."""
    escaped = json.dumps(HOSTILE)  # TOML has the same escapes
    text = STUDY.replace('title = "A small trial"', f"title = {escaped}")
    text = text.replace('label = "Function"', f"label = {escaped}")
    text = f'covariates = ["site"]\n{text}'
    text = text.replace('GE = "General exercise"', f"GE = {escaped}")
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    rows = small_trial()
    for number, row in enumerate(rows):
        row["therapist"] = f"{row['therapist']}{HOSTILE}"
        row["site"] = f"{HOSTILE}{number % 2}"
    (tmp_path / "trial.csv").write_text(trial_text(rows), encoding="utf-8")
    return tmp_path


def test_tables_notes_and_errors(place: Path) -> None:
    inputs, run = (place / "study.toml", place / "trial.csv"), place / "run"
    options = ("--engine", "instant", "--profile", "ci", "--out", run)
    assert SHOWN[:20] in quiet(alliance("check", *inputs))
    fitted = alliance("fit", *inputs, *options)
    assert fitted.code in (0, 3), fitted.stderr
    quiet(fitted)
    for command in (("summary",), ("compare",), ("therapists",), ("diagnose",), ("predict",)):
        answer = alliance(*command, run)
        assert answer.code in (0, 3), answer.stderr
        assert r"\u202e" in quiet(answer)
    for form in ("csv", "json"):
        quiet(alliance("therapists", run, "--format", form))
    found = json.loads(alliance("therapists", run, "--format", "json").stdout)
    assert any(row["level"] == f"T1{HOSTILE}" for row in found)  # JSON loses nothing
    wrong = [{**row, "site": str(number % 2)} for number, row in enumerate(small_trial())]
    wrong[3]["arm"] = f"X{HOSTILE}"  # an arm may be named by its label
    (place / "trial.csv").write_text(trial_text(wrong), encoding="utf-8")
    told = alliance("check", *inputs, "--format", "csv")
    assert told.code == 2
    assert r"\x1b[2J" in quiet(told)


def test_the_report_its_tables_and_the_word_document(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Markup is text, controls are shown, and no word, however long, widens a table."""
    for name in ("DPI", "SUPPLEMENT_DPI"):
        monkeypatch.setattr(word, name, 30)  # drawn coarsely, which takes less time
    long = "Donau" * 24  # wider than a cell, and than a column of figures
    markup = '<w:p>&amp;</w:tbl><script>alert("x")</script>'
    text = (place / "study.toml").read_text(encoding="utf-8")
    for given, label in (
        ('MCE = "Motor control exercise"', f"MCE = {json.dumps(f'{markup} {HEBREW}')}"),
        ('SMT = "Manipulation"', f'SMT = "{long}"'),
        ('covariates = ["site"]', f'covariates = ["site"]\nlabels = {{ site = "{long}" }}'),
    ):
        assert given in text
        text = text.replace(given, label)
    (place / "study.toml").write_text(text, encoding="utf-8")
    inputs, run = (place / "study.toml", place / "trial.csv"), place / "run"
    fitted = alliance("fit", *inputs, "--engine", "instant", "--profile", "ci", "--out", run)
    assert fitted.code in (0, 3), fitted.stderr
    tables = place / "tables"
    answer = alliance("report", run, "--tables", tables, "--word", place / "paper.docx")
    assert answer.code in (0, 3), answer.stderr
    for path in (run / "report.html", *tables.iterdir()):
        assert UNSEEN.findall(path.read_text(encoding="utf-8")) == [], path.name
    html5lib.HTMLParser(strict=True).parse((run / "report.html").read_text(encoding="utf-8"))
    document = docx.Document(str(place / "paper.docx"))
    texts = [p.text for p in document.paragraphs]
    texts += [cell.text for table in document.tables for row in table.rows for cell in row.cells]
    described = [node.get("descr") for node in document.element.body.iter(qn("wp:docPr"))]
    assert len(described) > 4
    told = "\n".join([*texts, *described, document.core_properties.title])
    assert UNSEEN.findall(told.replace("\n", "").replace("\t", "")) == []
    for shown in (SHOWN, markup, long, HEBREW):
        assert shown in told
    room = min(p.page_width - p.left_margin - p.right_margin for p in document.sections)
    turned = max(p.page_width - p.left_margin - p.right_margin for p in document.sections)
    for table in document.tables:
        width = sum(column.width for column in table.columns)
        assert width <= turned * 1.001
    assert room < turned
    with zipfile.ZipFile(place / "paper.docx") as archive:
        for name in archive.namelist():
            if name.endswith((".xml", ".rels")):
                ElementTree.fromstring(archive.read(name))


def test_what_is_said_of_input_is_shown_in_python_too() -> None:
    error = InputError(f"There is no {HOSTILE}.", f"Name {HOSTILE}.")
    assert UNSEEN.findall(f"{error}{error.problem}{error.remedy}") == []


def test_other_letters_stay() -> None:
    """Joiners, with which Persian and Hindi are written, and whatever has a shape."""
    for text in ("می‌خواهم", "क्‍ष", "語彙", "naïve – α × 2 ≤ 3", "a\tb\nc", "👩‍⚕️"):
        assert visible(text) == text
    assert visible("\ud800\ufeff\U000e0041") == r"\ud800\ufeff\U000e0041"


def test_a_spreadsheet_computes_nothing() -> None:
    """Each cell that begins as a formula has an apostrophe before it; numbers are numbers."""
    table = pd.DataFrame({"=code": [*FORMULAS, *NUMBERS], "value": range(-5, 6)})
    read = list(csv.reader(io.StringIO(csv_text(table))))
    assert read[0] == ["'=code", "value"]
    cells = [row[0] for row in read[1:]]
    assert cells[: len(FORMULAS)] == [visible(f"'{cell}") for cell in FORMULAS]
    assert tuple(cells[len(FORMULAS) :]) == NUMBERS
    assert [row[1] for row in read[1:]] == [str(number) for number in range(-5, 6)]


def test_markdown_and_latex_have_no_marks_of_other_people() -> None:
    hostile = "<img src=x onerror=alert(1)> [a](javascript:b) `c` *d* | _e_ $f$ \\g & snake_case\nh"
    sheet = Sheet("t", hostile, [{hostile: hostile, "Mean": "1.5"}])
    files = table_files([sheet], simulated=False)
    for line in files["t.md"].splitlines():
        bare = re.sub(r"\\.", "", line)  # without what is escaped
        assert not re.search(r"[<>`*\[\]$&]|(?<!\w)_|_(?!\w)", bare), line
        assert "snake_case" in line or "snake" not in line
    assert len(files["t.md"].splitlines()) == 5  # caption, blank, head, rule and one row
    assert r"\textless{}img" in files["t.tex"]
