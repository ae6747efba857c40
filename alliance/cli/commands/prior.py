"""`alliance prior`: are the priors plausible on each outcome's own scale, before any fit?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

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
from alliance.cli.screen import Table, coloured, marked_title, print_fitting, words
from alliance.inference.digits import decimals, number

if TYPE_CHECKING:
    from alliance.diagnostics.checks.prior_check import PriorCheck

FEWEST_COLUMNS = 4
COLOURS = {"plausible": "green", "too wide": "yellow", "too tight": "yellow"}
LEAST_SHARE = 0.001  # smaller shares are said to be smaller


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
        tables = [check.table() for check in checks]
        screen.frame(tables, table_format, simulated=described.simulated)
        return
    for check in checks:
        _print(check)
    screen.out().print(_legend(checks))


def _print(check: PriorCheck) -> None:
    """Print what the priors of one outcome say, and what to do."""
    console = screen.out()
    print_fitting(console, _quantities(check), FEWEST_COLUMNS)
    for result in check.results:
        if result.recommendation:
            word = coloured(str(result.verdict))
            console.print(f"{word} {escape(result.check)}: {escape(result.message)}")
            console.print(f"What to do: {escape(result.recommendation)}")
    console.print()


def _quantities(check: PriorCheck) -> Table:
    """What the priors say of each quantity, in points of the outcome."""
    described = check.study.outcomes[check.outcome]
    low, high = described.range
    text = (
        f"{check.outcome}: {described.label} ({low:g} to {high:g}), {check.patients} patients: "
        f"priors {check.verdict}"
    )
    title = marked_title(check.study.simulated, text)
    shown = Table(title=title, title_justify="left")
    shown.add_column("Quantity")
    shown.add_column("Level")
    shown.add_column("Verdict", no_wrap=True)
    for name in ("95% of draws", "Too large", "Large enough", "Over half the scale"):
        shown.add_column(name, justify="right", no_wrap=True)
    for row in check.rows:
        colour = COLOURS[row.verdict]
        digits = decimals(row.upper - row.lower, row.upper)
        shown.add_row(
            words(row.quantity),
            escape(row.level),
            f"[{colour}]{row.verdict}[/{colour}]",
            f"{number(row.lower, digits)} to {number(row.upper, digits)}",
            _share(row.share_large, row.most_large, "up to"),
            _share(row.share_small, row.least_small, "from"),
            _share(row.share_over_half),
        )
    return shown


def _share(value: float, limit: float | None = None, word: str = "") -> str:
    if value != value:
        return ""
    told = "< 0.1%" if 0 < value < LEAST_SHARE else f"{100 * value:.1f}%"
    return told if limit is None else f"{told} ({word} {100 * limit:.0f}%)"


def _legend(checks: Sequence[PriorCheck]) -> str:
    first = checks[0]
    drawn = first.predictive.scores.shape
    whom = "" if drawn[1] == first.patients else f" for {drawn[1]} of the patients, at random"
    return escape(
        f"{drawn[0]} trials simulated from the priors{whom}; in points of the outcome, effects "
        "over all observed values of a variable, therapist slope SD for one SD of the alliance, "
        "therapist arm SD for a contrast.\nToo large: share of draws beyond what the scale allows "
        "(in brackets what is plausible). Large enough: share of draws at least as large as what "
        "should stay possible."
    )
