"""Published findings, linear models fitted again, and the posterior, side by side."""

from __future__ import annotations

from typing import Any

import pandas as pd

from alliance.data_prep.levels import AVERAGE
from alliance.diagnostics.figures.comparison_figure import comparison_figure
from alliance.diagnostics.report import words
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.parts import (
    Heading,
    Listing,
    Paragraph,
    Part,
    Picture,
    ReportTable,
    Section,
)
from alliance.inference.digits import decimals
from alliance.inference.estimands.compared_at import comparison_places
from alliance.inference.published.comparison import refit_words

SHOWN = ("moderator_slope", "arm_contrast", "interaction")
SOURCES = {
    "published": "Published",
    "ols_main": "OLS, main effects",
    "ols": "OLS",
    "reml": "REML",
    "posterior": "Posterior",
}


def comparison(material: Material) -> Section:
    """A table for each outcome, the figure, and the explanation of each verdict.

    Parameters
    ----------
    material : Material
    """
    fit, share = material.fit, words.share(material.interval)
    table = material.comparison.rename(columns={"posterior_mean": "posterior_estimate"})
    overall = (table["quantity"] != "moderator_slope") | (table["level"] == AVERAGE)
    rows = table[(table["quantity"].isin(SHOWN) & overall) | table["claim"].notna()]
    parts: list[Part] = [
        Paragraph(
            "OLS: ordinary least squares with all interactions of the arms; OLS, main effects: "
            "without them; REML: the linear mixed model with the posterior's therapist effects. "
            "Published numbers are turned to later arm minus earlier arm. "
            + " ".join([*comparison_places(fit, material.at), *refit_words(material.comparison)])
        )
    ]
    if material.findings:
        parts.append(
            Paragraph(
                "The verdict undetermined means that the interval includes zero, or overlaps the "
                "published one without holding its estimate: it shows neither presence nor "
                "absence of an effect."
            )
        )
    else:
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
    for outcome in fit.outcomes:
        own = rows[rows["outcome"] == outcome]
        parts.append(Heading(words.label(fit, outcome)))
        parts.append(_table(material, outcome, own.to_dict("records")))
        notes = [note for note in dict.fromkeys(own["refit_note"]) if note]
        parts += [Paragraph(f"{note.rstrip('.')}.") for note in notes]
    if told := _explanations(material, rows.to_dict("records")):
        parts += [Heading("Verdicts on the published findings"), told]
    sources = [text for text in dict.fromkeys(rows["source"].dropna()) if text]
    if sources:
        parts += [Heading("Sources of the published findings"), Listing(sources)]
    return Section("comparison", "Comparison with published and refitted models", parts)


def _cell(row: dict[Any, Any], source: str, digits: int) -> str:
    value, lower, upper = (row[f"{source}_{name}"] for name in ("estimate", "lower", "upper"))
    return words.estimate(value, lower, upper, digits)


def _table(material: Material, outcome: str, rows: list[dict[Any, Any]]) -> ReportTable:
    fit, share = material.fit, words.share(material.interval)
    shown = []
    for row in rows:
        digits = decimals(row["posterior_sd"])
        cells = {"Quantity": words.plain(row["quantity"]), "Level": row["level"] or words.NONE}
        cells |= {head: _cell(row, source, digits) for source, head in SOURCES.items()}
        if cells["Published"] == words.NONE and isinstance(row["claim"], str):
            cells["Published"] = row["claim"]
        cells["P(> 0)"] = words.chance(row["prob_positive"])
        cells["Verdict"] = row["verdict"] if isinstance(row["verdict"], str) else words.NONE
        shown.append(cells)
    table = pd.DataFrame(shown)
    if not material.findings:
        table = table.drop(columns=["Published", "Verdict"])
    every = material.comparison
    return ReportTable(
        f"comparison_{outcome}",
        f"{words.headed(fit, outcome)}: estimates with {share} intervals (published: as printed) "
        f"in points; slopes and interactions for one point of {fit.study.moderator.name}.",
        table,
        every[every["outcome"] == outcome],
        row_heads=2,
    )


def _explanations(material: Material, rows: list[dict[Any, Any]]) -> ReportTable | None:
    shown = [
        {
            "Outcome": words.label(material.fit, row["outcome"]),
            "Quantity": f"{words.plain(row['quantity'])} {row['level']}".strip(),
            "Published": row["claim"],
            "Verdict": row["verdict"],
            "Explanation": row["explanation"],
            "Known by": row["known_by"],
            "Note": row["note"] or words.NONE,
        }
        for row in rows
        if isinstance(row["verdict"], str)
    ]
    if not shown:
        return None
    table = pd.DataFrame(shown)
    if (table["Note"] == words.NONE).all():
        table = table.drop(columns="Note")
    return ReportTable(
        "verdicts",
        "How the posterior stands to each published finding. Known by: how the finding came to be "
        "known; abstract: read in the abstract; secondary: quoted elsewhere; derived: computed.",
        table,
        row_heads=2,
    )
