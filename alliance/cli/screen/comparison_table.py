"""Published findings, refits and posterior side by side on the screen, wide or narrow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.markup import escape

from alliance.cli.screen.narrow import Table, needed, print_whole
from alliance.cli.screen.render import coloured, frame, out, outcome_table, words
from alliance.data_prep.levels import AVERAGE
from alliance.inference.digits import decimals, number, shared_decimals
from alliance.inference.published.comparison import refit_words

if TYPE_CHECKING:
    from alliance.inference.runs.fit import Fit

SHOWN = ("moderator_slope", "arm_contrast", "interaction")
SOURCES = {
    "published": "Published",
    "ols_main": "OLS, main effects",
    "ols": "OLS",
    "ols_robust": "OLS, robust",
    "reml": "REML",
    "posterior": "Posterior",
}
VERDICT = len("undetermined")  # columns of the longest word of a verdict


def comparison(
    fit: Fit,
    table: pd.DataFrame,
    table_format: str,
    *,
    interval: float,
    at: float | None = None,
) -> None:
    """Print the comparison of `inference.published.comparison.compare`.

    Parameters
    ----------
    fit : Fit
    table : pandas.DataFrame
        On the screen only slopes, contrasts and interactions are shown, and what was published.
    table_format : {"table", "csv", "json"}
    interval : float
        Probability of the table's intervals.
    at : float, optional
        The alliance that was named for the contrasts of arms.
    """
    if table_format != "table":
        frame(table, table_format, simulated=fit.study.simulated)
        return
    console = out()
    claimed = table["claim"].notna()
    overall = (table["quantity"] != "moderator_slope") | (table["level"] == AVERAGE)
    table = table.rename(columns={"posterior_mean": "posterior_estimate"})
    rows = table[(table["quantity"].isin(SHOWN) & overall) | claimed]
    sources = {
        name: head
        for name, head in SOURCES.items()
        if f"{name}_estimate" in table and (name != "published" or claimed.any())
    }
    parts = [
        (str(outcome), part.to_dict("records"))
        for outcome, part in rows.groupby("outcome", sort=False)
    ]
    tables = [_side_by_side(fit, *part, sources) for part in parts]
    if any(needed(shown) > console.width for shown in tables):
        for shown in tables:
            shown.columns[0].max_width = len("interaction")
    if any(needed(shown) > console.width for shown in tables):
        tables = [_one_below_the_other(fit, *part, sources) for part in parts]
    for shown in tables:
        print_whole(console, shown)
    for outcome, notes in table.groupby("outcome", sort=False)["refit_note"]:
        for note in dict.fromkeys(notes):
            if note:
                console.print(escape(f"{outcome}: {note}."))
    console.print(_legend(fit, table, interval, at, published="published" in sources))


def _cells(row: dict[Any, Any], sources: Mapping[str, str]) -> list[str]:
    """Estimate and interval of each source, or the claim where only that is published."""
    cells = [_estimate(row, source) for source in sources]
    if "published" in sources and not cells[0] and isinstance(row["claim"], str):
        cells[0] = row["claim"]
    return cells


def _estimate(row: dict[Any, Any], source: str) -> str:
    value, lower, upper = (row[f"{source}_{name}"] for name in ("estimate", "lower", "upper"))
    # As many digits as the posterior has, and at least one of an interval of its own
    spread = row["posterior_sd"]
    digits = max(decimals(spread), shared_decimals([spread, (upper - lower) / 4]))
    if math.isnan(value) or math.isnan(lower):
        return number(value, digits)
    return f"{number(value, digits)} ({number(lower, digits)}, {number(upper, digits)})"


def _verdict(row: dict[Any, Any]) -> str:
    return coloured(row["verdict"]) if isinstance(row["verdict"], str) else ""


def _side_by_side(
    fit: Fit, outcome: str, rows: Sequence[dict[Any, Any]], sources: Mapping[str, str]
) -> Table:
    shown = outcome_table(fit, outcome, _about(sources))
    for name in sources.values():
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("P(> 0)", justify="right", no_wrap=True)
    if "published" in sources:
        shown.add_column("Verdict")
    for row in rows:
        shown.add_row(
            words(row["quantity"]),
            escape(row["level"]),
            *_cells(row, sources),
            number(row["prob_positive"], 3),
            *([_verdict(row)] if "published" in sources else []),
        )
    return shown


def _one_below_the_other(
    fit: Fit, outcome: str, rows: Sequence[dict[Any, Any]], sources: Mapping[str, str]
) -> Table:
    shown = outcome_table(fit, outcome, _about(sources))
    shown.add_column("Source")
    shown.add_column("Estimate (interval)", justify="right", no_wrap=True)
    if "published" in sources:
        shown.add_column("Verdict", min_width=VERDICT)
    for row in rows:
        pairs = zip(sources.values(), _cells(row, sources), strict=True)
        filled = [pair for pair in pairs if pair[1]]
        for position, (source, cell) in enumerate(filled):
            first, last = position == 0, position == len(filled) - 1
            shown.add_row(
                words(row["quantity"]) if first else "",
                escape(row["level"]) if first else "",
                source,
                cell,
                *([_verdict(row) if last else ""] if "published" in sources else []),
                end_section=last,
            )
    if needed(shown) > out().width:  # lines are broken between words where that is enough
        shown.columns[0].max_width = len("interaction")
        shown.columns[2].max_width = len("Published")
    return shown


def _about(sources: Mapping[str, str]) -> str:
    return ": published and refitted" if "published" in sources else ": refitted"


def _legend(
    fit: Fit, table: pd.DataFrame, interval: float, at: float | None, *, published: bool
) -> str:
    from alliance.inference.estimands.compared_at import comparison_places

    curved: tuple[str, ...] = ()
    if any(fit.design(outcome).family.link != "identity" for outcome in fit.outcomes):
        curved = (
            "Posterior means over therapists: `alliance predict RUN --average-over trial "
            "--contrasts`.",
        )
    as_printed = " Published numbers as later arm minus earlier arm." if published else ""
    lines = [
        f"Refits and posterior: estimate and {100 * interval:g}% interval.{as_printed} OLS, main "
        "effects: without the interaction.",
        *comparison_places(fit, at),
        *curved,
        *refit_words(table),
    ]
    if published:
        lines += [
            "undetermined: the interval includes zero, or overlaps the published one without "
            "holding its estimate; it shows neither presence nor absence.",
            "Published and posterior intervals of the same patients share their chance: that they "
            "overlap is no sign of agreement.",
            "Each verdict's explanation and source, and all quantities: --format csv.",
        ]
    else:
        lines.append("All quantities: --format csv.")
    if fit.study.simulated and published:
        lines.append(
            "SIMULATED: the verdicts speak of a simulated trial, not of the study's patients."
        )
    return escape("\n".join(lines))
