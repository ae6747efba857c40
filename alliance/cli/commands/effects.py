"""`alliance effects` and `alliance decide`: the arms along the alliance, and against thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from alliance.cli import screen
from alliance.cli.options import (
    FigureOption,
    FormatOption,
    IntervalOption,
    OutcomeOption,
    OwnSeedOption,
    RunArgument,
)
from alliance.cli.runs import load_run
from alliance.cli.values import Numbers, numbers, together

if TYPE_CHECKING:
    from alliance.inference.answers.effects import Effects
    from alliance.inference.runs.fit import Fit

ContrastsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--contrast",
        help="MCE-GE for MCE minus GE, in either order, by codes or labels; may be repeated. All "
        "pairs by default.",
    ),
]


AllianceOption = Annotated[
    list[Numbers] | None,
    typer.Option(
        "--alliance",
        parser=numbers,
        metavar="VALUES",
        help="Values to answer at: 40, or 40,50, or 60:110:5; may be repeated.",
    ),
]
ThresholdOption = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold",
        help="Chance of being better by this many points; pain=2 where there are several outcomes.",
    ),
]
RopeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--rope", help="Chance that a contrast lies in LOW:HIGH, differences that count as nothing."
    ),
]
SourceOption = Annotated[
    str | None,
    typer.Option("--source", help="Where thresholds and regions come from; told with the answers."),
]
ExtrapolateOption = Annotated[
    bool,
    typer.Option("--extrapolate", help="Allow values beyond the observed alliance, and mark them."),
]


def effects(
    run: RunArgument,
    outcome: OutcomeOption = None,
    contrast: ContrastsOption = None,
    alliance: AllianceOption = None,
    threshold: ThresholdOption = None,
    rope: RopeOption = None,
    source: SourceOption = None,
    grid: Annotated[
        int, typer.Option(help="Values of the alliance that curve and bands are computed at.")
    ] = 41,
    interval: IntervalOption = 0.95,
    therapist: Annotated[
        str,
        typer.Option(
            help="Who treats all patients: average, new (bands then hold what differs between "
            "therapists), or a therapist's id (in double quotes if it is one of these words)."
        ),
    ] = "average",
    extrapolate: ExtrapolateOption = False,
    seed: OwnSeedOption = None,
    figure: FigureOption = None,
    plot: Annotated[
        Literal["effect", "score", "best"],
        typer.Option(
            help="What the figure shows: contrasts with their bands, the arms' expected scores, "
            "or the chance that each arm is best."
        ),
    ] = "effect",
    table_format: FormatOption = "table",
) -> None:
    """Compare the arms along the alliance: curves with bands, regions, difference of slopes.

    A threshold counts in the direction of improvement; none has a default.
    """
    from alliance.inference.answers.effects import effects_along, effects_table
    from alliance.inference.scores.thresholds import read_thresholds

    fit = load_run(run)
    asked = {name: fit.study.outcomes[name] for name in fit.chosen(outcome or [])}
    measured = read_thresholds(asked, threshold=threshold or [], rope=rope or [], source=source)
    answers = [
        effects_along(
            fit[name],
            contrasts=contrast or [],
            values=together(alliance),
            grid=grid,
            interval=interval,
            thresholds=measured[name],
            therapist=therapist,
            extrapolate=extrapolate,
            seed=seed,
        )
        for name in asked
    ]
    if figure is not None:
        from alliance.diagnostics.figures.effect_figures import FIGURES

        screen.save(FIGURES[plot](fit, answers), figure)
    if table_format == "table":
        print_effects(fit, answers)
    else:
        tables = [effects_table(answer, every=not answer.named) for answer in answers]
        screen.frame(tables, table_format, simulated=fit.study.simulated)


def decide(
    run: RunArgument,
    outcome: OutcomeOption = None,
    contrast: ContrastsOption = None,
    alliance: AllianceOption = None,
    threshold: ThresholdOption = None,
    rope: RopeOption = None,
    reach: Annotated[
        list[str] | None,
        typer.Option(
            "--reach", help="Share of patients with this score or a better one; pain=3 as above."
        ),
    ] = None,
    source: SourceOption = None,
    lift: Annotated[
        float | None,
        typer.Option(help="What changes if every patient's alliance is this many points higher."),
    ] = None,
    interval: IntervalOption = 0.95,
    extrapolate: ExtrapolateOption = False,
    seed: OwnSeedOption = None,
    table_format: FormatOption = "table",
) -> None:
    """Hold effects against thresholds: chances, shares who improve, a lifted alliance.

    With a threshold and a baseline also the share of patients who improve by so much. No threshold
    has a default.
    """
    from alliance.inference.answers.decisions import decisions
    from alliance.inference.scores.thresholds import read_thresholds

    fit = load_run(run)
    asked = {name: fit.study.outcomes[name] for name in fit.chosen(outcome or [])}
    measured = read_thresholds(
        asked, threshold=threshold or [], rope=rope or [], reach=reach or [], source=source
    )
    nothing = [name for name in asked if measured[name].empty and lift is None]
    if nothing and not outcome and len(nothing) < len(asked):
        screen.note(f"No threshold, region or score is named for {', '.join(nothing)}: left out.")
        asked = {name: asked[name] for name in asked if name not in nothing}
    answers = [
        decisions(
            fit[name],
            measured[name],
            contrasts=contrast or [],
            values=together(alliance),
            raise_alliance=lift,
            interval=interval,
            extrapolate=extrapolate,
            seed=seed,
        )
        for name in asked
    ]
    from alliance.diagnostics.sheets import effects as sheets

    for note in sheets.decisions_notes(fit, answers):
        screen.note(note)
    if table_format != "table":
        tables = [answer.table for answer in answers]
        screen.frame(tables, table_format, simulated=fit.study.simulated)
        return
    for answer in answers:
        for sheet in sheets.decisions(fit, answer, interval=interval):
            screen.show(fit.study, [sheet])
        screen.tell([""])
    screen.tell(sheets.decisions_legend(fit, answers))


def print_effects(fit: Fit, answers: Sequence[Effects]) -> None:
    """Print contrasts, expected scores, slopes and regions of every outcome.

    Parameters
    ----------
    fit : Fit
    answers : sequence of Effects
        Of one interval.
    """
    from alliance.diagnostics.sheets import effects as sheets

    for answer in answers:
        screen.show(fit.study, [sheets.contrasts_along(fit, answer)])
        screen.show(fit.study, [sheets.scores_along(fit, answer)])
        if answer.slopes:
            screen.show(fit.study, [sheets.slopes_compared(fit, answer)])
        screen.tell([*sheets.region_lines(fit, answer), *sheets.effects_about(fit, answer), ""])
    screen.tell(sheets.effects_legend(fit, answers))
