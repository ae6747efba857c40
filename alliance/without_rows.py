"""Answers where the patients' rows cannot be had."""

from __future__ import annotations

from functools import partial
from typing import Any

from alliance.answer import Answer, listed
from alliance.data_prep.files import AnyPath


def paper(
    published: AnyPath,
    *,
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
        threshold, tuple(listed(therapists)), tuple(listed(share)), heterogeneity, interval
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
