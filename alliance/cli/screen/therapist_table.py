"""Therapists on the screen: one line each, best first, and how much they differ."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.markup import escape

from alliance.cli.screen.narrow import Table, print_fitting, print_whole
from alliance.cli.screen.render import out, outcome_title
from alliance.inference.digits import decimals, interval_decimals, number

if TYPE_CHECKING:
    from alliance.inference.answers.therapists import Therapists
    from alliance.inference.runs.fit import Fit

FEWEST_COLUMNS = 3
ONE_PATIENT = " (one patient)"
Row = dict[Any, Any]


def therapists(fit: Fit, answer: Therapists) -> None:
    """Print the caterpillar table of one outcome, and the shares of variance.

    Parameters
    ----------
    fit : Fit
    answer : Therapists
    """
    console = out()
    print_fitting(console, _caterpillar(fit, answer), FEWEST_COLUMNS)
    print_whole(console, _spreads(fit, answer))
    for line in _legend(fit, answer):
        console.print(escape(line))
    console.print()


def _of(table: pd.DataFrame, quantity: str) -> dict[str, Row]:
    """Rows of one quantity, by level."""
    rows = table[table["quantity"] == quantity]
    return {str(row["level"]): row for row in rows.to_dict("records")}


def _with_interval(row: Row | None, digits: int) -> str:
    if row is None or row["mean"] != row["mean"]:
        return ""
    mean, lower, upper = (number(row[name], digits) for name in ("mean", "lower", "upper"))
    return f"{mean} ({lower} to {upper})" if lower else mean


def _narrowest(rows: dict[str, Row]) -> int:
    """Decimals of numbers below one another: two digits of the surest."""
    return decimals(min((row["sd"] for row in rows.values()), default=math.nan))


def _means_decimals(table: pd.DataFrame) -> int:
    """Decimals of the therapists' mean ratings, which have an interval or none.

    Without one they are told apart in tenths of what patients of one therapist differ by.
    """
    means = _of(table, "alliance_mean")
    widths = [row["upper"] - row["lower"] for row in means.values()]
    sure = [width / 4 for width in widths if width > 0]
    within = [row["mean"] / 10 for row in _of(table, "alliance_sd_within").values()]
    return decimals(min(sure or within, default=math.nan))


def _caterpillar(fit: Fit, answer: Therapists) -> Table:
    table, name = answer.table, fit.study.moderator.name
    effects, slopes, means = (
        _of(table, quantity)
        for quantity in ("therapist_effect", "therapist_slope", "alliance_mean")
    )
    shown = Table(title=f"{outcome_title(fit, answer.outcome)}: therapists", title_justify="left")
    shown.add_column("Therapist")
    shown.add_column("Patients", justify="right")
    heads = ["Effect", "P(> 0)", "Rank", "P(best)"] if effects else []
    heads += [f"{name.capitalize()} slope"] if slopes else []
    heads += [f"Mean {name}"] if means else []
    for head in heads:
        shown.add_column(escape(head), justify="right", no_wrap=True)
    digits = _narrowest(effects)
    slope_digits = _narrowest(slopes)
    mean_digits = _means_decimals(answer.table)
    for therapist, row in (effects or means).items():
        cells = [escape(therapist) + ONE_PATIENT * row["one_patient"], f"{row['patients']:.0f}"]
        if effects:
            cells += [
                _with_interval(row, digits),
                number(row["prob_positive"], 3),
                f"{row['rank']:.1f} ({row['rank_lower']:.0f} to {row['rank_upper']:.0f})",
                number(row["prob_best"], 3),
            ]
        if slopes:
            cells.append(_with_interval(slopes[therapist], slope_digits))
        if means:
            cells.append(_with_interval(means.get(therapist), mean_digits))
        shown.add_row(*cells)
    return shown


def _spreads(fit: Fit, answer: Therapists) -> Table:
    name = fit.study.moderator.name
    words = {
        "therapist_share": "Share of the outcome's variance between therapists",
        "alliance_sd_between": f"SD of the {name} between therapists",
        "alliance_sd_within": f"SD of the {name} within therapists",
        "alliance_share": f"Share of the {name}'s variance between therapists",
    }
    shown = Table(show_header=True)
    shown.add_column("How much therapists differ")
    shown.add_column("Arm")
    shown.add_column(f"Estimate ({100 * answer.interval:g}%)", justify="right", no_wrap=True)
    shown.add_column("From")
    for quantity, text in words.items():
        rows = _of(answer.table, quantity)
        for level, row in rows.items():
            digits = interval_decimals(row["lower"], row["upper"], row["mean"])
            if quantity.endswith("share"):
                digits = max(3, digits)
            arm = "" if len(rows) == 1 else level
            cells = (text, arm, _with_interval(row, digits), row["source"])
            shown.add_row(*map(escape, cells))
    return shown


def _legend(fit: Fit, answer: Therapists) -> list[str]:
    level = f"{100 * answer.interval:g}%"
    lines = []
    effects = answer.table[answer.table["quantity"] == "therapist_effect"]
    if len(effects):
        better = fit.study.outcomes[answer.outcome].better
        at = effects["moderator"].iloc[0]
        lines.append(
            f"Effect: expected score with this therapist minus that with an average one, for a "
            f"patient at the means with {fit.study.moderator.name} {at:.4g}; best first, rank 1 is "
            f"best ({better} is better). Intervals of many therapists overlap by chance alone: "
            "read ranks with theirs."
        )
    lines.append(f"{level} equal-tailed intervals.")
    if answer.table["one_patient"].any():
        lines.append(
            "One patient: what is said of the therapist is said of that patient. Before this table "
            "leaves the house, think of --hide-single."
        )
    sources = answer.table.loc[answer.table["quantity"] == "alliance_share", "source"]
    if "ratings" in set(sources):
        lines.append(
            f"The {fit.study.moderator.name} as observed among the analysed patients: means, and "
            "the spread between and within therapists given what stands beside it in the model "
            "(arm, baseline, covariates)."
        )
    return lines
