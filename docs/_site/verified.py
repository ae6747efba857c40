"""The reference cases of `alliance verify`, as they come out where the site is built."""

from __future__ import annotations

from alliance.diagnostics.sheet import markdown_table
from alliance.diagnostics.verify import verify


def verified() -> str:
    """Markdown of the cases, and of those that need a published trial's file."""
    found = verify(None, lambda about: None)
    failed = [case.name for case in found.cases if not case.passed]
    if failed:
        raise RuntimeError(f"reference cases fail here: {'; '.join(failed)}")
    parts = [markdown_table(found.sheet, ""), f"All {len(found.cases)} cases pass.\n"]
    if found.missing:
        parts.append("Not part of this page, for they need a trial's file:\n")
        parts += [f"- {case}" for case in found.missing]
    return "\n".join(parts) + "\n"
