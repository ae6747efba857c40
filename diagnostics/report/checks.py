"""The report's checks: the gate, replicated and left-out data, priors, and what results hang on."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pandas as pd

from alliance.data_prep.errors import InputError
from alliance.diagnostics import words
from alliance.diagnostics.figures.loo_figures import loo_figure
from alliance.diagnostics.figures.predictive_figures import distribution_figure, prior_figure
from alliance.diagnostics.figures.sensitivity_figures import (
    influence_figure,
    power_scaling_figure,
    unseen_improvement_figure,
)
from alliance.diagnostics.gate.fit_gate import gate_table, worst_verdict
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.page import (
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
from alliance.diagnostics.sheets import checks as check_sheets
from alliance.diagnostics.sheets import checks as sheets
from alliance.diagnostics.sheets import sensitivity as sensitivity_sheets
from alliance.diagnostics.verdicts import Verdict, standing_of

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
        parts.append(Heading("What stands"))
        parts.append(Listing(_standing(material)))
    parts += [*_tables(material), Heading("Computation"), Facts(_computation(material))]
    if fit.differences:
        parts += [
            Heading("What has changed since the run was written"),
            Listing(list(fit.differences)),
        ]
    return Section("gate", "Gate and computation", parts)


def _standing(material: Material) -> list[str]:
    """What of each outcome's results stands after its checks."""
    study = material.fit.study
    return [
        f"{words.label(study, report.outcome)}: "
        f"{'; '.join(standing_of(report.all_results)) or 'all of it'}."
        for report in material.gate
    ]


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
        if numbers.empty:  # without patients' rows the model is not checked
            continue
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
    many = f"profile {profile.name}: {profile.chains} chains of {profile.draws} draws"
    how = {
        "nuts": f"No-U-Turn sampler (nutpie), {many} after {profile.tune} of tuning each, target "
        f"acceptance {profile.target_accept:g}, at most {profile.max_treedepth} doublings",
        "instant": f"Importance sampling, weighed by Pareto smoothing (the engine instant), {many}",
    }
    told = manifest.get("engines", {})
    engines = {name: told.get(name, {}).get("engine", fit.engine) for name in fit.trees}
    used = [engine for engine in how if engine in engines.values()]
    facts = [
        (
            "Sampler"
            if len(used) == 1
            else f"Sampler of {', '.join(name for name in engines if engines[name] == engine)}",
            how[engine],
        )
        for engine in used
    ]
    facts += [
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
    checked = pd.concat([check.table for check in found], ignore_index=True)
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


def prior(material: Material) -> Section:
    """The prior predictive check: simulated trials against each outcome's scale.

    Parameters
    ----------
    material : Material
    """
    study, checks = material.fit.study, list(material.prior_checks.values())
    told = "; ".join(f"{words.label(study, check.outcome)}: {check.verdict}" for check in checks)
    advice = dict.fromkeys(
        result.recommendation
        for check in checks
        for result in check.results
        if result.recommendation
    )
    parts: list[Part] = [
        Paragraph(words.sentences([*check_sheets.prior_legend(checks), f"{told}."])),
        Picture(
            "prior",
            prior_figure(checks),
            "What the priors expect of each outcome",
            f"By outcome: scores simulated from the priors beside the range of the scale, and "
            f"central 95% intervals of effects. {told}. The numbers stand in the table below.",
        ),
        _joined(
            material,
            "prior_check",
            "Quantities under the priors, in points of each outcome.",
            map(check_sheets.prior, checks),
        ),
        *map(Notice, advice),
    ]
    return Section("prior", "Prior predictive check", parts)


def _joined(material: Material, name: str, note: str, tables: Iterable[Sheet]) -> Sheet:
    """Tables of several outcomes as one."""
    study = material.fit.study
    return joined(name, note, [(words.label(study, each.subject), each) for each in tables])


def sensitivity(material: Material) -> Section:
    """Power-scaling, influence, and the strength of an unseen improvement.

    Parameters
    ----------
    material : Material
    """
    parts: list[Part] = []
    written: list[tuple[str, Callable[[Material], list[Part]]]] = [
        ("Priors and likelihood", _scaled),
        ("Single patients and therapists", _influence),
    ]
    if material.fit.study.moderator is not None:
        written.append(("An improvement that was not seen", _unseen))
    for title, write in written:
        parts.append(Heading(title))
        try:
            parts += write(material)
        except InputError as error:
            parts.append(Notice(f"Not available: {error}"))
    return Section("sensitivity", "Sensitivity", parts)


def _scaled(material: Material) -> list[Part]:
    fit, found = material.fit, list(material.power_scaling.values())
    tables = [sensitivity_sheets.power_scaling(fit, answer) for answer in found]
    diagnoses = [row["Diagnosis"] for table in tables for row in table.rows]
    told = ", ".join(f"{diagnoses.count(name)} {name}" for name in dict.fromkeys(diagnoses))
    return [
        Paragraph(
            words.sentences(
                [
                    *sensitivity_sheets.power_scaling_legend(fit),
                    f"Quantities by diagnosis: {told}. Fine: not sensitive to the priors; "
                    "informative prior: sensitive to them, and more to the data. No model is "
                    "fitted again for this report; refits with all scales halved and doubled are "
                    "made by the command alliance sensitivity.",
                ]
            )
        ),
        Picture(
            "power-scaling",
            power_scaling_figure(fit, found),
            "Sensitivity of every quantity to priors and likelihood",
            f"By outcome: a point for each quantity's sensitivity. By diagnosis: {told}. The "
            "numbers stand in the table below.",
        ),
        _joined(
            material,
            "power_scaling",
            "Power-scaling sensitivity, a distance without a unit.",
            tables,
        ),
    ]


def _influence(material: Material) -> list[Part]:
    fit, found = material.fit, material.influence
    answers = [each for own in found.values() for each in own]
    table = joined(
        "influence",
        "The three patients and the three therapists that move a result most, by outcome; "
        "posterior means in points"
        f"{words.of_moderator(fit.study, ', slopes for one point of {name}')}.",
        [
            (
                words.label(fit.study, answer.outcome),
                sensitivity_sheets.influence(fit, answer, 3, both=True),
            )
            for answer in answers
        ],
    )
    return [
        Paragraph(words.sentences(sensitivity_sheets.influence_legend(fit))),
        Picture(
            "influence",
            influence_figure(fit, list(found.values())),
            "Influence of single patients and therapists",
            "By outcome: largest shift of a slope, interaction or contrast, in posterior SDs, when "
            "each patient and each therapist is left out. The largest stand in the table below.",
        ),
        table,
    ]


def _unseen(material: Material) -> list[Part]:
    fit, found = material.fit, list(material.unseen.values())
    name = fit.study.measure.name
    if not found:
        return [Paragraph("Not asked of counts, which have no linear model to be a share of.")]
    return [
        Paragraph(words.sentences(sensitivity_sheets.unseen_legend(fit))),
        Picture(
            "unseen",
            unseen_improvement_figure(fit, found),
            f"The {name} slope against the strength of an unseen improvement",
            "By outcome: posterior mean and 95% interval of the slope along the strength of an "
            "unseen improvement, and contours over both shares with the benchmarks. The numbers "
            "stand in the tables below.",
        ),
        sensitivity_sheets.tipping(fit, found),
        _joined(
            material,
            "benchmarks",
            f"Slope of {name}, in points for one point, if something unseen were so many times as "
            "strong as what was seen; posterior mean and 95% equal-tailed interval.",
            [sensitivity_sheets.unseen(fit, answer) for answer in found],
        ),
    ]
