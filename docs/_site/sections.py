"""Where each page stands in the site: pages that lead a section, and those below them in order.

Pages have no table of contents of their own, which GitHub would show as code: they link to others
in their text, and this list makes the side bars.
"""

from __future__ import annotations

SECTIONS: dict[str, tuple[str, ...]] = {
    "index": (
        "start",
        "tutorials/README",
        "explanation",
        "reference/README",
        "validation",
        "decisions/README",
        "project",
    ),
    "tutorials/README": (
        "tutorials/headache",
        "tutorials/own-data",
        "tutorials/first_questions",
    ),
    "explanation": (
        "explorer",
        "differences",
        "paper",
        "paper-kit",
        "shares",
        "scale",
        "predictive-checks",
        "leave-one-out",
        "sensitivity",
    ),
    "reference/README": (
        "study-file",
        "reference/keys",
        "what-goes-with-what",
        "reference/commands",
        "api",
        "reference/docstrings",
        "checks-in-ci",
        "glossary",
    ),
    "validation": ("calibration", "speed"),
    "project": ("_generated/contributing", "_generated/changelog", "_generated/benchmarks"),
}


def contents(page: str) -> str:
    """A hidden table of contents of the pages below this one, for Sphinx."""
    below = SECTIONS.get(page, ())
    lines = [":::{toctree}", ":hidden:", "", *(f"/{name}" for name in below), ":::", ""]
    return "\n".join(lines) if below else ""
