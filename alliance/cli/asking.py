"""Questions on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from alliance.cli import screen
from alliance.data_prep.errors import nearest
from alliance.data_prep.initial.draft import Question, ends_of
from alliance.diagnostics import words

if TYPE_CHECKING:
    from alliance.data_prep.study.parts import Outcome
    from alliance.inference.scores.thresholds import Thresholds

NONE = "-"  # typed where nothing is meant: an empty answer takes the default


def can_ask() -> bool:
    """Whether there is somebody at a terminal who can answer."""
    return sys.stdin is not None and sys.stdin.isatty()


def settled(
    outcomes: Mapping[str, Outcome], measured: Mapping[str, Thresholds]
) -> dict[str, Thresholds]:
    """Thresholds of which those below zero are asked about; without a terminal a note says of them.

    Below zero a threshold is a margin by which an arm may be worse. Who writes -2 of an outcome
    that is better when lower may mean 2 points better.

    Parameters
    ----------
    outcomes, measured : mapping
        By outcome.
    """
    found = dict(measured)
    for name, own in measured.items():
        by = own.better_by
        if by is None or by >= 0:
            continue
        described = outcomes[name]
        told = (
            f"{name}: the threshold {by:g} is below zero: a margin by which an arm may be worse. "
            f"An arm that is better by {-by:g} {words.points(described)} ({described.better}) has "
            f"the threshold {-by:g}."
        )
        if not can_ask():
            screen.note(told)
        elif ask(Question(f"{told} Which is meant?", "margin", ("margin", "better"))) == "better":
            found[name] = replace(own, better_by=-by)
    return found


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
