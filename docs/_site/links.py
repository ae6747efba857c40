"""Links of the documents, which lead through the repository, lead through the site as well.

A page links to files beside it as GitHub has them. Three documents stand outside `docs`; the site
has a copy of each, and links to them, and theirs to others, are turned towards the copies.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from _site.sections import contents

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
GENERATED = DOCS / "_generated"
COPIES = {
    ROOT / "README.md": DOCS / "index.md",  # the same for another reader
    ROOT / "CONTRIBUTING.md": GENERATED / "contributing.md",
    ROOT / "CHANGELOG.md": GENERATED / "changelog.md",
    ROOT / "benchmarks" / "README.md": GENERATED / "benchmarks.md",
}
FOLDERS = {DOCS / "decisions": DOCS / "decisions" / "README.md"}
LINK = re.compile(r"(\]\()([^)\s#:]+)(#[^)\s]*)?(\))")


def led(text: str, stands: Path, shown: Path) -> str:
    """A document's text with its relative links as they are where it is shown.

    Parameters
    ----------
    text : str
        Markdown.
    stands, shown : Path
        Folders of the file in the repository and of the page in the site.
    """

    def turned(found: re.Match[str]) -> str:
        before, target, anchor, after = found.groups()
        place = Path(os.path.normpath(stands / target))
        if not place.exists():
            return found[0]  # Sphinx says what is wrong with it
        place = COPIES.get(place, FOLDERS.get(place, place))
        return f"{before}{os.path.relpath(place, shown)}{anchor or ''}{after}"

    return LINK.sub(turned, text)


def copy_documents() -> None:
    """Write the copies of documents that stand outside `docs`."""
    for original, copy in COPIES.items():
        if copy.parent == GENERATED:
            text = original.read_text(encoding="utf-8")
            copy.write_text(led(text, original.parent, copy.parent), encoding="utf-8")


def lead_home(app: Any, name: str, source: list[str]) -> None:
    """Sphinx's event: a page was read. The list of decisions leads to each of them."""
    page = Path(app.env.doc2path(name))
    if GENERATED not in page.parents:
        source[0] = led(source[0], page.parent, page.parent)
    below = contents(name)
    if name == "decisions/README":
        below = ":::{toctree}\n:hidden:\n:glob:\n\n0*\n:::\n"
    source[0] += f"\n\n{below}"
