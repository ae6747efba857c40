"""Whether the first line of a table is its header, or a title, or already a patient."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from alliance.data_prep.errors import InputError

_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_DATE = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}([ T].*)?")


def title_fault(name: str, row: int, named: int, cells: int) -> InputError:
    """What to say of a title above the header.

    Parameters
    ----------
    name : str
        Of the file.
    row : int
        Of the first line.
    named, cells : int
        Filled cells there, and in the rows below.
    """
    return InputError(
        f"{name}, row {row}: the first line fills {named} of {cells} columns, so it is a title, it "
        "seems, and no header.",
        "Delete what stands above the row that names the columns.",
    )


def looks_like_data(titles: Sequence[str], cells: pd.DataFrame) -> bool:
    """Whether what stands in the place of a header is the first patient.

    Parameters
    ----------
    titles : sequence of str
        Texts in the first line.
    cells : pandas.DataFrame, shape (rows, len(titles))
        What stands below.

    Returns
    -------
    bool
        True if one of them is a number or a date, or stands again in its own column.

    Examples
    --------
    >>> looks_like_data(["P1", "48"], pd.DataFrame([["P2", "52"]]))
    True
    >>> looks_like_data(["patient", "age"], pd.DataFrame([["P2", "52"]]))
    False
    """
    for place, title in enumerate(titles):
        if not title:
            continue
        if _NUMBER.fullmatch(title) or _DATE.fullmatch(title):
            return True
        if (cells.iloc[:, place] == title).any():
            return True
    return False


def no_header(name: str, row: int) -> InputError:
    """What to say of a table that begins with its first patient; shows nothing of the line."""
    return InputError(
        f"{name}, row {row}: the first line looks like data and not like a header.",
        "Write the names of the columns, as in the study file, into a line above it.",
    )
