"""Random-effects meta-analysis of a few trials by quadrature: no sampling.

``y_i ~ Normal(mu, se_i^2 + tau^2)``. The mean is integrated out in closed form, the heterogeneity
tau on a grid (Roever 2020, doi:10.18637/jss.v093.i06).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alliance.inference.paper.curves import Array, Curve, Normals, normal_log_density

GRID = 4000  # values of tau
HALF = 0.5  # of an SD between patients, or on the log scale: scale of the heterogeneity's prior


@dataclass(frozen=True, eq=False)
class MetaAnalysis:
    """Posteriors of a meta-analysis.

    Attributes
    ----------
    mean : Normals
        Of the mean over trials.
    heterogeneity : Curve
        Of the SD between trials.
    new : Normals
        Of the effect in a new trial.
    trials : tuple of Normals
        Of the effect in each trial.
    """

    mean: Normals
    heterogeneity: Curve
    new: Normals
    trials: tuple[Normals, ...]


def half_normal(scale: float) -> Callable[[Array], Array]:
    """Logarithm of a half-normal density.

    Parameters
    ----------
    scale : float
    """
    return lambda tau: np.asarray(np.log(2) + normal_log_density(tau, 0.0, scale))


def meta_analysis(
    estimates: Array,
    errors: Array,
    heterogeneity: Callable[[Array], Array],
    *,
    scale: float,
    prior: tuple[float, float] = (0.0, math.inf),
) -> MetaAnalysis:
    """Pool the estimates of trials.

    Parameters
    ----------
    estimates, errors : array, shape (trials,)
        On the scale where they are normal.
    heterogeneity : callable
        Logarithm of the prior density of tau.
    scale : float
        Where the grid of tau has half of its values below.
    prior : tuple of float
        Mean and SD of the normal prior of the mean; flat where the SD is infinite.
    """
    place, spread = prior
    base = 0.0 if math.isinf(spread) else spread**-2
    share = (np.arange(GRID) + 0.5) / GRID
    tau = scale * share / (1 - share)
    total = errors**2 + tau[:, None] ** 2
    weight = 1 / total
    precision = weight.sum(axis=1) + base
    mean = (weight @ estimates + base * place) / precision
    log = heterogeneity(tau) + 0.5 * np.log(weight).sum(axis=1) - 0.5 * np.log(precision)
    log = log - 0.5 * (
        (weight * (estimates - mean[:, None]) ** 2).sum(axis=1) + base * (mean - place) ** 2
    )
    density = np.exp(log - log.max())
    jacobian = scale / (1 - share) ** 2
    chance = density * jacobian
    chance = chance / chance.sum()
    kept = chance > 1e-14
    chance = chance[kept] / chance[kept].sum()
    tau, mean, variance = tau[kept], mean[kept], 1 / precision[kept]
    trials = []
    for value, error in zip(estimates, errors, strict=True):
        # Given tau and mu the trial's own effect is normal between its estimate and mu
        pull = error**2 / (error**2 + tau**2)
        within = tau**2 * error**2 / (tau**2 + error**2)
        centre = value + pull * (mean - value)
        trials.append(Normals(chance, centre, np.sqrt(within + pull**2 * variance)))
    return MetaAnalysis(
        Normals(chance, mean, np.sqrt(variance)),
        Curve(np.concatenate([[0.0], tau]), np.concatenate([[density[kept][0]], density[kept]])),
        Normals(chance, mean, np.sqrt(variance + tau**2)),
        tuple(trials),
    )
