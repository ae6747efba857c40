"""Contrasts of the arms along the moderator, and each arm's expected score.

Predictions by arm for a patient at the means, with a therapist outside the trial.

What differs between therapists.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from alliance.diagnostics.figures.effect_figures import effect_figure, score_figure
from alliance.diagnostics.figures.prediction_figure import prediction_figure
from alliance.diagnostics.figures.therapist_figure import therapist_figure
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
from alliance.inference.answers.effects import Effects, effects_table
from alliance.inference.digits import decimals, interval_decimals

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


def predictions(material: Material) -> Section:
    """Expected scores and single outcomes by arm.

    Parameters
    ----------
    material : Material
    """
    fit, share = material.fit, words.share(material.interval)
    answers = list(material.predictions.values())
    numbers = pd.concat([answer.table for answer in answers], ignore_index=True)
    # One imagined patient at the means: a number that stands for nobody.
    numbers = numbers.drop(columns="patient")
    rows: list[dict[str, Any]] = []
    for row in numbers.to_dict("records"):
        digits = decimals(row["expected_sd"], row["expected"])
        rows.append(
            {
                "Outcome": words.label(fit, row["outcome"]),
                "Arm": fit.study.arms[row["arm"]],
                "Expected score": words.number(row["expected"], digits),
                f"{share} interval of the expected score": words.interval(
                    row["expected_lower"], row["expected_upper"], digits
                ),
                f"{share} interval of one patient's score": words.interval(
                    row["outcome_lower"], row["outcome_upper"], digits
                ),
            }
        )
    table = ReportTable(
        "predictions",
        "Predicted scores, in points of each outcome, of an imagined patient at the means of "
        f"{fit.study.moderator.name}, baseline and covariates, with a new therapist. {share} "
        "equal-tailed intervals.",
        pd.DataFrame(rows),
        numbers,
        row_heads=2,
    )
    return Section(
        "predictions",
        "Predictions by arm",
        [
            Paragraph(
                "What the model expects of a further patient like the average one of the trial, "
                "treated by a therapist who was not in it. The interval of one patient's score is "
                "wide because patients differ; it is not an interval of the effect. Gaussian "
                "models may predict scores beyond the ends of a scale."
            ),
            Picture(
                "predictions",
                prediction_figure(fit, answers),
                "Predictions by arm",
                f"Expected scores and single outcomes by arm with {share} intervals, for an "
                "imagined patient at the means. The numbers stand in the table below.",
            ),
            table,
        ],
    )


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
    shown = any(answer.table["one_patient"].any() for answer in answers)
    parts: list[Part] = [
        Paragraph(
            "Therapists bear the codes of the data file. Effects of therapists with few patients "
            "are drawn towards the average, and ranks are uncertain: this is no list of merit."
            + words.single_patients(material.hide_single, shown)
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
            _therapists_table(material, outcome)
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


def _therapists_table(material: Material, outcome: str) -> ReportTable:
    fit, share = material.fit, words.share(material.interval)
    numbers = material.therapists[outcome].table
    numbers = numbers[numbers["quantity"].isin(("therapist_effect", "therapist_slope"))]
    slopes = numbers[numbers["quantity"] == "therapist_slope"].set_index("level")
    rows: list[dict[str, Any]] = []
    for row in numbers[numbers["quantity"] == "therapist_effect"].to_dict("records"):
        digits = decimals(row["sd"], row["mean"])
        cells = {
            "Therapist": words.of_one_patient(row["level"], row["one_patient"]),
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
