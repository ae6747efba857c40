"""What `loo` does: leave out, compare, print the tables, draw the figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console
from rich.markup import escape

from alliance.cli.running import command, load_run
from alliance.cli.screen import render
from alliance.cli.screen.narrow import Table, print_fitting
from alliance.data_prep.errors import InputError
from alliance.inference.digits import decimals, interval_decimals, number
from alliance.inference.leaving_out.leave_one_out import TARGETS, By, LeaveOneOut
from alliance.inference.leaving_out.leave_therapist_out import Refits, leave_therapist_out

if TYPE_CHECKING:
    from alliance.diagnostics.checks.loo_checks import LooCheck
    from alliance.inference.leaving_out.leave_one_out_comparison import LooComparison
    from alliance.inference.pointwise.explained_variance import ExplainedVariance
    from alliance.inference.runs.fit import Fit

FEWEST_COLUMNS = 3


@command
def loo(
    runs: Sequence[Path],
    *,
    outcomes: list[str],
    by: By,
    refits: Refits,
    pointwise: bool,
    cores: int | None,
    figure: Path | None,
    table_format: str,
) -> None:
    """Print leave-one-out predictions of one run, or the comparison of several."""
    if pointwise and len(runs) > 1:
        raise InputError("--pointwise shows one run.", "Name one run, or leave --pointwise out.")
    names = _names(runs)
    fits = {name: load_run(run) for name, run in zip(names, runs, strict=True)}
    first = next(iter(fits.values()))
    every = [fit.chosen(outcomes) for fit in fits.values()]
    chosen = [name for name in every[0] if all(name in some for some in every)]
    if not chosen:
        raise InputError("The runs have no outcome in common.", "Name runs of one study.")
    if len(fits) > 1:
        _compare(fits, chosen, by, refits, cores, figure, table_format)
    elif by == "therapist":
        _therapists(first, chosen, refits, cores, pointwise, figure, table_format)
    else:
        _patients(first, chosen, pointwise, figure, table_format)


def _names(runs: Sequence[Path]) -> list[str]:
    """The folders' names, or their paths where names are the same."""
    names = [run.resolve().name for run in runs]
    if len(set(names)) < len(names):
        names = [str(run) for run in runs]
    if len(set(names)) < len(names):
        raise InputError("A run is named twice.", "Name different runs.")
    return names


def _patients(
    fit: Fit, outcomes: Sequence[str], pointwise: bool, figure: Path | None, table_format: str
) -> None:
    from alliance.diagnostics.checks.loo_checks import loo_check
    from alliance.diagnostics.figures.loo_figures import loo_figure
    from alliance.inference.pointwise.explained_variance import explained_variance

    checks = [loo_check(fit[outcome]) for outcome in outcomes]
    explained = [explained_variance(fit[outcome]) for outcome in outcomes]
    if figure is not None:
        _save(loo_figure(fit, checks), figure)
    if pointwise:
        _units(fit, [check.left_out for check in checks], table_format)
        return
    if table_format != "table":
        tables = [_wide(*each) for each in zip(checks, explained, strict=True)]
        render.frame(
            pd.concat(tables, ignore_index=True), table_format, simulated=fit.study.simulated
        )
        return
    console = render.out()
    shown = _empty(fit, "patient")
    for check, share in zip(checks, explained, strict=True):
        cells = _cells(check.left_out)
        r2 = share.table().iloc[0]
        digits = max(2, interval_decimals(r2["lower"], r2["upper"]))
        mean, lower, upper = (number(r2[name], digits) for name in ("mean", "lower", "upper"))
        cells += [f"{check.pit.p_value:.2g}", f"{mean} ({lower} to {upper})"]
        shown.add_row(*cells)
    print_fitting(console, shown, FEWEST_COLUMNS)
    _tripped(console, checks)
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


def _tripped(console: Console, checks: Sequence[LooCheck]) -> None:
    for check in checks:
        for result in check.results:
            if result.recommendation:
                word = render.coloured(str(result.verdict))
                console.print(
                    f"{word} {escape(f'{check.outcome}, {result.check}: {result.message}')}\n"
                    f"What to do: {escape(result.recommendation)}"
                )


def _therapists(
    fit: Fit,
    outcomes: Sequence[str],
    refits: Refits,
    cores: int | None,
    pointwise: bool,
    figure: Path | None,
    table_format: str,
) -> None:
    answers = []
    for outcome in outcomes:
        with _progress(outcome) as told:
            answers.append(
                leave_therapist_out(fit[outcome], refits=refits, cores=cores, progress=told)
            )
    if figure is not None:
        from alliance.diagnostics.figures.loo_figures import pareto_k_figure

        _save(pareto_k_figure(fit, answers), figure)
    if pointwise:
        _units(fit, answers, table_format)
        return
    if table_format != "table":
        table = pd.concat([answer.table() for answer in answers], ignore_index=True)
        render.frame(table, table_format, simulated=fit.study.simulated)
        return
    console = render.out()
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
    title = render.marked_title(fit.study.simulated, f"Leave one {by} out")
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


def _units(fit: Fit, answers: Sequence[LeaveOneOut], table_format: str) -> None:
    if table_format != "table":
        table = pd.concat([answer.unit_table() for answer in answers], ignore_index=True)
        render.frame(table, table_format, simulated=fit.study.simulated)
        return
    for answer in answers:
        shown = Table(title=render.outcome_title(fit, answer.outcome), title_justify="left")
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
        render.out().print(shown)


def _compare(
    fits: dict[str, Fit],
    outcomes: Sequence[str],
    by: By,
    refits: Refits,
    cores: int | None,
    figure: Path | None,
    table_format: str,
) -> None:
    from alliance.inference.leaving_out.leave_one_out_comparison import compare_loo

    first = next(iter(fits.values()))
    comparisons = []
    for outcome in outcomes:
        posteriors = {name: fit[outcome] for name, fit in fits.items()}
        with _progress(outcome) as told:
            comparisons.append(
                compare_loo(posteriors, by=by, refits=refits, cores=cores, progress=told)
            )
    if figure is not None:
        from alliance.diagnostics.figures.loo_figures import elpd_figure

        _save(elpd_figure(first, comparisons), figure)
    if table_format != "table":
        table = pd.concat([each.table() for each in comparisons], ignore_index=True)
        render.frame(table, table_format, simulated=first.study.simulated)
        return
    for comparison in comparisons:
        _comparison(first, comparison)


def _comparison(fit: Fit, comparison: LooComparison) -> None:
    console = render.out()
    title = f"{render.outcome_title(fit, comparison.outcome)}: left out by {comparison.by}"
    shown = Table(title=title, title_justify="left")
    shown.add_column("Fit")
    for name in ("Difference (SE)", "elpd (SE)", "p_loo", "k too high", "Refitted"):
        shown.add_column(name, justify="right", no_wrap=True)
    table = comparison.table()
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
    print_fitting(console, shown, FEWEST_COLUMNS)
    for words in table["words"].iloc[1:]:
        console.print(escape(words))
    if comparison.whole_scores:
        console.print(
            "Continuous families are given the probability of half a point to each side of every "
            "score, so that they can be set beside bounded ones."
        )
    console.print()


def _progress(outcome: str) -> Any:
    """A line about the refits on standard error, where that is a terminal."""
    console = Console(emoji=False, stderr=True)
    if not console.is_terminal:
        return nullcontext()
    return _Status(console, outcome)


class _Status:
    def __init__(self, console: Console, outcome: str) -> None:
        self._status = console.status(f"{escape(outcome)}: leaving out")
        self._outcome = outcome

    def __enter__(self) -> Callable[[int, int], None]:
        self._status.start()
        return self._told

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def _told(self, done: int, total: int) -> None:
        self._status.update(f"{escape(self._outcome)}: {done} of {total} fits without a therapist")


def _save(drawn: Any, path: Path) -> None:
    render.save(drawn, path)
