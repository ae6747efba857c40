"""Questionnaire totals: reversed items, and prorating where a few items are missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from alliance.data_prep.errors import InputError, nearest

ROUNDING = 1e-9  # share of the range by which a sum of decimal fractions may miss its end


def score_items(
    items: pd.DataFrame,
    *,
    reverse: Sequence[str],
    item_range: tuple[float, float],
    max_missing: int,
) -> pd.Series:
    """Total of a questionnaire of any number of items.

    Definition: a reversed item counts as ``low + high - x``. With at most `max_missing` of the k
    items unanswered the total is k times the mean of the answered items (prorated; with all
    answered, their sum); with more unanswered it is missing.

    Parameters
    ----------
    items : pandas.DataFrame, shape (patients, k)
        One column for each item, NaN where unanswered, on the items' own scale.
    reverse : sequence of str
        Items whose high end means a low total.
    item_range : tuple of float
        Lowest and highest possible answer of one item.
    max_missing : int
        Largest number of unanswered items that is prorated, 0 to k - 1.

    Returns
    -------
    pandas.Series of float, shape (patients,)
        Totals on the scale k * low to k * high; NaN where too many items are unanswered.

    Raises
    ------
    InputError
        If a reversed item is none of the items, `max_missing` is not 0 to k - 1, or an answer
        lies outside `item_range`.
    """
    unknown = [name for name in reverse if name not in items.columns]
    if unknown:
        raise InputError(
            f"The reversed item {unknown[0]!r} is not among the items.",
            nearest(unknown[0], items.columns),
        )
    count = items.shape[1]
    if not 0 <= max_missing < count:
        raise InputError(
            f"max_missing = {max_missing} does not fit a questionnaire of {count} items.",
            f"Give a number from 0 to {count - 1}.",
        )
    low, high = item_range
    answers = items.to_numpy(dtype=float, na_value=np.nan)
    outside = (answers < low) | (answers > high)
    if outside.any():
        row, column = (int(position) for position in np.argwhere(outside)[0])
        raise InputError(
            f"Row {items.index[row]}, column {items.columns[column]!r}: the answer "
            f"{answers[row, column]:g} is outside the items' range of {low:g} to {high:g}.",
            "Correct the answer, leave it empty if it is missing, or correct item_range.",
        )
    reversed_items = np.isin(np.asarray(items.columns, dtype=object), list(reverse))
    answers = np.where(reversed_items, low + high - answers, answers)
    missing = np.isnan(answers)
    answered = count - missing.sum(axis=1)
    total = np.where(missing, 0.0, answers).sum(axis=1)
    scored = answered >= count - max_missing
    prorated = total * count / np.where(scored, answered, 1)
    return pd.Series(np.where(scored, prorated, np.nan), index=items.index, dtype=float)
