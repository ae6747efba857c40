"""`alliance loo`: how well those left out are predicted, and by which fit better."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from alliance.cli import screen
from alliance.cli.options import (
    RUN_HELP,
    CoresOption,
    FigureOption,
    FormatOption,
    OutcomeOption,
    TableFormat,
)
from alliance.cli.runs import chosen_outcomes, several_runs
from alliance.cli.screen import Table, coloured, marked_title, outcome_title, print_fitting
from alliance.data_prep.errors import InputError
from alliance.inference.digits import decimals, interval_decimals, number

if TYPE_CHECKING:
    import pandas as pd

    from alliance.diagnostics.checks.loo_checks import LooCheck
    from alliance.inference.leaving_out.leave_one_out import By, LeaveOneOut
    from alliance.inference.leaving_out.leave_one_out_comparison import LooComparison
    from alliance.inference.leaving_out.leave_therapist_out import Refits
    from alliance.inference.pointwise.explained_variance import ExplainedVariance
    from alliance.inference.runs.fit import Fit

FEWEST_COLUMNS = 3


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
    from alliance.inference.leaving_out.leave_one_out_comparison import compare_loo
    from alliance.inference.leaving_out.leave_therapist_out import leave_therapist_out

    if pointwise and len(runs) > 1:
        raise InputError("--pointwise shows one run.", "Name one run, or leave --pointwise out.")
    fits = several_runs(runs)
    first = next(iter(fits.values()))
    asked = [chosen_outcomes(fit, outcome) for fit in fits.values()]
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
                compare_loo(fits, name, by=by, refits=which, cores=cores, progress=progress)
                if len(fits) > 1
                else leave_therapist_out(first, name, refits=which, cores=cores, progress=progress)
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
            _print_comparison(first, answer)
    else:
        _print_therapists(first, answers)


def _patients(
    fit: Fit,
    outcomes: Sequence[str],
    pointwise: bool,
    figure: Path | None,
    table_format: TableFormat,
) -> None:
    """Leave out one patient at a time, without a refit, and print it."""
    from alliance.diagnostics.checks.loo_checks import loo_check
    from alliance.inference.leaving_out.leave_one_out import TARGETS
    from alliance.inference.pointwise.explained_variance import explained_variance

    checks = [loo_check(fit, outcome) for outcome in outcomes]
    explained = [explained_variance(fit, outcome) for outcome in outcomes]
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
    console = screen.out()
    shown = _empty(fit, "patient")
    for check, share in zip(checks, explained, strict=True):
        cells = _cells(check.left_out)
        r2 = share.table().iloc[0]
        digits = max(2, interval_decimals(r2["lower"], r2["upper"]))
        mean, lower, upper = (number(r2[name], digits) for name in ("mean", "lower", "upper"))
        cells += [f"{check.pit.p_value:.2g}", f"{mean} ({lower} to {upper})"]
        shown.add_row(*cells)
    print_fitting(console, shown, FEWEST_COLUMNS)
    for check in checks:
        for result in check.results:
            if result.recommendation:
                word = coloured(str(result.verdict))
                console.print(
                    f"{word} {escape(f'{check.outcome}, {result.check}: {result.message}')}\n"
                    f"What to do: {escape(result.recommendation)}"
                )
    console.print(
        escape(
            f"elpd: log density of outcomes left out, summed; to predict {TARGETS['patient']}. "
            "p: calibration of single outcomes (LOO-PIT). R2: Bayesian, therapists included, with "
            "its 95% interval."
        )
    )


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


def _print_therapists(fit: Fit, answers: Sequence[LeaveOneOut]) -> None:
    """Print what leaving out one therapist at a time says."""
    from alliance.inference.leaving_out.leave_one_out import TARGETS

    console = screen.out()
    shown = _empty(fit, "therapist")
    for answer in answers:
        shown.add_row(*_cells(answer))
    print_fitting(console, shown, FEWEST_COLUMNS)
    console.print(
        escape(
            f"elpd: log density of outcomes left out, summed; to predict {TARGETS['therapist']}. "
            "Its standard error rests on so few therapists, of such different numbers of patients, "
            "that only differences between fits are worth looking at."
        )
    )


def _empty(fit: Fit, by: By) -> Table:
    title = marked_title(fit.study.simulated, f"Leave one {by} out")
    shown = Table(title=title, title_justify="left")
    shown.add_column("Outcome")
    columns = [f"{by.capitalize()}s", "elpd (SE)", "p_loo", "Largest k", "k too high"]
    columns += ["Refitted"] if by == "therapist" else ["PIT p", "R2"]
    for name in columns:
        shown.add_column(name, justify="right", no_wrap=True)
    return shown


def _cells(found: LeaveOneOut) -> list[str]:
    row = found.table().iloc[0]
    cells = [
        escape(found.outcome),
        str(row["units"]),
        f"{row['elpd']:.1f} ({row['se']:.1f})",
        f"{row['p_loo']:.1f}",
        f"{row['largest_k']:.2f}",
        f"{row['k_too_high']} (over {row['good_k']:.2g})",
    ]
    return [*cells, str(row["refitted"])] if found.by == "therapist" else cells


def _print_units(fit: Fit, answers: Sequence[LeaveOneOut], table_format: TableFormat) -> None:
    """Print one row for each patient or therapist left out."""
    if table_format != "table":
        tables = [answer.unit_table() for answer in answers]
        screen.frame(tables, table_format, simulated=fit.study.simulated)
        return
    for answer in answers:
        screen.out().print(_units(fit, answer))


def _units(fit: Fit, answer: LeaveOneOut) -> Table:
    """Patients by their positions, or therapists, with how well each is predicted."""
    shown = Table(title=outcome_title(fit, answer.outcome), title_justify="left")
    shown.add_column(answer.by.capitalize())
    for name in ("Patients", "elpd", "Pareto k", "Method"):
        shown.add_column(name, justify="right")
    for row in answer.unit_table().to_dict("records"):
        k = f"{row['pareto_k']:.2f}"
        shown.add_row(
            escape(row[answer.by]),
            str(row["patients"]),
            f"{row['elpd']:.2f}",
            k if row["pareto_k"] <= answer.good_k else f"[yellow]{k}[/yellow]",
            row["method"],
        )
    return shown


def _print_comparison(fit: Fit, comparison: LooComparison) -> None:
    """Print which fit predicts better, in numbers and in words."""
    console = screen.out()
    table = comparison.table()
    print_fitting(console, _compared(fit, comparison, table), FEWEST_COLUMNS)
    for told in table["words"].iloc[1:]:
        console.print(escape(told))
    if comparison.whole_scores:
        console.print(
            "Continuous families are given the probability of half a point to each side of every "
            "score, so that they can be set beside bounded ones."
        )
    console.print()


def _compared(fit: Fit, comparison: LooComparison, table: pd.DataFrame) -> Table:
    """The fits by how well they predict, the best first."""
    title = f"{outcome_title(fit, comparison.outcome)}: left out by {comparison.by}"
    shown = Table(title=title, title_justify="left")
    shown.add_column("Fit")
    for name in ("Difference (SE)", "elpd (SE)", "p_loo", "k too high", "Refitted"):
        shown.add_column(name, justify="right", no_wrap=True)
    for position, row in enumerate(table.to_dict("records")):
        digits = max(1, decimals(row["se_difference"], row["elpd_difference"]))
        apart, error = (number(row[f"{name}_difference"], digits) for name in ("elpd", "se"))
        shown.add_row(
            escape(row["fit"]),
            f"{apart} ({error})" if position else "",
            f"{row['elpd']:.1f} ({row['se']:.1f})",
            f"{row['p_loo']:.1f}",
            str(row["k_too_high"]),
            str(row["refitted"]),
        )
    return shown
