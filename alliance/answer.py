"""What every verb of the interface gives: a table, draws and a figure; progress on one line."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pandas as pd

from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.files import AnyPath, as_path
from alliance.diagnostics.sheet import EMPTY, Sheet, fitting

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from alliance.data_prep.study.description import Study
    from alliance.diagnostics.verdicts import CheckResult

Reading = tuple[Sequence[Sheet | None], Sequence[str]]
"""Tables as people read them, and what their columns are."""

ROWS = 12  # of a table, that a notebook's cell or a terminal shows
WIDTH, CHARACTERS = 100, 24  # of a line where nobody says how wide it is, and of a cell
SECONDS = 0.2  # between two looks at work that takes long


@dataclass(frozen=True, eq=False, repr=False)
class Answer:
    """An answer to one question: its table, its draws and its figure.

    In a notebook an answer shows itself, in the words and digits of the command line's tables, with
    what the columns are below; ``print`` gives the same as text, as far as it fits.

    Attributes
    ----------
    title : str
        What is answered; of a simulated trial it says so.
    table : pandas.DataFrame
        The whole answer, tidy: the columns that the command line gives as CSV.
    found : object
        The result of the room that answered, with all that it holds.
    verdict : str or None
        The worst verdict, where something is judged.
    notes : tuple of str
        What a reader should know beside the numbers.
    """

    title: str
    table: pd.DataFrame
    found: Any = None
    verdict: str | None = None
    notes: tuple[str, ...] = ()
    _drawn: Callable[..., Figure] | None = None
    _kept: Callable[[], Any] | None = None
    _read: Callable[[], Reading] | None = None

    @cached_property
    def draws(self) -> Any:
        """Draws over chain and draw, of xarray; None where the answer is not made of any."""
        return None if self._kept is None else self._kept()

    def plot(
        self,
        path: AnyPath | None = None,
        *,
        width: float | None = None,
        height: float | None = None,
        dpi: int = 150,
        caption: bool = True,
        font: str | None = None,
        **options: Any,
    ) -> Figure:
        """Draw the answer; with options such as ``plot="score"`` where it is drawn in several ways.

        Parameters
        ----------
        path : str or path-like, optional
            Also write the figure there: FILE.png, .svg or .pdf. Text stays text in SVG and PDF.
        width, height : float, optional
            Millimetres: 85 are a column of most journals, 180 a page. By default what the figure
            needs.
        dpi : int
            Dots to an inch, of PNG.
        caption : bool
            Whether title and caption stand in the figure. That data are simulated always does.
        font : str, optional
            An installed font.

        Returns
        -------
        matplotlib.figure.Figure
            Shown by a notebook as it is.

        Raises
        ------
        InputError
            If nothing is drawn of this answer, the figure cannot be written, or a size has no room
            for its texts.
        """
        if self._drawn is None:
            raise InputError(f"No figure is drawn of this: {self.title}.", "Look at its .table.")
        from alliance.diagnostics.figures.drawing import Drawing, drawn_as
        from alliance.diagnostics.figures.results_figures import require_figure, save_figure

        place = None if path is None else as_path(path)
        if place is not None:
            require_figure(place)
        with drawn_as(Drawing(width, height, dpi, caption, font)):
            figure = self._drawn(**options)
            if place is not None:
                save_figure(figure, place)
        # Without pyplot a notebook does not know how to show a figure: this one tells it.
        figure.__dict__["_repr_png_"] = partial(_png, figure)
        return figure

    def __repr__(self) -> str:
        lines = [self._head()]
        for sheet in self._reading[0]:
            lines += [*([sheet.title] if sheet.title else []), *_fitting(sheet)]
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        sheets, legend = self._reading
        parts = [f"<p><strong>{escape(self._head())}</strong></p>"]
        for sheet in sheets:
            parts.append(f"<p>{escape(sheet.title)}</p>" if sheet.title else "")
            parts.append(sheet.shown.to_html(index=False, max_rows=ROWS, border=0))
        parts += [f"<p>Note: {escape(note)}</p>" for note in self.notes]
        if legend:
            told = "".join(f"<p>{escape(line)}</p>" for line in legend)
            parts.append(f"<details><summary>What the columns are</summary>{told}</details>")
        return "".join(parts)

    @cached_property
    def _reading(self) -> tuple[list[Sheet], list[str]]:
        if self._read is None:
            return [], []
        sheets, legend = self._read()
        return [sheet for sheet in sheets if sheet is not None], [line for line in legend if line]

    def _head(self) -> str:
        return self.title if self.verdict is None else f"{self.title}: {self.verdict}"


def _fitting(sheet: Sheet) -> list[str]:
    """A sheet as lines of text: the first columns and rows, and how much more there is."""
    own = sheet.without(sheet.paper)
    cells = [[fitting(cell, CHARACTERS) or EMPTY for cell in row] for row in own.cells]
    table = pd.DataFrame(cells, columns=own.columns, dtype=object)
    room, columns = shutil.get_terminal_size((WIDTH, 24)).columns, table.shape[1]
    lines = table.to_string(index=False, max_rows=ROWS).splitlines()
    while (name := own.gives_way) is not None and len(lines[0]) > room:
        own, table = own.without([name]), table.drop(columns=name)
        lines = table.to_string(index=False, max_rows=ROWS).splitlines()
    hidden = [f"{len(table):,} rows"] if len(table) > ROWS else []
    hidden += [f"{columns - table.shape[1]} more columns"] if table.shape[1] < columns else []
    return [*lines, *([f"[{' and '.join(hidden)}: .table]"] if hidden else [])]


def entitled(study: Study, text: str) -> str:
    """A title, which says so where no patient gave the data.

    Parameters
    ----------
    study : Study
        As the room of the data has it.
    text : str
    """
    return f"SIMULATED DATA: {text}" if study.simulated else text


def titled(study: Study, text: str, interval: float) -> str:
    """A title that tells the probability of the intervals, and whether data are simulated.

    Parameters
    ----------
    study : Study
    text : str
    interval : float
    """
    return entitled(study, f"{text}; {100 * interval:g}% intervals")


def one_of[Value](known: Mapping[str, Value], name: str) -> Value:
    """What bears a name.

    Parameters
    ----------
    known : mapping of str to value
    name : str

    Raises
    ------
    InputError
        With the names that there are.
    """
    if name not in known:
        raise InputError(f"There is no {name!r} here.", nearest(name, known))
    return known[name]


def worst_of(results: Sequence[CheckResult]) -> str:
    """The worst verdict of some checks."""
    order = [str(verdict) for verdict in type(results[0].verdict)]
    return max((str(result.verdict) for result in results), key=order.index)


def _png(figure: Figure) -> bytes:
    kept = BytesIO()
    figure.savefig(kept, format="png", dpi=110)
    return kept.getvalue()


Told = Callable[..., None]


@contextmanager
def telling(progress: bool | Told, what: str) -> Iterator[Told | None]:
    """A callback for work that takes long, on one line that is written anew.

    Parameters
    ----------
    progress : bool or callable
        True tells of it where somebody looks on: in a notebook or on a terminal. A callable is
        called instead, with what the work gives: the outcome where there are several, how much is
        done, and how much there is to do.
    what : str
        What is being done.

    Yields
    ------
    callable or None
    """
    if callable(progress):
        yield progress
        return
    if not progress or not (sys.stderr.isatty() or "ipykernel" in sys.modules):
        yield None
        return
    line = _Line(what)
    try:
        yield line
    finally:
        line.clear()


class _Line:
    """One line on standard error: terminals and notebooks both write it anew after a return."""

    def __init__(self, what: str) -> None:
        self._what, self._next, self._width = what, 0.0, 0

    def __call__(self, *told: Any) -> None:
        *names, done, total = told
        now = time.monotonic()
        if now < self._next and done < total:
            return
        self._next = now + SECONDS
        self._write(" ".join([self._what, *map(str, names), f"{done:,} of {total:,}"]))

    def clear(self) -> None:
        """Leave nothing behind."""
        self._write("")
        sys.stderr.write("\r")

    def _write(self, text: str) -> None:
        sys.stderr.write("\r" + text.ljust(self._width))
        sys.stderr.flush()
        self._width = len(text)


def listed(given: Any) -> list[Any]:
    """What may be given alone or as several, as a list; empty where nothing is given.

    Parameters
    ----------
    given : value, sequence of values, or None

    Examples
    --------
    >>> listed(40), listed([40, 50]), listed("MCE-GE"), listed(None)
    ([40], [40, 50], ['MCE-GE'], [])
    """
    if given is None:
        return []
    if isinstance(given, str) or not hasattr(given, "__iter__"):
        return [given]
    return list(given)
