"""Quantiles of draws of which some may be infinite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LARGEST = 1e300  # stands for infinity while neighbours are interpolated
INFINITE = 1e290  # what an interpolation with it lies above


def quantiles(values: Any, shares: Sequence[float], axis: int | None = None) -> Array:
    """Quantiles as NumPy's, and infinite where an infinite draw has a part in them.

    NumPy interpolates between neighbours, and between infinite ones finds no number.

    Parameters
    ----------
    values : array-like
        Draws, none of them negative infinity.
    shares : sequence of float
    axis : int, optional
        All numbers together by default.

    Returns
    -------
    ndarray
        The shares first, as of `numpy.quantile`.

    Examples
    --------
    >>> quantiles([1.0, 2.0, np.inf, np.inf], [0.0, 0.25, 0.9]).tolist()
    [1.0, 1.75, inf]
    """
    own = np.asarray(values, dtype=float)
    if np.isfinite(own).all():
        return np.asarray(np.quantile(own, shares, axis=axis))
    found = np.quantile(np.where(np.isposinf(own), LARGEST, own), shares, axis=axis)
    return np.where(found > INFINITE, np.inf, found)
