"""The command `prior`: names, options and help."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import typer

from alliance.cli.options.common import (
    DEFAULT_SEED,
    FigureOption,
    FormatOption,
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


def prior(
    study: StudyArgument,
    data: DataArgument,
    outcome: OutcomeOption = None,
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
    draws: Annotated[
        int, typer.Option(min=100, max=100_000, help="Trials simulated from the priors.")
    ] = 2000,
    seed: SeedOption = DEFAULT_SEED,
    figure: FigureOption = None,
    table_format: FormatOption = TableFormat.TABLE,
) -> None:
    """Check, before any fit, whether the priors are plausible on each outcome's own scale.

    Of the data only arms, therapists, baselines and alliances are used, and the mean and SD that
    the priors are stated in. A check that asks for a REVIEW names the prior to change; the exit
    code stays 0.
    """
    # Imported when the command runs: help and usage errors must not wait for pandas.
    import_module("alliance.cli.outputs.prior").prior(
        study,
        data,
        outcomes=outcome or [],
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
        draws=draws,
        seed=seed,
        figure=figure,
        table_format=table_format.value,
    )
