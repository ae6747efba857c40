"""What a paper takes from the report: methods, results, a table of them, formulas, references."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from alliance.data_prep.levels import JOINT
from alliance.diagnostics import words
from alliance.diagnostics.report.limitations import checklist
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.page import (
    Code,
    Facts,
    Heading,
    Listing,
    Notice,
    Paragraph,
    Part,
    Picture,
    References,
    Section,
)
from alliance.diagnostics.report.paragraphs import Cited, found, methods
from alliance.diagnostics.report.r_formulas import alike, r_formulas
from alliance.diagnostics.report.results import first_table, flow_picture
from alliance.diagnostics.sheet import Sheet
from alliance.inference.digits import decimals, number
from alliance.inference.estimands.compared_at import places_in_words

KIT = "For a paper: methods and results"
# Of the report
SUPPLEMENT = ("trials", "model", "prior", "gate", "checks", "sensitivity", "comparison")
# Quantities of the table, and those of them that are differences with a better side
LEFT_OUT = frozenset(["intercept", "baseline_slope", "covariate_slope"])
WITH_SIDES = frozenset(["moderator_slope", "arm_contrast", "interaction", "interaction_between"])
DIFFERENCES = frozenset(["risk_difference", "rate_difference"])


def kit(material: Material) -> Section:
    """Paragraphs to paste, the table of results, and the model as users of R write it.

    Parameters
    ----------
    material : Material
    """
    cite = Cited()
    parts: list[Part] = [
        Paragraph(
            "Sentences of this section are written from what was done and found, to be pasted and "
            "cut. The flow diagram and the table of patients before treatment stand in the "
            "appendix on the data, equations in that on the model, the checklist of Bayesian "
            "reporting has an appendix of its own."
        ),
        Heading("Methods"),
        *map(Paragraph, methods(material, cite)),
        Heading("Results"),
        *result_parts(material, cite),
        Heading("The model as users of R write it"),
        *formula_parts(material),
        Heading("References"),
        References(cite.references),
    ]
    return Section("kit", KIT, parts)


def for_word(material: Material, built: Sequence[Section]) -> list[Section]:
    """The whole paper kit: what a paper has, in its order, and a supplement.

    Parameters
    ----------
    material : Material
    built : sequence of Section
        Of the report, from which question, figures, limitations and the supplement are taken.
    """
    cite, by_name = Cited(), {section.name: section for section in built}
    asked = [
        part
        for part in by_name["question"].parts
        if isinstance(part, Notice | Paragraph | Facts | Heading)
    ]
    until = next(k for k, part in enumerate(asked) if isinstance(part, Heading))
    facts = [part for part in asked if isinstance(part, Facts)]
    figures = [  # the forest of all outcomes, and courses over time
        part
        for name in ("question", "results")
        for part in by_name[name].parts
        if isinstance(part, Picture)
    ]
    main = [
        Section("question", "Question", [*asked[:until], *facts]),
        Section("methods", "Methods", [Paragraph(text) for text in methods(material, cite)]),
        Section("data", "Patients", [*flow_picture(material), *first_table(material)]),
        Section("results", "Results", [*result_parts(material, cite), *figures]),
        by_name["limitations"],
        Section("citations", "References", [References(cite.references)]),
    ]
    formulas = Section(
        "formula", "The model as users of R write it", list(formula_parts(material)), appendix=True
    )
    supplement = [formulas, *(by_name[name] for name in SUPPLEMENT if name in by_name)]
    listed = replace(checklist(material, [*main, *supplement]), appendix=True)
    return [*main, listed, *supplement]


def result_parts(material: Material, cite: Cited) -> Iterator[Part]:
    """Paragraphs on what was found, each with its heading in its first words, and their table.

    Parameters
    ----------
    material : Material
    cite : Cited
    """
    for title, paragraphs in found(material, cite):
        first, *others = paragraphs
        yield Paragraph(f"{title}. {first}")
        yield from map(Paragraph, others)
    yield results_table(material)


def results_table(material: Material) -> Sheet:
    """The table of results: everything but intercepts and the slopes of what is adjusted for.

    Parameters
    ----------
    material : Material
    """
    fit, share = material.fit, words.level_of(material.interval)
    table = material.whole_summary
    table = table[~table["quantity"].isin(LEFT_OUT)].reset_index(drop=True)
    rows = []
    for row in table.to_dict("records"):
        outcome = str(row["outcome"])
        digits = decimals(row["sd"], row["mean"])
        visit = str(row.get("visit", "") or "")
        label = words.label(fit.study, outcome)
        rows.append(
            {
                "Outcome": label if not visit or visit in label else f"{label}, {visit}",
                "Quantity": words.quantity_and_level(fit.study, row["quantity"], row["level"]),
                f"Mean ({share} interval)": words.estimate(
                    row["mean"], row["lower"], row["upper"], digits
                ),
                "SD": number(row["sd"], digits),
                "P(better)": _better(material, outcome, row["quantity"], row["prob_positive"]),
            }
        )
    breaks = [k for k in range(len(rows) - 1) if table["outcome"][k] != table["outcome"][k + 1]]
    study = fit.study
    slopes = words.of_moderator(study, "Slopes and interactions: for one point of {name}. ")
    units = [
        f"{words.label(study, name)}: {words.scale(study.outcomes[name])}"
        for name in fit.outcomes
        if study.outcomes[name].visit_of is None
    ]
    told = [
        f"Posterior means with {share} equal-tailed intervals.",
        f"{slopes}{places_in_words(fit, material.at)}",
        "P(better): probability that the difference is for the better, with the first arm or with "
        f"{words.of_moderator(study, 'a higher {name}') or 'the first arm'}.",
        f"Scales: {'; '.join(units)}." if units else "",
    ]
    return Sheet(
        "paper_results",
        "Results",
        rows,
        words.sentences(told),
        table,
        heads=2,
        breaks=breaks,
        once=1,
    )


def _better(material: Material, outcome: str, quantity: str, positive: float) -> str:
    study = material.fit.study
    if outcome == JOINT:
        return words.chance(positive) if quantity == "pooled_moderator_slope" else ""
    if quantity not in WITH_SIDES | DIFFERENCES:
        return ""
    named = [
        each for name, each in study.outcomes.items() if outcome in (name, each.visit_of or name)
    ]
    return words.chance(positive if named[0].better == "higher" else 1 - positive)


def formula_parts(material: Material) -> Iterator[Part]:
    """The model in the notation of brms and, where it has one, of lme4.

    Parameters
    ----------
    material : Material
    """
    fit = material.fit
    yield Paragraph(
        "In the notation of the R packages brms and lme4, for readers who know it; the model was "
        "not fitted there. lme4 has no priors, and means and intervals are then others."
    )
    notes: list[str] = []
    for label, formula in alike(r_formulas(fit), fit):
        yield Code(formula.brms, f"{label}, in the notation of brms")
        if formula.lme4:
            yield Code(formula.lme4, f"{label}, in the notation of lme4")
        notes += formula.notes
    yield Listing(notes)
