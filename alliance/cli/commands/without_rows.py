"""Answers where the patients' rows cannot be had: `paper`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from alliance.cli import screen
from alliance.cli.options import (
    Counts,
    FigureOption,
    FormatOption,
    IntervalOption,
    Numbers,
    TableFormat,
    counts,
    numbers,
    together,
)

if TYPE_CHECKING:
    from alliance.inference.paper.paper import Paper


def paper(
    published: Annotated[
        str,
        typer.Argument(
            metavar="PUBLISHED",
            help="A published.toml, or the name of a study that comes along: ferreira2013, "
            "headache.",
        ),
    ],
    threshold: Annotated[
        float | None,
        typer.Option(
            help="A benefit that you name, in points: its chance, and what sceptic and "
            "enthusiast speak of."
        ),
    ] = None,
    therapists: Annotated[
        list[Counts] | None,
        typer.Option(
            parser=counts,
            metavar="NUMBERS",
            help="Numbers of therapists to assume: 6,12,24. By default those that the paper tells.",
        ),
    ] = None,
    share: Annotated[
        list[Numbers] | None,
        typer.Option(
            parser=numbers,
            metavar="NUMBERS",
            help="Shares of variance between therapists to assume: 0.05,0.1.",
        ),
    ] = None,
    heterogeneity: Annotated[
        float | None,
        typer.Option(
            help="Of several trials: scale of the half-normal prior of the SD between them, in "
            "points; by default half an SD between patients."
        ),
    ] = None,
    interval: IntervalOption = 0.95,
    figure: FigureOption = None,
    table_format: FormatOption = "table",
) -> None:
    """Ask printed numbers alone: consistency, posteriors by named priors, ignored therapists.

    Nothing is simulated, and no patient's row is read. Findings of several trials, each with its
    own trial in the file, are pooled as well.
    """
    from alliance.inference.paper.paper import Asked, Paper
    from alliance.inference.paper.printed import read_printed

    asked = Asked(threshold, together(therapists), together(share), heterogeneity, interval)
    found = Paper(read_printed(published), asked)
    print_paper(found, table_format)
    if figure is not None:
        from alliance.diagnostics.figures.paper_figure import paper_figure

        screen.save(paper_figure(found), figure)


def print_paper(found: Paper, table_format: TableFormat, *, short: bool = False) -> None:
    """Print what follows from a paper's numbers.

    Parameters
    ----------
    found : Paper
    table_format : {"table", "csv", "json"}
    short : bool
        Only the posteriors and the sceptical limits.
    """
    if table_format != "table":
        screen.frame(found.table, table_format)
        return
    from alliance.diagnostics.sheets import paper as sheets

    made = [sheets.posteriors(found), sheets.credibility(found)] if short else sheets.sheets(found)
    for sheet in made:
        screen.show(found.printed, [sheet])
    screen.tell(sheets.legend(found, made))
