"""Arms compared along the alliance, and held against thresholds: tables and what is said below."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from alliance.diagnostics import words
from alliance.diagnostics.sentences import CERTAIN
from alliance.diagnostics.sheet import Cell, Sheet, fitting
from alliance.inference.answers.decisions import Decisions
from alliance.inference.answers.effects import Effects, Region, effects_table
from alliance.inference.digits import (
    decimals,
    interval_decimals,
    number,
    shared_decimals,
)
from alliance.inference.draws.summaries import described
from alliance.inference.runs.fit import Fit

MARK = words.EXTRAPOLATED
OWN = "own"  # a value that is each patient's own
Record = dict[Any, Any]


def contrasts_along(fit: Fit, answer: Effects, numbers: pd.DataFrame | None = None) -> Sheet:
    """Contrasts of the arms at values of the alliance.

    Parameters
    ----------
    fit : Fit
    answer : Effects
    numbers : pandas.DataFrame, optional
        What its file holds; the rows shown by default.
    """
    share = words.level_of(answer.interval)
    chances = asked_chances(answer.thresholds.better_by, answer.thresholds.equivalence)

    def cells(row: Record, digits: int) -> dict[str, str]:
        return {
            "Mean": number(row["mean"], digits),
            **{head: words.chance(row[name]) for name, head in chances.items()},
            f"{share} interval": words.interval(row["lower"], row["upper"], digits),
            f"{share}{BAND}": words.interval(row["band_lower"], row["band_upper"], digits),
        }

    table = effects_table(answer, every=False)
    own = table[table["quantity"] == "arm_contrast"]
    sheet = _sectioned(fit, answer, own, "Contrast", words.headed(fit, answer.outcome), cells)
    told = words.points(fit.study.outcomes[answer.outcome])
    note = f"Contrasts in {told}, at values of the {fit.study.measure.name}."
    return replace(sheet, note=note, numbers=own if numbers is None else numbers)


def scores_along(fit: Fit, answer: Effects) -> Sheet:
    """Each arm's expected score at values of the alliance.

    Parameters
    ----------
    fit : Fit
    answer : Effects
    """
    share = words.level_of(answer.interval)

    def cells(row: Record, digits: int) -> dict[str, str]:
        return {
            "Mean": number(row["mean"], digits),
            "P(best)": words.chance(row["prob_best"]),
            f"{share} interval": words.interval(row["lower"], row["upper"], digits),
            f"{share}{BAND}": words.interval(row["band_lower"], row["band_upper"], digits),
        }

    table = effects_table(answer, every=False)
    own = table[table["quantity"] == "expected_score"]
    return _sectioned(fit, answer, own, "Arm", _short(fit, answer, "expected score by arm"), cells)


def slopes_compared(fit: Fit, answer: Effects) -> Sheet:
    """Differences of the arms' slopes.

    Parameters
    ----------
    fit : Fit
    answer : Effects
    """
    table = effects_table(answer, every=False)
    share = words.level_of(answer.interval)
    rows = []
    for row in table[table["quantity"] == "interaction"].to_dict("records"):
        digits = decimals(row["sd"], row["mean"])
        rows.append(
            {
                "Contrast": words.level(fit.study, row["level"]),
                f"For one {fit.study.measure.unit or 'point'} of {fit.study.measure.name}": number(
                    row["mean"], digits
                ),
                f"{share} interval": words.interval(row["lower"], row["upper"], digits),
                "P(> 0)": words.chance(row["prob_positive"]),
            }
        )
    return Sheet(
        f"slopes_{answer.outcome}",
        _short(fit, answer, "difference of slopes"),
        rows,
        fewest=4,
        subject=answer.outcome,
    )


def crossings(fit: Fit, answer: Effects) -> Sheet:
    """Where the better of two arms changes along the alliance, and for how many patients.

    Parameters
    ----------
    fit : Fit
    answer : Effects
        With an interaction.
    """
    table = effects_table(answer, every=False)
    told = table[table["quantity"].isin(["crossing", "crossing_chance", "share_beyond"])]
    found = {(row["quantity"], row["level"]): row for row in told.to_dict("records")}
    share, name = words.level_of(answer.interval), fit.study.measure.name
    rows = []
    for each in answer.crossings:
        at, beyond = (found[quantity, each.level] for quantity in ("crossing", "share_beyond"))
        digits = max(0, interval_decimals(at["lower"], at["upper"]))
        rows.append(
            {
                "Contrast": words.level(fit.study, each.level),
                "P(changes)": words.chance(each.chance),
                f"At {name}": number(at["mean"], digits),
                f"{share} interval": words.interval(at["lower"], at["upper"], digits),
                "Patients beyond": words.percent(beyond["mean"]),
                "Interval": " to ".join(words.percent(beyond[end]) for end in ("lower", "upper")),
            }
        )
    return Sheet(
        f"crossings_{answer.outcome}",
        _short(fit, answer, f"where the better arm changes along the {name}"),
        rows,
        numbers=told,
        fewest=6,
        subject=answer.outcome,
    )


def crossing_lines(fit: Fit, answer: Effects) -> list[str]:
    """What the crossings are, and what choosing the arm by the alliance would gain.

    Parameters
    ----------
    fit : Fit
    answer : Effects
        With an interaction.
    """
    name, rule = fit.study.measure.name, answer.chosen
    low, high = answer.observed
    share = words.level_of(answer.interval)
    if rule is None:
        return []
    arms = [words.level(fit.study, arm) for arm in answer.curves.arms]
    told = (
        f"P(changes): the chance that the better of two arms changes between {low:g} and {high:g}; "
        f"the {name} at which it does, and its interval, are those of the draws in which it does. "
        "Patients beyond: those for whom the arm is better that is worse for most."
    )
    others = " and ".join(
        f"{arms[k]} for {words.percent(part)} of them"
        for k, part in enumerate(rule.shares)
        if k != rule.single and part > 0
    )
    single = arms[rule.single]
    if not others:
        return [
            told,
            f"At every patient's {name} the posterior mean is best with {single}; P(better) tells "
            "how sure that is.",
        ]
    row = described(rule.gain, answer.interval)
    digits, chance = decimals(row["sd"], row["mean"]), float((rule.gain > 0).mean())
    interval = words.interval(row["lower"], row["upper"], digits)
    if max(chance, 1 - chance) >= CERTAIN:
        verb, size = ("gain", row["mean"]) if chance > 0.5 else ("lose", -row["mean"])
        gained = (
            f"it would {verb} {number(size, digits)} points over {single} for all (gain: {share} "
            f"interval {interval}; probability of this direction "
            f"{words.chance(max(chance, 1 - chance))})"
        )
    else:
        gained = (
            f"whether it would gain over {single} for all these data cannot tell: by {interval} "
            f"points ({share} interval); the probability of a gain is {words.chance(chance)}"
        )
    return [
        told,
        f"Choosing for each patient the arm with the best posterior mean at the {name} of that "
        f"patient would mean {others} and {single} for the others; {gained}. The {name} is known "
        "only once treatment has begun, and the trial did not allot it.",
    ]


def _short(fit: Fit, answer: Effects | Decisions, about: str) -> str:
    return f"{words.label(fit.study, answer.outcome)}: {about}"


def _sectioned(
    fit: Fit,
    answer: Effects | Decisions,
    table: pd.DataFrame,
    first: str,
    title: str,
    cells: Any,
    *,
    digits: Any = None,
) -> Sheet:
    """Rows by arm or contrast, each named in its first row, with their values of the alliance."""
    rows: list[dict[str, str]] = []
    breaks, moderator = [], fit.study.moderator
    for _, section in table.groupby(["quantity", "level"], sort=False):
        shared = shared_decimals(section["sd"])
        for row in section.to_dict("records"):
            place = {} if moderator is None else {moderator.name.capitalize(): _value(row)}
            rows.append(
                {
                    first: words.level(fit.study, row["level"]),
                    **place,
                    **cells(row, shared if digits is None else digits(row)),
                }
            )
        breaks.append(len(rows) - 1)
    return Sheet(
        f"effects_{answer.outcome}",
        title,
        rows,
        numbers=table,
        heads=1 if moderator is None else 2,
        fewest=sum(not head.endswith(BAND) for head in rows[0]),
        breaks=breaks,
        once=1,
        subject=answer.outcome,
    )


BAND = " band"  # ends the heading of what gives way first: the interval says the same of one value


def _value(row: Record) -> str:
    value = row["moderator"]
    return OWN if value != value else f"{value:.5g}{MARK if row['extrapolated'] else ''}"


def asked_chances(threshold: float | None, rope: tuple[float, float] | None) -> dict[str, str]:
    """Columns of probabilities that were asked for, with their headings.

    Parameters
    ----------
    threshold : float or None
    rope : tuple of float or None
    """
    columns = {"prob_better": "P(better)"}
    if threshold is not None and threshold == threshold:
        columns["prob_better_by"] = words.by(threshold)
    if rope is not None and rope[0] == rope[0]:
        columns["prob_equivalent"] = f"P({rope[0]:g} to {rope[1]:g})"
    return columns


def region_lines(fit: Fit, answer: Effects) -> list[str]:
    """Sentences about where the simultaneous band of each contrast excludes zero.

    Parameters
    ----------
    fit : Fit
    answer : Effects
    """
    lines = [f"Where the {words.level_of(answer.interval)} band over all values excludes zero:"]
    low, high = answer.curves.moderator[[0, -1]]
    for which in answer.contrasts:
        regions = answer.regions(which.level)
        told = "; ".join(_region(fit, answer, which, region) for region in regions)
        nowhere = f"nowhere from {low:g} to {high:g}, which does not show that there is no effect"
        lines.append(f"  {words.level(fit.study, which.level)}: {told or nowhere}.")
    return lines


def _region(fit: Fit, answer: Effects, which: Any, region: Region) -> str:
    better = which.first if region.sign == answer.curves.direction else which.second
    low, high = answer.observed
    mark = " (partly extrapolated)" if region.start < low or region.end > high else ""
    ends = answer.curves.moderator[[0, -1]]
    start, end = (
        f"{value:g}" if value in ends else f"{value:.3g}" for value in (region.start, region.end)
    )
    arm = words.level(fit.study, answer.curves.arms[better])
    return f"{fit.study.measure.name} {start} to {end}{mark}, {arm} better"


SLOPES_DECIDE = (
    "Whether a contrast changes with the {name} is told by the difference of slopes alone: that it "
    "is clear of zero at some values and not at others, or for one contrast and not for another, "
    "proves nothing."
)


def effects_about(fit: Fit, answer: Effects) -> list[str]:
    """What the effects along the alliance of one outcome rest on.

    Parameters
    ----------
    fit : Fit
    answer : Effects
    """
    name, spec = fit.study.measure.name, fit.specs[answer.outcome].moderator
    average = f" whose patients have the average {name}" * (answer.therapist == "average")
    return words.among(
        [
            *_slopes_about(fit, answer),
            f"This run holds no patients' rows: the range is that of two SDs around the mean "
            f"{name}, within the scale, and shares of patients are not told."
            if fit.rowless
            else "",
            _run_of_values(fit, answer),
            words.past_the_scale(
                fit.study.outcomes[answer.outcome],
                fit.specs[answer.outcome].family,
                answer.curves.expected.mean(axis=0).ravel(),
            ),
            f"Patients along the {name} differ within one therapist{average}."
            if spec.structure == "within_between"
            else "",
            f"Values of the {name} are true ones, not ratings."
            if spec.reliability is not None or spec.ceiling is not None
            else "",
        ]
    )


def _run_of_values(fit: Fit, answer: Effects) -> str:
    """From where to where the curve runs, unless values were named."""
    if answer.named:
        return ""
    low, high = answer.curves.moderator[[0, -1]]
    if fit.rowless:
        return (
            f"Curves run over its middle 90% ({low:g} to {high:g}); `alliance` names other values."
        )
    least, most = answer.observed
    return (
        f"Curves run from the 5th to the 95th percentile of the observed {fit.study.measure.name} "
        f"({low:g} to {high:g}; observed {least:g} to {most:g}); `alliance` names other values."
    )


def _slopes_about(fit: Fit, answer: Effects) -> list[str]:
    """What tells whether a contrast changes along the alliance."""
    name, without = fit.study.measure.name, words.unrated_arms(fit.study)
    told = []
    if answer.slopes:
        told.append(SLOPES_DECIDE.format(name=name))
    elif not without:
        told.append("The model has no interaction: the slopes of all arms are the same.")
    if without:
        arms = ", ".join(without)
        told.append(
            f"Against {arms} a contrast changes with the {name} by the slope of the other arm."
        )
    return told


def effects_legend(fit: Fit, answers: Sequence[Effects]) -> list[str]:
    """What contrasts, intervals and bands are.

    Parameters
    ----------
    fit : Fit
    answers : sequence of Effects
        Of one interval.
    """
    first = answers[0]
    by = any(answer.thresholds.better_by is not None for answer in answers)
    rope = any(answer.thresholds.equivalence is not None for answer in answers)
    low, high = first.observed
    start, end = first.curves.moderator[[0, -1]]
    source = first.thresholds.source
    return words.among(
        [
            _contrast_words(by=by, unit=", in points of the outcome"),
            "P(low to high): the contrast lies in the region of practical equivalence."
            if rope
            else "",
            f"Source of thresholds and regions: {source}." if source else "",
            f"Averaged over the analysed patients, all imagined with that value of "
            f"{fit.study.measure.label}"
            f"{words.with_therapist(fit.study, words.therapist(first.therapist))}.",
            *_without_words(fit),
            "Equal-tailed intervals hold for each value by itself, and the whole curve lies within "
            f"them less often than {words.level_of(first.interval)}; bands hold for all values "
            f"from {start:g} to {end:g} at once.",
            f"{MARK} extrapolated: ratings were from {low:g} to {high:g}."
            if any(answer.extrapolated.any() for answer in answers)
            else "",
            f"Arms: {words.arms(fit.study)}.",
        ]
    )


def _without_words(fit: Fit, elsewhere: str = "") -> list[str]:
    """Say of which arms the scores do not change along the alliance."""
    without = words.unrated_arms(fit.study)
    if not without:
        return []
    name = fit.study.measure.name
    return [
        f"Patients of {', '.join(without)} have no {name}: it does not enter their scores there"
        f"{elsewhere}."
    ]


def _contrast_words(*, by: bool, unit: str = "") -> str:
    told = "; P(by x): by x points or more" if by else ""
    return (
        f"Contrasts: first arm minus second{unit}. P(better): the first arm is better than the "
        f"second{told}."
    )


# Thresholds --------------------------------------------------------------------------------------


def decisions(fit: Fit, answer: Decisions, *, interval: float) -> list[Sheet]:
    """Effects, shares of patients and lifts, against what was named.

    Parameters
    ----------
    fit : Fit
    answer : Decisions
    interval : float
        Probability of its intervals.
    """
    table, share = answer.table, words.level_of(interval)
    found = [_decided_effects(fit, answer, table[table["quantity"] == "arm_contrast"], share)]
    for quantity in ("share_improved", "share_reaching"):
        part = table[table["quantity"].isin([quantity, f"{quantity}_contrast"])]
        if len(part):
            found.append(_shares(fit, answer, part, share))
    lifts = table[table["lift"].notna()]
    if len(lifts):
        found.append(_lifts(fit, answer, lifts, share))
    return found


def _chances_of(part: pd.DataFrame) -> dict[str, str]:
    first = part.iloc[0]
    return asked_chances(first["threshold"], (first["rope_low"], first["rope_high"]))


def _decided_effects(fit: Fit, answer: Decisions, part: pd.DataFrame, share: str) -> Sheet:
    chances = _chances_of(part)

    def cells(row: Record, digits: int) -> dict[str, str]:
        return {
            "Mean": number(row["mean"], digits),
            f"{share} interval": words.interval(row["lower"], row["upper"], digits),
            **{head: words.chance(row[name]) for name, head in chances.items()},
        }

    return _sectioned(fit, answer, part, "Contrast", words.headed(fit, answer.outcome), cells)


def _shares(fit: Fit, answer: Decisions, part: pd.DataFrame, share: str) -> Sheet:
    first = part.iloc[0]
    if pd.notna(first["threshold"]):
        about = f"share who improve by {first['threshold']:g} points or more"
    else:
        about = f"share with a score of {first['reach']:g} or better"

    def cells(row: Record, digits: int) -> dict[str, str]:
        return {
            "Share": number(row["mean"], digits),
            f"{share} interval": words.interval(row["lower"], row["upper"], digits),
            "P(better)": words.chance(row["prob_better"]),
        }

    title = _short(fit, answer, about)
    return _sectioned(
        fit,
        answer,
        part,
        "Arm, contrast",
        title,
        cells,
        digits=lambda row: max(2, interval_decimals(row["lower"], row["upper"])),
    )


def _lifts(fit: Fit, answer: Decisions, part: pd.DataFrame, share: str) -> Sheet:
    chances = _chances_of(part)
    name, points = fit.study.measure.name, part.iloc[0]["lift"]
    own = part["quantity"] == "lift"
    rows: list[dict[str, str]] = []
    breaks = []
    for section in (part[own], part[~own]):
        digits = shared_decimals(section["sd"])
        for row in section.to_dict("records"):
            level = words.level(fit.study, row["level"])
            means = "" if row["quantity"] == "lift" else ", therapist means too"
            rows.append(
                {
                    "Arm": Cell(f"{level}{means}", short=fitting(level, 0) + means),
                    "Mean": number(row["mean"], digits),
                    f"{share} interval": words.interval(row["lower"], row["upper"], digits),
                    **{head: words.chance(row[each]) for each, head in chances.items()},
                }
            )
        breaks.append(len(rows) - 1)
    about = f"change of the expected score, {name} lifted by {points:g} points"
    return Sheet(
        f"lifts_{answer.outcome}",
        _short(fit, answer, about),
        rows,
        numbers=part,
        fewest=3 + len(chances),
        breaks=breaks,
        subject=answer.outcome,
    )


def decisions_legend(fit: Fit, answers: Sequence[Decisions]) -> list[str]:
    """What was averaged over, and what shares and lifts are.

    Parameters
    ----------
    fit : Fit
    answers : sequence of Decisions
    """
    tables = pd.concat([answer.table for answer in answers])
    quantities = set(tables["quantity"])
    sources = tables["source"].dropna().to_list()
    name = words.of_moderator(fit.study, "{name}")
    where = f" at their own {name} ({OWN}) or all at one value;" if name else ""
    with_one = " who has one" if words.unrated_arms(fit.study) else ""
    without = fit.study.arms_without_therapist
    known = len(without) < len(fit.study.arms)
    imagined = f"Averaged over the analysed patients, imagined in each arm,{where}"
    return words.among(
        [
            _contrast_words(by=bool(tables["threshold"].notna().any())),
            f"Source of thresholds and regions: {sources[0]}." if sources else "",
            f"{imagined} an average therapist's patients."
            if known
            else f"{imagined.rstrip(',;')}.",
            *_without_words(fit, elsewhere=", and elsewhere they have the mean of the others"),
            _shares_words(known=known, some=len(without) > 0)
            if any(quantity.startswith("share") for quantity in quantities)
            else "",
            *(answer.counted.steps for answer in answers),
            "Lift: P(better) is the chance that the change is for the better; as treated: every "
            f"patient{with_one} in the arm of the trial."
            if "lift" in quantities
            else "",
            f"therapist means too: their therapists' mean {name} is lifted with the patients' own."
            if "lift_with_therapist_means" in quantities
            else "",
            f"{MARK} extrapolated." if tables["extrapolated"].any() else "",
            f"Arms: {words.arms(fit.study)}.",
        ]
    )


def decisions_notes(fit: Fit, answers: Iterable[Decisions]) -> Iterator[str]:
    """What must be known beside the numbers.

    Parameters
    ----------
    fit : Fit
    answers : iterable of Decisions
    """
    name = words.of_moderator(fit.study, "{name}")
    lifted = False
    for answer in answers:
        if fit.rowless:
            yield (
                f"{answer.outcome}: contrasts alone. Shares of patients need their rows, and this "
                "run holds none."
            )
        elif answer.table["threshold"].notna().any() and not answer.improvement:
            yield (
                f"{answer.outcome} has no baseline: the share who improve cannot be told; `reach` "
                "gives the share who reach a score."
            )
        yield from answer.counted.ends
        if answer.raised is None:
            continue
        lift, lifted = answer.raised, True
        end = "high" if lift.points > 0 else "low"
        further = (
            f"; {lift.extrapolated:.0f} are lifted beyond the observed {end}est {name}."
            if lift.extrapolated
            else "."
        )
        yield (
            f"{answer.outcome}: lifted values stop at {lift.limit:g}, so that "
            f"{lift.capped:.0f} of {lift.patients} patients do not get the whole {lift.points:g} "
            f"points{further}"
        )
    if lifted:
        yield (
            f"The lift reads the association of {name} and outcome as causal: as if nothing else "
            f"differed between patients with a higher and a lower {name}. The trial did not allot "
            "it."
        )


def _shares_words(*, known: bool, some: bool) -> str:
    """Of whom shares are, where therapists are recorded, and some arms may have none."""
    if not known:
        return "Shares: the interval does not hold the chance of small numbers."
    return (
        "Shares: of the patients of a therapist drawn anew"
        + " (in arms that have therapists)" * some
        + "; the interval holds what differs between therapists, and not the chance of small "
        "numbers."
    )
