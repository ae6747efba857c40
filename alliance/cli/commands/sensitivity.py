"""`alliance sensitivity`: what the results hang on: priors, single persons, what was not seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from alliance.cli import screen
from alliance.cli.options import (
    CoresOption,
    FigureOption,
    FormatOption,
    OutcomeOption,
    RunArgument,
    TableFormat,
)
from alliance.cli.runs import load_run
from alliance.data_prep.errors import InputError

if TYPE_CHECKING:
    from alliance.inference.runs.fit import Fit


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


def _priors(
    fit: Fit, outcomes: Sequence[str], each: bool, figure: Path | None, table_format: TableFormat
) -> None:
    from alliance.diagnostics.figures.sensitivity_figures import power_scaling_figure
    from alliance.inference.priors.power_scaling import power_scaling

    answers = [power_scaling(fit[outcome]) for outcome in outcomes]
    if figure is not None:
        screen.save(power_scaling_figure(fit, answers), figure)
    if table_format != "table":
        tables = [answer.kind_table() if each else answer.table() for answer in answers]
        screen.frame(tables, table_format, simulated=fit.study.simulated)
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
    from alliance.inference.priors.prior_refits import prior_refits

    answers = []
    for outcome in outcomes:
        with screen.refits_progress(f"{outcome}: other priors") as told:
            answers.append(prior_refits(fit[outcome], alone=alone, cores=cores, progress=told))
    if figure is not None:
        screen.save(prior_refits_figure(fit, answers), figure)
    if table_format != "table":
        screen.frame(
            [answer.table() for answer in answers], table_format, simulated=fit.study.simulated
        )
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
    from alliance.inference.leaving_out.influence import influence

    answers, refused = [], []
    for outcome in outcomes:
        with screen.refits_progress(f"{outcome}: leaving out") as told:
            own = [influence(fit[outcome], refits=True, cores=cores, progress=told)]
            try:
                own.append(
                    influence(fit[outcome], "therapist", refits=True, cores=cores, progress=told)
                )
            except InputError as error:
                refused.append(str(error))
        answers.append(own)
    for message in refused:
        screen.note(message)
    if figure is not None:
        screen.save(influence_figure(fit, answers), figure)
    if table_format != "table":
        tables = [
            each.full_table() if all_units else each.table() for own in answers for each in own
        ]
        screen.frame(tables, table_format, simulated=fit.study.simulated)
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
            answer.table().merge(answer.tipping_table()[["outcome", *_TIPPING]], on="outcome")
            for answer in answers
        ]
        screen.frame(tables, table_format, simulated=fit.study.simulated)
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
