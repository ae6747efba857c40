"""`alliance effects` and `alliance decide`: the arms along the alliance, and against thresholds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from alliance.cli import screen
from alliance.cli.options import (
    FigureOption,
    FormatOption,
    IntervalOption,
    OutcomeOption,
    OwnSeedOption,
    RunArgument,
)
from alliance.cli.runs import load_run
from alliance.cli.screen import Table, outcome_title, print_fitting, print_whole
from alliance.cli.values import Numbers, numbers, together
from alliance.inference.digits import decimals, interval_decimals, number, shared_decimals

if TYPE_CHECKING:
    import pandas as pd

    from alliance.inference.answers.bands import Region
    from alliance.inference.answers.decisions import Decisions
    from alliance.inference.answers.effects import Effects
    from alliance.inference.runs.fit import Fit

FEWEST_COLUMNS = 4
MARK = "*"  # beside values that are extrapolated
SLOPES_DECIDE = (
    "Whether a contrast changes with the {name} is told by the difference of slopes alone: that it "
    "is clear of zero at some values and not at others, or for one contrast and not for another, "
    "proves nothing."
)
OWN = "own"  # patients at their own alliance
CAUSAL = (
    "The lift reads the association of {name} and outcome as causal: as if nothing else differed "
    "between patients with a higher and a lower {name}. The trial did not allot it."
)


ContrastsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--contrast",
        help="MCE-GE for MCE minus GE, in either order, by codes or labels; may be repeated. All "
        "pairs by default.",
    ),
]


AllianceOption = Annotated[
    list[Numbers] | None,
    typer.Option(
        "--alliance",
        parser=numbers,
        metavar="VALUES",
        help="Values to answer at: 40, or 40,50, or 60:110:5; may be repeated.",
    ),
]
ThresholdOption = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold",
        help="Chance of being better by this many points; pain=2 where there are several outcomes.",
    ),
]
RopeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--rope", help="Chance that a contrast lies in LOW:HIGH, differences that count as nothing."
    ),
]
SourceOption = Annotated[
    str | None,
    typer.Option("--source", help="Where thresholds and regions come from; told with the answers."),
]
ExtrapolateOption = Annotated[
    bool,
    typer.Option("--extrapolate", help="Allow values beyond the observed alliance, and mark them."),
]


def effects(
    run: RunArgument,
    outcome: OutcomeOption = None,
    contrast: ContrastsOption = None,
    alliance: AllianceOption = None,
    threshold: ThresholdOption = None,
    rope: RopeOption = None,
    source: SourceOption = None,
    grid: Annotated[
        int, typer.Option(help="Values of the alliance that curve and bands are computed at.")
    ] = 41,
    interval: IntervalOption = 0.95,
    therapist: Annotated[
        str,
        typer.Option(
            help="Who treats all patients: average, new (bands then hold what differs between "
            "therapists), or a therapist's id (in double quotes if it is one of these words)."
        ),
    ] = "average",
    extrapolate: ExtrapolateOption = False,
    seed: OwnSeedOption = None,
    figure: FigureOption = None,
    plot: Annotated[
        Literal["effect", "score", "best"],
        typer.Option(
            help="What the figure shows: contrasts with their bands, the arms' expected scores, "
            "or the chance that each arm is best."
        ),
    ] = "effect",
    table_format: FormatOption = "table",
) -> None:
    """Compare the arms along the alliance: curves with bands, regions, difference of slopes.

    A threshold counts in the direction of improvement; none has a default.
    """
    from alliance.inference.answers.effects import effects_along, effects_table
    from alliance.inference.scores.thresholds import read_thresholds

    fit = load_run(run)
    asked = {name: fit.study.outcomes[name] for name in fit.chosen(outcome or [])}
    measured = read_thresholds(asked, threshold=threshold or [], rope=rope or [], source=source)
    answers = [
        effects_along(
            fit[name],
            contrasts=contrast or [],
            values=together(alliance),
            grid=grid,
            interval=interval,
            thresholds=measured[name],
            therapist=therapist,
            extrapolate=extrapolate,
            seed=seed,
        )
        for name in asked
    ]
    if figure is not None:
        from alliance.diagnostics.figures.effect_figures import FIGURES

        screen.save(FIGURES[plot](fit, answers), figure)
    if table_format == "table":
        print_effects(fit, answers)
    else:
        tables = [effects_table(answer, every=not answer.named) for answer in answers]
        screen.frame(tables, table_format, simulated=fit.study.simulated)


def decide(
    run: RunArgument,
    outcome: OutcomeOption = None,
    contrast: ContrastsOption = None,
    alliance: AllianceOption = None,
    threshold: ThresholdOption = None,
    rope: RopeOption = None,
    reach: Annotated[
        list[str] | None,
        typer.Option(
            "--reach", help="Share of patients with this score or a better one; pain=3 as above."
        ),
    ] = None,
    source: SourceOption = None,
    lift: Annotated[
        float | None,
        typer.Option(help="What changes if every patient's alliance is this many points higher."),
    ] = None,
    interval: IntervalOption = 0.95,
    extrapolate: ExtrapolateOption = False,
    seed: OwnSeedOption = None,
    table_format: FormatOption = "table",
) -> None:
    """Hold effects against thresholds: chances, shares who improve, a lifted alliance.

    With a threshold and a baseline also the share of patients who improve by so much. No threshold
    has a default.
    """
    from alliance.inference.answers.decisions import decisions
    from alliance.inference.scores.thresholds import read_thresholds

    fit = load_run(run)
    asked = {name: fit.study.outcomes[name] for name in fit.chosen(outcome or [])}
    measured = read_thresholds(
        asked, threshold=threshold or [], rope=rope or [], reach=reach or [], source=source
    )
    nothing = [name for name in asked if measured[name].empty and lift is None]
    if nothing and not outcome and len(nothing) < len(asked):
        screen.note(f"No threshold, region or score is named for {', '.join(nothing)}: left out.")
        asked = {name: asked[name] for name in asked if name not in nothing}
    answers = [
        decisions(
            fit[name],
            measured[name],
            contrasts=contrast or [],
            values=together(alliance),
            raise_alliance=lift,
            interval=interval,
            extrapolate=extrapolate,
            seed=seed,
        )
        for name in asked
    ]
    for note in _decision_notes(fit, answers):
        screen.note(note)
    if table_format == "table":
        _print_decisions(fit, answers, interval)
    else:
        tables = [answer.table for answer in answers]
        screen.frame(tables, table_format, simulated=fit.study.simulated)


def print_effects(fit: Fit, answers: Sequence[Effects]) -> None:
    """Print contrasts, expected scores, slopes and regions of every outcome.

    Parameters
    ----------
    fit : Fit
    answers : sequence of Effects
        Of one interval.
    """
    console = screen.out()
    for answer in answers:
        for table in (_contrasts(fit, answer), _scores(fit, answer)):
            print_fitting(console, table, FEWEST_COLUMNS)
        if answer.slopes:
            print_whole(console, _slopes(fit, answer))
        for line in (*region_lines(fit, answer), *_about(fit, answer)):
            console.print(escape(line))
        console.print()
    console.print(escape(_effects_legend(fit, answers)))


def _per_cent(interval: float) -> str:
    """A probability as per cent: ``95%``."""
    return f"{100 * interval:g}%"


def _chance_columns(answer: Effects) -> dict[str, str]:
    """Columns of probabilities that were asked for, with their headings."""
    columns = {"prob_better": "P(better)"}
    if answer.thresholds.better_by is not None:
        columns["prob_better_by"] = f"P(by {answer.thresholds.better_by:g})"
    if answer.thresholds.equivalence is not None:
        low, high = answer.thresholds.equivalence
        columns["prob_equivalent"] = f"P({low:g} to {high:g})"
    return columns


def _at_value(value: float, extrapolated: bool) -> str:
    """A value of the alliance, marked where it is extrapolated."""
    return f"{value:.5g}{MARK if extrapolated else ''}"


def _span(row: dict[Any, Any], lower: str, upper: str, digits: int) -> str:
    """Two ends as ``0.2 to 1.4``."""
    return f"{number(row[lower], digits)} to {number(row[upper], digits)}"


def _sections(answer: Effects, quantity: str) -> list[list[dict[Any, Any]]]:
    """Rows of a quantity, level by level."""
    from alliance.inference.answers.effects import effects_table

    table = effects_table(answer, every=False)
    part = table[table["quantity"] == quantity]
    return [rows.to_dict("records") for _, rows in part.groupby("level", sort=False)]


def _place(rows: Sequence[dict[Any, Any]], k: int) -> str:
    """The level of a section's first row; nothing for the others."""
    return escape(rows[k]["level"]) if k == 0 else ""


def _contrasts(fit: Fit, answer: Effects) -> Table:
    share = _per_cent(answer.interval)
    chances = _chance_columns(answer)
    table = Table(title=outcome_title(fit, answer.outcome), title_justify="left")
    table.add_column("Contrast")
    headings = [fit.study.moderator.name, "Mean", *chances.values(), f"{share} interval"]
    for name in (*headings, f"{share} band"):
        table.add_column(escape(name), justify="right", no_wrap=True)
    for rows in _sections(answer, "arm_contrast"):
        digits = shared_decimals(row["sd"] for row in rows)
        for k, row in enumerate(rows):
            table.add_row(
                _place(rows, k),
                _at_value(row["moderator"], row["extrapolated"]),
                number(row["mean"], digits),
                *(number(row[name], 3) for name in chances),
                _span(row, "lower", "upper", digits),
                _span(row, "band_lower", "band_upper", digits),
                end_section=k + 1 == len(rows),
            )
    return table


def _scores(fit: Fit, answer: Effects) -> Table:
    share = _per_cent(answer.interval)
    table = Table(title=f"{escape(answer.outcome)}: expected score by arm", title_justify="left")
    table.add_column("Arm")
    headings = (fit.study.moderator.name, "Mean", "P(best)", f"{share} interval", f"{share} band")
    for name in headings:
        table.add_column(escape(name), justify="right", no_wrap=True)
    for rows in _sections(answer, "expected_score"):
        digits = shared_decimals(row["sd"] for row in rows)
        for k, row in enumerate(rows):
            table.add_row(
                _place(rows, k),
                _at_value(row["moderator"], row["extrapolated"]),
                number(row["mean"], digits),
                number(row["prob_best"], 3),
                _span(row, "lower", "upper", digits),
                _span(row, "band_lower", "band_upper", digits),
                end_section=k + 1 == len(rows),
            )
    return table


def _slopes(fit: Fit, answer: Effects) -> Table:
    table = Table(title=f"{escape(answer.outcome)}: difference of slopes", title_justify="left")
    table.add_column("Contrast")
    share = _per_cent(answer.interval)
    for name in (f"For one point of {fit.study.moderator.name}", f"{share} interval", "P(> 0)"):
        table.add_column(escape(name), justify="right", no_wrap=True)
    for (row,) in _sections(answer, "interaction"):
        digits = decimals(row["sd"], row["mean"])
        table.add_row(
            escape(row["level"]),
            number(row["mean"], digits),
            _span(row, "lower", "upper", digits),
            number(row["prob_positive"], 3),
        )
    return table


def region_lines(fit: Fit, answer: Effects) -> list[str]:
    """Sentences about where the simultaneous band of each contrast excludes zero.

    Parameters
    ----------
    fit : Fit
    answer : Effects
    """
    lines = [f"Where the {_per_cent(answer.interval)} band over all values excludes zero:"]
    low, high = answer.curves.moderator[[0, -1]]
    for which in answer.contrasts:
        regions = answer.regions(which.level)
        told = "; ".join(_region(fit, answer, which.level, region) for region in regions)
        nowhere = f"nowhere from {low:g} to {high:g}, which does not show that there is no effect"
        lines.append(f"  {which.level}: {told or nowhere}.")
    return lines


def _region(fit: Fit, answer: Effects, level: str, region: Region) -> str:
    which = next(each for each in answer.contrasts if each.level == level)
    better = which.first if region.sign == answer.curves.direction else which.second
    low, high = answer.observed
    mark = " (partly extrapolated)" if region.start < low or region.end > high else ""
    ends = answer.curves.moderator[[0, -1]]
    start, end = (
        f"{value:g}" if value in ends else f"{value:.3g}" for value in (region.start, region.end)
    )
    name = fit.study.moderator.name
    return f"{name} {start} to {end}{mark}, {answer.curves.arms[better]} better"


def _about(fit: Fit, answer: Effects) -> list[str]:
    """What the answers about one outcome rest on."""
    lines = []
    name = fit.study.moderator.name
    if answer.slopes:
        lines.append(SLOPES_DECIDE.format(name=name))
    else:
        lines.append("The model has no interaction: the slopes of all arms are the same.")
    spec = fit.specs[answer.outcome].moderator
    if spec.structure == "within_between":
        average = f" whose patients have the average {name}" * (answer.therapist == "average")
        lines.append(f"Patients along the {name} differ within one therapist{average}.")
    if spec.reliability is not None or spec.ceiling is not None:
        lines.append(f"Values of the {name} are true ones, not ratings.")
    return lines


def _therapist(therapist: str) -> str:
    articles = {
        "average": "an average therapist",
        "new": "a therapist drawn anew for each draw",
    }
    return articles.get(therapist, f"the therapist {therapist}")


def _effects_legend(fit: Fit, answers: Sequence[Effects]) -> str:
    first = answers[0]
    moderator = fit.study.moderator
    arms = ", ".join(f"{code} = {label}" for code, label in fit.study.arms.items())
    outside = any(answer.extrapolated.any() for answer in answers)
    by = any(answer.thresholds.better_by is not None for answer in answers)
    rope = any(answer.thresholds.equivalence is not None for answer in answers)
    low, high = first.observed
    lines = [
        "Contrasts: first arm minus second, in points of the outcome. P(better): the first arm is "
        "better than the second" + ("; P(by x): by x points or more." if by else "."),
        "P(low to high): the contrast lies in the region of practical equivalence." if rope else "",
        f"Source of thresholds and regions: {first.thresholds.source}."
        if first.thresholds.source
        else "",
        f"Averaged over the analysed patients, all imagined with that value of {moderator.label}, "
        f"with {_therapist(first.therapist)}.",
        f"Equal-tailed intervals hold for each value by itself, and the whole curve lies within "
        f"them less often than {_per_cent(first.interval)}; bands hold for all values from "
        f"{first.curves.moderator[0]:g} to {first.curves.moderator[-1]:g} at once.",
        f"{MARK} extrapolated: ratings were from {low:g} to {high:g}." if outside else "",
        f"Arms: {arms}.",
    ]
    return "\n".join(line for line in lines if line)


def _print_decisions(fit: Fit, answers: Sequence[Decisions], interval: float) -> None:
    """Print effects, shares and lifts of every outcome."""
    console = screen.out()
    share = _per_cent(interval)
    for answer in answers:
        for table in _decision_tables(fit, answer, share):
            print_fitting(console, table, FEWEST_COLUMNS)
        console.print()
    console.print(escape(_decisions_legend(fit, answers)))


def _decision_notes(fit: Fit, answers: Sequence[Decisions]) -> list[str]:
    """What must be known beside the numbers."""
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


def _decision_tables(fit: Fit, answer: Decisions, share: str) -> list[Table]:
    table = answer.table
    found = [
        _contrast_chances(fit, table[table["quantity"] == "arm_contrast"], share, answer.outcome)
    ]
    for quantity in ("share_improved", "share_reaching"):
        part = table[table["quantity"].isin([quantity, f"{quantity}_contrast"])]
        if len(part):
            found.append(_shares(fit, part, share, answer.outcome))
    lifts = table[table["lift"].notna()]
    if len(lifts):
        found.append(_lifts(fit, lifts, share, answer.outcome))
    return found


def _chances_asked(part: pd.DataFrame) -> dict[str, str]:
    first = part.iloc[0]
    columns = {"prob_better": "P(better)"}
    if part["threshold"].notna().iloc[0]:
        columns["prob_better_by"] = f"P(by {first['threshold']:g})"
    if part["rope_low"].notna().iloc[0]:
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
    return OWN if math.isnan(value) else _at_value(value, row["extrapolated"])


def _contrast_chances(fit: Fit, part: pd.DataFrame, share: str, outcome: str) -> Table:
    chances = _chances_asked(part)
    headings = [fit.study.moderator.name, "Mean", f"{share} interval", *chances.values()]
    table = _empty(outcome_title(fit, outcome), "Contrast", headings)
    for _, section in part.groupby("level", sort=False):
        rows = section.to_dict("records")
        digits = shared_decimals(row["sd"] for row in rows)
        for k, row in enumerate(rows):
            table.add_row(
                _place(rows, k),
                _at(row),
                number(row["mean"], digits),
                _span(row, "lower", "upper", digits),
                *(number(row[name], 3) for name in chances),
                end_section=k + 1 == len(rows),
            )
    return table


def _shares(fit: Fit, part: pd.DataFrame, share: str, outcome: str) -> Table:
    first = part.iloc[0]
    if part["threshold"].notna().iloc[0]:
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
                _place(rows, k),
                _at(row),
                number(row["mean"], digits),
                _span(row, "lower", "upper", digits),
                number(row["prob_better"], 3),
                end_section=k + 1 == len(rows),
            )
    return table


def _lifts(fit: Fit, part: pd.DataFrame, share: str, outcome: str) -> Table:
    chances = _chances_asked(part)
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
                _span(row, "lower", "upper", digits),
                *(number(row[name], 3) for name in chances),
                end_section=k + 1 == len(rows),
            )
    return table


def _decisions_legend(fit: Fit, answers: Sequence[Decisions]) -> str:
    tables = [answer.table for answer in answers]
    quantities = {name for table in tables for name in table["quantity"]}
    sources = [source for table in tables for source in table["source"].dropna()]
    shares = any(name.startswith("share") for name in quantities)
    name = fit.study.moderator.name
    arms = ", ".join(f"{code} = {label}" for code, label in fit.study.arms.items())
    lines = [
        "Contrasts: first arm minus second. P(better): the first arm is better than the second"
        + (
            "; P(by x): by x points or more."
            if any(table["threshold"].notna().any() for table in tables)
            else "."
        ),
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
        f"{MARK} extrapolated." if any(table["extrapolated"].any() for table in tables) else "",
        f"Arms: {arms}.",
    ]
    return "\n".join(line for line in lines if line)
