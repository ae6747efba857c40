"""`alliance ppc`: do outcomes replicated under the model look like those observed?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from alliance.cli import screen
from alliance.cli.options import FigureOption, FormatOption, OutcomeOption, RunArgument
from alliance.cli.runs import chosen_outcomes, load_run
from alliance.cli.screen import Table, coloured, outcome_title, print_fitting
from alliance.inference.digits import decimals, number

if TYPE_CHECKING:
    from alliance.diagnostics.checks.predictive_checks import PredictiveCheck
    from alliance.inference.runs.fit import Fit

FEWEST_COLUMNS = 3
Plot = Literal["distribution", "therapists", "statistics"]


def ppc(
    run: RunArgument,
    outcome: OutcomeOption = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the replicates; the run's own by default.")
    ] = None,
    figure: FigureOption = None,
    plot: Annotated[
        Plot,
        typer.Option(
            help="What the figure shows: scores over all patients and by arm, therapists' means, "
            "or test statistics."
        ),
    ] = "distribution",
    table_format: FormatOption = "table",
) -> None:
    """Check whether outcomes replicated under the model look like those observed.

    A check that asks for a REVIEW says what to do; the exit code stays 0.
    """
    from alliance.diagnostics.checks.predictive_checks import predictive_check

    fit = load_run(run)
    checks = [predictive_check(fit, name, seed=seed) for name in chosen_outcomes(fit, outcome)]
    if figure is not None:
        from alliance.diagnostics.figures.predictive_figures import FIGURES

        screen.save(FIGURES[plot](fit, checks), figure)
    if table_format != "table":
        tables = [check.table() for check in checks]
        screen.frame(tables, table_format, simulated=fit.study.simulated)
        return
    for check in checks:
        _print(fit, check)
    screen.out().print(_legend(checks))


def _print(fit: Fit, check: PredictiveCheck) -> None:
    """Print the statistics of one outcome, and what to do."""
    console = screen.out()
    print_fitting(console, _statistics(fit, check), FEWEST_COLUMNS)
    tripped = [result for result in check.results if result.recommendation]
    for result in tripped:
        word = coloured(str(result.verdict))
        console.print(f"{word} {escape(result.check)}: {escape(result.message)}")
    told = ""
    for result in tripped:
        if result.recommendation not in told:  # two checks often ask for the same
            console.print(f"What to do: {escape(result.recommendation)}")
        told += result.recommendation
    console.print()


def _statistics(fit: Fit, check: PredictiveCheck) -> Table:
    """Observed statistics beside those of the replicates."""
    title = f"{outcome_title(fit, check.outcome)}: posterior predictive checks"
    shown = Table(title=title, title_justify="left")
    shown.add_column("Statistic")
    shown.add_column("Verdict")
    for name in ("Observed", "95% of replicates", "p"):
        shown.add_column(name, justify="right", no_wrap=True)
    for row in check.table().to_dict("records"):
        shown.add_row(*_cells(row))
    return shown


def _cells(row: dict[Any, Any]) -> list[str]:
    digits = decimals(row["upper"] - row["lower"], row["observed"])
    lower, upper, observed = (number(row[name], digits) for name in ("lower", "upper", "observed"))
    p = row["p_value"]
    told = "" if p != p else "< 0.001" if p < 0.001 else f"{p:.3f}"
    verdict = coloured(row["verdict"])
    return [escape(row["description"]), verdict, observed, f"{lower} to {upper}", told]


def _legend(checks: Sequence[PredictiveCheck]) -> str:
    from alliance.diagnostics.checks.predictive_checks import FALSE_ALARMS, MOST_OUTSIDE

    return escape(
        f"{checks[0].replicates:,} replicates of the same patients under the model. REVIEW: p "
        f"below {FALSE_ALARMS:g} over the number of an outcome's statistics, or more than "
        f"{MOST_OUTSIDE:.0%} of the replicated scores outside the range on average. A check that "
        "passes says that the model can produce such data, not that it is true."
    )
