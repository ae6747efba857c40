"""`alliance report`: what it writes, what it refuses, and that the run stays as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import docx
import pytest
from command_line import alliance

from alliance.data_prep.files import LIST

pytestmark = pytest.mark.mcmc


@pytest.fixture
def run(run_folder: Path, tmp_path: Path) -> Path:
    """A copy of the run, which a test may write to."""
    return Path(shutil.copytree(run_folder, tmp_path / "run"))


def test_the_report_lies_in_the_run_and_leaves_it_as_it_was(run: Path):
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    answer = alliance("report", run)
    assert answer.code == 0, answer.stderr
    assert answer.stdout == ""
    assert f"Written: {run / 'report.html'}" in answer.stderr.replace("\n", "")
    after = {path.name: path.read_bytes() for path in run.iterdir()}
    assert after.pop("report.html").startswith(b"<!DOCTYPE html>")
    assert after == before
    # a second one replaces the first, and the run does not look changed
    again = alliance("report", run)
    assert again.code == 0, again.stderr
    assert "no longer the file that was written" not in again.stderr


def test_file_and_tables_go_where_they_are_wanted(run: Path, tmp_path: Path):
    page, tables = tmp_path / "page.html", tmp_path / "tables"
    answer = alliance("report", run, "--out", page, "--tables", tables, "--interval", "0.9")
    assert answer.code == 0, answer.stderr
    assert not (run / "report.html").exists()
    assert "90% equal-tailed intervals" in page.read_text(encoding="utf-8")
    endings = {path.suffix for path in tables.iterdir() if path.name != LIST}
    assert endings == {".csv", ".md", ".tex", ".bib"}
    first = page.read_bytes()
    refused = alliance("report", run, "--out", page, "--tables", tables)
    assert refused.code == 2
    assert "--overwrite" in refused.stderr
    assert page.read_bytes() == first  # refused as a whole
    assert alliance("report", run, "--out", page, "--tables", tables, "--overwrite").code == 0


def test_the_paper_kit_is_a_word_document(run: Path, tmp_path: Path):
    place = tmp_path / "paper.docx"
    answer = alliance("report", run, "--word", place)
    assert answer.code == 0, answer.stderr
    assert f"Written: {place}" in answer.stderr.replace("\n", "")
    document = docx.Document(str(place))
    titles = [p.text for p in document.paragraphs if p.style.name == "Heading 1"]
    assert titles[:4] == ["Question", "Methods", "Patients", "Results"]
    assert len(document.tables) > 8
    assert (run / "report.html").exists()
    # the next one of this name replaces it, and the data's identifiers are in neither
    assert alliance("report", run, "--word", place).code == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--word", "paper.doc"], "does not end in .docx"),
        (["--word", "none/paper.docx"], "does not exist"),
        (["--out", "notes.txt"], "exists and is not a report"),
        (["--out", "none/report.html"], "does not exist"),
        (["--interval", "1.5"], "not between 0 and 1"),
        (["--published", "none.toml"], "none.toml"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], told: str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("my notes", encoding="utf-8")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    answer = alliance("report", run, *options)
    assert answer.code == 2
    assert told in answer.stderr.replace("\n", " ")
    assert "Traceback" not in answer.stderr
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "my notes"
