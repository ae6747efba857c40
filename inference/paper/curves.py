"""Distributions of one quantity on a grid of points: no sampling, and no draw that could differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]


def normal_log_density(values: Array, mean: Array | float, sd: Array | float) -> Array:
    """Logarithm of the normal density, element by element.

    Parameters
    ----------
    values, mean, sd : array or float
    """
    return np.asarray(-0.5 * ((values - mean) / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi))


def student_log_density(values: Array, df: float, centre: float, scale: float) -> Array:
    """Logarithm of the density of Student's t, up to a constant.

    Parameters
    ----------
    values : array
    df, centre, scale : float
    """
    return np.asarray(-0.5 * (df + 1) * np.log1p(((values - centre) / scale) ** 2 / df))


@dataclass(frozen=True, eq=False)
class Curve:
    """A distribution by its density at points.

    Attributes
    ----------
    points : array, shape (points,)
        Ascending; beyond them there is nothing.
    density : array, shape (points,)
        Up to a factor.
    """

    points: Array
    density: Array

    @property
    def cumulative(self) -> Array:
        """Probability up to each point."""
        steps = np.diff(self.points) * (self.density[1:] + self.density[:-1]) / 2
        summed = np.concatenate([[0.0], np.cumsum(steps)])
        return np.asarray(summed / summed[-1])

    def above(self, value: float) -> float:
        """Probability of more than a value."""
        return float(1 - np.interp(value, self.points, self.cumulative))

    def quantile(self, probability: float) -> float:
        """Value below which so much of the probability lies."""
        cumulative = self.cumulative
        rising = np.concatenate([[True], np.diff(cumulative) > 0])
        return float(np.interp(probability, cumulative[rising], self.points[rising]))

    @property
    def mean(self) -> float:
        """The mean."""
        return self._average(self.points)

    @property
    def sd(self) -> float:
        """The standard deviation."""
        return float(np.sqrt(self._average((self.points - self.mean) ** 2)))

    def _average(self, values: Array) -> float:
        total = np.trapezoid(self.density, self.points)
        return float(np.trapezoid(values * self.density, self.points) / total)


@dataclass(frozen=True, eq=False)
class Normals:
    """A mixture of normal distributions.

    Attributes
    ----------
    weights, means, sds : array, shape (components,)
        The weights sum to one.
    """

    weights: Array
    means: Array
    sds: Array

    @property
    def mean(self) -> float:
        """The mean."""
        return float(self.weights @ self.means)

    @property
    def sd(self) -> float:
        """The standard deviation."""
        return float(np.sqrt(self.weights @ (self.sds**2 + (self.means - self.mean) ** 2)))

    def above(self, value: float) -> float:
        """Probability of more than a value."""
        return float(self.weights @ ndtr((self.means - value) / self.sds))

    def log_density(self, values: Array) -> Array:
        """Logarithm of the density, at values of any shape."""
        each = normal_log_density(np.asarray(values)[..., None], self.means, self.sds)
        return np.asarray(np.logaddexp.reduce(each + np.log(self.weights), axis=-1))

    def quantile(self, probability: float) -> float:
        """Value below which so much of the probability lies, by bisection."""
        low = float(np.min(self.means - 40 * self.sds))
        high = float(np.max(self.means + 40 * self.sds))
        for _ in range(200):
            middle = (low + high) / 2
            if middle in (low, high):  # no number lies between them
                break
            if 1 - self.above(middle) < probability:
                low = middle
            else:
                high = middle
        return (low + high) / 2


def around(centre: float, scale: float, *, points: int = 6001, widest: float = 1e5) -> Array:
    """Points around a centre, dense near it and sparse far away.

    Parameters
    ----------
    centre, scale : float
    points : int
    widest : float
        How many scales from the centre the last point lies.
    """
    ends = np.arcsinh(widest)
    return np.asarray(centre + scale * np.sinh(np.linspace(-ends, ends, points)))
