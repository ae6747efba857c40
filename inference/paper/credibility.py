"""What to believe of a printed estimate: posteriors by named priors, and the sceptical limit.

The likelihood is normal around the printed estimate, or Student's t where degrees of freedom are
printed. A prior is a mixture of normal distributions, or flat.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from alliance.inference.digits import figures
from alliance.inference.draws.summaries import tails
from alliance.inference.paper.curves import (
    Array,
    Curve,
    Normals,
    around,
    normal_log_density,
    student_log_density,
)
from alliance.inference.paper.printed import Estimate, quantile

IMPROBABLE = 0.05  # chance that a sceptic gives to what is "all but impossible" for him


@dataclass(frozen=True, eq=False)
class NamedPrior:
    """A prior with its name and what it says, in words.

    Attributes
    ----------
    name, words : str
    normals : Normals or None
        None is flat.
    """

    name: str
    words: str
    normals: Normals | None


def normal(mean: float, sd: float) -> Normals:
    """One normal distribution."""
    return Normals(np.ones(1), np.array([mean]), np.array([sd]))


def named_priors(estimate: Estimate, named: float | None) -> list[NamedPrior]:
    """Reference, sceptical and enthusiastic prior of a printed estimate.

    Parameters
    ----------
    estimate : Estimate
    named : float, optional
        The difference that sceptic and enthusiast speak of, on the analysis scale, with the sign of
        a benefit; by default the printed estimate itself, which is said.

    Notes
    -----
    The sceptic takes a difference beyond the named one, in either direction, as all but impossible
    (5%). The enthusiast expects it, with a chance of 5% that there is none at all or the opposite
    (Spiegelhalter, Freedman & Parmar 1994, doi:10.2307/2983527).
    """
    size = estimate.value if named is None else named
    found = [NamedPrior("reference", "flat: no prior opinion", None)]
    if size == 0:
        return found
    what = figures(estimate.shown(size))
    whose = "the printed estimate" if named is None else "the named difference"
    twice = "; counts the estimate twice" if named is None else ""
    sceptical = abs(size) / quantile(1 - IMPROBABLE / 2, math.inf)
    hopeful = abs(size) / quantile(1 - IMPROBABLE, math.inf)
    centre = estimate.shown(0.0)
    beyond = (
        f"beyond {figures(abs(size))} from {figures(centre)}"
        if not estimate.ratio
        else f"beyond {what} or {figures(1 / estimate.shown(size))}"
    )
    return [
        *found,
        NamedPrior(
            "sceptical",
            f"centred at no effect, 5% {beyond} ({whose})",
            normal(0.0, sceptical),
        ),
        NamedPrior(
            "enthusiastic",
            f"centred at {what} ({whose}), 5% at no effect or the opposite{twice}",
            normal(size, hopeful),
        ),
    ]


def posterior(estimate: Estimate, prior: Normals | None) -> Normals | Curve:
    """Posterior of the true value: in closed form for a normal likelihood, else on a grid.

    Parameters
    ----------
    estimate : Estimate
    prior : Normals, optional
        Flat by default.
    """
    if math.isinf(estimate.df):
        if prior is None:
            return normal(estimate.value, estimate.se)
        sds = np.hypot(prior.sds, estimate.se)  # of each part's prediction of the estimate
        log = np.log(prior.weights) + normal_log_density(np.array(estimate.value), prior.means, sds)
        weights = np.exp(log - log.max())
        kept = (estimate.se / sds) ** 2  # of the prior's mean
        means = kept * prior.means + (1 - kept) * estimate.value
        return Normals(weights / weights.sum(), means, prior.sds * estimate.se / sds)
    return _by_grid(estimate, prior)


def _by_grid(estimate: Estimate, prior: Normals | None) -> Curve:
    points = _points(estimate, prior)
    log = student_log_density(points, estimate.df, estimate.value, estimate.se)
    if prior is not None:
        log = log + prior.log_density(points)
    return Curve(points, np.exp(log - log.max()))


def _points(estimate: Estimate, prior: Normals | None) -> Array:
    own = around(estimate.value, estimate.se)
    if prior is None:
        return own
    more = [
        around(mean, sd, points=2001, widest=50)
        for mean, sd in zip(prior.means, prior.sds, strict=True)
    ]
    return np.unique(np.concatenate([own, *more]))


def conflict(estimate: Estimate, prior: Normals) -> float:
    """How surprising the estimate is to a prior: two-sided tail of its prior predictive.

    Parameters
    ----------
    estimate : Estimate
    prior : Normals
        Small values say that prior and data conflict (Box 1980, doi:10.2307/2982063).
    """
    sds = np.sqrt(prior.sds**2 + estimate.se**2)
    above = float(prior.weights @ ndtr((prior.means - estimate.value) / sds))
    return 2 * min(above, 1 - above)


def credible_p(estimate: Estimate) -> float:
    """The p value for intrinsic credibility: whether a new study would go the same way, twice over.

    ``2 * Phi(-|z| / sqrt(2))`` (Held 2019, doi:10.1098/rsos.181534): below 0.05 where the usual p
    is below 0.0056, which is stricter than an estimate beyond its sceptical limit.

    Parameters
    ----------
    estimate : Estimate
    """
    return float(2 * ndtr(-abs(estimate.value) / estimate.se / math.sqrt(2)))


def sceptical_limit(estimate: Estimate, interval: float = 0.95) -> float:
    """How narrow a prior around no effect would leave the finding unconvincing.

    A sceptic's normal prior, centred at no effect and with so much of its probability within minus
    and plus this limit, takes the posterior interval just to no effect. For a normal likelihood
    this is ``(upper - lower)**2 / (4 * sqrt(upper * lower))``. An estimate beyond its own limit is
    intrinsically credible (Matthews 2018, doi:10.1098/rsos.171047; at 95% from p = 0.013 on).

    Parameters
    ----------
    estimate : Estimate
    interval : float

    Returns
    -------
    float
        On the analysis scale; NaN where the interval holds no effect without any sceptic.
    """
    far = quantile((1 + interval) / 2, math.inf)
    own = quantile((1 + interval) / 2, estimate.df)
    ratio = abs(estimate.value) / estimate.se
    if ratio <= own:
        return math.nan
    if math.isinf(estimate.df):
        return far * estimate.se / math.sqrt((ratio / far) ** 2 - 1)
    tail, _ = tails(interval)
    size = Estimate(abs(estimate.value), estimate.se, estimate.df, estimate.source)
    low, high = 1e-4 * estimate.se, 1e4 * estimate.se
    for _ in range(60):
        middle = math.sqrt(low * high)
        if posterior(size, normal(0.0, middle)).quantile(tail) > 0:
            high = middle
        else:
            low = middle
    return far * math.sqrt(low * high)
