"""What `assurance` does: simulate, fit and judge trials of every size, and print the chances."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from alliance.cli.many_fits import many_fits
from alliance.cli.options.value_lists import read_values
from alliance.cli.running import command
from alliance.cli.screen import render
from alliance.cli.screen.narrow import Table, print_fitting
from alliance.data_prep.errors import InputError
from alliance.data_prep.study.description import find_study, narrowed, read_study
from alliance.inference.digits import decimals, number

if TYPE_CHECKING:
    from alliance.inference.many_fits.assurance import AssuranceQuestion
    from alliance.inference.sampling.profiles import Engine

FEWEST_COLUMNS = 5


@command
def assurance(
    study: str,
    *,
    patients: list[str],
    therapists: list[str],
    interaction: list[str],
    outcome: str | None,
    contrast: str | None,
    criterion: dict[str, float],
    settings: dict[str, Any],
    nested: bool,
    assumptions: dict[str, float],
    trials: int,
    engine: Engine | None,
    store: Path,
    dask: str | None,
    workers: int | None,
    seed: int,
    figure: Path | None,
    table_format: str,
) -> None:
    """Simulate, print and draw."""
    grid = [
        (n, j, size)
        for n, j, size in product(
            _whole("--patients", patients),
            _whole("--therapists", therapists),
            read_values("--interaction", interaction),
        )
    ]
    # Settings are enumerations on the command line, and plain text in the study.
    chosen: dict[str, Any] = {k: str(v) if isinstance(v, str) else v for k, v in settings.items()}
    whole = read_study(find_study(study))
    described = narrowed(whole, outcomes=[] if outcome is None else [outcome], **chosen)
    from alliance.inference.many_fits.assurance import (
        Assumptions,
        Criterion,
        assurance_facts,
        assurance_question,
        require_grid,
    )
    from alliance.inference.many_fits.assurance import assurance as assured

    question = assurance_question(
        described,
        contrast,
        Assumptions(**assumptions),
        Criterion(**criterion),
        nested=nested,
        seed=seed,
        engine=engine,
    )
    require_grid(question, grid)
    if figure is not None:
        from alliance.diagnostics.figures.comparison_figure import require_figure

        require_figure(figure)
    render.say(
        f"Simulating and fitting {trials} trials of each of {len(grid)} sizes; results are kept in "
        f"{store}."
    )
    with many_fits(store, assurance_facts(question), dask, workers) as (client, kept, progress):
        table, failures = assured(client, kept, question, grid, trials, progress=progress)
    for task, failure in list(failures.items())[:3]:
        render.note(f"The fit of trial {task} failed: {failure}")
    if figure is not None:
        from alliance.diagnostics.figures.many_fits_figures import assurance_figure

        render.save(assurance_figure(question, table), figure)
    if table_format == "table":
        _print(table, question)
    else:
        render.frame(table, table_format)


def _whole(option: str, texts: list[str]) -> list[int]:
    values = read_values(option, texts)
    for value in values:
        if not value.is_integer() or value < 1:
            raise InputError(f"{option} {value:g} is no number of people.", "Give whole numbers.")
    return [int(value) for value in values]


def _print(table: pd.DataFrame, question: AssuranceQuestion) -> None:
    criterion, assumed = question.criterion, question.assumptions
    title = (
        f"[bold]Interaction {question.contrast} on {question.spec.outcome}: chance that a trial "
        "convinces[/bold]"
    )
    shown = Table(title=title, title_justify="left")
    for name in (
        "Patients",
        "Therapists",
        "Interaction",
        "Convinces",
        "Interval's width",
        "Wrong sign",
        "Exaggeration",
        "Mean estimate",
        "Trials",
    ):
        shown.add_column(name, justify="right", no_wrap=True)
    for row in table.to_dict("records"):
        digits = max(2, decimals(row["mean_width"] / 4))
        shown.add_row(
            f"{row['patients']:,}",
            f"{row['therapists']:,}",
            f"{row['interaction']:g}",
            f"{100 * row['convincing']:.0f}% ± {100 * row['convincing_error']:.0f}",
            number(row["mean_width"], digits),
            "" if math.isnan(row["wrong_sign"]) else f"{100 * row['wrong_sign']:.0f}%",
            "" if math.isnan(row["exaggeration"]) else f"x {row['exaggeration']:.1f}",
            f"{'+' * (row['mean_estimate'] > 0)}{number(row['mean_estimate'], digits)}",
            f"{row['trials']}",
        )
    console = render.out()
    print_fitting(console, shown, FEWEST_COLUMNS)
    console.print(
        f"A trial convinces if the interaction is beyond {criterion.threshold:g}, in one direction "
        f"or the other, with a probability of {criterion.probability:g} or more; ± is one standard "
        "error. Wrong sign and exaggeration are of the trials that convince.\n"
        "In residual SDs of the outcome for one SD of the alliance. Assumed in every trial: "
        f"alliance slope {assumed.alliance_slope:g}, baseline slope {assumed.baseline_slope:g}, "
        f"therapist SD {assumed.therapist_sd:g}, SD of slopes {assumed.therapist_slope_sd:g}, "
        f"arms of equal size, therapists {'in one arm each' if question.nested else 'in all arms'}."
    )
