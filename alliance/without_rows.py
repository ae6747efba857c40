"""Answers where the patients' rows cannot be had."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from alliance.answer import Answer, listed
from alliance.data_prep.files import AnyPath, as_path
from alliance.trial import Names, Study, opened


def paper(
    published: AnyPath,
    *,
    outcome: Names | None = None,
    threshold: float | None = None,
    therapists: Any = None,
    share: Any = None,
    heterogeneity: float | None = None,
    interval: float = 0.95,
) -> Answer:
    """Ask the printed numbers of a paper alone, without any patient's row and without sampling.

    Parameters
    ----------
    published : str or path-like
        A published.toml, a folder that holds one, or the name of a study that comes along.
    outcome : str or sequence of str, optional
        Only these.
    threshold : float, optional
        A benefit that you name, in points of the outcome: its chance, and what sceptic and
        enthusiast speak of.
    therapists : int or sequence of int, optional
        Numbers of therapists to assume; by default those that the paper tells.
    share : float or sequence of float, optional
        Shares of the outcome's variance between therapists to assume.
    heterogeneity : float, optional
        Of several trials: scale of the half-normal prior of the SD between them, in points.
    interval : float

    Returns
    -------
    Answer
        ``found`` has the tables one by one: ``consistency``, ``posteriors``, ``credibility``,
        ``therapists``, ``meta_analysis``.

    Raises
    ------
    InputError
        If the file is faulty, or lacks a number that is needed for what was asked.

    Examples
    --------
    >>> import alliance as al
    >>> answer = al.paper("ferreira2013", threshold=2)
    >>> answer.found.posteriors.loc[0, ["prior", "mean", "lower", "upper"]].tolist()
    ['reference', 2.9, 0.95, 4.85]
    """
    from alliance.diagnostics.figures.paper_figure import paper_figure
    from alliance.diagnostics.sheets.paper import legend, sheets
    from alliance.inference.paper.paper import Asked, Paper
    from alliance.inference.paper.printed import read_printed

    asked = Asked(
        threshold,
        tuple(listed(therapists)),
        tuple(listed(share)),
        heterogeneity,
        interval,
        tuple(listed(outcome)),
    )
    found = Paper(read_printed(published), asked)
    made = sheets(found)
    return Answer(
        f"{found.printed.title}: printed numbers alone; {100 * interval:g}% intervals",
        found.table,
        found=found,
        notes=tuple(found.untold),
        _read=lambda: (made, legend(found, made)),
        _drawn=partial(paper_figure, found),
    )


def share(
    study: Study | AnyPath,
    data: AnyPath,
    path: AnyPath,
    *,
    outcome: Names | None = None,
    site: str | None = None,
    least: int = 5,
    allow_small_cells: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write cross-products in place of rows, for whoever fits several owners' data together.

    Parameters
    ----------
    study : Study, str or path-like
    data : str or path-like
        One table.
    path : str or path-like
        The share, FILE.share.
    outcome : str or sequence of str, optional
        Only these.
    site : str, optional
        The name of the site; by default that of the file without its ending.
    least : int
        Patients that a therapist must have in an arm, or they are left out.
    allow_small_cells : bool
        Leave nothing out; patients' rows may then be told from the share, which says whose.
    overwrite : bool
        Replace an earlier share.

    Returns
    -------
    Path
        Of the share, which `Study.read` takes, with others and with tables.

    Raises
    ------
    InputError
    DataError
    """
    from alliance.data_prep.shares.share_files import make_share, write_share

    described = opened(study).choose(outcome).description
    made = make_share(
        described, as_path(data), site=site, least=least, allow_small_cells=allow_small_cells
    )
    place = as_path(path)
    write_share(made, place, overwrite=overwrite, inputs=[as_path(data)])
    return place
