"""`alliance summary` and `compare`: what a run found, alone, beside other runs, beside a paper."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from alliance.cli import screen
from alliance.cli.options import (
    AtOption,
    ExtrapolateAtOption,
    FigureOption,
    FormatOption,
    IntervalOption,
    PublishedOption,
    RunArgument,
    TableFormat,
)
from alliance.cli.runs import findings_of, load_run, several_runs
from alliance.cli.screen import (
    Table,
    coloured,
    needed,
    outcome_table,
    print_fitting,
    print_whole,
    words,
)
from alliance.data_prep.levels import AVERAGE
from alliance.inference.digits import decimals, figures, number, shared_decimals

if TYPE_CHECKING:
    import pandas as pd

    from alliance.inference.runs.choices import Choice
    from alliance.inference.runs.fit import Fit

FEWEST_COLUMNS = 3  # mean, SD and interval are shown on however narrow a terminal
REASON = "without_"  # columns of the flow counts that say what patients lack
SHOWN = ("moderator_slope", "arm_contrast", "interaction")
SOURCES = {
    "published": "Published",
    "ols_main": "OLS, main effects",
    "ols": "OLS",
    "ols_robust": "OLS, robust",
    "reml": "REML",
    "posterior": "Posterior",
}
VERDICT = len("undetermined")  # columns of the longest word of a verdict


def summary(
    run: RunArgument,
    interval: IntervalOption = 0.95,
    per_sd: Annotated[
        bool, typer.Option("--per-sd", help="Moderator slopes for one SD instead of one point.")
    ] = False,
    priors: Annotated[
        bool, typer.Option("--priors", help="The priors on the outcome's scale instead.")
    ] = False,
    beside: Annotated[
        list[Path] | None,
        typer.Option(help="Another run, to be put beside this one; may be repeated."),
    ] = None,
    at: AtOption = None,
    extrapolate: ExtrapolateAtOption = False,
    figure: FigureOption = None,
    table_format: FormatOption = "table",
) -> None:
    """Print the posterior summaries of every reported quantity, of one run or of several.

    The figure shows the arm contrasts of all outcomes in SDs of each, a benefit to the right.
    """
    if figure is not None and (beside or priors):
        raise typer.BadParameter(
            "the figure shows the arm contrasts of one run; leave --beside and --priors out.",
            param_hint="--figure",
        )
    if beside:
        _side_by_side_summaries(
            [run, *beside], table_format, interval=interval, at=at, extrapolate=extrapolate
        )
        return
    fitted = load_run(run, rows=False)
    if priors:
        table = fitted.priors(per_sd=per_sd, at=at, extrapolate=extrapolate)
        if table_format == "table":
            _print_priors(fitted, table, per_sd=per_sd, at=at)
        else:
            screen.frame(table, table_format, simulated=fitted.study.simulated)
        return
    table = fitted.summary(interval=interval, per_sd=per_sd, at=at, extrapolate=extrapolate)
    if figure is not None:
        from alliance.diagnostics.figures.contrast_figure import contrast_figure

        screen.save(contrast_figure(fitted, table, interval=interval, at=at), figure)
    print_summary(fitted, table, table_format, interval=interval, per_sd=per_sd, at=at)


def compare(
    run: RunArgument,
    published: PublishedOption = None,
    interval: IntervalOption = 0.95,
    robust: Annotated[
        bool,
        typer.Option(
            "--robust",
            help="OLS with cluster-robust standard errors by therapist (CR2), too.",
        ),
    ] = False,
    at: AtOption = None,
    extrapolate: ExtrapolateAtOption = False,
    figure: Annotated[
        Path | None, typer.Option(help="Also draw a forest plot: FILE.png, .svg or .pdf.")
    ] = None,
    table_format: FormatOption = "table",
) -> None:
    """Set published findings, OLS, REML and the posterior side by side."""
    from alliance.inference.published.comparison import compare as compared

    fitted = load_run(run, rows=False)
    findings = findings_of(fitted, run, published)
    table = compared(
        fitted, findings, interval=interval, robust=robust, at=at, extrapolate=extrapolate
    )
    print_comparison(fitted, table, table_format, interval=interval, at=at)
    if table_format == "table":
        _print_choices(fitted)
    if figure is not None:
        from alliance.diagnostics.figures.comparison_figure import comparison_figure

        screen.save(comparison_figure(fitted, table, interval=interval, at=at), figure)


def print_summary(
    fit: Fit,
    table: pd.DataFrame,
    table_format: TableFormat,
    *,
    interval: float,
    per_sd: bool = False,
    at: float | None = None,
) -> None:
    """Print the tidy table, by outcome, with the prior of each quantity beside it.

    Parameters
    ----------
    fit : Fit
    table : pandas.DataFrame
        As from `Fit.summary`.
    table_format : {"table", "csv", "json"}
    interval : float
        Probability of the table's intervals.
    per_sd : bool
        Whether slopes are for one SD.
    at : float, optional
        The alliance that was named for the contrasts of arms.
    """
    if table_format != "table":
        screen.frame(table, table_format, simulated=fit.study.simulated)
        return
    priors = {
        (row["outcome"], row["quantity"], row["level"]): row
        for row in fit.priors(per_sd=per_sd, at=at, extrapolate=True).to_dict("records")
    }
    console = screen.out()
    columns = ["Mean", "SD", f"{100 * interval:g}% interval", "P(> 0)", "ESS", "R-hat", "Prior"]
    blocks = [
        (str(outcome), [_summary_cells(row, priors) for row in rows.to_dict("records")])
        for outcome, rows in table.groupby("outcome", sort=False)
    ]
    # All outcomes get the columns that the widest has room for; the last ones are left out first.
    kept = len(columns)
    while kept > FEWEST_COLUMNS and any(
        needed(_summary_block(fit, *block, columns[:kept])) > console.width for block in blocks
    ):
        kept -= 1
    for outcome, cells in blocks:
        print_whole(console, _summary_block(fit, outcome, cells, columns[:kept]))
    console.print(_summary_legend(fit, per_sd, at))
    if kept < len(columns):
        left_out = ", ".join(columns[kept:])
        console.print(f"No room here for: {left_out}. See --format csv, and --priors.")
    _print_patients(fit)
    _print_choices(fit)


def _summary_cells(row: dict[Any, Any], priors: dict[Any, dict[Any, Any]]) -> list[str]:
    key = (row["outcome"], row["quantity"], row["level"])
    digits = decimals(row["sd"], row["mean"])
    return [
        words(row["quantity"]),
        escape(row["level"]),
        number(row["mean"], digits),
        number(row["sd"], digits),
        f"{number(row['lower'], digits)} to {number(row['upper'], digits)}",
        number(row["prob_positive"], 3),
        f"{min(row['ess_bulk'], row['ess_tail']):.0f}",
        number(row["r_hat"], 3),
        _prior(priors[key]) if key in priors else "",
    ]


def _summary_block(
    fit: Fit, outcome: str, cells: Sequence[Sequence[str]], columns: Sequence[str]
) -> Table:
    shown = outcome_table(fit, outcome)
    for name in columns:
        shown.add_column(name, justify="right", no_wrap=True)
    for row in cells:
        shown.add_row(*row[: len(shown.columns)])
    return shown


def _prior(row: dict[Any, Any]) -> str:
    scale = figures(row["scale"], 2)
    if row["distribution"] == "half-normal":
        return f"half-N({scale})"
    return f"N({figures(row['location'], 2)}, {scale})"


def _summary_legend(fit: Fit, per_sd: bool, at: float | None) -> str:
    from alliance.inference.estimands.compared_at import places_in_words

    unit = "SD" if per_sd else "point"
    moderator = fit.study.moderator
    arms = ", ".join(f"{code} = {label}" for code, label in fit.study.arms.items())
    return escape(
        f"Moderator slopes and interactions: outcome points for one {unit} of {moderator.label}.\n"
        f"{places_in_words(fit, at)} Intercept, therapist SD and ICC likewise.\n"
        "Equal-tailed intervals; ESS the smaller of bulk and tail; "
        f"N(mean, SD). Arms: {arms}."
    )


def _print_priors(fit: Fit, table: pd.DataFrame, *, per_sd: bool, at: float | None) -> None:
    """Print the priors on the outcome's scale."""
    console = screen.out()
    for outcome, rows in table.groupby("outcome", sort=False):
        shown = outcome_table(fit, str(outcome), ": priors")
        shown.add_column("Distribution")
        for name in ("Location", "Scale"):
            shown.add_column(name, justify="right")
        for row in rows.to_dict("records"):
            shown.add_row(
                words(row["quantity"]),
                escape(row["level"]),
                row["distribution"],
                figures(row["location"]),
                figures(row["scale"]),
            )
        console.print(shown)
    console.print(_summary_legend(fit, per_sd, at))


def _side_by_side_summaries(
    paths: Sequence[Path],
    table_format: TableFormat,
    *,
    interval: float,
    at: float | None,
    extrapolate: bool,
) -> None:
    """Print the quantities of several runs side by side."""
    from alliance.inference.estimands.compared_at import places_in_words
    from alliance.inference.runs.beside import runs_beside

    runs = several_runs(paths, rows=False)
    table = runs_beside(runs, interval=interval, at=at, extrapolate=extrapolate)
    first = next(iter(runs.values()))
    for name, fit in runs.items():
        if fit.manifest["data"]["sha256"] != first.manifest["data"]["sha256"]:
            screen.note(f"{name} was fitted to other data ({fit.manifest['data']['file']}).")
    if table_format != "table":
        simulated = any(fit.study.simulated for fit in runs.values())
        screen.frame(table, table_format, simulated=simulated)
        return
    console = screen.out()
    for outcome, rows in table.groupby("outcome", sort=False):
        print_fitting(console, _beside(runs, str(outcome), rows), FEWEST_COLUMNS)
    console.print(f"Posterior means and {100 * interval:g}% equal-tailed intervals.")
    places = {name: places_in_words(fit, at) for name, fit in runs.items()}
    if len(set(places.values())) == 1:
        console.print(escape(next(iter(places.values()))))
    else:
        for name, told in places.items():
            console.print(escape(f"{name}: {told[0].lower()}{told[1:]}"))
        if at is None:
            console.print("--at VALUE compares the arms of all runs at one alliance.")
    for name, fit in runs.items():
        _print_choices(fit, title=f"Model of {name}")


def _beside(runs: Mapping[str, Fit], outcome: str, rows: pd.DataFrame) -> Table:
    """One outcome's quantities, with a column for each run."""
    from alliance.models.spec import JOINT

    shared = next(
        fit
        for fit in runs.values()
        if outcome in fit.outcomes or (outcome == JOINT and fit.shared is not None)
    )
    shown = outcome_table(shared, outcome, about=", runs side by side")
    for name in runs:
        shown.add_column(escape(name), justify="right", no_wrap=True)
    for row in rows.to_dict("records"):
        cells = []
        for name in runs:
            mean, sd = row[f"{name}_mean"], row[f"{name}_sd"]
            digits = decimals(sd, mean)
            ends = (number(row[f"{name}_{end}"], digits) for end in ("lower", "upper"))
            told = f"{number(mean, digits)} ({', '.join(ends)})"
            cells.append("" if math.isnan(mean) else told)  # a run may not have the quantity
        shown.add_row(words(row["quantity"]), escape(row["level"]), *cells)
    return shown


def print_comparison(
    fit: Fit,
    table: pd.DataFrame,
    table_format: TableFormat,
    *,
    interval: float,
    at: float | None = None,
) -> None:
    """Print the comparison of `inference.published.comparison.compare`.

    Parameters
    ----------
    fit : Fit
    table : pandas.DataFrame
        On the screen only slopes, contrasts and interactions are shown, and what was published.
    table_format : {"table", "csv", "json"}
    interval : float
        Probability of the table's intervals.
    at : float, optional
        The alliance that was named for the contrasts of arms.
    """
    if table_format != "table":
        screen.frame(table, table_format, simulated=fit.study.simulated)
        return
    console = screen.out()
    claimed = table["claim"].notna()
    overall = (table["quantity"] != "moderator_slope") | (table["level"] == AVERAGE)
    table = table.rename(columns={"posterior_mean": "posterior_estimate"})
    rows = table[(table["quantity"].isin(SHOWN) & overall) | claimed]
    sources = {
        name: head
        for name, head in SOURCES.items()
        if f"{name}_estimate" in table and (name != "published" or claimed.any())
    }
    parts = [
        (str(outcome), part.to_dict("records"))
        for outcome, part in rows.groupby("outcome", sort=False)
    ]
    tables = [_side_by_side(fit, *part, sources) for part in parts]
    if any(needed(shown) > console.width for shown in tables):
        for shown in tables:
            shown.columns[0].max_width = len("interaction")
    if any(needed(shown) > console.width for shown in tables):
        tables = [_one_below_the_other(fit, *part, sources) for part in parts]
    for shown in tables:
        print_whole(console, shown)
    for outcome, notes in table.groupby("outcome", sort=False)["refit_note"]:
        for note in dict.fromkeys(notes):
            if note:
                console.print(escape(f"{outcome}: {note}."))
    console.print(_comparison_legend(fit, table, interval, at, published="published" in sources))


def _cells(row: dict[Any, Any], sources: Mapping[str, str]) -> list[str]:
    """Estimate and interval of each source, or the claim where only that is published."""
    cells = [_estimate(row, source) for source in sources]
    if "published" in sources and not cells[0] and isinstance(row["claim"], str):
        cells[0] = row["claim"]
    return cells


def _estimate(row: dict[Any, Any], source: str) -> str:
    value, lower, upper = (row[f"{source}_{name}"] for name in ("estimate", "lower", "upper"))
    # As many digits as the posterior has, and at least one of an interval of its own
    spread = row["posterior_sd"]
    digits = max(decimals(spread), shared_decimals([spread, (upper - lower) / 4]))
    if math.isnan(value) or math.isnan(lower):
        return number(value, digits)
    return f"{number(value, digits)} ({number(lower, digits)}, {number(upper, digits)})"


def _verdict(row: dict[Any, Any]) -> str:
    return coloured(row["verdict"]) if isinstance(row["verdict"], str) else ""


def _side_by_side(
    fit: Fit, outcome: str, rows: Sequence[dict[Any, Any]], sources: Mapping[str, str]
) -> Table:
    shown = outcome_table(fit, outcome, _about(sources))
    for name in sources.values():
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("P(> 0)", justify="right", no_wrap=True)
    if "published" in sources:
        shown.add_column("Verdict")
    for row in rows:
        shown.add_row(
            words(row["quantity"]),
            escape(row["level"]),
            *_cells(row, sources),
            number(row["prob_positive"], 3),
            *([_verdict(row)] if "published" in sources else []),
        )
    return shown


def _one_below_the_other(
    fit: Fit, outcome: str, rows: Sequence[dict[Any, Any]], sources: Mapping[str, str]
) -> Table:
    shown = outcome_table(fit, outcome, _about(sources))
    shown.add_column("Source")
    shown.add_column("Estimate (interval)", justify="right", no_wrap=True)
    if "published" in sources:
        shown.add_column("Verdict", min_width=VERDICT)
    for row in rows:
        pairs = zip(sources.values(), _cells(row, sources), strict=True)
        filled = [pair for pair in pairs if pair[1]]
        for position, (source, cell) in enumerate(filled):
            first, last = position == 0, position == len(filled) - 1
            shown.add_row(
                words(row["quantity"]) if first else "",
                escape(row["level"]) if first else "",
                source,
                cell,
                *([_verdict(row) if last else ""] if "published" in sources else []),
                end_section=last,
            )
    if needed(shown) > screen.out().width:  # lines are broken between words where that is enough
        shown.columns[0].max_width = len("interaction")
        shown.columns[2].max_width = len("Published")
    return shown


def _about(sources: Mapping[str, str]) -> str:
    return ": published and refitted" if "published" in sources else ": refitted"


def _comparison_legend(
    fit: Fit, table: pd.DataFrame, interval: float, at: float | None, *, published: bool
) -> str:
    from alliance.inference.estimands.compared_at import comparison_places
    from alliance.inference.published.comparison import refit_words

    curved: tuple[str, ...] = ()
    if any(fit.design(outcome).family.link != "identity" for outcome in fit.outcomes):
        curved = (
            "Posterior means over therapists: `alliance predict RUN --average-over trial "
            "--contrasts`.",
        )
    as_printed = " Published numbers as later arm minus earlier arm." if published else ""
    lines = [
        f"Refits and posterior: estimate and {100 * interval:g}% interval.{as_printed} OLS, main "
        "effects: without the interaction.",
        *comparison_places(fit, at),
        *curved,
        *refit_words(table),
    ]
    if published:
        lines += [
            "undetermined: the interval includes zero, or overlaps the published one without "
            "holding its estimate; it shows neither presence nor absence.",
            "Published and posterior intervals of the same patients share their chance: that they "
            "overlap is no sign of agreement.",
            "Each verdict's explanation and source, and all quantities: --format csv.",
        ]
    else:
        lines.append("All quantities: --format csv.")
    if fit.study.simulated and published:
        lines.append(
            "SIMULATED: the verdicts speak of a simulated trial, not of the study's patients."
        )
    return escape("\n".join(lines))


def _print_patients(fit: Fit) -> None:
    """Print how many patients of each outcome are analysed and left out, and for want of what."""
    alliance = fit.study.moderator.name
    told = {
        str(row["outcome"]): patients_in_words(row, alliance) for row in fit.flow.to_dict("records")
    }
    same = len(told) > 1 and len(set(told.values())) == 1
    rows = [("every outcome", next(iter(told.values())))] if same else list(told.items())
    _print_rows("Patients", rows)


def _print_choices(fit: Fit, title: str = "Model") -> None:
    """Print the choices behind a fit, departures from defaults first."""
    from alliance.inference.runs.choices import model_choices

    chosen = model_choices(fit)
    departures = _listed(choice for choice in chosen if not choice.default)
    defaults = _listed(choice for choice in chosen if choice.default)
    rows = [("chosen", departures or "nothing but the defaults"), ("by default", defaults)]
    _print_rows(title, [row for row in rows if row[1]])


def patients_in_words(row: Mapping[Any, Any], alliance: str) -> str:
    """One outcome's flow counts as a sentence or two.

    Parameters
    ----------
    row : mapping
        A row of `data_prep.trial.trial.Trial.flow`.
    alliance : str
        What messages call the moderator.

    Examples
    --------
    >>> patients_in_words({"rows_read": 9, "without_alliance": 2, "analysed": 7}, "alliance")
    '7 of 9 analysed: 7 complete cases, 0 with imputed alliance; left out: 2 without alliance'
    """
    analysed, imputed = int(row["analysed"]), int(row.get("alliance_imputed", 0))
    told = (
        f"{analysed} of {int(row['rows_read'])} analysed: {analysed - imputed} complete cases, "
        f"{imputed} with imputed {alliance}"
    )
    lacking = {
        str(name).removeprefix(REASON): row[name] for name in row if str(name).startswith(REASON)
    }
    named = {"alliance": alliance, "followup": "follow-up"}
    reasons = [
        f"{int(count)} without {named.get(what, what)}" for what, count in lacking.items() if count
    ]
    return f"{told}; left out: {', '.join(reasons)}" if reasons else told


def _listed(chosen: Iterable[Choice]) -> str:
    return "; ".join(map(str, chosen))


def _print_rows(title: str, rows: Sequence[tuple[str, str]]) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in rows:
        grid.add_row(f"  {escape(name)}", escape(text))
    console = screen.out()
    console.print(f"[bold]{title}[/bold]")
    console.print(grid)
