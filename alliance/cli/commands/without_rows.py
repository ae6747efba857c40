"""Answers where the patients' rows cannot be had: `share`, `paper`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alliance.cli import screen
from alliance.cli.options import (
    Counts,
    FigureOption,
    FormatOption,
    IntervalOption,
    Numbers,
    OutcomeOption,
    TableFormat,
    counts,
    numbers,
    together,
)
from alliance.cli.runs import asked_study

if TYPE_CHECKING:
    from alliance.inference.paper.paper import Paper


def share(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="STUDY",
            help="A study.toml, or the name of a study that comes along; left out with --show.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Argument(metavar="DATA", help="Table: .csv .tsv .txt .xlsx .parquet .dta .sav"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The share to write: FILE.share.")] = None,
    show: Annotated[
        Path | None, typer.Option(help="Tell in words what this share holds, and write nothing.")
    ] = None,
    outcome: OutcomeOption = None,
    site: Annotated[
        str | None,
        typer.Option(help="The name of the site; by default that of the file without its ending."),
    ] = None,
    least: Annotated[
        int,
        typer.Option(help="Patients that a therapist must have in an arm, or they are left out."),
    ] = 5,
    allow_small_cells: Annotated[
        bool,
        typer.Option(
            "--allow-small-cells",
            help="Leave nothing out; patients' rows may then be told from the share, which says "
            "whose.",
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier share.")] = (
        False
    ),
) -> None:
    """Write cross-products in place of rows, for whoever fits several owners' data together.

    Therapists with few patients in an arm, and patients whom the cross-products would tell, are
    left out and counted; the command tries the attack itself. `alliance fit` takes shares.

    Cross-products are the shadow of personal data: whether they may be sent is for their owner to
    decide. This is no anonymisation and no differential privacy.
    """
    from alliance.data_prep.shares.share_files import (
        ENDING,
        make_share,
        read_share,
        summary_lines,
        write_share,
    )

    if show is not None:
        if study is not None or out is not None:
            raise typer.BadParameter("leave STUDY, DATA and --out out.", param_hint="--show")
        screen.tell(summary_lines(read_share(show)))
        return
    if study is None or data is None or out is None:
        raise typer.BadParameter(
            "name a study, its data and the share to write: "
            f"alliance share STUDY DATA --out FILE{ENDING}; or one to look at: --show FILE{ENDING}."
        )
    made = make_share(
        asked_study(study, outcome, {}),
        data,
        site=site,
        least=least,
        allow_small_cells=allow_small_cells,
    )
    write_share(made, out, overwrite=overwrite, inputs=[data, Path(study)])
    screen.tell(summary_lines(made))
    screen.say(f"Written: {out}")


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
    outcome: OutcomeOption = None,
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

    asked = Asked(
        threshold,
        together(therapists),
        together(share),
        heterogeneity,
        interval,
        tuple(outcome or ()),
    )
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
