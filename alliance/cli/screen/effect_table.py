"""Effects along the alliance on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.markup import escape

from alliance.cli.screen.narrow import Table, print_fitting, print_whole
from alliance.cli.screen.render import out, outcome_title
from alliance.inference.answers.effects import effects_table
from alliance.inference.digits import decimals, number, shared_decimals

if TYPE_CHECKING:
    from alliance.inference.answers.bands import Region
    from alliance.inference.answers.effects import Effects
    from alliance.inference.runs.fit import Fit

FEWEST_COLUMNS = 4
MARK = "*"  # beside values that are extrapolated
SLOPES_DECIDE = (
    "Whether a contrast changes with the {name} is told by the difference of slopes alone: that it "
    "is clear of zero at some values and not at others, or for one contrast and not for another, "
    "proves nothing."
)


def effects(fit: Fit, answers: Sequence[Effects]) -> None:
    """Print contrasts, expected scores, slopes and regions of every outcome.

    Parameters
    ----------
    fit : Fit
    answers : sequence of Effects
        Of one interval.
    """
    console = out()
    for answer in answers:
        for table in (_contrasts(fit, answer), _scores(fit, answer)):
            print_fitting(console, table, FEWEST_COLUMNS)
        if answer.slopes:
            print_whole(console, _slopes(fit, answer))
        for line in (*region_lines(fit, answer), *_about(fit, answer)):
            console.print(escape(line))
        console.print()
    console.print(escape(_legend(fit, answers)))


def per_cent(interval: float) -> str:
    """A probability as per cent: ``95%``."""
    return f"{100 * interval:g}%"


def chance_columns(answer: Effects) -> dict[str, str]:
    """Columns of probabilities that were asked for, with their headings."""
    columns = {"prob_better": "P(better)"}
    if answer.thresholds.better_by is not None:
        columns["prob_better_by"] = f"P(by {answer.thresholds.better_by:g})"
    if answer.thresholds.equivalence is not None:
        low, high = answer.thresholds.equivalence
        columns["prob_equivalent"] = f"P({low:g} to {high:g})"
    return columns


def at_value(value: float, extrapolated: bool) -> str:
    """A value of the alliance, marked where it is extrapolated."""
    return f"{value:.5g}{MARK if extrapolated else ''}"


def span(row: dict[Any, Any], lower: str, upper: str, digits: int) -> str:
    """Two ends as ``0.2 to 1.4``."""
    return f"{number(row[lower], digits)} to {number(row[upper], digits)}"


def _sections(answer: Effects, quantity: str) -> list[list[dict[Any, Any]]]:
    """Rows of a quantity, level by level."""
    table = effects_table(answer, every=False)
    part = table[table["quantity"] == quantity]
    return [rows.to_dict("records") for _, rows in part.groupby("level", sort=False)]


def place(rows: Sequence[dict[Any, Any]], k: int) -> str:
    """The level of a section's first row; nothing for the others."""
    return escape(rows[k]["level"]) if k == 0 else ""


def _contrasts(fit: Fit, answer: Effects) -> Table:
    share = per_cent(answer.interval)
    chances = chance_columns(answer)
    table = Table(title=outcome_title(fit, answer.outcome), title_justify="left")
    table.add_column("Contrast")
    headings = [fit.study.moderator.name, "Mean", *chances.values(), f"{share} interval"]
    for name in (*headings, f"{share} band"):
        table.add_column(escape(name), justify="right", no_wrap=True)
    for rows in _sections(answer, "arm_contrast"):
        digits = shared_decimals(row["sd"] for row in rows)
        for k, row in enumerate(rows):
            table.add_row(
                place(rows, k),
                at_value(row["moderator"], row["extrapolated"]),
                number(row["mean"], digits),
                *(number(row[name], 3) for name in chances),
                span(row, "lower", "upper", digits),
                span(row, "band_lower", "band_upper", digits),
                end_section=k + 1 == len(rows),
            )
    return table


def _scores(fit: Fit, answer: Effects) -> Table:
    share = per_cent(answer.interval)
    table = Table(title=f"{escape(answer.outcome)}: expected score by arm", title_justify="left")
    table.add_column("Arm")
    headings = (fit.study.moderator.name, "Mean", "P(best)", f"{share} interval", f"{share} band")
    for name in headings:
        table.add_column(escape(name), justify="right", no_wrap=True)
    for rows in _sections(answer, "expected_score"):
        digits = shared_decimals(row["sd"] for row in rows)
        for k, row in enumerate(rows):
            table.add_row(
                place(rows, k),
                at_value(row["moderator"], row["extrapolated"]),
                number(row["mean"], digits),
                number(row["prob_best"], 3),
                span(row, "lower", "upper", digits),
                span(row, "band_lower", "band_upper", digits),
                end_section=k + 1 == len(rows),
            )
    return table


def _slopes(fit: Fit, answer: Effects) -> Table:
    table = Table(title=f"{escape(answer.outcome)}: difference of slopes", title_justify="left")
    table.add_column("Contrast")
    share = per_cent(answer.interval)
    for name in (f"For one point of {fit.study.moderator.name}", f"{share} interval", "P(> 0)"):
        table.add_column(escape(name), justify="right", no_wrap=True)
    for (row,) in _sections(answer, "interaction"):
        digits = decimals(row["sd"], row["mean"])
        table.add_row(
            escape(row["level"]),
            number(row["mean"], digits),
            span(row, "lower", "upper", digits),
            number(row["prob_positive"], 3),
        )
    return table


def region_lines(fit: Fit, answer: Effects) -> list[str]:
    """Sentences about where the simultaneous band of each contrast excludes zero.

    Parameters
    ----------
    fit : Fit
    answer : Effects
    """
    lines = [f"Where the {per_cent(answer.interval)} band over all values excludes zero:"]
    low, high = answer.curves.moderator[[0, -1]]
    for which in answer.contrasts:
        regions = answer.regions(which.level)
        told = "; ".join(_region(fit, answer, which.level, region) for region in regions)
        nowhere = f"nowhere from {low:g} to {high:g}, which does not show that there is no effect"
        lines.append(f"  {which.level}: {told or nowhere}.")
    return lines


def _region(fit: Fit, answer: Effects, level: str, region: Region) -> str:
    which = next(each for each in answer.contrasts if each.level == level)
    better = which.first if region.sign == answer.curves.direction else which.second
    low, high = answer.observed
    mark = " (partly extrapolated)" if region.start < low or region.end > high else ""
    ends = answer.curves.moderator[[0, -1]]
    start, end = (
        f"{value:g}" if value in ends else f"{value:.3g}" for value in (region.start, region.end)
    )
    name = fit.study.moderator.name
    return f"{name} {start} to {end}{mark}, {answer.curves.arms[better]} better"


def _about(fit: Fit, answer: Effects) -> list[str]:
    """What the answers about one outcome rest on."""
    lines = []
    name = fit.study.moderator.name
    if answer.slopes:
        lines.append(SLOPES_DECIDE.format(name=name))
    else:
        lines.append("The model has no interaction: the slopes of all arms are the same.")
    spec = fit.specs[answer.outcome].moderator
    if spec.structure == "within_between":
        average = f" whose patients have the average {name}" * (answer.therapist == "average")
        lines.append(f"Patients along the {name} differ within one therapist{average}.")
    if spec.reliability is not None or spec.ceiling is not None:
        lines.append(f"Values of the {name} are true ones, not ratings.")
    return lines


def _therapist(therapist: str) -> str:
    articles = {
        "average": "an average therapist",
        "new": "a therapist drawn anew for each draw",
    }
    return articles.get(therapist, f"the therapist {therapist}")


def _legend(fit: Fit, answers: Sequence[Effects]) -> str:
    first = answers[0]
    moderator = fit.study.moderator
    arms = ", ".join(f"{code} = {label}" for code, label in fit.study.arms.items())
    outside = np.any([answer.extrapolated.any() for answer in answers])
    by = any(answer.thresholds.better_by is not None for answer in answers)
    rope = any(answer.thresholds.equivalence is not None for answer in answers)
    low, high = first.observed
    lines = [
        "Contrasts: first arm minus second, in points of the outcome. P(better): the first arm is "
        "better than the second" + ("; P(by x): by x points or more." if by else "."),
        "P(low to high): the contrast lies in the region of practical equivalence." if rope else "",
        f"Source of thresholds and regions: {first.thresholds.source}."
        if first.thresholds.source
        else "",
        f"Averaged over the analysed patients, all imagined with that value of {moderator.label}, "
        f"with {_therapist(first.therapist)}.",
        f"Equal-tailed intervals hold for each value by itself, and the whole curve lies within "
        f"them less often than {per_cent(first.interval)}; bands hold for all values from "
        f"{first.curves.moderator[0]:g} to {first.curves.moderator[-1]:g} at once.",
        f"{MARK} extrapolated: ratings were from {low:g} to {high:g}." if outside else "",
        f"Arms: {arms}.",
    ]
    return "\n".join(line for line in lines if line)
