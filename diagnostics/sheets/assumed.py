"""Means and contrasts under assumptions about unseen scores, as tables."""

from __future__ import annotations

import pandas as pd

from alliance.diagnostics import words
from alliance.diagnostics.sheet import Sheet
from alliance.inference.answers.assumed_courses import TIPPING, TIPPING_ANCHORED, Courses
from alliance.inference.digits import decimals, figures, number
from alliance.inference.runs.fit import Fit

ASSUMED = {
    "mar": "missing at random",
    "j2r": "jump to reference",
    "cir": "copy increments in reference",
    "cr": "copy reference",
}


def assumed(fit: Fit, found: Courses, table: pd.DataFrame, *, interval: float) -> Sheet:
    """Means of arms and their contrasts, visit by visit.

    Parameters
    ----------
    fit : Fit
    found : Courses
    table : pandas.DataFrame
        As from `inference.answers.assumed_courses.course_table`.
    interval : float
        Probability of the table's intervals.
    """
    share = words.level_of(interval)
    several = len(found.posteriors) > 1
    rows = []
    for row in table.to_dict("records"):
        digits = decimals(row["sd"], row["mean"])
        rows.append(
            {
                **({"Visit": str(row["visit"])} if several else {}),
                "Quantity": words.plain(row["quantity"]),
                "Level": words.level(fit.study, row["level"]),
                "Mean": number(row["mean"], digits),
                f"{share} interval": words.interval(row["lower"], row["upper"], digits),
                "P(better)": words.chance(row["prob_better"]),
                "SD": number(row["sd"], digits),
                "SD, information-anchored": number(row["sd_information_anchored"], digits),
            }
        )
    return Sheet(
        f"missing_{found.outcome}",
        f"{words.headed(fit, found.outcome)}: {ASSUMED[found.assumption]}",
        rows,
        f"{share} equal-tailed intervals.",
        table,
        heads=3 if several else 2,
        once=1 if several else 0,
        fewest=5,
        subject=found.outcome,
    )


def assumed_legend(found: Courses) -> list[str]:
    """What was assumed, and what the two spreads are.

    Parameters
    ----------
    found : Courses
    """
    follow = (
        "Unseen scores are as the model expects of such patients."
        if found.assumption == "mar"
        else f"From the first visit that they missed for good, patients of the other arms follow "
        f"{words.level(found.study, found.reference)}; gaps between visits seen stay missing at "
        "random."
    )
    for arm, points in found.shifts.items():
        follow += f" {points:+g} is added to unseen scores of {words.level(found.study, arm)}."
    return [
        follow + " No data can show whether that holds. Adjusted means, at the means of the "
        "columns of the model; computed from the draws, without a refit.",
        "SD: of the posterior under the assumption; means that lean on the reference vary less. "
        "SD, information-anchored: what missing data cost under missing at random is kept, as "
        "multiple imputation with Rubin's rules does; no Bayesian reading of it is known.",
    ]


def tipping(fit: Fit, found: Courses, table: pd.DataFrame) -> Sheet:
    """Chances of a benefit over shifts of unseen scores of both arms.

    Parameters
    ----------
    fit : Fit
    found : Courses
    table : pandas.DataFrame
        As from `inference.answers.assumed_courses.tipping_table`.
    """
    rows = []
    for (level, own), part in table.groupby(["level", "shift_later"], sort=False):
        cells = {"Contrast": words.level(fit.study, str(level)), "Later arm": f"{own:+.2f}"}
        for beside, chance in zip(part["shift_earlier"], part["prob_better"], strict=True):
            cells[f"{beside:+.2f}"] = words.chance(chance)
        rows.append(cells)
    return Sheet(
        f"tipping_{found.outcome}",
        f"{words.headed(fit, found.outcome)}: chance of a benefit, by shifts of unseen scores",
        rows,
        "Rows: shift of the later arm's unseen scores; columns: of the earlier arm's.",
        table,
        heads=2,
        once=1,
        subject=found.outcome,
    )


def tipping_legend(table: pd.DataFrame, probability: float) -> list[str]:
    """At which shift the chance is lost.

    Parameters
    ----------
    table : pandas.DataFrame
        As for `tipping`.
    probability : float
    """
    told = []
    for level, part in table.groupby("level", sort=False):
        tips, anchored = part[[TIPPING, TIPPING_ANCHORED]].iloc[0]
        told.append(
            f"{level}: the chance of a benefit is below {figures(probability)} without any shift."
            if pd.isna(tips)
            else f"{level}: a shift of {tips:+.2f} in the later arm alone leaves a chance of "
            f"{figures(probability)}."
        )
        if not pd.isna(anchored):
            told.append(
                f"With the information-anchored SD, as of multiple imputation with Rubin's rules: "
                f"{anchored:+.2f}."
            )
    return told
