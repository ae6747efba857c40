"""The public names: few, all documented, all on one page, and quick to import."""

from __future__ import annotations

import doctest
import importlib
import inspect
import subprocess
import sys
from typing import Any

import pytest
from api_page import CHAPTERS, PAGE, first_line, page, verbs

import alliance as al

NAMES = [name for name in al.__all__ if name != "__version__"]
MOST = 30


def test_the_names_are_few_and_are_those_that_are_listed() -> None:
    assert len(al.__all__) <= MOST
    assert dir(al) == al.__all__ == sorted(al.__all__)
    assert sorted(name for names in al._HOMES.values() for name in names) == sorted(NAMES)
    with pytest.raises(AttributeError, match="no attribute 'read_study'"):
        al.read_study  # noqa: B018  # one of the hundred names that there were


@pytest.mark.parametrize("name", NAMES)
def test_what_a_person_meets_begins_with_a_sentence(name: str) -> None:
    public = getattr(al, name)
    told = [(name, first_line(public))]
    if inspect.isclass(public):
        told += list(verbs(name))
    for what, line in told:
        assert line[:1].isupper(), what
        assert line.endswith((".", "?")), what
        assert len(line) < 120, what


def test_the_page_of_names_is_that_of_the_code() -> None:
    """`python tests/api_page.py` writes it."""
    assert sorted(name for names in CHAPTERS.values() for name in names) == sorted(NAMES)
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("module", ["alliance.answer", "alliance.run", "alliance.trial"])
def test_examples_of_docstrings_run(module: str) -> None:
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted > 0
    assert found.failed == 0


def test_every_verb_that_starts_something_shows_how() -> None:
    for name in ("study", "studies", "simulate", "fit", "load"):
        assert ">>> import alliance as al" in str(getattr(al, name).__doc__), name


def test_the_face_opens_the_rooms_when_it_is_used() -> None:
    """The command line imports this package first, and help must not wait for pandas or PyMC."""
    script = "import sys, alliance; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded: set[Any] = set(done.stdout.split())
    assert "alliance" in loaded
    assert not loaded & {"numpy", "pandas", "xarray", "pymc", "pytensor", "typer", "matplotlib"}
