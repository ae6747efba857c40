"""Therapists one by one, best first, and how much they differ."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from alliance.diagnostics import words
from alliance.diagnostics.sheet import Sheet
from alliance.inference.answers.therapists import Therapists
from alliance.inference.digits import decimals, interval_decimals, number
from alliance.inference.runs.fit import Fit

Record = dict[Any, Any]


def therapists(fit: Fit, answer: Therapists) -> Sheet:
    """Each therapist's effect with its rank, slope and mean rating.

    Parameters
    ----------
    fit : Fit
    answer : Therapists
    """
    table, name = answer.table, fit.study.moderator.name
    share = words.level_of(answer.interval)
    effects, slopes, means = (
        _by_level(table, quantity)
        for quantity in ("therapist_effect", "therapist_slope", "alliance_mean")
    )
    digits, slope_digits, mean_digits = _narrowest(effects), _narrowest(slopes), _of_means(table)
    rows = []
    for therapist, row in (effects or means).items():
        named = words.of_one_patient(therapist, bool(row["one_patient"]))
        cells = {"Therapist": named, "Patients": number(row["patients"], 0)}
        if effects:
            rank = f"{row['rank']:.1f} ({row['rank_lower']:.0f} to {row['rank_upper']:.0f})"
            cells |= {
                f"Effect ({share})": _with_interval(row, digits),
                "P(> 0)": words.chance(row["prob_positive"]),
                "Rank": rank,
                "P(best)": words.chance(row["prob_best"]),
            }
        if slopes:
            head = f"{name.capitalize()} slope"
            cells[head] = _with_interval(slopes[therapist], slope_digits)
        if means:
            cells[f"Mean {name}"] = _with_interval(means.get(therapist), mean_digits)
        rows.append(cells)
    return Sheet(
        f"therapists_{answer.outcome}",
        f"{words.headed(fit, answer.outcome)}: therapists",
        rows,
        f"Effects in points against an average therapist; slopes for one point of {name}.",
        table[table["quantity"].isin(("therapist_effect", "therapist_slope"))],
        subject=answer.outcome,
    )


def spreads(fit: Fit, answer: Therapists) -> Sheet:
    """How much therapists differ, in the outcome and in the alliance.

    Parameters
    ----------
    fit : Fit
    answer : Therapists
    """
    rows = []
    for quantity, text in words.SPREADS.items():
        found = _by_level(answer.table, quantity)
        for level, row in found.items():
            digits = interval_decimals(row["lower"], row["upper"], row["mean"])
            if quantity.endswith("share"):
                digits = max(3, digits)
            rows.append(
                {
                    "How much therapists differ": text.format(moderator=fit.study.moderator.name),
                    "Arm": "" if len(found) == 1 else words.level(fit.study, level),
                    "Estimate": number(row["mean"], digits),
                    f"{words.level_of(answer.interval)} interval": words.interval(
                        row["lower"], row["upper"], digits
                    ),
                    "From": row["source"],
                }
            )
    return Sheet(
        f"therapist_shares_{answer.outcome}",
        "",
        rows,
        numbers=answer.table[answer.table["quantity"].isin(words.SPREADS)],
        fewest=5,
        subject=answer.outcome,
    )


def therapists_legend(fit: Fit, answer: Therapists) -> list[str]:
    """What effects and ranks are, and where the spreads come from.

    Parameters
    ----------
    fit : Fit
    answer : Therapists
    """
    name, table = fit.study.moderator.name, answer.table
    effects = table[table["quantity"] == "therapist_effect"]
    sources = set(table.loc[table["quantity"] == "alliance_share", "source"])
    told = []
    if len(effects):
        told.append(
            f"Effect: expected score with this therapist minus that with an average one, for a "
            f"patient at the means with {name} {effects['moderator'].iloc[0]:.4g}; best first, "
            f"rank 1 is best ({fit.study.outcomes[answer.outcome].better} is better). Effects of "
            "therapists with few patients are drawn towards the average. Intervals of many "
            "therapists overlap by chance alone: read ranks with theirs; this is no list of merit."
        )
    told.append(f"{words.level_of(answer.interval)} equal-tailed intervals.")
    if table["one_patient"].any():
        told.append(
            "What is said of a therapist with one patient is said of that patient: "
            "`hide_single=True` leaves such therapists out."
        )
    if "ratings" in sources:
        told.append(
            f"The {name} as observed among the analysed patients: means, and the spread between "
            "and within therapists given what stands beside it in the model (arm, baseline, "
            "covariates), with confidence intervals."
        )
    return told


def _by_level(table: pd.DataFrame, quantity: str) -> dict[str, Record]:
    """Rows of one quantity, by level."""
    rows = table[table["quantity"] == quantity]
    return {str(row["level"]): row for row in rows.to_dict("records")}


def _with_interval(row: Record | None, digits: int) -> str:
    return "" if row is None else words.estimate(row["mean"], row["lower"], row["upper"], digits)


def _narrowest(rows: dict[str, Record]) -> int:
    """Decimals of numbers below one another: two digits of the surest."""
    return decimals(min((row["sd"] for row in rows.values()), default=math.nan))


def _of_means(table: pd.DataFrame) -> int:
    """Decimals of the therapists' mean ratings, which have an interval or none.

    Without one they are told apart in tenths of what patients of one therapist differ by.
    """
    means = _by_level(table, "alliance_mean")
    widths = [row["upper"] - row["lower"] for row in means.values()]
    sure = [width / 4 for width in widths if width > 0]
    within = [row["mean"] / 10 for row in _by_level(table, "alliance_sd_within").values()]
    return decimals(min(sure or within, default=math.nan))
