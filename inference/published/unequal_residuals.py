"""Restricted maximum likelihood where groups of arms have residual variances of their own.

With R diagonal, the residual variance of group g being s^2 exp(2 r_g) and r_0 = 0, scores and
columns of group g over exp(r_g) are those of a model with one residual variance: its cross-products
are sums of the groups', weighed by exp(-2 r_g), and its criterion differs by twice the sum of
n_g r_g. The other variances are at their best for every r, as of
`inference.published.restricted_likelihood`; r is searched for outside, by Newton's method. R's
``nlme`` fits such models with ``varIdent``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.moments import Moments
from alliance.inference.published.restricted_likelihood import (
    SAME,
    RestrictedFit,
    RestrictedLikelihood,
)

Array = NDArray[np.float64]

MOST = 6.0  # log of a ratio of residual SDs, in either direction
STEP = 1e-4  # of differences in such a log
ENOUGH = 1e-8  # a step in such a log that is not worth taking
LONGEST = 0.5  # a step that is
STEPS = 50  # of Newton's method
SEARCHES = 5  # whole searches over the effects' covariance
LEAST_BEND = 1e-3  # of half the criterion for each patient, where Newton's method trusts its own


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

        Newton's method in the logarithms, at the best of the other variances for each; the last
        word has a whole search over these. The fit's information and slopes have those of the
        logarithms last, so that degrees of freedom allow for their being estimated.
        """
        logs = self._start()
        fit = self.at(logs).maximise()
        for _ in range(SEARCHES):
            logs, fit = self._newton(logs, fit)
            again = self.at(logs).maximise()
            if not again.criterion < fit.criterion - SAME:
                break
            fit = again
        return self._with_logs(fit, logs), np.exp(np.append(0.0, logs))

    def _newton(self, logs: Array, fit: RestrictedFit) -> tuple[Array, RestrictedFit]:
        """Down to a minimum of the criterion in the logarithms near these."""
        value = self._whole(logs, fit)
        for _ in range(STEPS):
            found = self._with_logs(fit, logs).information
            k = len(found) - len(logs)
            across = found[k:, :k] @ np.linalg.pinv(found[:k, :k], hermitian=True)
            bent, turned = np.linalg.eigh(found[k:, k:] - across @ found[:k, k:])
            slope = np.array(
                [
                    (self._held(logs + e, fit) - self._held(logs - e, fit)) / (2 * STEP)
                    for e in STEP * np.eye(len(logs))
                ]
            )
            # Downwards also where the criterion bends the other way
            size = np.maximum(np.abs(bent), LEAST_BEND * self._patients.sum())
            step = -turned @ (turned.T @ slope / size)
            step *= min(1.0, LONGEST / max(float(np.abs(step).max()), np.finfo(float).tiny))
            while np.abs(step).max() > ENOUGH:
                there = np.clip(logs + step, -MOST, MOST)
                new = self.at(there).maximise_from(fit.relative)
                if self._whole(there, new) < value:
                    break
                step = step / 2
            else:
                return logs, fit
            logs, fit, value = there, new, self._whole(there, new)
        return logs, fit

    def _whole(self, logs: Array, fit: RestrictedFit) -> float:
        """The criterion of all scores as they are, of a fit to the weighed ones."""
        return fit.criterion + 2 * float(self._patients[1:] @ logs)

    def _held(self, logs: Array, fit: RestrictedFit) -> float:
        """Half the criterion, the other variances held at a fit's."""
        half = self.at(logs).held_criterion(fit.root, fit.residual_variance) / 2
        return half + float(self._patients[1:] @ logs)

    def _start(self) -> Array:
        """Ratios of root mean squares of the residuals of least squares."""
        squares = np.array([each.yty for each in self._groups]) / np.maximum(self._patients, 1)
        own = np.log(np.maximum(squares, np.finfo(float).tiny)) / 2
        return np.asarray(np.clip(own[1:] - own[0], -MOST, MOST))

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
            return self._held(r, fit)

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
