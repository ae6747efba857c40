"""Words on the terminal stay the words that were written."""

from __future__ import annotations

import pandas as pd
import pytest

from alliance.cli import screen


def test_words_between_colons_stay_words(capsys: pytest.CaptureFixture[str]) -> None:
    screen.error("Write START:END:STEP.")  # rich would make a picture of :END:
    screen.note("An arm :smile: of the file")
    told = capsys.readouterr().err
    assert "START:END:STEP" in told
    assert ":smile:" in told


def test_braces_and_brackets_of_a_table_stay(capsys: pytest.CaptureFixture[str]) -> None:
    screen.frame(pd.DataFrame({"arm": ["[bold]:dog:"]}), "table")
    assert "[bold]:dog:" in capsys.readouterr().out
