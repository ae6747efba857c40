"""Several trials with all coefficients integrated out, and their draws given the SDs.

In trial t the coefficients are ``g_t = M_t m + D z_t`` with z_t standard normal: m are the means
over trials, D is diagonal with the prior SDs of what the trial has for itself and the SDs between
trials of the rest, zero where effects are fixed. With P_t = X_t'V_t^-1 X_t and b_t = X_t'V_t^-1
y_t, therapist effects out (`models.gaussian.gaussian_draws.integrate`), and K_t = I + D P_t D,

    log p(y_t | m, SDs) = -1/2 (n log 2 pi + log|V_t| + log|K_t| + r'V_t^-1 r - w'K_t^-1 w),

r = y_t - X_t M_t m and w = D X_t'V_t^-1 r, which is quadratic in m, so that m integrates out too.
No SD is ever divided by: all of them may be zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alliance.models.gaussian.gaussian_draws import GaussianDraws, cholesky, integrate
from alliance.models.priors import Priors
from alliance.models.trials.design import SPREADS, TrialsDesign

Array = NDArray[np.float64]
Index = NDArray[np.int64]

BLOCK = 1_000  # values of the SDs at a time: some MB for each trial
RESIDUAL = "residual_sd"


@dataclass(frozen=True, slots=True)
class TrialsDraws:
    """Coefficients on the standardised scale.

    Attributes
    ----------
    means : ndarray, shape (d, m)
        Of what trials share.
    across : ndarray, shape (d, K - 1), or None
        The interaction across trials, for one SD of a trial's mean alliance.
    own : ndarray, shape (d, T, p)
        Of each trial, around its own mean alliance.
    """

    means: Array
    across: Array | None
    own: Array


@dataclass(frozen=True, slots=True)
class CollapsedTrials:
    """What d values of the SDs leave to know.

    Attributes
    ----------
    design : TrialsDesign
    priors : Priors
    values : mapping of str to ndarray
        SDs and the correlation, shape (d,); ``residual_sd`` (d, T).
    log_likelihood : ndarray, shape (d,)
        All coefficients and therapist effects integrated out; minus infinity where no digit is
        left.
    """

    design: TrialsDesign
    priors: Priors
    values: Mapping[str, Array]
    log_likelihood: Array

    def take(self, chosen: Index) -> CollapsedTrials:
        """The same for some of the values, in any order."""
        kept = {name: values[chosen] for name, values in self.values.items()}
        return CollapsedTrials(self.design, self.priors, kept, self.log_likelihood[chosen])

    def draw(self, generator: np.random.Generator) -> TrialsDraws:
        """One draw of the coefficients for each value of the SDs."""
        design, (T, p, m) = self.design, self.design.maps.shape
        total = len(self.log_likelihood)
        means, own = np.empty((total, m)), np.empty((total, T, p))
        for some in _blocks(total):
            found = _Block.of(design, self.priors, _part(self.values, some))
            noise = generator.standard_normal(found.mean.shape)[..., None]
            drawn = found.mean + np.linalg.solve(found.factor.mT, noise)[..., 0]
            means[some] = drawn
            for t, each in enumerate(found.trials):
                own[some, t] = each.draw(drawn @ design.maps[t].T, generator)
        shared = len(design.shared)
        across = means[:, shared:] if design.across else None
        return TrialsDraws(means[:, :shared], across, own)


@dataclass(frozen=True, slots=True)
class _Trial:
    """One trial, its deviations integrated out.

    Attributes
    ----------
    products : ndarray, shape (d, p + 1, p + 1)
        As of `Integrated`.
    scale : ndarray, shape (d, p)
        The diagonal D.
    factor : ndarray, shape (d, p, p)
        Lower factor of K_t.
    left : ndarray, shape (d, p + 1, p + 1)
        The products, what the deviations explain taken off.
    lost : ndarray of bool, shape (d,)
    """

    products: Array
    scale: Array
    factor: Array
    left: Array
    lost: NDArray[np.bool_]

    @classmethod
    def of(cls, products: Array, scale: Array) -> _Trial:
        p = scale.shape[1]
        inner = scale[:, :, None] * products[:, :p, :p] * scale[:, None, :]
        factor, lost = cholesky(inner + np.eye(p))
        half = np.linalg.solve(factor, scale[:, :, None] * products[:, :p])
        return cls(products, scale, factor, products - half.mT @ half, lost)

    def draw(self, location: Array, generator: np.random.Generator) -> Array:
        """Coefficients (d, p) given what the means say of them."""
        p = self.scale.shape[1]
        away = self.products[:, :p, p] - np.einsum("dab,db->da", self.products[:, :p, :p], location)
        right = np.linalg.solve(self.factor, (self.scale * away)[..., None])[..., 0]
        right += generator.standard_normal(right.shape)
        z = np.linalg.solve(self.factor.mT, right[..., None])[..., 0]
        return np.asarray(location + self.scale * z)


@dataclass(frozen=True, slots=True)
class _Block:
    """Some values of the SDs: all trials, and the means given them."""

    trials: tuple[_Trial, ...]
    log_likelihood: Array
    mean: Array
    factor: Array

    @classmethod
    def of(cls, design: TrialsDesign, priors: Priors, values: Mapping[str, Array]) -> _Block:
        scale = _scales(design, priors, values)
        found, size = [], design.maps.shape[2]
        usual = design.means_prior(priors)
        precision = np.zeros((len(scale), size, size)) + np.diag(usual**-2.0)
        linear = np.zeros((len(scale), size))
        twice = np.full(len(scale), 2 * np.log(usual).sum())
        lost = np.zeros(len(scale), dtype=bool)
        for t, own in enumerate(design.designs):
            whole = integrate(own, spreads_of(values, t))
            each = _Trial.of(whole.products, scale)
            M = design.maps[t]
            precision += M.T @ each.left[:, :-1, :-1] @ M
            linear += each.left[:, :-1, -1] @ M
            twice += whole.log_scale + each.left[:, -1, -1]
            twice += 2 * np.log(np.diagonal(each.factor, axis1=1, axis2=2)).sum(axis=1)
            lost |= each.lost
            found.append(each)
        factor, none = cholesky(precision)
        half = np.linalg.solve(factor, linear[..., None])
        mean = np.linalg.solve(factor.mT, half)[..., 0]
        twice += 2 * np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
        twice -= (half[..., 0] ** 2).sum(axis=1)
        log_likelihood = np.where(lost | none, -np.inf, -0.5 * twice)
        return cls(tuple(found), log_likelihood, mean, factor)


def collapse_trials(
    design: TrialsDesign, priors: Priors, values: Mapping[str, Array]
) -> CollapsedTrials:
    """Integrate all coefficients and therapist effects out at each value of the SDs.

    Parameters
    ----------
    design : TrialsDesign
    priors : Priors
    values : mapping of str to ndarray
        As of `CollapsedTrials`.
    """
    parts = [
        _Block.of(design, priors, _part(values, some)).log_likelihood
        for some in _blocks(len(values[RESIDUAL]))
    ]
    return CollapsedTrials(design, priors, values, np.concatenate(parts))


def spreads_of(values: Mapping[str, Array], trial: int) -> GaussianDraws:
    """Residual and therapist SDs of one trial; no coefficients.

    Parameters
    ----------
    values : mapping of str to ndarray
        As of `CollapsedTrials`.
    trial : int
    """
    own = {name: each for name, each in values.items() if name.startswith("therapist_")}
    residual = values[RESIDUAL][:, trial]
    return GaussianDraws(beta=np.empty((len(residual), 0)), residual_sd=residual, **own)


def _scales(design: TrialsDesign, priors: Priors, values: Mapping[str, Array]) -> Array:
    """The diagonals D, shape (d, p)."""
    total = len(values[RESIDUAL])
    found = np.tile(design.own_prior(priors), (total, 1))
    for k in design.shared:
        name = SPREADS[design.kinds[k]]
        if name in design.spreads:
            found[:, k] = values[name]
    return found


def _part(values: Mapping[str, Array], some: slice) -> dict[str, Array]:
    return {name: each[some] for name, each in values.items()}


def _blocks(total: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, total, BLOCK))
