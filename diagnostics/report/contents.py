"""The sections of a report in their order."""

from __future__ import annotations

from collections.abc import Callable

from alliance.data_prep.errors import InputError
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.parts import Notice, Section
from alliance.diagnostics.report.sections.answers import effects, predictions, therapists
from alliance.diagnostics.report.sections.checklist import checklist, citations
from alliance.diagnostics.report.sections.checks import checks, gate
from alliance.diagnostics.report.sections.limitations import limitations
from alliance.diagnostics.report.sections.model import model
from alliance.diagnostics.report.sections.question import data, question
from alliance.diagnostics.report.sections.results import comparison, results
from alliance.diagnostics.report.sections.sensitivity import prior, sensitivity

# By the name that each has in the page, with the title it has where it cannot be written.
SECTIONS: dict[str, tuple[str, Callable[[Material], Section]]] = {
    "question": ("Question and answers at a glance", question),
    "data": ("Data and flow of patients", data),
    "model": ("Model and priors", model),
    "prior": ("Prior predictive check", prior),
    "gate": ("Gate and computation", gate),
    "results": ("Results for each outcome", results),
    "comparison": ("Comparison with published and refitted models", comparison),
    "effects": ("Effects along the moderator", effects),
    "therapists": ("Therapists", therapists),
    "predictions": ("Predictions by arm", predictions),
    "checks": ("Checks of the model", checks),
    "sensitivity": ("Sensitivity", sensitivity),
    "limitations": ("Limitations", limitations),
    "citations": ("Methods and citations", citations),
}


def write_sections(material: Material) -> list[Section]:
    """Every section, the checklist last; one that a run does not allow says why.

    Parameters
    ----------
    material : Material
    """
    built = []
    for name, (title, write) in SECTIONS.items():
        try:
            built.append(write(material))
        except InputError as error:
            built.append(Section(name, title, [Notice(f"Not available: {error}")]))
    # The checklist stands before the citations, and knows of every other section.
    return [*built[:-1], checklist(material, built), built[-1]]
