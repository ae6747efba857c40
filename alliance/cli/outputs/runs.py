"""What the commands do: they call the rooms, print the tables and choose the exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from alliance.cli.files import asked
from alliance.cli.options.data_files import load_data
from alliance.cli.outputs.prior_costs import prior_costs
from alliance.cli.outputs.report import REPORT, write_report
from alliance.cli.running import GATE_FAILED, command, load_run, typed
from alliance.cli.screen import render, run_facts
from alliance.cli.screen.comparison_table import comparison
from alliance.cli.screen.progress import sampling_progress
from alliance.data_prep.errors import DataError, InputError
from alliance.data_prep.files import LIST
from alliance.data_prep.study.description import find_study, narrowed, read_study
from alliance.data_prep.study.parts import read_shifts
from alliance.data_prep.trial.trial import Trial, check_estimable

if TYPE_CHECKING:
    from alliance.data_prep.registry.registry import Registry
    from alliance.diagnostics.gate.fit_gate import FitChecks
    from alliance.inference.sampling.profiles import Engine, TherapistEffectsKept


def _sample_and_save(
    trial: Trial | Registry,
    out: Path,
    *,
    profile: str,
    seed: int,
    published: Path | None,
    overwrite: bool,
    engine: Engine = "nuts",
    cores: int | None = None,
    left_out: Sequence[str] = (),
    therapist_effects: TherapistEffectsKept = "auto",
    sampler: Mapping[str, Any] | None = None,
) -> FitChecks:
    """Fit, judge and write; the fit with its checks."""
    from alliance.diagnostics.gate.fit_gate import FitChecks, gate_table
    from alliance.inference.runs.fitting import fit_registry, fit_trial
    from alliance.inference.runs.run_folder import save_fit
    from alliance.inference.sampling.profiles import find_profile
    from alliance.models.spec import JOINT

    names = [JOINT] if trial.study.model.joint else list(trial.study.outcomes)
    chosen = replace(find_profile(profile), therapist_effects=therapist_effects)
    chosen = chosen.adjusted(**(sampler or {}))
    with sampling_progress(names) as progress:
        settings: dict[str, Any] = {
            "engine": engine,
            "cores": cores,
            "progress": progress,
            "left_out": left_out,
        }
        if isinstance(trial, Trial):
            fitted = fit_trial(trial, chosen, seed, **settings)
        else:
            fitted = fit_registry(trial, chosen, seed, **settings)
    # Without compilation, the checks of the model would take longer than the fit: see diagnose.
    judged = FitChecks(fitted, of_model=engine != "instant")
    save_fit(
        fitted,
        out,
        overwrite=overwrite,
        published=published,
        tables={"gate.csv": gate_table(judged.reports)},
    )
    return judged


def _leave_by_gate(reports: Any) -> None:
    from alliance.diagnostics.gate.fit_gate import worst_verdict
    from alliance.diagnostics.verdicts import Verdict

    if worst_verdict(reports) is Verdict.FAIL:
        render.error(
            "The diagnostics gate failed: do not use these draws. See `alliance diagnose`."
        )
        raise typer.Exit(GATE_FAILED)


def _published_beside(study_path: Path) -> Path | None:
    beside = study_path.parent / "published.toml"
    return beside if beside.is_file() else None


@command
def demo(out: Path, profile: str, seed: int, table_format: str) -> None:
    """Run the whole way on a simulated trial."""
    from alliance.data_prep.simulator.simulation import simulate_trial, write_simulated
    from alliance.inference.published.comparison import compare as compared
    from alliance.inference.published.published import read_published
    from alliance.inference.runs.choices import model_choices
    from alliance.inference.runs.run_folder import require_free

    run, table = out / "run", out / "trial.csv"
    again = (out / LIST).is_file() and table.is_file()  # an earlier demo is replaced
    if out.exists() and not again:
        raise InputError(f"{str(out)!r} exists and holds no demo.", "Name another folder: --out.")
    require_free(run, overwrite=again)
    render.say(f"Simulating the trial of 240 patients into {table}.")
    write_simulated(simulate_trial(seed=seed), table, overwrite=again)
    study_path = out / "study.toml"
    trial = load_data(read_study(study_path), table, sample=None, seed=seed, dask=None)
    published = _published_beside(study_path)
    judged = _sample_and_save(
        trial, run, profile=profile, seed=seed, published=published, overwrite=again
    )
    fitted, reports = judged.fit, judged.reports
    findings = () if published is None else read_published(published, trial.study)
    render.summary(fitted, fitted.summary(), table_format, interval=0.95)
    if table_format == "table":  # a machine reads one table
        run_facts.patients(fitted)
        run_facts.choices(model_choices(fitted))
        comparison(fitted, compared(fitted, findings), table_format, interval=0.95)
        render.gate_overview(fitted, reports, table_format)
    write_report(judged, findings, run / REPORT)
    render.say(f"The run is in {run}: try `alliance compare {typed(run)} --format csv`.")
    _leave_by_gate(reports)


@command
def simulate(
    out: Path, patients: int, therapists: int, seed: int, nested: bool, overwrite: bool
) -> None:
    """Write a simulated trial."""
    from alliance.data_prep.simulator.simulation import simulate_trial, write_simulated

    simulated = simulate_trial(
        seed=seed, patients=patients, therapists=therapists, crossed=not nested
    )
    for path in write_simulated(simulated, out, overwrite=overwrite):
        render.say(f"Written: {path}")


@command
def check(study: str, data: Path, table_format: str) -> None:
    """Validate and count."""
    from alliance.models.spec import specify

    described = read_study(find_study(study))
    specify(described)  # refuses unknown priors, as a fit would
    try:
        trial = load_data(described, data, sample=None, seed=0, dask=None)
    except DataError as error:
        if table_format != "table":
            render.frame(error.table(), table_format)
        raise
    estimable = True
    try:
        check_estimable(trial, described.model.therapist)
    except DataError as error:  # no fault of the data: other settings can be fitted
        estimable = False
        for problem in error.problems:
            render.note(str(problem))
    render.flow(described, trial.flow, table_format)
    if estimable and table_format == "table":  # a machine reads one table
        prior_costs(trial)


@command
def fit(
    study: str,
    data: Path,
    out: Path,
    *,
    outcomes: list[str],
    profile: str,
    sampler: Mapping[str, Any],
    seed: int,
    engine: Engine,
    settings: dict[str, Any],
    shifts: list[str],
    cores: int | None,
    sample: int | None,
    dask: str | None,
    therapist_effects: TherapistEffectsKept,
    overwrite: bool,
    table_format: str,
) -> None:
    """Fit the outcomes and write the run folder."""
    study_path = find_study(study)
    whole = read_study(study_path)
    # Settings are enumerations on the command line, and plain text in the study.
    chosen: dict[str, Any] = {k: str(v) if isinstance(v, str) else v for k, v in settings.items()}
    described = narrowed(whole, outcomes=outcomes, delta=read_shifts(shifts), **chosen)
    from alliance.inference.published.published import read_published
    from alliance.inference.runs.run_folder import require_free
    from alliance.inference.sampling.profiles import find_profile

    require_free(out, overwrite=overwrite, inputs=[data, study_path])
    find_profile(profile).adjusted(**sampler)  # refused before the data are read
    published = _published_beside(study_path)
    if published is not None:
        read_published(published, whole)  # its faults are better known before the sampling
    trial = load_data(described, data, sample=sample, seed=seed, dask=dask)
    judged = _sample_and_save(
        trial,
        out,
        profile=profile,
        seed=seed,
        published=published,
        overwrite=overwrite,
        engine=engine,
        cores=cores,
        left_out=[name for name in whole.outcomes if name not in described.outcomes],
        therapist_effects=therapist_effects,
        sampler=sampler,
    )
    for name, facts in judged.fit.manifest["engines"].items():
        if "instant_pareto_k" in facts:
            render.note(
                f"{name}: sampled by NUTS, because the instant engine's weights are unreliable "
                f"(Pareto k {facts['instant_pareto_k']:.2f})."
            )
    render.gate_overview(judged.fit, judged.reports, table_format)
    if judged.fit.rowless:
        render.note(
            "The run holds cross-products and no patients' rows: what needs these, such as checks "
            "of the model, says so; --sample-therapists fits some therapists with their rows."
        )
    elif not judged.of_model:
        render.say(f"The model is not judged yet: `alliance diagnose {typed(out)}` does.")
    run = typed(out)
    render.say(f"Written: {out}. Next: `alliance summary {run}`, `alliance compare {run}`.")
    _leave_by_gate(judged.reports)


@command
def diagnose(
    run: Path, study: str | None, data: Path | None, junit: Path | None, table_format: str
) -> None:
    """Print the gate's table, and write it for continuous integration."""
    from alliance.diagnostics.gate.fit_gate import check_fit

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
        render.say(f"Written: {junit}")
    render.gate(fitted, reports, table_format)
    _leave_by_gate(reports)


@command
def summary(
    run: Path,
    interval: float,
    per_sd: bool,
    priors: bool,
    figure: Path | None,
    table_format: str,
    *,
    at: float | None = None,
    extrapolate: bool = False,
) -> None:
    """Print the tidy table, or the priors."""
    from alliance.inference.runs.choices import model_choices

    fitted = load_run(run, rows=False)
    places: dict[str, Any] = {"at": at, "extrapolate": extrapolate}
    if priors:
        table = fitted.priors(per_sd=per_sd, **places)
        render.priors(fitted, table, table_format, per_sd=per_sd, at=at)
        return
    table = fitted.summary(interval=interval, per_sd=per_sd, **places)
    if figure is not None:
        from alliance.diagnostics.figures.contrast_figure import contrast_figure

        drawn = contrast_figure(fitted, table, interval=interval, at=at)
        render.save(drawn, figure)
    render.summary(fitted, table, table_format, interval=interval, per_sd=per_sd, at=at)
    if table_format == "table":  # a machine reads one table
        run_facts.patients(fitted)
        run_facts.choices(model_choices(fitted))


@command
def summaries_beside(
    paths: list[Path],
    interval: float,
    table_format: str,
    *,
    at: float | None = None,
    extrapolate: bool = False,
) -> None:
    """Print the quantities of several runs side by side."""
    from alliance.cli.screen.beside_table import runs_beside as print_runs
    from alliance.inference.runs.beside import runs_beside
    from alliance.inference.runs.choices import model_choices

    names = [path.absolute().name for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    if len(set(names)) < len(names):
        raise InputError("A run cannot stand beside itself.", "Name another run with --beside.")
    runs = dict(zip(names, (load_run(path, rows=False) for path in paths), strict=True))
    table = runs_beside(runs, interval=interval, at=at, extrapolate=extrapolate)
    print_runs(runs, table, table_format, interval=interval, at=at)
    if table_format == "table":
        for name, fitted in runs.items():
            run_facts.choices(model_choices(fitted), title=f"Model of {name}")


@command
def compare(
    run: Path,
    published: Path | None,
    interval: float,
    robust: bool,
    figure: Path | None,
    table_format: str,
    *,
    at: float | None = None,
    extrapolate: bool = False,
) -> None:
    """Print the comparison."""
    from alliance.inference.published.comparison import compare as compared
    from alliance.inference.published.published import read_published
    from alliance.inference.runs.choices import model_choices

    fitted = load_run(run, rows=False)
    path = _published_beside(run / "study.toml") if published is None else published
    if path is None:
        render.note("No published.toml is kept with this run: refits and posterior only.")
    findings: tuple[Any, ...] = ()
    if path is not None:
        left_out = fitted.manifest.get("left_out", ())
        findings = read_published(path, fitted.study, left_out=left_out)
    table = compared(
        fitted, findings, interval=interval, robust=robust, at=at, extrapolate=extrapolate
    )
    comparison(fitted, table, table_format, interval=interval, at=at)
    if table_format == "table":
        run_facts.choices(model_choices(fitted))
    if figure is not None:
        from alliance.diagnostics.figures.comparison_figure import comparison_figure

        drawn = comparison_figure(fitted, table, interval=interval, at=at)
        render.save(drawn, figure)
