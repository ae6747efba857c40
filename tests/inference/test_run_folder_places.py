"""Which folders a run replaces: runs that hold what they wrote, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from run_folders import contents, one_outcome

from alliance.data_prep.errors import InputError
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.run_folder import load_fit, require_free, save_fit


def with_file(run: Path) -> None:
    (run / "thesis.docx").write_bytes(b"years of work")


def with_hidden_file(run: Path) -> None:
    (run / ".notes").write_text("years of work")


def with_folder(run: Path) -> None:
    (run / "scripts").mkdir()
    (run / "scripts" / "analysis.R").write_text("years of work")


def with_own_table(run: Path) -> None:
    (run / "summary.csv").write_text("numbers of my own")


def with_own_report(run: Path) -> None:
    (run / "report.html").write_text("a page of my own")


def with_link(run: Path) -> None:
    (run.parent / "elsewhere.csv").write_bytes((run / "flow.csv").read_bytes())
    (run / "flow.csv").unlink()
    (run / "flow.csv").symlink_to(run.parent / "elsewhere.csv")


def of_another_format(run: Path) -> None:
    text = (run / "manifest.json").read_text(encoding="utf-8")
    (run / "manifest.json").write_text(text.replace('"format": 1', '"format": 0'))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (with_file, "'thesis.docx'"),
        (with_hidden_file, "'.notes'"),
        (with_folder, "'scripts'"),
        (with_own_table, "'summary.csv'"),
        (with_own_report, "'report.html'"),
        (with_link, "'flow.csv'"),
        (of_another_format, "another format"),
    ],
)
def test_what_a_run_did_not_write_is_named_and_kept(
    run: Path, made_fit: Fit, spoil: Callable[[Path], None], told: str
) -> None:
    spoil(run)
    before = contents(run.parent)
    for refuse in (require_free, lambda path, **how: save_fit(made_fit, path, **how)):
        with pytest.raises(InputError) as raised:
            refuse(run, overwrite=True)
        assert told in raised.value.problem
    assert contents(run.parent) == before


def test_a_link_to_a_run_is_not_replaced(run: Path) -> None:
    link = run.parent / "latest"
    link.symlink_to(run)
    with pytest.raises(InputError, match="is a link"):
        require_free(link, overwrite=True)


@pytest.mark.parametrize("what", ["working folder", "home folder", "input", "mount point"])
def test_places_that_are_never_replaced(
    run: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs: list[Path] = []
    if what == "working folder":
        monkeypatch.chdir(run)
    elif what == "home folder":
        monkeypatch.setenv("HOME", str(run))
        monkeypatch.setenv("USERPROFILE", str(run))
    elif what == "input":
        inputs = [run.parent / "other", run / "study.toml"]
    else:
        monkeypatch.setattr(os.path, "ismount", lambda path: path == run.resolve())
    with pytest.raises(InputError, match="is not replaced"):
        require_free(run, overwrite=True, inputs=inputs)


def test_what_comes_into_a_run_while_it_is_replaced_is_kept(
    run: Path, made_fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the last look, and before the old run is removed."""
    rename = Path.rename

    def and_a_file(path: Path, target: Path) -> Path:
        if path == run:
            (path / "thesis.docx").write_bytes(b"years of work")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", and_a_file)
    save_fit(one_outcome(made_fit, seed=77), run, overwrite=True)
    assert load_fit(run).manifest["seed"] == 77
    (kept,) = [place for place in contents(run.parent) if place.endswith("thesis.docx")]
    assert Path(kept).parts[0].startswith(".run.previous-")
