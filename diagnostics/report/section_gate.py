"""The convergence gate: whether the draws may be used, and how they were computed."""

from __future__ import annotations

from diagnostics.fit_gate import gate_table, worst_verdict
from diagnostics.report import words
from diagnostics.report.material import Material
from diagnostics.report.parts import (
    Facts,
    Heading,
    Listing,
    Notice,
    Paragraph,
    Part,
    ReportTable,
    Section,
)
from diagnostics.verdicts import Verdict

TOLD = {
    Verdict.PASS: "Every check passed: the draws may be used.",
    Verdict.REVIEW: "No check failed, and some ask a person to look: see what to do in the table.",
    Verdict.FAIL: "The gate failed: these draws must not be used. See what to do in the table.",
}
COLUMNS = {
    "outcome": "Outcome",
    "check": "Check",
    "verdict": "Verdict",
    "value": "Value",
    "message": "What was found",
    "recommendation": "What to do",
}


def gate(material: Material) -> Section:
    """Every check of the draws, with settings and versions of the sampler.

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
    parts += [_table(material), Heading("Computation"), Facts(_computation(material))]
    if fit.differences:
        parts += [
            Heading("What has changed since the run was written"),
            Listing(list(fit.differences)),
        ]
    return Section("gate", "Convergence gate and computation", parts)


def _table(material: Material) -> ReportTable:
    fit = material.fit
    numbers = gate_table(material.gate)
    shown = numbers[list(COLUMNS)].rename(columns=COLUMNS)
    shown["Outcome"] = [words.label(fit, name) for name in numbers["outcome"]]
    shown["Check"] = [words.plain(name) for name in numbers["check"]]
    shown["Value"] = [words.figures(value, 4) for value in numbers["value"]]
    if not numbers["recommendation"].any():
        shown = shown.drop(columns="What to do")
    return ReportTable(
        "gate",
        f"Checks of the draws, with the limits of the profile {fit.profile.name}. R-hat: largest "
        "over all parameters and reported quantities; ESS: smallest effective number of draws, "
        "in the bulk and in the tails; MCSE: share of the posterior SD.",
        words.text_of(shown).replace("", words.NONE),
        numbers,
        row_heads=2,
    )


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
