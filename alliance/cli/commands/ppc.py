"""`alliance ppc`: do outcomes replicated under the model look like those observed?"""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from alliance.cli import screen
from alliance.cli.options import FigureOption, FormatOption, OutcomeOption, RunArgument
from alliance.cli.runs import load_run

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
    checks = [predictive_check(fit[name], seed=seed) for name in fit.chosen(outcome or [])]
    if figure is not None:
        from alliance.diagnostics.figures.predictive_figures import FIGURES

        screen.save(FIGURES[plot](fit, checks), figure)
    if table_format != "table":
        tables = [check.table for check in checks]
        screen.frame(tables, table_format, simulated=fit.study.simulated)
        return
    from alliance.diagnostics.sheets import checks as sheets

    for check in checks:
        screen.show(fit.study, [sheets.predictive(fit, check)])
        screen.tripped(check.results)
        screen.tell([""])
    screen.tell(sheets.predictive_legend(checks))
