"""What `alliance report` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from alliance.cli.running import command, load_run
from alliance.cli.screen import render
from alliance.inference.draws.quantiles import tails

if TYPE_CHECKING:
    from alliance.diagnostics.gate.fit_gate import FitChecks
    from alliance.inference.published.findings import Finding
    from alliance.inference.runs.fit import Fit

GATE_FAILED = 3
REPORT = "report.html"
PUBLISHED = "published.toml"


@command
def report(
    run: Path,
    out: Path | None,
    tables: Path | None,
    published: Path | None,
    *,
    interval: float,
    overwrite: bool,
    at: float | None = None,
    extrapolate: bool = False,
    hide_single: bool = False,
) -> None:
    """Write the report, and its tables if they are asked for."""
    from alliance.diagnostics.gate.fit_gate import worst_verdict
    from alliance.diagnostics.report.contents import write_sections
    from alliance.diagnostics.report.exports import write_tables
    from alliance.diagnostics.report.material import Material
    from alliance.diagnostics.report.page import report_html
    from alliance.diagnostics.verdicts import Verdict
    from alliance.inference.estimands.compared_at import require_place
    from alliance.inference.runs.whole_files import PAGE, require_output, write_whole

    path = run / REPORT if out is None else out
    tails(interval)
    fitted = load_run(run)
    for outcome in fitted.outcomes:
        require_place(fitted[outcome], at, extrapolate=extrapolate)
    read = [given for given in (published,) if given is not None]
    require_output(path, PAGE, overwrite=overwrite and out is not None, inputs=read)
    findings = read_findings(fitted, run, published)
    material = Material(
        fitted, findings, interval, at=at, extrapolate=extrapolate, hide_single=hide_single
    )
    sections = write_sections(material)
    page = report_html(fitted, sections)
    if tables is not None:  # first, since it may be refused
        simulated = fitted.study.simulated
        written = write_tables(sections, tables, simulated=simulated, overwrite=overwrite)
        render.say(f"Written: {len(written)} files in {tables}")
    write_whole(path, page.encode())
    render.say(f"Written: {path}")
    if worst_verdict(material.gate) is Verdict.FAIL:
        render.error(
            "The diagnostics gate failed: do not use these draws. See `alliance diagnose`."
        )
        raise typer.Exit(GATE_FAILED)


def read_findings(fit: Fit, run: Path, published: Path | None) -> Sequence[Finding]:
    """Published findings from a file that is named, or from the one kept with the run.

    Parameters
    ----------
    fit : Fit
    run : Path
    published : Path or None
    """
    from alliance.inference.published.published import read_published

    kept = run / PUBLISHED
    path = published if published is not None else kept if kept.is_file() else None
    if path is None:
        render.note("No published.toml is kept with this run: refits and posterior only.")
        return ()
    return read_published(path, fit.study, left_out=fit.manifest.get("left_out", ()))


def write_report(judged: FitChecks, findings: Sequence[Finding], path: Path) -> None:
    """Write a run's report and say where it is.

    Parameters
    ----------
    judged : FitChecks
    findings : sequence of Finding
    path : Path
    """
    from alliance.diagnostics.report.contents import write_sections
    from alliance.diagnostics.report.material import Material
    from alliance.diagnostics.report.page import report_html
    from alliance.inference.runs.whole_files import write_whole

    fit = judged.fit
    sections = write_sections(Material(fit, findings, judged=judged))
    write_whole(path, report_html(fit, sections).encode())
    render.say(f"Written: {path}")
