"""The sections of a report in their order."""

from __future__ import annotations

from collections.abc import Callable

from data_prep.errors import InputError
from diagnostics.report.material import Material
from diagnostics.report.parts import Notice, Section
from diagnostics.report.section_checklist import checklist
from diagnostics.report.section_checks import checks
from diagnostics.report.section_citations import citations
from diagnostics.report.section_comparison import comparison
from diagnostics.report.section_data import data
from diagnostics.report.section_effects import effects
from diagnostics.report.section_gate import gate
from diagnostics.report.section_limitations import limitations
from diagnostics.report.section_model import model
from diagnostics.report.section_predictions import predictions
from diagnostics.report.section_prior import prior
from diagnostics.report.section_question import question
from diagnostics.report.section_results import results
from diagnostics.report.section_sensitivity import sensitivity
from diagnostics.report.section_therapists import therapists

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
