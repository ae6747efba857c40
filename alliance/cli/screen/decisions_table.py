"""Answers to named thresholds on the screen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.markup import escape

from alliance.cli.screen.effect_table import (
    FEWEST_COLUMNS,
    MARK,
    at_value,
    per_cent,
    place,
    span,
)
from alliance.cli.screen.narrow import Table, print_fitting
from alliance.cli.screen.render import out, outcome_title
from alliance.inference.digits import interval_decimals, number, shared_decimals

if TYPE_CHECKING:
    from alliance.inference.answers.decisions import Decisions
    from alliance.inference.runs.fit import Fit

OWN = "own"  # patients at their own alliance
CAUSAL = (
    "The lift reads the association of {name} and outcome as causal: as if nothing else differed "
    "between patients with a higher and a lower {name}. The trial did not allot it."
)


def decisions(fit: Fit, answers: Sequence[Decisions], *, interval: float) -> None:
    """Print effects, shares and lifts of every outcome.

    Parameters
    ----------
    fit : Fit
    answers : sequence of Decisions
    interval : float
        Probability of their intervals.
    """
    console = out()
    share = per_cent(interval)
    for answer in answers:
        for table in _tables(fit, answer, share):
            print_fitting(console, table, FEWEST_COLUMNS)
        console.print()
    console.print(escape(_legend(fit, answers)))


def notes(fit: Fit, answers: Sequence[Decisions]) -> list[str]:
    """What must be known beside the numbers.

    Parameters
    ----------
    fit : Fit
    answers : sequence of Decisions
    """
    found = []
    name = fit.study.moderator.name
    for answer in answers:
        asked = answer.table["threshold"].notna().any()
        if asked and not answer.improvement:
            found.append(
                f"{answer.outcome} has no baseline: the share who improve cannot be told; --reach "
                "SCORE gives the share who reach a score."
            )
        found += answer.counted.ends
        if answer.raised is None:
            continue
        lift = answer.raised
        end = "high" if lift.points > 0 else "low"
        found.append(
            f"{answer.outcome}: lifted values stop at {lift.limit:g}, so that {lift.capped:.0f} of "
            f"{lift.patients} patients do not get the whole {lift.points:g} points"
            + (
                f"; {lift.extrapolated:.0f} are lifted beyond the observed {end}est {name}."
                if lift.extrapolated
                else "."
            )
        )
    if any(answer.raised is not None for answer in answers):
        found.append(CAUSAL.format(name=name))
    return found


def _tables(fit: Fit, answer: Decisions, share: str) -> list[Table]:
    table = answer.table
    found = [_effects(fit, table[table["quantity"] == "arm_contrast"], share, answer.outcome)]
    for quantity in ("share_improved", "share_reaching"):
        part = table[table["quantity"].isin([quantity, f"{quantity}_contrast"])]
        if len(part):
            found.append(_shares(fit, part, share, answer.outcome))
    lifts = table[table["lift"].notna()]
    if len(lifts):
        found.append(_lifts(fit, lifts, share, answer.outcome))
    return found


def _chances(part: pd.DataFrame) -> dict[str, str]:
    first = part.iloc[0]
    columns = {"prob_better": "P(better)"}
    if pd.notna(first["threshold"]):
        columns["prob_better_by"] = f"P(by {first['threshold']:g})"
    if pd.notna(first["rope_low"]):
        columns["prob_equivalent"] = f"P({first['rope_low']:g} to {first['rope_high']:g})"
    return columns


def _empty(title: str, first: str, headings: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for name in headings:
        table.add_column(escape(name), justify="right", no_wrap=True)
    return table


def _at(row: dict[Any, Any]) -> str:
    value = row["moderator"]
    return OWN if math.isnan(value) else at_value(value, row["extrapolated"])


def _effects(fit: Fit, part: pd.DataFrame, share: str, outcome: str) -> Table:
    chances = _chances(part)
    headings = [fit.study.moderator.name, "Mean", f"{share} interval", *chances.values()]
    table = _empty(outcome_title(fit, outcome), "Contrast", headings)
    for _, section in part.groupby("level", sort=False):
        rows = section.to_dict("records")
        digits = shared_decimals(row["sd"] for row in rows)
        for k, row in enumerate(rows):
            table.add_row(
                place(rows, k),
                _at(row),
                number(row["mean"], digits),
                span(row, "lower", "upper", digits),
                *(number(row[name], 3) for name in chances),
                end_section=k + 1 == len(rows),
            )
    return table


def _shares(fit: Fit, part: pd.DataFrame, share: str, outcome: str) -> Table:
    first = part.iloc[0]
    if pd.notna(first["threshold"]):
        words = f"share who improve by {first['threshold']:g} points or more"
    else:
        words = f"share with a score of {first['reach']:g} or better"
    headings = [fit.study.moderator.name, "Share", f"{share} interval", "P(better)"]
    table = _empty(f"{escape(outcome)}: {words}", "Arm, contrast", headings)
    for _, section in part.groupby(["quantity", "level"], sort=False):
        rows = section.to_dict("records")
        for k, row in enumerate(rows):
            digits = max(2, interval_decimals(row["lower"], row["upper"]))
            table.add_row(
                place(rows, k),
                _at(row),
                number(row["mean"], digits),
                span(row, "lower", "upper", digits),
                number(row["prob_better"], 3),
                end_section=k + 1 == len(rows),
            )
    return table


def _lifts(fit: Fit, part: pd.DataFrame, share: str, outcome: str) -> Table:
    chances = _chances(part)
    points = part.iloc[0]["lift"]
    words = f"change of the expected score, {fit.study.moderator.name} lifted by {points:g} points"
    headings = ["Mean", f"{share} interval", *chances.values()]
    table = _empty(f"{escape(outcome)}: {escape(words)}", "Arm", headings)
    own = part["quantity"] == "lift"
    for section in (part[own], part[~own]):
        rows = section.to_dict("records")
        for k, row in enumerate(rows):
            digits = shared_decimals(row["sd"] for row in rows)
            means = "" if row["quantity"] == "lift" else ", therapist means too"
            table.add_row(
                escape(f"{row['level']}{means}"),
                number(row["mean"], digits),
                span(row, "lower", "upper", digits),
                *(number(row[name], 3) for name in chances),
                end_section=k + 1 == len(rows),
            )
    return table


def _legend(fit: Fit, answers: Sequence[Decisions]) -> str:
    tables = pd.concat([answer.table for answer in answers])
    quantities = set(tables["quantity"])
    sources = tables["source"].dropna().to_list()
    shares = any(name.startswith("share") for name in quantities)
    name = fit.study.moderator.name
    arms = ", ".join(f"{code} = {label}" for code, label in fit.study.arms.items())
    lines = [
        "Contrasts: first arm minus second. P(better): the first arm is better than the second"
        + ("; P(by x): by x points or more." if tables["threshold"].notna().any() else "."),
        f"Source of thresholds and regions: {sources[0]}." if len(sources) else "",
        f"Averaged over the analysed patients, imagined in each arm, at their own {name} ({OWN}) "
        f"or all at one value; an average therapist's patients.",
        "Shares: of the patients of a therapist drawn anew; the interval holds what differs "
        "between therapists, and not the chance of small numbers."
        if shares
        else "",
        *(answer.counted.steps for answer in answers),
        "Lift: P(better) is the chance that the change is for the better; as treated: every "
        "patient in the arm of the trial."
        if "lift" in quantities
        else "",
        f"therapist means too: their therapists' mean {name} is lifted with the patients' own."
        if "lift_with_therapist_means" in quantities
        else "",
        f"{MARK} extrapolated." if tables["extrapolated"].any() else "",
        f"Arms: {arms}.",
    ]
    return "\n".join(line for line in lines if line)
