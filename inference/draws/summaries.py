"""Draws in numbers: quantiles, intervals, integrals over a normal, R-hat, effective sample sizes.

Large arrays are worked on in blocks of columns that the processor's cache holds, on all cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError

Array = NDArray[np.float64]

BLOCK_NUMBERS = 4_000_000  # numbers of an array that are held at a time
CACHE_NUMBERS = 64_000  # numbers of an array that the processor's cache holds several of


def column_blocks(
    shape: tuple[int, int], numbers_each: int = 1, numbers: int | None = None
) -> list[slice]:
    """Blocks of columns that hold so many numbers at a time.

    Parameters
    ----------
    shape : (d, r)
    numbers_each : int
        Numbers that are held at a time for each element.
    numbers : int, optional
        As many as memory holds by default.
    """
    d, r = shape
    held = BLOCK_NUMBERS if numbers is None else numbers
    width = max(1, held // max(1, d * numbers_each))
    return [slice(start, min(start + width, r)) for start in range(0, r, width)]


def by_columns(
    shape: tuple[int, int],
    function: Callable[[slice], Array],
    *,
    numbers_each: int = 1,
    rows: int | None = None,
) -> Array:
    """Put together what a function gives for blocks of columns; NumPy counts without the lock.

    Parameters
    ----------
    shape : (d, r)
        Of what the function reads.
    function : callable
        From a slice of columns to an array (rows, columns of the slice).
    numbers_each : int
        Numbers that it holds at a time for each element.
    rows : int, optional
        Of what it gives; d by default.

    Returns
    -------
    ndarray, shape (rows, r)
    """
    d, r = shape
    blocks = column_blocks(shape, numbers_each, CACHE_NUMBERS)
    if len(blocks) == 1:  # no thread is started for it
        return function(blocks[0])
    found = np.empty((d if rows is None else rows, r))

    def fill(some: slice) -> None:
        found[:, some] = function(some)

    with ThreadPoolExecutor() as pool:
        for _ in pool.map(fill, blocks):  # which raises what a block raised
            pass
    return found


# With so many nodes the mean and mean square of an inverse logit are off by less than 1e-9 for SDs
# up to 1 on the logit's scale, and by less than 2e-5 for SDs up to 2.
NODES = 21


def normal_nodes(count: int = NODES) -> Iterator[tuple[float, float]]:
    """Nodes and weights of Gauss-Hermite quadrature for a standard normal variable.

    Parameters
    ----------
    count : int
        Polynomials up to degree ``2 count - 1`` are integrated exactly.

    Returns
    -------
    iterator of (node, weight)
        Weights sum to one.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return zip(nodes.tolist(), (weights / weights.sum()).tolist(), strict=True)


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


TAIL_QUANTILES = (0.05, 0.95)
"""Tail ESS is that of the worse of these; ArviZ's own default follows its 89% intervals."""

_REMEMBERED = 500  # quantities: 16 MB of 4 x 1,000 draws, and every quantity of several outcomes


class RankStatistics(NamedTuple):
    """Each of shape (quantity,)."""

    r_hat: NDArray[np.float64]
    ess_bulk: NDArray[np.float64]
    ess_tail: NDArray[np.float64]


def rank_statistics(draws: NDArray[np.float64]) -> RankStatistics:
    """Rank-normalised split R-hat, and bulk and tail effective sample sizes.

    Parameters
    ----------
    draws : ndarray of shape (quantity, chain, draw)

    Returns
    -------
    RankStatistics
        What cannot be computed is not a number.

    References
    ----------
    Vehtari, Gelman, Simpson, Carpenter, Bürkner 2021, doi:10.1214/20-BA1221.
    """
    # The gate and the summary ask for the same quantities of the same draws.
    found = [_of_one(own.tobytes(), len(own)) for own in np.asarray(draws, dtype=float)]
    return RankStatistics(*np.array(found).reshape(-1, 3).T)


@lru_cache(maxsize=_REMEMBERED)
def _of_one(draws: bytes, chains: int) -> tuple[float, float, float]:
    from arviz_stats.base import array_stats  # takes a second, and tables without draws need none

    own = np.frombuffer(draws).reshape(chains, -1)
    own = np.where(np.isposinf(own), LARGEST, own)  # ranks are the same
    with np.errstate(divide="ignore", invalid="ignore"):  # where no chain moves: infinite
        r_hat = array_stats.rhat(own)
    return (
        float(r_hat),
        float(array_stats.ess(own, method="bulk")),
        float(array_stats.ess(own, method="tail", prob=TAIL_QUANTILES)),
    )
