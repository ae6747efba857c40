"""The sections of a report in their order."""

from __future__ import annotations

from collections.abc import Callable

from alliance.data_prep.errors import InputError
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.parts import Notice, Section
from alliance.diagnostics.report.sections.checklist import checklist
from alliance.diagnostics.report.sections.checks import checks
from alliance.diagnostics.report.sections.citations import citations
from alliance.diagnostics.report.sections.comparison import comparison
from alliance.diagnostics.report.sections.data import data
from alliance.diagnostics.report.sections.effects import effects
from alliance.diagnostics.report.sections.gate import gate
from alliance.diagnostics.report.sections.limitations import limitations
from alliance.diagnostics.report.sections.model import model
from alliance.diagnostics.report.sections.predictions import predictions
from alliance.diagnostics.report.sections.prior import prior
from alliance.diagnostics.report.sections.question import question
from alliance.diagnostics.report.sections.results import results
from alliance.diagnostics.report.sections.sensitivity import sensitivity
from alliance.diagnostics.report.sections.therapists import therapists

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
