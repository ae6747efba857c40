"""The page of public names, docs/api.md: `python tests/api_page.py` writes it anew."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import alliance as al

PAGE = Path(__file__).resolve().parents[1] / "docs" / "api.md"
CHAPTERS = {
    "Start": ("study", "studies", "simulate", "fit", "load"),
    "A study and its data": ("Study", "Trial"),
    "A fitted study": ("Run", "side_by_side"),
    "One of its outcomes": ("FittedOutcome",),
    "An answer": ("Answer", "Predictions", "EffectCurves"),
    "Without the patients' rows": ("share", "paper"),
    "Plan and try": ("calibrate", "assurance", "multiverse"),
    "Errors": ("InputError", "DataError", "IncompleteSamplingError"),
}
HEAD = """# The names of `import alliance as al`

What a notebook meets; `help(al.fit)` tells the arguments of each. The rooms below have names of
their own, which serve the house and may change.
"""


def first_line(documented: Any) -> str:
    """The first paragraph of a docstring, on one line."""
    text = inspect.getdoc(documented) or ""
    return " ".join(text.split("\n\n")[0].split())


def verbs(name: str) -> Iterator[tuple[str, str]]:
    """Public attributes, properties and methods that a class has itself, as they are called."""
    public = getattr(al, name)
    told = re.search(r"^Attributes\n-+\n(.*)", inspect.getdoc(public) or "", re.M | re.S)
    for attribute, words in re.findall(
        r"^(\w+) : .*\n((?:    .*\n?)+)", told[1] if told else "", re.M
    ):
        if attribute in getattr(public, "__dataclass_fields__", {}):
            yield attribute, " ".join(words.split())
    for verb, member in vars(public).items():
        if verb.startswith("_"):
            continue
        if inspect.isfunction(member):
            yield f"{verb}()", first_line(member)
        elif isinstance(member, property | cached_property):
            yield verb, first_line(member)


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    for chapter, names in CHAPTERS.items():
        lines += [f"## {chapter}\n", "| Name | |", "| --- | --- |"]
        for name in names:
            lines.append(f"| **`al.{name}`** | {first_line(getattr(al, name))} |")
            if inspect.isclass(getattr(al, name)):
                lines += [f"| `.{verb}` | {told} |" for verb, told in verbs(name)]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
