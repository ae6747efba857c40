"""`alliance explore`: where it writes, what it opens, what it refuses, and how pages are linked."""

from __future__ import annotations

import stat
import webbrowser
from pathlib import Path

import pytest
from command_line import alliance
from made_draws import PATIENT_ID

import alliance as al
from alliance.diagnostics.report import contents
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.run_folder import save_fit

PLAIN = """
title = "Two arms, and no alliance"
[columns]
patient = "patient"
therapist = "therapist"
arm = "arm"
[arms]
GE = "General exercise"
MCE = "Motor control exercise"
[outcomes.gpe]
label = "Global perceived effect"
followup = "gpe_8w"
range = [-5, 5]
better = "higher"
"""


@pytest.fixture(scope="module")
def run(made_fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explored") / "run"
    save_fit(made_fit, path)
    return path


def test_explorer_and_report_lead_to_one_another(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each knows of the other where that was written before it."""
    monkeypatch.setattr(contents, "write_sections", lambda _: [])  # only the head matters
    explorer, report = run / "explorer.html", run / "report.html"
    explore = ("explore", run, "--outcome", "gpe", "--out", explorer)
    answer = alliance(*explore)
    assert answer.code == 0, answer.stderr
    assert str(explorer) in answer.said
    assert 'href="report.html"' not in explorer.read_text(encoding="utf-8")
    al.load(run).report()
    assert '<a href="explorer.html">' in report.read_text(encoding="utf-8")
    assert alliance(*explore).code == 0  # an earlier explorer is replaced
    page = explorer.read_text(encoding="utf-8")
    assert '<a href="report.html">' in page
    assert PATIENT_ID not in page
    explorer.unlink()
    al.load(run).report()
    assert "explorer.html" not in report.read_text(encoding="utf-8")


@pytest.mark.parametrize("opens", [True, False])
def test_without_a_place_a_page_of_its_owner_is_opened(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opens: bool
) -> None:
    seen: list[str] = []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(webbrowser, "open", lambda address: seen.append(address) or opens)
    answer = alliance("explore", run, "--outcome", "gpe")
    assert answer.code == 0, answer.stderr
    (page,) = tmp_path.glob("alliance-explorer-*.html")
    assert seen == [page.as_uri()]
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert "Global perceived effect" in page.read_text(encoding="utf-8")
    assert ("No browser could be opened" in answer.said) is not opens


def test_an_outcome_is_chosen(run: Path, tmp_path: Path) -> None:
    sizes = []
    for outcomes in ((), ("--outcome", "gpe")):
        assert alliance("explore", run, *outcomes, "--out", tmp_path / "e.html").code == 0
        sizes.append((tmp_path / "e.html").stat().st_size)
    assert sizes[1] < sizes[0]
    answer = alliance("explore", run, "--outcome", "pian", "--out", tmp_path / "f.html")
    assert answer.code == 2
    assert "pian" in answer.said
    assert not (tmp_path / "f.html").exists()


def test_a_file_of_one_s_own_is_not_replaced_unasked(run: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.html"
    mine.write_text("my own page", encoding="utf-8")
    answer = alliance("explore", run, "--out", mine)
    assert answer.code == 2
    assert "--overwrite" in answer.said
    assert mine.read_text(encoding="utf-8") == "my own page"
    assert alliance("explore", run, "--outcome", "gpe", "--out", mine, "--overwrite").code == 0
    assert mine.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_trial_without_an_alliance_has_no_explorer(tmp_path: Path) -> None:
    """Curves are along it; the other questions have their commands."""
    (tmp_path / "study.toml").write_text(PLAIN, encoding="utf-8")
    rows = [f"P{k},T{k % 4},{('GE', 'MCE')[k // 2 % 2]},{k * 7 % 11 - 5}" for k in range(40)]
    table = "\n".join(["patient,therapist,arm,gpe_8w", *rows])
    (tmp_path / "trial.csv").write_text(table, encoding="utf-8")
    inputs = (tmp_path / "study.toml", tmp_path / "trial.csv")
    fitted = alliance(
        "fit", *inputs, "--out", tmp_path / "run", "--engine", "instant", "--profile", "ci"
    )
    assert fitted.code == 0, fitted.stderr
    answer = alliance("explore", tmp_path / "run", "--out", tmp_path / "explorer.html")
    assert answer.code == 2
    assert "moderator" in answer.said
    assert not (tmp_path / "explorer.html").exists()
