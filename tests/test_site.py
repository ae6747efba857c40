"""The site's pages have their places, and what is generated for them leaves nothing out."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import typer
import yaml

from alliance.cli.app import app
from alliance.data_prep.study.description import Study
from alliance.inference.published.findings import Finding

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

from _site.commands import commands  # noqa: E402
from _site.dead_links import faults  # noqa: E402
from _site.gallery import CHAPTERS  # noqa: E402
from _site.links import led  # noqa: E402
from _site.python_names import python_names  # noqa: E402
from _site.sections import SECTIONS  # noqa: E402
from _site.study_keys import study_keys  # noqa: E402


def test_every_page_stands_in_one_place() -> None:
    """A page in none cannot be reached, one in two has two ways up."""
    pages = {
        path.relative_to(DOCS).with_suffix("").as_posix()
        for path in DOCS.rglob("*.md")
        if not path.relative_to(DOCS).parts[0].startswith("_")
    }
    placed = [name for below in SECTIONS.values() for name in below]
    assert len(placed) == len(set(placed))
    written = {name for name in placed if name.startswith("_generated/")}
    decisions = {name for name in pages if name.startswith("decisions/0")}
    assert set(placed) - written == pages - decisions - {"index"}


def test_every_option_of_every_command_is_told() -> None:
    text = commands()
    told = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", text, re.M | re.S))
    front = typer.main.get_command(app)
    assert list(told) == list(front.commands)  # type: ignore[attr-defined]
    for name, command in front.commands.items():  # type: ignore[attr-defined]
        options = {option for each in command.params for option in each.opts} - {"--help", "-h"}
        named = set(re.findall(r"--?[a-z][a-z-]*", told[name]))
        assert {option for option in options if option.startswith("-")} <= named, name


def test_every_key_is_told_with_what_it_is() -> None:
    text = study_keys()
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)\|$", text, re.M))
    assert set(Study.model_fields) | set(Finding.model_fields) <= set(rows)
    assert [key for key, row in rows.items() if not row.split(" | ")[2].strip()] == []


def test_docstrings_of_every_public_name_are_shown() -> None:
    import alliance

    shown = re.findall(r"auto(?:class|function):: (\w+)", python_names())
    assert shown == [name for name in alliance.__all__ if not name.startswith("__")]


def test_the_gallery_shows_every_figure() -> None:
    drawn = {
        name
        for path in (ROOT / "diagnostics" / "figures").glob("*.py")
        for name in re.findall(r"^def (\w+_figure)\(", path.read_text(encoding="utf-8"), re.M)
    }
    helpers = {"require_figure", "save_figure", "calibration_figure"}  # the last is part of loo's
    shown = [each.function for chapter in CHAPTERS.values() for each in chapter]
    assert len(shown) == len(set(shown))
    elsewhere = {"trials_figure"}  # of several trials, where the gallery has one
    assert set(shown) == drawn - helpers - elsewhere


@pytest.mark.parametrize(
    ("fault", "page"),
    [
        ("", '<a id="here" href="other.html#there">text</a><a href="#here">up</a>'),
        ("no such file", '<a href="missing.html">text</a>'),
        ("no such file", '<img src="missing.png">'),
        ("no such anchor", '<a href="other.html#elsewhere">text</a>'),
        ("fetched from elsewhere", '<script src="https://example.org/a.js"></script>'),
        ("", '<a href="https://example.org/">text</a>'),
    ],
)
def test_dead_links_are_found(fault: str, page: str, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(page)
    (tmp_path / "other.html").write_text('<p id="there">text</p>')
    found = faults(tmp_path)
    assert len(found) == bool(fault)
    assert all(fault in each for each in found)


def test_links_lead_to_where_a_document_stands_in_the_site() -> None:
    text = "[a](../CONTRIBUTING.md#set-up) [b](decisions) [c](https://example.org) [d](start.md)"
    assert led(text, DOCS, DOCS) == (
        "[a](_generated/contributing.md#set-up) [b](decisions/README.md) "
        "[c](https://example.org) [d](start.md)"
    )


def test_the_site_is_built_for_every_change() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "site.yml").read_text())
    steps = [step.get("run") for step in workflow["jobs"]["build"]["steps"]]
    assert "bash .ci/site" in steps
    script = (ROOT / ".ci" / "site").read_text(encoding="utf-8")
    assert "--fail-on-warning" in script
    assert "step bash .ci/site" in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
