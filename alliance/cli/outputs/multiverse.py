"""What `multiverse` does: fit every analysis, print how far conclusions agree, draw the curves."""

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
from alliance.inference.digits import decimals, number
from alliance.inference.draws.quantiles import tails

if TYPE_CHECKING:
    from alliance.inference.many_fits.multiverse import Multiverse
    from alliance.inference.sampling.profiles import Engine

FEWEST_COLUMNS = 5


@command
def multiverse(
    study: str,
    data: Path,
    *,
    outcomes: list[str],
    vary: list[str],
    full: bool,
    quantities: list[str],
    interval: float,
    at: float | None,
    extrapolate: bool,
    profile: str,
    engine: Engine | None,
    store: Path,
    dask: str | None,
    workers: int | None,
    seed: int,
    figure: Path | None,
    table_format: str,
) -> None:
    """Fit, print and draw."""
    described = narrowed(read_study(find_study(study)), outcomes=outcomes)
    from alliance.diagnostics.figures.comparison_figure import require_figure
    from alliance.diagnostics.multiverse import (
        curves_of,
        fit_multiverse,
        multiverse_facts,
        multiverse_summary,
        wanted_quantities,
    )
    from alliance.inference.many_fits.multiverse import build_multiverse
    from alliance.inference.sampling.profiles import find_profile

    tails(interval)
    if figure is not None:
        require_figure(figure)
    built = build_multiverse(described, data, vary, full=full)
    wanted = wanted_quantities(built, quantities)
    for name, reason in list(built.left_out.items())[:3]:
        render.note(f"The data cannot carry {name}: {reason}")
    if len(built.left_out) > 3:
        render.note(f"... nor {len(built.left_out) - 3} more.")
    render.say(
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
        render.save(drawn, figure)
    if table_format == "table":
        _print(multiverse_summary(table), built, interval, at)
    else:
        render.frame(table, table_format, simulated=described.simulated)
    _tell_failures(table)


def _print(summary: pd.DataFrame, built: Multiverse, interval: float, at: float | None) -> None:
    from alliance.diagnostics.multiverse import compared_places

    for outcome, own in summary.groupby("outcome", sort=False):
        label = built.study.outcomes[str(outcome)].label
        text = f"{outcome}: {label}, over {own['analyses'].max()} analyses"
        shown = Table(title=render.marked_title(built.study.simulated, text), title_justify="left")
        shown.add_column("Quantity")
        shown.add_column("Level")
        for name in (
            "Median",
            "Lowest",
            "Highest",
            f"{100 * interval:g}% above zero",
            "below",
            "of",
            "Hangs most on",
        ):
            shown.add_column(name, justify="right", no_wrap=True)
        for row in own.to_dict("records"):
            digits = decimals(row["sd"], row["median"])
            shown.add_row(
                render.words(row["quantity"]),
                escape(row["level"]),
                *(number(row[name], digits) for name in ("median", "lowest", "highest")),
                *("" if pd.isna(row[name]) else str(row[name]) for name in ("above", "below")),
                str(row["analyses"]),
                escape(row["hangs_on"]),
            )
        print_fitting(render.out(), shown, FEWEST_COLUMNS)
    places = pd.concat([summary["at_lowest"], summary["at_highest"]])
    render.out().print(
        "Median, lowest and highest posterior mean of the analyses whose draws passed the gate, "
        f"each as good as the others; how many have a {100 * interval:g}% interval above or below "
        "zero. Hangs most on: the choice that explains the largest share of the variance of these "
        "means. No analysis is added up with another: they share the patients. "
        + escape(compared_places(places, built.study.moderator.name, at))
    )


def _tell_failures(table: pd.DataFrame) -> None:
    from alliance.inference.many_fits.multiverse import CHOICES

    analyses = table.drop_duplicates(["outcome", *CHOICES])
    failed = analyses[analyses["verdict"].isin(["FAIL", "ERROR"])]
    for row in failed.head(3).to_dict("records"):
        render.note(
            f"{row['outcome']}, {row['likelihood']}, {row['therapist']}, prior scale "
            f"{row['prior_scale']:g}: {row['verdict']} ({row['reason']})."
        )
    if len(failed) == len(analyses):
        render.error("No analysis passed the gate.")
        raise typer.Exit(GATE_FAILED)
    if len(failed):
        render.note(
            f"{len(failed)} of {len(analyses)} analyses failed the gate: they are marked and not "
            "counted. More draws, --profile standard, may help."
        )
