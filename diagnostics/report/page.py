"""From sections to one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from alliance.data_prep.errors import InputError
from alliance.diagnostics.report.parts import Anchor, Picture, Section
from alliance.diagnostics.report.svg import inline_svg
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.whole_files import GENERATOR, is_report

TEMPLATES = Path(__file__).parent / "templates"


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.tests["anchor"] = lambda cell: isinstance(cell, Anchor)
    return environment.get_template("report.html")


def report_html(fit: Fit, sections: Sequence[Section]) -> str:
    """A run's report as an HTML page.

    Parameters
    ----------
    fit : Fit
    sections : sequence of Section
        As from `diagnostics.report.contents.write_sections`.

    Returns
    -------
    str
        With its style sheet and figures within, without a script.
    """
    return _template().render(
        title=fit.study.title,
        simulated=fit.study.simulated,
        generator=GENERATOR,
        version=fit.manifest.get("versions", {}).get("alliance", "version not recorded"),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        styles=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        sections=sections,
        svg=_svg,
    )


def _svg(picture: Picture) -> Markup:
    name = f"figure-{picture.name}"
    return Markup(inline_svg(picture.figure, name, picture.title, picture.description))


def require_writable(path: Path, *, overwrite: bool = False) -> None:
    """Refuse a place where a report cannot be written, before it is made.

    Parameters
    ----------
    path : Path
    overwrite : bool
        Whether a file that is no report may be replaced; an earlier report always is.

    Raises
    ------
    InputError
        If something else is there, or the folder does not exist.
    """
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a folder.", "Name a file with --out.")
    if not path.absolute().parent.is_dir():
        raise InputError(
            f"The folder {str(path.parent)!r} does not exist.", "Make it, or name another place."
        )
    if path.exists() and not overwrite and not is_report(path):
        raise InputError(
            f"{str(path)!r} exists and is not a report.",
            "Name another file with --out, or replace it with --overwrite.",
        )
