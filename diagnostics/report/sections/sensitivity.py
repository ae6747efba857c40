"""Sensitivity: to the priors, to single patients and therapists, and to what was not seen.

What the priors alone expect of each outcome, before the data are seen.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from alliance.data_prep.errors import InputError
from alliance.diagnostics.figures.prior_figure import prior_figure
from alliance.diagnostics.figures.sensitivity_figures import (
    influence_figure,
    power_scaling_figure,
    unseen_improvement_figure,
)
from alliance.diagnostics.report import words
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.parts import (
    Heading,
    Notice,
    Paragraph,
    Part,
    Picture,
    ReportTable,
    Section,
)
from alliance.inference.digits import decimals, interval_decimals
from alliance.inference.estimands.compared_at import places_in_words


def prior(material: Material) -> Section:
    """The prior predictive check: simulated trials against each outcome's scale.

    Parameters
    ----------
    material : Material
    """
    fit, checks = material.fit, list(material.prior_checks.values())
    verdicts = [f"{words.label(fit, check.outcome)}: {check.verdict}" for check in checks]
    parts: list[Part] = [
        Paragraph(
            "Trials were simulated from the priors, with the arms, therapists and values of the "
            f"analysed patients, and held against each scale. {'; '.join(verdicts)}."
        ),
        Picture(
            "prior",
            prior_figure(checks),
            "What the priors expect of each outcome",
            f"By outcome: scores simulated from the priors beside the range of the scale, and "
            f"central 95% intervals of effects. {'; '.join(verdicts)}. The numbers stand in the "
            "table below.",
        ),
        _table(material),
    ]
    advice = dict.fromkeys(
        result.recommendation
        for check in checks
        for result in check.results
        if result.recommendation
    )
    parts += [Notice(text) for text in advice]
    return Section("prior", "Prior predictive check", parts)


def _table(material: Material) -> ReportTable:
    fit = material.fit
    numbers = pd.concat(
        [check.table() for check in material.prior_checks.values()], ignore_index=True
    )
    rows: list[dict[str, Any]] = []
    for row in numbers.to_dict("records"):
        digits = interval_decimals(row["lower"], row["upper"], row["median"])
        rows.append(
            {
                "Outcome": words.label(fit, row["outcome"]),
                "Quantity": f"{words.plain(row['quantity'])} {row['level']}".strip(),
                "Median": words.number(row["median"], digits),
                "Central 95%": words.interval(row["lower"], row["upper"], digits),
                "Too large from": words.figures(row["large"]),
                "Share too large": words.figures(row["share_large"], 2),
                "At most": words.figures(row["most_large"], 2),
                "Verdict": row["verdict"],
            }
        )
    return ReportTable(
        "prior_check",
        "Quantities under the priors, in points of each outcome; slopes over the observed range "
        "of their variable, therapists' slopes over one SD. A share of draws beyond what is too "
        "large is held against the largest plausible one.",
        pd.DataFrame(rows),
        numbers,
        row_heads=2,
    )


def sensitivity(material: Material) -> Section:
    """Power-scaling, influence, and the strength of an unseen improvement.

    Parameters
    ----------
    material : Material
    """
    parts: list[Part] = [Paragraph(places_in_words(material.fit))]
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
    numbers = pd.concat([each.table() for each in found], ignore_index=True)
    rows = [
        {
            "Outcome": words.label(fit, row["outcome"]),
            "Quantity": f"{words.plain(row['quantity'])} {row['level']}".strip(),
            "Priors": words.number(row["prior_sensitivity"], 3),
            "Likelihood": words.number(row["likelihood_sensitivity"], 3),
            "Strongest prior": words.plain(row["strongest_prior"]),
            "Its sensitivity": words.number(row["strongest_sensitivity"], 3),
            "Diagnosis": row["diagnosis"],
        }
        for row in numbers.to_dict("records")
    ]
    counts = numbers["diagnosis"].value_counts()
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    return [
        Paragraph(
            "How far each reported quantity moves when its priors, or the likelihood, are weighed "
            "a little more (power-scaling; Kallioinen and colleagues 2024, "
            f"doi:10.1007/s11222-023-10366-5). Quantities by diagnosis: {told}. No model is "
            "fitted again for this report; refits with all scales halved and doubled are made "
            "by the command alliance sensitivity."
        ),
        Picture(
            "power-scaling",
            power_scaling_figure(fit, found),
            "Sensitivity of every quantity to priors and likelihood",
            f"By outcome: a point for each quantity's sensitivity. By diagnosis: {told}. The "
            "numbers stand in the table below.",
        ),
        ReportTable(
            "power_scaling",
            "Power-scaling sensitivity, a distance without a unit. Fine: not sensitive to the "
            "priors; informative prior: sensitive to them, and more to the data.",
            pd.DataFrame(rows),
            numbers,
            row_heads=2,
        ),
    ]


def _influence(material: Material) -> list[Part]:
    fit, found = material.fit, material.influence
    numbers = pd.concat(
        [each.table(3) for answers in found.values() for each in answers], ignore_index=True
    )
    if material.hide_single:
        numbers = numbers[(numbers["by"] != "therapist") | (numbers["patients"] != 1)]
    rows: list[dict[str, Any]] = []
    for row in numbers.to_dict("records"):
        digits = decimals(row["shift"] / row["shift_sd"] if row["shift_sd"] else 0.0, row["mean"])
        units = {each.by: len(each.units) for each in found[row["outcome"]]}
        single = row["by"] == "therapist" and row["patients"] == 1
        who = words.of_one_patient(row["unit"], single)
        if row["by"] == "patient":
            who = f"{row['unit']} of {units['patient']}"
        rows.append(
            {
                "Outcome": words.label(fit, row["outcome"]),
                "Left out": f"{row['by']} {who}",
                "Moves most": f"{words.plain(row['quantity'])} {row['level']}".strip(),
                "Mean": words.number(row["mean"], digits),
                "Without": words.number(row["mean_without"], digits),
                "Shift in SDs": words.number(row["shift_sd"], 2),
                "Pareto k": words.number(row["pareto_k"], 2),
            }
        )
    return [
        Paragraph(
            "How far slopes, their differences and the contrasts move when one patient or one "
            "therapist is left out. Patients are named by their position among those analysed. "
            "Where Pareto k is high the shift is only roughly known."
        ),
        Picture(
            "influence",
            influence_figure(fit, list(found.values())),
            "Influence of single patients and therapists",
            "By outcome: largest shift of a slope, interaction or contrast, in posterior SDs, when "
            "each patient and each therapist is left out. The largest stand in the table below.",
        ),
        ReportTable(
            "influence",
            "The three patients and the three therapists that move a result most, by outcome; "
            "posterior means in points, slopes for one point of "
            f"{fit.study.moderator.name}.",
            pd.DataFrame(rows),
            numbers,
            row_heads=2,
        ),
    ]


def _unseen(material: Material) -> list[Part]:
    fit, found = material.fit, list(material.unseen.values())
    name = fit.study.moderator.name
    tipping = pd.concat([each.tipping_table() for each in found], ignore_index=True)
    shown = pd.DataFrame(
        {
            "Outcome": [words.label(fit, outcome) for outcome in tipping["outcome"]],
            "Posterior mean": [words.figures(value) for value in tipping["mean"]],
            "Carries the mean to zero": [
                words.number(value, 3) for value in tipping["tipping_mean"]
            ],
            "Carries the interval to zero": [
                words.number(value, 3) for value in tipping["tipping_interval"]
            ],
            "OLS estimate": [words.figures(value) for value in tipping["linear"]],
            "Robustness value": [words.number(value, 3) for value in tipping["robustness_value"]],
            "Of its interval": [
                words.number(value, 3) for value in tipping["robustness_value_interval"]
            ],
        }
    )
    numbers = pd.concat([each.table() for each in found], ignore_index=True)
    rows = []
    for row in numbers.to_dict("records"):
        digits = interval_decimals(row["lower"], row["upper"], row["mean"])
        many = f"{row['times']:g} times {row['benchmark']}" if row["times"] else "nothing unseen"
        rows.append(
            {
                "Outcome": words.label(fit, row["outcome"]),
                "As strong as": many,
                f"Share of {name}": words.number(row["r2_alliance"], 3),
                "Share of outcome": words.number(row["r2_outcome"], 3),
                "Slope (95% interval)": words.estimate(
                    row["mean"], row["lower"], row["upper"], digits
                ),
                "P(same sign)": words.chance(row["prob_same_sign"]),
            }
        )
    return [
        Paragraph(
            f"If patients had improved before the {name} was rated, and nobody saw it, the slope "
            "would hold some of that. How strong it would have to be to carry the slope to zero "
            "is told as a share of what remains of both, after arm, baseline and covariates "
            "(Cinelli & Hazlett 2020, doi:10.1111/rssb.12348). Whether there was such an "
            "improvement the data cannot tell."
        ),
        Picture(
            "unseen",
            unseen_improvement_figure(fit, found),
            f"The {name} slope against the strength of an unseen improvement",
            "By outcome: posterior mean and 95% interval of the slope along the strength of an "
            "unseen improvement, and contours over both shares with the benchmarks. The numbers "
            "stand in the tables below.",
        ),
        ReportTable(
            "tipping",
            f"Slope of {name}, in points for one point, and the equal share of what remains of "
            f"{name} and outcome that carries it, or its 95% interval, to zero; 0: the interval "
            "includes zero as it is.",
            shown,
            tipping,
        ),
        ReportTable(
            "benchmarks",
            f"Slope of {name}, in points for one point, if something unseen were so many times as "
            "strong as what was seen; posterior mean and 95% equal-tailed interval. A dash: "
            "nothing can be so strong.",
            pd.DataFrame(rows),
            numbers,
            row_heads=2,
        ),
    ]
