"""The posterior of every reported quantity, outcome by outcome, and the arms on one scale.

Published findings, linear models fitted again, and the posterior, side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alliance.data_prep.levels import AVERAGE, WITHIN
from alliance.diagnostics import words
from alliance.diagnostics.figures.comparison_figure import comparison_figure
from alliance.diagnostics.figures.contrast_figure import contrast_figure, standardised_contrasts
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.parts import Heading, Listing, Paragraph, Part, Picture, Section
from alliance.diagnostics.sheet import Sheet, without_empty
from alliance.diagnostics.sheets import results as sheets
from alliance.inference.digits import decimals, figures, interval_decimals, number
from alliance.inference.estimands.estimands import limit_error


def results(material: Material) -> Section:
    """A table and a sentence for each outcome, and the arms' contrasts in SDs.

    Parameters
    ----------
    material : Material
    """
    fit = material.fit
    legend = sheets.summary_legend(fit, at=material.at)
    parts: list[Part] = [
        Paragraph(words.sentences([*legend, _limits_told(material)])),
        _forest(material),
    ]
    tables = sheets.summary(fit, material.summary, material.priors, interval=material.interval)
    for table in tables:
        parts.append(Heading(words.label(fit.study, table.subject)))
        if table.subject in fit.outcomes:
            parts.append(Paragraph(_told(material, table.subject)))
        parts.append(table)
    return Section("results", "Results for each outcome", parts)


def _limits_told(material: Material) -> str:
    """How well the draws know the limits of intervals."""
    effective = material.summary["ess_tail"].dropna()
    effective = effective[effective > 0]
    if effective.empty:
        return ""
    usual, worst = (
        limit_error(float(number), interval=material.interval)
        for number in (effective.median(), effective.min())
    )
    return (
        f"Limits of {words.level_of(material.interval)} intervals have a Monte Carlo error of "
        f"about {figures(100 * usual, 2)}% of the posterior SD, the worst one "
        f"{figures(100 * worst, 2)}% (from the ESS in the tails)."
    )


def _forest(material: Material) -> Picture:
    fit = material.fit
    told = []
    for row in standardised_contrasts(fit, material.summary).to_dict("records"):
        digits = max(2, interval_decimals(row["lower"], row["upper"]))
        estimate = words.estimate(row["mean"], row["lower"], row["upper"], digits)
        told.append(f"{row['label']}, {words.level(fit.study, row['level'])}: {estimate}")
    return Picture(
        "contrasts",
        contrast_figure(fit, material.summary, interval=material.interval, at=material.at),
        "Contrasts of the arms in SDs of each outcome",
        f"Forest plot. Posterior mean and {words.level_of(material.interval)} interval, positive "
        f"where the first arm is better. {'; '.join(told)}.",
    )


def _told(material: Material, outcome: str) -> str:
    """The slope of the moderator in a sentence."""
    study = material.fit.study
    name = study.moderator.name
    row = material.row(outcome, "moderator_slope", AVERAGE)
    where = "averaged over the arms"
    if row is None:
        row, where = material.row(outcome, "moderator_slope", WITHIN), "within therapists"
    if row is None:
        return f"The model has no slope of the {name}."
    digits = decimals(row["sd"], row["mean"])
    direction = "higher" if row["mean"] > 0 else "lower"
    positive = row["prob_positive"]
    better = positive if study.outcomes[outcome].better == "higher" else 1 - positive
    return (
        f"For one point more of {name} the expected score is {number(abs(row['mean']), digits)} "
        f"points {direction}, {where} (slope {number(row['mean'], digits)}, "
        f"{words.level_of(material.interval)} interval "
        f"{words.interval(row['lower'], row['upper'], digits)}). The posterior probability that a "
        f"higher {name} goes with a better score is {words.chance(better)}."
    )


def comparison(material: Material) -> Section:
    """A table for each outcome, the figure, and the explanation of each verdict.

    Parameters
    ----------
    material : Material
    """
    fit, share = material.fit, words.level_of(material.interval)
    legend = sheets.comparison_legend(fit, material.comparison, at=material.at)
    parts: list[Part] = [Paragraph(words.sentences(legend))]
    if not material.findings:
        parts.append(Paragraph("No published findings are kept with this run."))
    parts.append(
        Picture(
            "comparison",
            comparison_figure(fit, material.comparison, interval=material.interval, at=material.at),
            "Published, refitted and posterior estimates",
            f"Forest plots by outcome: estimates with {share} intervals from OLS, REML and the "
            "posterior, and from the publication where it states numbers. The numbers stand in "
            "the tables below.",
        )
    )
    for table in sheets.comparison(fit, material.comparison, interval=material.interval):
        parts += [Heading(words.label(fit.study, table.subject)), table]
        own = material.comparison[material.comparison["outcome"] == table.subject]
        parts += [Paragraph(note) for note in sheets.refit_notes(fit, own)]
    rows = sheets.compared_rows(material.comparison)
    if told := _explanations(material, rows.to_dict("records")):
        parts += [Heading("Verdicts on the published findings"), told]
    sources = [text for text in dict.fromkeys(rows["source"].dropna()) if text]
    if sources:
        parts += [Heading("Sources of the published findings"), Listing(sources)]
    return Section("comparison", "Comparison with published and refitted models", parts)


def _explanations(material: Material, rows: Sequence[dict[Any, Any]]) -> Sheet | None:
    study = material.fit.study
    shown = [
        {
            "Outcome": words.label(study, row["outcome"]),
            "Quantity": words.quantity_and_level(study, row["quantity"], row["level"]),
            "Published": row["claim"],
            "Verdict": row["verdict"],
            "Explanation": row["explanation"],
            "Known by": row["known_by"],
            "Note": row["note"],
        }
        for row in rows
        if isinstance(row["verdict"], str)
    ]
    if not shown:
        return None
    sheet = Sheet(
        "verdicts",
        "How the posterior stands to each published finding",
        shown,
        "Known by: how the finding came to be known; abstract: read in the abstract; secondary: "
        "quoted elsewhere; derived: computed.",
        heads=2,
    )
    return without_empty(sheet, "Note")
