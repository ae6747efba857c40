"""A study, its data, and a fit: `demo`, `init`, `simulate`, `check`, `fit`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from alliance.cli import screen
from alliance.cli.options import (
    DEFAULT_SEED,
    MANY,
    SAMPLING,
    AllSettings,
    CoresOption,
    DaskOption,
    DataArgument,
    EngineName,
    FormatOption,
    ManyDataArgument,
    NestedOption,
    OutcomeOption,
    ProfileOption,
    SeedOption,
    Shift,
    StudyArgument,
    TableFormat,
    by_outcome_and_arm,
    shift,
)
from alliance.cli.runs import (
    asked_study,
    leave_by_gate,
    load_data,
    published_beside,
    typed,
)
from alliance.data_prep.errors import DataError, InputError

if TYPE_CHECKING:
    from alliance.data_prep.registry.registry import Registry
    from alliance.data_prep.trial.trial import Trial
    from alliance.diagnostics.gate.fit_gate import FitChecks
    from alliance.diagnostics.gate.gate import GateReport
    from alliance.inference.runs.fit import Fit
    from alliance.inference.sampling.profiles import SamplerProfile


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the trial and the run.")] = Path(
        "alliance-demo"
    ),
    profile: ProfileOption = "standard",
    seed: SeedOption = DEFAULT_SEED,
    table_format: FormatOption = "table",
) -> None:
    """Simulate the 2013 study's trial, and go the whole way: fit, gate, summary, comparison.

    The patient data of the study are not public: every table says SIMULATED.
    """
    from alliance.cli.commands.look import REPORT, print_comparison, print_summary, write_report
    from alliance.data_prep.files import LIST
    from alliance.data_prep.simulator.simulation import simulate_trial, write_simulated
    from alliance.data_prep.study.description import read_study
    from alliance.inference.published.comparison import compare
    from alliance.inference.published.published import read_published
    from alliance.inference.runs.run_folder import require_free
    from alliance.inference.sampling.profiles import find_profile

    run, table = out / "run", out / "trial.csv"
    again = (out / LIST).is_file() and table.is_file()  # an earlier demo is replaced
    if out.exists() and not again:
        raise InputError(f"{str(out)!r} exists and holds no demo.", "Name another folder: --out.")
    require_free(run, overwrite=again)
    screen.say(f"Simulating the trial of 240 patients into {table}.")
    write_simulated(simulate_trial(seed=seed), table, overwrite=again)
    study_path = out / "study.toml"
    trial = load_data(read_study(study_path), table)
    published = published_beside(study_path)
    judged = _sample_and_save(
        trial, run, find_profile(profile), seed, published=published, overwrite=again
    )
    fitted = judged.fit
    findings = () if published is None else read_published(published, trial.study)
    print_summary(fitted, fitted.summary(), table_format, interval=0.95)
    if table_format == "table":  # a machine reads one table
        print_comparison(fitted, compare(fitted, findings), table_format, interval=0.95)
        print_gate(fitted, judged.reports, table_format)
    write_report(judged, findings, run / REPORT)
    if table_format == "table":
        _print_printed()
    screen.say(f"The run is in {run}: try `alliance compare {typed(run)} --format csv`.")
    leave_by_gate(judged.reports)


def init(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="The trial's table; of a workbook a sheet: trial.xlsx#Sheet2."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where the study file goes.")] = Path("study.toml"),
    *,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing, and take what is guessed.")
    ] = False,
    arm: Annotated[str | None, typer.Option(help="Column of the arms.")] = None,
    therapist: Annotated[str | None, typer.Option(help="Column of the therapists.")] = None,
    patient: Annotated[str | None, typer.Option(help="Column of the patients' ids.")] = None,
    moderator: Annotated[
        str | None, typer.Option(help="Column of the alliance, or of what takes its place.")
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Write a published.toml to be filled in, too.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Write a first study file from a data file: what its columns seem to be, with the reasons.

    Names, labels and values tell what columns are; what they cannot tell is asked on a terminal,
    and guessed with --yes. The study file holds no patient's data. A .gitignore beside it keeps the
    data file out of repositories. Then the study is checked, as `alliance check` does.
    """
    from alliance.data_prep.initial.beginning import begin

    given = {
        part: name
        for part, name in (
            ("arm", arm), ("therapist", therapist), ("patient", patient), ("moderator", moderator),
        )
        if name is not None
    }  # fmt: skip
    from alliance.cli import asking

    answering = not yes and asking.can_ask()
    if not yes and not answering:
        screen.note("There is no terminal to ask on: what is guessed is taken, as with --yes.")
    begun = begin(
        data,
        out,
        given,
        ask=asking.ask if answering else None,
        published=published,
        overwrite=overwrite,
    )
    for sentence in begun.notes:
        screen.note(sentence)
    for path in begun.written:
        screen.say(f"Written: {path}")
    for sentence in begun.undecided:
        screen.note(f"Not decided: {sentence}")
    screen.say("Every guess stands in the study file with its reason: read it, then go on.")
    command = f"`alliance check {typed(out)} {typed(begun.data)}`"
    if begun.undecided:
        screen.say(f"Decide what is not decided; then: {command}.")
        raise typer.Exit(2)
    screen.say(f"Checking it, as {command} does.")
    check(str(out), begun.data, settings={}, table_format="table")
    screen.say(f"Next: `alliance fit {typed(out)} {typed(begun.data)} --out run`.")


def _print_printed() -> None:
    """The real trial's printed numbers, which no simulator made."""
    from alliance.cli.commands.without_rows import print_paper
    from alliance.inference.paper.paper import Paper
    from alliance.inference.paper.printed import read_printed

    screen.tell(
        [
            "",
            "PUBLISHED, NOT SIMULATED: what the parent trial printed in 2007 says by itself "
            "(`alliance paper ferreira2013` says more).",
        ]
    )
    print_paper(Paper(read_printed("ferreira2013")), "table", short=True)


def simulate(
    out: Annotated[Path, typer.Argument(metavar="OUT.csv", help="Where the table goes.")],
    patients: Annotated[int, typer.Option(help="Patients randomised.")] = 240,
    therapists: Annotated[int, typer.Option(help="Therapists.")] = 12,
    seed: SeedOption = DEFAULT_SEED,
    nested: NestedOption = False,
    without_therapist: Annotated[
        list[str] | None,
        typer.Option(help="Code of an arm whose patients have no therapist; may be repeated."),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            metavar="STUDY",
            help="A study file whose design the trial has, instead of the published one's: its "
            "arms, therapists, clinics, outcomes and their families, and visits.",
        ),
    ] = None,
    leaving: Annotated[
        float | None,
        typer.Option(
            help="With a study of outcomes over time: the share of patients who leave before the "
            "last visit. A quarter."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Simulate a trial like the published one, with its study.toml and true values beside it.

    For data of your own, `alliance init DATA` writes a study file.
    """
    from alliance.data_prep.simulator.simulation import simulate_trial, write_simulated

    if study is None:
        if leaving is not None:
            raise InputError(
                "The published trial is simulated at 8 weeks alone, which nobody leaves before.",
                "Name a study of outcomes over time as `study`, such as ferreira2013_over_time.",
            )
        screen.say("SIMULATED DATA: a made-up trial like the published one; no patient gave them.")
        simulated = simulate_trial(
            seed=seed,
            patients=patients,
            therapists=therapists,
            crossed=not nested,
            without_therapist=without_therapist or (),
        )
    else:
        from alliance.data_prep.simulator.from_study import simulate_study
        from alliance.data_prep.study.description import find_study, narrowed, read_study

        screen.say("SIMULATED DATA: a made-up trial of this study's design; no patient gave them.")
        given: dict[str, Any] = {}
        if without_therapist:
            given["without_therapist"] = tuple(without_therapist)
        described = narrowed(read_study(find_study(study)), **given)
        simulated = simulate_study(
            described,
            seed=seed,
            patients=patients,
            therapists=therapists,
            nested=nested,
            leaving=leaving,
        )
    for path in write_simulated(simulated, out, overwrite=overwrite):
        screen.say(f"Written: {path}")


def fit(
    study: StudyArgument,
    data: ManyDataArgument,
    out: Annotated[Path, typer.Option(help="Folder for the run; must not exist yet.")],
    *,
    outcome: OutcomeOption = None,
    settings: AllSettings,
    delta: Annotated[
        list[Shift] | None,
        typer.Option(
            parser=shift,
            metavar="OUTCOME:ARM=SHIFT",
            help="How far unseen outcomes of an arm lie from what is expected; may be repeated.",
        ),
    ] = None,
    profile: ProfileOption = "standard",
    draws: Annotated[
        int | None,
        typer.Option(
            help="Draws kept of each chain, instead of the profile's.", rich_help_panel=SAMPLING
        ),
    ] = None,
    tune: Annotated[
        int | None,
        typer.Option(
            help="Tuning draws of each chain, instead of the profile's.", rich_help_panel=SAMPLING
        ),
    ] = None,
    target_accept: Annotated[
        float | None,
        typer.Option(
            help="Target acceptance of NUTS, instead of the profile's 0.8: 0.95, say.",
            rich_help_panel=SAMPLING,
        ),
    ] = None,
    max_treedepth: Annotated[
        int | None,
        typer.Option(
            help="Most doublings of a trajectory, instead of the profile's 10.",
            rich_help_panel=SAMPLING,
        ),
    ] = None,
    seed: SeedOption = DEFAULT_SEED,
    engine: Annotated[
        EngineName,
        typer.Option(
            help="nuts: PyMC's model, compiled. instant: importance sampling, without compiling, "
            "with the alliance as rated; NUTS takes over where that is unreliable.",
            rich_help_panel=SAMPLING,
        ),
    ] = "nuts",
    cores: CoresOption = None,
    sample_therapists: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Of many files, all rows of so many therapists drawn at random, as an ordinary "
            "trial.",
            rich_help_panel=MANY,
        ),
    ] = None,
    dask: DaskOption = None,
    therapist_effects: Annotated[
        Literal["auto", "draws", "summary"],
        typer.Option(
            help="Keep therapists' effects as draws, or their means and SDs; auto: a summary from "
            "10,000 therapists on.",
            rich_help_panel=MANY,
        ),
    ] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run.")] = False,
    table_format: FormatOption = "table",
) -> None:
    """Fit every outcome and write the run folder; exit code 3 if the gate fails.

    DATA may be a folder or a quoted pattern, 'registry/*.parquet': many files with the same
    columns, read once as cross-products, for Gaussian outcomes. So may several tables, patterns and
    shares of `alliance share`, which are pooled exactly.

    Settings of the model take the place of those in the study file.
    """
    from alliance.data_prep.study.description import find_study, narrowed, read_study
    from alliance.inference.published.published import read_published
    from alliance.inference.runs.run_folder import require_free
    from alliance.inference.sampling.profiles import find_profile

    study_path = find_study(study)
    whole = read_study(study_path)
    described = narrowed(
        whole, outcomes=outcome or [], delta=by_outcome_and_arm(delta or []), **settings
    )
    require_free(out, overwrite=overwrite, inputs=[*data, study_path])
    chosen = replace(find_profile(profile), therapist_effects=therapist_effects).adjusted(
        draws=draws, tune=tune, target_accept=target_accept, max_treedepth=max_treedepth
    )
    published = published_beside(study_path)
    if published is not None:
        read_published(published, whole)  # its faults are better known before the sampling
    trial = load_data(described, data, sample=sample_therapists, seed=seed, dask=dask)
    judged = _sample_and_save(
        trial,
        out,
        chosen,
        seed,
        published=published,
        overwrite=overwrite,
        engine=engine,
        cores=cores,
        left_out=[name for name in whole.outcomes if name not in described.outcomes],
    )
    for name, facts in judged.fit.manifest["engines"].items():
        if "instant_pareto_k" in facts:
            screen.note(
                f"{name}: sampled by NUTS, because the instant engine's weights are unreliable "
                f"(Pareto k {facts['instant_pareto_k']:.2f})."
            )
        elif "instant_integration_error" in facts:
            screen.note(
                f"{name}: sampled by NUTS, because the instant engine's integrals over therapists' "
                f"effects are unreliable (off by {facts['instant_integration_error']:.1g} in the "
                "log likelihood)."
            )
    print_gate(judged.fit, judged.reports, table_format)
    if judged.fit.rowless:
        screen.note(
            "The run holds cross-products and no patients' rows: what needs these, such as checks "
            "of the model, says so; --sample-therapists fits some therapists with their rows."
        )
    elif not judged.of_model:
        screen.say(f"The model is not judged yet: `alliance diagnose {typed(out)}` does.")
    run = typed(out)
    beside = "trials" if judged.fit.several_trials else "compare"
    screen.say(f"Written: {out}. Next: `alliance summary {run}`, `alliance {beside} {run}`.")
    leave_by_gate(judged.reports)


def _sample_and_save(
    trial: Trial | Registry,
    out: Path,
    profile: SamplerProfile,
    seed: int,
    *,
    published: Path | None,
    overwrite: bool,
    engine: EngineName = "nuts",
    cores: int | None = None,
    left_out: Sequence[str] = (),
) -> FitChecks:
    """Fit, judge and write; the fit with its checks."""
    from alliance.data_prep.trial.trial import Trial
    from alliance.diagnostics.gate.fit_gate import FitChecks, gate_table
    from alliance.inference.runs.fitting import fit_registry, fit_trial
    from alliance.inference.runs.run_folder import save_fit
    from alliance.models.spec import JOINT

    each = [own.visit_of or name for name, own in trial.study.outcomes.items()]
    names = [JOINT] if trial.study.model.joint else list(dict.fromkeys(each))
    with screen.sampling_progress(names) as progress:
        settings: dict[str, Any] = {
            "engine": engine,
            "cores": cores,
            "progress": progress,
            "left_out": left_out,
        }
        if isinstance(trial, Trial):
            fitted = fit_trial(trial, profile, seed, **settings)
        else:
            fitted = fit_registry(trial, profile, seed, **settings)
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


def print_gate(fit: Fit, reports: Sequence[GateReport], table_format: TableFormat) -> None:
    """Print the gate's verdict on each outcome, with the numbers it rests on.

    Parameters
    ----------
    fit : Fit
    reports : sequence of GateReport
    table_format : {"table", "csv", "json"}
    """
    from alliance.diagnostics.sheets import checks as sheets

    table = sheets.overview_table(fit, reports)
    if table_format != "table":
        screen.frame(table, table_format, study=fit.study)
        return
    further = "REVIEW: what was found and what to do: `alliance diagnose RUN`."
    legend = [further] if table["reviews"].any() else []
    screen.show(fit.study, [sheets.overview(table)], legend)


LEGEND = (
    "Of several levels the one that is pulled most. Residual SD of least squares, SDs between "
    "therapists at their priors' medians, both taken as known."
)


def check(
    study: StudyArgument,
    data: DataArgument,
    *,
    settings: AllSettings,
    table_format: FormatOption = "table",
) -> None:
    """Validate a trial's data and count its patients; all problems come back in one table."""
    from alliance.data_prep.trial.trial import Trial, check_estimable
    from alliance.models.spec import specify

    described = asked_study(study, [], settings)
    specify(described)  # refuses unknown priors, as a fit would
    try:
        trial = load_data(described, data)
    except DataError as error:
        if table_format != "table":
            screen.frame(error.table, table_format)
        raise
    estimable = True
    try:
        check_estimable(trial, described.model.therapist)
    except DataError as error:  # no fault of the data: other settings can be fitted
        estimable = False
        for problem in error.problems:
            screen.note(str(problem))
    if table_format != "table":
        screen.frame(trial.flow, table_format, study=described)
        return
    from alliance.diagnostics.sheets.results import flow

    screen.show(described, [flow(described, trial.flow)])
    if isinstance(trial, Trial):
        from alliance.diagnostics.checks.family_advice import proposals

        for proposal in proposals(trial):
            screen.note(proposal.told)
    if estimable:
        _print_costs(trial)


def _print_costs(source: Trial | Registry) -> None:
    """Print what the priors cost, and name the outcomes of which it is not known."""
    from alliance.diagnostics.sheets import checks as sheets
    from alliance.inference.priors.prior_costs import expected_costs

    costs, study = expected_costs(source), source.study
    if not costs.table.empty:
        sheet = sheets.prior_costs(sheets.worst_costs(costs.table), study, interval=0.95)
        legend = [sheet.note, LEGEND, *([costs.slopes.words] if costs.slopes is not None else [])]
        screen.show(study, [sheet], legend)
    if costs.others:
        told = ", ".join(costs.others)
        # Of a joint model sensitivity to priors is not known either
        further = "" if study.model.joint else "; after a fit see `alliance sensitivity RUN`"
        screen.say(f"What the priors cost has no closed form for {told}{further}.")
