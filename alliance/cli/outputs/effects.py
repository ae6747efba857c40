"""What `effects` and `decide` do: ask, print the answers, draw the figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from alliance.cli.options.value_lists import read_values
from alliance.cli.running import command, load_run
from alliance.cli.screen import decisions_table, effect_table, render
from alliance.inference.scores.thresholds import read_thresholds

if TYPE_CHECKING:
    from alliance.inference.runs.fit import Fit


def _asked_outcomes(fit: Fit, outcomes: Sequence[str]) -> dict[str, Any]:
    return {name: fit.study.outcomes[name] for name in fit.chosen(outcomes)}


@command
def effects(
    run: Path,
    *,
    outcomes: list[str],
    contrasts: list[str],
    alliance: list[str],
    thresholds: list[str],
    ropes: list[str],
    source: str | None,
    grid: int,
    interval: float,
    therapist: str,
    extrapolate: bool,
    seed: int | None,
    figure: Path | None,
    plot: str,
    table_format: str,
) -> None:
    """Print effects along the alliance, and draw them."""
    from alliance.inference.answers.effects import effects_along
    from alliance.inference.answers.effects import effects_table as tidy

    fit = load_run(run)
    asked = _asked_outcomes(fit, outcomes)
    measured = read_thresholds(asked, threshold=thresholds, rope=ropes, source=source)
    values = read_values("--alliance", alliance)
    answers = [
        effects_along(
            fit[outcome],
            contrasts=contrasts,
            values=values,
            grid=grid,
            interval=interval,
            thresholds=measured[outcome],
            therapist=therapist,
            extrapolate=extrapolate,
            seed=seed,
        )
        for outcome in asked
    ]
    if figure is not None:
        from alliance.diagnostics.figures.effect_figures import FIGURES

        render.save(FIGURES[plot](fit, answers), figure)
    if table_format == "table":
        effect_table.effects(fit, answers)
    else:
        tables = [tidy(answer, every=not answer.named) for answer in answers]
        table = pd.concat(tables, ignore_index=True)
        render.frame(table, table_format, simulated=fit.study.simulated)


@command
def decide(
    run: Path,
    *,
    outcomes: list[str],
    contrasts: list[str],
    alliance: list[str],
    thresholds: list[str],
    ropes: list[str],
    reaches: list[str],
    source: str | None,
    lift: float | None,
    interval: float,
    extrapolate: bool,
    seed: int | None,
    table_format: str,
) -> None:
    """Print what follows from the thresholds that were named."""
    from alliance.inference.answers.decisions import decisions

    fit = load_run(run)
    asked = _asked_outcomes(fit, outcomes)
    measured = read_thresholds(
        asked, threshold=thresholds, rope=ropes, reach=reaches, source=source
    )
    nothing = [name for name in asked if measured[name].empty and lift is None]
    if nothing and not outcomes and len(nothing) < len(asked):
        render.note(f"No threshold, region or score is named for {', '.join(nothing)}: left out.")
        asked = {name: asked[name] for name in asked if name not in nothing}
    values = read_values("--alliance", alliance)
    answers = [
        decisions(
            fit[outcome],
            measured[outcome],
            contrasts=contrasts,
            values=values,
            raise_alliance=lift,
            interval=interval,
            extrapolate=extrapolate,
            seed=seed,
        )
        for outcome in asked
    ]
    for note in decisions_table.notes(fit, answers):
        render.note(note)
    if table_format == "table":
        decisions_table.decisions(fit, answers, interval=interval)
    else:
        table = pd.concat([answer.table for answer in answers], ignore_index=True)
        render.frame(table, table_format, simulated=fit.study.simulated)
