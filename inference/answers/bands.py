"""Pointwise and simultaneous bands around a curve, from its draws, and where they exclude zero."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alliance.inference.draws.quantiles import tails

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Bands:
    """Two bands of the same probability around a curve at g points.

    Attributes
    ----------
    median, lower, upper : ndarray, shape (g,)
        Of each point by itself: the equal-tailed interval.
    band_lower, band_upper : ndarray, shape (g,)
        The simultaneous band: the whole curve lies within it with the band's probability.
    factor : float
        How many times as far from the median the simultaneous band lies, at every point; 1 or more.
    """

    median: Array
    lower: Array
    upper: Array
    band_lower: Array
    band_upper: Array
    factor: float


def bands(curves: Array, interval: float = 0.95) -> Bands:
    """Bands around a curve that is known by its draws.

    Parameters
    ----------
    curves : ndarray, shape (d, g)
        d draws of the curve at g points.
    interval : float
        Probability of either band.

    Returns
    -------
    Bands

    Raises
    ------
    InputError
        If the probability is not between 0 and 1.

    Notes
    -----
    The simultaneous band is a sup-t band (Montiel Olea & Plagborg-Møller 2019,
    doi:10.1002/jae.2656; from posterior draws Crainiceanu et al. 2007, J Comput Graph Stat
    16:265-288): all points share one critical value, the quantile over draws of the largest
    standardised deviation, so that every point errs equally often. A deviation is counted in
    distances from the median to the end of the pointwise interval on its side, which for a normal
    posterior is the usual standardisation, and for a skewed one lets the band be skewed. The band
    therefore never lies within the pointwise one. The envelope of ranks (Besag et al. 1995,
    doi:10.1214/ss/1177010123) differs only where tails do, and has to estimate quantiles much
    further out, which takes many times as many draws.
    """
    below, above = tails(interval)
    lower, median, upper = np.quantile(curves, [below, 0.5, above], axis=0)
    # The smallest factor whose band holds that share of the draws as whole curves.
    furthest = _deviations(curves, lower, median, upper).max(axis=1)
    factor = max(1.0, float(np.quantile(furthest, interval, method="inverted_cdf")))
    return Bands(
        median=median,
        lower=lower,
        upper=upper,
        band_lower=median - factor * (median - lower),
        band_upper=median + factor * (upper - median),
        factor=factor,
    )


def _deviations(curves: Array, lower: Array, median: Array, upper: Array) -> Array:
    """Each draw's distance from the median, in distances to the interval's end on its side."""
    above = curves - median
    distance = np.where(above > 0, upper - median, median - lower)
    # A point that is the same in all draws deviates nowhere.
    return np.divide(np.abs(above), distance, out=np.zeros_like(above), where=distance > 0)


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch along the curve where a band excludes zero.

    Attributes
    ----------
    start, end : float
        Its ends, on the scale of the points; between two points by linear interpolation.
    sign : int
        1 where the curve is above zero, -1 where it is below.
    """

    start: float
    end: float
    sign: int


def regions_excluding_zero(points: Array, lower: Array, upper: Array) -> list[Region]:
    """Where a band excludes zero, in the order of the points.

    With a simultaneous band this answers the question of Johnson & Neyman (1936), for which values
    of the moderator two arms differ, for all values at once, as Potthoff (1964,
    doi:10.1007/BF02289721) made it; Bauer & Curran (2005, doi:10.1207/s15327906mbr4003_5) for
    multilevel models. A difference between regions is no evidence of a difference between effects
    (Gelman & Stern 2006, doi:10.1198/000313006X152649): that is what the interaction tells.

    Parameters
    ----------
    points : ndarray, shape (g,)
        Ascending.
    lower, upper : ndarray, shape (g,)

    Returns
    -------
    list of Region
    """
    found = [(1, *ends) for ends in _positive(points, lower)]
    found += [(-1, *ends) for ends in _positive(points, -upper)]
    return sorted((Region(start, end, sign) for sign, start, end in found), key=lambda r: r.start)


def _positive(points: Array, values: Array) -> list[tuple[float, float]]:
    """Stretches where a broken line is above zero."""
    positive = values > 0
    padded = np.concatenate([[False], positive, [False]])
    starts = np.flatnonzero(~padded[:-1] & padded[1:]).tolist()
    ends = (np.flatnonzero(padded[:-1] & ~padded[1:]) - 1).tolist()
    stretches = []
    for first, last in zip(starts, ends, strict=True):
        start = points[0] if first == 0 else _crossing(points, values, first - 1)
        end = points[-1] if last == len(points) - 1 else _crossing(points, values, last)
        stretches.append((float(start), float(end)))
    return stretches


def _crossing(points: Array, values: Array, k: int) -> float:
    """Where the line from point k to the next one is zero."""
    share = values[k] / (values[k] - values[k + 1])
    return float(points[k] + share * (points[k + 1] - points[k]))
