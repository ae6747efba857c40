"""Does every link within the built site lead somewhere? Run after the build on its folder."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ATTRIBUTES = ("href", "src")
ELSEWHERE = ("http", "https", "mailto", "data", "javascript")
FETCHED = {"link", "script", "img", "iframe", "source"}


class Page(HTMLParser):
    """A page's anchors, and what it leads to.

    Attributes
    ----------
    anchors : set of str
    targets : list of tuple
        Elements and the addresses that they name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.targets: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what matters of an element."""
        for name, value in attrs:
            if value and name in ("id", "name"):
                self.anchors.add(value)
            elif value and name in ATTRIBUTES:
                self.targets.append((tag, value))


def faults(folder: Path) -> list[str]:
    """What leads nowhere, and what a page fetches from another host."""
    pages = {}
    for path in sorted(folder.rglob("*.html")):
        if "_static" in path.parts:  # templates of the theme
            continue
        pages[path] = Page()
        pages[path].feed(path.read_text(encoding="utf-8"))
    found = []
    for path, page in pages.items():
        here = path.relative_to(folder)
        for tag, target in page.targets:
            parts = urlsplit(target)
            if parts.scheme in ELSEWHERE or parts.netloc:
                if tag in FETCHED and parts.scheme != "data":
                    found.append(f"{here}: fetched from elsewhere: {target}")
                continue
            place = path.parent / unquote(parts.path) if parts.path else path
            place = place.resolve()
            if place.is_dir():
                place /= "index.html"
            if not place.exists():
                found.append(f"{here}: no such file: {target}")
                continue
            anchors = pages[place].anchors if place in pages else None
            if parts.fragment and anchors is not None and unquote(parts.fragment) not in anchors:
                found.append(f"{here}: no such anchor: {target}")
    return found


def main() -> int:
    folder = Path(sys.argv[1]).resolve()
    found = faults(folder)
    print("\n".join(found) or f"Every link within {len(list(folder.rglob('*.html')))} pages holds.")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
