"""Predictions and averages on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.markup import escape

from alliance.cli.screen.narrow import Table, print_fitting
from alliance.cli.screen.render import out, outcome_title
from alliance.inference.answers.predictions import unseen_columns
from alliance.inference.digits import decimals, interval_decimals, number, short
from alliance.inference.ranges import beyond

if TYPE_CHECKING:
    from alliance.inference.answers.averages import Averages
    from alliance.inference.answers.predictions import Predictions
    from alliance.inference.runs.fit import Fit

FEWEST_COLUMNS = 4
MARK = "*"  # beside a value that is extrapolated
Row = dict[Any, Any]
Unseen = dict[str, tuple[float, float]]

THERAPISTS = {
    "new": "a new therapist, drawn for each draw of the posterior",
    "average": "an average therapist, whose effects are zero",
}
AVERAGED = {
    "new": "the mean over new therapists",
    "known": "the mean over the trial's therapists, each counted once",
    "own": "each patient's own therapist",
    "average": "an average therapist, whose effects are zero",
}


def predictions(fit: Fit, answer: Predictions, *, contrasts: bool, of_file: bool) -> None:
    """Print predictions, and the arms compared if that was asked for.

    Parameters
    ----------
    fit : Fit
    answer : Predictions
    contrasts : bool
        Whether the comparison is shown too.
    of_file : bool
        Whether patients came from a file, and are told apart by their names.
    """
    console = out()
    print_fitting(console, _prediction_table(fit, answer, of_file), FEWEST_COLUMNS)
    if contrasts and answer.contrasts is not None:
        shown = _contrast_table(fit, answer, answer.contrasts, of_file)
        print_fitting(console, shown, FEWEST_COLUMNS)
    for line in _legend(fit, answer, contrasts=contrasts):
        console.print(escape(line))
    console.print()


def averages(fit: Fit, answer: Averages, *, contrasts: bool, whom: str) -> None:
    """Print averages, and the arms compared if that was asked for.

    Parameters
    ----------
    fit : Fit
    answer : Averages
    contrasts : bool
        Whether the comparison is shown too.
    whom : str
        What the patients are that are averaged over.
    """
    console = out()
    shown = _average_table(fit, answer, answer.table, "arm", ": averages")
    print_fitting(console, shown, FEWEST_COLUMNS)
    if contrasts and len(answer.contrasts):
        about = ": averages, arms compared"
        shown = _average_table(fit, answer, answer.contrasts, "contrast", about)
        print_fitting(console, shown, FEWEST_COLUMNS)
    first = answer.table.iloc[0]
    therapist = str(first["therapist"])
    lines = [
        f"Averages over {first['patients']} {whom}, each imagined in every arm. "
        f"Therapists: {AVERAGED.get(therapist, therapist)}.",
        f"{_percent(answer.interval)} equal-tailed intervals.",
    ]
    if first["moderator"] != first["moderator"]:  # NaN: nobody's alliance was set
        lines.append(f"Every patient has the {fit.study.moderator.name} of their own.")
    lines += [answer.counted.steps] if answer.counted.steps else []
    lines += _marked(fit, answer.outcome, answer.table)
    for line in lines:
        console.print(escape(line))
    console.print()


def _percent(interval: float) -> str:
    return f"{100 * interval:g}%"


def _table(title: str, heads: Sequence[str], numbers: Sequence[str]) -> Table:
    shown = Table(title=title, title_justify="left")
    for name in heads:
        shown.add_column(escape(name))
    for name in numbers:
        shown.add_column(escape(name), justify="right", no_wrap=True)
    return shown


def _heads(fit: Fit, table: pd.DataFrame, first: str, of_file: bool) -> dict[str, str]:
    """Columns that tell the rows apart, with their headings; what never differs is left out."""
    heads = {"patient": "Patient"} if of_file else {}
    heads[first] = first.capitalize()
    heads["moderator"] = fit.study.moderator.name.capitalize()
    for name in table.columns[: table.columns.get_loc("extrapolated")]:
        if name not in ("outcome", "patient", *heads) and _differs(table[name]):
            heads[name] = name.capitalize() if name in ("baseline", "therapist") else name
    return heads


def _differs(values: pd.Series) -> bool:
    return bool((values != values.iloc[0]).any())


def _head_cells(row: Row, heads: dict[str, str], unseen: Unseen) -> list[str]:
    cells = []
    for name in heads:
        value = row[name]
        if not isinstance(value, str):
            value = "own" if value != value else short(value)
        if name in unseen and beyond([row[name]], unseen[name])[0]:
            value += MARK
        cells.append(escape(value))
    return cells


def _chances(table: pd.DataFrame, better: str) -> dict[str, str]:
    """Columns of chances of reaching thresholds, with their headings."""
    heads = {}
    signs = {"at_least": ">=", "at_most": "<="}
    for name, sign in signs.items():
        if name in table:
            heads[f"prob_{name}"] = f"P({sign} {table[name].iloc[0]:g})"
    if "change" in table:
        sign = "+" if better == "higher" else "-"
        heads["prob_change"] = f"P(change {sign}{table['change'].iloc[0]:g})"
    return heads


def _decimals(table: pd.DataFrame) -> int:
    """Decimals of scores below one another: two digits of the surest."""
    return decimals(float(table["expected_sd"].min()), float(table["expected"].iloc[0]))


def _span(row: Row, name: str, digits: int) -> str:
    return f"{number(row[f'{name}_lower'], digits)} to {number(row[f'{name}_upper'], digits)}"


def _prediction_table(fit: Fit, answer: Predictions, of_file: bool) -> Table:
    table = answer.table
    heads = _heads(fit, table, "arm", of_file)
    chances = _chances(table, fit.study.outcomes[answer.outcome].better)
    level = _percent(answer.interval)
    shown = _table(
        f"{outcome_title(fit, answer.outcome)}: predictions",
        list(heads.values()),
        ["Expected", level, *chances.values(), f"Outcome, {level}"],
    )
    unseen = _unseen(fit, answer.outcome, table)
    digits = _decimals(table)
    for row, last in _rows(table, "arm"):
        shown.add_row(
            *_head_cells(row, heads, unseen),
            number(row["expected"], digits),
            _span(row, "expected", digits),
            *(number(row[name], 3) for name in chances),
            _span(row, "outcome", digits),
            end_section=last,
        )
    return shown


def _contrast_table(fit: Fit, answer: Predictions, table: pd.DataFrame, of_file: bool) -> Table:
    heads = _heads(fit, table, "contrast", of_file)
    level = _percent(answer.interval)
    chances = {"prob_better": "P(better)"}
    if "better_by" in table:
        by = f"{table['better_by'].iloc[0]:g}"
        chances["prob_better_by"] = f"P(by {by})"
    chances["prob_outcome_better"] = "Outcome: P(better)"
    if "better_by" in table:
        chances["prob_outcome_better_by"] = f"P(by {by})"
    shown = _table(
        f"{outcome_title(fit, answer.outcome)}: arms compared for the same patient",
        list(heads.values()),
        ["Difference", level, *chances.values()],
    )
    unseen = _unseen(fit, answer.outcome, table)
    digits = _decimals(table)
    for row, last in _rows(table, "contrast"):
        shown.add_row(
            *_head_cells(row, heads, unseen),
            number(row["expected"], digits),
            _span(row, "expected", digits),
            *(number(row[name], 3) for name in chances),
            end_section=last,
        )
    return shown


def _average_table(
    fit: Fit, answer: Averages, table: pd.DataFrame, first: str, about: str
) -> Table:
    heads = {first: first.capitalize(), "moderator": fit.study.moderator.name.capitalize()}
    chances = _chances(table, fit.study.outcomes[answer.outcome].better)
    level = _percent(answer.interval)
    numbers = ["Expected" if first == "arm" else "Difference", level]
    for name in chances.values():
        numbers += [f"Share {name[2:-1]}", level]
    if "prob_better" in table:
        numbers.append("P(better)")
    if "prob_better_by" in table:
        numbers.append(f"P(by {table['better_by'].iloc[0]:g})")
    shown = _table(f"{outcome_title(fit, answer.outcome)}{about}", list(heads.values()), numbers)
    unseen = _unseen(fit, answer.outcome, table)
    digits = _decimals(table)
    for row, last in _rows(table, first):
        cells = [number(row["expected"], digits), _span(row, "expected", digits)]
        for name in chances:
            lower, upper = row[f"{name}_lower"], row[f"{name}_upper"]
            own = max(3, interval_decimals(lower, upper))
            cells += [number(row[name], own), _span(row, name, own)]
        if "prob_better" in row:
            cells.append(number(row["prob_better"], 3))
        if "prob_better_by" in row:
            cells.append(number(row["prob_better_by"], 3))
        shown.add_row(*_head_cells(row, heads, unseen), *cells, end_section=last)
    return shown


def _rows(table: pd.DataFrame, first: str) -> list[tuple[Row, bool]]:
    """Rows, and whether each is the last of its patient: the arms then begin anew."""
    rows = table.to_dict("records")
    starts = table[first].iloc[0]
    return [(row, k + 1 == len(rows) or rows[k + 1][first] == starts) for k, row in enumerate(rows)]


def _legend(fit: Fit, answer: Predictions, *, contrasts: bool) -> list[str]:
    table = answer.table
    whose = table["therapist"].unique()
    if len(whose) == 1:
        therapist = THERAPISTS.get(whose[0], f"therapist {whose[0]}")
    else:
        therapist = "the therapists named; patients of one new therapist share that one's draw"
    lines = [
        f"Expected: the mean outcome of such patients with {therapist}. Outcome: that of a single "
        f"patient. {_percent(answer.interval)} equal-tailed intervals."
    ]
    unseen = _unseen(fit, answer.outcome, table)
    fixed = [
        f"{name} {short(table[name].iloc[0])}{MARK * (name in unseen)}"
        for name in table.columns[: table.columns.get_loc("therapist")]
        if name not in ("outcome", "patient", "arm", "moderator") and not _differs(table[name])
    ]
    if fixed:
        lines.append(f"The same in all rows: {', '.join(fixed)}.")
    if contrasts:
        better = fit.study.outcomes[answer.outcome].better
        lines.append(
            "Arms are compared for the same patient: the same therapist effects and the same "
            "residual rank (no trial can show that a patient keeps it; expected scores do not "
            f"depend on it). Better is {better}; a tie is not better."
        )
    lines += [answer.counted.steps] if answer.counted.steps else []
    low, high = fit.study.outcomes[answer.outcome].range
    if table["outcome_lower"].min() < low or table["outcome_upper"].max() > high:
        lines.append(
            f"The family fitted ({fit.specs[answer.outcome].family}) knows no ends of the scale, "
            "and some intervals of outcomes pass them."
        )
    return lines + _marked(fit, answer.outcome, table)


def _unseen(fit: Fit, outcome: str, table: pd.DataFrame) -> Unseen:
    return unseen_columns(fit.design(outcome), table) if table["extrapolated"].any() else {}


def _marked(fit: Fit, outcome: str, table: pd.DataFrame) -> list[str]:
    """What the marks mean; averages do not show whose baseline or covariate it is."""
    if not table["extrapolated"].any():
        return []
    names = {"moderator": fit.study.moderator.label}
    told = [
        f"{names.get(name, name)} ({low:g} to {high:g})"
        for name, (low, high) in _unseen(fit, outcome, table).items()
    ]
    what = ", ".join(told) or "the baseline or a covariate of some patients"
    return [f"{MARK} Extrapolated, outside the range observed among the analysed patients: {what}."]
