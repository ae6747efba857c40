"""Several trials: who is in them, each beside the average and a new one, and one left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from alliance.diagnostics import words
from alliance.diagnostics.sheet import Cell, Row, Sheet
from alliance.inference.digits import decimals, number, shared_decimals
from alliance.inference.estimands.between_trials import ACROSS, SPREADS
from alliance.inference.runs.fit import Fit
from alliance.inference.trials.asked import SeveralTrials
from alliance.inference.trials.views import AVERAGE_TRIAL, NEW_TRIAL

LEGEND = (
    "Trial arm SD, trial interaction SD: SDs between trials of the difference of two arms, and of "
    "their slopes; trial slope SD: of the average slope. Interaction across: how an arm contrast "
    "goes with the trials' mean {moderator}; it compares trials, which differ in more than that, "
    "and is no evidence on patients. Slopes and interactions are of patients within trials."
)
EACH = (
    "Trials are drawn towards the average trial as far as they tell little. Contrasts of a trial "
    "are at its own mean {moderator}, of the average and a new one at that of all patients. A new "
    "trial is drawn from the distribution of the trials: its interval is that of what another "
    "trial would find were it large."
)


def sheets(fit: Fit, found: SeveralTrials, *, interval: float) -> list[Sheet]:
    """All tables of several trials, outcome by outcome.

    Parameters
    ----------
    fit : Fit
    found : SeveralTrials
    interval : float
    """
    made: list[Sheet | None] = []
    for name in found.each:
        made += [
            who(fit, found.who[name]),
            each(fit, found.each[name], interval=interval),
            between(fit, found.between[name], interval=interval),
        ]
        if name in found.left_out:
            made.append(left_out(fit, found.left_out[name], interval=interval))
    return [sheet for sheet in made if sheet is not None]


def who(fit: Fit, table: pd.DataFrame) -> Sheet:
    """The trials with their patients.

    Parameters
    ----------
    fit : Fit
    table : pandas.DataFrame
        As of `inference.trials.tables.trials_sheet_table`, of one outcome.
    """
    study, outcome = fit.study, str(table["outcome"].iloc[0])
    digits = shared_decimals([float(table["moderator_mean"].std(ddof=1))])
    rows: list[Row] = [
        {
            "Trial": row["trial"],
            "Patients": str(row["patients"]),
            "Therapists": str(row["therapists"]),
            f"Mean {study.measure.name}": number(row["moderator_mean"], digits),
            **{arm: str(row[f"patients_{arm}"]) for arm in study.arms},
        }
        for row in table.to_dict("records")
    ]
    return Sheet(
        f"trials_{outcome}",
        f"Trials: {study.outcomes[outcome].label}",
        rows,
        "Analysed patients, by arm on the right.",
        table,
        fewest=3,
        subject=outcome,
    )


def between(fit: Fit, table: pd.DataFrame, *, interval: float) -> Sheet | None:
    """What trials differ by; None where effects are the same in all, and the alliance is too.

    Parameters
    ----------
    fit : Fit
    table : pandas.DataFrame
        Rows of the tidy table of an average trial, of one outcome.
    interval : float
    """
    own = table[table["quantity"].isin([*SPREADS, ACROSS])]
    if own.empty:
        return None
    outcome, share = str(own["outcome"].iloc[0]), words.level_of(interval)
    rows = [
        {**_named(fit, row), **_numbers(row, share), "P(> 0)": words.chance(row["prob_positive"])}
        for row in own.to_dict("records")
    ]
    return Sheet(
        f"between_trials_{outcome}",
        f"Between trials: {fit.study.outcomes[outcome].label}",
        rows,
        f"{share} equal-tailed intervals.",
        own,
        heads=2,
        fewest=4,
        subject=outcome,
    )


def each(fit: Fit, table: pd.DataFrame, *, interval: float) -> Sheet:
    """Every quantity in each trial, on average and in a new one.

    Parameters
    ----------
    fit : Fit
    table : pandas.DataFrame
        Rows of `inference.trials.tables.whole_table`, of one outcome.
    interval : float
    """
    outcome, share = str(table["outcome"].iloc[0]), words.level_of(interval)
    rows, breaks = [], []
    for _, own in table.groupby(["quantity", "level"], sort=False):
        last = own["trial"].isin([AVERAGE_TRIAL, NEW_TRIAL]).to_numpy()
        ordered = pd.concat([own[~last], own[last]])
        for row in ordered.to_dict("records"):
            rows.append(
                {
                    **_named(fit, row),
                    "Trial": words.trial(row["trial"]),
                    **_numbers(row, share),
                    "P(> 0)": words.chance(row["prob_positive"]),
                }
            )
        breaks.append(len(rows) - 1)
    return Sheet(
        f"each_trial_{outcome}",
        f"Trial by trial: {fit.study.outcomes[outcome].label}",
        rows,
        f"{share} equal-tailed intervals.",
        table,
        heads=3,
        fewest=5,
        breaks=breaks,
        once=2,
        subject=outcome,
    )


def left_out(fit: Fit, table: pd.DataFrame, *, interval: float) -> Sheet:
    """The average trial as each trial is left out.

    Parameters
    ----------
    fit : Fit
    table : pandas.DataFrame
        As of `inference.trials.leaving_out.leave_one_trial_out`, of one outcome.
    interval : float
    """
    outcome, share = str(table["outcome"].iloc[0]), words.level_of(interval)
    rows, breaks = [], []
    for _, own in table.groupby(["quantity", "level"], sort=False):
        for row in own.to_dict("records"):
            rows.append(
                {
                    **_named(fit, row),
                    "Without": row["left_out"],
                    **_numbers(row, share),
                    "Moved (SDs)": number(row["moved"], 2),
                }
            )
        breaks.append(len(rows) - 1)
    return Sheet(
        f"without_trial_{outcome}",
        f"An average trial without each: {fit.study.outcomes[outcome].label}",
        rows,
        f"{share} equal-tailed intervals. Moved: the mean, in posterior SDs with all trials.",
        table,
        heads=3,
        fewest=5,
        breaks=breaks,
        once=2,
        subject=outcome,
    )


def legend(fit: Fit) -> list[str]:
    """What these sheets say.

    Parameters
    ----------
    fit : Fit
    """
    name = fit.study.measure.name
    return [LEGEND.format(moderator=name), EACH.format(moderator=name)]


def _named(fit: Fit, row: Mapping[Any, Any]) -> Row:
    level = words.level(fit.study, row["level"])
    return {
        "Quantity": words.plain(row["quantity"]),
        "Level": Cell(level, short=str(row["level"]), code=str(row["level"])),
    }


def _numbers(row: Mapping[Any, Any], share: str) -> Row:
    digits = decimals(row["sd"], row["mean"])
    return {
        "Mean": number(row["mean"], digits),
        f"{share} interval": words.interval(row["lower"], row["upper"], digits),
    }
