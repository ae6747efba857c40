"""Checks after the fit: replicated data, patients and therapists left out, explained variance.

The gate: whether the draws may be used, what to look at, and how they were computed.
"""

from __future__ import annotations

import pandas as pd

from alliance.data_prep.errors import InputError
from alliance.diagnostics import words
from alliance.diagnostics.figures.loo_figures import loo_figure
from alliance.diagnostics.figures.predictive_figures import distribution_figure
from alliance.diagnostics.gate.fit_gate import gate_table, worst_verdict
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.parts import (
    Facts,
    Heading,
    Listing,
    Notice,
    Paragraph,
    Part,
    Picture,
    Section,
)
from alliance.diagnostics.sheet import Sheet, joined, without_empty
from alliance.diagnostics.sheets import checks as sheets
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


def _tables(material: Material) -> list[Sheet]:
    study, all_checks = material.fit.study, gate_table(material.gate)
    further = "Sections further down have their numbers and figures."
    notes = {
        "draws": ("gate", OF_DRAWS.format(profile=material.fit.profile.name)),
        "model": ("gate_model", f"{sheets.OF_MODEL} {further}"),
    }
    found = []
    for about, (name, note) in notes.items():
        numbers = all_checks[all_checks["about"] == about].reset_index(drop=True)
        labels = [words.label(study, outcome) for outcome in numbers["outcome"]]
        shown = zip(labels, sheets.results(numbers), strict=True)
        rows = [{"Outcome": label, **row} for label, row in shown]
        found.append(
            without_empty(Sheet(name, "", rows, note, numbers, heads=2), "Value", "What to do")
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
    explained = list(material.explained.values())
    table = sheets.explained(material.fit, explained, interval=material.interval)
    parts += [Heading("Explained variance"), table]
    return Section("checks", "Checks of the model", parts)


def _predictive(material: Material) -> list[Part]:
    fit = material.fit
    found = list(material.predictive.values())
    tripped = [result for check in found for result in check.results if result.recommendation]
    told = (
        f"{words.counted(len(tripped), 'check')} of replicated data ask for a look."
        if tripped
        else "Replicated data look like the observed scores in everything that was looked at."
    )
    parts: list[Part] = [
        Paragraph(words.sentences([*sheets.predictive_legend(found), told])),
        Picture(
            "distributions",
            distribution_figure(fit, found),
            "Observed and replicated scores by arm",
            "By outcome, for all patients and for each arm: how many patients have each score, and "
            f"mean and 95% of the replicates. {told}",
        ),
        joined(
            "predictive",
            "Statistics of the observed scores and of replicates, scores in points.",
            [
                (words.label(fit.study, check.outcome), sheets.predictive(fit, check))
                for check in found
            ],
        ),
    ]
    if tripped:
        advice = [f"{each.worst}: {each.message} {each.recommendation}" for each in tripped]
        parts.append(Listing(advice))
    return parts


def _left_out(material: Material) -> list[Part]:
    fit, found = material.fit, list(material.loo.values())
    checked = pd.concat([check.table() for check in found], ignore_index=True)
    labels = [words.label(fit.study, name) for name in checked["outcome"]]
    shown = zip(labels, sheets.results(checked, values=False), strict=True)
    rows = [{"Outcome": label, **row} for label, row in shown]
    note = "Leave-one-out checks. Patients are named by their position among those analysed."
    left_out = [*(check.left_out for check in found), *material.therapists_out.values()]
    return [
        Paragraph(words.sentences(sheets.left_out_legend("patient"))),
        Picture(
            "loo",
            loo_figure(fit, found),
            "Pareto k of each patient, and calibration",
            "By outcome: the Pareto k of leaving out each patient, in the order of the data and "
            "without names; and how far the shares of predictive distributions lie from those of "
            "a calibrated fit. The findings stand in the table below.",
        ),
        without_empty(Sheet("loo_checks", "", rows, note, checked, heads=2), "What to do"),
        sheets.left_out(fit, left_out, found),
    ]
