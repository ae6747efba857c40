"""Posteriors and priors of the reported quantities, comparisons, and runs beside one another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from alliance.data_prep.levels import AVERAGE
from alliance.data_prep.study.description import Study
from alliance.data_prep.study.rules import OWN_FAMILIES
from alliance.diagnostics import words
from alliance.diagnostics.sheet import Row, Sheet
from alliance.inference.digits import decimals, figures, number, shared_decimals
from alliance.inference.estimands import ratios
from alliance.inference.estimands.compared_at import comparison_places, places_in_words
from alliance.inference.priors.evidence import evidence_kept
from alliance.inference.published.comparison import OF_EVENTS, refit_words
from alliance.inference.runs.fit import Fit
from alliance.models.spec import JOINT


def named(fit: Fit, row: Mapping[Any, Any]) -> Row:
    """The two columns that name a quantity."""
    return {
        "Quantity": words.plain(row["quantity"]),
        "Level": words.level(fit.study, row["level"]),
    }


def summary(
    fit: Fit,
    table: pd.DataFrame,
    priors: pd.DataFrame,
    *,
    interval: float,
    per_sd: bool = False,
) -> list[Sheet]:
    """The tidy table by outcome, with the prior of each quantity beside it.

    Parameters
    ----------
    fit : Fit
    table, priors : pandas.DataFrame
        As from `Fit.summary` and `Fit.priors`.
    interval : float
        Probability of the table's intervals.
    per_sd : bool
        Whether slopes are for one SD of the moderator.
    """
    share = words.level_of(interval)
    keys = ["outcome", "quantity", "level"]
    prior = {tuple(row[key] for key in keys): words.prior(row) for row in priors.to_dict("records")}
    found = []
    for outcome, own in table.groupby("outcome", sort=False):
        rows = []
        for row in own.to_dict("records"):
            digits = decimals(row["sd"], row["mean"])
            rows.append(
                {
                    **named(fit, row),
                    **({} if outcome in fit.outcomes else _visit(row)),
                    "Unit": words.unit(
                        fit.study, row["quantity"], outcome=str(outcome), per_sd=per_sd
                    ),
                    "Mean": number(row["mean"], digits),
                    "SD": number(row["sd"], digits),
                    f"{share} interval": words.interval(row["lower"], row["upper"], digits),
                    "P(> 0)": words.chance(row["prob_positive"]),
                    "ESS": number(min(row["ess_bulk"], row["ess_tail"]), 0),
                    "R-hat": number(row["r_hat"], 3),
                    "Prior": prior.get(tuple(row[key] for key in keys), ""),
                }
            )
        found.append(
            Sheet(
                f"results_{outcome}",
                words.headed(fit, str(outcome)),
                rows,
                f"{share} equal-tailed intervals.",
                own,
                heads=3 if rows and "Visit" in rows[0] else 2,
                fewest=5,
                paper=["Unit"],
                subject=str(outcome),
            )
        )
    return found


def _visit(row: Mapping[Any, Any]) -> dict[str, str]:
    """The visit of a row of an outcome over time; nothing where there are none."""
    return {"Visit": str(row["visit"])} if "visit" in row else {}


def summary_legend(fit: Fit, *, per_sd: bool = False, at: float | None = None) -> list[str]:
    """What the columns of the tidy table are, and where arms are compared.

    Parameters
    ----------
    fit : Fit
    per_sd : bool
    at : float, optional
        The alliance that was named.
    """
    likewise = " Intercept, therapist SD and ICC likewise."
    slopes = []
    if fit.study.moderator is not None:
        label = fit.study.moderator.label
        unit = words.SLOPE.format(unit="SD" if per_sd else "point", moderator=label)
        slopes.append(f"Moderator slopes and interactions: {unit}.")
    if without := words.unrated_arms(fit.study):
        slopes.append(
            f"Patients of {', '.join(without)} have no {fit.study.measure.name}: slopes are those "
            f"of {', '.join(fit.study.rated_arms)}."
        )
    return [
        *evidence_lines(fit),
        *slopes,
        f"{places_in_words(fit, at)}{words.of_moderator(fit.study, likewise)}",
        "Posterior means and equal-tailed intervals. P(> 0): posterior probability that the "
        "quantity is above zero; for an outcome on which lower scores are better, above zero is "
        "worse. ESS: the smaller of the effective numbers of draws in the bulk and in the tails.",
        *([RATIOS_LEGEND] if any(fit.design(name).family.ratio for name in fit.outcomes) else []),
    ]


def evidence_lines(fit: Fit) -> list[str]:
    """What the data leave of priors from the prior pack, by outcome; empty where there are none.

    Parameters
    ----------
    fit : Fit
    """
    lines = []
    for outcome in fit.outcomes:
        kept = evidence_kept(fit[outcome])
        if kept is None:
            continue
        known = kept.known
        verdict = "data and evidence conflict" if kept.conflict else "no conflict"
        lines.append(
            f"{words.label(fit.study, outcome)}: the slope's prior in SDs is {known.weight:g} "
            f"N({figures(known.location)}, {figures(known.spread, 2)}) from {known.entry} and "
            f"{1 - known.weight:.3g} N(0, {kept.vague:g}). Weight of the evidence after the data "
            f"{words.chance(kept.weight)} (Bayes factor {figures(kept.bayes_factor, 2)}): "
            f"{verdict}."
        )
    return lines


RATIOS_LEGEND = (
    "Marginal: averages over the patients, one arm against the other. Conditional: one patient "
    "against an equal one; odds ratios are then farther from 1. A ratio's mean is that of its "
    "logarithm, exponentiated, its SD that of the logarithm times the mean."
)


PRIORS_LEGEND = (
    "N(mean, SD): normal; half-N(scale): half-normal; log-N(mean, SD): normal on the logarithm."
)


def numbers_needed(fit: Fit, table: pd.DataFrame, *, interval: float) -> list[Sheet]:
    """Numbers needed to treat of the binary outcomes, a sheet for each; none of other outcomes.

    Parameters
    ----------
    fit : Fit
    table : pandas.DataFrame
        As from `Fit.summary`.
    interval : float
        Probability of the table's intervals.
    """
    share, found = words.level_of(interval), []
    for outcome, own in ratios.numbers_needed(fit.study, table).groupby("outcome", sort=False):
        rows: list[Row] = [
            {
                "Contrast": words.level(fit.study, row["contrast"]),
                f"Patients treated for one event ({share} interval)": row["words"],
            }
            for row in own.to_dict("records")
        ]
        found.append(
            Sheet(
                f"number_needed_{outcome}",
                f"{words.label(fit.study, str(outcome))}: number needed to treat",
                rows,
                "One over the marginal risk difference and over the limits of its interval, of the "
                "first arm instead of the second. Where the interval of the difference includes "
                "zero, that of the number runs from a benefit through infinity to a harm "
                "(doi:10.1136/bmj.317.7168.1309).",
                own,
                heads=1,
                subject=str(outcome),
            )
        )
    return found


def priors(fit: Fit, table: pd.DataFrame) -> Sheet:
    """The priors on the outcomes' own scales, an outcome beside the other.

    Parameters
    ----------
    fit : Fit
    table : pandas.DataFrame
        As from `Fit.priors`, or its rows of some outcomes.
    """
    outcomes = [str(name) for name in dict.fromkeys(table["outcome"])]
    one = len(outcomes) == 1
    heads = {name: "Prior" if one else words.label(fit.study, name) for name in outcomes}
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for row in table.to_dict("records"):
        key = (row["quantity"], row["level"])
        # A column for each outcome, though the first rows may not be of all
        own = rows.setdefault(key, {**named(fit, row), **dict.fromkeys(heads.values(), "")})
        own[heads[row["outcome"]]] = words.prior(row)
    return Sheet(
        "priors",
        f"{words.headed(fit, outcomes[0])}: priors" if one else "Priors",
        list(rows.values()),
        "In points of each outcome"
        f"{words.of_moderator(fit.study, '; slopes for one point of {name}')}.",
        table,
        heads=2,
        subject=outcomes[0] if one else "",
    )


COMPARED = (
    *("moderator_slope", "arm_contrast", "interaction"),
    *ratios.CONDITIONAL.values(),
    *ratios.OF_MODERATOR.values(),
    *("risk_ratio", "odds_ratio", "rate_ratio"),
)


def compared_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Slopes, contrasts and interactions of a comparison, and what was published.

    Parameters
    ----------
    table : pandas.DataFrame
        As from `inference.published.comparison.compare`.
    """
    slopes = table["quantity"].isin(("moderator_slope", *ratios.OF_MODERATOR.values()))
    overall = ~slopes | (table["level"] == AVERAGE)
    shown = (table["quantity"].isin(COMPARED) & overall) | table["claim"].notna()
    return table[shown].rename(columns={"posterior_mean": "posterior_estimate"})


def comparison(fit: Fit, table: pd.DataFrame, *, interval: float) -> list[Sheet]:
    """Published, refitted and posterior estimates side by side, by outcome.

    Parameters
    ----------
    fit : Fit
    table : pandas.DataFrame
        As from `inference.published.comparison.compare`.
    interval : float
        Probability of the table's intervals.
    """
    share, published = words.level_of(interval), bool(table["claim"].notna().any())
    rows = compared_rows(table)
    found = []
    for outcome, own in rows.groupby("outcome", sort=False):
        sources = {
            source: head
            for source, head in words.SOURCES.items()
            if f"{source}_estimate" in rows
            and (source != "published" or published)
            and _refitted_by(fit, str(outcome), source)
        }
        counted = words.points(fit.study.outcomes[str(outcome)]) if outcome != JOINT else "points"
        cells = []
        for row in own.to_dict("records"):
            shown = {**named(fit, row)}
            shown |= {head: _estimate(row, source) for source, head in sources.items()}
            if published:
                claim = row["claim"] if isinstance(row["claim"], str) else ""
                shown["Published"] = shown["Published"] or claim
                shown["Verdict"] = row["verdict"] if isinstance(row["verdict"], str) else ""
            cells.append(shown | {"P(> 0)": words.chance(row["prob_positive"])})
        what = "published and refitted" if published else "refitted"
        found.append(
            Sheet(
                f"comparison_{outcome}",
                f"{words.headed(fit, str(outcome))}: {what}",
                cells,
                f"Estimates with {share} intervals{' (published: as printed)' * published} in "
                f"{counted}"
                + words.of_moderator(fit.study, "; slopes and interactions for one point of {name}")
                + ".",
                table[table["outcome"] == outcome],
                heads=2,
                fewest=5,
                stack=list(sources.values()),
                subject=str(outcome),
            )
        )
    return found


def _refitted_by(fit: Fit, outcome: str, source: str) -> bool:
    """Whether an outcome is one of those that such models are fitted to."""
    events = outcome != JOINT and fit.specs[outcome].family in OWN_FAMILIES
    return source in ("published", "posterior") or (source in OF_EVENTS) == events


def _estimate(row: Mapping[Any, Any], source: str) -> str:
    value, lower, upper = (row[f"{source}_{name}"] for name in ("estimate", "lower", "upper"))
    # As many digits as the posterior has, and at least one of an interval of its own
    spread = row["posterior_sd"]
    digits = max(decimals(spread), shared_decimals([spread, (upper - lower) / 4]))
    return words.estimate(value, lower, upper, digits)


def refit_notes(fit: Fit, table: pd.DataFrame) -> list[str]:
    """What befell the refits, by outcome."""
    return [
        f"{words.label(fit.study, str(outcome))}: {note.rstrip('.')}."
        for outcome, notes in table.groupby("outcome", sort=False)["refit_note"]
        for note in dict.fromkeys(notes)
        if note
    ]


def comparison_legend(fit: Fit, table: pd.DataFrame, *, at: float | None = None) -> list[str]:
    """What is compared, where, and what its verdicts mean.

    Parameters
    ----------
    fit : Fit
    table : pandas.DataFrame
        As for `comparison`.
    at : float, optional
        The alliance that was named for the contrasts of arms.
    """
    published = bool(table["claim"].notna().any())
    linear = any(spec.family not in OWN_FAMILIES for spec in fit.specs.values())
    return [
        (
            "OLS: ordinary least squares"
            + " with all interactions of the arms; OLS, main effects: without them"
            * (len(fit.study.rated_arms) > 1)
            + "; REML: the linear mixed model with the posterior's therapist effects."
        )
        * linear
        + " Published numbers are turned to later arm minus earlier arm." * published,
        words.sentences([*comparison_places(fit, at), *refit_words(table)]),
        *(VERDICTS if published else ()),
    ]


VERDICTS = (
    "undetermined: the interval includes zero, or overlaps the published one without holding its "
    "estimate; it shows neither presence nor absence.",
    "Published and posterior intervals of the same patients share their chance: that they overlap "
    "is no sign of agreement.",
)


def beside(runs: Mapping[str, Fit], table: pd.DataFrame, *, interval: float) -> list[Sheet]:
    """The quantities of several runs side by side, by outcome.

    Parameters
    ----------
    runs : mapping of str to Fit
    table : pandas.DataFrame
        As from `inference.runs.choices.runs_beside`.
    interval : float
        Probability of the table's intervals.
    """
    found = []
    for outcome, own in table.groupby("outcome", sort=False):
        # The first run that has the outcome gives its scale and number of patients
        shared = next(
            fit
            for fit in runs.values()
            if outcome in fit.outcomes or (outcome == JOINT and fit.shared is not None)
        )
        rows = []
        for row in own.to_dict("records"):
            cells = {**named(shared, row)}
            for name in runs:
                mean, sd, lower, upper = (
                    row[f"{name}_{each}"] for each in ("mean", "sd", "lower", "upper")
                )
                cells[name] = words.estimate(mean, lower, upper, decimals(sd, mean))
            rows.append(cells)
        found.append(
            Sheet(
                f"beside_{outcome}",
                f"{words.headed(shared, str(outcome))}: runs side by side",
                rows,
                f"Posterior means and {words.level_of(interval)} equal-tailed intervals.",
                own,
                heads=2,
                subject=str(outcome),
            )
        )
    return found


def beside_legend(runs: Mapping[str, Fit], *, at: float | None = None) -> list[str]:
    """Where the arms of each run are compared.

    Parameters
    ----------
    runs : mapping of str to Fit
    at : float, optional
        The alliance that was named.
    """
    places = {name: places_in_words(fit, at) for name, fit in runs.items()}
    if len(set(places.values())) == 1:
        return [next(iter(places.values()))]
    told = [f"{name}: {place[0].lower()}{place[1:]}" for name, place in places.items()]
    return [*told, *(["`at` compares the arms of all runs at one alliance."] if at is None else [])]


def flow(study: Study, table: pd.DataFrame) -> Sheet:
    """How many patients are analysed and left out, an outcome beside the other.

    Parameters
    ----------
    study : Study
    table : pandas.DataFrame
        As `data_prep.trial.trial.Trial.flow`, a row for each outcome.
    """
    counts = table.set_index("outcome")
    names = [name for name in words.FLOW if name in counts]
    if study.moderator is None:
        names = [name for name in names if "{moderator}" not in words.FLOW[name]]
    moderator = words.of_moderator(study, "{name}")
    rows = [
        {
            "Patients": words.FLOW[name].format(moderator=moderator),
            **{words.label(study, str(k)): str(counts.loc[k, name]) for k in counts.index},
        }
        for name in names
    ]
    breaks = [k for k, name in enumerate(names) if name == "without_followup"]
    columns = 1 + len(counts)
    title = "Number of patients, by outcome"
    return Sheet("flow", title, rows, "", table, fewest=columns, breaks=breaks)
