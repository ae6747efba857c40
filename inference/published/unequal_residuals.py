"""Restricted maximum likelihood where groups of arms have residual variances of their own.

With R diagonal, the residual variance of group g being s^2 exp(2 r_g) and r_0 = 0, scores and
columns of group g over exp(r_g) are those of a model with one residual variance: its cross-products
are sums of the groups', weighed by exp(-2 r_g), and its criterion differs by twice the sum of
n_g r_g. The other variances are at their best for every r (`inference.published.
restricted_likelihood`); r is searched for outside. R's ``nlme`` fits it with ``varIdent``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from alliance.data_prep.moments import Moments
from alliance.inference.published.restricted_likelihood import RestrictedFit, RestrictedLikelihood

Array = NDArray[np.float64]

MOST = 6.0  # log of a ratio of residual SDs, in either direction
STEP = 1e-4  # of differences in such a log
ENOUGH = 1e-9  # tolerance of the search, in units of the criterion and of logs
ROUNDS = 5  # whole searches over the effects' covariance, each from where the last one ended


def weighed(groups: Sequence[Moments], logs: Array) -> Moments:
    """Moments of all patients as of a model with one residual variance.

    Parameters
    ----------
    groups : sequence of Moments
    logs : ndarray, shape (G - 1,)
        Of the residual SDs of the groups after the first, over that of the first.
    """
    weights = np.exp(-2 * np.append(0.0, logs))
    products = sum(w * each.cross_products for w, each in zip(weights, groups, strict=True))
    return Moments(np.asarray(products), np.sum([each.count for each in groups], axis=0))


class UnequalLikelihood:
    """The criterion as a function of the logarithms of the ratios of residual SDs.

    Parameters
    ----------
    groups : sequence of Moments
        Of each residual group.
    columns : sequence of int
        Columns of X whose coefficients vary between clusters.
    clusters : int
        How many of the units have such effects; those after them have none.
    """

    def __init__(self, groups: Sequence[Moments], columns: Sequence[int], clusters: int) -> None:
        self._groups, self._columns, self._clusters = groups, columns, clusters
        self._patients = np.array([each.n for each in groups])

    def at(self, logs: Array) -> RestrictedLikelihood:
        """The model with these ratios, as one with a single residual variance."""
        return RestrictedLikelihood(weighed(self._groups, logs), self._columns, self._clusters)

    def maximise(self) -> tuple[RestrictedFit, Array]:
        """The estimates, and residual SDs of all groups over that of the first, shape (G,).

        The fit's information and slopes have those of the logarithms last, so that degrees of
        freedom allow for their being estimated.
        """
        logs, best = self._start(), np.inf
        for _ in range(ROUNDS):
            S = self.at(logs).maximise().relative
            found = optimize.minimize(
                lambda r, S=S: self._profile(r, S),
                logs,
                method="Nelder-Mead",
                bounds=[(-MOST, MOST)] * len(logs),
                options={"xatol": ENOUGH, "fatol": ENOUGH, "maxiter": 400},
            )
            logs = found.x
            if best - found.fun < ENOUGH:
                break
            best = found.fun
        fit = self.at(logs).maximise()
        return self._with_logs(fit, logs), np.exp(np.append(0.0, logs))

    def _start(self) -> Array:
        """Ratios of root mean squares of the residuals of least squares."""
        squares = np.array([each.yty for each in self._groups]) / np.maximum(self._patients, 1)
        own = np.log(np.maximum(squares, np.finfo(float).tiny)) / 2
        return np.asarray(np.clip(own[1:] - own[0], -MOST, MOST))

    def _profile(self, logs: Array, S: Array) -> float:
        """The criterion at its best covariance near S."""
        model = self.at(logs)
        return model.criterion_near(S) + 2 * float(self._patients[1:] @ logs)

    def _with_logs(self, fit: RestrictedFit, logs: Array) -> RestrictedFit:
        own, k = len(fit.information), len(logs)
        F, variance = fit.root, fit.residual_variance
        information = np.zeros((own + k, own + k))
        information[:own, :own] = fit.information
        slopes = [*fit.slopes]
        steps = STEP * np.eye(k)

        def gradient(r: Array) -> Array:
            return self.at(r).gradient_at(F, np.log(variance))

        def held(r: Array) -> float:
            half = self.at(r).held_criterion(F, variance) / 2
            return half + float(self._patients[1:] @ r)

        def covariance(r: Array) -> Array:
            return variance * np.linalg.inv(self.at(r).at(F @ F.T).precision)

        centre = held(logs)
        for a in range(k):
            up, down = logs + steps[a], logs - steps[a]
            cross = (gradient(up) - gradient(down)) / (2 * STEP)
            information[own + a, :own] = information[:own, own + a] = cross
            slopes.append((covariance(up) - covariance(down)) / (2 * STEP))
            for b in range(a + 1):
                if a == b:
                    bent = (held(up) - 2 * centre + held(down)) / STEP**2
                else:
                    corners = [
                        held(logs + i * steps[a] + j * steps[b]) * i * j
                        for i in (1, -1)
                        for j in (1, -1)
                    ]
                    bent = sum(corners) / (4 * STEP**2)
                information[own + a, own + b] = information[own + b, own + a] = bent
        return replace(fit, slopes=np.array(slopes), information=information)
