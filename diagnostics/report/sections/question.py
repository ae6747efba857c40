"""The question of the analysis, and its answers at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from alliance.data_prep.levels import AVERAGE, WITHIN
from alliance.diagnostics.report import words
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.parts import Facts, Notice, Paragraph, Part, ReportTable, Section
from alliance.diagnostics.verdicts import Verdict
from alliance.inference.digits import decimals
from alliance.inference.estimands.compared_at import places_in_words
from alliance.models.spec import JOINT


def question(material: Material) -> Section:
    """What was asked, of which trial, and what came out in one table.

    Parameters
    ----------
    material : Material
    """
    fit = material.fit
    study, name = fit.study, fit.study.moderator.name
    outcomes = ", ".join(each.label for each in study.outcomes.values())
    parts: list[Part] = []
    if study.simulated:
        parts.append(
            Notice(
                "SIMULATED DATA. No patient gave these data: they were made by a simulator from "
                "assumed values. Nothing here is evidence about any treatment, and the comparison "
                "with published findings shows only how the comparison works."
            )
        )
    facts = [("Trial", study.title), ("Outcomes", outcomes), ("Arms", words.arms(fit))]
    low, high = study.moderator.range
    facts.append(
        (
            "Moderator",
            f"{study.moderator.label}, {words.figures(low)} to {words.figures(high)} points",
        )
    )
    if study.citation:
        facts.append(("Publication", study.citation))
    parts += [
        Paragraph(
            f"Do patients with a higher {name} have better outcomes, and does the {name} go with "
            "another difference between the arms? Hierarchical Bayesian models answer with "
            "probabilities, given the data and the priors that are stated below."
        ),
        Facts(facts),
        _glance(material),
        Paragraph(
            f"Slopes and their differences describe an association: the {name} was not allotted "
            "by chance. An interval that includes zero shows neither an effect nor its absence."
        ),
    ]
    return Section("question", "Question and answers at a glance", parts)


def _glance(material: Material) -> ReportTable:
    fit = material.fit
    verdicts = {report.outcome: report.verdict for report in material.gate}
    joint = verdicts.get(JOINT, Verdict.PASS)
    share, order = words.share(material.interval), list(Verdict)
    rows = []
    for outcome in fit.outcomes:
        gate = max(verdicts[outcome], joint, key=order.index)
        shown = {
            "Outcome": words.label(fit, outcome),
            "Better": fit.study.outcomes[outcome].better,
            "Patients": str(words.patients(fit, outcome)),
        }
        slope = material.row(outcome, "moderator_slope", AVERAGE)
        if slope is None:
            slope = material.row(outcome, "moderator_slope", WITHIN)
        if slope is not None:
            shown["Slope"] = _told(slope)
        for row in material.rows(outcome).to_dict("records"):
            if row["quantity"] == "arm_contrast":
                shown[words.contrast(fit, row["level"])] = _told(row)
        rows.append(shown | {"Gate": str(gate)})
    table = words.text_of(pd.DataFrame(rows))
    return ReportTable(
        "glance",
        f"Posterior means with {share} equal-tailed intervals, in points of each outcome. Slope: "
        f"for one point of {fit.study.moderator.name}. {places_in_words(fit, material.at)} "
        "Gate: FAIL where draws may not be "
        "used, REVIEW where a check of draws or model asks for a look (section 5).",
        table,
        material.summary,
    )


def _told(row: Mapping[Any, Any] | pd.Series) -> str:
    digits = decimals(row["sd"], row["mean"])
    return words.estimate(row["mean"], row["lower"], row["upper"], digits)
