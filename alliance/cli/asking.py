"""Questions on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from alliance.cli import screen
from alliance.data_prep.errors import nearest
from alliance.data_prep.initial.draft import ends_of

if TYPE_CHECKING:
    from alliance.data_prep.initial.draft import Question

NONE = "-"  # typed where nothing is meant: an empty answer takes the default


def can_ask() -> bool:
    """Whether there is somebody at a terminal who can answer."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask(question: Question) -> str:
    """Ask until the answer is one of those that may be given.

    Parameters
    ----------
    question : Question

    Returns
    -------
    str
        Empty for none.
    """
    screen.say(question.text)
    shown = [choice for choice in question.choices if choice]
    may_be_none = question.several or "" in question.choices
    if shown:
        several = "; several with commas between" if question.several else ""
        none = f"; {NONE} for none" if may_be_none else ""
        screen.say(f"  {', '.join(shown)}{several}{none}")
    while True:
        answer = typer.prompt("  ", default=question.default or NONE, err=True).strip()
        answer = "" if answer == NONE else answer
        if question.range and ends_of(answer) is None:
            screen.say("  Write two numbers with a comma between, the lower one first: 0, 27")
            continue
        parts = [part.strip() for part in answer.split(",")] if question.several else [answer]
        wrong = [part for part in parts if part and shown and part not in shown]
        if not wrong and (answer or may_be_none):
            return answer
        screen.say(f"  {nearest(wrong[0], shown) if wrong else 'Give one of them.'}")
