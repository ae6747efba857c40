"""The command line: names, options and help. What the commands do stands in `cli.outputs`."""

from __future__ import annotations

import gc
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from alliance._version import __version__
from alliance.cli.commands import assurance as assurance_command
from alliance.cli.commands import calibrate as calibrate_command
from alliance.cli.commands import effects as effect_commands
from alliance.cli.commands import loo as loo_command
from alliance.cli.commands import multiverse as multiverse_command
from alliance.cli.commands import ppc as ppc_command
from alliance.cli.commands import predict as predict_options
from alliance.cli.commands import prior as prior_command
from alliance.cli.commands import report as reporting_command
from alliance.cli.commands import reproduce as reproducing_command
from alliance.cli.commands import sensitivity as sensitivity_command
from alliance.cli.files import leave_quietly, open_outputs, with_file_options
from alliance.cli.options.common import (
    DEFAULT_SEED,
    AtOption,
    EffectsKept,
    EngineName,
    ExtrapolateAtOption,
    FigureOption,
    FormatOption,
    IntervalOption,
    ProfileName,
    RunArgument,
    SeedOption,
    TableFormat,
)
from alliance.cli.options.model_options import (
    BetweenInteractionOption,
    CeilingOption,
    DataArgument,
    InteractionOption,
    JointOption,
    LikelihoodOption,
    MissingAllianceOption,
    OutcomeOption,
    ReliabilityOption,
    StructureOption,
    StudyArgument,
    TherapistByArmOption,
    TherapistOption,
)
from alliance.cli.options.scale_options import DaskOption, SampleOption


class _Front(typer.Typer):
    """`alliance` itself, whose commands have the options that their files ask for."""

    def command(self, *args: Any, **settings: Any) -> Any:
        register = super().command(*args, **settings)
        return lambda function: register(with_file_options(function))


app = _Front(
    name="alliance",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Does the working alliance predict how a treatment turns out, and which treatment "
    "works?\n\nExit codes: 0 fine; 2 wrong input or usage; 3 the diagnostics gate failed, or a run "
    "was not reproduced.",
)


ProfileOption = Annotated[
    ProfileName,
    typer.Option(help="How much is sampled: ci 2 x 1000, standard 4 x 1000, publication 4 x 5000."),
]
DrawsOption = Annotated[
    int | None, typer.Option(help="Draws kept of each chain, instead of the profile's.")
]
TuneOption = Annotated[
    int | None, typer.Option(help="Tuning draws of each chain, instead of the profile's.")
]
TargetAcceptOption = Annotated[
    float | None,
    typer.Option(help="Target acceptance of NUTS, instead of the profile's 0.8: 0.95, say."),
]
MaxTreedepthOption = Annotated[
    int | None, typer.Option(help="Most doublings of a trajectory, instead of the profile's 10.")
]
CoresOption = Annotated[
    int | None, typer.Option(min=1, help="Chains run at a time; never changes a draw.")
]


@cache
def _commands() -> Any:
    # Imported when a command runs: help and usage errors must not wait for pandas and PyMC.
    gc.disable()  # what is imported stays: collecting in it takes a tenth of a short command
    import_module("arviz_stats")  # first: its time grows with the number of modules before it
    commands = import_module("alliance.cli.outputs.runs")
    gc.freeze()
    gc.enable()
    return commands


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"alliance {__version__}")
        raise typer.Exit


@app.callback()
def _front(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the trial and the run.")] = Path(
        "alliance-demo"
    ),
    profile: ProfileOption = ProfileName.STANDARD,
    seed: SeedOption = DEFAULT_SEED,
    table_format: FormatOption = TableFormat.TABLE,
) -> None:
    """Simulate the 2013 study's trial, and go the whole way: fit, gate, summary, comparison.

    The patient data of the study are not public: every table says SIMULATED.
    """
    _commands().demo(out, profile.value, seed, table_format.value)


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(metavar="OUT.csv", help="Where the table goes.")],
    patients: Annotated[int, typer.Option(help="Patients randomised.")] = 240,
    therapists: Annotated[int, typer.Option(help="Therapists.")] = 12,
    seed: SeedOption = DEFAULT_SEED,
    nested: Annotated[
        bool, typer.Option("--nested", help="Each therapist treats in one arm only.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Simulate a trial like the published one, with its study.toml and true values beside it."""
    _commands().simulate(out, patients, therapists, seed, nested, overwrite)


@app.command()
def check(
    study: StudyArgument, data: DataArgument, table_format: FormatOption = TableFormat.TABLE
) -> None:
    """Validate a trial's data and count its patients; all problems come back in one table."""
    _commands().check(study, data, table_format.value)


@app.command()
def fit(
    study: StudyArgument,
    data: DataArgument,
    out: Annotated[Path, typer.Option(help="Folder for the run; must not exist yet.")],
    outcome: OutcomeOption = None,
    profile: ProfileOption = ProfileName.STANDARD,
    draws: DrawsOption = None,
    tune: TuneOption = None,
    target_accept: TargetAcceptOption = None,
    max_treedepth: MaxTreedepthOption = None,
    seed: SeedOption = DEFAULT_SEED,
    likelihood: LikelihoodOption = None,
    therapist: TherapistOption = None,
    therapist_by_arm: TherapistByArmOption = None,
    interaction: InteractionOption = None,
    structure: StructureOption = None,
    between_interaction: BetweenInteractionOption = None,
    missing_alliance: MissingAllianceOption = None,
    reliability: ReliabilityOption = None,
    ceiling: CeilingOption = None,
    joint: JointOption = None,
    delta: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OUTCOME:ARM=SHIFT",
            help="How far unseen outcomes of an arm lie from what is expected; may be repeated.",
        ),
    ] = None,
    engine: Annotated[
        EngineName,
        typer.Option(
            help="nuts: PyMC's model, compiled. instant: Gaussian outcomes by importance sampling, "
            "without compiling; NUTS takes over where its weights are unreliable."
        ),
    ] = EngineName.NUTS,
    cores: CoresOption = None,
    sample_therapists: SampleOption = None,
    dask: DaskOption = None,
    therapist_effects: Annotated[
        EffectsKept,
        typer.Option(
            help="Keep therapists' effects as draws, or their means and SDs; auto: a summary from "
            "10,000 therapists on."
        ),
    ] = EffectsKept.AUTO,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run.")] = False,
    table_format: FormatOption = TableFormat.TABLE,
) -> None:
    """Fit every outcome and write the run folder; exit code 3 if the gate fails.

    DATA may be a folder or a quoted pattern, 'registry/*.parquet': many files with the same
    columns, read once as cross-products, for Gaussian outcomes.

    Settings of the model take the place of those in the study file.
    """
    _commands().fit(
        study,
        data,
        out,
        outcomes=outcome or [],
        profile=profile.value,
        sampler={
            "draws": draws,
            "tune": tune,
            "target_accept": target_accept,
            "max_treedepth": max_treedepth,
        },
        seed=seed,
        engine=engine.value,
        settings={
            "likelihood": likelihood,
            "therapist": therapist,
            "therapist_by_arm": therapist_by_arm,
            "interaction": interaction,
            "alliance": structure,
            "between_interaction": between_interaction,
            "missing_alliance": missing_alliance,
            "reliability": reliability,
            "ceiling": ceiling,
            "joint": joint,
        },
        shifts=delta or [],
        cores=cores,
        sample=sample_therapists,
        dask=dask,
        therapist_effects=therapist_effects.value,
        overwrite=overwrite,
        table_format=table_format.value,
    )


@app.command()
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
    table_format: FormatOption = TableFormat.TABLE,
) -> None:
    """Judge the draws: the convergence gate; exit code 3 if it fails."""
    _commands().diagnose(run, study, data, junit, table_format.value)


@app.command()
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
    table_format: FormatOption = TableFormat.TABLE,
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
        _commands().summaries_beside(
            [run, *beside], interval, table_format.value, at=at, extrapolate=extrapolate
        )
        return
    _commands().summary(
        run,
        interval,
        per_sd,
        priors,
        figure,
        table_format.value,
        at=at,
        extrapolate=extrapolate,
    )


@app.command()
def compare(
    run: RunArgument,
    published: Annotated[
        Path | None,
        typer.Option(help="A published.toml, instead of the one that was kept with the run."),
    ] = None,
    interval: IntervalOption = 0.95,
    robust: Annotated[
        bool,
        typer.Option(
            "--robust",
            help="OLS with cluster-robust standard errors by therapist (CR2), too.",
        ),
    ] = False,
    at: AtOption = None,
    extrapolate: ExtrapolateAtOption = False,
    figure: Annotated[
        Path | None, typer.Option(help="Also draw a forest plot: FILE.png, .svg or .pdf.")
    ] = None,
    table_format: FormatOption = TableFormat.TABLE,
) -> None:
    """Set published findings, OLS, REML and the posterior side by side."""
    _commands().compare(
        run, published, interval, robust, figure, table_format.value, at=at, extrapolate=extrapolate
    )


app.command()(effect_commands.effects)
app.command()(effect_commands.decide)
app.command()(predict_options.predict)
app.command()(predict_options.therapists)
app.command()(reporting_command.report)
app.command()(ppc_command.ppc)
app.command()(loo_command.loo)
app.command()(sensitivity_command.sensitivity)
app.command()(prior_command.prior)
app.command()(reproducing_command.reproduce)
app.command()(calibrate_command.calibrate)
app.command()(assurance_command.assurance)
app.command()(multiverse_command.multiverse)


def main() -> None:
    """Run the command line."""
    open_outputs()
    try:
        app()
    except BrokenPipeError:
        leave_quietly()
    finally:
        gc.freeze()  # or the end of the process looks at everything once more
