"""The posterior of every reported quantity, outcome by outcome, and the arms on one scale.

Published findings, linear models fitted again, and the posterior, side by side.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from alliance.data_prep.levels import AVERAGE, WITHIN
from alliance.diagnostics.figures.comparison_figure import comparison_figure
from alliance.diagnostics.figures.contrast_figure import contrast_figure, standardised_contrasts
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
from alliance.inference.digits import decimals, interval_decimals
from alliance.inference.estimands.compared_at import comparison_places, places_in_words
from alliance.inference.estimands.estimands import limit_error
from alliance.inference.published.comparison import refit_words


def results(material: Material) -> Section:
    """A table and a sentence for each outcome, and the arms' contrasts in SDs.

    Parameters
    ----------
    material : Material
    """
    fit, share = material.fit, words.share(material.interval)
    parts: list[Part] = [
        Paragraph(
            f"Posterior means, SDs and {share} equal-tailed intervals, on the outcome's own scale. "
            "P(> 0) is the posterior probability that the quantity is above zero; for an outcome "
            "on which lower scores are better, above zero is worse. ESS is the smaller of the "
            "effective numbers of draws in the bulk and in the tails."
            f"{_limits_told(material)} {places_in_words(fit, material.at)}"
        ),
        _forest(material),
    ]
    for outcome in dict.fromkeys(material.summary["outcome"]):
        parts.append(Heading(words.label(fit, outcome)))
        if outcome in fit.outcomes:
            parts.append(Paragraph(_told(material, outcome)))
        parts.append(_table(material, outcome))
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
        f" Limits of {words.share(material.interval)} intervals have a Monte Carlo error of about "
        f"{words.figures(100 * usual, 2)}% of the posterior SD, the worst one "
        f"{words.figures(100 * worst, 2)}% (from the ESS in the tails)."
    )


def _forest(material: Material) -> Picture:
    fit, share = material.fit, words.share(material.interval)
    shown = standardised_contrasts(fit, material.summary)
    told = []
    for row in shown.to_dict("records"):
        digits = max(2, interval_decimals(row["lower"], row["upper"]))
        estimate = words.estimate(row["mean"], row["lower"], row["upper"], digits)
        told.append(f"{row['label']}, {words.contrast(fit, row['level'])}: {estimate}")
    return Picture(
        "contrasts",
        contrast_figure(fit, material.summary, interval=material.interval, at=material.at),
        "Contrasts of the arms in SDs of each outcome",
        f"Forest plot. Posterior mean and {share} interval, positive where the first arm is "
        f"better. {'; '.join(told)}.",
    )


def _told(material: Material, outcome: str) -> str:
    """The slope of the moderator in a sentence."""
    fit = material.fit
    described, name = fit.study.outcomes[outcome], fit.study.moderator.name
    row = material.row(outcome, "moderator_slope", AVERAGE)
    where = "averaged over the arms"
    if row is None:
        row, where = material.row(outcome, "moderator_slope", WITHIN), "within therapists"
    if row is None:
        return f"The model has no slope of the {name}."
    digits = decimals(row["sd"], row["mean"])
    direction = "higher" if row["mean"] > 0 else "lower"
    better = row["prob_positive"] if described.better == "higher" else 1 - row["prob_positive"]
    return (
        f"For one point more of {name} the expected score is "
        f"{words.number(abs(row['mean']), digits)} points {direction}, {where} (slope "
        f"{words.number(row['mean'], digits)}, {words.share(material.interval)} interval "
        f"{words.interval(row['lower'], row['upper'], digits)}). The posterior probability that a "
        f"higher {name} goes with a better score is {words.chance(better)}."
    )


def _table(material: Material, outcome: str) -> ReportTable:
    fit, share = material.fit, words.share(material.interval)
    priors = {
        (row["quantity"], row["level"]): words.prior(row)
        for row in material.priors[material.priors["outcome"] == outcome].to_dict("records")
    }
    numbers = material.rows(outcome)
    rows: list[dict[str, Any]] = []
    for row in numbers.to_dict("records"):
        digits = decimals(row["sd"], row["mean"])
        rows.append(
            {
                "Quantity": words.plain(row["quantity"]),
                "Level": row["level"] or words.NONE,
                "Unit": words.unit(fit, row["quantity"]),
                "Mean": words.number(row["mean"], digits),
                "SD": words.number(row["sd"], digits),
                f"{share} interval": words.interval(row["lower"], row["upper"], digits),
                "P(> 0)": words.chance(row["prob_positive"]),
                "ESS": words.number(min(row["ess_bulk"], row["ess_tail"]), 0),
                "R-hat": words.number(row["r_hat"], 3),
                "Prior": priors.get((row["quantity"], row["level"]), words.NONE),
            }
        )
    return ReportTable(
        f"results_{outcome}",
        f"{words.headed(fit, outcome)}. {share} equal-tailed intervals; {words.arms(fit)}; a level "
        "such as A-B is A minus B.",
        pd.DataFrame(rows),
        numbers,
        row_heads=2,
    )


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
        parts.append(_comparison_table(material, outcome, own.to_dict("records")))
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


def _comparison_table(material: Material, outcome: str, rows: list[dict[Any, Any]]) -> ReportTable:
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
