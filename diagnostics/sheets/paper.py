"""What follows from printed numbers alone: consistency, posteriors, therapists, several trials."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from alliance.diagnostics import words
from alliance.diagnostics.sheet import Cell, Row, Sheet, alarmed, fitting
from alliance.inference.digits import figures, interval_decimals, number
from alliance.inference.paper.consistency import IMPOSSIBLE, UNTOLD
from alliance.inference.paper.paper import Paper

PARTS = {"mean": "mean over trials", "new": "a new trial", "heterogeneity": "SD between trials"}


def sheets(paper: Paper) -> list[Sheet]:
    """The tables of a paper that have rows, in the order of the questions.

    Parameters
    ----------
    paper : Paper
    """
    found = [consistency(paper), posteriors(paper), credibility(paper), therapists(paper)]
    return [sheet for sheet in [*found, meta_analysis(paper)] if sheet.rows]


def _finding(paper: Paper, row: Mapping[Any, Any]) -> Row:
    """The columns that name a finding."""
    printed, code = paper.printed, row["outcome"]
    level = words.level(printed, row["level"])
    what, short = level, fitting(level, 0)
    if row["quantity"] != "arm_contrast":
        what = words.quantity_and_level(printed, row["quantity"], row["level"])
        short = fitting(what, 0)
    name = Cell(f"{printed.label(code)}: {what}", short=f"{code}: {short}", code=f"{code}: {short}")
    trial = {"Trial": row["trial"]} if row.get("trial") else {}
    return {"Finding": name, **trial}


def consistency(paper: Paper) -> Sheet:
    """Every check that the printed numbers allow, and what they do not tell.

    Parameters
    ----------
    paper : Paper
    """
    rows = []
    for _, own in paper.consistency.groupby("finding", sort=False):
        told = own[own["verdict"] != UNTOLD].to_dict("records")
        for row in told:
            verdict = alarmed(row["verdict"], row["verdict"] == IMPOSSIBLE)
            rows.append(
                {
                    **_finding(paper, row),
                    "Check": row["check"],
                    "Verdict": verdict,
                    "Arithmetic": row["arithmetic"],
                }
            )
        untold = own[own["verdict"] == UNTOLD].to_dict("records")
        if untold:
            rows.append(
                {
                    **_finding(paper, untold[0]),
                    "Check": "; ".join(row["check"] for row in untold),
                    "Verdict": UNTOLD,
                    "Arithmetic": "; ".join(dict.fromkeys(row["arithmetic"] for row in untold)),
                }
            )
    return Sheet(
        "paper_consistency",
        "Do the printed numbers agree?",
        rows,
        "Every number stands for all that round to it.",
        paper.consistency,
        heads=1,
        published=True,
        fewest=4,
        once=1,
    )


def posteriors(paper: Paper) -> Sheet:
    """Each finding under each named prior.

    Parameters
    ----------
    paper : Paper
    """
    share = words.level_of(paper.asked.interval)
    rows: list[Row] = []
    breaks = []
    for _, own in paper.posteriors.groupby("finding", sort=False):
        for row in own.to_dict("records"):
            digits = interval_decimals(row["lower"], row["upper"])
            told = {
                **_finding(paper, row),
                "Prior": row["prior"],
                f"Posterior ({share})": words.estimate(
                    row["mean"], row["lower"], row["upper"], digits
                ),
                "P(benefit)": words.chance(row["prob_benefit"]),
            }
            if math.isnan(row["prob_benefit"]):
                told["P(above no effect)"] = words.chance(row["prob_positive"])
            if paper.asked.threshold is not None:
                told[words.by(paper.asked.threshold)] = words.chance(row["prob_threshold"])
            rows.append(
                told | {"Conflict": words.chance(row["conflict"]), "It says": row["prior_words"]}
            )
        breaks.append(len(rows) - 1)
    return Sheet(
        "paper_posteriors",
        "What to believe, by named priors",
        rows,
        "Conflict: how surprising the printed estimate is to the prior (two-sided tail of its "
        "prediction); below 0.05 they disagree.",
        paper.posteriors,
        heads=1,
        published=True,
        fewest=5,
        breaks=breaks,
        once=1,
    )


def credibility(paper: Paper) -> Sheet:
    """The sceptical limit of each finding.

    Parameters
    ----------
    paper : Paper
    """
    rows = []
    for row in paper.credibility.to_dict("records"):
        limit = row["sceptical_limit"]
        if math.isnan(limit):
            told = "unconvincing without any sceptic: the interval holds no effect"
        elif row["intrinsically_credible"]:
            told = "the estimate lies beyond the limit: credible by itself"
        else:
            told = "the estimate lies within the limit: needs other evidence"
        df = "" if math.isinf(row["df"]) else f", {row['df']:g} df"
        digits = interval_decimals(-2 * row["se"], 2 * row["se"])
        rows.append(
            {
                **_finding(paper, row),
                "Estimate": number(row["estimate"], digits),
                "Sceptical limit": number(limit, digits),
                "Reading": told,
                "p (Held)": words.chance(row["p_credible"]),
                "SE": number(row["se"], digits + 1),
                "SE from": f"{row['se_from']}{df}",
            }
        )
    return Sheet(
        "paper_credibility",
        "How sceptical must one be?",
        rows,
        "Sceptical limit: a prior around no effect with 95% within so much on either side takes "
        "the interval just to no effect; whoever holds larger effects possible is convinced "
        "(Matthews 2018). p (Held): p value for intrinsic credibility, stricter (Held 2019).",
        paper.credibility,
        heads=1,
        published=True,
        fewest=3,
    )


def therapists(paper: Paper) -> Sheet:
    """The printed intervals, widened for therapists that the analysis may have ignored.

    Parameters
    ----------
    paper : Paper
    """
    rows: list[Row] = []
    breaks = []
    keys = ("finding", "design", "therapists")
    findings: dict[Any, dict[tuple[Any, ...], list[dict[Any, Any]]]] = {}
    for row in paper.therapists.to_dict("records"):
        by_design = findings.setdefault(row["finding"], {})
        by_design.setdefault(tuple(row[key] for key in keys), []).append(row)
    for own in findings.values():
        for same in own.values():
            first = same[0]
            known = "" if first["therapists_known_by"] == "printed" else "*"
            told: dict[str, str] = {
                **_finding(paper, first),
                "Therapists": f"{first['therapists']} {first['design']}{known}",
                "Tipping share": _tipping(first["tipping_share"]),
            }
            # The average over the prior first: the assumed shares give way on a narrow screen
            for row in sorted(same, key=lambda each: np.nan_to_num(each["share"], nan=-1.0)):
                averaged = math.isnan(row["share"])
                head = "Field's prior" if averaged else f"Share {100 * row['share']:.3g}%"
                digits = interval_decimals(row["lower"], row["upper"])
                told[head] = words.interval(row["lower"], row["upper"], digits)
            rows.append(told)
        breaks.append(len(rows) - 1)
    return Sheet(
        "paper_therapists",
        "What ignored therapists would do to the printed interval",
        rows,
        "Therapists: so many in the trial (*: assumed), nested in arms, crossed with arms, or with "
        "alliance slopes that vary. By an assumed share of the outcome's variance between "
        "therapists, with equal numbers of patients each, and averaged over the share's prior "
        "(trials of psychotherapy, Johns 2019). Tipping share: at which the interval just reaches "
        "no effect. With few therapists fewer degrees of freedom widen it further, which is not "
        "counted here.",
        paper.therapists,
        heads=1,
        published=True,
        fewest=5,
        breaks=breaks,
        once=1,
    )


def _tipping(share: float) -> str:
    if math.isnan(share):
        return "holds no effect already"
    return "none" if math.isinf(share) else words.percent(share, 1)


def meta_analysis(paper: Paper) -> Sheet:
    """Several trials of one finding, pooled.

    Parameters
    ----------
    paper : Paper
    """
    share = words.level_of(paper.asked.interval)
    rows: list[Row] = []
    breaks, scales = [], []
    keys = ["outcome", "quantity", "level"]
    for _, own in paper.meta_analysis.groupby(keys, sort=False):
        for row in own.to_dict("records"):
            digits = interval_decimals(row["lower"], row["upper"])
            part = row["trial"] if row["part"] == "trial" else PARTS[row["part"]]
            rows.append(
                {
                    **_finding(paper, {**row, "trial": ""}),
                    "Effect": part,
                    f"Posterior ({share})": words.estimate(
                        row["mean"], row["lower"], row["upper"], digits
                    ),
                    "P(above no effect)": words.chance(row["prob_positive"]),
                }
            )
            scales.append(row["prior_scale"])
        breaks.append(len(rows) - 1)
    told = ", ".join(dict.fromkeys(figures(scale) for scale in scales))
    return Sheet(
        "paper_meta_analysis",
        "Several trials together",
        rows,
        f"Random effects by quadrature; flat prior of the mean, half-normal({told}) prior of the "
        "SD between trials.",
        paper.meta_analysis,
        heads=1,
        published=True,
        fewest=4,
        breaks=breaks,
        once=1,
    )


def legend(paper: Paper, shown: list[Sheet]) -> list[str]:
    """What stands below the tables.

    Parameters
    ----------
    paper : Paper
    shown : list of Sheet
    """
    lines = [sheet.note for sheet in shown]
    findings = [finding for finding, _ in paper.estimates.values()]
    if any(finding.quantity == "arm_contrast" for finding in findings):
        lines.append("The prior pack of the field has no entry for a contrast of arms.")
    keys = [(finding.outcome, finding.quantity, finding.level) for finding in findings]
    if len(set(keys)) < len(keys) and not paper.pooled:
        lines.append(
            "Findings are not pooled; those of several trials would each name its own trial in "
            "the file."
        )
    return [*lines, *paper.untold, "Published numbers, not simulated; no patient's row was read."]
