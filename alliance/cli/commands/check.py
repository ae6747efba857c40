"""`alliance check`: validate a trial's data, count its patients, and say what the priors cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alliance.cli import screen
from alliance.cli.options import AllSettings, DataArgument, FormatOption, StudyArgument
from alliance.cli.runs import asked_study, load_data
from alliance.data_prep.errors import DataError

if TYPE_CHECKING:
    from alliance.data_prep.registry.registry import Registry
    from alliance.data_prep.trial.trial import Trial

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
    from alliance.data_prep.trial.trial import check_estimable
    from alliance.models.spec import specify

    described = asked_study(study, [], settings)
    specify(described)  # refuses unknown priors, as a fit would
    try:
        trial = load_data(described, data)
    except DataError as error:
        if table_format != "table":
            screen.frame(error.table(), table_format)
        raise
    estimable = True
    try:
        check_estimable(trial, described.model.therapist)
    except DataError as error:  # no fault of the data: other settings can be fitted
        estimable = False
        for problem in error.problems:
            screen.note(str(problem))
    if table_format != "table":
        screen.frame(trial.flow, table_format, simulated=described.simulated)
        return
    from alliance.diagnostics.sheets.results import flow

    screen.show(described, [flow(described, trial.flow)])
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
