"""Draws in numbers: their mean, SD, quantiles and equal-tailed intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError
from alliance.inference.draws.blocks import by_columns

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


def tails(interval: float) -> tuple[float, float]:
    """Shares of the draws below the two limits of an equal-tailed interval.

    Raises
    ------
    InputError
        If the interval's probability is not between 0 and 1.
    """
    if not 0 < interval < 1:
        raise InputError(
            f"The interval's probability {interval:g} is not between 0 and 1.",
            "Give for example 0.95.",
        )
    return (1 - interval) / 2, (1 + interval) / 2


def described(draws: Array, interval: float, name: str = "") -> dict[str, Any]:
    """Mean, SD and equal-tailed interval over draws.

    Parameters
    ----------
    draws : ndarray, shape (d, ...)
    interval : float
        Probability of the interval.
    name : str, optional
        What is described: ``expected`` gives ``expected, expected_sd, expected_lower,
        expected_upper``; without it they are ``mean, sd, lower, upper``.

    Returns
    -------
    dict of str to ndarray, shape (...)
    """
    if draws.ndim == 2:
        limits = by_columns(
            draws.shape,
            lambda some: np.asarray(np.quantile(draws[:, some], tails(interval), axis=0)),
            rows=2,
        )
    else:
        limits = np.asarray(np.quantile(draws, tails(interval), axis=0))
    found = {"mean": draws.mean(axis=0), "sd": draws.std(axis=0, ddof=1)}
    found |= {"lower": limits[0], "upper": limits[1]}
    if not name:
        return found
    return {name if key == "mean" else f"{name}_{key}": each for key, each in found.items()}
