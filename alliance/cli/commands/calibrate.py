"""`alliance calibrate`: are posteriors as wide, and where, as they say? By simulation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alliance.cli import screen
from alliance.cli.options import (
    DEFAULT_SEED,
    AllSettings,
    DaskOption,
    EngineName,
    FigureOption,
    FormatOption,
    OutcomeOption,
    SeedOption,
    StoreOption,
    StudyArgument,
    WorkersOption,
)
from alliance.cli.runs import FAILED, asked_study, many_fits

if TYPE_CHECKING:
    import pandas as pd

    from alliance.inference.many_fits.calibration_runs import StudyCalibration

COVERED = {"covered_50": "50%", "covered_90": "90%", "covered_95": "95%"}


def calibrate(
    study: StudyArgument,
    *,
    data: Annotated[
        Path | None,
        typer.Option(help="A trial whose patients are kept; imagined ones by default."),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Simulated trials of each outcome.")] = 200,
    patients: Annotated[int, typer.Option(min=1, help="Patients imagined.")] = 182,
    therapists: Annotated[int, typer.Option(min=1, help="Therapists imagined.")] = 12,
    nested: Annotated[
        bool, typer.Option("--nested", help="Each imagined therapist treats in one arm only.")
    ] = False,
    outcome: OutcomeOption = None,
    settings: AllSettings,
    engine: Annotated[
        EngineName | None,
        typer.Option(help="instant by default for Gaussian outcomes as rated, nuts for others."),
    ] = None,
    store: StoreOption = Path("calibration.sqlite"),
    dask: DaskOption = None,
    workers: WorkersOption = None,
    seed: SeedOption = DEFAULT_SEED,
    figure: FigureOption = None,
    table_format: FormatOption = "table",
) -> None:
    """Check by simulation whether posteriors are as wide, and where, as they say.

    Parameters are drawn from the priors and trials from the parameters; each trial is fitted, and
    the true values must be spread evenly over the posteriors. Exit code 3 if they are not.
    """
    from alliance.data_prep.trial.trial import check_estimable, load_trial
    from alliance.diagnostics.figures.comparison_figure import require_figure
    from alliance.inference.many_fits.calibration_runs import (
        calibrate_study,
        calibration_facts,
        calibration_questions,
    )

    described = asked_study(study, outcome, settings)
    trial = None
    if data is not None:
        trial = load_trial(described, data)
        check_estimable(trial, described.model.therapist)
    questions = calibration_questions(
        described,
        None if trial is None else trial.data,
        patients=patients,
        therapists=therapists,
        seed=seed,
        engine=engine,
        nested=nested,
    )
    if figure is not None:
        require_figure(figure)
    whom = f"{data.name}'s patients" if data is not None else f"{patients} imagined patients"
    screen.say(
        f"Simulating and fitting {trials} trials of {whom} for each of {len(questions)} "
        f"outcome(s); results are kept in {store}."
    )
    facts = calibration_facts(questions)
    with many_fits(store, facts, dask, workers) as (client, kept, progress):
        found = calibrate_study(client, kept, questions, trials, progress=progress)
    table = found.table()
    if figure is not None:
        from alliance.diagnostics.figures.many_fits_figures import rank_figure

        screen.save(rank_figure(described, found), figure)
    if table_format == "table":
        from alliance.diagnostics.sheets.many_fits import calibration

        screen.show(described, [calibration(table, found, name) for name in found.outcomes])
    else:
        screen.frame(table, table_format)
    _conclude(table, found)


def _alarm() -> float:
    from alliance.inference.many_fits.calibration import ALARM

    return ALARM


def _conclude(table: pd.DataFrame, found: StudyCalibration) -> None:
    for task, failure in list(found.failures.items())[:3]:
        screen.note(f"The fit of trial {task} failed: {failure}")
    worst = table.sort_values("p_value").iloc[0]
    named = f"{worst['quantity']} {worst['level']}".strip()
    told = (
        f"smallest p {worst['p_value']:.4f} ({worst['outcome']}: {named}), after Holm's correction "
        f"for {len(table)} quantities {worst['p_adjusted']:.3f}"
    )
    if found.passed:
        screen.say(
            f"Calibrated: true values are spread over the posteriors as they should be; {told}. "
            f"A fault-free set of quantities fails once in {1 / _alarm():.0f} times."
        )
        return
    failed = len(found.failures)
    reason = f"{failed} fit(s) failed; {told}" if failed else told
    screen.error(
        f"Not calibrated: {reason}. Do not use intervals of this model until it is known why."
    )
    raise typer.Exit(FAILED)
