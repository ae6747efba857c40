"""The errors that a person can cause, and mend: bad input, bad usage, a run that cannot be used.

Messages, notes and advice name what is to be given as an argument of Python in backticks, and never
an option of the command line, which turns them into its own: `therapist="none"` into
``--therapist none``, `extrapolate=True` into ``--extrapolate``, `interaction=False` into
``--no-interaction``, `outcome` into ``--outcome``. What is to be computed is named as a call:
`sensitivity("influence")`. A whole command may stand there as it is typed, without options:
`alliance check`. A key of the study file is named with its table, and as TOML where it has a value
(``therapist = "none"`` in [model]).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


PRINTED_PROBLEMS = 15  # what fits on a screen; `DataError.problems` holds all
PRINTED_PER_KIND = 3  # of one rule in one column, so that one bad column does not hide the others


# Control characters but tab and line break; marks that turn the direction of text, or that nobody
# sees; halves of surrogate pairs. Joiners stay: Hindi and Persian are written with them.
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    r"""The text with characters written out that steer a terminal or that nobody sees.

    A cell, a label or a title may hold any character; what is printed of it only shows.

    Examples
    --------
    >>> print(visible("a\x1b[31mb"), visible("l\u202er"), visible("\u03b1\u00e9"))
    a\x1b[31mb l\u202er \u03b1\u00e9
    """
    return UNSEEN.sub(_written_out, text)


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class InputError(Exception):
    """Something that was given is wrong.

    Parameters
    ----------
    problem : str
        One sentence that names what is wrong: file, row, column, value.
    remedy : str
        One sentence that says what to do.
    """

    exit_code = 2

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = visible(problem)
        self.remedy = visible(remedy)
        super().__init__(f"{self.problem} {self.remedy}")


def extra_package(name: str, extra: str, what: str) -> ModuleType:
    """A package that not every installation has; if it is not there, how to install it.

    Parameters
    ----------
    name : str
        As it is imported.
    extra : str
        Of `alliance`, that brings it.
    what : str
        What needs it, at the beginning of a sentence.

    Raises
    ------
    InputError
    """
    try:
        return import_module(name)
    except ImportError as error:
        problem = f"{what} needs the package {name}, which is not installed."
        raise InputError(problem, f'Install it: pip install "alliance[{extra}]".') from error


class IncompleteSamplingError(RuntimeError):
    """Sampling ended without all its draws, or with draws that are not finite."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in a table file, with its place and what to do about it.

    Attributes
    ----------
    file : str
        Name of the file.
    row : int or None
        Row number as a spreadsheet shows it (the header is row 1); None where the whole file or
        column is meant.
    column : str or None
        Column name as in the file.
    value : str or None
        The offending value as in the file.
    rule : str
        What must hold.
    remedy : str
        What to do.
    """

    file: str
    row: int | None
    column: str | None
    value: str | None
    rule: str
    remedy: str

    def __str__(self) -> str:
        place = self.file
        if self.row is not None:
            place += f", row {self.row}"
        if self.column is not None:
            place += f", column {self.column!r}"
        value = "" if self.value is None else f" (value {self.value!r})"
        return f"{place}{value}: {self.rule}. {self.remedy}"


class DataError(InputError):
    """A table file breaks one rule or more; carries all problems that were found.

    Attributes
    ----------
    problems : tuple of Problem
        Every problem, in the order of the file.
    shown : tuple of Problem
        Those that the message prints, of each kind the first.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        self.shown = tuple(_most_telling(self.problems))
        lines = [f"  {problem}" for problem in self.shown]
        count = len(self.problems)
        if len(self.shown) < count:
            lines.append(f"  ... and {count - len(self.shown)} more")
        noun = "problem" if count == 1 else "problems"
        super().__init__(f"{count} {noun} in the data:\n" + "\n".join(lines), "")

    @property
    def table(self) -> pd.DataFrame:
        """Problems as a table with columns file, row, column, value, rule, remedy."""
        import pandas as pd  # here, because help and usage errors must not wait for pandas

        columns = [field.name for field in fields(Problem)]
        cells = [[getattr(problem, name) for name in columns] for problem in self.problems]
        frame = pd.DataFrame(cells, columns=columns)
        return frame.astype({"row": "Int64"})


def _most_telling(problems: Sequence[Problem]) -> list[Problem]:
    """Problems to print: the first few of every rule and column, then as many as there is room."""
    if len(problems) <= PRINTED_PROBLEMS:
        return list(problems)
    seen: Counter[tuple[str | None, str]] = Counter()
    first: list[int] = []
    others: list[int] = []
    for position, problem in enumerate(problems):
        kind = (problem.column, problem.rule)
        seen[kind] += 1
        (first if seen[kind] <= PRINTED_PER_KIND else others).append(position)
    return [problems[position] for position in sorted((first + others)[:PRINTED_PROBLEMS])]


def nearest(name: str, valid: Iterable[str]) -> str:
    """Sentence that offers the valid names closest to a wrong one, or lists them all.

    Examples
    --------
    >>> nearest("wai_totl", ["wai_total", "arm"])
    "Did you mean 'wai_total'?"
    """
    names = [str(item) for item in valid]
    close = get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f"Did you mean {' or '.join(repr(item) for item in close)}?"
    return f"Valid names: {', '.join(repr(item) for item in names)}."
