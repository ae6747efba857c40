"""How tables and messages look: data on standard output, everything else on standard error."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.markup import escape

from alliance.cli.files import asked
from alliance.cli.screen.arguments import Screen, as_options
from alliance.cli.screen.narrow import Table, needed, print_whole
from alliance.data_prep.errors import UNSEEN, DataError
from alliance.data_prep.files import csv_text
from alliance.data_prep.study.description import Study
from alliance.inference.digits import decimals, figures, number
from alliance.models.spec import JOINT

if TYPE_CHECKING:
    from alliance.diagnostics.gate.gate import GateReport
    from alliance.inference.runs.fit import Fit

WIDE = 170  # columns where standard output is not a terminal and nobody said how wide it is
PROSE = {"message", "recommendation", "rule", "remedy", "reason"}  # columns that hold sentences
FEWEST_COLUMNS = 3  # mean, SD and interval are shown on however narrow a terminal
COLOURS = {
    "PASS": "green",
    "REVIEW": "yellow",
    "FAIL": "bold red",
    "supported": "green",
    "agrees": "green",
    "supported (practically equivalent)": "green",
    "undetermined": "yellow",
    "not supported": "magenta",
    "contradicted": "red",
    "differs": "red",
}


def out() -> Screen:
    """Standard output as rich sees it; wide where it is not a terminal."""
    if sys.stdout.isatty():
        return Screen(emoji=False)
    columns = os.environ.get("COLUMNS", "")
    return Screen(emoji=False, width=int(columns) if columns.isdecimal() and int(columns) else WIDE)


def _err() -> Screen:
    return Screen(emoji=False, stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Tell how things go."""
    _err().print(escape(text))


def note(text: str) -> None:
    """Tell what a user should know though it is no error."""
    _err().print(f"[yellow]Note:[/yellow] {escape(text)}")


def save(drawn: Any, path: Path) -> None:
    """Write a figure, and say so; once for a figure, which characters no installed font has.

    Parameters
    ----------
    drawn : matplotlib.figure.Figure
    path : Path
    """
    from alliance.diagnostics.figures.comparison_figure import save_figure

    missing = save_figure(drawn, path, overwrite=asked("overwrite"))
    if missing:
        note(f"No installed font has {' '.join(missing)}: drawn as boxes. Install one that has.")
    say(f"Written: {path}")


def error(text: str) -> None:
    """Tell what is wrong."""
    _err().print(f"[bold red]Error:[/bold red] {escape(text.strip())}")


def problems(found: DataError) -> None:
    """Tell every problem of a data file, as a table."""
    table = Table(title=f"{len(found.problems)} problem(s) in the data", title_justify="left")
    for name in ("File", "Row", "Column", "Value", "Rule", "What to do"):
        table.add_column(name, overflow="fold")
    for problem in found.shown:
        cells = (problem.file, problem.row, problem.column, problem.value)
        table.add_row(
            *("" if cell is None else escape(str(cell)) for cell in cells),
            escape(problem.rule),
            escape(problem.remedy),
        )
    console = (
        Screen(emoji=False, stderr=True)
        if sys.stderr.isatty()
        else Screen(emoji=False, stderr=True, width=WIDE)
    )
    console.print(table)
    hidden = len(found.problems) - len(found.shown)
    if hidden:
        console.print(f"... and {hidden} more: `alliance check STUDY DATA --format csv` lists all.")


def frame(table: pd.DataFrame, table_format: str, *, simulated: bool = False) -> None:
    """Print a table for a machine, as CSV or JSON records; missing numbers are empty or null."""
    if simulated:
        table = table.assign(data="SIMULATED")
    prose = {name: table[name].map(as_options, na_action="ignore") for name in PROSE & set(table)}
    table = table.assign(**prose)
    if table_format == "csv":
        text = csv_text(table)
    else:
        finite = table.replace([math.inf, -math.inf], math.nan)  # strict JSON knows neither
        records = table.astype(object).where(finite.notna(), None).to_dict("records")
        text = UNSEEN.sub(_as_json, json.dumps(records, indent=2, ensure_ascii=False)) + "\n"
    sys.stdout.write(text)


def _as_json(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def marked_title(simulated: bool, text: str) -> str:
    """A table's title; of simulated data it says so."""
    mark = "[reverse] SIMULATED DATA [/reverse] " if simulated else ""
    return f"{mark}[bold]{escape(text)}[/bold]"


def outcome_title(fit: Fit, outcome: str) -> str:
    """What a table of one outcome is headed with: its label, scale and number of patients."""
    if outcome == JOINT:
        text = (
            f"{outcome}: shared by the outcomes, {_patients(fit, outcome)} patients; slopes in SDs "
            "of benefit for one SD of the alliance, correlations of the scores as they are"
        )
        return marked_title(fit.study.simulated, text)
    described = fit.study.outcomes[outcome]
    low, high = described.range
    text = (
        f"{outcome}: {described.label} ({figures(low)} to {figures(high)}, {described.better} is "
        "better), "
        f"{_patients(fit, outcome)} patients"
    )
    return marked_title(fit.study.simulated, text)


def outcome_table(fit: Fit, outcome: str, about: str = "") -> Table:
    """An empty table about one outcome, with the columns that name a quantity."""
    title = f"{outcome_title(fit, outcome)}{about}"
    shown = Table(title=title, title_justify="left")
    shown.add_column("Quantity")
    shown.add_column("Level")
    return shown


def _patients(fit: Fit, outcome: str) -> int:
    if outcome == JOINT:
        return int(fit.manifest[JOINT]["patients"])
    counts = dict(zip(fit.flow["outcome"], fit.flow["analysed"], strict=True))
    return int(counts[outcome])


def words(quantity: str) -> str:
    """A quantity's name as words."""
    return quantity.replace("_", " ")


def coloured(word: str) -> str:
    """A verdict in its colour."""
    colour = COLOURS.get(word)
    return f"[{colour}]{word}[/{colour}]" if colour else word


def summary(
    fit: Fit,
    table: pd.DataFrame,
    table_format: str,
    *,
    interval: float,
    per_sd: bool = False,
    at: float | None = None,
) -> None:
    """Print the tidy table, by outcome, with the prior of each quantity beside it."""
    if table_format != "table":
        frame(table, table_format, simulated=fit.study.simulated)
        return
    priors = {
        (row["outcome"], row["quantity"], row["level"]): row
        for row in fit.priors(per_sd=per_sd, at=at, extrapolate=True).to_dict("records")
    }
    console = out()
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
    console.print(_legend(fit, per_sd, at))
    if kept < len(columns):
        left_out = ", ".join(columns[kept:])
        console.print(f"No room here for: {left_out}. See --format csv, and --priors.")


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


def _legend(fit: Fit, per_sd: bool, at: float | None) -> str:
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


def priors(
    fit: Fit, table: pd.DataFrame, table_format: str, *, per_sd: bool, at: float | None = None
) -> None:
    """Print the priors on the outcome's scale."""
    if table_format != "table":
        frame(table, table_format, simulated=fit.study.simulated)
        return
    console = out()
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
    console.print(_legend(fit, per_sd, at))


def gate(fit: Fit, reports: Sequence[GateReport], table_format: str) -> None:
    """Print every check of every outcome."""
    if table_format != "table":
        table = pd.concat([report.table() for report in reports], ignore_index=True)
        frame(table, table_format, simulated=fit.study.simulated)
        return
    console = out()
    for report in reports:
        title = f"{outcome_title(fit, report.outcome)}: {coloured(str(report.verdict))}"
        model_first = next(iter(report.model), None)
        shown = Table(title=title, title_justify="left")
        shown.add_column("Check")
        shown.add_column("Verdict")
        shown.add_column("Value", justify="right")
        shown.add_column("What was found")
        for result in report.all_results:
            if result is model_first:
                shown.add_section()
            shown.add_row(
                result.check,
                coloured(str(result.verdict)),
                "" if result.value is None else f"{result.value:.4g}",
                escape(result.message),
            )
        console.print(shown)
        advice: dict[str, list[str]] = {}  # what is to be done, with the checks that say so
        for result in report.all_results:
            if result.recommendation:
                advice.setdefault(result.recommendation, []).append(result.check)
        for text, checks in advice.items():
            console.print(f"What to do ({escape(', '.join(checks))}): {escape(text)}")


def gate_overview(fit: Fit, reports: Sequence[GateReport], table_format: str) -> None:
    """Print the gate's verdict on each outcome, with the numbers it rests on."""
    rows = []
    for report in reports:
        values = {result.check: result.value for result in report.results}
        seconds = fit.manifest["seconds"].get(report.outcome, {})  # none within a joint model
        rows.append(
            {
                "outcome": report.outcome,
                "analysed": _patients(fit, report.outcome),
                "gate": str(report.verdict),
                "draws": str(report.draws_verdict),
                "reviews": "; ".join(report.reviews),
                "r_hat": values["r_hat"],
                "ess_bulk": values["ess_bulk"],
                "ess_tail": values["ess_tail"],
                "divergences": values["divergences"],
                "seconds_sampling": seconds.get("sampling"),
                "seconds_compilation": seconds.get("compilation"),
            }
        )
    table = pd.DataFrame(rows)
    if table_format != "table":
        frame(table, table_format, simulated=fit.study.simulated)
        return
    shown = Table(title=marked_title(fit.study.simulated, "Gate"), title_justify="left")
    shown.add_column("Outcome")
    for name in ("Patients", "Draws", "Largest R-hat", "Least bulk ESS", "Least tail ESS"):
        shown.add_column(name, justify="right")
    shown.add_column("Sampling", justify="right")
    if table["reviews"].any():
        shown.add_column("Asks for a REVIEW")
    # What could not be computed, because draws are not finite, is None.
    for row in table.astype(dict.fromkeys(("r_hat", "ess_bulk", "ess_tail"), float)).to_dict(
        "records"
    ):
        shown.add_row(
            row["outcome"],
            str(row["analysed"]),
            coloured(row["draws"]),
            number(row["r_hat"], 3),
            number(row["ess_bulk"], 0),
            number(row["ess_tail"], 0),
            "" if pd.isna(row["seconds_sampling"]) else f"{row['seconds_sampling']:.2f} s",
            *([words(row["reviews"])] if table["reviews"].any() else []),
        )
    out().print(shown)
    if table["reviews"].any():
        out().print("REVIEW: what was found and what to do: `alliance diagnose RUN`.")


def flow(study: Study, table: pd.DataFrame, table_format: str) -> None:
    """Print the flow counts."""
    if table_format != "table":
        frame(table, table_format, simulated=study.simulated)
        return
    shown = Table(title=marked_title(study.simulated, study.title), title_justify="left")
    shown.add_column("Patients")
    for outcome in table["outcome"]:
        shown.add_column(escape(outcome), justify="right")
    for name in table.columns.drop("outcome"):
        shown.add_row(words(name), *map(str, table[name]), end_section=name == "without_followup")
    out().print(shown)
