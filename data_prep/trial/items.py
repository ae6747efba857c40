"""Questionnaire totals: reversed items, and prorating where a few items are missing.

Items of a questionnaire that run against the rest of it, which a forgotten `reverse` makes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.study.description import Moderator

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


FEWEST_PATIENTS = 20
AGAINST = -0.1  # correlations nearer to zero say little of an item's direction
STANDARD_ERRORS = 2.0  # by which a correlation must be below zero; its SE is 1 / sqrt(n)


def against_the_rest(products: NDArray[np.float64], n: int) -> dict[int, float]:
    """Find items that go down where the others go up.

    The first principal component of the items' correlations parts them into two groups. The
    smaller group runs against the larger one where each item's correlation with the sum of the
    larger group is clearly negative.

    Parameters
    ----------
    products : numpy.ndarray of float, shape (k, k)
        Sums of products of the items as scored, centred.
    n : int
        Patients who answered all of them.

    Returns
    -------
    dict of int to float
        Position of each such item, and that correlation.
    """
    spread = np.sqrt(np.diag(products))
    varying = np.flatnonzero(spread > 0)
    if n < FEWEST_PATIENTS or len(varying) < 2:
        return {}
    own = products[np.ix_(varying, varying)]
    scale = spread[varying]
    signs = np.sign(np.linalg.eigh(own / (scale[:, None] * scale))[1][:, -1])
    if signs.sum() < 0 or (signs.sum() == 0 and signs[0] < 0):
        signs = -signs
    most = signs > 0
    total = np.sqrt(own[np.ix_(most, most)].sum())
    limit = min(AGAINST, -STANDARD_ERRORS / np.sqrt(n))
    found = {}
    for place in np.flatnonzero(~most):
        correlation = own[place, most].sum() / (scale[place] * total)
        if correlation < limit:
            found[int(varying[place])] = float(correlation)
    return found


def direction_notes(moderator: Moderator, products: NDArray[np.float64], n: int) -> list[str]:
    """Name the items that run against the rest.

    Parameters
    ----------
    moderator : Moderator
        With items.
    products, n
        As of `against_the_rest`, of the items as answered.

    Returns
    -------
    list of str
        One note, or none.
    """
    signs = np.array([-1.0 if item in moderator.reverse else 1.0 for item in moderator.items])
    found = against_the_rest(products * signs[:, None] * signs, n)
    if not found:
        return []
    items = [moderator.items[place] for place in found]
    plain = [item for item in items if item not in moderator.reverse]
    turned = [item for item in items if item in moderator.reverse]
    low, high = min(found.values()), max(found.values())
    told = f"{low:.2f}" if len(found) == 1 else f"{low:.2f} to {high:.2f}"
    one = len(found) == 1
    remedy = []
    if plain:
        remedy.append(f"add {_names(plain)} to `reverse`")
    if turned:
        remedy.append(f"take {_names(turned)} out of `reverse`")
    return [
        f"The item{'' if one else 's'} {_names(items)} run{'s' if one else ''} against the rest of "
        f"the {moderator.name} (correlation {told}): if high answers mean the opposite there, "
        f"{' and '.join(remedy)} in [moderator] of the study file."
    ]


def _names(items: Sequence[str]) -> str:
    if len(items) == 1:
        return repr(items[0])
    return f"{', '.join(map(repr, items[:-1]))} and {items[-1]!r}"
