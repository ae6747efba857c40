"""The page of what goes with what is what the code does, and no two settings end in a traceback."""

from __future__ import annotations

import json

import pytest
from what_commands_answer import EVERY, KEPT, answered, section
from what_goes_with_what import PAGE, SETTINGS, first_part, page


def test_the_page_is_that_of_the_code() -> None:
    """Only an `InputError` is caught while it is made: anything else fails here."""
    made = page()
    assert made == first_part(), "python tests/what_goes_with_what.py"
    for name in SETTINGS:  # a setting goes at least by itself, with nuts and one file
        assert f"| `{name}` | yes |" in made


def test_every_setting_of_the_table_has_been_put_to_every_command() -> None:
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    assert set(kept) == set(SETTINGS)
    assert all(set(answers) == set(EVERY) for answers in kept.values())
    assert PAGE.read_text(encoding="utf-8").endswith(section(kept))


@pytest.mark.validation
@pytest.mark.parametrize("setting", json.loads(KEPT.read_text(encoding="utf-8")))
def test_commands_answer_as_the_page_says(setting: str) -> None:
    """Each is run: exit code 0, 3 or 2 with the message on the page, and never a traceback."""
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    assert answered(setting) == kept[setting]
