"""Checks after the fit: replicated data, patients and therapists left out, explained variance."""

from __future__ import annotations

from typing import Any

import pandas as pd

from alliance.data_prep.errors import InputError
from alliance.diagnostics.figures.loo_figures import loo_figure
from alliance.diagnostics.figures.predictive_figures import distribution_figure
from alliance.diagnostics.report import words
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.parts import (
    Heading,
    Listing,
    Notice,
    Paragraph,
    Part,
    Picture,
    ReportTable,
    Section,
)


def checks(material: Material) -> Section:
    """Posterior predictive checks, leave-one-out checks and Bayesian R2.

    Parameters
    ----------
    material : Material
    """
    parts = [*_predictive(material), Heading("Leaving out patients and therapists")]
    try:
        parts += _left_out(material)
    except InputError as error:
        parts.append(Notice(f"Not available: {error}"))
    parts += [Heading("Explained variance"), _explained(material)]
    return Section("checks", "Checks of the model", parts)


def _predictive(material: Material) -> list[Part]:
    fit = material.fit
    found = list(material.predictive.values())
    figure = distribution_figure(fit, found)
    tripped = [result for check in found for result in check.results if result.recommendation]
    told = (
        f"{words.counted(len(tripped), 'check')} of replicated data ask for a look."
        if tripped
        else "Replicated data look like the observed scores in everything that was looked at."
    )
    parts: list[Part] = [
        Paragraph(
            f"{words.counted(found[0].replicates, 'data set')} like the observed one were drawn "
            f"from each posterior. {told} A check that finds nothing does not show that the model "
            "is true."
        ),
        Picture(
            "distributions",
            figure,
            "Observed and replicated scores by arm",
            "By outcome, for all patients and for each arm: how many patients have each score, and "
            f"mean and 95% of the replicates. {told}",
        ),
        _statistics(material),
    ]
    if tripped:
        parts.append(Listing([_advice(material, result) for result in tripped]))
    return parts


def _advice(material: Material, result: Any) -> str:
    return f"{result.worst}: {result.message} {result.recommendation}"


def _statistics(material: Material) -> ReportTable:
    fit = material.fit
    numbers = pd.concat(
        [check.table() for check in material.predictive.values()], ignore_index=True
    )
    rows = []
    for row in numbers.to_dict("records"):
        lower, upper = words.figures(row["lower"]), words.figures(row["upper"])
        rows.append(
            {
                "Outcome": words.label(fit, row["outcome"]),
                "Statistic": row["description"],
                "Observed": words.figures(row["observed"]),
                "Replicated": words.figures(row["replicated"]),
                "95% of replicates": f"{lower} to {upper}",
                "p": words.chance(row["p_value"]),
                "Limit": words.figures(row["limit"], 2),
                "Verdict": row["verdict"],
            }
        )
    return ReportTable(
        "predictive",
        "Statistics of the observed scores and of replicates, scores in points. p: posterior "
        "predictive p-value, held against the limit; of the share outside the range, the mean "
        "share is.",
        pd.DataFrame(rows),
        numbers,
        row_heads=2,
    )


def _left_out(material: Material) -> list[Part]:
    fit, found = material.fit, list(material.loo.values())
    checked = pd.concat([check.table() for check in found], ignore_index=True)
    results = pd.DataFrame(
        {
            "Outcome": [words.label(fit, name) for name in checked["outcome"]],
            "Check": [words.plain(name) for name in checked["check"]],
            "Verdict": checked["verdict"],
            "What was found": checked["message"],
            "What to do": checked["recommendation"],
        }
    )
    if not checked["recommendation"].any():
        results = results.drop(columns="What to do")
    numbers = pd.concat(
        [
            *(check.left_out.table() for check in found),
            *(each.table() for each in material.therapists_out.values()),
        ],
        ignore_index=True,
    )
    rows = []
    for row in numbers.to_dict("records"):
        rows.append(
            {
                "Outcome": words.label(fit, row["outcome"]),
                "Left out": f"one {row['by']} of {row['units']}",
                "elpd": words.number(row["elpd"], 1),
                "SE": words.number(row["se"], 1),
                "Effective parameters": words.number(row["p_loo"], 1),
                "Largest Pareto k": words.number(row["largest_k"], 2),
                "Trusted up to": words.number(row["good_k"], 2),
                "k too high": words.number(row["k_too_high"], 0),
            }
        )
    elpd = ReportTable(
        "left_out",
        "Expected log predictive density (elpd) of scores left out, with its standard error, by "
        "Pareto-smoothed importance sampling. It compares models of the same patients, and has no "
        "meaning by itself.",
        pd.DataFrame(rows),
        numbers,
        row_heads=2,
    )
    return [
        Picture(
            "loo",
            loo_figure(fit, found),
            "Pareto k of each patient, and calibration",
            "By outcome: the Pareto k of leaving out each patient, in the order of the data and "
            "without names; and how far the shares of predictive distributions lie from those of "
            "a calibrated fit. The findings stand in the table below.",
        ),
        ReportTable(
            "loo_checks",
            "Leave-one-out checks. Patients are named by their position among those analysed.",
            words.text_of(results).replace("", words.NONE),
            checked,
            row_heads=2,
        ),
        elpd,
    ]


def _explained(material: Material) -> ReportTable:
    fit, share = material.fit, words.share(material.interval)
    numbers = pd.concat([each.table() for each in material.explained.values()], ignore_index=True)
    rows = [
        {
            "Outcome": words.label(fit, row["outcome"]),
            "Explained by": row["explained_by"],
            "R²": words.number(row["mean"], 2),
            f"{share} interval": words.interval(row["lower"], row["upper"], 2),
        }
        for row in numbers.to_dict("records")
    ]
    return ReportTable(
        "explained",
        f"Bayesian R², the share of variance that the model explains: posterior mean and {share} "
        "equal-tailed interval.",
        pd.DataFrame(rows),
        numbers,
        row_heads=2,
    )
