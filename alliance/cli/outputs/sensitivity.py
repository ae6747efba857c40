"""What `sensitivity` does: ask, print the tables, draw the figure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console
from rich.markup import escape

from alliance.cli.running import command, load_run
from alliance.cli.screen import render
from alliance.cli.screen.narrow import Table, print_fitting
from alliance.data_prep.errors import InputError
from alliance.inference.digits import decimals, figures, number

if TYPE_CHECKING:
    from alliance.inference.answers.unseen_improvement import UnseenImprovement
    from alliance.inference.leaving_out.influence import Influence
    from alliance.inference.priors.power_scaling import PowerScaling
    from alliance.inference.priors.prior_refits import PriorRefits
    from alliance.inference.runs.fit import Fit

FEWEST_COLUMNS = 3
Told = Callable[[int, int], None]


@command
def sensitivity(
    run: Path,
    *,
    outcomes: list[str],
    kind: str,
    each_prior: bool,
    all_units: bool,
    cores: int | None,
    figure: Path | None,
    table_format: str,
) -> None:
    """Print what the results hang on, and draw it."""
    if each_prior and kind not in ("priors", "refits"):
        raise InputError("--each-prior is about priors.", "Use --kind priors or --kind refits.")
    if all_units and kind != "influence":
        raise InputError("--all-units is about influence.", "Use --kind influence.")
    fit = load_run(run)
    chosen = fit.chosen(outcomes)
    if kind == "priors":
        _priors(fit, chosen, each_prior, figure, table_format)
    elif kind == "refits":
        _refits(fit, chosen, each_prior, cores, figure, table_format)
    elif kind == "influence":
        _influence(fit, chosen, all_units, cores, figure, table_format)
    else:
        _unseen(fit, chosen, figure, table_format)


def _priors(
    fit: Fit, outcomes: Sequence[str], each: bool, figure: Path | None, table_format: str
) -> None:
    from alliance.diagnostics.figures.sensitivity_figures import power_scaling_figure
    from alliance.inference.priors.power_scaling import RULED, SENSITIVE, power_scaling

    answers = [power_scaling(fit[outcome]) for outcome in outcomes]
    _save(power_scaling_figure, fit, answers, figure)
    if table_format != "table":
        tables = [answer.kind_table() if each else answer.table() for answer in answers]
        _frame(fit, tables, table_format)
        return
    for answer in answers:
        _by_prior(fit, answer) if each else _power_scaling(fit, answer)
    render.out().print(
        escape(
            f"Sensitivity by power-scaling: from {SENSITIVE:g} on a quantity is sensitive. A prior "
            f"rules a quantity that is sensitive to it from {RULED:g} on, and a coefficient that "
            "is more sensitive to it than to the data: prior-data conflict where the data move it "
            f"too, else weak likelihood. {_places(fit)}"
        )
    )


def _power_scaling(fit: Fit, answer: PowerScaling) -> None:
    shown = render.outcome_table(fit, answer.outcome, ": sensitivity to priors")
    shown.add_column("Diagnosis")
    for name in ("Priors", "Data"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("Strongest prior", no_wrap=True)
    shown.add_column("Its own", justify="right", no_wrap=True)
    for row in answer.table().to_dict("records"):
        ruled = row["diagnosis"] in ("prior-data conflict", "weak likelihood")
        told = f"[yellow]{row['diagnosis']}[/yellow]" if ruled else row["diagnosis"]
        shown.add_row(
            render.words(row["quantity"]),
            escape(row["level"]),
            told,
            f"{row['prior_sensitivity']:.2f}",
            f"{row['likelihood_sensitivity']:.2f}",
            row["strongest_prior"],
            f"{row['strongest_sensitivity']:.2f}",
        )
    print_fitting(render.out(), shown, FEWEST_COLUMNS)


def _by_prior(fit: Fit, answer: PowerScaling) -> None:
    shown = render.outcome_table(fit, answer.outcome, ": sensitivity to each prior")
    for kind in answer.kinds:
        shown.add_column(render.words(kind), justify="right")
    for row, (quantity, level) in enumerate(answer.labels):
        numbers = [
            f"[yellow]{value:.2f}[/yellow]" if ruled else f"{value:.2f}"
            for value, ruled in zip(answer.by_kind[row], answer.ruled[row], strict=True)
        ]
        shown.add_row(render.words(quantity), escape(level), *numbers)
    print_fitting(render.out(), shown, FEWEST_COLUMNS)


def _refits(
    fit: Fit,
    outcomes: Sequence[str],
    alone: bool,
    cores: int | None,
    figure: Path | None,
    table_format: str,
) -> None:
    from alliance.diagnostics.figures.sensitivity_figures import prior_refits_figure
    from alliance.inference.priors.prior_refits import prior_refits

    answers = []
    for outcome in outcomes:
        with _progress(f"{outcome}: other priors") as told:
            answers.append(prior_refits(fit[outcome], alone=alone, cores=cores, progress=told))
    _save(prior_refits_figure, fit, answers, figure)
    if table_format != "table":
        _frame(fit, [answer.table() for answer in answers], table_format)
        return
    for answer in answers:
        _largest_shifts(fit, answer) if alone else _all_scales(fit, answer)
    render.out().print(
        "Shifts of the posterior mean against the fit itself: in its posterior SDs, and in "
        "brackets on the outcome's own scale. A shift has a Monte Carlo error of about 0.02 to "
        f"0.05 SD. {escape(_places(fit))}"
    )


def _all_scales(fit: Fit, answer: PriorRefits) -> None:
    shown = render.outcome_table(fit, answer.outcome, ": other prior scales")
    table = answer.table()
    for _, factor in answer.priors:
        shown.add_column(f"All scales x {factor:g}", justify="right", no_wrap=True)
        shown.add_column("SD ratio", justify="right", no_wrap=True)
    for quantity, level in answer.labels:
        own = table[(table["quantity"] == quantity) & (table["level"] == level)]
        cells = []
        for row in own.to_dict("records"):
            cells += [_shift(row), f"{row['sd_ratio']:.2f}"]
        shown.add_row(render.words(quantity), escape(level), *cells)
    print_fitting(render.out(), shown, FEWEST_COLUMNS)


def _largest_shifts(fit: Fit, answer: PriorRefits) -> None:
    shown = render.outcome_table(fit, answer.outcome, ": each prior scale halved and doubled")
    shown.add_column("Largest shift", justify="right", no_wrap=True)
    shown.add_column("With", no_wrap=True)
    shown.add_column("SD ratio", justify="right", no_wrap=True)
    for row in answer.largest().to_dict("records"):
        shown.add_row(
            render.words(row["quantity"]),
            escape(row["level"]),
            _shift(row),
            f"{row['prior']} x {row['factor']:g}",
            f"{row['sd_ratio']:.2f}",
        )
    print_fitting(render.out(), shown, FEWEST_COLUMNS)


def _shift(row: dict[Any, Any]) -> str:
    sign = "+" if row["shift"] > 0 else ""
    text = f"{row['shift_sd']:+.2f} ({sign}{figures(row['shift'], 2)})"
    return f"[yellow]{text}[/yellow]" if abs(row["shift_sd"]) > 1 else text


def _influence(
    fit: Fit,
    outcomes: Sequence[str],
    all_units: bool,
    cores: int | None,
    figure: Path | None,
    table_format: str,
) -> None:
    from alliance.diagnostics.figures.sensitivity_figures import influence_figure
    from alliance.inference.leaving_out.influence import influence

    answers, refused = [], []
    for outcome in outcomes:
        with _progress(f"{outcome}: leaving out") as told:
            own = [influence(fit[outcome], refits=True, cores=cores, progress=told)]
            try:
                own.append(
                    influence(fit[outcome], "therapist", refits=True, cores=cores, progress=told)
                )
            except InputError as error:
                refused.append(str(error))
        answers.append(own)
    for message in refused:
        render.note(message)
    _save(influence_figure, fit, answers, figure)
    if table_format != "table":
        tables = [
            each.full_table() if all_units else each.table() for own in answers for each in own
        ]
        _frame(fit, tables, table_format)
        return
    for own in answers:
        for each in own:
            _moved(fit, each, all_units)
    render.out().print(
        "Change of the posterior mean of a slope, interaction or arm contrast, the one that moves "
        f"most; patients by position among those analysed. {escape(_places(fit))}"
    )


def _moved(fit: Fit, answer: Influence, all_units: bool) -> None:
    title = f"{render.outcome_title(fit, answer.outcome)}: one {answer.by} left out"
    shown = Table(title=title, title_justify="left")
    shown.add_column(answer.by.capitalize(), no_wrap=True)
    shown.add_column("Moves most", no_wrap=True)
    several = ("Patients",) if answer.by == "therapist" else ()
    for name in ("By SDs", "With", "Without", *several, "Pareto k", "Method"):
        shown.add_column(name, justify="right", no_wrap=True)
    for row in answer.table(None if all_units else 5).to_dict("records"):
        size = f"{row['shift_sd']:+.2f}"
        k = f"{row['pareto_k']:.2f}"
        digits = decimals(abs(row["shift"]), row["mean"])
        shown.add_row(
            escape(row["unit"]),
            escape(f"{render.words(row['quantity'])} {row['level']}".strip()),
            f"[yellow]{size}[/yellow]" if abs(row["shift_sd"]) > 1 else size,
            number(row["mean"], digits),
            number(row["mean_without"], digits),
            *([str(row["patients"])] if several else []),
            k if row["reliable"] else f"[yellow]{k}[/yellow]",
            row["method"],
        )
    print_fitting(render.out(), shown, FEWEST_COLUMNS)


def _unseen(fit: Fit, outcomes: Sequence[str], figure: Path | None, table_format: str) -> None:
    from alliance.diagnostics.figures.sensitivity_figures import unseen_improvement_figure
    from alliance.inference.answers.unseen_improvement import unseen_improvement

    answers = [unseen_improvement(fit[outcome]) for outcome in outcomes]
    _save(unseen_improvement_figure, fit, answers, figure)
    if table_format != "table":
        tables = [
            answer.table().merge(answer.tipping_table()[["outcome", *_TIPPING]], on="outcome")
            for answer in answers
        ]
        _frame(fit, tables, table_format)
        return
    for answer in answers:
        _strengths(fit, answer)
    for answer in answers:
        if answer.infinite:
            render.note(
                f"{answer.outcome}: {answer.infinite:.1%} of the draws have two degrees of freedom "
                "or fewer, and with them no variance; they are left out."
            )
    moderator = fit.study.moderator.label
    render.out().print(
        escape(
            f"Slope for one point of {moderator}, averaged over arms, if an improvement before "
            "its rating explains such shares of what baseline, arm and covariates leave of it, and "
            "of what then remains of the outcome (Cinelli & Hazlett 2020). P: of a slope on the "
            "side where it is seen. Linear model: one slope for all arms."
        )
    )


_TIPPING = (
    "robustness_value",
    "robustness_value_interval",
    "tipping_mean",
    "tipping_interval",
)


def _strengths(fit: Fit, answer: UnseenImprovement) -> None:
    console = render.out()
    title = f"{render.outcome_title(fit, answer.outcome)}: an early improvement, unseen"
    shown = Table(title=title, title_justify="left")
    shown.add_column("As strong as", no_wrap=True)
    for name in ("Slope", "95% interval", "P", "Linear model", "R2 alliance", "R2 outcome"):
        shown.add_column(name, justify="right", no_wrap=True)
    for row in answer.table().to_dict("records"):
        name = row["benchmark"] if row["times"] == 0 else f"{row['times']:g} x {row['benchmark']}"
        if pd.isna(row["r2_alliance"]):
            shown.add_row(escape(name), "cannot be so strong")
            continue
        digits = decimals(row["upper"] - row["lower"], row["mean"])
        mean, lower, upper, linear = (
            number(row[key], digits) for key in ("mean", "lower", "upper", "linear")
        )
        shown.add_row(
            escape(name),
            mean,
            f"{lower} to {upper}",
            f"{row['prob_same_sign']:.3f}",
            linear,
            f"{100 * row['r2_alliance']:.1f}%",
            f"{100 * row['r2_outcome']:.1f}%",
        )
    print_fitting(console, shown, FEWEST_COLUMNS)
    if not answer.benchmarks:
        console.print("Nothing to compare with: the outcome has no baseline score or covariate.")
    console.print(
        f"The posterior mean is carried to zero by {100 * answer.tipping_mean:.0f}% of both, its "
        f"95% interval reaches zero at {100 * answer.tipping_interval:.0f}%; linear model "
        f"{100 * answer.robustness_value:.0f}% and {100 * answer.robustness_value_interval:.0f}% "
        "(robustness values)."
    )


def _places(fit: Fit) -> str:
    from alliance.inference.estimands.compared_at import places_in_words

    return places_in_words(fit)


def _frame(fit: Fit, tables: Sequence[pd.DataFrame], table_format: str) -> None:
    table = pd.concat(tables, ignore_index=True)
    render.frame(table, table_format, simulated=fit.study.simulated)


def _save(
    draw: Callable[[Fit, Sequence[Any]], Any], fit: Fit, answers: Sequence[Any], path: Path | None
) -> None:
    if path is None:
        return
    render.save(draw(fit, answers), path)


@contextmanager
def _progress(what: str) -> Iterator[Told | None]:
    """A line about the refits on standard error, where that is a terminal."""
    console = Console(emoji=False, stderr=True)
    if not console.is_terminal:
        yield None
        return
    with console.status(escape(what)) as status:
        yield lambda done, total: status.update(f"{escape(what)}, {done} of {total} refits")
