"""Where the data end: values of the alliance that no analysed patient was rated near."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import InputError
from inference.predictor import Rows

Array = NDArray[np.float64]

ROUNDING = 1e-9  # share of the range by which a value may miss its end


def observed_range(patients: Rows) -> tuple[float, float]:
    """Lowest and highest alliance that an analysed patient was rated with."""
    return float(np.nanmin(patients.moderator)), float(np.nanmax(patients.moderator))


def beyond(values: Sequence[float] | Array, observed: tuple[float, float]) -> NDArray[np.bool_]:
    """Whether each value lies outside the observed range.

    Parameters
    ----------
    values : array-like, shape (v,)
    observed : tuple of float

    Returns
    -------
    ndarray of bool, shape (v,)
    """
    low, high = observed
    slack = ROUNDING * (high - low)
    given = np.asarray(values, dtype=float)
    return np.asarray((given < low - slack) | (given > high + slack))


def require_observed(
    values: Sequence[float] | Array,
    observed: tuple[float, float],
    label: str,
    *,
    extrapolate: bool,
) -> NDArray[np.bool_]:
    """Refuse values outside the observed range, unless extrapolation is asked for.

    Parameters
    ----------
    values : array-like, shape (v,)
    observed : tuple of float
        As from `observed_range`.
    label : str
        What the measure is called in the study.
    extrapolate : bool

    Returns
    -------
    ndarray of bool, shape (v,)
        Whether each value is extrapolated.

    Raises
    ------
    InputError
        Names the first such value and the range.
    """
    outside = beyond(values, observed)
    if outside.any() and not extrapolate:
        wrong = np.asarray(values, dtype=float)[outside][0]
        low, high = observed
        raise InputError(
            f"{label}: {wrong:g} lies outside what was observed among the analysed patients, "
            f"{low:g} to {high:g}.",
            "Ask within this range, or add --extrapolate (extrapolate=True) to have such values "
            "marked.",
        )
    return outside
