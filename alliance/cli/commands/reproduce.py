"""`alliance reproduce`: refit a run, and say whether its draws came out the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alliance.cli import screen
from alliance.cli.options import LARGEST_SEED, CoresOption, FormatOption, RunArgument
from alliance.cli.runs import FAILED

if TYPE_CHECKING:
    from alliance.inference.runs.reproduction import Reproduction


def reproduce(
    run: RunArgument,
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DATA]",
            help="The data to refit on; without it the analysed patients kept in the run.",
        ),
    ] = None,
    data_option: Annotated[
        Path | None, typer.Option("--data", metavar="DATA", help="The same, as an option.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=LARGEST_SEED, help="Another seed than the run's.")
    ] = None,
    cores: CoresOption = None,
    table_format: FormatOption = "table",
) -> None:
    """Refit a run from its study, specification, profile and seed: are the draws identical?

    Exit code 0 if they are, bit for bit; 3 if not, with how far apart the results are and which
    version, seed, data or machine differs.
    """
    if data is not None and data_option is not None:
        raise typer.BadParameter("give the data once.", param_hint="--data")
    from alliance.data_prep.trial.trial import load_trial
    from alliance.inference.runs.reproduction import reproduce as refitted
    from alliance.inference.runs.run_folder import load_fit
    from alliance.models.spec import JOINT

    data = data_option if data is None else data
    fit = load_fit(run)
    trial = None if data is None else load_trial(fit.study, data)
    names = [JOINT] if JOINT in fit.manifest else list(fit.outcomes)
    whence = "the analysed patients kept in the run" if data is None else str(data)
    screen.say(f"Refitting {run} on {whence}.")
    with screen.sampling_progress(names) as progress:
        found = refitted(fit, trial, seed=seed, cores=cores, progress=progress)
    if table_format == "table":
        from alliance.diagnostics.sheets.many_fits import reproduction

        screen.show(fit.study, [reproduction(fit, found)], [])
    else:
        screen.frame(found.quantities, table_format, simulated=fit.study.simulated)
    _conclude(found)


def _conclude(found: Reproduction) -> None:
    from alliance.inference.runs.reproduction import MONTE_CARLO_LIMIT

    for reason in found.reasons:
        screen.note(reason)
    if found.reproduced:
        screen.say("Reproduced: every draw of every parameter is identical.")
        return
    why = "See the notes above." if found.reasons else "Nothing that the run records differs."
    within = (
        f"No quantity is further apart than {MONTE_CARLO_LIMIT:g} Monte Carlo standard errors: as "
        "two runs of one model on the same data with other seeds are."
        if found.within_error
        else "Some quantities are further apart than Monte Carlo error explains."
    )
    screen.error(f"Not reproduced: the draws differ. {within} {why}")
    raise typer.Exit(FAILED)
