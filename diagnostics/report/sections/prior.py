"""What the priors alone expect of each outcome, before the data are seen."""

from __future__ import annotations

from typing import Any

import pandas as pd

from alliance.diagnostics.figures.prior_figure import prior_figure
from alliance.diagnostics.report import words
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.parts import Notice, Paragraph, Part, Picture, ReportTable, Section
from alliance.inference.digits import interval_decimals


def prior(material: Material) -> Section:
    """The prior predictive check: simulated trials against each outcome's scale.

    Parameters
    ----------
    material : Material
    """
    fit, checks = material.fit, list(material.prior_checks.values())
    verdicts = [f"{words.label(fit, check.outcome)}: {check.verdict}" for check in checks]
    parts: list[Part] = [
        Paragraph(
            "Trials were simulated from the priors, with the arms, therapists and values of the "
            f"analysed patients, and held against each scale. {'; '.join(verdicts)}."
        ),
        Picture(
            "prior",
            prior_figure(checks),
            "What the priors expect of each outcome",
            f"By outcome: scores simulated from the priors beside the range of the scale, and "
            f"central 95% intervals of effects. {'; '.join(verdicts)}. The numbers stand in the "
            "table below.",
        ),
        _table(material),
    ]
    advice = dict.fromkeys(
        result.recommendation
        for check in checks
        for result in check.results
        if result.recommendation
    )
    parts += [Notice(text) for text in advice]
    return Section("prior", "Prior predictive check", parts)


def _table(material: Material) -> ReportTable:
    fit = material.fit
    numbers = pd.concat(
        [check.table() for check in material.prior_checks.values()], ignore_index=True
    )
    rows: list[dict[str, Any]] = []
    for row in numbers.to_dict("records"):
        digits = interval_decimals(row["lower"], row["upper"], row["median"])
        rows.append(
            {
                "Outcome": words.label(fit, row["outcome"]),
                "Quantity": f"{words.plain(row['quantity'])} {row['level']}".strip(),
                "Median": words.number(row["median"], digits),
                "Central 95%": words.interval(row["lower"], row["upper"], digits),
                "Too large from": words.figures(row["large"]),
                "Share too large": words.figures(row["share_large"], 2),
                "At most": words.figures(row["most_large"], 2),
                "Verdict": row["verdict"],
            }
        )
    return ReportTable(
        "prior_check",
        "Quantities under the priors, in points of each outcome; slopes over the observed range "
        "of their variable, therapists' slopes over one SD. A share of draws beyond what is too "
        "large is held against the largest plausible one.",
        pd.DataFrame(rows),
        numbers,
        row_heads=2,
    )
