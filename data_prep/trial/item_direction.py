"""Items of a questionnaire that run against the rest of it, which a forgotten `reverse` makes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.study.description import Moderator

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
