"""`alliance report`: a run as one page to read, print and send."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alliance.cli import screen
from alliance.cli.options import (
    AtOption,
    ExtrapolateAtOption,
    HideSingleOption,
    IntervalOption,
    PublishedOption,
    RunArgument,
)
from alliance.cli.runs import findings_of, leave_by_gate, load_run

if TYPE_CHECKING:
    from alliance.diagnostics.gate.fit_gate import FitChecks
    from alliance.inference.published.findings import Finding

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
    published: PublishedOption = None,
    interval: IntervalOption = 0.95,
    at: AtOption = None,
    extrapolate: ExtrapolateAtOption = False,
    hide_single: HideSingleOption = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace tables, or a file that is no report; an earlier report always is.",
        ),
    ] = False,
) -> None:
    """Write the report: one HTML file to read, print and send; exit code 3 if the gate failed.

    It needs no network and no script, and holds no patient's row and no patient's identifier.
    """
    from alliance.diagnostics.report import contents
    from alliance.diagnostics.report.material import Material
    from alliance.inference.draws.quantiles import tails
    from alliance.inference.estimands.compared_at import require_place
    from alliance.inference.runs.whole_files import PAGE, require_output

    path = run / REPORT if out is None else out
    tails(interval)
    fitted = load_run(run)
    for outcome in fitted.outcomes:
        require_place(fitted[outcome], at, extrapolate=extrapolate)
    read = [] if published is None else [published]
    require_output(path, PAGE, overwrite=overwrite and out is not None, inputs=read)
    findings = findings_of(fitted, run, published)
    material = Material(
        fitted, findings, interval, at=at, extrapolate=extrapolate, hide_single=hide_single
    )
    written = contents.write_report(material, path, tables=tables, overwrite=overwrite)
    if tables is not None:
        screen.say(f"Written: {len(written)} files in {tables}")
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
