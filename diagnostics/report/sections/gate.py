"""The gate: whether the draws may be used, what to look at, and how they were computed."""

from __future__ import annotations

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
