"""What `ppc` does: replicate, print the statistics and the verdicts, draw the figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.markup import escape

from alliance.cli.running import command, load_run
from alliance.cli.screen import render
from alliance.cli.screen.narrow import Table, print_fitting
from alliance.inference.digits import decimals, number

if TYPE_CHECKING:
    from alliance.diagnostics.checks.predictive_checks import PredictiveCheck
    from alliance.inference.runs.fit import Fit

FEWEST_COLUMNS = 3


@command
def ppc(
    run: Path,
    *,
    outcomes: list[str],
    seed: int | None,
    figure: Path | None,
    plot: str,
    table_format: str,
) -> None:
    """Print the posterior predictive checks, and draw them."""
    from alliance.diagnostics.checks.predictive_checks import predictive_check

    fit = load_run(run)
    checks = [predictive_check(fit[outcome], seed=seed) for outcome in fit.chosen(outcomes)]
    if figure is not None:
        from alliance.diagnostics.figures.predictive_figures import FIGURES

        render.save(FIGURES[plot](fit, checks), figure)
    if table_format != "table":
        table = pd.concat([check.table() for check in checks], ignore_index=True)
        render.frame(table, table_format, simulated=fit.study.simulated)
        return
    for check in checks:
        _print(fit, check)
    render.out().print(_legend(checks))


def _print(fit: Fit, check: PredictiveCheck) -> None:
    console = render.out()
    title = f"{render.outcome_title(fit, check.outcome)}: posterior predictive checks"
    shown = Table(title=title, title_justify="left")
    shown.add_column("Statistic")
    shown.add_column("Verdict")
    for name in ("Observed", "95% of replicates", "p"):
        shown.add_column(name, justify="right", no_wrap=True)
    for row in check.table().to_dict("records"):
        shown.add_row(*_cells(row))
    print_fitting(console, shown, FEWEST_COLUMNS)
    tripped = [result for result in check.results if result.recommendation]
    for result in tripped:
        word = render.coloured(str(result.verdict))
        console.print(f"{word} {escape(result.check)}: {escape(result.message)}")
    told = ""
    for result in tripped:
        if result.recommendation not in told:  # two checks often ask for the same
            console.print(f"What to do: {escape(result.recommendation)}")
        told += result.recommendation
    console.print()


def _cells(row: dict[Any, Any]) -> list[str]:
    digits = decimals(row["upper"] - row["lower"], row["observed"])
    lower, upper, observed = (number(row[name], digits) for name in ("lower", "upper", "observed"))
    p = row["p_value"]
    told = "" if p != p else "< 0.001" if p < 0.001 else f"{p:.3f}"
    verdict = render.coloured(row["verdict"])
    return [escape(row["description"]), verdict, observed, f"{lower} to {upper}", told]


def _legend(checks: list[PredictiveCheck]) -> str:
    from alliance.diagnostics.checks.predictive_checks import FALSE_ALARMS, MOST_OUTSIDE

    return escape(
        f"{checks[0].replicates:,} replicates of the same patients under the model. REVIEW: p "
        f"below {FALSE_ALARMS:g} over the number of an outcome's statistics, or more than "
        f"{MOST_OUTSIDE:.0%} of the replicated scores outside the range on average. A check that "
        "passes says that the model can produce such data, not that it is true."
    )
