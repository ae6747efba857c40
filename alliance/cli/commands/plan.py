"""Many fits of one kind: `calibrate`, `assurance`, `multiverse`."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alliance.cli import screen
from alliance.cli.options import (
    DEFAULT_SEED,
    AllSettings,
    AtOption,
    Counts,
    DaskOption,
    DataArgument,
    EngineName,
    ExtrapolateAtOption,
    FigureOption,
    FormatOption,
    IntervalOption,
    ModelOptions,
    NestedOption,
    Numbers,
    OutcomeOption,
    ProfileName,
    SeedOption,
    Settings,
    StoreOption,
    StudyArgument,
    VisitOption,
    WorkersOption,
    counts,
    numbers,
    together,
)
from alliance.cli.runs import FAILED, asked_study, many_fits

if TYPE_CHECKING:
    import pandas as pd

    from alliance.inference.many_fits.calibration_runs import StudyCalibration
    from alliance.inference.many_fits.multiverse import Multiverse


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
        typer.Option(help="instant by default with the alliance as rated, else nuts."),
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
    from alliance.diagnostics.figures.results_figures import require_figure
    from alliance.inference.many_fits.calibration import require_curve
    from alliance.inference.many_fits.calibration_runs import (
        calibrate_study,
        calibration_facts,
        calibration_questions,
    )

    if figure is not None:
        require_figure(figure)
        require_curve(trials)
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
    whom = f"{data.name}'s patients" if data is not None else f"{patients} imagined patients"
    screen.say(
        f"Simulating and fitting {trials} trials of {whom} for each of {len(questions)} "
        f"outcome(s); results are kept in {store}."
    )
    facts = calibration_facts(questions)
    with many_fits(store, facts, dask, workers) as (client, kept, progress):
        found = calibrate_study(client, kept, questions, trials, progress=progress)
    table = found.table
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
    settings: Annotated[Settings, ModelOptions(("therapist", "clinic", "therapist_by_arm"))],
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
    clinic_sd: Annotated[
        float, typer.Option(help="Assumed: SD between clinics, where the study has them.")
    ] = 0.1,
    visit: VisitOption = "last",
    visit_correlation: Annotated[
        float,
        typer.Option(
            help="Assumed of outcomes over time: correlation of residuals at neighbouring visits."
        ),
    ] = 0.6,
    leaving: Annotated[
        Numbers,
        typer.Option(
            parser=numbers,
            metavar="LIST",
            help="Assumed of outcomes over time: the share of patients who have left by the last "
            "visit, or those who have left by each visit after the first: 0.1,0.25.",
        ),
    ] = "0.25",  # type: ignore[assignment]  # read by the parser
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
    from alliance.diagnostics.figures.results_figures import require_figure
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
            clinic_sd=clinic_sd,
            visit_correlation=visit_correlation,
            leaving=tuple(leaving),
        ),
        Criterion(probability=probability, threshold=threshold),
        nested=nested,
        seed=seed,
        engine=engine,
        visit=visit,
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


def multiverse(
    study: StudyArgument,
    data: DataArgument,
    outcome: OutcomeOption = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this choice: likelihood, therapist, covariates, missing_alliance, "
            "prior_scale, patients or clinic; may be repeated. All by default."
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
    from alliance.diagnostics.figures.results_figures import require_figure
    from alliance.diagnostics.multiverse import (
        curves_of,
        fit_multiverse,
        multiverse_facts,
        multiverse_summary,
        wanted_quantities,
    )
    from alliance.inference.draws.summaries import tails
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
        screen.frame(table, table_format, study=described)
    _tell_failures(table)


def _print(summary: pd.DataFrame, built: Multiverse, interval: float, at: float | None) -> None:
    """Print how far the analyses of each outcome agree."""
    from alliance.diagnostics.multiverse import compared_places
    from alliance.diagnostics.sheets import many_fits as sheets

    places = summary[["at_lowest", "at_highest"]].melt()["value"]
    compared = compared_places(places, built.study, at)
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
