"""`alliance multiverse`: every defensible analysis of a trial, and what conclusions hang on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alliance.cli import screen
from alliance.cli.options import (
    DEFAULT_SEED,
    AtOption,
    DaskOption,
    DataArgument,
    EngineName,
    ExtrapolateAtOption,
    FigureOption,
    FormatOption,
    IntervalOption,
    OutcomeOption,
    ProfileName,
    SeedOption,
    StoreOption,
    StudyArgument,
    WorkersOption,
)
from alliance.cli.runs import FAILED, asked_study, many_fits

if TYPE_CHECKING:
    import pandas as pd

    from alliance.inference.many_fits.multiverse import Multiverse


def multiverse(
    study: StudyArgument,
    data: DataArgument,
    outcome: OutcomeOption = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this choice: likelihood, therapist, covariates, missing_alliance, "
            "prior_scale or patients; may be repeated. All by default."
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Cross every likelihood with all other choices; by default those that must be "
            "compiled only with therapists and missing ratings.",
        ),
    ] = False,
    quantity: Annotated[
        list[str] | None,
        typer.Option(
            help="Draw only this quantity, such as interaction or interaction:MCE-GE; may be "
            "repeated. By default average slope, arm contrasts and interactions."
        ),
    ] = None,
    interval: IntervalOption = 0.95,
    at: AtOption = None,
    extrapolate: ExtrapolateAtOption = False,
    profile: Annotated[
        ProfileName, typer.Option(help="How much is sampled for each analysis.")
    ] = "ci",
    engine: Annotated[
        EngineName | None,
        typer.Option(help="nuts for every analysis; by default instant where it fits."),
    ] = None,
    store: StoreOption = Path("multiverse.sqlite"),
    dask: DaskOption = None,
    workers: WorkersOption = None,
    seed: SeedOption = DEFAULT_SEED,
    figure: FigureOption = None,
    table_format: FormatOption = "table",
) -> None:
    """Fit every defensible analysis of the trial, and show what the conclusions hang on.

    The figure is the specification curve of each quantity. Analyses whose draws failed the gate are
    shown as such, and counted in no summary.
    """
    from alliance.diagnostics.figures.comparison_figure import require_figure
    from alliance.diagnostics.multiverse import (
        curves_of,
        fit_multiverse,
        multiverse_facts,
        multiverse_summary,
        wanted_quantities,
    )
    from alliance.inference.draws.quantiles import tails
    from alliance.inference.many_fits.multiverse import build_multiverse
    from alliance.inference.sampling.profiles import find_profile

    described = asked_study(study, outcome, {})
    tails(interval)
    if figure is not None:
        require_figure(figure)
    built = build_multiverse(described, data, vary or [], full=full)
    wanted = wanted_quantities(built, quantity or [])
    for name, reason in list(built.left_out.items())[:3]:
        screen.note(f"The data cannot carry {name}: {reason}")
    if len(built.left_out) > 3:
        screen.note(f"... nor {len(built.left_out) - 3} more.")
    screen.say(
        f"Fitting {len(built.analyses)} analyses that differ in {', '.join(built.varied)}; results "
        f"are kept in {store}."
    )
    settings: dict[str, Any] = {"engine": engine, "interval": interval, "at": at}
    facts = multiverse_facts(built, find_profile(profile), seed, **settings)
    with many_fits(store, facts, dask, workers) as (client, kept, progress):
        table = fit_multiverse(
            client,
            kept,
            built,
            find_profile(profile),
            seed,
            extrapolate=extrapolate,
            progress=progress,
            **settings,
        )
    if figure is not None:
        from alliance.diagnostics.figures.many_fits_figures import multiverse_figure

        drawn = multiverse_figure(built, curves_of(table, wanted), interval, at)
        screen.save(drawn, figure)
    if table_format == "table":
        _print(multiverse_summary(table), built, interval, at)
    else:
        screen.frame(table, table_format, simulated=described.simulated)
    _tell_failures(table)


def _print(summary: pd.DataFrame, built: Multiverse, interval: float, at: float | None) -> None:
    """Print how far the analyses of each outcome agree."""
    from alliance.diagnostics.multiverse import compared_places
    from alliance.diagnostics.sheets import many_fits as sheets

    places = summary[["at_lowest", "at_highest"]].melt()["value"]
    compared = compared_places(places, built.study.moderator.name, at)
    legend = [*sheets.multiverse_legend(interval), compared]
    screen.show(built.study, sheets.multiverse(summary, built, interval), legend)


def _tell_failures(table: pd.DataFrame) -> None:
    from alliance.inference.many_fits.multiverse import CHOICES

    analyses = table.drop_duplicates(["outcome", *CHOICES])
    failed = analyses[analyses["verdict"].isin(["FAIL", "ERROR"])]
    for row in failed.head(3).to_dict("records"):
        screen.note(
            f"{row['outcome']}, {row['likelihood']}, {row['therapist']}, prior scale "
            f"{row['prior_scale']:g}: {row['verdict']} ({row['reason']})."
        )
    if len(failed) == len(analyses):
        screen.error("No analysis passed the gate.")
        raise typer.Exit(FAILED)
    if len(failed):
        screen.note(
            f"{len(failed)} of {len(analyses)} analyses failed the gate: they are marked and not "
            "counted. More draws, --profile standard, may help."
        )
