"""An outcome over time without compiling: importance sampling of its covariances alone.

As `inference.sampling.instant` does with the SDs of one follow-up: a mixture of multivariate t
distributions is fitted to the posterior of residual SDs, correlation parameters and therapists'
spreads, coefficients and therapist effects being integrated out, and weighed by Pareto-smoothed
importance sampling. Weights grow uneven with the number of parameters, 13 for four unstructured
visits with intercepts and slopes: where they cannot be trusted, they are not used.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from alliance.inference.draws.datatree import Timings
from alliance.inference.sampling.importance import (
    GOOD_K,
    PER_DRAW,
    UnreliableWeightsError,
    resampled,
    smoothed,
)
from alliance.inference.sampling.instant import LIMITS, MOST_SD, START, fitted_proposal
from alliance.inference.sampling.profiles import SamplerProfile, seed_sequence
from alliance.inference.sampling.visit_draws import VisitDraws, drawn_given, visit_trees
from alliance.models.priors import Priors
from alliance.models.visits.covariance import CovarianceShape, prior_powers
from alliance.models.visits.design import VisitsDesign
from alliance.models.visits.likelihood import VisitModel, blocks, integrate

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class _Target:
    """Posterior density of the covariances' parameters, at points (d, k).

    Residual SDs on the log scale, correlation parameters stretched to the whole line, therapists'
    SDs with a sign of which the density knows nothing, and their correlation on Fisher's scale.
    """

    model: VisitModel
    shape: CovarianceShape
    priors: Priors

    @property
    def sizes(self) -> list[int]:
        """Numbers of SDs, correlations, therapists' SDs and correlations, and SDs at visits."""
        shape = self.shape
        return [
            shape.groups * shape.sds,
            shape.groups * shape.correlations,
            shape.correlated,
            int(shape.correlated > 1),
            int(shape.independent > 0),
        ]

    @property
    def folded(self) -> list[int]:
        """Columns of therapists' SDs."""
        ends = np.cumsum(self.sizes)
        return [*range(ends[1], ends[2]), *range(ends[3], ends[4])]

    @property
    def start(self) -> Array:
        """Where the search for the mode starts."""
        first = [START["therapist_sd"], START["therapist_slope_sd"]]
        sizes = self.sizes
        return np.concatenate(
            [
                np.full(sizes[0], np.log(START["residual_sd"])),
                np.zeros(sizes[1]),
                first[: sizes[2]],
                np.zeros(sizes[3]),
                np.full(sizes[4], START["therapist_sd"]),
            ]
        )

    @property
    def bounds(self) -> list[tuple[float, float]]:
        """Of that search."""
        kinds = (
            LIMITS["residual_sd"],
            LIMITS["therapist_correlation"],
            (-MOST_SD, MOST_SD),
            LIMITS["therapist_correlation"],
            (-MOST_SD, MOST_SD),
        )
        return [own for own, size in zip(kinds, self.sizes, strict=True) for _ in range(size)]

    def parts(self, at: Array) -> list[Array]:
        """Columns (d, size) of each kind."""
        return np.split(at, np.cumsum(self.sizes)[:-1], axis=1)

    def covariances(self, at: Array) -> tuple[Array, Array]:
        """Residual covariances (d, A, V, V) and factors (d, Q, Q) of therapists' effects."""
        shape, parts = self.shape, self.parts(at)
        low, high = shape.limits
        share = (1 + np.tanh(parts[1].reshape(len(at), shape.groups, -1))) / 2
        sd = np.exp(parts[0].reshape(len(at), shape.groups, -1))
        residual = shape.residual(sd, low + (high - low) * share)
        size = shape.correlated + shape.independent
        loading = np.zeros((len(at), size, size))
        if shape.correlated:
            loading[:, 0, 0] = np.abs(parts[2][:, 0])
        if shape.correlated > 1:
            slope, r = np.abs(parts[2][:, 1]), np.tanh(parts[3][:, 0])
            loading[:, 1, 0], loading[:, 1, 1] = slope * r, slope / np.cosh(parts[3][:, 0])
        if shape.independent:
            own = range(shape.correlated, size)
            loading[:, own, own] = np.abs(parts[4])
        return residual, loading

    def __call__(self, at: Array) -> Array:
        """Log density up to a constant, shape (d,)."""
        residual, loading = self.covariances(at)
        density = np.empty(len(at))
        with np.errstate(all="ignore"):  # far away, where no digit is left: the search turns back
            for some in blocks(self.model, len(at)):
                density[some] = _log_likelihood(self.model, residual[some], loading[some])
        priors, parts = self.priors, self.parts(at)
        density += (parts[0] - 0.5 * (np.exp(parts[0]) / priors.residual_sd) ** 2).sum(axis=1)
        # Of a share s of the way between the limits: (s (1 - s))^power, and the Jacobian s (1 - s)
        power = prior_powers(self.shape.structure, self.shape.visits, priors.residual_correlation)
        density -= 2 * (_log_cosh(parts[1]) * (np.tile(power, self.shape.groups) + 1)).sum(axis=1)
        scales = np.array([priors.therapist_sd, priors.therapist_slope_sd])[: self.shape.correlated]
        density -= 0.5 * ((parts[2] / scales) ** 2).sum(axis=1)
        density -= 2 * priors.therapist_correlation * _log_cosh(parts[3]).sum(axis=1)
        density -= 0.5 * ((parts[4] / priors.therapist_sd) ** 2).sum(axis=1)
        return np.where(np.isfinite(density), density, -np.inf)


def _log_cosh(values: Array) -> Array:
    return np.logaddexp(values, -values) - np.log(2)


def _log_likelihood(model: VisitModel, residual: Array, loading: Array) -> Array:
    """Of each point; none where a covariance is singular to the last digit."""
    try:
        return integrate(model, residual, loading).log_likelihood
    except np.linalg.LinAlgError:
        if len(residual) == 1:
            return np.full(1, -np.inf)
        each = [_log_likelihood(model, residual[[k]], loading[[k]]) for k in range(len(residual))]
        return np.concatenate(each)


def instant_over_time(
    design: VisitsDesign, priors: Priors, profile: SamplerProfile, seed: int
) -> tuple[dict[str, xr.DataTree], Timings]:
    """Draw from the posterior of an outcome over time, without compiling anything.

    Parameters
    ----------
    design : VisitsDesign
    priors : Priors
    profile : SamplerProfile
        Whose numbers of chains and draws are used.
    seed : int
        The run's seed.

    Returns
    -------
    dict of str to xarray.DataTree
        As of `inference.sampling.visits.sample_over_time`; the attributes of ``sample_stats`` are
        those of `inference.sampling.instant.instant_outcome`.
    Timings

    Raises
    ------
    UnreliableWeightsError
        If Pareto k is over `inference.sampling.importance.GOOD_K`.
    """
    started = time.perf_counter()
    model = design.model(priors)
    target = _Target(model, design.shape, priors)
    pilot, *streams = (
        np.random.default_rng(seed_sequence(seed, "sampling", design.outcome, chain))
        for chain in range(profile.chains + 1)
    )
    number = PER_DRAW * profile.draws
    # One BLAS thread: sums split over threads change their bits with the machine
    with threadpool_limits(limits=1, user_api="blas"):
        proposal = fitted_proposal(target, target.start, target.bounds, pilot)
        flat = np.concatenate([proposal.draw(number, stream) for stream in streams])
        density = target(flat)
        log_weights, pareto_k = smoothed(density - proposal.log_density(flat))
    if not pareto_k <= GOOD_K:
        raise UnreliableWeightsError(pareto_k)
    weights = np.exp(log_weights)
    chosen = np.stack(
        [
            chain * number + resampled(own, profile.draws, stream)
            for chain, (own, stream) in enumerate(
                zip(weights.reshape(profile.chains, number), streams, strict=True)
            )
        ]
    )
    residual, loading = target.covariances(flat)
    sampled = time.perf_counter()
    beta, effects = drawn_given(design.outcome, model, residual[chosen], loading[chosen], seed)
    finished = time.perf_counter()
    numbered = {"chain": np.arange(profile.chains), "draw": np.arange(profile.draws)}
    statistics = xr.Dataset({"lp": (tuple(numbered), density[chosen])}, numbered)
    raw = xr.DataTree.from_dict(
        {"posterior": xr.Dataset(coords=numbered), "sample_stats": statistics}
    )
    timings = Timings(0.0, sampled - started, finished - sampled)
    found = VisitDraws(beta, residual[chosen], loading[chosen], effects, raw, timings)
    trees = visit_trees(design, found)
    for tree in trees.values():
        told = tree["sample_stats"].attrs
        told["pareto_k"] = pareto_k
        told["effective_draws"] = float(1 / (weights**2).sum())
        told["proposals"] = len(weights)
    return trees, timings
