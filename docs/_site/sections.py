"""Where each page stands in the site: pages that lead a section, and those below them in order.

Pages have no table of contents of their own, which GitHub would show as code: they link to others
in their text, and this list makes the side bars.
"""

from __future__ import annotations

SECTIONS: dict[str, tuple[str, ...]] = {
    "index": (
        "start",
        "tutorials/README",
        "how-to/README",
        "coming-from/README",
        "explanation",
        "reference/README",
        "gallery",
        "validation",
        "decisions/README",
        "project",
    ),
    "tutorials/README": (
        "tutorials/headache",
        "tutorials/own-data",
        "tutorials/paper-without-data",
        "tutorials/several-trials",
        "tutorials/visits",
        "tutorials/first_questions",
    ),
    "how-to/README": (
        "how-to/which-treatment",
        "how-to/one-patient",
        "how-to/which-therapist",
        "how-to/how-many",
        "how-to/trust",
        "how-to/who-left",
        "how-to/what-it-hangs-on",
        "how-to/send-it",
        "explorer",
    ),
    "coming-from/README": (
        "coming-from/spss-process",
        "coming-from/sas",
        "coming-from/r",
        "coming-from/mplus",
    ),
    "explanation": (
        "differences",
        "paper",
        "paper-kit",
        "shares",
        "several-trials",
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


# As the bar at the top calls pages whose own headings are too long for it.
SHORT = {
    "start": "Start",
    "how-to/README": "How to",
    "coming-from/README": "Coming from",
}


def contents(page: str) -> str:
    """A hidden table of contents of the pages below this one, for Sphinx."""
    below = SECTIONS.get(page, ())
    entries = [f"{SHORT[name]} </{name}>" if name in SHORT else f"/{name}" for name in below]
    lines = [":::{toctree}", ":hidden:", "", *entries, ":::", ""]
    return "\n".join(lines) if below else ""
