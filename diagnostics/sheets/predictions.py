"""Predictions of patients, their averages, and therapists one by one: tables and their legends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from alliance.data_prep.levels import AVERAGE
from alliance.diagnostics import words
from alliance.diagnostics.sheet import Sheet
from alliance.inference.answers.averages import Averages
from alliance.inference.answers.predictions import Predictions, unseen_columns
from alliance.inference.answers.therapists import Therapists
from alliance.inference.digits import decimals, interval_decimals, number, short
from alliance.inference.patients.asked_patients import NO_THERAPIST
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
SINGLE = "Single score"  # begins the headings of what is said of single patients
KEYS = ("patient", "arm", "contrast", "moderator")  # columns that tell rows apart in any case


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

    return _asked_sheet(fit, answer, table, "arm", "predictions", cells, of_file=of_file, further=1)


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
    chances["prob_outcome_better"] = f"{SINGLE}: P(better)"
    if "better_by" in table:
        chances["prob_outcome_better_by"] = f"{SINGLE}: {chances['prob_better_by']}"

    def cells(row: Record, digits: int) -> dict[str, str]:
        return {
            "Difference": number(row["expected"], digits),
            f"{share} interval": _span(row, "expected", digits),
            **{head: words.chance(row[name]) for name, head in chances.items()},
        }

    about = "arms compared for the same patient"
    further = sum(head.startswith(SINGLE) for head in chances.values())
    return _asked_sheet(
        fit, answer, table, "contrast", about, cells, of_file=of_file, further=further
    )


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
    further: int = 0,
) -> Sheet:
    """Rows of asked patients: what tells them apart, then the answer.

    So many of the last columns as `further` says give way on a narrow screen.
    """
    heads = {"patient": "Patient"} if of_file else {}
    heads |= {first: first.capitalize()}
    if fit.study.moderator is not None:
        heads["moderator"] = fit.study.moderator.name.capitalize()
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
    inputs = [head for column, head in heads.items() if column not in KEYS]
    # The last row of a patient: the arms then begin anew
    starts = [k for k, row in enumerate(records) if row[first] == records[0][first]]
    return Sheet(
        f"predictions_{answer.outcome}",
        f"{words.headed(fit, answer.outcome)}: {about}",
        rows,
        f"{words.level_of(answer.interval)} equal-tailed intervals.",
        table,
        heads=len(heads),
        fewest=len(rows[0]) - len(inputs) - further,
        inputs=inputs,
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


def _counted_over(fit: Fit, answer: Predictions | Averages) -> str:
    """The exposure that counts are told for; nothing of other outcomes."""
    column = fit.study.outcomes[answer.outcome].exposure
    if column is None:
        return ""
    amount = 1 if answer.exposure is None else answer.exposure
    further = "" if answer.exposure is not None else " (`exposure` names another)"
    return f"Events in {amount:g} {column}{further}."


def _with_clinic(therapist: str, in_clinics: bool) -> str:
    """Whose patients they are, with the clinic that nobody has named: the therapist's kind of one.

    Examples
    --------
    >>> _with_clinic("new", True), _with_clinic("T07", True), _with_clinic("new", False)
    ('new, clinic new', 'T07', 'new')
    """
    implied = in_clinics and therapist in ("new", "average")
    return f"{therapist}, clinic {therapist}" if implied else therapist


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
    whose = [name for name in table["therapist"].unique() if name != NO_THERAPIST]
    in_clinics = bool(fit[answer.outcome].design.clinics)
    therapist = (
        words.therapist(_with_clinic(whose[0], in_clinics))
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
            "Expected score: the mean score of such patients"
            f"{words.with_therapist(fit.study, therapist)}. Single scores: those of single "
            f"patients. {words.level_of(answer.interval)} equal-tailed intervals.",
            f"The same in all rows: {', '.join(fixed)}." if fixed else "",
            _counted_over(fit, answer),
            "Arms are compared for the same patient: the same therapist effects and the same "
            "residual rank (no trial can show that a patient keeps it; expected scores do not "
            f"depend on it). Better is {described.better}; a tie is not better."
            if contrasts
            else "",
            answer.counted.steps,
            _not_entering(fit),
            words.past_the_scale(
                described, fit.specs[answer.outcome].family, table["expected"].tolist()
            )
            or (
                f"The family fitted ({family}) knows no ends of the scale, and some intervals of "
                "single scores pass them."
                if past
                else ""
            ),
            *_marked(fit, answer.outcome, table),
        ]
    )


def _not_entering(fit: Fit) -> str:
    """Say of which arms the alliance plays no part."""
    without = words.unrated_arms(fit.study)
    if not without:
        return ""
    return f"In {', '.join(without)} the {fit.study.measure.name} plays no part: it has none."


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
    without = [fit.study.arms[arm] for arm in fit.study.arms_without_therapist]
    known, none = len(without) < len(fit.study.arms), ""
    if without:
        none = f"; none in {' and '.join(without)}"
    own = first["moderator"] != first["moderator"]  # NaN: nobody's alliance was set
    each_own = words.of_moderator(fit.study, "Every patient has the {name} of their own")
    if without := words.unrated_arms(fit.study):
        each_own += f"; those of {', '.join(without)}, who have none, the mean of the others"
    return words.among(
        [
            f"Averages over {first['patients']} {whom}, each imagined in every arm. "
            f"Therapists: {AVERAGED.get(therapist, therapist)}{none}."
            if known
            else "",
            f"{words.level_of(answer.interval)} equal-tailed intervals.",
            f"{each_own}." if own and each_own else "",
            _not_entering(fit),
            _counted_over(fit, answer),
            answer.counted.steps,
            words.past_the_scale(
                fit.study.outcomes[answer.outcome],
                fit.specs[answer.outcome].family,
                [] if "expected" not in answer.table else answer.table["expected"].tolist(),
            ),
            *_marked(fit, answer.outcome, answer.table),
        ]
    )


def _marked(fit: Fit, outcome: str, table: pd.DataFrame) -> list[str]:
    """What the marks mean; averages do not show whose baseline or covariate it is."""
    if not table["extrapolated"].any():
        return []
    names = {"moderator": words.of_moderator(fit.study, "{label}")}
    told = [
        f"{names.get(name, name)} ({low:g} to {high:g})"
        for name, (low, high) in _unseen(fit, outcome, table).items()
    ]
    what = ", ".join(told) or "the baseline or a covariate of some patients"
    return [f"{MARK} Extrapolated, outside the range observed among the analysed patients: {what}."]


def therapists(fit: Fit, answer: Therapists) -> Sheet:
    """Each therapist's effect with its rank, slope and mean rating.

    Parameters
    ----------
    fit : Fit
    answer : Therapists
    """
    table, name = answer.table, words.of_moderator(fit.study, "{name}")
    share = words.level_of(answer.interval)
    effects, slopes, means = (
        _by_level(table, quantity)
        for quantity in ("therapist_effect", "therapist_slope", "alliance_mean")
    )
    digits, slope_digits, mean_digits = _narrowest(effects), _narrowest(slopes), _of_means(table)
    rows = []
    for therapist, row in (effects or means).items():
        named = words.of_one_patient(therapist, bool(row["one_patient"]))
        cells = {"Therapist": named, "Patients": number(row["patients"], 0)}
        if effects:
            rank = f"{row['rank']:.1f} ({row['rank_lower']:.0f} to {row['rank_upper']:.0f})"
            cells |= {
                f"Effect ({share})": _with_interval(row, digits),
                "P(> 0)": words.chance(row["prob_positive"]),
                "Rank": rank,
                "P(best)": words.chance(row["prob_best"]),
            }
        if slopes:
            head = f"{name.capitalize()} slope"
            cells[head] = _with_interval(slopes[therapist], slope_digits)
        if means:
            cells[f"Mean {name}"] = _with_interval(means.get(therapist), mean_digits)
        rows.append(cells)
    return Sheet(
        f"therapists_{answer.outcome}",
        f"{words.headed(fit, answer.outcome)}: therapists",
        rows,
        f"Effects in {words.points(fit.study.outcomes[answer.outcome])} against an average "
        f"therapist{words.of_moderator(fit.study, '; slopes for one point of {name}')}.",
        table[table["quantity"].isin(("therapist_effect", "therapist_slope"))],
        fewest=5,
        subject=answer.outcome,
    )


def clinics(fit: Fit, answer: Therapists) -> Sheet | None:
    """Each clinic's effect; None where the model has none.

    Parameters
    ----------
    fit : Fit
    answer : Therapists
    """
    table = answer.table[answer.table["quantity"] == "clinic_effect"]
    effects = _by_level(table, "clinic_effect")
    if not effects:
        return None
    digits, share = _narrowest(effects), words.level_of(answer.interval)
    rows = [
        {
            "Clinic": clinic,
            "Patients": number(row["patients"], 0),
            f"Effect ({share})": _with_interval(row, digits),
            "P(> 0)": words.chance(row["prob_positive"]),
        }
        for clinic, row in effects.items()
    ]
    return Sheet(
        f"clinics_{answer.outcome}",
        f"{words.headed(fit, answer.outcome)}: clinics",
        rows,
        f"Effects in {words.points(fit.study.outcomes[answer.outcome])} against an average clinic, "
        "with an average therapist; best first.",
        table,
        subject=answer.outcome,
    )


def spreads(fit: Fit, answer: Therapists) -> Sheet:
    """How much therapists differ, in the outcome and in the alliance.

    Parameters
    ----------
    fit : Fit
    answer : Therapists
    """
    rows = []
    for quantity, text in words.SPREADS.items():
        found = _by_level(answer.table, quantity)
        for level, row in found.items():
            digits = interval_decimals(row["lower"], row["upper"], row["mean"])
            if quantity.endswith("share"):
                digits = max(3, digits)
            rows.append(
                {
                    words.differing(fit.study): text.format(
                        moderator=words.of_moderator(fit.study, "{name}")
                    ),
                    "Arm": ""
                    if len(found) == 1
                    else words.LEVELS[level]  # over all arms, with an alliance or without
                    if level == AVERAGE
                    else words.level(fit.study, level),
                    "Estimate": number(row["mean"], digits),
                    f"{words.level_of(answer.interval)} interval": words.interval(
                        row["lower"], row["upper"], digits
                    ),
                    "From": row["source"],
                }
            )
    return Sheet(
        f"therapist_shares_{answer.outcome}",
        "",
        rows,
        numbers=answer.table[answer.table["quantity"].isin(words.SPREADS)],
        fewest=5,
        subject=answer.outcome,
    )


def therapists_legend(fit: Fit, answer: Therapists) -> list[str]:
    """What effects and ranks are, and where the spreads come from.

    Parameters
    ----------
    fit : Fit
    answer : Therapists
    """
    name, table = words.of_moderator(fit.study, "{name}"), answer.table
    effects = table[table["quantity"] == "therapist_effect"]
    sources = set(table.loc[table["quantity"] == "alliance_share", "source"])
    told = []
    if len(effects):
        at = f" with {name} {effects['moderator'].iloc[0]:.4g}" if name else ""
        told.append(
            f"Effect: expected score with this therapist minus that with an average one, for a "
            f"patient at the means{at}; best first, rank 1 is best "
            f"({fit.study.outcomes[answer.outcome].better} is better). Effects of "
            "therapists with few patients are drawn towards the average. Intervals of many "
            "therapists overlap by chance alone: read ranks with theirs; this is no list of merit."
            + (
                " Therapists are compared within one clinic, an average one; a patient's clinic "
                "adds its own effect."
                if (table["quantity"] == "clinic_effect").any()
                else ""
            )
        )
    told.append(f"{words.level_of(answer.interval)} equal-tailed intervals.")
    if table["one_patient"].any():
        told.append(
            "What is said of a therapist with one patient is said of that patient: "
            "`hide_single=True` leaves such therapists out."
        )
    if "ratings" in sources:
        told.append(
            f"The {name} as observed among the analysed patients: means, and the spread between "
            "and within therapists given what stands beside it in the model (arm, baseline, "
            "covariates), with confidence intervals."
        )
    return told


def _by_level(table: pd.DataFrame, quantity: str) -> dict[str, Record]:
    """Rows of one quantity, by level."""
    rows = table[table["quantity"] == quantity]
    return {str(row["level"]): row for row in rows.to_dict("records")}


def _with_interval(row: Record | None, digits: int) -> str:
    return "" if row is None else words.estimate(row["mean"], row["lower"], row["upper"], digits)


def _narrowest(rows: dict[str, Record]) -> int:
    """Decimals of numbers below one another: two digits of the surest."""
    return decimals(min((row["sd"] for row in rows.values()), default=math.nan))


def _of_means(table: pd.DataFrame) -> int:
    """Decimals of the therapists' mean ratings, which have an interval or none.

    Without one they are told apart in tenths of what patients of one therapist differ by.
    """
    means = _by_level(table, "alliance_mean")
    widths = [row["upper"] - row["lower"] for row in means.values()]
    sure = [width / 4 for width in widths if width > 0]
    within = [row["mean"] / 10 for row in _by_level(table, "alliance_sd_within").values()]
    return decimals(min(sure or within, default=math.nan))
