"""Ordered categories: a latent variable cut at thresholds, logistic or normal.

McCullagh 1980, doi:10.1111/j.2517-6161.1980.tb01109.x. The logistic one is the usual cumulative
logit; the normal one serves where the latent variable is to correlate with other outcomes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from alliance.models.families.family import Auxiliary, Family, Operations, Parameter, Scale

Array = NDArray[np.float64]


def _logistic_interval(do: Operations, lower: Any, upper: Any) -> Any:
    # log(sigmoid(upper) - sigmoid(lower)), without cancellation in either tail
    return -do.softplus(-upper) - do.softplus(lower) + do.log1mexp(lower - upper)


def _normal_interval(do: Operations, lower: Any, upper: Any) -> Any:
    # log(Phi(upper) - Phi(lower)), turned into the lower tail
    turned = lower + upper > 0
    high = do.log_ndtr(do.where(turned, -lower, upper))
    return high + do.log1mexp(do.log_ndtr(do.where(turned, -upper, lower)) - high)


def _ordinal_family(
    name: str,
    link: str,
    prior: str,
    latent_sd: float,
    interval: Callable[[Operations, Any, Any], Any],
    distribution: Callable[[Array], Array],
    density: Callable[[Array], Array],
    noise: Callable[[np.random.Generator, tuple[int, ...]], Array],
) -> Family:
    """An ordinal family from its latent variable's distribution around ``eta``."""

    def scale(_scores: Array, limits: tuple[float, float]) -> Scale:
        return Scale(limits[0], 1.0, round(limits[1] - limits[0]), 0.0, latent_sd)

    def log_likelihood(
        do: Operations, y: Any, eta: Any, auxiliary: Auxiliary, _scale: Scale
    ) -> Any:
        below, above = do.ends(auxiliary["cutpoint"], y)
        return interval(do, below - eta, above - eta)

    def beyond(eta: Array, auxiliary: Auxiliary) -> Array:
        """How far eta lies above each cutpoint, shape (d, n, K - 1)."""
        return np.asarray(eta[..., None] - auxiliary["cutpoint"][:, None, :])

    def expected(eta: Array, auxiliary: Auxiliary, _scale: Scale) -> Array:
        return np.asarray(distribution(beyond(eta, auxiliary)).sum(axis=-1))

    def slope(eta: Array, auxiliary: Auxiliary, _scale: Scale) -> Array:
        return np.asarray(density(beyond(eta, auxiliary)).sum(axis=-1))

    def variance(eta: Array, auxiliary: Auxiliary, scale: Scale) -> Array:
        above = distribution(beyond(eta, auxiliary))
        # E y^2 is the sum over k of (2k - 1) P(y >= k)
        square = (above * (2 * np.arange(1, scale.top + 1) - 1)).sum(axis=-1)
        return np.asarray(square - above.sum(axis=-1) ** 2)

    def random(
        generator: np.random.Generator, eta: Array, auxiliary: Auxiliary, _scale: Scale
    ) -> Array:
        latent = eta + noise(generator, eta.shape)
        return np.asarray((latent[..., None] > auxiliary["cutpoint"][:, None, :]).sum(-1), float)

    return Family(
        name=name,
        discrete=True,
        has_intercept=False,
        link=link,
        scale=scale,
        parameters=(Parameter("cutpoint", prior, "category_concentration"),),
        log_likelihood=log_likelihood,
        expected=expected,
        slope=slope,
        variance=variance,
        random=random,
    )


def _logistic_density(x: Array) -> Array:
    share = special.expit(x)
    return np.asarray(share * (1 - share))


ORDINAL = _ordinal_family(
    name="ordinal",
    link="cumulative logit",
    prior="ordered_logit",
    latent_sd=float(np.pi / np.sqrt(3)),
    interval=_logistic_interval,
    distribution=special.expit,
    density=_logistic_density,
    noise=lambda generator, shape: generator.logistic(size=shape),
)
ORDINAL_PROBIT = _ordinal_family(
    name="ordinal_probit",
    link="cumulative probit",
    prior="ordered_probit",
    latent_sd=1.0,
    interval=_normal_interval,
    distribution=special.ndtr,
    density=stats.norm.pdf,
    noise=lambda generator, shape: generator.standard_normal(shape),
)
