"""The page of what goes with what is what the code does, and no two settings end in a traceback."""

from __future__ import annotations

from what_goes_with_what import PAGE, SETTINGS, page


def test_the_page_is_that_of_the_code() -> None:
    """Only an `InputError` is caught while it is made: anything else fails here."""
    made = page()
    assert made == PAGE.read_text(encoding="utf-8"), "python tests/what_goes_with_what.py"
    for name in SETTINGS:  # a setting goes at least by itself, with nuts and one file
        assert f"| `{name}` | yes |" in made
