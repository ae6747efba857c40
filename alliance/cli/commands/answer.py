"""Questions to a run: `predict`, `effects`, `decide`, `therapists`, `missing`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from alliance.cli import screen
from alliance.cli.options import (
    ArmShift,
    ExtrapolateAtOption,
    FigureOption,
    FormatOption,
    HideSingleOption,
    IntervalOption,
    Numbers,
    OutcomeOption,
    OwnSeedOption,
    RunArgument,
    TrialOption,
    VisitOption,
    arm_shift,
    covariates,
    numbers,
    together,
)
from alliance.cli.runs import load_run, typed
from alliance.data_prep.errors import InputError

if TYPE_CHECKING:
    from alliance.inference.answers.effects import Effects
    from alliance.inference.patients.asked_patients import AskedPatients
    from alliance.inference.posterior import Posterior
    from alliance.inference.runs.fit import Fit


VALUES = "VALUES"  # how lists of numbers are shown in the help
WHOM = {"trial": "patients of the trial", "rows": "points of the grid"}


def predict(
    run: RunArgument,
    outcome: OutcomeOption = None,
    visit: VisitOption = "last",
    trial: TrialOption = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this arm, by its code or its label; may be repeated. All arms by default."
        ),
    ] = None,
    alliance: Annotated[
        list[Numbers] | None,
        typer.Option(
            parser=numbers,
            metavar=VALUES,
            help="Values of the alliance: 70,90 or start:stop:step, as 60:110:5; may be repeated. "
            "Its mean by default.",
        ),
    ] = None,
    baseline: Annotated[
        list[Numbers] | None,
        typer.Option(
            parser=numbers, metavar=VALUES, help="Values of the baseline score, in the same way."
        ),
    ] = None,
    covariate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUES",
            help="Values of a covariate, as age=40:70:10 or sex=F,M; a level with commas in it in "
            "double quotes; may be repeated.",
        ),
    ] = None,
    patients: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Patients in a table with the study file's columns, not a grid."
        ),
    ] = None,
    therapist: Annotated[
        str | None,
        typer.Option(
            help="new, average, or a therapist's id (in double quotes if it is such a word); "
            "with --average-over also known (all of the "
            "run) and own. By default the file's therapists, otherwise new.",
        ),
    ] = None,
    clinic: Annotated[
        str | None,
        typer.Option(
            help="new, average, or a clinic's id, where the model has clinics. By default new for "
            "a new therapist, average for an average one, his own for a known one.",
        ),
    ] = None,
    at_least: Annotated[
        float | None, typer.Option(help="Also the chance of a score of at least so much.")
    ] = None,
    at_most: Annotated[
        float | None, typer.Option(help="Also the chance of a score of at most so much.")
    ] = None,
    change: Annotated[
        float | None,
        typer.Option(help="Also the chance to improve on the baseline by at least so much."),
    ] = None,
    contrasts: Annotated[
        bool, typer.Option("--contrasts", help="Also compare the arms for the same patient.")
    ] = False,
    better_by: Annotated[
        float | None,
        typer.Option(help="Also the chance that the later arm is better by at least so much."),
    ] = None,
    exposure: Annotated[
        float | None,
        typer.Option(help="Predict counts for this exposure, as months; one unit by default."),
    ] = None,
    average_over: Annotated[
        Literal["trial", "rows"] | None,
        typer.Option(
            help="Averages instead of single patients: over the trial's patients, or over the "
            "rows asked about (grid or file)."
        ),
    ] = None,
    extrapolate: Annotated[
        bool,
        typer.Option(
            "--extrapolate",
            help="Allow an alliance, a baseline or a covariate beyond what was observed, and mark "
            "it.",
        ),
    ] = False,
    interval: IntervalOption = 0.95,
    seed: OwnSeedOption = None,
    figure: FigureOption = None,
    table_format: FormatOption = "table",
) -> None:
    """Predict outcomes of patients: expected scores, single outcomes, chances, arms compared.

    Nothing is fitted again. Without options: a patient at the means, of the commonest categories,
    in every arm, with a new therapist.
    """
    from alliance.cli.asking import settled
    from alliance.inference.answers.averages import average
    from alliance.inference.answers.predictions import predict as predicted
    from alliance.inference.patients.patient_files import patients_asked_about
    from alliance.inference.scores.thresholds import Thresholds

    contrasts = contrasts or better_by is not None
    if figure is not None and average_over is not None:
        raise InputError(
            "--figure shows predictions for one patient, not averages.",
            "Leave --average-over out; `alliance effects --plot score --figure FILE` draws the "
            "arms' averages over the trial's patients.",
        )
    points: dict[str, Any] = {
        "at_least": at_least,
        "at_most": at_most,
        "change": change,
        "better_by": better_by,
    }
    wanted = Thresholds(**points)
    fitted = load_run(run, rows=average_over == "trial")
    chosen = fitted.chosen(outcome or [], visit)
    of_trial = {name: _in_trial(fitted, name, trial) for name in chosen}
    known = {} if not covariate else _levels(fitted, chosen[0])
    whom: dict[str, Any] = {
        "alliance": None if alliance is None else list(together(alliance)),
        "baseline": None if baseline is None else list(together(baseline)),
        "covariate": covariates(covariate or [], known),
        "patients": patients,
        "average_over": average_over,
        "extrapolate": extrapolate,
    }
    if clinic is not None and average_over is not None:
        raise InputError(
            "--clinic is about single patients, and --average-over about averages.",
            "Leave one of the two out.",
        )
    _require_one_outcome(chosen, {"baseline": baseline, "exposure": exposure, **points})
    wanted = settled(fitted.study.outcomes, {chosen[0]: wanted})[chosen[0]]
    answers: list[Any] = []
    for name in chosen:
        asked = patients_asked_about(of_trial[name], **whom)
        if average_over is not None:
            answers.append(
                average(
                    of_trial[name],
                    asked,
                    therapist=therapist or _of_average(asked, average_over),
                    arms=arm or [],
                    thresholds=wanted,
                    interval=interval,
                    exposure=exposure,
                )
            )
            continue
        answers.append(
            predicted(
                of_trial[name],
                asked,
                therapist=therapist,
                arms=arm or [],
                thresholds=wanted,
                contrasts=contrasts,
                interval=interval,
                seed=seed,
                keep_draws=False,
                exposure=exposure,
                clinic=clinic,
            )
        )
    if figure is not None:
        from alliance.diagnostics.figures.answer_figures import prediction_figure

        screen.save(prediction_figure(fitted, answers), figure)
    for note in dict.fromkeys(line for answer in answers for line in answer.counted.ends):
        screen.note(note)
    if table_format != "table":
        tables = [answer.contrasts if contrasts else answer.table for answer in answers]
        screen.frame(tables, table_format, study=fitted.study)
        return
    from alliance.diagnostics import words
    from alliance.diagnostics.sheets import predictions as sheets

    study, of_file = fitted.study, patients is not None
    for answer in answers:
        if average_over is None:
            shown = [
                sheets.predictions(fitted, answer, of_file=of_file),
                sheets.prediction_contrasts(fitted, answer, of_file=of_file) if contrasts else None,
            ]
            legend = sheets.prediction_legend(fitted, answer, contrasts=contrasts)
        else:
            over = WHOM[average_over] if patients is None else f"patients of {patients.name}"
            compared = contrasts and len(answer.contrasts)
            shown = [
                sheets.averages(fitted, answer, answer.table, "arm"),
                sheets.averages(fitted, answer, answer.contrasts, "contrast") if compared else None,
            ]
            legend = sheets.average_legend(fitted, answer, over)
        for sheet in filter(None, shown):
            screen.show(study, [sheet])
        screen.tell([*legend, f"Arms: {words.arms(study)}.", ""])


def _in_trial(fit: Fit, outcome: str, trial: str | None) -> Posterior:
    """A fitted outcome, of several trials in the one that is asked about."""
    if trial is None:
        return fit[outcome]
    from alliance.inference.trials.views import NEW_TRIAL, in_trial

    screen.note(f"{outcome}, trial: {trial}.")
    if trial == NEW_TRIAL:
        screen.note(
            "A new trial's own level is not known: expected scores have that of an average trial, "
            "and only differences between arms hold what trials differ by."
        )
    return in_trial(fit[outcome], trial)


def _require_one_outcome(outcomes: Sequence[str], options: Mapping[str, object]) -> None:
    """Refuse options in points of one outcome where several are asked about."""
    for name, value in options.items():
        if value is not None and len(outcomes) > 1:
            raise InputError(
                f"--{name.replace('_', '-')} is in points of one outcome, and these are asked "
                f"about: {', '.join(outcomes)}.",
                f"Choose one, for instance with --outcome {typed(outcomes[0])}.",
            )


def _levels(fit: Fit, outcome: str) -> dict[str, tuple[str, ...] | None]:
    """Levels of the run's covariates, and their labels; None where one is numbers."""
    encoding = fit.design(outcome).encoding
    return {
        each.name: each.levels and (*each.levels, *encoding.labels.get(each.name, {}).values())
        for each in encoding.covariates
    }


def _of_average(asked: AskedPatients, average_over: str) -> str:
    """Therapists that averages are taken over where none were named."""
    return "new" if average_over == "trial" or asked.therapists is None else "own"


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
    visit: VisitOption = "last",
    trial: TrialOption = None,
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
    from alliance.cli.asking import settled
    from alliance.inference.answers.effects import effects_along, effects_table
    from alliance.inference.scores.thresholds import read_thresholds

    fit = load_run(run, rows=False)
    asked = {name: fit.study.outcomes[name] for name in fit.chosen(outcome or [], visit)}
    measured = settled(
        asked, read_thresholds(asked, threshold=threshold or [], rope=rope or [], source=source)
    )
    answers = [
        effects_along(
            _in_trial(fit, name, trial),
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
        from alliance.diagnostics.figures.answer_figures import FIGURES

        screen.save(FIGURES[plot](fit, answers), figure)
    if table_format == "table":
        print_effects(fit, answers)
    else:
        tables = [effects_table(answer, every=not answer.named) for answer in answers]
        screen.frame(tables, table_format, study=fit.study)


def decide(
    run: RunArgument,
    outcome: OutcomeOption = None,
    visit: VisitOption = "last",
    trial: TrialOption = None,
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
    from alliance.cli.asking import settled
    from alliance.inference.answers.decisions import decisions
    from alliance.inference.scores.thresholds import read_thresholds

    fit = load_run(run, rows=False)
    asked = {name: fit.study.outcomes[name] for name in fit.chosen(outcome or [], visit)}
    measured = settled(
        asked,
        read_thresholds(
            asked, threshold=threshold or [], rope=rope or [], reach=reach or [], source=source
        ),
    )
    nothing = [name for name in asked if measured[name].empty and lift is None]
    if nothing and not outcome and len(nothing) < len(asked):
        screen.note(f"No threshold, region or score is named for {', '.join(nothing)}: left out.")
        asked = {name: asked[name] for name in asked if name not in nothing}
    answers = [
        decisions(
            _in_trial(fit, name, trial),
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
        screen.frame(tables, table_format, study=fit.study)
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
        if answer.crossings:
            screen.show(fit.study, [sheets.crossings(fit, answer)])
            screen.tell(sheets.crossing_lines(fit, answer))
        screen.tell([*sheets.region_lines(fit, answer), *sheets.effects_about(fit, answer), ""])
    screen.tell(sheets.effects_legend(fit, answers))


def therapists(
    run: RunArgument,
    outcome: OutcomeOption = None,
    alliance: Annotated[
        float | None,
        typer.Option(
            help="Where therapists are compared, as slopes may vary. The mean by default."
        ),
    ] = None,
    extrapolate: ExtrapolateAtOption = False,
    interval: IntervalOption = 0.95,
    hide_single: HideSingleOption = False,
    figure: FigureOption = None,
    table_format: FormatOption = "table",
) -> None:
    """Compare the therapists: effects, ranks, share of variance, differences in the alliance."""
    from alliance.inference.answers.therapists import therapists as described

    fit = load_run(run, rows=False)
    answers = [
        described(
            fit[name],
            alliance=alliance,
            interval=interval,
            extrapolate=extrapolate,
            hide_single=hide_single,
        )
        for name in fit.chosen(outcome or [])
    ]
    if any(answer.ranks is None for answer in answers):
        screen.note(
            "The model has no therapist effects: only the alliance is described. Fit with "
            "--therapist intercept or intercept+slope to compare therapists."
        )
    if figure is not None:
        from alliance.diagnostics.figures.therapist_figure import therapist_figure

        screen.save(therapist_figure(fit, answers), figure)
    if table_format != "table":
        tables = [answer.table for answer in answers]
        screen.frame(tables, table_format, study=fit.study)
        return
    from alliance.diagnostics.sheets import predictions as sheets

    for answer in answers:
        shown = [sheets.therapists(fit, answer), sheets.clinics(fit, answer)]
        screen.show(fit.study, [sheet for sheet in shown if sheet is not None and sheet.rows])
        legend = [*sheets.therapists_legend(fit, answer), ""]
        screen.show(fit.study, [sheets.spreads(fit, answer)], legend)


def missing(
    run: RunArgument,
    outcome: OutcomeOption = None,
    assume: Annotated[
        Literal["mar", "j2r", "cir", "cr"],
        typer.Option(
            help="mar: missing at random; j2r: those who left jump to the reference arm's course; "
            "cir: copy its increments; cr: copy all of it."
        ),
    ] = "mar",
    reference: Annotated[
        str | None,
        typer.Option(help="The arm that they follow, by its code or its label. The first one."),
    ] = None,
    delta: Annotated[
        list[ArmShift] | None,
        typer.Option(
            parser=arm_shift,
            metavar="ARM=SHIFT",
            help="Added to every unseen score of an arm; may be repeated.",
        ),
    ] = None,
    tip: Annotated[
        bool, typer.Option("--tip", help="Chances over shifts of both arms, and where one is lost.")
    ] = False,
    probability: Annotated[
        float, typer.Option(help="With --tip: the chance of a benefit that is to be kept.")
    ] = 0.975,
    interval: IntervalOption = 0.95,
    figure: FigureOption = None,
    table_format: FormatOption = "table",
) -> None:
    """Means and contrasts under assumptions about scores that were not seen."""
    from alliance.inference.answers.assumed_courses import course_table, courses, tipping_table

    fit = load_run(run)
    shifts: dict[str, float] = {}
    for arm, points in delta or []:
        if arm in shifts:
            raise InputError(f"The arm {arm!r} is given two shifts.", "Keep one.")
        shifts[arm] = points
    every = dict.fromkeys(own.visit_of or name for name, own in fit.study.outcomes.items())
    found = [
        courses([fit[at] for at in fit.chosen([name])], assume, reference=reference, delta=shifts)
        for name in outcome or list(every)
    ]
    tables = [
        tipping_table(each, probability=probability)
        if tip
        else course_table(each, interval=interval)
        for each in found
    ]
    if figure is not None:
        from alliance.diagnostics.figures.course_figure import course_figure

        if len(found) > 1 or tip:
            raise InputError(
                "The figure shows the course of one outcome.",
                "Choose it with `outcome`, without `tip`.",
            )
        screen.save(course_figure(fit, found[0], tables[0], interval=interval), figure)
    if table_format != "table":
        screen.frame(tables, table_format, study=fit.study)
        return
    from alliance.diagnostics.sheets import assumed as sheets

    for each, table in zip(found, tables, strict=True):
        if tip:
            screen.show(
                fit.study,
                [sheets.tipping(fit, each, table)],
                sheets.tipping_legend(table, probability),
            )
        else:
            sheet = sheets.assumed(fit, each, table, interval=interval)
            screen.show(fit.study, [sheet], sheets.assumed_legend(each))
