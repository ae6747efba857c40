"""What the build writes before pages are read: each part is included by the page that it is of."""

from __future__ import annotations

from pathlib import Path

from _site.commands import commands
from _site.gallery import gallery
from _site.links import copy_documents
from _site.python_names import python_names
from _site.study_keys import study_keys
from _site.verified import verified

PARTS = {
    "commands": commands,
    "study_keys": study_keys,
    "python_names": python_names,
    "verified": verified,
}


def write_all(folder: Path) -> None:
    """Write every part into the folder, and the copies of documents from outside `docs`."""
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    copy_documents()
    made = {name: part() for name, part in PARTS.items()}
    made["gallery"] = gallery(folder / "figures")
    for name, text in made.items():
        path = folder / "parts" / f"{name}.md"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")  # Sphinx reads again only what changed
