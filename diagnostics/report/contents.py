"""The sections of a report in their order, and the report written to its files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alliance.data_prep.errors import InputError
from alliance.diagnostics.report.checks import checks, gate, prior, sensitivity
from alliance.diagnostics.report.exports import require_tables, write_tables
from alliance.diagnostics.report.limitations import checklist, citations, limitations
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.model import model
from alliance.diagnostics.report.page import Notice, Section, report_html
from alliance.diagnostics.report.results import (
    PRINTED,
    comparison,
    data,
    effects,
    predictions,
    printed,
    question,
    results,
    therapists,
)
from alliance.inference.runs.whole_files import (
    EXPLORER,
    EXPLORER_PAGE,
    write_whole,
    written_as,
)

ALONG_MODERATOR = "effects"
# By the name that each has in the page, with the title it has where it cannot be written.
SECTIONS: dict[str, tuple[str, Callable[[Material], Section]]] = {
    "question": ("Question and answers", question),
    "data": ("Data and flow of patients", data),
    "results": ("Results for each outcome", results),
    "comparison": ("Comparison with published and refitted models", comparison),
    "paper": (PRINTED, printed),
    ALONG_MODERATOR: ("Effects along the moderator", effects),
    "therapists": ("Therapists", therapists),
    "predictions": ("Predictions by arm", predictions),
    "limitations": ("Limitations", limitations),
    "model": ("Model and priors", model),
    "prior": ("Prior predictive check", prior),
    "gate": ("Gate and computation", gate),
    "checks": ("Checks of the model", checks),
    "sensitivity": ("Sensitivity", sensitivity),
    "citations": ("Methods and citations", citations),
}


def write_sections(material: Material) -> list[Section]:
    """Every section, the checklist last; one that a run does not allow says why.

    A plain trial has nothing along the moderator.

    Parameters
    ----------
    material : Material
    """
    built = []
    plain = material.fit.study.moderator is None
    for name, (title, write) in SECTIONS.items():
        if plain and name == ALONG_MODERATOR:
            continue
        try:
            built.append(write(material))
        except InputError as error:
            built.append(Section(name, title, [Notice(f"Not available: {error}")]))
    # The checklist stands before the citations, and knows of every other section.
    return [*built[:-1], checklist(material, built), built[-1]]


def write_report(
    material: Material, path: Path, *, tables: Path | None = None, overwrite: bool = False
) -> list[Path]:
    """Write the page, and its tables before it: they may be refused.

    Parameters
    ----------
    material : Material
    path : Path
        The page; who asks has made sure that it may be written.
    tables : Path, optional
        A folder, for each table as CSV, Markdown and LaTeX.
    overwrite : bool
        Replace tables that were written there before.

    Returns
    -------
    list of Path
        The tables' files.

    Raises
    ------
    InputError
        If tables may not be written there; then nothing is.
    """
    if tables is not None:
        require_tables(tables, overwrite=overwrite)
    fit, sections = material.fit, write_sections(material)
    explored = written_as(path.absolute().parent / EXPLORER, EXPLORER_PAGE)
    page = report_html(fit, sections, explorer=EXPLORER if explored else "")
    written: list[Path] = []
    if tables is not None:
        simulated = fit.study.simulated
        written = write_tables(sections, tables, simulated=simulated, overwrite=overwrite)
    write_whole(path, page.encode())
    return written
