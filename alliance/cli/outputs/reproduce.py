"""What `reproduce` does: refit a run, and say whether its draws came out the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.markup import escape

from alliance.cli.running import command
from alliance.cli.screen import render
from alliance.cli.screen.narrow import Table, print_fitting
from alliance.cli.screen.progress import sampling_progress
from alliance.inference.digits import decimals, number

if TYPE_CHECKING:
    from alliance.inference.runs.reproduction import Reproduction

NOT_REPRODUCED = 3
FEWEST_COLUMNS = 4


@command
def reproduce(
    run: Path, *, data: Path | None, seed: int | None, cores: int | None, table_format: str
) -> None:
    """Refit, compare, and choose the exit code."""
    from alliance.data_prep.trial.trial import load_trial
    from alliance.inference.runs.reproduction import reproduce as refitted
    from alliance.inference.runs.run_folder import load_fit
    from alliance.models.spec import JOINT

    fit = load_fit(run)
    trial = None if data is None else load_trial(fit.study, data)
    names = [JOINT] if JOINT in fit.manifest else list(fit.outcomes)
    whence = "the analysed patients kept in the run" if data is None else str(data)
    render.say(f"Refitting {run} on {whence}.")
    with sampling_progress(names) as progress:
        found = refitted(fit, trial, seed=seed, cores=cores, progress=progress)
    if table_format == "table":
        _print(found, fit.study.simulated)
    else:
        render.frame(found.quantities, table_format, simulated=fit.study.simulated)
    _conclude(found)


def _print(found: Reproduction, simulated: bool) -> None:
    title = render.marked_title(simulated, "Run and refit: the quantity furthest apart")
    shown = Table(title=title, title_justify="left")
    for name in ("Outcome", "Draws", "Quantity", "Level"):
        shown.add_column(name)
    for name in ("Run", "Refit", "In Monte Carlo SEs", "In posterior SDs"):
        shown.add_column(name, justify="right", no_wrap=True)
    for row in found.table().to_dict("records"):
        cells = [row["outcome"], "[green]identical[/green]"]
        if row["identical"]:
            shown.add_row(*cells, *[""] * 6)
            continue
        digits = decimals(abs(row["difference"]), row["mean"])
        shown.add_row(
            cells[0],
            "[yellow]different[/yellow]",
            render.words(row["quantity"]),
            escape(row["level"]),
            number(row["mean"], digits),
            number(row["refitted"], digits),
            number(row["in_mcse"], 2),
            number(row["in_sd"], 3),
        )
    if found.reproduced:
        shown.columns = shown.columns[:2]  # nothing is apart
        shown.title = render.marked_title(simulated, "Run and refit")
    print_fitting(render.out(), shown, FEWEST_COLUMNS)


def _conclude(found: Reproduction) -> None:
    from alliance.inference.runs.reproduction import MONTE_CARLO_LIMIT

    for reason in found.reasons:
        render.note(reason)
    if found.reproduced:
        render.say("Reproduced: every draw of every parameter is identical.")
        return
    why = "See the notes above." if found.reasons else "Nothing that the run records differs."
    within = (
        f"No quantity is further apart than {MONTE_CARLO_LIMIT:g} Monte Carlo standard errors: as "
        "two runs of one model on the same data with other seeds are."
        if found.within_error
        else "Some quantities are further apart than Monte Carlo error explains."
    )
    render.error(f"Not reproduced: the draws differ. {within} {why}")
    raise typer.Exit(NOT_REPRODUCED)
