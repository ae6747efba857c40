"""What `calibrate` does: simulate and fit many trials, print where true values lie, judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import typer
from rich.markup import escape

from alliance.cli.many_fits import many_fits
from alliance.cli.running import GATE_FAILED, command
from alliance.cli.screen import render
from alliance.cli.screen.narrow import Table, print_fitting
from alliance.data_prep.study.description import find_study, narrowed, read_study
from alliance.data_prep.trial.trial import check_estimable, load_trial

if TYPE_CHECKING:
    from alliance.inference.many_fits.calibration_runs import StudyCalibration
    from alliance.inference.sampling.profiles import Engine

FEWEST_COLUMNS = 5
COVERED = {"covered_50": "50%", "covered_90": "90%", "covered_95": "95%"}


@command
def calibrate(
    study: str,
    data: Path | None,
    *,
    trials: int,
    patients: int,
    therapists: int,
    nested: bool,
    outcomes: list[str],
    settings: dict[str, Any],
    engine: Engine | None,
    store: Path,
    dask: str | None,
    workers: int | None,
    seed: int,
    figure: Path | None,
    table_format: str,
) -> None:
    """Calibrate, print, draw, and leave with the verdict."""
    # Settings are enumerations on the command line, and plain text in the study.
    chosen: dict[str, Any] = {k: str(v) if isinstance(v, str) else v for k, v in settings.items()}
    described = narrowed(read_study(find_study(study)), outcomes=outcomes, **chosen)
    trial = None
    if data is not None:
        trial = load_trial(described, data)
        check_estimable(trial, described.model.therapist)
    from alliance.inference.many_fits.calibration_runs import (
        calibrate_study,
        calibration_facts,
        calibration_questions,
    )

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
        from alliance.diagnostics.figures.comparison_figure import require_figure

        require_figure(figure)
    whom = f"{data.name}'s patients" if data is not None else f"{patients} imagined patients"
    render.say(
        f"Simulating and fitting {trials} trials of {whom} for each of {len(questions)} "
        f"outcome(s); results are kept in {store}."
    )
    facts = calibration_facts(questions)
    with many_fits(store, facts, dask, workers) as (client, kept, progress):
        found = calibrate_study(client, kept, questions, trials, progress=progress)
    table = found.table()
    if figure is not None:
        from alliance.diagnostics.figures.many_fits_figures import rank_figure

        render.save(rank_figure(described, found), figure)
    if table_format == "table":
        for name in found.outcomes:
            _print(table[table["outcome"] == name], found, name)
    else:
        render.frame(table, table_format)
    _conclude(table, found)


def _print(table: pd.DataFrame, found: StudyCalibration, outcome: str) -> None:
    own = found.outcomes[outcome]
    engine = found.engines[outcome]
    title = f"{outcome}: {len(own.pit)} simulated trials, engine {engine}"
    if own.fallbacks:
        title += f" ({own.fallbacks} by NUTS, where weights were unreliable)"
    if own.divergent:
        title += f"; divergent transitions in {own.divergent}"
    shown = Table(title=f"[bold]{escape(title)}[/bold]", title_justify="left")
    shown.add_column("Quantity")
    shown.add_column("Level")
    for name in ("Verdict", "p after Holm", "Mean z", *COVERED.values(), "Left by the data"):
        shown.add_column(name, justify="right", no_wrap=True)
    for row in table.to_dict("records"):
        shown.add_row(
            render.words(row["quantity"]),
            escape(row["level"]),
            render.coloured("PASS" if row["p_adjusted"] >= _alarm() else "FAIL"),
            f"{row['p_adjusted']:.3f}",
            f"{row['mean_z']:+.2f}",
            *(f"{100 * row[name]:.0f}%" for name in COVERED),
            f"{100 * row['mean_shrinkage']:.0f}%",
        )
    print_fitting(render.out(), shown, FEWEST_COLUMNS)


def _alarm() -> float:
    from alliance.inference.many_fits.calibration import ALARM

    return ALARM


def _conclude(table: pd.DataFrame, found: StudyCalibration) -> None:
    for task, failure in list(found.failures.items())[:3]:
        render.note(f"The fit of trial {task} failed: {failure}")
    worst = table.sort_values("p_value").iloc[0]
    named = f"{worst['quantity']} {worst['level']}".strip()
    told = (
        f"smallest p {worst['p_value']:.4f} ({worst['outcome']}: {named}), after Holm's correction "
        f"for {len(table)} quantities {worst['p_adjusted']:.3f}"
    )
    if found.passed:
        render.say(
            f"Calibrated: true values are spread over the posteriors as they should be; {told}. "
            f"A fault-free set of quantities fails once in {1 / _alarm():.0f} times."
        )
        return
    failed = len(found.failures)
    reason = f"{failed} fit(s) failed; {told}" if failed else told
    render.error(
        f"Not calibrated: {reason}. Do not use intervals of this model until it is known why."
    )
    raise typer.Exit(GATE_FAILED)
