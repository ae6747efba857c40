"""Answers about patients: predictions, averages, effects along the alliance, thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from alliance.diagnostics import words
from alliance.diagnostics.sheet import Cell, Sheet, fitting
from alliance.inference.answers.averages import Averages
from alliance.inference.answers.bands import Region
from alliance.inference.answers.decisions import Decisions
from alliance.inference.answers.effects import Effects, effects_table
from alliance.inference.answers.predictions import Predictions, unseen_columns
from alliance.inference.digits import (
    decimals,
    interval_decimals,
    number,
    shared_decimals,
    short,
)
from alliance.inference.ranges import beyond
from alliance.inference.runs.fit import Fit

MARK = words.EXTRAPOLATED
OWN = "own"  # a value that is each patient's own
AVERAGED = {
    "new": "the mean over new therapists",
    "known": "the mean over the trial's therapists, each counted once",
    "own": "each patient's own therapist",
    "average": "an average therapist, whose effects are zero",
}
Record = dict[Any, Any]


# Predictions -------------------------------------------------------------------------------------


def predictions(fit: Fit, answer: Predictions, *, of_file: bool = False) -> Sheet:
    """Expected scores and single outcomes by arm.

    Parameters
    ----------
    fit : Fit
    answer : Predictions
    of_file : bool
        Whether patients came from a file, and are told apart by their names.
    """
    table, share = answer.table, words.level_of(answer.interval)
    chances = _reached(table, fit.study.outcomes[answer.outcome].better)

    def cells(row: Record, digits: int) -> dict[str, str]:
        return {
            "Expected score": number(row["expected"], digits),
            f"{share} interval": _span(row, "expected", digits),
            **{head: words.chance(row[name]) for name, head in chances.items()},
            f"{share} of single scores": _span(row, "outcome", digits),
        }

    return _asked_sheet(fit, answer, table, "arm", "predictions", cells, of_file=of_file)


def prediction_contrasts(fit: Fit, answer: Predictions, *, of_file: bool = False) -> Sheet | None:
    """The arms compared for the same patient; None without a comparison.

    Parameters
    ----------
    fit : Fit
    answer : Predictions
    of_file : bool
    """
    table, share = answer.contrasts, words.level_of(answer.interval)
    if table is None:
        return None
    chances = {"prob_better": "P(better)"}
    if "better_by" in table:
        chances["prob_better_by"] = words.by(table["better_by"].iloc[0])
    chances["prob_outcome_better"] = "Single score: P(better)"
    if "better_by" in table:
        chances["prob_outcome_better_by"] = f"Single score: {chances['prob_better_by']}"

    def cells(row: Record, digits: int) -> dict[str, str]:
        return {
            "Difference": number(row["expected"], digits),
            f"{share} interval": _span(row, "expected", digits),
            **{head: words.chance(row[name]) for name, head in chances.items()},
        }

    about = "arms compared for the same patient"
    return _asked_sheet(fit, answer, table, "contrast", about, cells, of_file=of_file)


def averages(fit: Fit, answer: Averages, table: pd.DataFrame, first: str) -> Sheet:
    """Averages over patients by arm, or the arms compared.

    Parameters
    ----------
    fit : Fit
    answer : Averages
    table : pandas.DataFrame
        Its ``table`` or ``contrasts``.
    first : {"arm", "contrast"}
    """
    share = words.level_of(answer.interval)
    chances = _reached(table, fit.study.outcomes[answer.outcome].better)
    main = "Expected score" if first == "arm" else "Difference"

    def cells(row: Record, digits: int) -> dict[str, str]:
        shown = {
            main: number(row["expected"], digits),
            f"{share} interval": _span(row, "expected", digits),
        }
        for name, head in chances.items():
            own = max(3, interval_decimals(row[f"{name}_lower"], row[f"{name}_upper"]))
            shown[f"Share {head[2:-1]}"] = number(row[name], own)
            shown[f"{share} of share {head[2:-1]}"] = _span(row, name, own)
        if "prob_better" in row:
            shown["P(better)"] = words.chance(row["prob_better"])
        if "prob_better_by" in row:
            shown[words.by(row["better_by"])] = words.chance(row["prob_better_by"])
        return shown

    about = "averages" if first == "arm" else "averages, arms compared"
    return _asked_sheet(fit, answer, table, first, about, cells, differing=False)


def _asked_sheet(
    fit: Fit,
    answer: Predictions | Averages,
    table: pd.DataFrame,
    first: str,
    about: str,
    cells: Any,
    *,
    of_file: bool = False,
    differing: bool = True,
) -> Sheet:
    """Rows of asked patients: what tells them apart, then the answer."""
    name = fit.study.moderator.name
    heads = {"patient": "Patient"} if of_file else {}
    heads |= {first: first.capitalize(), "moderator": name.capitalize()}
    if differing:  # what never differs is said below the table
        for column in table.columns[: table.columns.get_loc("extrapolated")]:
            if column not in ("outcome", "patient", *heads) and _differs(table[column]):
                own = column in ("baseline", "therapist")
                heads[column] = column.capitalize() if own else column
    unseen = _unseen(fit, answer.outcome, table)
    digits = decimals(float(table["expected_sd"].min()), float(table["expected"].iloc[0]))
    records = table.to_dict("records")
    rows = [
        {head: _told(fit, row, column, unseen) for column, head in heads.items()}
        | cells(row, digits)
        for row in records
    ]
    # The last row of a patient: the arms then begin anew
    starts = [k for k, row in enumerate(records) if row[first] == records[0][first]]
    return Sheet(
        f"predictions_{answer.outcome}",
        f"{words.headed(fit, answer.outcome)}: {about}",
        rows,
        f"{words.level_of(answer.interval)} equal-tailed intervals.",
        table,
        heads=len(heads),
        fewest=4,
        breaks=[k - 1 for k in starts[1:]],
        subject=answer.outcome,
    )


def _told(fit: Fit, row: Record, column: str, unseen: Mapping[str, tuple[float, float]]) -> str:
    value = row[column]
    if column in ("arm", "contrast"):
        return words.level(fit.study, value)
    missing = value != value  # each patient has one of their own
    told = value if isinstance(value, str) else OWN if missing else short(value)
    if column in unseen and beyond([value], unseen[column])[0]:
        told += MARK
    return told


def _differs(values: pd.Series) -> bool:
    return bool((values != values.iloc[0]).any())


def _reached(table: pd.DataFrame, better: str) -> dict[str, str]:
    """Columns of chances of reaching thresholds, with their headings."""
    heads = {
        f"prob_{name}": f"P({sign} {table[name].iloc[0]:g})"
        for name, sign in {"at_least": ">=", "at_most": "<="}.items()
        if name in table
    }
    if "change" in table:
        sign = "+" if better == "higher" else "-"
        heads["prob_change"] = f"P(change {sign}{table['change'].iloc[0]:g})"
    return heads


def _span(row: Record, name: str, digits: int) -> str:
    return words.interval(row[f"{name}_lower"], row[f"{name}_upper"], digits)


def _unseen(fit: Fit, outcome: str, table: pd.DataFrame) -> dict[str, tuple[float, float]]:
    return unseen_columns(fit.design(outcome), table) if table["extrapolated"].any() else {}


def prediction_legend(fit: Fit, answer: Predictions, *, contrasts: bool = False) -> list[str]:
    """Whose scores are told, what they share, and how far the model may be trusted.

    Parameters
    ----------
    fit : Fit
    answer : Predictions
    contrasts : bool
        Whether arms are compared too.
    """
    table, described = answer.table, fit.study.outcomes[answer.outcome]
    whose = table["therapist"].unique()
    therapist = (
        words.therapist(whose[0])
        if len(whose) == 1
        else "the therapists named; patients of one new therapist share that one's draw"
    )
    unseen = _unseen(fit, answer.outcome, table)
    fixed = [
        f"{name} {short(table[name].iloc[0])}{MARK * (name in unseen)}"
        for name in table.columns[: table.columns.get_loc("therapist")]
        if name not in ("outcome", "patient", "arm", "moderator") and not _differs(table[name])
    ]
    low, high = described.range
    past = table["outcome_lower"].min() < low or table["outcome_upper"].max() > high
    family = words.plain(fit.specs[answer.outcome].family)
    return words.among(
        [
            f"Expected score: the mean score of such patients with {therapist}. Single scores: "
            f"those of single patients. {words.level_of(answer.interval)} equal-tailed intervals.",
            f"The same in all rows: {', '.join(fixed)}." if fixed else "",
            "Arms are compared for the same patient: the same therapist effects and the same "
            "residual rank (no trial can show that a patient keeps it; expected scores do not "
            f"depend on it). Better is {described.better}; a tie is not better."
            if contrasts
            else "",
            answer.counted.steps,
            f"The family fitted ({family}) knows no ends of the scale, and some intervals of "
            "single scores pass them."
            if past
            else "",
            *_marked(fit, answer.outcome, table),
        ]
    )


def average_legend(fit: Fit, answer: Averages, whom: str) -> list[str]:
    """Over whom is averaged.

    Parameters
    ----------
    fit : Fit
    answer : Averages
    whom : str
        What the patients are.
    """
    first = answer.table.iloc[0]
    therapist = str(first["therapist"])
    own = first["moderator"] != first["moderator"]  # NaN: nobody's alliance was set
    return words.among(
        [
            f"Averages over {first['patients']} {whom}, each imagined in every arm. "
            f"Therapists: {AVERAGED.get(therapist, therapist)}.",
            f"{words.level_of(answer.interval)} equal-tailed intervals.",
            f"Every patient has the {fit.study.moderator.name} of their own." if own else "",
            answer.counted.steps,
            *_marked(fit, answer.outcome, answer.table),
        ]
    )


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


# Effects along the alliance ----------------------------------------------------------------------


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
            f"{share} band": words.interval(row["band_lower"], row["band_upper"], digits),
        }

    table = effects_table(answer, every=False)
    own = table[table["quantity"] == "arm_contrast"]
    sheet = _sectioned(fit, answer, own, "Contrast", words.headed(fit, answer.outcome), cells)
    note = f"Contrasts in points, at values of the {fit.study.moderator.name}."
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
            f"{share} band": words.interval(row["band_lower"], row["band_upper"], digits),
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
                f"For one point of {fit.study.moderator.name}": number(row["mean"], digits),
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
    breaks = []
    for _, section in table.groupby(["quantity", "level"], sort=False):
        shared = shared_decimals(section["sd"])
        for row in section.to_dict("records"):
            rows.append(
                {
                    first: words.level(fit.study, row["level"]),
                    fit.study.moderator.name.capitalize(): _value(row),
                    **cells(row, shared if digits is None else digits(row)),
                }
            )
        breaks.append(len(rows) - 1)
    return Sheet(
        f"effects_{answer.outcome}",
        title,
        rows,
        numbers=table,
        heads=2,
        fewest=4,
        breaks=breaks,
        once=1,
        subject=answer.outcome,
    )


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
    return f"{fit.study.moderator.name} {start} to {end}{mark}, {arm} better"


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
    name, spec = fit.study.moderator.name, fit.specs[answer.outcome].moderator
    average = f" whose patients have the average {name}" * (answer.therapist == "average")
    return words.among(
        [
            SLOPES_DECIDE.format(name=name)
            if answer.slopes
            else "The model has no interaction: the slopes of all arms are the same.",
            f"Patients along the {name} differ within one therapist{average}."
            if spec.structure == "within_between"
            else "",
            f"Values of the {name} are true ones, not ratings."
            if spec.reliability is not None or spec.ceiling is not None
            else "",
        ]
    )


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
            f"{fit.study.moderator.label}, with {words.therapist(first.therapist)}.",
            "Equal-tailed intervals hold for each value by itself, and the whole curve lies within "
            f"them less often than {words.level_of(first.interval)}; bands hold for all values "
            f"from {start:g} to {end:g} at once.",
            f"{MARK} extrapolated: ratings were from {low:g} to {high:g}."
            if any(answer.extrapolated.any() for answer in answers)
            else "",
            f"Arms: {words.arms(fit.study)}.",
        ]
    )


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
    name, points = fit.study.moderator.name, part.iloc[0]["lift"]
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
        fewest=4,
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
    name = fit.study.moderator.name
    return words.among(
        [
            _contrast_words(by=bool(tables["threshold"].notna().any())),
            f"Source of thresholds and regions: {sources[0]}." if sources else "",
            f"Averaged over the analysed patients, imagined in each arm, at their own {name} "
            f"({OWN}) or all at one value; an average therapist's patients.",
            "Shares: of the patients of a therapist drawn anew; the interval holds what differs "
            "between therapists, and not the chance of small numbers."
            if any(quantity.startswith("share") for quantity in quantities)
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
    name = fit.study.moderator.name
    lifted = False
    for answer in answers:
        if answer.table["threshold"].notna().any() and not answer.improvement:
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
