"""The explorer's page: one HTML file with its scripts, styles and draws, that asks no network."""

from __future__ import annotations

import json
import tempfile
import webbrowser
from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from alliance.data_prep.errors import visible
from alliance.diagnostics.explorer.contents import contents
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.whole_files import (
    EXPLORER_GENERATOR,
    PAGE,
    REPORT,
    write_whole,
    written_as,
)

PARTS = Path(__file__).parent / "page"
# One after the other they are the page's script; the first three know no browser.
SCRIPTS = tuple(
    PARTS / f"{name}.js" for name in ("numbers", "draws", "answers", "charts", "views", "explorer")
)


def explorer_html(
    fit: Fit,
    outcomes: Sequence[str] = (),
    *,
    interval: float = 0.95,
    therapist_names: bool = False,
    hide_single: bool = False,
    beside: Path | None = None,
) -> str:
    """A run's explorer as an HTML page.

    Parameters
    ----------
    fit : Fit
    outcomes, interval, therapist_names, hide_single
        As of `diagnostics.explorer.contents.contents`.
    beside : Path, optional
        A folder whose report, if there is one, the page leads to.

    Returns
    -------
    str
        With everything within: no server, no network, no patient's row.
    """
    held = contents(
        fit,
        outcomes,
        interval=interval,
        therapist_names=therapist_names,
        hide_single=hide_single,
    )
    script = "(() => {\n" + "\n".join(map(_read, SCRIPTS)) + "})();\n"
    styles, study = _read(PARTS / "explorer.css"), fit.study
    report = beside is not None and written_as(beside / REPORT, PAGE)
    draws = held["outcomes"][0]["draws"]
    return _template().render(
        title=visible(study.title),
        simulated=study.simulated,
        name=visible(study.measure.name),
        label=visible(study.measure.label),
        moderator=visible(study.measure.label),
        report=REPORT if report else "",
        generator=EXPLORER_GENERATOR,
        version=fit.manifest.get("versions", {}).get("alliance", "version not recorded"),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        held_words=f"Holds {draws:,} draws of the posterior of each outcome, and no "
        "patient's row."
        + ("" if therapist_names else " Therapists are numbered by their places in the run."),
        policy=_policy(script, styles),
        styles=Markup(styles),
        script=Markup(script),
        held=Markup(_json(held)),
    )


def write_explorer(fit: Fit, path: Path | None, **asked: Any) -> tuple[Path, bool]:
    """Write the page, or without a place for it show it in the browser.

    Parameters
    ----------
    fit : Fit
    path : Path or None
        The file; who asks has made sure that it may be written. None writes a file of its owner
        alone among the machine's temporary ones, and opens it.
    **asked
        As of `explorer_html`.

    Returns
    -------
    tuple of Path and bool
        The file, and whether a browser opened it.
    """
    if path is not None:
        write_whole(path, explorer_html(fit, beside=path.absolute().parent, **asked).encode())
        return path, False
    page = explorer_html(fit, **asked)
    with tempfile.NamedTemporaryFile(
        prefix="alliance-explorer-", suffix=".html", delete=False
    ) as file:
        file.write(page.encode())
    place = Path(file.name)
    return place, webbrowser.open(place.as_uri())


def _policy(script: str, styles: str) -> str:
    """What the page may load: nothing but what stands in it."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hashed(script)}'",
            f"style-src '{_hashed(styles)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _hashed(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _json(held: dict[str, Any]) -> str:
    """Plain values within a page: nothing in them ends the element that they stand in."""
    return json.dumps(held, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


@cache
def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(PARTS),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    return environment.get_template("explorer.html")
