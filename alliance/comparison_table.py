"""Published findings, refits and posterior side by side on the screen, wide or narrow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.markup import escape

from alliance.render import coloured, decimals, frame, number, out, outcome_table, words
from data_prep.levels import AVERAGE

if TYPE_CHECKING:
    from inference.fit import Fit

SHOWN = ("moderator_slope", "arm_contrast", "interaction")
SOURCES = {
    "published": "Published",
    "ols_main": "OLS, main effects",
    "ols": "OLS",
    "reml": "REML",
    "posterior": "Posterior",
}
SIDE_BY_SIDE = 150  # columns that estimates and intervals of five sources need beside each other
ONE_LINE = 95  # columns that need no broken lines where sources stand one below the other


def comparison(fit: Fit, table: pd.DataFrame, table_format: str, *, interval: float) -> None:
    """Print the comparison of `inference.comparison.compare`.

    Parameters
    ----------
    fit : Fit
    table : pandas.DataFrame
        On the screen only slopes, contrasts and interactions are shown, and what was published.
    table_format : {"table", "csv", "json"}
    interval : float
        Probability of the table's intervals.
    """
    if table_format != "table":
        frame(table, table_format, simulated=fit.study.simulated)
        return
    console = out()
    claimed = table["claim"].notna()
    overall = (table["quantity"] != "moderator_slope") | (table["level"] == AVERAGE)
    table = table.rename(columns={"posterior_mean": "posterior_estimate"})
    rows = table[(table["quantity"].isin(SHOWN) & overall) | claimed]
    show = _side_by_side if console.width >= SIDE_BY_SIDE else _one_below_the_other
    for outcome, part in rows.groupby("outcome", sort=False):
        console.print(show(fit, str(outcome), part.to_dict("records")))
    for outcome, notes in table.groupby("outcome", sort=False)["refit_note"]:
        for note in dict.fromkeys(notes):
            if note:
                console.print(escape(f"{outcome}: {note}."))
    console.print(_legend(fit, interval))


def _cells(row: dict[Any, Any]) -> list[str]:
    """Estimate and interval of each source, or the claim where only that is published."""
    digits = decimals(row["posterior_sd"])
    cells = [_estimate(row, source, digits) for source in SOURCES]
    if not cells[0] and isinstance(row["claim"], str):
        cells[0] = row["claim"]
    return cells


def _estimate(row: dict[Any, Any], source: str, digits: int) -> str:
    value, lower, upper = (row[f"{source}_{name}"] for name in ("estimate", "lower", "upper"))
    if math.isnan(value) or math.isnan(lower):
        return number(value, digits)
    return f"{number(value, digits)} ({number(lower, digits)}, {number(upper, digits)})"


def _verdict(row: dict[Any, Any]) -> str:
    return coloured(row["verdict"]) if isinstance(row["verdict"], str) else ""


def _side_by_side(fit: Fit, outcome: str, rows: Sequence[dict[Any, Any]]) -> Any:
    shown = outcome_table(fit, outcome, ": published and refitted")
    for name in SOURCES.values():
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("P(> 0)", justify="right")
    shown.add_column("Verdict")
    for row in rows:
        shown.add_row(
            words(row["quantity"]),
            escape(row["level"]),
            *_cells(row),
            number(row["prob_positive"], 3),
            _verdict(row),
        )
    return shown


def _one_below_the_other(fit: Fit, outcome: str, rows: Sequence[dict[Any, Any]]) -> Any:
    shown = outcome_table(fit, outcome, ": published and refitted")
    shown.add_column("Source")
    shown.add_column("Estimate (interval)", justify="right", no_wrap=True)
    shown.add_column("Verdict", min_width=len("undetermined"))
    if out().width < ONE_LINE:  # else rich cuts words rather than break lines between them
        shown.columns[0].max_width = len("interaction")
        shown.columns[2].max_width = len("Published")
    for row in rows:
        filled = [pair for pair in zip(SOURCES.values(), _cells(row), strict=True) if pair[1]]
        for position, (source, cell) in enumerate(filled):
            first, last = position == 0, position == len(filled) - 1
            shown.add_row(
                words(row["quantity"]) if first else "",
                escape(row["level"]) if first else "",
                source,
                cell,
                _verdict(row) if last else "",
                end_section=last,
            )
    return shown


def _legend(fit: Fit, interval: float) -> str:
    lines = [
        f"Refits and posterior: estimate and {100 * interval:g}% interval. Published numbers as "
        "later arm minus earlier arm. OLS, main effects: without the interaction.",
        "undetermined: the interval includes zero, or overlaps the published one without holding "
        "its estimate; it shows neither presence nor absence.",
        "Each verdict's explanation and source, and all quantities: --format csv.",
    ]
    if fit.study.simulated:
        lines.append(
            "SIMULATED: the verdicts speak of a simulated trial, not of the study's patients."
        )
    return escape("\n".join(lines))
