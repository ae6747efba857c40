"""Importance sampling: a heavy-tailed proposal, weights that are smoothed, and draws by weight.

Pareto k says whether weights can be trusted (Vehtari et al. 2024, arXiv:1507.02646).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from arviz_stats.base import array_stats
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]
Density = Callable[[Array], Array]

GOOD_K = 0.5
"""Pareto k up to which the weights' variance is finite, and draws are as good as their effective
number says (Vehtari et al. 2024, section 3). Beyond it the ordinary sampler takes over."""

PER_DRAW = 2  # proposals for each draw that is kept: weights seldom exceed twice their mean
PILOT, ROUNDS = 500, 2  # proposals by which the next are fitted
SCALE = 0.9  # of the scale matrix to the posterior's covariance
HEAVY = 5  # degrees of freedom: heavier tails than the posterior's, and a finite fourth moment
WIDE_SHARE, WIDE = 0.2, 2.0  # of the proposals, with SDs so many times as wide
STEP = 1e-3  # of finite differences, on scales where the posterior's SD is near 0.1 to 1
FLATTEST = 0.05  # least curvature: an SD that the data say nothing of varies by some units of log

NOWHERE = -1e10  # log density where no digit is left: the search turns back
WORST_CONDITION = 1e12  # of a covariance that is still worth a Cholesky factor


class UnreliableWeightsError(RuntimeError):
    """Importance weights with too heavy a tail.

    Attributes
    ----------
    pareto_k : float
    """

    def __init__(self, pareto_k: float) -> None:
        super().__init__(f"Pareto k is {pareto_k:.2f}, over {GOOD_K:g}")
        self.pareto_k = pareto_k


class UnreliableIntegralError(UnreliableWeightsError):
    """An integral over therapists' effects that more nodes still change.

    Attributes
    ----------
    error : float
        Of the log likelihood.
    """

    def __init__(self, error: float) -> None:
        super().__init__(np.inf)
        self.error = error


@dataclass(frozen=True, slots=True)
class Mixture:
    """Two multivariate t distributions around one centre, one of them wide, folded at zero.

    Attributes
    ----------
    centre : ndarray, shape (k,)
    factor : ndarray, shape (k, k)
        Lower Cholesky factor of the scale matrix.
    folded : list of int
        Coordinates of which only the size is drawn.
    """

    centre: Array
    factor: Array
    folded: list[int]

    def draw(self, number: int, generator: np.random.Generator) -> Array:
        """Points (number, k)."""
        normal = generator.standard_normal((number, len(self.centre))) @ self.factor.T
        tails = np.sqrt(HEAVY / generator.chisquare(HEAVY, number))
        wide = np.where(generator.random(number) < WIDE_SHARE, WIDE, 1.0)
        at = self.centre + normal * (tails * wide)[:, None]
        at[:, self.folded] = np.abs(at[:, self.folded])
        return np.asarray(at)

    def log_density(self, at: Array) -> Array:
        """Up to a constant, shape (d,): over all signs of the folded coordinates."""
        k, terms = len(self.centre), []
        for signs in product((1.0, -1.0), repeat=len(self.folded)):
            mirrored = at.copy()
            mirrored[:, self.folded] *= signs
            away = np.linalg.solve(self.factor, (mirrored - self.centre).T)
            distance = (away**2).sum(axis=0)
            terms += [
                np.log(share)
                - k * np.log(width)
                - (HEAVY + k) / 2 * np.log1p(distance / (HEAVY * width**2))
                for share, width in ((1 - WIDE_SHARE, 1.0), (WIDE_SHARE, WIDE))
            ]
        return np.asarray(special.logsumexp(terms, axis=0))


def fitted_to(at: Array, log_weights: Array, folded: list[int]) -> Mixture:
    """A proposal with the moments of weighed points.

    Parameters
    ----------
    at : ndarray, shape (d, k)
    log_weights : ndarray, shape (d,)
        Normalised.
    folded : list of int

    Raises
    ------
    UnreliableWeightsError
        If all weight is on one point, or nowhere: no proposal can be fitted to that.
    """
    weights = np.exp(log_weights)
    centre = weights @ at
    away = at - centre
    covariance = SCALE * (weights[:, None] * away).T @ away
    if not np.linalg.cond(covariance) < WORST_CONDITION:
        raise UnreliableWeightsError(np.inf)
    return Mixture(centre, np.linalg.cholesky(covariance), folded)


def negated(target: Density) -> Callable[[Array], tuple[float, Array]]:
    """Minus the log density with its gradient, by one batch of central differences."""

    def loss(x: Array) -> tuple[float, Array]:
        steps = STEP * np.eye(len(x))
        found = np.maximum(target(np.concatenate([x[None], x + steps, x - steps])), NOWHERE)
        forward, backward = found[1 : 1 + len(x)], found[1 + len(x) :]
        return -found[0], -(forward - backward) / (2 * STEP)

    return loss


def curvature_at(target: Density, mode: Array) -> Array:
    """Minus the Hessian of the log density, by one batch of differences."""
    k, step = len(mode), 10 * STEP  # second differences lose digits to rounding
    shifts = [
        step * (np.sign(a) * np.eye(k)[abs(a) - 1] + np.sign(b) * np.eye(k)[abs(b) - 1])
        for i in range(1, k + 1)
        for j in range(1, i + 1)
        for a in (i, -i)
        for b in (j, -j)
    ]
    found = target(mode + np.array(shifts)).reshape(-1, 4) @ np.array([1, -1, -1, 1])
    curvature = np.zeros((k, k))
    curvature[np.tril_indices(k)] = -found / (4 * step**2)
    return curvature + np.tril(curvature, -1).T


def slopes_at(target: Density, at: Array) -> tuple[Array, Array]:
    """Gradient and minus the Hessian of a log density, by one batch of differences."""
    k, step = len(at), 100 * STEP  # of a density that is itself known to seven digits
    shifts = [np.zeros(k)]
    for i in range(k):
        for j in range(i + 1):
            own = step * np.eye(k)[i]
            other = 0.0 if i == j else step * np.eye(k)[j]
            shifts += [own + other, -own - other]
    found = target(at + np.array(shifts))
    if not np.isfinite(found).all():  # nowhere: there is no slope
        return np.full(k, np.nan), np.full((k, k), np.nan)
    middle, pairs = found[0], found[1:].reshape(-1, 2)
    single = [i * (i + 1) // 2 + i for i in range(k)]
    gradient = (pairs[single, 0] - pairs[single, 1]) / (2 * step)
    curvature = np.zeros((k, k))
    bends = -(pairs.sum(axis=1) - 2 * middle) / step**2  # along an axis, or a diagonal
    curvature[np.tril_indices(k)] = bends
    own = bends[single]
    curvature = np.tril(curvature, -1) - np.tril(own[:, None] + own, -1)
    curvature = (curvature + curvature.T) / 2
    return gradient, curvature + np.diag(own)


def factor_of(curvature: Array, least: float = FLATTEST) -> Array:
    """Cholesky factor of the covariance that a curvature stands for, none of it too flat."""
    values, vectors = np.linalg.eigh(np.nan_to_num(curvature))
    values = np.maximum(values, least)
    return np.asarray(np.linalg.cholesky((vectors / values) @ vectors.T))


def smoothed(log_ratios: Array) -> tuple[Array, float]:
    """Normalised log weights, smoothed, and Pareto k."""
    log_weights, pareto_k = array_stats.psislw(-log_ratios)
    return np.asarray(log_weights - special.logsumexp(log_weights)), float(pareto_k)


def resampled(weights: Array, number: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Systematic resampling, in random order: a proposal is taken twice only if it must be."""
    places = (generator.random() + np.arange(number)) / number
    cumulative = np.cumsum(weights)
    chosen = np.searchsorted(cumulative / cumulative[-1], places)
    return generator.permutation(np.minimum(chosen, len(weights) - 1))
