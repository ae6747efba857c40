"""How several runs look side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd
from rich.markup import escape

from alliance.cli.screen.narrow import print_fitting
from alliance.cli.screen.render import frame, note, out, outcome_table, words
from alliance.inference.digits import decimals, number
from alliance.inference.estimands.compared_at import places_in_words
from alliance.models.spec import JOINT

if TYPE_CHECKING:
    from alliance.inference.runs.fit import Fit

FEWEST_COLUMNS = 3  # quantity, level and one run


def runs_beside(
    runs: Mapping[str, Fit],
    table: pd.DataFrame,
    table_format: str,
    *,
    interval: float,
    at: float | None = None,
) -> None:
    """Print the table of `inference.runs.beside.runs_beside`, by outcome."""
    first = next(iter(runs.values()))
    for name, fit in runs.items():
        if fit.manifest["data"]["sha256"] != first.manifest["data"]["sha256"]:
            note(f"{name} was fitted to other data ({fit.manifest['data']['file']}).")
    if table_format != "table":
        frame(table, table_format, simulated=any(fit.study.simulated for fit in runs.values()))
        return
    for outcome, rows in table.groupby("outcome", sort=False):
        shared = next(
            fit
            for fit in runs.values()
            if outcome in fit.outcomes or (outcome == JOINT and fit.shared is not None)
        )
        shown = outcome_table(shared, str(outcome), about=", runs side by side")
        for name in runs:
            shown.add_column(escape(name), justify="right", no_wrap=True)
        for row in rows.to_dict("records"):
            cells = []
            for name in runs:
                mean, sd = row[f"{name}_mean"], row[f"{name}_sd"]
                if pd.isna(mean):
                    cells.append("")
                    continue
                digits = decimals(sd, mean)
                ends = (number(row[f"{name}_{end}"], digits) for end in ("lower", "upper"))
                cells.append(f"{number(mean, digits)} ({', '.join(ends)})")
            shown.add_row(words(row["quantity"]), escape(row["level"]), *cells)
        print_fitting(out(), shown, FEWEST_COLUMNS)
    out().print(f"Posterior means and {100 * interval:g}% equal-tailed intervals.")
    places = {name: places_in_words(fit, at) for name, fit in runs.items()}
    if len(set(places.values())) == 1:
        out().print(escape(next(iter(places.values()))))
    else:
        for name, told in places.items():
            out().print(escape(f"{name}: {told[0].lower()}{told[1:]}"))
        if at is None:
            out().print("--at VALUE compares the arms of all runs at one alliance.")
