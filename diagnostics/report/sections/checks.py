"""Checks after the fit: replicated data, patients and therapists left out, explained variance.

The gate: whether the draws may be used, what to look at, and how they were computed.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from alliance.data_prep.errors import InputError
from alliance.diagnostics.figures.loo_figures import loo_figure
from alliance.diagnostics.figures.predictive_figures import distribution_figure
from alliance.diagnostics.gate.fit_gate import gate_table, worst_verdict
from alliance.diagnostics.report import words
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.parts import (
    Facts,
    Heading,
    Listing,
    Notice,
    Paragraph,
    Part,
    Picture,
    ReportTable,
    Section,
)
from alliance.diagnostics.verdicts import Verdict

TOLD = {
    Verdict.PASS: "Every check passed: the draws may be used.",
    Verdict.REVIEW: "No check failed, and some ask a person to look: see what to do in the tables.",
    Verdict.FAIL: "The gate failed: these draws must not be used. See what to do in the tables.",
}
OF_DRAWS = (
    "Checks of the draws, with the limits of the profile {profile}. R-hat: largest over all "
    "parameters and reported quantities; ESS: smallest effective number of draws, in the bulk and "
    "in the tails; MCSE: share of the posterior SD."
)
OF_MODEL = (
    "Checks of the model, which ask for a look and never fail; sections further down have their "
    "numbers and figures. Patients are named by their position among those analysed."
)
COLUMNS = {
    "outcome": "Outcome",
    "check": "Check",
    "verdict": "Verdict",
    "value": "Value",
    "message": "What was found",
    "recommendation": "What to do",
}


def gate(material: Material) -> Section:
    """Every check of draws and model, with settings and versions of the sampler.

    Parameters
    ----------
    material : Material
    """
    fit, reports = material.fit, material.gate
    worst = worst_verdict(reports)
    parts: list[Part] = []
    if worst is Verdict.PASS:
        parts.append(Paragraph(TOLD[worst]))
    else:
        parts.append(Notice(TOLD[worst]))
    parts += [*_tables(material), Heading("Computation"), Facts(_computation(material))]
    if fit.differences:
        parts += [
            Heading("What has changed since the run was written"),
            Listing(list(fit.differences)),
        ]
    return Section("gate", "Gate and computation", parts)


def _tables(material: Material) -> list[ReportTable]:
    fit, all_checks = material.fit, gate_table(material.gate)
    captions = {"draws": OF_DRAWS.format(profile=fit.profile.name), "model": OF_MODEL}
    found = []
    for about, caption in captions.items():
        numbers = all_checks[all_checks["about"] == about].reset_index(drop=True)
        shown = numbers[list(COLUMNS)].rename(columns=COLUMNS)
        shown["Outcome"] = [words.label(fit, name) for name in numbers["outcome"]]
        shown["Check"] = [words.plain(name) for name in numbers["check"]]
        shown["Value"] = [words.figures(value, 4) for value in numbers["value"]]
        if not numbers["recommendation"].any():
            shown = shown.drop(columns="What to do")
        found.append(
            ReportTable(
                "gate" if about == "draws" else "gate_model",
                caption,
                words.text_of(shown).replace("", words.NONE),
                numbers,
                row_heads=2,
            )
        )
    return found


def _computation(material: Material) -> list[tuple[str, str]]:
    fit = material.fit
    manifest, profile = fit.manifest, fit.profile
    facts = [
        (
            "Sampler",
            f"No-U-Turn sampler (nutpie), profile {profile.name}: {profile.chains} chains of "
            f"{profile.draws} draws after {profile.tune} of tuning each, target acceptance "
            f"{profile.target_accept:g}, at most {profile.max_treedepth} doublings",
        ),
        ("Seed", str(manifest.get("seed", "not recorded"))),
        ("Fitted at", str(manifest.get("created", "not recorded"))),
    ]
    versions = manifest.get("versions", {})
    if versions:
        told = ", ".join(f"{name} {number}" for name, number in versions.items())
        facts.append(("Versions", told))
    return facts


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
