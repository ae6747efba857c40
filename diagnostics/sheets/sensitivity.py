"""What results hang on: priors, single patients and therapists, and what was not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from alliance.diagnostics import words
from alliance.diagnostics.sheet import Row, Sheet, alarmed
from alliance.diagnostics.sheets.results import named
from alliance.inference.answers.unseen_improvement import UnseenImprovement
from alliance.inference.digits import decimals, figures, interval_decimals, number
from alliance.inference.estimands.compared_at import places_in_words
from alliance.inference.leaving_out.therapists import Influence
from alliance.inference.priors.power_scaling import RULED, SENSITIVE, PowerScaling
from alliance.inference.priors.prior_refits import PriorRefits
from alliance.inference.runs.fit import Fit

LARGE_SHIFT = 1  # posterior SDs from which a shift is marked


def power_scaling(fit: Fit, answer: PowerScaling) -> Sheet:
    """How far each quantity moves with its priors and with the data.

    Parameters
    ----------
    fit : Fit
    answer : PowerScaling
    """
    table = answer.table
    rows = [
        {
            **named(fit, row),
            "Diagnosis": alarmed(
                row["diagnosis"], row["diagnosis"] in ("prior-data conflict", "weak likelihood")
            ),
            "Priors": number(row["prior_sensitivity"], 2),
            "Likelihood": number(row["likelihood_sensitivity"], 2),
            "Strongest prior": words.plain(row["strongest_prior"]),
            "Its sensitivity": number(row["strongest_sensitivity"], 2),
        }
        for row in table.to_dict("records")
    ]
    return _about(fit, answer, rows, "power_scaling", "sensitivity to priors", table)


def each_prior(fit: Fit, answer: PowerScaling) -> Sheet:
    """How far each quantity moves with each prior.

    Parameters
    ----------
    fit : Fit
    answer : PowerScaling
    """
    rows: list[Row] = []
    for k, (quantity, level) in enumerate(answer.labels):
        cells = zip(answer.kinds, answer.by_kind[k], answer.ruled[k], strict=True)
        rows.append(
            {
                **named(fit, {"quantity": quantity, "level": level}),
                **{
                    words.plain(kind): alarmed(number(value, 2), bool(ruled))
                    for kind, value, ruled in cells
                },
            }
        )
    about = "sensitivity to each prior"
    return _about(fit, answer, rows, "each_prior", about, answer.kind_table)


def power_scaling_legend(fit: Fit) -> list[str]:
    """What the sensitivities are.

    Parameters
    ----------
    fit : Fit
    """
    return [
        "Sensitivity by power-scaling: how far a quantity moves when its priors, or the "
        "likelihood, are weighed a little more (Kallioinen and colleagues 2024, "
        f"doi:10.1007/s11222-023-10366-5); from {SENSITIVE:g} on it is sensitive. A prior rules a "
        f"quantity that is sensitive to it from {RULED:g} on, and a coefficient that is more "
        "sensitive to it than to the data: prior-data conflict where the data move it too, else "
        f"weak likelihood. {places_in_words(fit)}"
    ]


def other_scales(fit: Fit, answer: PriorRefits) -> Sheet:
    """Shifts of every quantity with all prior scales changed together.

    Parameters
    ----------
    fit : Fit
    answer : PriorRefits
    """
    table = answer.table
    factors = [factor for _, factor in answer.priors]
    rows: list[Row] = []
    for quantity, level in answer.labels:
        own = table[(table["quantity"] == quantity) & (table["level"] == level)]
        cells: dict[str, str] = {}
        for factor, row in zip(factors, own.to_dict("records"), strict=True):
            cells[f"All scales x {factor:g}"] = _shift(row)
            cells[f"SD ratio x {factor:g}"] = number(row["sd_ratio"], 2)
        rows.append({**named(fit, {"quantity": quantity, "level": level}), **cells})
    return _about(fit, answer, rows, "prior_refits", "other prior scales", table)


def largest_shifts(fit: Fit, answer: PriorRefits) -> Sheet:
    """The largest shift of every quantity with one prior scale changed.

    Parameters
    ----------
    fit : Fit
    answer : PriorRefits
    """
    table = answer.largest()
    rows = [
        {
            **named(fit, row),
            "Largest shift": _shift(row),
            "With": f"{words.plain(row['prior'])} x {row['factor']:g}",
            "SD ratio": number(row["sd_ratio"], 2),
        }
        for row in table.to_dict("records")
    ]
    about = "each prior scale halved and doubled"
    return _about(fit, answer, rows, "prior_refits", about, table)


def refits_legend(fit: Fit) -> list[str]:
    """What the shifts are.

    Parameters
    ----------
    fit : Fit
    """
    return [
        "Shifts of the posterior mean against the fit itself: in its posterior SDs, and in "
        "brackets on the outcome's own scale. A shift has a Monte Carlo error of about 0.02 to "
        f"0.05 SD. {places_in_words(fit)}"
    ]


def _shift(row: Mapping[Any, Any]) -> str:
    sign = "+" if row["shift"] > 0 else ""
    text = f"{row['shift_sd']:+.2f} ({sign}{figures(row['shift'], 2)})"
    return alarmed(text, abs(row["shift_sd"]) > LARGE_SHIFT)


def influence(fit: Fit, answer: Influence, first: int | None, *, both: bool = False) -> Sheet:
    """The patients or therapists that move a result most.

    Parameters
    ----------
    fit : Fit
    answer : Influence
    first : int or None
        So many of them; all if None.
    both : bool
        Whether patients and therapists will stand in one table.
    """
    table = answer.largest(first)
    rows = []
    for row in table.to_dict("records"):
        digits = decimals(abs(row["shift"]), row["mean"])
        who = {answer.by.capitalize(): row["unit"]}
        if both:
            of = f" of {len(answer.units)}" if answer.by == "patient" else ""
            single = answer.by == "therapist" and row["patients"] == 1
            unit = words.of_one_patient(row["unit"], single)
            who = {"Left out": f"{answer.by} {unit}{of}"}
        cells = {
            **who,
            "Moves most": words.quantity_and_level(fit.study, row["quantity"], row["level"]),
            "By SDs": alarmed(f"{row['shift_sd']:+.2f}", abs(row["shift_sd"]) > LARGE_SHIFT),
            "With": number(row["mean"], digits),
            "Without": number(row["mean_without"], digits),
            "Pareto k": alarmed(number(row["pareto_k"], 2), not row["reliable"]),
            "Method": words.plain(row["method"]),
        }
        if answer.by != "patient" and not both:
            cells["Patients"] = str(row["patients"])
        rows.append(cells)
    about = f"one {answer.by} of {len(answer.units)} left out"
    return _about(fit, answer, rows, f"influence_{answer.by}", about, table, heads=2)


def influence_legend(fit: Fit) -> list[str]:
    """What moves, and who the patients are.

    Parameters
    ----------
    fit : Fit
    """
    quantities = words.of_moderator(fit.study, "a slope, interaction or ") or "an "
    return [
        f"Change of the posterior mean of {quantities}arm contrast, the one that moves "
        "most, in posterior SDs; patients by position among those analysed. Where Pareto k is high "
        f"the shift is only roughly known. {places_in_words(fit)}"
    ]


def unseen(fit: Fit, answer: UnseenImprovement) -> Sheet:
    """The slope if something unseen were as strong as what was seen.

    Parameters
    ----------
    fit : Fit
    answer : UnseenImprovement
    """
    name, table = fit.study.measure.name, answer.table
    rows: list[Row] = []
    for row in table.to_dict("records"):
        many = f"{row['times']:g} x {row['benchmark']}" if row["times"] else row["benchmark"]
        if pd.isna(row["r2_alliance"]):
            rows.append({"As strong as": many, "Slope": "cannot be so strong"})
            continue
        digits = interval_decimals(row["lower"], row["upper"], row["mean"])
        rows.append(
            {
                "As strong as": many,
                "Slope": number(row["mean"], digits),
                "95% interval": words.interval(row["lower"], row["upper"], digits),
                "P(same sign)": words.chance(row["prob_same_sign"]),
                "Linear model": number(row["linear"], digits),
                f"Share of {name}": words.percent(row["r2_alliance"], 1),
                "Share of outcome": words.percent(row["r2_outcome"], 1),
            }
        )
    about = "an early improvement, unseen"
    return _about(fit, answer, rows, "benchmarks", about, table, heads=1)


def tipping(fit: Fit, found: Sequence[UnseenImprovement]) -> Sheet:
    """How strong something unseen would have to be to carry the slope to zero.

    Parameters
    ----------
    fit : Fit
    found : sequence of UnseenImprovement
    """
    name = fit.study.measure.name
    table = pd.concat([each.tipping_table for each in found], ignore_index=True)
    rows = [
        {
            "Outcome": words.outcome(fit.study, row["outcome"]),
            "Posterior mean": words.rough(row["mean"]),
            "Carries the mean to zero": words.percent(row["tipping_mean"]),
            "Carries the interval to zero": words.percent(row["tipping_interval"]),
            "OLS estimate": words.rough(row["linear"]),
            "Robustness value": words.percent(row["robustness_value"]),
            "Of its interval": words.percent(row["robustness_value_interval"]),
        }
        for row in table.to_dict("records")
    ]
    return Sheet(
        "tipping",
        f"Slope of {name}, in points for one point, and what carries it to zero",
        rows,
        f"The equal share of what remains of {name} and outcome that carries it, or its 95% "
        "interval, to zero; 0%: the interval includes zero as it is.",
        table,
        fewest=4,
    )


def unseen_legend(fit: Fit) -> list[str]:
    """What the shares are of.

    Parameters
    ----------
    fit : Fit
    """
    return [
        f"Slope for one point of {fit.study.measure.label}, averaged {words.over_arms(fit.study)}, "
        "if an "
        "improvement before its rating explains such shares of what baseline, arm and covariates "
        "leave of it, and of what then remains of the outcome (Cinelli & Hazlett 2020, "
        "doi:10.1111/rssb.12348). P(same sign): of a slope on the side where it is seen. Linear "
        "model: one slope for all arms. Whether there was such an improvement the data cannot tell."
    ]


def _about(
    fit: Fit,
    answer: Any,
    rows: Sequence[Row],
    name: str,
    about: str,
    table: pd.DataFrame,
    heads: int = 2,
) -> Sheet:
    title = f"{words.headed(fit, answer.outcome)}: {about}"
    name = f"{name}_{answer.outcome}"
    return Sheet(name, title, rows, "", table, heads=heads, subject=answer.outcome)
