"""Predictions by arm for a patient at the means, with a therapist outside the trial."""

from __future__ import annotations

from typing import Any

import pandas as pd

from alliance.diagnostics.figures.prediction_figure import prediction_figure
from alliance.diagnostics.report import words
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.parts import Paragraph, Picture, ReportTable, Section
from alliance.inference.digits import decimals


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
