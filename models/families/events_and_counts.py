"""Events and counts: yes or no with a logistic link, numbers of events with a logarithmic one.

An event is one of two categories of a latent logistic variable, as ordered categories are of more
than two; the priors are stated in that variable's SD, which no data move.

Counts are negative binomial (Lawless 1987, doi:10.2307/3314912): Poisson around rates that differ
between patients with a coefficient of variation, the overdispersion. A count's mean is its rate
times the exposure, whose logarithm is added to the predictor of whoever has one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from alliance.models.families.family import Auxiliary, Family, Operations, Parameter, Scale

Array = NDArray[np.float64]

# Of the squared overdispersion: below it counts are Poisson to eight digits, and the differences
# of gammaln at its inverse would lose more of them than that.
LEAST_OVERDISPERSION = 1e-8
MOST_EVENTS = 1e15  # mean of a drawn count: NumPy draws none beyond; no trial counts so far
LARGEST_LOG = 700.0  # whose exponential is still a number


def _event_scale(scores: Array, limits: tuple[float, float]) -> Scale:
    # Kept off the ends, where the logit has no value: by half an event
    least = 0.5 / len(scores)
    share = float(np.clip(scores.mean() - limits[0], least, 1 - least))
    return Scale(limits[0], 1.0, 1, float(special.logit(share)), float(np.pi / np.sqrt(3)))


def _event(do: Operations, y: Any, eta: Any, _auxiliary: Auxiliary, _scale: Scale) -> Any:
    return -do.softplus((1 - 2 * y) * eta)


def _chance(eta: Array, _auxiliary: Auxiliary, _scale: Scale) -> Array:
    return np.asarray(special.expit(eta))


def _event_spread(eta: Array, _auxiliary: Auxiliary, _scale: Scale) -> Array:
    """Variance of an event, which is the slope of its chance too."""
    return np.asarray(special.expit(eta) * special.expit(-eta))


def _event_random(
    generator: np.random.Generator, eta: Array, _auxiliary: Auxiliary, _scale: Scale
) -> Array:
    return (eta + generator.logistic(size=eta.shape) > 0).astype(float)


BINARY = Family(
    name="binary",
    discrete=True,
    has_intercept=True,
    link="logit",
    scale=_event_scale,
    parameters=(),
    log_likelihood=_event,
    expected=_chance,
    slope=_event_spread,
    variance=_event_spread,
    random=_event_random,
    ratio="odds",
)


def _count_scale(scores: Array, _range: tuple[float, float]) -> Scale:
    # Half an event where nobody has one; a step of the predictor is a factor of e
    mean = max(float(scores.mean()), 0.5 / len(scores))
    return Scale(0.0, 1.0, 0, float(np.log(mean)), 1.0)


def _squared(do: Operations, auxiliary: Auxiliary) -> Any:
    squared = auxiliary["overdispersion"] ** 2
    return do.where(squared > LEAST_OVERDISPERSION, squared, LEAST_OVERDISPERSION)


def _count(do: Operations, y: Any, eta: Any, auxiliary: Auxiliary, _scale: Scale) -> Any:
    alpha = _squared(do, auxiliary)
    size = 1 / alpha
    shifted = eta + do.log(alpha)  # log of the mean over the size
    bounded = do.softplus(shifted)
    ways = do.gammaln(y + size) - do.gammaln(size) - do.gammaln(y + 1.0)
    return ways + y * (shifted - bounded) - size * bounded


def event_rate(eta: Array) -> Array:
    """Mean of a count whose predictor, the log of the exposure included, this is."""
    return np.exp(np.minimum(eta, LARGEST_LOG))


def _count_expected(eta: Array, _auxiliary: Auxiliary, _scale: Scale) -> Array:
    return event_rate(eta)


def _count_variance(eta: Array, auxiliary: Auxiliary, _scale: Scale) -> Array:
    mean = event_rate(eta)
    return np.asarray(mean + (auxiliary["overdispersion"] * mean) ** 2)


def _count_random(
    generator: np.random.Generator, eta: Array, auxiliary: Auxiliary, _scale: Scale
) -> Array:
    size = 1 / np.maximum(auxiliary["overdispersion"] ** 2, LEAST_OVERDISPERSION)
    rate = event_rate(eta) * generator.gamma(np.broadcast_to(size, eta.shape)) / size
    return generator.poisson(np.minimum(rate, MOST_EVENTS)).astype(float)


def count_at_rank(eta: Array, auxiliary: Auxiliary, rank: Array) -> Array:
    """The count below which a share of the distribution lies.

    Parameters
    ----------
    eta : ndarray, shape (d, r)
    auxiliary : mapping of str to ndarray
    rank : ndarray, shape (d, r)
        Between 0 and 1.
    """
    alpha = np.maximum(auxiliary["overdispersion"] ** 2, LEAST_OVERDISPERSION)
    mean = np.minimum(event_rate(eta), MOST_EVENTS)
    return np.asarray(stats.nbinom.ppf(rank, 1 / alpha, 1 / (1 + alpha * mean)))


def chance_of_count(eta: Array, auxiliary: Auxiliary, least: NDArray[np.int64]) -> Array:
    """Probability of at least so many events.

    Parameters
    ----------
    eta : ndarray, shape (d, r)
    auxiliary : mapping of str to ndarray
    least : ndarray of int, shape (r,)
    """
    alpha = np.maximum(auxiliary["overdispersion"] ** 2, LEAST_OVERDISPERSION)
    share = special.expit(eta + np.log(alpha))
    chance = special.betainc(np.maximum(least, 1), 1 / alpha, share)
    return np.where(least < 1, 1.0, chance)


COUNT = Family(
    name="count",
    discrete=True,
    has_intercept=True,
    link="log",
    scale=_count_scale,
    parameters=(Parameter("overdispersion", "half_normal", "overdispersion"),),
    log_likelihood=_count,
    expected=_count_expected,
    slope=_count_expected,
    variance=_count_variance,
    random=_count_random,
    ratio="rate",
)
