"""What stands below the tables of a run: how many patients it rests on, and what was chosen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from alliance.cli.screen.narrow import Table
from alliance.cli.screen.render import out

if TYPE_CHECKING:
    from alliance.inference.runs.choices import Choice
    from alliance.inference.runs.fit import Fit

REASON = "without_"  # columns of the flow counts that say what patients lack


def patients(fit: Fit) -> None:
    """Print how many patients of each outcome are analysed and left out, and for want of what."""
    alliance = fit.study.moderator.name
    told = {
        str(row["outcome"]): patients_in_words(row, alliance) for row in fit.flow.to_dict("records")
    }
    same = len(told) > 1 and len(set(told.values())) == 1
    rows = [("every outcome", next(iter(told.values())))] if same else list(told.items())
    _print("Patients", rows)


def choices(chosen: Sequence[Choice], title: str = "Model") -> None:
    """Print the choices of `inference.runs.choices`, departures from defaults first."""
    departures = _listed(choice for choice in chosen if not choice.default)
    defaults = _listed(choice for choice in chosen if choice.default)
    rows = [("chosen", departures or "nothing but the defaults"), ("by default", defaults)]
    _print(title, [row for row in rows if row[1]])


def patients_in_words(row: Mapping[Any, Any], alliance: str) -> str:
    """One outcome's flow counts as a sentence or two.

    Parameters
    ----------
    row : mapping
        A row of `data_prep.trial.trial.Trial.flow`.
    alliance : str
        What messages call the moderator.

    Examples
    --------
    >>> patients_in_words({"rows_read": 9, "without_alliance": 2, "analysed": 7}, "alliance")
    '7 of 9 analysed: 7 complete cases, 0 with imputed alliance; left out: 2 without alliance'
    """
    analysed, imputed = int(row["analysed"]), int(row.get("alliance_imputed", 0))
    told = (
        f"{analysed} of {int(row['rows_read'])} analysed: {analysed - imputed} complete cases, "
        f"{imputed} with imputed {alliance}"
    )
    lacking = {
        str(name).removeprefix(REASON): row[name] for name in row if str(name).startswith(REASON)
    }
    named = {"alliance": alliance, "followup": "follow-up"}
    reasons = [
        f"{int(count)} without {named.get(what, what)}" for what, count in lacking.items() if count
    ]
    return f"{told}; left out: {', '.join(reasons)}" if reasons else told


def _listed(chosen: Iterable[Choice]) -> str:
    return "; ".join(map(str, chosen))


def _print(title: str, rows: Sequence[tuple[str, str]]) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in rows:
        grid.add_row(f"  {escape(name)}", escape(text))
    console = out()
    console.print(f"[bold]{title}[/bold]")
    console.print(grid)
