"""Is the model to be trusted: `ppc`, `prior`, `loo`, `sensitivity`, `reproduce`, `verify`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from alliance.cli import screen
from alliance.cli.options import (
    DEFAULT_SEED,
    LARGEST_SEED,
    RUN_HELP,
    AllSettings,
    CoresOption,
    DataArgument,
    FigureOption,
    FormatOption,
    OutcomeOption,
    RunArgument,
    SeedOption,
    StudyArgument,
    TableFormat,
)
from alliance.cli.runs import FAILED, asked_study, load_run, several_runs
from alliance.data_prep.errors import InputError

if TYPE_CHECKING:
    from alliance.inference.leaving_out.leave_one_out import By, LeaveOneOut
    from alliance.inference.leaving_out.therapists import Influence, Refits
    from alliance.inference.posterior import Posterior
    from alliance.inference.priors.prior_refits import PriorRefits
    from alliance.inference.runs.fit import Fit
    from alliance.inference.runs.reproduction import Reproduction


Plot = Literal["distribution", "therapists", "statistics"]


def ppc(
    run: RunArgument,
    outcome: OutcomeOption = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the replicates; the run's own by default.")
    ] = None,
    figure: FigureOption = None,
    plot: Annotated[
        Plot,
        typer.Option(
            help="What the figure shows: scores over all patients and by arm, therapists' means, "
            "or test statistics."
        ),
    ] = "distribution",
    table_format: FormatOption = "table",
) -> None:
    """Check whether outcomes replicated under the model look like those observed.

    A check that asks for a REVIEW says what to do; the exit code stays 0.
    """
    from alliance.diagnostics.checks.predictive_checks import predictive_check

    fit = load_run(run)
    checks = [predictive_check(fit[name], seed=seed) for name in fit.chosen(outcome or [])]
    if figure is not None:
        from alliance.diagnostics.figures.predictive_figures import FIGURES

        screen.save(FIGURES[plot](fit, checks), figure)
    if table_format != "table":
        tables = [check.table for check in checks]
        screen.frame(tables, table_format, study=fit.study)
        return
    from alliance.diagnostics.sheets import checks as sheets

    for check in checks:
        screen.show(fit.study, [sheets.predictive(fit, check)])
        screen.tripped(check.results)
        screen.tell([""])
    screen.tell(sheets.predictive_legend(checks))


def prior(
    study: StudyArgument,
    data: DataArgument,
    *,
    outcome: OutcomeOption = None,
    settings: AllSettings,
    draws: Annotated[
        int, typer.Option(min=100, max=100_000, help="Trials simulated from the priors.")
    ] = 2000,
    seed: SeedOption = DEFAULT_SEED,
    figure: FigureOption = None,
    table_format: FormatOption = "table",
) -> None:
    """Check, before any fit, whether the priors are plausible on each outcome's own scale.

    Of the data only arms, therapists, baselines and alliances are used, and the mean and SD that
    the priors are stated in. A check that asks for a REVIEW names the prior to change; the exit
    code stays 0.
    """
    from alliance.data_prep.trial.trial import check_estimable, load_trial
    from alliance.diagnostics.checks.prior_check import prior_check

    described = asked_study(study, outcome, settings)
    trial = load_trial(described, data)
    for note in trial.notes:
        screen.note(note)
    check_estimable(trial, described.model.therapist)
    checks = [prior_check(trial, name, draws=draws, seed=seed) for name in described.outcomes]
    if figure is not None:
        from alliance.diagnostics.figures.predictive_figures import prior_figure

        screen.save(prior_figure(checks), figure)
    if table_format != "table":
        tables = [check.table for check in checks]
        screen.frame(tables, table_format, study=described)
        return
    from alliance.diagnostics.sheets import checks as sheets

    for check in checks:
        screen.show(described, [sheets.prior(check)])
        screen.tripped(check.results)
        screen.tell([""])
    screen.tell(sheets.prior_legend(checks))


def loo(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help=f"{RUN_HELP} With several, the fits are compared."),
    ],
    outcome: OutcomeOption = None,
    by: Annotated[
        Literal["patient", "therapist", "clinic"],
        typer.Option(
            help="What is left out at a time: a patient, who keeps the therapist, a therapist with "
            "all patients, or a clinic with all of both."
        ),
    ] = "patient",
    refits: Annotated[
        Literal["needed", "all", "none"],
        typer.Option(
            help="By therapist or clinic: fit again without those whose Pareto k is too high, "
            "all, or none."
        ),
    ] = "needed",
    pointwise: Annotated[
        bool,
        typer.Option(
            "--pointwise", help="One row for each patient, by position, or whoever is left out."
        ),
    ] = False,
    cores: CoresOption = None,
    figure: FigureOption = None,
    table_format: FormatOption = "table",
) -> None:
    """Leave out patients or therapists: how well they are predicted, and which fit predicts better.

    Runs that are compared must be of the same patients, with other terms or another family.
    """
    from alliance.diagnostics.sheets import checks as sheets
    from alliance.inference.leaving_out.leave_one_out_comparison import (
        compare_loo,
        compare_visits,
    )
    from alliance.inference.leaving_out.therapists import LEAVE_OUT
    from alliance.inference.leaving_out.visits import leave_visits_therapist_out

    if pointwise and len(runs) > 1:
        raise InputError("--pointwise shows one run.", "Name one run, or leave --pointwise out.")
    fits = several_runs(runs)
    first = next(iter(fits.values()))
    asked = [fit.chosen(outcome or []) for fit in fits.values()]
    chosen = [name for name in asked[0] if all(name in each for each in asked)]
    if not chosen:
        raise InputError("The runs have no outcome in common.", "Name runs of one study.")
    which: Refits = "where needed" if refits == "needed" else refits
    if len(fits) == 1 and by == "patient":
        _patients(first, chosen, pointwise, figure, table_format)
        return
    answers: list[Any] = []
    whole = _over_time(first, chosen) if by != "clinic" else []
    if whole and figure is not None:
        raise InputError(
            "There is no figure of outcomes over time left out.", "Leave `figure` out."
        )
    for over_time in whole:
        own = {run: [fit[at] for at in fit.chosen([over_time])] for run, fit in fits.items()}
        answers.append(
            compare_visits(own, by="patient" if by == "patient" else "therapist")
            if len(fits) > 1
            else leave_visits_therapist_out(next(iter(own.values())))
        )
    for name in chosen:
        if first.study.outcomes[name].visit_of in whole:
            continue
        with screen.refits_progress(f"{name}: leaving out") as progress:
            answers.append(
                compare_loo(
                    {run: fit[name] for run, fit in fits.items()},
                    by=by,
                    refits=which,
                    cores=cores,
                    progress=progress,
                )
                if len(fits) > 1
                else LEAVE_OUT[by](first[name], refits=which, cores=cores, progress=progress)
            )
    if figure is not None:
        from alliance.diagnostics.figures.loo_figures import elpd_figure, pareto_k_figure

        draw = elpd_figure if len(fits) > 1 else pareto_k_figure
        screen.save(draw(first, answers), figure)
    if pointwise:
        _print_units(first, answers, table_format)
    elif table_format != "table":
        tables = [answer.table for answer in answers]
        screen.frame(tables, table_format, study=first.study)
    elif len(fits) > 1:
        for answer in answers:
            sheet = sheets.loo_comparison(first, answer)
            screen.show(first.study, [sheet], [*sheets.loo_comparison_legend(answer), ""])
    else:
        sheet = sheets.left_out(first, answers)
        screen.show(first.study, [sheet], sheets.left_out_legend(by))


def _patients(
    fit: Fit,
    outcomes: Sequence[str],
    pointwise: bool,
    figure: Path | None,
    table_format: TableFormat,
) -> None:
    """Leave out one patient at a time, without a refit, and print it."""
    from alliance.diagnostics.checks.loo_checks import loo_check, loo_table
    from alliance.inference.pointwise.replicates import explained_variance

    over_time = {own: fit.chosen([own]) for own in _over_time(fit, outcomes)}
    if over_time:
        _patients_with_visits(fit, over_time, pointwise, figure, table_format)
        outcomes = [name for name in outcomes if fit.study.outcomes[name].visit_of is None]
        if not outcomes:
            return
    checks = [loo_check(fit[outcome]) for outcome in outcomes]
    explained = [explained_variance(fit[outcome]) for outcome in outcomes]
    if figure is not None:
        from alliance.diagnostics.figures.loo_figures import loo_figure

        screen.save(loo_figure(fit, checks), figure)
    if pointwise:
        _print_units(fit, [check.left_out for check in checks], table_format)
        return
    if table_format != "table":
        tables = [loo_table(*each) for each in zip(checks, explained, strict=True)]
        screen.frame(tables, table_format, study=fit.study)
        return
    from alliance.diagnostics.sheets import checks as sheets

    left_out = [check.left_out for check in checks]
    screen.show(fit.study, [sheets.left_out(fit, left_out, checks, explained)])
    for check in checks:
        screen.tripped(check.results)
    screen.tell(sheets.left_out_legend("patient"))


def _over_time(fit: Fit, outcomes: Sequence[str]) -> list[str]:
    """Outcomes over time of which visits are asked about."""
    found = [fit.study.outcomes[name].visit_of for name in outcomes]
    return list(dict.fromkeys(own for own in found if own is not None))


def _patients_with_visits(
    fit: Fit,
    outcomes: Mapping[str, Sequence[str]],
    pointwise: bool,
    figure: Path | None,
    table_format: TableFormat,
) -> None:
    """Leave out one patient at a time with all visits, and print it."""
    from alliance.inference.leaving_out.visits import leave_visits_out

    if figure is not None:
        raise InputError(
            "There is no figure of outcomes over time left out.", "Leave `figure` out."
        )
    found = [leave_visits_out([fit[name] for name in visits]) for visits in outcomes.values()]
    if pointwise:
        _print_units(fit, found, table_format)
        return
    if table_format != "table":
        screen.frame([each.table for each in found], table_format, study=fit.study)
        return
    from alliance.diagnostics.sheets import checks as sheets

    told = "A patient is left out with all visits."
    screen.show(fit.study, [sheets.left_out(fit, found)], [told])


def _print_units(fit: Fit, answers: Sequence[LeaveOneOut], table_format: TableFormat) -> None:
    """Print one row for each patient or therapist left out."""
    if table_format != "table":
        tables = [answer.unit_table for answer in answers]
        screen.frame(tables, table_format, study=fit.study)
        return
    from alliance.diagnostics.sheets import checks as sheets

    for answer in answers:
        screen.show(fit.study, [sheets.units_left_out(fit, answer)])


def sensitivity(
    run: RunArgument,
    outcome: OutcomeOption = None,
    kind: Annotated[
        Literal["priors", "refits", "influence", "unseen"],
        typer.Option(
            help="What results may hang on: priors (by power-scaling), priors again (by refits "
            "with half and double scales), single patients and therapists, or an early improvement "
            "that the trial did not see."
        ),
    ] = "priors",
    each_prior: Annotated[
        bool,
        typer.Option(
            "--each-prior",
            help="Priors: sensitivity to each kind. Refits: each kind of scale alone too.",
        ),
    ] = False,
    all_units: Annotated[
        bool,
        typer.Option("--all-units", help="Influence: every patient and therapist, every quantity."),
    ] = False,
    cores: CoresOption = None,
    figure: FigureOption = None,
    table_format: FormatOption = "table",
) -> None:
    """Ask what the results hang on: priors, single persons, or what was not seen."""
    if each_prior and kind not in ("priors", "refits"):
        raise InputError("--each-prior is about priors.", "Use --kind priors or --kind refits.")
    if all_units and kind != "influence":
        raise InputError("--all-units is about influence.", "Use --kind influence.")
    fit = load_run(run)
    chosen = fit.chosen(outcome or [])
    if kind == "priors":
        _priors(fit, chosen, each_prior, figure, table_format)
    elif kind == "refits":
        _refits(fit, chosen, each_prior, cores, figure, table_format)
    elif kind == "influence":
        _influence(fit, chosen, all_units, cores, figure, table_format)
    else:
        _unseen(fit, chosen, figure, table_format)


def _whole(fit: Fit, outcomes: Sequence[str]) -> dict[str, list[str]]:
    """Outcomes, and of those over time the visits that are asked about."""
    found: dict[str, list[str]] = {}
    for name in outcomes:
        whole = fit.study.outcomes[name].visit_of
        found.setdefault(whole or name, []).extend([name] if whole else [])
    return found


def _priors(
    fit: Fit, outcomes: Sequence[str], each: bool, figure: Path | None, table_format: TableFormat
) -> None:
    from alliance.diagnostics.figures.sensitivity_figures import power_scaling_figure
    from alliance.inference.priors.power_scaling import power_scaling, power_scaling_over_time
    from alliance.inference.runs.fit import visits_of

    answers = []
    for outcome, visits in _whole(fit, outcomes).items():
        if not visits:
            answers.append(power_scaling(fit[outcome]))
            continue
        every = [fit[at] for at in fit.chosen([outcome])]
        found = power_scaling_over_time(every, visits_of(fit, outcome))
        answers += [own for own in found if own.outcome in visits]
    if figure is not None:
        screen.save(power_scaling_figure(fit, answers), figure)
    if table_format != "table":
        tables = [answer.kind_table if each else answer.table for answer in answers]
        screen.frame(tables, table_format, study=fit.study)
        return
    from alliance.diagnostics.sheets import sensitivity as sheets

    build = sheets.each_prior if each else sheets.power_scaling
    legend = sheets.power_scaling_legend(fit)
    screen.show(fit.study, [build(fit, answer) for answer in answers], legend)


def _refits(
    fit: Fit,
    outcomes: Sequence[str],
    alone: bool,
    cores: int | None,
    figure: Path | None,
    table_format: TableFormat,
) -> None:
    from alliance.diagnostics.figures.sensitivity_figures import prior_refits_figure
    from alliance.inference.priors.prior_refits import prior_refits, prior_refits_over_time
    from alliance.inference.runs.fit import visits_of

    answers: list[PriorRefits] = []
    for outcome, visits in _whole(fit, outcomes).items():
        with screen.refits_progress(f"{outcome}: other priors") as told:
            asked: dict[str, Any] = {"alone": alone, "cores": cores, "progress": told}
            if visits:
                every = [fit[at] for at in fit.chosen([outcome])]
                found = prior_refits_over_time(every, visits_of(fit, outcome), **asked)
                answers += [own for own in found if own.outcome in visits]
            else:
                answers.append(prior_refits(fit[outcome], **asked))
    if figure is not None:
        screen.save(prior_refits_figure(fit, answers), figure)
    if table_format != "table":
        screen.frame([answer.table for answer in answers], table_format, study=fit.study)
        return
    from alliance.diagnostics.sheets import sensitivity as sheets

    build = sheets.largest_shifts if alone else sheets.other_scales
    screen.show(fit.study, [build(fit, answer) for answer in answers], sheets.refits_legend(fit))


def _influence(
    fit: Fit,
    outcomes: Sequence[str],
    all_units: bool,
    cores: int | None,
    figure: Path | None,
    table_format: TableFormat,
) -> None:
    from alliance.diagnostics.figures.sensitivity_figures import influence_figure
    from alliance.inference.leaving_out.therapists import (
        influence,
        influence_over_time,
        units_left_out,
    )

    answers, refused = [], []
    for outcome, visits in _whole(fit, outcomes).items():
        with screen.refits_progress(f"{outcome}: leaving out") as told:
            asked: dict[str, Any] = {"refits": True, "cores": cores, "progress": told}
            every = [fit[at] for at in fit.chosen([outcome])]

            def left(
                by: By,
                every: Sequence[Posterior] = every,
                visits: Sequence[str] = visits,
                asked: dict[str, Any] = asked,
            ) -> list[Influence]:
                if not visits:
                    return [influence(every[0], by, **asked)]
                return [own for own in influence_over_time(every, by) if own.outcome in visits]

            own = [[each] for each in left("patient")]
            for by in units_left_out(every[0]):
                try:
                    own = [[*each, of] for each, of in zip(own, left(by), strict=True)]
                except InputError as error:
                    refused.append(str(error))
        answers += own
    for message in refused:
        screen.note(message)
    if figure is not None:
        screen.save(influence_figure(fit, answers), figure)
    if table_format != "table":
        tables = [each.full_table if all_units else each.table for own in answers for each in own]
        screen.frame(tables, table_format, study=fit.study)
        return
    from alliance.diagnostics.sheets import sensitivity as sheets

    first = None if all_units else 5
    shown = [sheets.influence(fit, each, first) for own in answers for each in own]
    screen.show(fit.study, shown, sheets.influence_legend(fit))


def _unseen(
    fit: Fit, outcomes: Sequence[str], figure: Path | None, table_format: TableFormat
) -> None:
    from alliance.diagnostics.figures.sensitivity_figures import unseen_improvement_figure
    from alliance.inference.answers.unseen_improvement import unseen_improvement

    answers = [unseen_improvement(fit[outcome]) for outcome in outcomes]
    if figure is not None:
        screen.save(unseen_improvement_figure(fit, answers), figure)
    if table_format != "table":
        tables = [
            answer.table.merge(answer.tipping_table[["outcome", *_TIPPING]], on="outcome")
            for answer in answers
        ]
        screen.frame(tables, table_format, study=fit.study)
        return
    from alliance.diagnostics.sheets import sensitivity as sheets

    tipping = sheets.tipping(fit, answers)
    screen.show(fit.study, [sheets.unseen(fit, answer) for answer in answers])
    screen.show(fit.study, [tipping], [tipping.note, *sheets.unseen_legend(fit)])
    for answer in answers:
        if answer.infinite:
            screen.note(
                f"{answer.outcome}: {answer.infinite:.1%} of the draws have two degrees of freedom "
                "or fewer, and with them no variance; they are left out."
            )
        if not answer.benchmarks:
            screen.note(
                f"{answer.outcome}: nothing to compare with, as it has no baseline score or "
                "covariate."
            )


_TIPPING = (
    "robustness_value",
    "robustness_value_interval",
    "tipping_mean",
    "tipping_interval",
)


def reproduce(
    run: RunArgument,
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DATA]",
            help="The data to refit on; without it the analysed patients kept in the run.",
        ),
    ] = None,
    data_option: Annotated[
        Path | None, typer.Option("--data", metavar="DATA", help="The same, as an option.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=LARGEST_SEED, help="Another seed than the run's.")
    ] = None,
    within: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Also fine if no quantity is further apart than this many Monte Carlo errors: "
            "4 for another machine or other versions.",
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Not fine, whatever the draws, if study, data or files of the run were changed.",
        ),
    ] = False,
    cores: CoresOption = None,
    table_format: FormatOption = "table",
) -> None:
    """Refit a run from its study, specification, profile and seed: are the draws identical?

    Exit code 0 if they are, bit for bit; 3 if not, with how far apart the results are and which
    version, seed, data or machine differs.
    """
    if data is not None and data_option is not None:
        raise typer.BadParameter("give the data once.", param_hint="--data")
    from alliance.data_prep.trial.trial import load_trial
    from alliance.inference.runs.reproduction import reproduce as refitted
    from alliance.inference.runs.run_folder import load_fit
    from alliance.models.spec import JOINT

    data = data_option if data is None else data
    fit = load_fit(run)
    trial = None if data is None else load_trial(fit.study, data)
    names = [JOINT] if JOINT in fit.manifest else list(fit.outcomes)
    whence = "the analysed patients kept in the run" if data is None else str(data)
    screen.say(f"Refitting {run} on {whence}.")
    with screen.sampling_progress(names) as progress:
        found = refitted(fit, trial, seed=seed, cores=cores, progress=progress)
    if table_format == "table":
        from alliance.diagnostics.sheets.many_fits import reproduction

        screen.show(fit.study, [reproduction(fit, found)], [])
    else:
        screen.frame(found.quantities, table_format, study=fit.study)
    _conclude(found, within, strict=strict)


def _conclude(found: Reproduction, limit: float | None, *, strict: bool) -> None:
    from alliance.inference.runs.reproduction import MONTE_CARLO_LIMIT

    for reason in found.reasons:
        screen.note(reason)
    close = limit is not None and found.within(limit)
    if strict and found.changed and (found.reproduced or close):
        screen.error("Not reproduced, strictly: the notes above say what was changed.")
        raise typer.Exit(FAILED)
    if found.reproduced:
        screen.say("Reproduced: every draw of every parameter is identical.")
        return
    if close:
        screen.say(
            f"Reproduced within {limit:g} Monte Carlo errors: the draws differ, and no quantity is "
            "further apart."
        )
        return
    why = "See the notes above." if found.reasons else "Nothing that the run records differs."
    within = (
        f"No quantity is further apart than {MONTE_CARLO_LIMIT:g} Monte Carlo standard errors: as "
        "two runs of one model on the same data with other seeds are."
        if found.within_error
        else "Some quantities are further apart than Monte Carlo error explains."
    )
    screen.error(f"Not reproduced: the draws differ. {within} {why}")
    raise typer.Exit(FAILED)


def verify(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="FOLDER",
            help="Where the published trials' files are; cases that need one are named without.",
        ),
    ] = None,
    table_format: FormatOption = "table",
) -> None:
    """Check this installation against formulas and numbers that others printed.

    Exit code 3 if a case fails.
    """
    from alliance.diagnostics.verify import verify as verified

    if data is not None and not data.is_dir():
        raise InputError(f"{str(data)!r} is not a folder.", "Name the folder with the files.")
    found = verified(data, lambda about: screen.say(f"Checking {about}."))
    if table_format == "table":
        screen.show(found, [found.sheet])
    else:
        screen.frame(found.table, table_format)
    for file in found.missing:
        screen.note(f"Not checked for want of data: {file} (name its folder with --data).")
    failed = [case.name for case in found.cases if not case.passed]
    if failed:
        screen.error(f"This installation does not compute what it should: {'; '.join(failed)}.")
        raise typer.Exit(FAILED)
    screen.say(f"All {len(found.cases)} cases pass.")
