"""Words on the terminal stay the words that were written."""

from __future__ import annotations

import pandas as pd
import pytest

from alliance.cli.screen import render


def test_words_between_colons_stay_words(capsys: pytest.CaptureFixture[str]) -> None:
    render.error("Write START:END:STEP.")  # rich would make a picture of :END:
    render.note("An arm :smile: of the file")
    told = capsys.readouterr().err
    assert "START:END:STEP" in told
    assert ":smile:" in told


def test_braces_and_brackets_of_a_table_stay(capsys: pytest.CaptureFixture[str]) -> None:
    render.frame(pd.DataFrame({"arm": ["[bold]:dog:"]}), "table")
    assert "[bold]:dog:" in capsys.readouterr().out
