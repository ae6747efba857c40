"""Contrasts of the arms along the moderator, and each arm's expected score."""

from __future__ import annotations

from typing import Any

import pandas as pd

from alliance.diagnostics.figures.effect_figures import effect_figure, score_figure
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
from alliance.inference.answers.effect_tables import effects_table
from alliance.inference.answers.effects import Effects
from alliance.inference.digits import decimals

QUANTITIES = {"arm_contrast": "contrast", "interaction": "difference of slopes"}


def effects(material: Material) -> Section:
    """Curves with bands for each outcome, and a table at the quartiles of the moderator.

    Parameters
    ----------
    material : Material
    """
    fit, share = material.fit, words.share(material.interval)
    name = fit.study.moderator.name
    answers = list(material.effects.values())
    parts: list[Part] = [
        Paragraph(
            f"How the arms compare at each observed value of the {name}, with an average "
            "therapist, averaged over the analysed patients. The interval holds at one value by "
            f"itself, the band at all values at once. Whether a contrast changes along the {name} "
            "is told by the difference of slopes, not by where a band excludes zero."
        ),
        Picture(
            "scores",
            score_figure(fit, answers),
            f"Expected scores by arm along the {name}",
            f"Curves of the expected score of each arm with {share} intervals, over the observed "
            f"range of the {name}. {_scores(material)}",
        ),
    ]
    for outcome, answer in material.effects.items():
        parts += [
            Heading(words.label(fit, outcome)),
            Picture(
                f"effects-{outcome}",
                effect_figure(fit, [answer]),
                f"Contrasts along the {name}: {words.label(fit, outcome)}",
                f"One panel for each contrast: median, {share} interval and {share} band along the "
                f"{name}; below, the probability that the first arm is better. The numbers at the "
                "quartiles stand in the table below.",
            ),
            _table(material, outcome, answer),
        ]
    return Section("effects", f"Effects along the {name}", parts)


def _scores(material: Material) -> str:
    told = []
    for outcome, answer in material.effects.items():
        low, high = answer.observed
        expected = answer.curves.expected
        digits = decimals(float(expected.std(axis=0).min()))
        ends = [
            f"{arm} {words.number(curve[0], digits)} to {words.number(curve[-1], digits)}"
            for arm, curve in zip(answer.curves.arms, expected.mean(axis=0), strict=True)
        ]
        told.append(
            f"{words.label(material.fit, outcome)}, from {words.figures(low, 4)} to "
            f"{words.figures(high, 4)}: {', '.join(ends)}"
        )
    return "; ".join(told) + "."


def _table(material: Material, outcome: str, answer: Effects) -> ReportTable:
    fit, share = material.fit, words.share(material.interval)
    name = fit.study.moderator.name
    found = effects_table(answer, every=False)
    kept = found[found["quantity"].isin(QUANTITIES)]
    rows: list[dict[str, Any]] = []
    for row in kept.to_dict("records"):
        digits = decimals(row["sd"], row["mean"])
        curve = row["quantity"] == "arm_contrast"
        rows.append(
            {
                "Contrast": words.contrast(fit, row["level"]),
                "What": QUANTITIES[row["quantity"]],
                name.capitalize(): words.figures(row["moderator"], 4) if curve else "all values",
                "Mean": words.number(row["mean"], digits),
                f"{share} interval": words.interval(row["lower"], row["upper"], digits),
                f"{share} band": words.interval(row["band_lower"], row["band_upper"], digits),
                "P(first better)": words.chance(row["prob_better"]),
            }
        )
    return ReportTable(
        f"effects_{outcome}",
        f"{words.headed(fit, outcome)}: contrasts in points at the ends and quartiles of the "
        f"observed {name}, and differences of slopes in points for one point of {name}; "
        f"{words.arms(fit)}.",
        pd.DataFrame(rows),
        effects_table(answer),
        row_heads=3,
    )
