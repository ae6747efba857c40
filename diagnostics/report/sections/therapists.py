"""What differs between therapists."""

from __future__ import annotations

from typing import Any

import pandas as pd

from alliance.diagnostics.figures.therapist_figure import therapist_figure
from alliance.diagnostics.report import words
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.parts import Paragraph, Part, Picture, ReportTable, Section
from alliance.inference.digits import decimals, interval_decimals

WORDS = {
    "therapist_share": "share of the outcome's variance between therapists",
    "alliance_sd_between": "SD of {moderator} between therapists",
    "alliance_sd_within": "SD of {moderator} within therapists",
    "alliance_share": "share of the variance of {moderator} between therapists",
}


def therapists(material: Material) -> Section:
    """The therapists' effects with ranks, and how much therapists differ.

    Parameters
    ----------
    material : Material
    """
    fit, share = material.fit, words.share(material.interval)
    answers = list(material.therapists.values())
    parts: list[Part] = [
        Paragraph(
            "Therapists bear the codes of the data file. Effects of therapists with few patients "
            "are drawn towards the average, and ranks are uncertain: this is no list of merit."
        ),
        _shares(material),
    ]
    if any(answer.ranks is not None for answer in answers):
        parts.append(
            Picture(
                "therapists",
                therapist_figure(fit, answers),
                "Effects of the therapists",
                f"Caterpillar plots by outcome: posterior mean and {share} interval of each "
                "therapist's effect, best on top, and of the slopes where they vary. The numbers "
                "and ranks stand in the tables below.",
            )
        )
        parts += [
            _table(material, outcome)
            for outcome, answer in material.therapists.items()
            if answer.ranks is not None
        ]
    else:
        parts.append(Paragraph("The model has no therapist effects."))
    return Section("therapists", "Therapists", parts)


def _shares(material: Material) -> ReportTable:
    fit, share = material.fit, words.share(material.interval)
    name = fit.study.moderator.name
    tables = pd.concat([answer.table for answer in material.therapists.values()])
    numbers = tables[tables["quantity"].isin(WORDS)]
    rows: list[dict[str, Any]] = []
    for row in numbers.to_dict("records"):
        digits = interval_decimals(row["lower"], row["upper"], row["mean"])
        if "share" in row["quantity"]:
            digits = max(3, digits)
        level = row["level"] if row["level"] not in ("", "average") else ""
        told = WORDS[row["quantity"]].format(moderator=name)
        rows.append(
            {
                "Outcome": words.label(fit, row["outcome"]),
                "Quantity": f"{told}, {level}" if level else told,
                "Unit": "share" if "share" in row["quantity"] else f"points of {name}",
                "Estimate": words.number(row["mean"], digits),
                f"{share} interval": words.interval(row["lower"], row["upper"], digits),
                "From": row["source"],
            }
        )
    return ReportTable(
        "therapist_shares",
        f"How much therapists differ. {share} intervals: equal-tailed from the posterior; "
        f"confidence intervals where they come from the ratings of {name} alone.",
        pd.DataFrame(rows),
        numbers,
        row_heads=2,
    )


def _table(material: Material, outcome: str) -> ReportTable:
    fit, share = material.fit, words.share(material.interval)
    numbers = material.therapists[outcome].table
    numbers = numbers[numbers["quantity"].isin(("therapist_effect", "therapist_slope"))]
    slopes = numbers[numbers["quantity"] == "therapist_slope"].set_index("level")
    rows: list[dict[str, Any]] = []
    for row in numbers[numbers["quantity"] == "therapist_effect"].to_dict("records"):
        digits = decimals(row["sd"], row["mean"])
        cells = {
            "Therapist": row["level"],
            "Patients": words.number(row["patients"], 0),
            f"Effect ({share} interval)": words.estimate(
                row["mean"], row["lower"], row["upper"], digits
            ),
            f"Rank ({share} interval)": words.estimate(
                row["rank"], row["rank_lower"], row["rank_upper"], 0
            ),
            "P(best)": words.chance(row["prob_best"]),
        }
        if len(slopes):
            own = slopes.loc[row["level"]]
            cells[f"Slope ({share} interval)"] = words.estimate(
                own["mean"], own["lower"], own["upper"], decimals(own["sd"], own["mean"])
            )
        rows.append(cells)
    return ReportTable(
        f"therapists_{outcome}",
        f"{words.headed(fit, outcome)}: effects in points against an average therapist, at the "
        f"mean {fit.study.moderator.name}; rank 1 is best; slopes in points for one point of "
        f"{fit.study.moderator.name}.",
        pd.DataFrame(rows),
        numbers,
    )
