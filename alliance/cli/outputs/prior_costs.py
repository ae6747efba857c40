"""What `check` says of the priors: how far they pull effects in this design, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from alliance.cli.screen import render

if TYPE_CHECKING:
    from alliance.data_prep.registry.registry import Registry
    from alliance.data_prep.trial.trial import Trial

LEGEND = (
    "Pulled: how much nearer to zero than it is an effect is expected to be estimated; of several "
    "levels the one that is pulled most. At {sizes}: how often the 95% interval would hold a true "
    "effect of so many SDs of the outcome (slopes and interactions: for one SD of {moderator}). "
    "Residual SD of least squares, SDs between therapists at their priors' medians, both taken as "
    "known."
)


def prior_costs(source: Trial | Registry) -> None:
    """Print the costs by outcome: of several levels of a quantity, the one that is pulled most.

    Parameters
    ----------
    source : Trial or Registry
    """
    from alliance.inference.priors.prior_costs import SIZES, expected_costs

    costs = expected_costs(source)
    table = costs.table
    if not table.empty:
        title = render.marked_title(source.study.simulated, "What the priors cost in this design")
        shown = Table(title=title, title_justify="left")
        for name in ("Outcome", "Quantity", "Level"):
            shown.add_column(name, overflow="fold")
        for name in ("Pulled", *(f"At {size:g}" for size in SIZES)):
            shown.add_column(name, justify="right", no_wrap=True)
        for (outcome, quantity), rows in table.groupby(["outcome", "quantity"], sort=False):
            worst = rows[rows["pull"] == rows["pull"].max()].head(len(SIZES))
            shown.add_row(
                escape(str(outcome)),
                render.words(str(quantity)),
                escape(str(worst["level"].iloc[0])),
                f"{100 * worst['pull'].iloc[0]:.0f}%",
                *(f"{100 * covered:.0f}%" for covered in worst["coverage"]),
            )
        console = render.out()
        console.print(shown)
        sizes = ", ".join(f"{size:g}" for size in SIZES)
        legend = LEGEND.format(sizes=sizes, moderator=source.study.moderator.name)
        console.print(escape(legend))
        if costs.slopes is not None:
            console.print(escape(costs.slopes.words))
    if costs.others:
        told = ", ".join(costs.others)
        # Of a joint model sensitivity to priors is not known either
        further = "" if source.study.model.joint else "; after a fit see `alliance sensitivity RUN`"
        render.say(f"What the priors cost has no closed form for {told}{further}.")
