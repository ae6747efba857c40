"""The sections of a report in their order, and the report written to its files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from alliance.data_prep.errors import InputError
from alliance.diagnostics.report.checks import checks, gate, prior, sensitivity
from alliance.diagnostics.report.exports import require_tables, write_tables
from alliance.diagnostics.report.kit import KIT, for_word, kit
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
from alliance.diagnostics.report.trials import trials
from alliance.diagnostics.report.word import SUFFIX, require_word, word_document
from alliance.inference.runs.whole_files import (
    EXPLORER,
    EXPLORER_PAGE,
    WORD,
    require_output,
    write_whole,
    written_as,
)

ALONG_MODERATOR, OF_TRIALS = "effects", "trials"
# By the name that each has in the page, with the title it has where it cannot be written.
SECTIONS: dict[str, tuple[str, Callable[[Material], Section]]] = {
    "question": ("Question and answers", question),
    "results": ("Results for each outcome", results),
    OF_TRIALS: ("Several trials", trials),
    "comparison": ("Comparison with published and refitted models", comparison),
    ALONG_MODERATOR: ("Effects along the moderator", effects),
    "limitations": ("Limitations", limitations),
    "data": ("Data and flow of patients", data),
    "kit": (KIT, kit),
    "therapists": ("Therapists", therapists),
    "predictions": ("Predictions by arm", predictions),
    "paper": (PRINTED, printed),
    "model": ("Model and priors", model),
    "prior": ("Prior predictive check", prior),
    "gate": ("Gate and computation", gate),
    "checks": ("Checks of the model", checks),
    "sensitivity": ("Sensitivity", sensitivity),
    "citations": ("Methods and citations", citations),
}
LAST_OF_MAIN = "limitations"  # the sections after it are appendices
APPENDICES = list(SECTIONS)[list(SECTIONS).index(LAST_OF_MAIN) + 1 :]


def write_sections(material: Material) -> list[Section]:
    """Every section, the checklist last; one that a run does not allow says why.

    A plain trial has nothing along the moderator, and a single one is not of several.

    Parameters
    ----------
    material : Material
    """
    plain, one_trial = material.fit.study.moderator is None, not material.fit.several_trials
    left_out = {ALONG_MODERATOR: plain, OF_TRIALS: one_trial}
    built = [
        replace(write_section(material, name), appendix=name in APPENDICES)
        for name in SECTIONS
        if not left_out.get(name, False)
    ]
    # The checklist stands before the citations, and knows of every other section.
    return [*built[:-1], replace(checklist(material, built), appendix=True), built[-1]]


def write_section(material: Material, name: str) -> Section:
    """One section; where the run does not allow it, it says why.

    Parameters
    ----------
    material : Material
    name : str
        A key of `SECTIONS`.
    """
    title, write = SECTIONS[name]
    try:
        return write(material)
    except InputError as error:
        return Section(name, title, [Notice(f"Not available: {error}")])


def write_report(
    material: Material,
    path: Path,
    *,
    tables: Path | None = None,
    word: Path | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write the page, and its tables and the Word document before it: they may be refused.

    Parameters
    ----------
    material : Material
    path : Path
        The page; who asks has made sure that it may be written.
    tables : Path, optional
        A folder, for each table as CSV, Markdown and LaTeX.
    word : Path, optional
        The paper kit as a Word document; who asks has made sure that it may be written.
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
    title, simulated = fit.study.title, fit.study.simulated
    explored = written_as(path.absolute().parent / EXPLORER, EXPLORER_PAGE)
    page = report_html(fit, sections, explorer=EXPLORER if explored else "")
    written: list[Path] = []
    if word is not None:
        document = word_document(title, for_word(material, sections), simulated=simulated)
    if tables is not None:
        written = write_tables(sections, tables, simulated=simulated, overwrite=overwrite)
    if word is not None:
        write_whole(word, document)
    write_whole(path, page.encode())
    return written


def require_word_file(path: Path, *, overwrite: bool = False, inputs: Iterable[Path] = ()) -> None:
    """Refuse a place for the Word document, before the work for it.

    Parameters
    ----------
    path : Path
    overwrite, inputs
        As of `inference.runs.whole_files.require_output`.

    Raises
    ------
    InputError
        If it does not end in .docx, may not be written, or the package for it is not installed.
    """
    if path.suffix.lower() != SUFFIX:
        raise InputError(
            f"{str(path)!r} does not end in {SUFFIX}, as Word's documents do.",
            f"Name it {str(path.with_suffix(SUFFIX))!r}.",
        )
    require_word()
    require_output(path, WORD, overwrite=overwrite, inputs=inputs)
