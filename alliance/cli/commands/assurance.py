"""`alliance assurance`: how large must a trial be to find an interaction convincing?"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Annotated

import typer

from alliance.cli import screen
from alliance.cli.options import (
    DEFAULT_SEED,
    DaskOption,
    EngineName,
    FigureOption,
    FormatOption,
    ModelOptions,
    NestedOption,
    SeedOption,
    Settings,
    StoreOption,
    StudyArgument,
    WorkersOption,
)
from alliance.cli.runs import asked_study, many_fits
from alliance.cli.values import Counts, Numbers, counts, numbers, together


def assurance(
    study: StudyArgument,
    *,
    patients: Annotated[
        list[Counts],
        typer.Option(
            parser=counts, metavar="LIST", help="Numbers of patients: 120,240 or 100:400:100."
        ),
    ],
    therapists: Annotated[
        list[Counts],
        typer.Option(parser=counts, metavar="LIST", help="Numbers of therapists: 6,12,24."),
    ],
    interaction: Annotated[
        list[Numbers],
        typer.Option(
            parser=numbers,
            metavar="LIST",
            help="Differences of the two arms' alliance slopes, in residual SDs of the outcome for "
            "one SD of the alliance: 0,0.2,0.4. With 0 the chance is that of a false alarm.",
        ),
    ],
    outcome: Annotated[
        str | None, typer.Option(help="Which outcome; needed where there are several.")
    ] = None,
    contrast: Annotated[
        str | None,
        typer.Option(help="Which arms, such as MCE-GE; needed beyond two."),
    ] = None,
    probability: Annotated[
        float,
        typer.Option(help="A trial convinces if the interaction is this probable, either way."),
    ] = 0.975,
    threshold: Annotated[
        float, typer.Option(help="... to be beyond this, in the unit of --interaction.")
    ] = 0.0,
    settings: Annotated[Settings, ModelOptions(("therapist", "therapist_by_arm"))],
    nested: NestedOption = False,
    alliance_slope: Annotated[
        float, typer.Option(help="Assumed: residual SDs for one SD of the alliance, average arm.")
    ] = 0.3,
    baseline_slope: Annotated[
        float, typer.Option(help="Assumed: residual SDs for one SD of the baseline.")
    ] = 0.5,
    therapist_sd: Annotated[
        float, typer.Option(help="Assumed: SD between therapists (0.23 is 5% of the variance).")
    ] = 0.23,
    therapist_slope_sd: Annotated[
        float, typer.Option(help="Assumed: SD of the alliance slope between therapists.")
    ] = 0.1,
    trials: Annotated[int, typer.Option(min=1, help="Simulated trials of each size.")] = 200,
    engine: Annotated[EngineName | None, typer.Option(help="instant by default.")] = None,
    store: StoreOption = Path("assurance.sqlite"),
    dask: DaskOption = None,
    workers: WorkersOption = None,
    seed: SeedOption = DEFAULT_SEED,
    figure: FigureOption = None,
    table_format: FormatOption = "table",
) -> None:
    """Tell how large a trial must be to find an interaction convincing.

    Trials of every size are simulated under the assumptions and analysed as the study file says:
    the chance that one convinces, how wide its interval is, and how wrong those are that convince.
    """
    from alliance.diagnostics.figures.comparison_figure import require_figure
    from alliance.inference.many_fits.assurance import (
        Assumptions,
        Criterion,
        assurance_facts,
        assurance_question,
        require_grid,
    )
    from alliance.inference.many_fits.assurance import assurance as assured

    grid = [*product(together(patients), together(therapists), together(interaction))]
    described = asked_study(study, [] if outcome is None else [outcome], settings)
    question = assurance_question(
        described,
        contrast,
        Assumptions(
            alliance_slope=alliance_slope,
            baseline_slope=baseline_slope,
            therapist_sd=therapist_sd,
            therapist_slope_sd=therapist_slope_sd,
        ),
        Criterion(probability=probability, threshold=threshold),
        nested=nested,
        seed=seed,
        engine=engine,
    )
    require_grid(question, grid)
    if figure is not None:
        require_figure(figure)
    screen.say(
        f"Simulating and fitting {trials} trials of each of {len(grid)} sizes; results are kept in "
        f"{store}."
    )
    with many_fits(store, assurance_facts(question), dask, workers) as (client, kept, progress):
        table, failures = assured(client, kept, question, grid, trials, progress=progress)
    for task, failure in list(failures.items())[:3]:
        screen.note(f"The fit of trial {task} failed: {failure}")
    if figure is not None:
        from alliance.diagnostics.figures.many_fits_figures import assurance_figure

        screen.save(assurance_figure(question, table), figure)
    if table_format == "table":
        from alliance.diagnostics.sheets import many_fits as sheets

        sheet = sheets.assurance(table, question)
        screen.show(described, [sheet], sheets.assurance_legend(question))
    else:
        screen.frame(table, table_format)
