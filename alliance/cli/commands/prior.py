"""`alliance prior`: are the priors plausible on each outcome's own scale, before any fit?"""

from __future__ import annotations

from typing import Annotated

import typer

from alliance.cli import screen
from alliance.cli.options import (
    DEFAULT_SEED,
    AllSettings,
    DataArgument,
    FigureOption,
    FormatOption,
    OutcomeOption,
    SeedOption,
    StudyArgument,
)
from alliance.cli.runs import asked_study


def prior(
    study: StudyArgument,
    data: DataArgument,
    *,
    outcome: OutcomeOption = None,
    settings: AllSettings,
    draws: Annotated[
        int, typer.Option(min=100, max=100_000, help="Trials simulated from the priors.")
    ] = 2000,
    seed: SeedOption = DEFAULT_SEED,
    figure: FigureOption = None,
    table_format: FormatOption = "table",
) -> None:
    """Check, before any fit, whether the priors are plausible on each outcome's own scale.

    Of the data only arms, therapists, baselines and alliances are used, and the mean and SD that
    the priors are stated in. A check that asks for a REVIEW names the prior to change; the exit
    code stays 0.
    """
    from alliance.data_prep.trial.trial import check_estimable, load_trial
    from alliance.diagnostics.checks.prior_check import prior_check

    described = asked_study(study, outcome, settings)
    trial = load_trial(described, data)
    for note in trial.notes:
        screen.note(note)
    check_estimable(trial, described.model.therapist)
    checks = [prior_check(trial, name, draws=draws, seed=seed) for name in described.outcomes]
    if figure is not None:
        from alliance.diagnostics.figures.prior_figure import prior_figure

        screen.save(prior_figure(checks), figure)
    if table_format != "table":
        tables = [check.table for check in checks]
        screen.frame(tables, table_format, simulated=described.simulated)
        return
    from alliance.diagnostics.sheets import checks as sheets

    for check in checks:
        screen.show(described, [sheets.prior(check)])
        screen.tripped(check.results)
        screen.tell([""])
    screen.tell(sheets.prior_legend(checks))
