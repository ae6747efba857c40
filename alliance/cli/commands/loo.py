"""`alliance loo`: how well those left out are predicted, and by which fit better."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from alliance.cli import screen
from alliance.cli.options import (
    RUN_HELP,
    CoresOption,
    FigureOption,
    FormatOption,
    OutcomeOption,
    TableFormat,
)
from alliance.cli.runs import several_runs
from alliance.data_prep.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from alliance.diagnostics.checks.loo_checks import LooCheck
    from alliance.inference.leaving_out.leave_one_out import LeaveOneOut
    from alliance.inference.leaving_out.leave_therapist_out import Refits
    from alliance.inference.pointwise.explained_variance import ExplainedVariance
    from alliance.inference.runs.fit import Fit


def loo(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help=f"{RUN_HELP} With several, the fits are compared."),
    ],
    outcome: OutcomeOption = None,
    by: Annotated[
        Literal["patient", "therapist"],
        typer.Option(
            help="What is left out at a time: a patient, who keeps the therapist, or a therapist "
            "with all patients."
        ),
    ] = "patient",
    refits: Annotated[
        Literal["needed", "all", "none"],
        typer.Option(
            help="By therapist: fit again without those whose Pareto k is too high, all, or none."
        ),
    ] = "needed",
    pointwise: Annotated[
        bool,
        typer.Option(
            "--pointwise", help="One row for each patient, by position, or therapist left out."
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
    from alliance.inference.leaving_out.leave_one_out_comparison import compare_loo
    from alliance.inference.leaving_out.leave_therapist_out import leave_therapist_out

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
    for name in chosen:
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
                else leave_therapist_out(first[name], refits=which, cores=cores, progress=progress)
            )
    if figure is not None:
        from alliance.diagnostics.figures.loo_figures import elpd_figure, pareto_k_figure

        draw = elpd_figure if len(fits) > 1 else pareto_k_figure
        screen.save(draw(first, answers), figure)
    if pointwise:
        _print_units(first, answers, table_format)
    elif table_format != "table":
        tables = [answer.table() for answer in answers]
        screen.frame(tables, table_format, simulated=first.study.simulated)
    elif len(fits) > 1:
        for answer in answers:
            sheet = sheets.loo_comparison(first, answer)
            screen.show(first.study, [sheet], [*sheets.loo_comparison_legend(answer), ""])
    else:
        sheet = sheets.left_out(first, answers)
        screen.show(first.study, [sheet], sheets.left_out_legend("therapist"))


def _patients(
    fit: Fit,
    outcomes: Sequence[str],
    pointwise: bool,
    figure: Path | None,
    table_format: TableFormat,
) -> None:
    """Leave out one patient at a time, without a refit, and print it."""
    from alliance.diagnostics.checks.loo_checks import loo_check
    from alliance.inference.pointwise.explained_variance import explained_variance

    checks = [loo_check(fit[outcome]) for outcome in outcomes]
    explained = [explained_variance(fit[outcome]) for outcome in outcomes]
    if figure is not None:
        from alliance.diagnostics.figures.loo_figures import loo_figure

        screen.save(loo_figure(fit, checks), figure)
    if pointwise:
        _print_units(fit, [check.left_out for check in checks], table_format)
        return
    if table_format != "table":
        tables = [_wide(*each) for each in zip(checks, explained, strict=True)]
        screen.frame(tables, table_format, simulated=fit.study.simulated)
        return
    from alliance.diagnostics.sheets import checks as sheets

    left_out = [check.left_out for check in checks]
    screen.show(fit.study, [sheets.left_out(fit, left_out, checks, explained)])
    for check in checks:
        screen.tripped(check.results)
    screen.tell(sheets.left_out_legend("patient"))


def _wide(check: LooCheck, share: ExplainedVariance) -> pd.DataFrame:
    """One row with everything, for machines."""
    table = check.left_out.table().assign(pit_p_value=check.pit.p_value)
    for row in share.table().to_dict("records"):
        name = "r2" if row["explained_by"] == "patient and therapist" else "r2_patient"
        table = table.assign(
            **{name: row["mean"], f"{name}_lower": row["lower"], f"{name}_upper": row["upper"]}
        )
    for result in check.results:
        table[f"{result.check}_verdict"] = str(result.verdict)
    return table


def _print_units(fit: Fit, answers: Sequence[LeaveOneOut], table_format: TableFormat) -> None:
    """Print one row for each patient or therapist left out."""
    if table_format != "table":
        tables = [answer.unit_table() for answer in answers]
        screen.frame(tables, table_format, simulated=fit.study.simulated)
        return
    from alliance.diagnostics.sheets import checks as sheets

    for answer in answers:
        screen.show(fit.study, [sheets.units_left_out(fit, answer)])
