"""The question of the analysis, and its answers at a glance.

The data: where they come from, who is analysed, and what they look like in each arm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from alliance.data_prep.levels import AVERAGE, WITHIN
from alliance.diagnostics import words
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.parts import (
    Facts,
    Heading,
    Listing,
    Notice,
    Paragraph,
    Part,
    Section,
)
from alliance.diagnostics.sheet import Sheet
from alliance.diagnostics.sheets.results import flow
from alliance.diagnostics.verdicts import Verdict
from alliance.inference.digits import decimals, figures, number
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
    facts = [("Trial", study.title), ("Outcomes", outcomes), ("Arms", words.arms(study))]
    low, high = study.moderator.range
    facts.append(
        (
            "Moderator",
            f"{study.moderator.label}, {figures(low)} to {figures(high)} points",
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


def _glance(material: Material) -> Sheet:
    fit = material.fit
    verdicts = {report.outcome: report.verdict for report in material.gate}
    joint = verdicts.get(JOINT, Verdict.PASS)
    order = list(Verdict)
    rows = []
    for outcome in fit.outcomes:
        gate = max(verdicts[outcome], joint, key=order.index)
        shown = {
            "Outcome": words.label(fit.study, outcome),
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
                shown[words.level(fit.study, row["level"])] = _told(row)
        rows.append(shown | {"Gate": str(gate)})
    return Sheet(
        "glance",
        f"Posterior means with {words.level_of(material.interval)} equal-tailed intervals, in "
        "points of each outcome",
        rows,
        f"Slope: for one point of {fit.study.moderator.name}. {places_in_words(fit, material.at)} "
        "Gate: FAIL where draws may not be used, REVIEW where a check of draws or model asks for a "
        "look (section 5).",
        material.summary,
    )


def _told(row: Mapping[Any, Any] | pd.Series) -> str:
    digits = decimals(row["sd"], row["mean"])
    return words.estimate(row["mean"], row["lower"], row["upper"], digits)


MANY = 1e4  # from here on a mean has digits enough before the point


def data(material: Material) -> Section:
    """The flow of patients, and means and SDs by arm.

    Parameters
    ----------
    material : Material
    """
    fit = material.fit
    manifest, columns = fit.manifest, fit.study.columns
    source = manifest.get("data", {})
    facts = [
        ("Data file", str(source.get("file", "not recorded"))),
        ("SHA-256 of the file", str(source.get("sha256", "not recorded"))),
        (
            "Columns",
            f"patients in {columns.patient}, therapists in {columns.therapist}, arms in "
            f"{columns.arm}",
        ),
        ("Therapists and arms", str(manifest.get("therapists_in_arms", "not recorded"))),
    ]
    if fit.study.covariates:
        facts.append(("Covariates", ", ".join(fit.study.covariates)))
    parts: list[Part] = [
        Paragraph(
            "Patients enter the analysis of an outcome if nothing that its model needs is missing. "
            "They are left out for the first thing that they lack, in the order of the table."
        ),
        Facts(facts),
        flow(fit.study, fit.flow),
        Heading("Arms and therapists"),
        _described(material),
    ]
    if notes := list(manifest.get("notes", ())):
        parts += [Heading("Notes on reading the data"), Listing(notes)]
    return Section("data", "Data and flow of patients", parts)


def _described(material: Material) -> Sheet:
    fit = material.fit
    rows: list[dict[str, Any]] = []
    for outcome in fit.outcomes:
        patients = fit.patients(outcome)
        arm, therapist = patients["arm_index"].values, patients["therapist_index"].values
        for k, code in enumerate(patients["arm"].values):
            own = arm == k
            row = {"outcome": outcome, "arm": str(code), "patients": int(own.sum())}
            row["therapists"] = len(np.unique(therapist[own]))
            for name in ("moderator", "baseline", "outcome"):
                if name in patients:
                    values = patients[name].values[own]
                    values = values[np.isfinite(values)]
                    enough = len(values) > 1
                    key = "followup" if name == "outcome" else name
                    row[f"{key}_mean"] = values.mean() if enough else np.nan
                    row[f"{key}_sd"] = values.std(ddof=1) if enough else np.nan
            rows.append(row)
    numbers = pd.DataFrame(rows)
    heads = {
        "moderator": fit.study.moderator.name.capitalize(),
        "baseline": "Baseline",
        "followup": "Follow-up",
    }
    shown = [
        {
            "Outcome": words.label(fit.study, row["outcome"]),
            "Arm": fit.study.arms[row["arm"]],
            "Patients": str(row["patients"]),
            "Therapists": str(row["therapists"]),
            **{
                head: _mean_and_sd(row[f"{key}_mean"], row[f"{key}_sd"])
                for key, head in heads.items()
                if f"{key}_mean" in numbers
            },
        }
        for row in numbers.to_dict("records")
    ]
    return Sheet(
        "arms",
        "Analysed patients by arm",
        shown,
        "Numbers, and means (SDs) in points of each scale; of the "
        f"{fit.study.moderator.name} among those who have a rating.",
        numbers,
        heads=2,
    )


def _mean_and_sd(mean: float, sd: float) -> str:
    """With one decimal at least, as such tables are used to, unless numbers are long enough."""
    if np.isnan(mean):
        return ""
    digits = max(decimals(sd, mean), 1 if abs(mean) < MANY else 0)
    return f"{number(mean, digits)} ({number(sd, digits)})"
