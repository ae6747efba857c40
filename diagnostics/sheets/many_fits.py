"""Tables of many fits: planned trials, calibration, the multiverse, a run fitted again."""

from __future__ import annotations

import math

import pandas as pd

from alliance.diagnostics import words
from alliance.diagnostics.sheet import Row, Sheet
from alliance.inference.digits import decimals, number
from alliance.inference.many_fits.assurance import AssuranceQuestion
from alliance.inference.many_fits.calibration import ALARM
from alliance.inference.many_fits.calibration_runs import StudyCalibration
from alliance.inference.many_fits.multiverse import Multiverse
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.reproduction import Reproduction

COVERED = {"covered_50": "50%", "covered_90": "90%", "covered_95": "95%"}


def assurance(table: pd.DataFrame, question: AssuranceQuestion) -> Sheet:
    """How often planned trials of each size convince.

    Parameters
    ----------
    table : pandas.DataFrame
        As from `inference.many_fits.assurance.assurance`.
    question : AssuranceQuestion
    """
    rows = []
    for row in table.to_dict("records"):
        digits = max(2, decimals(row["mean_width"] / 4))
        exaggeration = row["exaggeration"]
        rows.append(
            {
                "Patients": f"{row['patients']:,}",
                "Therapists": f"{row['therapists']:,}",
                "Interaction": f"{row['interaction']:g}",
                "Convinces": f"{words.percent(row['convincing'])} ± "
                f"{100 * row['convincing_error']:.0f}",
                "Interval's width": number(row["mean_width"], digits),
                "Wrong sign": words.percent(row["wrong_sign"]),
                "Exaggeration": "" if math.isnan(exaggeration) else f"x {exaggeration:.1f}",
                "Mean estimate": f"{'+' * (row['mean_estimate'] > 0)}"
                f"{number(row['mean_estimate'], digits)}",
                "Trials": f"{row['trials']}",
            }
        )
    title = (
        f"Interaction {question.contrast} on {question.spec.outcome}: chance that a trial convinces"
    )
    return Sheet("assurance", title, rows, "", table, heads=3, fewest=5)


def assurance_legend(question: AssuranceQuestion) -> list[str]:
    """What convinces, and what is assumed of every trial.

    Parameters
    ----------
    question : AssuranceQuestion
    """
    criterion, assumed = question.criterion, question.assumptions
    return [
        f"A trial convinces if the interaction is beyond {criterion.threshold:g}, in one direction "
        f"or the other, with a probability of {criterion.probability:g} or more; ± is one standard "
        "error. Wrong sign and exaggeration are of the trials that convince.",
        "In residual SDs of the outcome for one SD of the alliance. Assumed in every trial: "
        f"alliance slope {assumed.alliance_slope:g}, baseline slope {assumed.baseline_slope:g}, "
        f"therapist SD {assumed.therapist_sd:g}, SD of slopes {assumed.therapist_slope_sd:g}, "
        f"{words.assumed_clinics(question.study, assumed.clinic_sd)}"
        f"{words.assumed_visits(question.study, assumed.visit_correlation, assumed.leaving)}"
        "arms of equal size, "
        f"{words.treating(question.study, nested=question.nested)}.",
    ]


def calibration(table: pd.DataFrame, found: StudyCalibration, outcome: str) -> Sheet:
    """Where true values lie in the posteriors of simulated trials.

    Parameters
    ----------
    table : pandas.DataFrame
        As from `StudyCalibration.table`.
    found : StudyCalibration
    outcome : str
    """
    own = found.outcomes[outcome]
    title = f"{len(own.pit)} simulated trials, engine {found.engines[outcome]}"
    if own.fallbacks:
        title += f" ({own.fallbacks} by NUTS, where weights were unreliable)"
    if own.divergent:
        title += f"; divergent transitions in {own.divergent}"
    rows = [
        {
            "Quantity": words.plain(row["quantity"]),
            "Level": row["level"],
            "Verdict": "PASS" if row["p_adjusted"] >= ALARM else "FAIL",
            "p after Holm": words.chance(row["p_adjusted"]),
            "Mean z": f"{row['mean_z']:+.2f}",
            **{head: words.percent(row[name]) for name, head in COVERED.items()},
            "Left by the data": words.percent(row["mean_shrinkage"]),
        }
        for row in table[table["outcome"] == outcome].to_dict("records")
    ]
    return Sheet(
        f"calibration_{outcome}", title, rows, "", table, heads=2, fewest=5, subject=outcome
    )


def multiverse(summary: pd.DataFrame, built: Multiverse, interval: float) -> list[Sheet]:
    """How far the conclusions of all analyses agree, by outcome.

    Parameters
    ----------
    summary : pandas.DataFrame
        As from `diagnostics.multiverse.multiverse_summary`.
    built : Multiverse
    interval : float
        Probability of the intervals that were counted.
    """
    study, found = built.study, []
    for outcome, own in summary.groupby("outcome", sort=False):
        rows = []
        for row in own.to_dict("records"):
            digits = decimals(row["sd"], row["median"])
            counts = {
                name: "" if pd.isna(row[name]) else str(row[name]) for name in ("above", "below")
            }
            rows.append(
                {
                    "Quantity": words.plain(row["quantity"]),
                    "Level": words.level(study, row["level"]),
                    "Median": number(row["median"], digits),
                    "Lowest": number(row["lowest"], digits),
                    "Highest": number(row["highest"], digits),
                    f"{words.level_of(interval)} above zero": counts["above"],
                    "below": counts["below"],
                    "of": str(row["analyses"]),
                    "Hangs most on": words.plain(row["hangs_on"]),
                }
            )
        title = f"{words.label(study, str(outcome))}, over {own['analyses'].max()} analyses"
        name = f"multiverse_{outcome}"
        found.append(Sheet(name, title, rows, "", own, heads=2, fewest=5, subject=str(outcome)))
    return found


def multiverse_legend(interval: float) -> list[str]:
    """What is counted over the analyses.

    Parameters
    ----------
    interval : float
    """
    return [
        "Median, lowest and highest posterior mean of the analyses whose draws passed the gate, "
        f"each as good as the others; how many have a {words.level_of(interval)} interval above or "
        "below zero. Hangs most on: the choice that explains the largest share of the variance of "
        "these means. No analysis is added up with another: they share the patients."
    ]


def reproduction(fit: Fit, found: Reproduction) -> Sheet:
    """Run and refit: identical draws, or the quantity furthest apart.

    Parameters
    ----------
    fit : Fit
    found : Reproduction
    """
    rows: list[Row] = []
    for row in found.table.to_dict("records"):
        cells = {"Outcome": row["outcome"], "Draws": "identical"}
        if not row["identical"]:
            digits = decimals(abs(row["difference"]), row["mean"])
            cells |= {
                "Draws": "different",
                "Quantity": words.plain(row["quantity"]),
                "Level": words.level(fit.study, row["level"]),
                "Run": number(row["mean"], digits),
                "Refit": number(row["refitted"], digits),
                "In Monte Carlo SEs": number(row["in_mcse"], 2),
                "In posterior SDs": number(row["in_sd"], 3),
            }
        rows.append(cells)
    apart = "" if found.reproduced else ": the quantity furthest apart"
    return Sheet("reproduction", f"Run and refit{apart}", rows, heads=2, fewest=4)
