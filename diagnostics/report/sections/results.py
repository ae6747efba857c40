"""The posterior of every reported quantity, outcome by outcome, and the arms on one scale."""

from __future__ import annotations

from typing import Any

import pandas as pd

from alliance.data_prep.levels import AVERAGE, WITHIN
from alliance.diagnostics.figures.contrast_figure import contrast_figure, standardised_contrasts
from alliance.diagnostics.report import words
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.parts import (
    Heading,
    Paragraph,
    Part,
    Picture,
    ReportTable,
    Section,
)
from alliance.inference.digits import decimals, interval_decimals
from alliance.inference.estimands.compared_at import places_in_words
from alliance.inference.estimands.summary import limit_error


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
