"""What `prior` does: simulate from the priors, print quantities and verdicts, draw the figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.markup import escape

from alliance.cli.running import command
from alliance.cli.screen import render
from alliance.cli.screen.narrow import Table, print_fitting
from alliance.data_prep.study.description import find_study, narrowed, read_study
from alliance.data_prep.trial.trial import check_estimable, load_trial
from alliance.inference.digits import decimals, number

if TYPE_CHECKING:
    from alliance.diagnostics.checks.prior_check import PriorCheck

FEWEST_COLUMNS = 4
COLOURS = {"plausible": "green", "too wide": "yellow", "too tight": "yellow"}
LEAST_SHARE = 0.001  # smaller shares are said to be smaller


@command
def prior(
    study: str,
    data: Path,
    *,
    outcomes: list[str],
    settings: dict[str, Any],
    draws: int,
    seed: int,
    figure: Path | None,
    table_format: str,
) -> None:
    """Print the prior predictive checks, and draw them."""
    # Settings are enumerations on the command line, and plain text in the study.
    chosen: dict[str, Any] = {k: str(v) if isinstance(v, str) else v for k, v in settings.items()}
    described = narrowed(read_study(find_study(study)), outcomes=outcomes, **chosen)
    from alliance.diagnostics.checks.prior_check import prior_check

    trial = load_trial(described, data)
    for note in trial.notes:
        render.note(note)
    check_estimable(trial, described.model.therapist)
    checks = [prior_check(trial, name, draws=draws, seed=seed) for name in described.outcomes]
    if figure is not None:
        from alliance.diagnostics.figures.prior_figure import prior_figure

        render.save(prior_figure(checks), figure)
    if table_format != "table":
        table = pd.concat([check.table() for check in checks], ignore_index=True)
        render.frame(table, table_format, simulated=described.simulated)
        return
    for check in checks:
        _print(check)
    render.out().print(_legend(checks))


def _print(check: PriorCheck) -> None:
    console = render.out()
    described = check.study.outcomes[check.outcome]
    low, high = described.range
    text = (
        f"{check.outcome}: {described.label} ({low:g} to {high:g}), {check.patients} patients: "
        f"priors {check.verdict}"
    )
    title = render.marked_title(check.study.simulated, text)
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
            render.words(row.quantity),
            escape(row.level),
            f"[{colour}]{row.verdict}[/{colour}]",
            f"{number(row.lower, digits)} to {number(row.upper, digits)}",
            _share(row.share_large, row.most_large, "up to"),
            _share(row.share_small, row.least_small, "from"),
            _share(row.share_over_half),
        )
    print_fitting(console, shown, FEWEST_COLUMNS)
    for result in check.results:
        if result.recommendation:
            word = render.coloured(str(result.verdict))
            console.print(f"{word} {escape(result.check)}: {escape(result.message)}")
            console.print(f"What to do: {escape(result.recommendation)}")
    console.print()


def _share(value: float, limit: float | None = None, word: str = "") -> str:
    if value != value:
        return ""
    told = "< 0.1%" if 0 < value < LEAST_SHARE else f"{100 * value:.1f}%"
    return told if limit is None else f"{told} ({word} {100 * limit:.0f}%)"


def _legend(checks: list[PriorCheck]) -> str:
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
