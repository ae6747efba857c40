"""`alliance check`: validate a trial's data, count its patients, and say what the priors cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape

from alliance.cli import screen
from alliance.cli.options import AllSettings, DataArgument, FormatOption, StudyArgument
from alliance.cli.runs import asked_study, load_data
from alliance.cli.screen import Table, words
from alliance.data_prep.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from alliance.data_prep.registry.registry import Registry
    from alliance.data_prep.study.description import Study
    from alliance.data_prep.trial.trial import Trial

LEGEND = (
    "Pulled: how much nearer to zero than it is an effect is expected to be estimated; of several "
    "levels the one that is pulled most. At {sizes}: how often the 95% interval would hold a true "
    "effect of so many SDs of the outcome (slopes and interactions: for one SD of {moderator}). "
    "Residual SD of least squares, SDs between therapists at their priors' medians, both taken as "
    "known."
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
    screen.out().print(_flow(described, trial.flow))
    if estimable:
        _print_costs(trial)


def _flow(study: Study, table: pd.DataFrame) -> Table:
    """How many patients of each outcome are analysed, and why others are not."""
    shown = Table(title=screen.marked_title(study.simulated, study.title), title_justify="left")
    shown.add_column("Patients")
    for outcome in table["outcome"]:
        shown.add_column(escape(outcome), justify="right")
    for name in table.columns.drop("outcome"):
        shown.add_row(words(name), *map(str, table[name]), end_section=name == "without_followup")
    return shown


def _print_costs(source: Trial | Registry) -> None:
    """Print what the priors cost, and name the outcomes of which it is not known."""
    from alliance.inference.priors.prior_costs import SIZES, expected_costs

    costs = expected_costs(source)
    if not costs.table.empty:
        console = screen.out()
        console.print(_costs(costs.table, SIZES, source.study.simulated))
        sizes = ", ".join(f"{size:g}" for size in SIZES)
        console.print(escape(LEGEND.format(sizes=sizes, moderator=source.study.moderator.name)))
        if costs.slopes is not None:
            console.print(escape(costs.slopes.words))
    if costs.others:
        told = ", ".join(costs.others)
        # Of a joint model sensitivity to priors is not known either
        further = "" if source.study.model.joint else "; after a fit see `alliance sensitivity RUN`"
        screen.say(f"What the priors cost has no closed form for {told}{further}.")


def _costs(table: pd.DataFrame, sizes: Sequence[float], simulated: bool) -> Table:
    """Costs by outcome: of several levels of a quantity, the one that is pulled most."""
    title = screen.marked_title(simulated, "What the priors cost in this design")
    shown = Table(title=title, title_justify="left")
    for name in ("Outcome", "Quantity", "Level"):
        shown.add_column(name)
    for name in ("Pulled", *(f"At {size:g}" for size in sizes)):
        shown.add_column(name, justify="right", no_wrap=True)
    for (outcome, quantity), rows in table.groupby(["outcome", "quantity"], sort=False):
        worst = rows[rows["pull"] == rows["pull"].max()].head(len(sizes))
        shown.add_row(
            escape(str(outcome)),
            words(str(quantity)),
            escape(str(worst["level"].iloc[0])),
            f"{100 * worst['pull'].iloc[0]:.0f}%",
            *(f"{100 * covered:.0f}%" for covered in worst["coverage"]),
        )
    return shown
