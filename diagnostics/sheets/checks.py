"""Checks of draws and model, replicated data, patients and therapists left out, priors alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from alliance.data_prep.study.description import Study
from alliance.data_prep.study.rules import COUNT
from alliance.diagnostics import words
from alliance.diagnostics.checks.loo_checks import LooCheck
from alliance.diagnostics.checks.predictive_checks import (
    FALSE_ALARMS,
    MOST_OUTSIDE,
    PredictiveCheck,
)
from alliance.diagnostics.checks.prior_check import PriorCheck
from alliance.diagnostics.gate.gate import GateReport
from alliance.diagnostics.sheet import Row, Sheet, alarmed, without_empty
from alliance.diagnostics.verdicts import standing_of
from alliance.inference.digits import decimals, interval_decimals, number
from alliance.inference.leaving_out.leave_one_out import TARGETS, LeaveOneOut
from alliance.inference.leaving_out.leave_one_out_comparison import LooComparison
from alliance.inference.pointwise.replicates import ExplainedVariance
from alliance.inference.runs.fit import Fit

OF_MODEL = (
    "Checks of the model ask for a look and never fail. Patients are named by their position among "
    "those analysed."
)


def results(checked: pd.DataFrame, *, values: bool = True) -> list[Row]:
    """The rows of a table of check results: verdict, value and what was found.

    Parameters
    ----------
    checked : pandas.DataFrame
        As from the ``table`` of a gate's report or a check.
    values : bool
        Whether the value that was judged is a column.
    """
    return [
        {
            "Check": words.plain(row["check"]),
            "Verdict": str(row["verdict"]),
            **({"Value": words.rough(row["value"], 4)} if values else {}),
            "What was found": row["message"],
            "What to do": row["recommendation"],
        }
        for row in checked.to_dict("records")
    ]


def gate(fit: Fit, report: GateReport) -> Sheet:
    """Every check of one outcome, those of the draws first.

    Parameters
    ----------
    fit : Fit
    report : GateReport
    """
    table = report.table
    of_draws = len(report.results)
    sheet = Sheet(
        f"gate_{report.outcome}",
        f"{words.headed(fit, report.outcome)}: {report.verdict}",
        results(table),
        OF_MODEL,
        table,
        fewest=4,
        breaks=[of_draws - 1] if report.model else [],
        paper=["What to do"],
        subject=report.outcome,
    )
    return without_empty(sheet, "What to do")


def advice(found: Iterable[Any]) -> list[str]:
    """What is to be done, with the checks that say so.

    Parameters
    ----------
    found : iterable of CheckResult
    """
    told: dict[str, list[str]] = {}
    results = list(found)
    for result in results:
        if result.recommendation:
            told.setdefault(result.recommendation, []).append(words.plain(result.check))
    stands = "; ".join(standing_of(results))
    return [
        *([f"What stands: {stands}."] if stands else []),
        *(f"What to do ({', '.join(checks)}): {text}" for text, checks in told.items()),
    ]


def overview_table(fit: Fit, reports: Sequence[GateReport]) -> pd.DataFrame:
    """The gate's verdict on each outcome, with the numbers it rests on.

    Parameters
    ----------
    fit : Fit
    reports : sequence of GateReport
    """
    rows = []
    for report in reports:
        values = {result.check: result.value for result in report.results}
        seconds = fit.manifest["seconds"].get(report.outcome, {})  # none within a joint model
        rows.append(
            {
                "outcome": report.outcome,
                "analysed": words.patients(fit, report.outcome),
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
    return pd.DataFrame(rows)


def overview(table: pd.DataFrame) -> Sheet:
    """The table of `overview_table` as it is read.

    Parameters
    ----------
    table : pandas.DataFrame
    """
    # What could not be computed, because draws are not finite, is None.
    numeric = ("r_hat", "ess_bulk", "ess_tail", "seconds_sampling")
    rows = []
    for row in table.astype(dict.fromkeys(numeric, float)).to_dict("records"):
        seconds = number(row["seconds_sampling"], 2)
        reviews = [words.plain(name) for name in row["reviews"].split("; ")]
        rows.append(
            {
                "Outcome": row["outcome"],
                "Patients": str(row["analysed"]),
                "Draws": row["draws"],
                "Largest R-hat": number(row["r_hat"], 3),
                "Least bulk ESS": number(row["ess_bulk"], 0),
                "Least tail ESS": number(row["ess_tail"], 0),
                "Sampling": f"{seconds} s" if seconds else "",
                "Asks for a REVIEW": "; ".join(reviews),
            }
        )
    sheet = Sheet("overview", "Gate", rows, numbers=table, fewest=8)
    return without_empty(sheet, "Asks for a REVIEW")


# Replicated data ---------------------------------------------------------------------------------


def predictive(fit: Fit, check: PredictiveCheck) -> Sheet:
    """Statistics of the observed scores and of their replicates.

    Parameters
    ----------
    fit : Fit
    check : PredictiveCheck
    """
    table = check.table
    rows = []
    for row in table.to_dict("records"):
        digits = decimals(row["upper"] - row["lower"], row["observed"])
        rows.append(
            {
                "Statistic": row["description"],
                "Verdict": row["verdict"],
                "Observed": number(row["observed"], digits),
                "95% of replicates": words.interval(row["lower"], row["upper"], digits),
                "p": words.chance(row["p_value"]),
                "Limit": words.rough(row["limit"], 2),
                "Mean of replicates": number(row["replicated"], digits),
            }
        )
    return Sheet(
        f"predictive_{check.outcome}",
        f"{words.headed(fit, check.outcome)}: posterior predictive checks",
        rows,
        "",
        table,
        subject=check.outcome,
    )


def predictive_legend(checks: Sequence[PredictiveCheck]) -> list[str]:
    """What replicates are, and what asks for a look.

    Parameters
    ----------
    checks : sequence of PredictiveCheck
    """
    return [
        f"{checks[0].replicates:,} replicates of the same patients under the model, scores in "
        "points. p: posterior predictive p-value. REVIEW: p below the limit, "
        f"{FALSE_ALARMS:g} over the number of an outcome's statistics, or more than "
        f"{MOST_OUTSIDE:.0%} of the replicated scores outside the range on average. A check that "
        "passes says that the model can produce such data, not that it is true."
    ]


# Left out ----------------------------------------------------------------------------------------


def left_out(
    fit: Fit,
    found: Sequence[LeaveOneOut],
    checks: Sequence[LooCheck] = (),
    explained: Sequence[ExplainedVariance] = (),
) -> Sheet:
    """How well scores are predicted that were left out, outcome by outcome.

    Parameters
    ----------
    fit : Fit
    found : sequence of LeaveOneOut
    checks : sequence of LooCheck
        Of the same outcomes, for the calibration of single scores.
    explained : sequence of ExplainedVariance
        Of the same outcomes.
    """
    rows = []
    for k, each in enumerate(found):
        row = each.table.iloc[0]
        cells = {
            "Outcome": words.outcome(fit.study, each.outcome),
            "Left out": f"one {row['by']} of {row['units']}",
            "elpd (SE)": f"{number(row['elpd'], 1)} ({number(row['se'], 1)})",
            "p_loo": number(row["p_loo"], 1),
            "Largest Pareto k": number(row["largest_k"], 2),
            "k too high": f"{row['k_too_high']} (over {row['good_k']:.2g})",
        }
        if each.by != "patient" or row["refitted"]:
            cells["Refitted"] = str(row["refitted"])
        if k < len(checks):
            cells["LOO-PIT p"] = words.rough(checks[k].pit.p_value, 2)
        if k < len(explained):
            share = explained[k].table.iloc[0]
            digits = max(2, interval_decimals(share["lower"], share["upper"]))
            cells["R2 (95% interval)"] = words.estimate(
                share["mean"], share["lower"], share["upper"], digits
            )
        rows.append(cells)
    kinds = {each.by for each in found}
    return Sheet(
        "left_out",
        f"Leave one {kinds.pop() if len(kinds) == 1 else 'patient or therapist'} out",
        rows,
        "Expected log predictive density (elpd) of scores left out, with its standard error, by "
        "Pareto-smoothed importance sampling; p_loo: effective parameters. It compares models of "
        "the same patients, and has no meaning by itself.",
        pd.concat([each.table for each in found], ignore_index=True),
        heads=2,
    )


def left_out_legend(by: Any) -> list[str]:
    """What elpd is for, and what stands beside it.

    Parameters
    ----------
    by : {"patient", "therapist", "clinic"}
    """
    lead = f"elpd: log density of scores left out, summed, with its SE; to predict {TARGETS[by]}."
    if by == "patient":
        return [
            f"{lead} p_loo: effective parameters. LOO-PIT p: calibration of single scores. R2: "
            "Bayesian, therapists included."
        ]
    return [
        f"{lead} Its standard error rests on so few {by}s, of such different numbers of "
        "patients, that only differences between fits are worth looking at."
    ]


def units_left_out(fit: Fit, found: LeaveOneOut) -> Sheet:
    """Each patient or therapist that is left out.

    Parameters
    ----------
    fit : Fit
    found : LeaveOneOut
    """
    table = found.unit_table
    rows = [
        {
            found.by.capitalize(): str(row[found.by]),
            "Patients": str(row["patients"]),
            "elpd": number(row["elpd"], 2),
            "Pareto k": alarmed(number(row["pareto_k"], 2), not row["pareto_k"] <= found.good_k),
            "Method": words.plain(row["method"]),
        }
        for row in table.to_dict("records")
    ]
    title = words.headed(fit, found.outcome)
    return Sheet(f"units_{found.outcome}", title, rows, "", table, fewest=5, subject=found.outcome)


def loo_comparison(fit: Fit, comparison: LooComparison) -> Sheet:
    """Fits of the same patients, the best first.

    Parameters
    ----------
    fit : Fit
        One of them.
    comparison : LooComparison
    """
    table = comparison.table
    rows = []
    for position, row in enumerate(table.to_dict("records")):
        digits = max(1, decimals(row["se_difference"], row["elpd_difference"]))
        apart, error = (number(row[f"{name}_difference"], digits) for name in ("elpd", "se"))
        rows.append(
            {
                "Fit": row["fit"],
                "Difference (SE)": f"{apart} ({error})" if position else "",
                "elpd (SE)": f"{number(row['elpd'], 1)} ({number(row['se'], 1)})",
                "p_loo": number(row["p_loo"], 1),
                "k too high": str(row["k_too_high"]),
                "Refitted": str(row["refitted"]),
            }
        )
    return Sheet(
        f"fits_{comparison.outcome}",
        f"{words.headed(fit, comparison.outcome)}: left out by {comparison.by}",
        rows,
        "",
        table,
        subject=comparison.outcome,
    )


def loo_comparison_legend(comparison: LooComparison) -> list[str]:
    """What the differences say.

    Parameters
    ----------
    comparison : LooComparison
    """
    whole = (
        "Continuous families are given the probability of half a point to each side of every "
        "score, so that they can be set beside bounded ones."
    )
    return [*comparison.table["words"].iloc[1:], *([whole] if comparison.whole_scores else [])]


def explained(fit: Fit, found: Sequence[ExplainedVariance], *, interval: float) -> Sheet:
    """Bayesian R2 by outcome.

    Parameters
    ----------
    fit : Fit
    found : sequence of ExplainedVariance
    interval : float
        Probability of their intervals.
    """
    table = pd.concat([each.table for each in found], ignore_index=True)
    share = words.level_of(interval)
    rows = []
    for row in table.to_dict("records"):
        digits = max(2, interval_decimals(row["lower"], row["upper"]))
        rows.append(
            {
                "Outcome": words.outcome(fit.study, row["outcome"]),
                "Explained by": row["explained_by"],
                "R2": number(row["mean"], digits),
                f"{share} interval": words.interval(row["lower"], row["upper"], digits),
            }
        )
    return Sheet(
        "explained",
        "Bayesian R2",
        rows,
        "The share of variance that the model explains: posterior mean and "
        f"{share} equal-tailed interval.",
        table,
        heads=2,
    )


# Priors ------------------------------------------------------------------------------------------

LEAST_SHARE = 0.001  # smaller shares are said to be smaller


def prior(check: PriorCheck) -> Sheet:
    """What the priors expect of an outcome, against its scale.

    Parameters
    ----------
    check : PriorCheck
    """
    study, described = check.study, check.study.outcomes[check.outcome]
    rows, bounded = [], described.family != COUNT
    for row in check.rows:
        digits = decimals(row.upper - row.lower, row.upper)
        rows.append(
            {
                "Quantity": words.plain(row.quantity),
                "Level": words.level(study, row.level),
                "Verdict": row.verdict,
                "95% of draws": words.interval(row.lower, row.upper, digits),
                "Too large": _share(row.share_large, row.most_large, "up to"),
                "Large enough": _share(row.share_small, row.least_small, "from"),
                "Over half the scale": _share(row.share_over_half) if bounded else "",
                "Too large from": words.rough(row.large) if bounded else "a factor of ten",
            }
        )
    return Sheet(
        f"prior_{check.outcome}",
        f"{described.label} ({words.scale(described)}; n = {check.patients} patients): priors "
        f"{check.verdict}",
        rows,
        "",
        check.table,
        heads=2,
        fewest=4,
        subject=check.outcome,
    )


def _share(value: float, limit: float | None = None, word: str = "") -> str:
    if value != value:
        return ""
    told = "< 0.1%" if 0 < value < LEAST_SHARE else words.percent(value, 1)
    return told if limit is None else f"{told} ({word} {words.percent(limit)})"


def prior_legend(checks: Sequence[PriorCheck]) -> list[str]:
    """What was simulated, and what is too much or too little.

    Parameters
    ----------
    checks : sequence of PriorCheck
    """
    first = checks[0]
    drawn = first.predictive.scores.shape
    whom = "" if drawn[1] == first.patients else f" for {drawn[1]} of the patients, at random"
    return [
        f"{drawn[0]} trials simulated from the priors{whom}; in points of the outcome, effects "
        "over all observed values of a variable, "
        + words.of_moderator(first.study, "therapist slope SD for one SD of the {name}, ")
        + "therapist arm SD for a contrast.",
        "Too large: share of draws beyond what the scale allows (in brackets what is plausible). "
        "Large enough: share of draws at least as large as what should stay possible.",
    ]


def worst_costs(table: pd.DataFrame) -> pd.DataFrame:
    """Of several levels of a quantity, the one that is pulled most.

    Parameters
    ----------
    table : pandas.DataFrame
        As from `inference.priors.prior_costs`.
    """
    quantity = table.groupby(["outcome", "quantity"], sort=False)["pull"]
    worst = table.loc[quantity.transform("idxmax"), "level"].to_numpy()
    return table[table["level"].to_numpy() == worst]


def prior_costs(table: pd.DataFrame, study: Study, *, interval: float) -> Sheet:
    """How far the priors pull effects in a design, and how often intervals then hold them.

    Parameters
    ----------
    table : pandas.DataFrame
        As from `inference.priors.prior_costs`.
    study : Study
    interval : float
        Probability of the intervals.
    """
    rows = []
    keys = ["outcome", "quantity", "level"]
    for (outcome, quantity, level), own in table.groupby(keys, sort=False):
        holds = {
            f"Holds {row['size']:g} SD": words.percent(row["coverage"])
            for row in own.to_dict("records")
        }
        rows.append(
            {
                "Outcome": words.outcome(study, str(outcome)),
                "Quantity": words.plain(str(quantity)),
                "Level": words.level(study, str(level)),
                "Pulled by": words.percent(own["pull"].iloc[0]),
                **holds,
            }
        )
    return Sheet(
        "prior_costs",
        "What the priors cost in this design",
        rows,
        "Pulled by: how much nearer to zero than it is an effect is expected to be estimated. "
        f"Holds: how often the {words.level_of(interval)} interval would hold a true effect of so "
        "many SDs of the outcome"
        + words.of_moderator(study, " (slopes and interactions: for one SD of {name})")
        + ".",
        table,
        heads=3,
        fewest=7,
    )
