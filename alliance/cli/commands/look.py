"""A run looked at: `summary`, `compare` beside a paper or other runs, gate, report, explorer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from alliance.cli import screen
from alliance.cli.files import asked
from alliance.cli.options import (
    AtOption,
    ExtrapolateAtOption,
    FigureOption,
    FormatOption,
    HideSingleOption,
    IntervalOption,
    OutcomeOption,
    PublishedOption,
    RunArgument,
    TableFormat,
    VisitOption,
)
from alliance.cli.runs import findings_of, leave_by_gate, load_run, several_runs

if TYPE_CHECKING:
    import pandas as pd

    from alliance.diagnostics.gate.fit_gate import FitChecks
    from alliance.inference.published.findings import Finding
    from alliance.inference.runs.choices import Choice
    from alliance.inference.runs.fit import Fit


OVER_THERAPISTS = (
    "Posterior means over therapists: `alliance predict RUN --average-over trial --contrasts`."
)
REASON = "without_"  # columns of the flow counts that say what patients lack


def summary(
    run: RunArgument,
    interval: IntervalOption = 0.95,
    per_sd: Annotated[
        bool, typer.Option("--per-sd", help="Moderator slopes for one SD instead of one point.")
    ] = False,
    priors: Annotated[
        bool, typer.Option("--priors", help="The priors on the outcome's scale instead.")
    ] = False,
    beside: Annotated[
        list[Path] | None,
        typer.Option(help="Another run, to be put beside this one; may be repeated."),
    ] = None,
    at: AtOption = None,
    extrapolate: ExtrapolateAtOption = False,
    figure: FigureOption = None,
    table_format: FormatOption = "table",
) -> None:
    """Print the posterior summaries of every reported quantity, of one run or of several.

    The figure shows the arm contrasts of all outcomes in SDs of each, a benefit to the right.
    """
    if figure is not None and (beside or priors):
        raise typer.BadParameter(
            "the figure shows the arm contrasts of one run; leave --beside and --priors out.",
            param_hint="--figure",
        )
    if beside:
        _side_by_side_summaries(
            [run, *beside], table_format, interval=interval, at=at, extrapolate=extrapolate
        )
        return
    fitted = load_run(run, rows=False)
    if priors:
        table = fitted.priors(per_sd=per_sd, at=at, extrapolate=extrapolate)
        if table_format != "table":
            screen.frame(table, table_format, study=fitted.study)
            return
        from alliance.diagnostics.sheets import results

        legend = [*results.summary_legend(fitted, per_sd=per_sd, at=at), results.PRIORS_LEGEND]
        own = [rows for _, rows in table.groupby("outcome", sort=False)]
        screen.show(fitted.study, [results.priors(fitted, rows) for rows in own], legend)
        return
    table = fitted.summary(interval=interval, per_sd=per_sd, at=at, extrapolate=extrapolate)
    if figure is not None:
        from alliance.diagnostics.figures.results_figures import contrast_figure

        screen.save(contrast_figure(fitted, table, interval=interval, at=at), figure)
    print_summary(fitted, table, table_format, interval=interval, per_sd=per_sd, at=at)


def compare(
    run: RunArgument,
    published: PublishedOption = None,
    interval: IntervalOption = 0.95,
    robust: Annotated[
        bool,
        typer.Option(
            "--robust",
            help="OLS with cluster-robust standard errors by therapist (CR2), too.",
        ),
    ] = False,
    df: Annotated[
        Literal["satterthwaite", "kenward-roger"],
        typer.Option(
            help="REML of outcomes over time: standard errors of generalised least squares, or "
            "those of Kenward and Roger."
        ),
    ] = "satterthwaite",
    visit: VisitOption = "all",
    at: AtOption = None,
    extrapolate: ExtrapolateAtOption = False,
    figure: Annotated[
        Path | None, typer.Option(help="Also draw a forest plot: FILE.png, .svg or .pdf.")
    ] = None,
    table_format: FormatOption = "table",
) -> None:
    """Set published findings, OLS, REML and the posterior side by side."""
    from alliance.inference.published.comparison import compare as compared

    fitted = load_run(run, rows=False)
    findings = findings_of(fitted, run, published)
    table = compared(
        fitted,
        findings,
        interval=interval,
        robust=robust,
        at=at,
        extrapolate=extrapolate,
        df=df,
        outcomes=None if visit == "all" else fitted.chosen([], visit),
    )
    print_comparison(fitted, table, table_format, interval=interval, at=at)
    if table_format == "table":
        _print_choices(fitted)
    if figure is not None:
        from alliance.diagnostics.figures.results_figures import comparison_figure

        screen.save(comparison_figure(fitted, table, interval=interval, at=at), figure)


def print_summary(
    fit: Fit,
    table: pd.DataFrame,
    table_format: TableFormat,
    *,
    interval: float,
    per_sd: bool = False,
    at: float | None = None,
) -> None:
    """Print the tidy table, by outcome, with the prior of each quantity beside it.

    Parameters
    ----------
    fit : Fit
    table : pandas.DataFrame
        As from `Fit.summary`.
    table_format : {"table", "csv", "json"}
    interval : float
        Probability of the table's intervals.
    per_sd : bool
        Whether slopes are for one SD.
    at : float, optional
        The alliance that was named for the contrasts of arms.
    """
    if table_format != "table":
        from alliance.inference.estimands.over_time import by_outcome_and_visit
        from alliance.inference.trials.tables import whole_table

        told = by_outcome_and_visit(table, fit.study)
        told = whole_table(list(fit.posteriors()), told, interval=interval, per_sd=per_sd)
        screen.frame(told, table_format, study=fit.study)
        return
    from alliance.diagnostics.sheets import results

    priors = fit.priors(per_sd=per_sd, at=at, extrapolate=True)
    sheets = results.summary(fit, table, priors, interval=interval, per_sd=per_sd)
    sheets += (needed := results.numbers_needed(fit, table, interval=interval))
    legend = [*results.summary_legend(fit, per_sd=per_sd, at=at), *({each.note for each in needed})]
    if fit.several_trials:
        legend.append(
            "Of an average trial: levels are means over the trials' patients. "
            "`alliance trials RUN` has each trial, and a new one."
        )
    screen.show(fit.study, sheets, legend)
    _print_patients(fit)
    _print_choices(fit)


def _side_by_side_summaries(
    paths: Sequence[Path],
    table_format: TableFormat,
    *,
    interval: float,
    at: float | None,
    extrapolate: bool,
) -> None:
    """Print the quantities of several runs side by side."""
    from alliance.diagnostics.sheets import results
    from alliance.inference.runs.choices import runs_beside

    runs = several_runs(paths, rows=False)
    table = runs_beside(runs, interval=interval, at=at, extrapolate=extrapolate)
    first = next(iter(runs.values()))
    for name, fit in runs.items():
        if fit.manifest["data"]["sha256"] != first.manifest["data"]["sha256"]:
            screen.note(f"{name} was fitted to other data ({fit.manifest['data']['file']}).")
    if table_format != "table":
        studies = [fit.study for fit in runs.values()]
        screen.frame(table, table_format, study=max(studies, key=lambda study: study.simulated))
        return
    sheets = results.beside(runs, table, interval=interval)
    screen.show(first.study, sheets, [sheets[0].note, *results.beside_legend(runs, at=at)])
    for name, fit in runs.items():
        _print_choices(fit, title=f"Model of {name}")


def print_comparison(
    fit: Fit,
    table: pd.DataFrame,
    table_format: TableFormat,
    *,
    interval: float,
    at: float | None = None,
) -> None:
    """Print the comparison of `inference.published.comparison.compare`.

    Parameters
    ----------
    fit : Fit
    table : pandas.DataFrame
        On the screen only slopes, contrasts and interactions are shown, and what was published.
    table_format : {"table", "csv", "json"}
    interval : float
        Probability of the table's intervals.
    at : float, optional
        The alliance that was named for the contrasts of arms.
    """
    if table_format != "table":
        screen.frame(table, table_format, study=fit.study)
        return
    from alliance.diagnostics.sheets import results

    sheets = results.comparison(fit, table, interval=interval)
    published = table["claim"].notna().any()
    curved = any(fit.design(outcome).family.link != "identity" for outcome in fit.outcomes)
    further = "Each verdict's explanation and source, and all" if published else "All"
    legend = [
        *results.refit_notes(fit, table),
        sheets[0].note,
        *results.comparison_legend(fit, table, at=at),
        *([OVER_THERAPISTS] if curved else []),
        f"{further} quantities: --format csv.",
    ]
    if fit.study.simulated and published:
        legend.append(
            "SIMULATED: the verdicts speak of a simulated trial, not of the study's patients."
        )
    screen.show(fit.study, sheets, legend)


def _print_patients(fit: Fit) -> None:
    """Print how many patients of each outcome are analysed and left out, and for want of what."""
    alliance = "" if fit.study.moderator is None else fit.study.moderator.name
    told = {
        str(row["outcome"]): patients_in_words(row, alliance) for row in fit.flow.to_dict("records")
    }
    same = len(told) > 1 and len(set(told.values())) == 1
    rows = [("every outcome", next(iter(told.values())))] if same else list(told.items())
    screen.facts("Patients", rows)


def _print_choices(fit: Fit, title: str = "Model") -> None:
    """Print the choices behind a fit, departures from defaults first."""
    from alliance.inference.runs.choices import model_choices

    chosen = model_choices(fit)
    departures = _listed(choice for choice in chosen if not choice.default)
    defaults = _listed(choice for choice in chosen if choice.default)
    rows = [("chosen", departures or "nothing but the defaults"), ("by default", defaults)]
    screen.facts(title, [row for row in rows if row[1]])


def patients_in_words(row: Mapping[Any, Any], alliance: str) -> str:
    """One outcome's flow counts as a sentence or two.

    Parameters
    ----------
    row : mapping
        A row of `data_prep.trial.trial.Trial.flow`.
    alliance : str
        What messages call the moderator; empty where there is none.

    Examples
    --------
    >>> patients_in_words({"rows_read": 9, "without_alliance": 2, "analysed": 7}, "alliance")
    '7 of 9 analysed: 7 complete cases, 0 with imputed alliance; left out: 2 without alliance'
    """
    from alliance.diagnostics.words import plain

    analysed, imputed = int(row["analysed"]), int(row.get("alliance_imputed", 0))
    told = f"{analysed} of {int(row['rows_read'])} analysed"
    if alliance:
        told += f": {analysed - imputed} complete cases, {imputed} with imputed {alliance}"
    lacking = {
        str(name).removeprefix(REASON): row[name] for name in row if str(name).startswith(REASON)
    }
    named = {"alliance": alliance, "followup": "follow-up"}
    reasons = [
        f"{int(count)} without {named.get(what, plain(what))}"
        for what, count in lacking.items()
        if count
    ]
    return f"{told}; left out: {', '.join(reasons)}" if reasons else told


def _listed(chosen: Iterable[Choice]) -> str:
    return "; ".join(map(str, chosen))


REPORT = "report.html"


def report(
    run: RunArgument,
    out: Annotated[
        Path | None, typer.Option(help="The HTML file; report.html in the run folder by default.")
    ] = None,
    tables: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Also write each table there, as CSV, Markdown and LaTeX."
        ),
    ] = None,
    word: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also write the paper kit as a Word document, which ends in .docx.",
        ),
    ] = None,
    published: PublishedOption = None,
    interval: IntervalOption = 0.95,
    at: AtOption = None,
    extrapolate: ExtrapolateAtOption = False,
    hide_single: HideSingleOption = False,
    visit: VisitOption = "all",
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace tables, or a file that is no report; an earlier report always is.",
        ),
    ] = False,
) -> None:
    """Write the report: one HTML file to read, print and send; exit code 3 if the gate failed.

    It needs no network and no script, and holds no patient's row and no patient's identifier. The
    paper kit has methods and results with citations, flow diagram, first table, table of results,
    formulas, checklist and supplement.
    """
    from alliance.diagnostics.report import contents
    from alliance.diagnostics.report.material import Material
    from alliance.inference.draws.summaries import tails
    from alliance.inference.estimands.compared_at import require_place
    from alliance.inference.runs.whole_files import PAGE, require_output

    path = run / REPORT if out is None else out
    tails(interval)
    if word is not None:
        given = [run, *([] if published is None else [published])]
        contents.require_word_file(word, overwrite=overwrite, inputs=given)
    fitted = load_run(run, rows=False)
    if visit != "all":
        fitted.chosen([], visit)  # refused here if there is none
    for outcome in fitted.outcomes:
        require_place(fitted[outcome], at, extrapolate=extrapolate)
    read = [] if published is None else [published]
    require_output(path, PAGE, overwrite=overwrite and out is not None, inputs=read)
    findings = findings_of(fitted, run, published)
    material = Material(
        fitted,
        findings,
        interval,
        at=at,
        extrapolate=extrapolate,
        hide_single=hide_single,
        visit=visit,
    )
    written = contents.write_report(material, path, tables=tables, word=word, overwrite=overwrite)
    if tables is not None:
        screen.say(f"Written: {len(written)} files in {tables}")
    if word is not None:
        screen.say(f"Written: {word}")
    screen.say(f"Written: {path}")
    leave_by_gate(material.gate)


def write_report(judged: FitChecks, findings: Sequence[Finding], path: Path) -> None:
    """Write a run's report and say where it is.

    Parameters
    ----------
    judged : FitChecks
    findings : sequence of Finding
    path : Path
    """
    from alliance.diagnostics.report import contents
    from alliance.diagnostics.report.material import Material

    contents.write_report(Material(judged.fit, findings, judged=judged), path)
    screen.say(f"Written: {path}")


def explore(
    run: RunArgument,
    outcome: OutcomeOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The HTML file, as explorer.html; without it a temporary file is opened in the "
            "browser."
        ),
    ] = None,
    interval: IntervalOption = 0.95,
    therapist_names: Annotated[
        bool,
        typer.Option(
            "--therapist-names", help="Call therapists by their ids; by default they have numbers."
        ),
    ] = False,
    hide_single: HideSingleOption = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace a file that is no explorer; an earlier explorer always is.",
        ),
    ] = False,
) -> None:
    """Write the explorer: one HTML page with controls that answers by itself, from the draws.

    Its numbers are those of `effects`, `decide`, `predict` and `therapists`, to the printed digit.
    It needs no server and no network, and holds no patient's row. Where it stands beside
    report.html as explorer.html, the two lead to one another.
    """
    from alliance.diagnostics.explorer.page import write_explorer
    from alliance.inference.runs.whole_files import EXPLORER_PAGE, require_output

    fitted = load_run(run)
    if out is not None:
        require_output(out, EXPLORER_PAGE, overwrite=overwrite)
    written, opened = write_explorer(
        fitted,
        out,
        outcomes=fitted.chosen(outcome or []),
        interval=interval,
        therapist_names=therapist_names,
        hide_single=hide_single,
    )
    screen.say(f"Written: {written}")
    if out is None and not opened:
        screen.note("No browser could be opened: open the file in one.")


def diagnose(
    run: RunArgument,
    study: Annotated[
        str | None, typer.Option(help="Also say whether this study is the one fitted.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Also say whether these data are the ones fitted.")
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write JUnit XML, for continuous integration."),
    ] = None,
    table_format: FormatOption = "table",
) -> None:
    """Judge the draws: the convergence gate; exit code 3 if it fails."""
    from alliance.diagnostics.gate.fit_gate import check_fit
    from alliance.diagnostics.sheets import checks as sheets

    fitted = load_run(run, study, data, rows=False)
    reports = check_fit(fitted)
    if junit is not None:
        from alliance.diagnostics.gate.junit import write_junit

        described = fitted.study
        write_junit(
            reports,
            junit,
            title=described.title,
            simulated=described.simulated,
            overwrite=asked("overwrite"),
        )
        screen.say(f"Written: {junit}")
    if table_format == "table":
        for report in reports:
            screen.show(fitted.study, [sheets.gate(fitted, report)])
            screen.tell(sheets.advice(report.all_results))
    else:
        tables = [report.table for report in reports]
        screen.frame(tables, table_format, study=fitted.study)
    leave_by_gate(reports)
