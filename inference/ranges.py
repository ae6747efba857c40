"""Where scales and data end: values that a measure cannot have, or that no patient had."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError
from alliance.inference.posterior import Rows
from alliance.models.design.encoding import Encoding

Array = NDArray[np.float64]

ROUNDING = 1e-9  # share of the range by which a value may miss its end


def require_on_scale(
    values: Sequence[float] | Array, limits: tuple[float, float], label: str
) -> None:
    """Refuse values that the measure cannot have, whether or not extrapolation is asked for.

    Parameters
    ----------
    values : array-like
    limits : tuple of float
        Lowest and highest possible value; infinite where there is no limit.
    label : str
        What the measure is called.

    Raises
    ------
    InputError
    """
    for value in values:
        if not limits[0] <= value <= limits[1]:
            raise InputError(
                f"{label}: there is no {value:g} on its scale.",
                f"Ask for values from {limits[0]:g} to {limits[1]:g}.",
            )


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
        Lowest and highest one.
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
            "Ask within this range, or add `extrapolate=True` to have such values marked.",
        )
    return outside


def other_ranges(
    encoding: Encoding, baseline: str | None
) -> list[tuple[str, int | None, tuple[float, float]]]:
    """What else has a range, beside the alliance: the baseline, and covariates that are numbers.

    Parameters
    ----------
    encoding : Encoding
    baseline : str or None
        What the baseline is called; None where there is none.

    Returns
    -------
    list of (name, column, range)
        The column among the covariates', None for the baseline. Empty where the analysed patients
        are not known one by one.
    """
    seen = encoding.observed
    if seen is None:
        return []
    found: list[tuple[str, int | None, tuple[float, float]]] = []
    if seen.baseline is not None and baseline is not None:
        found.append((baseline, None, seen.baseline))
    found += [
        (column.covariate, k, seen.covariates[k])
        for k, column in enumerate(encoding.columns)
        if column.level is None
    ]
    return found


def require_others_observed(
    encoding: Encoding, rows: Rows, *, baseline: str | None, extrapolate: bool
) -> NDArray[np.bool_]:
    """Refuse baselines and covariates outside their ranges, unless extrapolation is asked for.

    Parameters
    ----------
    encoding : Encoding
    rows : Rows
    baseline : str or None
        What the baseline is called; None where there is none.
    extrapolate : bool

    Returns
    -------
    ndarray of bool, shape (r,)
        Whether any of them is extrapolated.

    Raises
    ------
    InputError
        Names the first such value and the range.
    """
    outside = np.zeros(len(rows), dtype=bool)
    for name, column, seen in other_ranges(encoding, baseline):
        values = rows.baseline if column is None else rows.covariates[:, column]
        if values is not None:
            outside |= require_observed(values, seen, name, extrapolate=extrapolate)
    return outside
