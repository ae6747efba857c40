"""Markdown that generated parts are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells are Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell(each) for each in line) + " |" for line in lines) + "\n"


def cell(text: str) -> str:
    """A text on one line, without what would end the cell."""
    return " ".join(text.split()).replace("|", "\\|")


def plain(text: str) -> str:
    """A text in which nothing is markup but what stands in backticks."""
    parts = text.split("`")
    for position in range(0, len(parts), 2):
        for sign in "*_<[":
            parts[position] = parts[position].replace(sign, f"\\{sign}")
    return "`".join(parts)
