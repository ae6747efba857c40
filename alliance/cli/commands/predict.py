"""`alliance predict`: expected scores, single outcomes and chances of patients; arms compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
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
from alliance.cli.runs import chosen_outcomes, load_run, typed
from alliance.cli.screen import Table, outcome_title, print_fitting
from alliance.cli.values import Numbers, covariates, numbers, together
from alliance.data_prep.errors import InputError
from alliance.inference.digits import decimals, interval_decimals, number, short

if TYPE_CHECKING:
    import pandas as pd

    from alliance.inference.answers.averages import Averages
    from alliance.inference.answers.predictions import Predictions
    from alliance.inference.patients.asked_patients import AskedPatients
    from alliance.inference.runs.fit import Fit

VALUES = "VALUES"  # how lists of numbers are shown in the help
WHOM = {"trial": "patients of the trial", "rows": "points of the grid"}
FEWEST_COLUMNS = 4
MARK = "*"  # beside a value that is extrapolated
Row = dict[Any, Any]
Unseen = dict[str, tuple[float, float]]

THERAPISTS = {
    "new": "a new therapist, drawn for each draw of the posterior",
    "average": "an average therapist, whose effects are zero",
}
AVERAGED = {
    "new": "the mean over new therapists",
    "known": "the mean over the trial's therapists, each counted once",
    "own": "each patient's own therapist",
    "average": "an average therapist, whose effects are zero",
}


def predict(
    run: RunArgument,
    outcome: OutcomeOption = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this arm, by its code or its label; may be repeated. All arms by default."
        ),
    ] = None,
    alliance: Annotated[
        list[Numbers] | None,
        typer.Option(
            parser=numbers,
            metavar=VALUES,
            help="Values of the alliance: 70,90 or start:stop:step, as 60:110:5; may be repeated. "
            "Its mean by default.",
        ),
    ] = None,
    baseline: Annotated[
        list[Numbers] | None,
        typer.Option(
            parser=numbers, metavar=VALUES, help="Values of the baseline score, in the same way."
        ),
    ] = None,
    covariate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUES",
            help="Values of a covariate, as age=40:70:10 or sex=F,M; a level with commas in it in "
            "double quotes; may be repeated.",
        ),
    ] = None,
    patients: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Patients in a table with the study file's columns, not a grid."
        ),
    ] = None,
    therapist: Annotated[
        str | None,
        typer.Option(
            help="new, average, or a therapist's id (in double quotes if it is such a word); "
            "with --average-over also known (all of the "
            "run) and own. By default the file's therapists, otherwise new.",
        ),
    ] = None,
    at_least: Annotated[
        float | None, typer.Option(help="Also the chance of a score of at least so much.")
    ] = None,
    at_most: Annotated[
        float | None, typer.Option(help="Also the chance of a score of at most so much.")
    ] = None,
    change: Annotated[
        float | None,
        typer.Option(help="Also the chance to improve on the baseline by at least so much."),
    ] = None,
    contrasts: Annotated[
        bool, typer.Option("--contrasts", help="Also compare the arms for the same patient.")
    ] = False,
    better_by: Annotated[
        float | None,
        typer.Option(help="Also the chance that the later arm is better by at least so much."),
    ] = None,
    average_over: Annotated[
        Literal["trial", "rows"] | None,
        typer.Option(
            help="Averages instead of single patients: over the trial's patients, or over the "
            "rows asked about (grid or file)."
        ),
    ] = None,
    extrapolate: Annotated[
        bool,
        typer.Option(
            "--extrapolate",
            help="Allow an alliance, a baseline or a covariate beyond what was observed, and mark "
            "it.",
        ),
    ] = False,
    interval: IntervalOption = 0.95,
    seed: OwnSeedOption = None,
    figure: FigureOption = None,
    table_format: FormatOption = "table",
) -> None:
    """Predict outcomes of patients: expected scores, single outcomes, chances, arms compared.

    Nothing is fitted again. Without options: a patient at the means, in every arm, with a new
    therapist.
    """
    from alliance.inference.answers.averages import average
    from alliance.inference.answers.predictions import predict as predicted
    from alliance.inference.scores.score_thresholds import Thresholds

    contrasts = contrasts or better_by is not None
    _require_one_source(patients, baseline, covariate, average_over)
    if figure is not None and average_over is not None:
        raise InputError(
            "--figure shows predictions for one patient, not averages.",
            "Leave --average-over out; `alliance effects --plot score --figure FILE` draws the "
            "arms' averages over the trial's patients.",
        )
    points = {
        "at_least": at_least,
        "at_most": at_most,
        "change": change,
        "better_by": better_by,
    }
    wanted = Thresholds(**points)
    fitted = load_run(run)
    chosen = chosen_outcomes(fitted, outcome)
    known = {} if not covariate else _levels(fitted, chosen[0])
    values = None if alliance is None else list(together(alliance))
    grid = {
        "baseline": None if baseline is None else list(together(baseline)),
        "covariates": covariates(covariate or [], known),
    }
    _require_one_outcome(chosen, {"baseline": baseline, **points})
    answers: list[Any] = []
    for name in chosen:
        asked = _asked(fitted, name, values, grid, patients, average_over, extrapolate=extrapolate)
        if average_over is not None:
            answers.append(
                average(
                    fitted,
                    name,
                    asked,
                    therapist=therapist or _of_average(asked, average_over),
                    arms=arm or [],
                    thresholds=wanted,
                    interval=interval,
                )
            )
            continue
        answers.append(
            predicted(
                fitted,
                name,
                asked,
                therapist=therapist,
                arms=arm or [],
                thresholds=wanted,
                contrasts=contrasts,
                interval=interval,
                seed=seed,
                keep_draws=False,
            )
        )
    if figure is not None:
        from alliance.diagnostics.figures.prediction_figure import prediction_figure

        screen.save(prediction_figure(fitted, answers), figure)
    for note in dict.fromkeys(line for answer in answers for line in answer.counted.ends):
        screen.note(note)
    if table_format != "table":
        tables = [answer.contrasts if contrasts else answer.table for answer in answers]
        screen.frame(tables, table_format, simulated=fitted.study.simulated)
        return
    for answer in answers:
        if average_over is None:
            _print_predictions(fitted, answer, contrasts=contrasts, of_file=patients is not None)
        else:
            whom = WHOM[average_over] if patients is None else f"patients of {patients.name}"
            _print_averages(fitted, answer, contrasts=contrasts, whom=whom)


def _require_one_source(
    patients: Path | None,
    baseline: Sequence[Numbers] | None,
    covariate: Sequence[str] | None,
    average_over: str | None,
) -> None:
    """Refuse options that describe patients who are described elsewhere."""
    given = ["--baseline"] if baseline else []
    given += ["--covariate"] if covariate else []
    if average_over == "trial" and patients is not None:
        given.append("--patients")
    source = "--average-over trial" if average_over == "trial" else "--patients"
    if given and (average_over == "trial" or patients is not None):
        raise InputError(
            f"{given[0]} does not go with {source}: these patients bring their own.",
            "Leave one of the two out; --alliance alone may replace what they bring.",
        )


def _require_one_outcome(outcomes: Sequence[str], options: Mapping[str, object]) -> None:
    """Refuse options in points of one outcome where several are asked about."""
    for name, value in options.items():
        if value is not None and len(outcomes) > 1:
            raise InputError(
                f"--{name.replace('_', '-')} is in points of one outcome, and these are asked "
                f"about: {', '.join(outcomes)}.",
                f"Choose one, for instance with --outcome {typed(outcomes[0])}.",
            )


def _levels(fit: Fit, outcome: str) -> dict[str, tuple[str, ...] | None]:
    """Levels of the run's covariates; None where one is numbers."""
    return {each.name: each.levels for each in fit.design(outcome).encoding.covariates}


def _asked(
    fit: Fit,
    outcome: str,
    values: list[float] | None,
    grid: dict[str, Any],
    patients: Path | None,
    average_over: str | None,
    *,
    extrapolate: bool,
) -> AskedPatients:
    from alliance.inference.patients.asked_patients import (
        patient_grid,
        trial_patients,
        with_alliance,
    )
    from alliance.inference.patients.patient_files import patients_from_file

    if average_over == "trial":
        return trial_patients(fit, outcome, alliance=values, extrapolate=extrapolate)
    if patients is None:
        return patient_grid(fit, outcome, alliance=values, extrapolate=extrapolate, **grid)
    asked = patients_from_file(
        fit,
        outcome,
        patients,
        alliance_named=values is not None,
        extrapolate=extrapolate,
    )
    if values is None:
        return asked
    return with_alliance(fit, asked, values, extrapolate=extrapolate)


def _of_average(asked: AskedPatients, average_over: str) -> str:
    """Therapists that averages are taken over where none were named."""
    return "new" if average_over == "trial" or asked.therapists is None else "own"


def _print_predictions(fit: Fit, answer: Predictions, *, contrasts: bool, of_file: bool) -> None:
    """Print predictions, and the arms compared if asked; patients of a file by their names."""
    console = screen.out()
    print_fitting(console, _prediction_table(fit, answer, of_file), FEWEST_COLUMNS)
    if contrasts and answer.contrasts is not None:
        shown = _contrast_table(fit, answer, answer.contrasts, of_file)
        print_fitting(console, shown, FEWEST_COLUMNS)
    for line in _legend(fit, answer, contrasts=contrasts):
        console.print(escape(line))
    console.print()


def _print_averages(fit: Fit, answer: Averages, *, contrasts: bool, whom: str) -> None:
    """Print averages over patients, and the arms compared if asked."""
    console = screen.out()
    shown = _average_table(fit, answer, answer.table, "arm", ": averages")
    print_fitting(console, shown, FEWEST_COLUMNS)
    if contrasts and len(answer.contrasts):
        about = ": averages, arms compared"
        shown = _average_table(fit, answer, answer.contrasts, "contrast", about)
        print_fitting(console, shown, FEWEST_COLUMNS)
    first = answer.table.iloc[0]
    therapist = str(first["therapist"])
    lines = [
        f"Averages over {first['patients']} {whom}, each imagined in every arm. "
        f"Therapists: {AVERAGED.get(therapist, therapist)}.",
        f"{_percent(answer.interval)} equal-tailed intervals.",
    ]
    if first["moderator"] != first["moderator"]:  # NaN: nobody's alliance was set
        lines.append(f"Every patient has the {fit.study.moderator.name} of their own.")
    lines += [answer.counted.steps] if answer.counted.steps else []
    lines += _marked(fit, answer.outcome, answer.table)
    for line in lines:
        console.print(escape(line))
    console.print()


def _percent(interval: float) -> str:
    return f"{100 * interval:g}%"


def _table(title: str, heads: Sequence[str], numbers: Sequence[str]) -> Table:
    shown = Table(title=title, title_justify="left")
    for name in heads:
        shown.add_column(escape(name))
    for name in numbers:
        shown.add_column(escape(name), justify="right", no_wrap=True)
    return shown


def _heads(fit: Fit, table: pd.DataFrame, first: str, of_file: bool) -> dict[str, str]:
    """Columns that tell the rows apart, with their headings; what never differs is left out."""
    heads = {"patient": "Patient"} if of_file else {}
    heads[first] = first.capitalize()
    heads["moderator"] = fit.study.moderator.name.capitalize()
    for name in table.columns[: table.columns.get_loc("extrapolated")]:
        if name not in ("outcome", "patient", *heads) and _differs(table[name]):
            heads[name] = name.capitalize() if name in ("baseline", "therapist") else name
    return heads


def _differs(values: pd.Series) -> bool:
    return bool((values != values.iloc[0]).any())


def _head_cells(row: Row, heads: dict[str, str], unseen: Unseen) -> list[str]:
    from alliance.inference.patients.extrapolation import beyond

    cells = []
    for name in heads:
        value = row[name]
        if not isinstance(value, str):
            value = "own" if value != value else short(value)
        if name in unseen and beyond([row[name]], unseen[name])[0]:
            value += MARK
        cells.append(escape(value))
    return cells


def _chances(table: pd.DataFrame, better: str) -> dict[str, str]:
    """Columns of chances of reaching thresholds, with their headings."""
    heads = {}
    signs = {"at_least": ">=", "at_most": "<="}
    for name, sign in signs.items():
        if name in table:
            heads[f"prob_{name}"] = f"P({sign} {table[name].iloc[0]:g})"
    if "change" in table:
        sign = "+" if better == "higher" else "-"
        heads["prob_change"] = f"P(change {sign}{table['change'].iloc[0]:g})"
    return heads


def _decimals(table: pd.DataFrame) -> int:
    """Decimals of scores below one another: two digits of the surest."""
    return decimals(float(table["expected_sd"].min()), float(table["expected"].iloc[0]))


def _span(row: Row, name: str, digits: int) -> str:
    return f"{number(row[f'{name}_lower'], digits)} to {number(row[f'{name}_upper'], digits)}"


def _prediction_table(fit: Fit, answer: Predictions, of_file: bool) -> Table:
    table = answer.table
    heads = _heads(fit, table, "arm", of_file)
    chances = _chances(table, fit.study.outcomes[answer.outcome].better)
    level = _percent(answer.interval)
    shown = _table(
        f"{outcome_title(fit, answer.outcome)}: predictions",
        list(heads.values()),
        ["Expected", level, *chances.values(), f"Outcome, {level}"],
    )
    unseen = _unseen(fit, answer.outcome, table)
    digits = _decimals(table)
    for row, last in _rows(table, "arm"):
        shown.add_row(
            *_head_cells(row, heads, unseen),
            number(row["expected"], digits),
            _span(row, "expected", digits),
            *(number(row[name], 3) for name in chances),
            _span(row, "outcome", digits),
            end_section=last,
        )
    return shown


def _contrast_table(fit: Fit, answer: Predictions, table: pd.DataFrame, of_file: bool) -> Table:
    heads = _heads(fit, table, "contrast", of_file)
    level = _percent(answer.interval)
    chances = {"prob_better": "P(better)"}
    if "better_by" in table:
        by = f"{table['better_by'].iloc[0]:g}"
        chances["prob_better_by"] = f"P(by {by})"
    chances["prob_outcome_better"] = "Outcome: P(better)"
    if "better_by" in table:
        chances["prob_outcome_better_by"] = f"P(by {by})"
    shown = _table(
        f"{outcome_title(fit, answer.outcome)}: arms compared for the same patient",
        list(heads.values()),
        ["Difference", level, *chances.values()],
    )
    unseen = _unseen(fit, answer.outcome, table)
    digits = _decimals(table)
    for row, last in _rows(table, "contrast"):
        shown.add_row(
            *_head_cells(row, heads, unseen),
            number(row["expected"], digits),
            _span(row, "expected", digits),
            *(number(row[name], 3) for name in chances),
            end_section=last,
        )
    return shown


def _average_table(
    fit: Fit, answer: Averages, table: pd.DataFrame, first: str, about: str
) -> Table:
    heads = {first: first.capitalize(), "moderator": fit.study.moderator.name.capitalize()}
    chances = _chances(table, fit.study.outcomes[answer.outcome].better)
    level = _percent(answer.interval)
    numbers = ["Expected" if first == "arm" else "Difference", level]
    for name in chances.values():
        numbers += [f"Share {name[2:-1]}", level]
    if "prob_better" in table:
        numbers.append("P(better)")
    if "prob_better_by" in table:
        numbers.append(f"P(by {table['better_by'].iloc[0]:g})")
    shown = _table(f"{outcome_title(fit, answer.outcome)}{about}", list(heads.values()), numbers)
    unseen = _unseen(fit, answer.outcome, table)
    digits = _decimals(table)
    for row, last in _rows(table, first):
        cells = [number(row["expected"], digits), _span(row, "expected", digits)]
        for name in chances:
            lower, upper = row[f"{name}_lower"], row[f"{name}_upper"]
            own = max(3, interval_decimals(lower, upper))
            cells += [number(row[name], own), _span(row, name, own)]
        if "prob_better" in row:
            cells.append(number(row["prob_better"], 3))
        if "prob_better_by" in row:
            cells.append(number(row["prob_better_by"], 3))
        shown.add_row(*_head_cells(row, heads, unseen), *cells, end_section=last)
    return shown


def _rows(table: pd.DataFrame, first: str) -> list[tuple[Row, bool]]:
    """Rows, and whether each is the last of its patient: the arms then begin anew."""
    rows = table.to_dict("records")
    starts = table[first].iloc[0]
    return [(row, k + 1 == len(rows) or rows[k + 1][first] == starts) for k, row in enumerate(rows)]


def _legend(fit: Fit, answer: Predictions, *, contrasts: bool) -> list[str]:
    table = answer.table
    whose = table["therapist"].unique()
    if len(whose) == 1:
        therapist = THERAPISTS.get(whose[0], f"therapist {whose[0]}")
    else:
        therapist = "the therapists named; patients of one new therapist share that one's draw"
    lines = [
        f"Expected: the mean outcome of such patients with {therapist}. Outcome: that of a single "
        f"patient. {_percent(answer.interval)} equal-tailed intervals."
    ]
    unseen = _unseen(fit, answer.outcome, table)
    fixed = [
        f"{name} {short(table[name].iloc[0])}{MARK * (name in unseen)}"
        for name in table.columns[: table.columns.get_loc("therapist")]
        if name not in ("outcome", "patient", "arm", "moderator") and not _differs(table[name])
    ]
    if fixed:
        lines.append(f"The same in all rows: {', '.join(fixed)}.")
    if contrasts:
        better = fit.study.outcomes[answer.outcome].better
        lines.append(
            "Arms are compared for the same patient: the same therapist effects and the same "
            "residual rank (no trial can show that a patient keeps it; expected scores do not "
            f"depend on it). Better is {better}; a tie is not better."
        )
    lines += [answer.counted.steps] if answer.counted.steps else []
    low, high = fit.study.outcomes[answer.outcome].range
    if table["outcome_lower"].min() < low or table["outcome_upper"].max() > high:
        lines.append(
            f"The family fitted ({fit.specs[answer.outcome].family}) knows no ends of the scale, "
            "and some intervals of outcomes pass them."
        )
    return lines + _marked(fit, answer.outcome, table)


def _unseen(fit: Fit, outcome: str, table: pd.DataFrame) -> Unseen:
    from alliance.inference.answers.prediction_tables import unseen_columns

    return unseen_columns(fit.design(outcome), table) if table["extrapolated"].any() else {}


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
