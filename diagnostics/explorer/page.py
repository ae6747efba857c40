"""The explorer's page: one HTML file with its scripts, styles and draws, that asks no network."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).parent / "page"
SCRIPTS = tuple(
    PAGE / f"{name}.js" for name in ("numbers", "draws", "answers", "charts", "explorer")
)
