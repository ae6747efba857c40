"""Sensitivity: to the priors, to single patients and therapists, and to what was not seen.

What the priors alone expect of each outcome, before the data are seen.
"""

from __future__ import annotations

from collections.abc import Iterable

from alliance.data_prep.errors import InputError
from alliance.diagnostics import words
from alliance.diagnostics.figures.prior_figure import prior_figure
from alliance.diagnostics.figures.sensitivity_figures import (
    influence_figure,
    power_scaling_figure,
    unseen_improvement_figure,
)
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.parts import Heading, Notice, Paragraph, Part, Picture, Section
from alliance.diagnostics.sheet import Sheet, joined
from alliance.diagnostics.sheets import checks as check_sheets
from alliance.diagnostics.sheets import sensitivity as sheets


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
    for title, write in (
        ("Priors and likelihood", _scaled),
        ("Single patients and therapists", _influence),
        ("An improvement that was not seen", _unseen),
    ):
        parts.append(Heading(title))
        try:
            parts += write(material)
        except InputError as error:
            parts.append(Notice(f"Not available: {error}"))
    return Section("sensitivity", "Sensitivity", parts)


def _scaled(material: Material) -> list[Part]:
    fit, found = material.fit, list(material.power_scaling.values())
    tables = [sheets.power_scaling(fit, answer) for answer in found]
    diagnoses = [row["Diagnosis"] for table in tables for row in table.rows]
    told = ", ".join(f"{diagnoses.count(name)} {name}" for name in dict.fromkeys(diagnoses))
    return [
        Paragraph(
            words.sentences(
                [
                    *sheets.power_scaling_legend(fit),
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
        f"posterior means in points, slopes for one point of {fit.study.moderator.name}.",
        [
            (words.label(fit.study, answer.outcome), sheets.influence(fit, answer, 3, both=True))
            for answer in answers
        ],
    )
    return [
        Paragraph(words.sentences(sheets.influence_legend(fit))),
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
    name = fit.study.moderator.name
    return [
        Paragraph(words.sentences(sheets.unseen_legend(fit))),
        Picture(
            "unseen",
            unseen_improvement_figure(fit, found),
            f"The {name} slope against the strength of an unseen improvement",
            "By outcome: posterior mean and 95% interval of the slope along the strength of an "
            "unseen improvement, and contours over both shares with the benchmarks. The numbers "
            "stand in the tables below.",
        ),
        sheets.tipping(fit, found),
        _joined(
            material,
            "benchmarks",
            f"Slope of {name}, in points for one point, if something unseen were so many times as "
            "strong as what was seen; posterior mean and 95% equal-tailed interval.",
            [sheets.unseen(fit, answer) for answer in found],
        ),
    ]
