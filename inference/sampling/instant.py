"""The exact Gaussian posterior without compiling: importance sampling of the SDs alone.

Coefficients and therapist effects are integrated out in closed form
(`models.gaussian.gaussian_draws`). What is left, three to five SDs and a correlation, is drawn
from a mixture of multivariate t distributions that is fitted to the posterior in two rounds, and
weighed by Pareto-smoothed importance sampling (Vehtari et al. 2024, arXiv:1507.02646); where the
weights are unreliable, it is fitted once more, to all that was drawn from it. Each chain
resamples its own proposals, so that what chains differ by is what they should; coefficients and
therapist effects are then drawn given the SDs, each draw anew.

Pareto k says whether the weights can be trusted. Over `GOOD_K` they are not used.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import optimize, special
from threadpoolctl import threadpool_limits

from alliance.data_prep.errors import InputError
from alliance.inference.draws.datatree import (
    Timings,
    add_therapist_effects,
    draws_of,
    gaussian_draws,
    instant_tree,
)
from alliance.inference.sampling.importance import (
    GOOD_K,
    PER_DRAW,
    PILOT,
    ROUNDS,
    Mixture,
    UnreliableWeightsError,
    curvature_at,
    factor_of,
    fitted_to,
    negated,
    resampled,
    smoothed,
)
from alliance.inference.sampling.profiles import SamplerProfile, seed_sequence
from alliance.models.design.design import Design
from alliance.models.design.ratings import needs_model
from alliance.models.gaussian.gaussian_draws import (
    Collapsed,
    GaussianDraws,
    TherapistDraws,
    collapse,
    draw_therapist_effects,
)
from alliance.models.priors import Priors, slope_parts

Array = NDArray[np.float64]

# Where the mode is looked for: SDs of the standardised outcome, and correlations up to .9999
MOST_SD = 5.0
PILOT_EACH = 60  # proposals for each parameter, where there are many: a covariance has their square
RESIDUAL = "residual_sd"  # followed by the number of its group, where there are several
CORRELATIONS = ("therapist_correlation", "clinic_correlation")
LIMITS = {"residual_sd": (-9.0, 2.0)} | dict.fromkeys(CORRELATIONS, (-5.0, 5.0))
FOLDED = (
    *("therapist_sd", "therapist_slope_sd", "therapist_arm_sd"),
    *("clinic_sd", "clinic_slope_sd"),
    *("trial_arm_sd", "trial_slope_sd", "trial_interaction_sd"),
)
START = {
    "residual_sd": 0.8,
    "therapist_sd": 0.2,
    "therapist_slope_sd": 0.1,
    "therapist_arm_sd": 0.1,
    "therapist_correlation": 0.0,
    "clinic_sd": 0.2,
    "clinic_slope_sd": 0.1,
    "clinic_correlation": 0.0,
    "trial_arm_sd": 0.1,
    "trial_slope_sd": 0.1,
    "trial_interaction_sd": 0.1,
}


class Integrated(Protocol):
    """What values of the SDs leave to know of all else."""

    @property
    def log_likelihood(self) -> Array:
        """Shape (d,), all but the SDs integrated out."""

    def take(self, chosen: NDArray[np.int64]) -> Self:
        """The same for some of the values, in any order."""


@dataclass(frozen=True)
class Target[Left: Integrated]:
    """Posterior density of the SDs and the correlation, at points (d, k).

    Residual SDs are on the log scale and the correlation on Fisher's (arc tangens hyperbolicus).
    An SD of therapists or trials may be zero, where its density is neither zero nor flat on the log
    scale: it is taken with a sign, of which the density knows nothing.

    Attributes
    ----------
    priors : Priors
    names : tuple of str
        Of the k parameters, as their priors; residual SDs of several groups followed by a number.
    """

    priors: Priors
    names: tuple[str, ...]

    @property
    def folded(self) -> list[int]:
        """Columns of the parameters with a sign."""
        return [k for k, name in enumerate(self.names) if name in FOLDED]

    def values(self, at: Array) -> dict[str, Array]:
        """Parameters from points; residual SDs of several groups as (d, G)."""
        change = {"residual_sd": np.exp} | dict.fromkeys(CORRELATIONS, np.tanh)
        found = {
            name: change.get(_parameter(name), np.abs)(column)
            for name, column in zip(self.names, at.T, strict=True)
        }
        if RESIDUAL in found:
            return found
        groups = [found.pop(name) for name in self.names if _parameter(name) == RESIDUAL]
        return {RESIDUAL: np.stack(groups, axis=-1), **found}

    def __call__(self, at: Array) -> Array:
        """Log density up to a constant, shape (d,)."""
        return self.density(at, self.collapsed(at))

    def collapsed(self, at: Array) -> Left:
        """What the points leave to know of the coefficients."""
        raise NotImplementedError

    def density(self, at: Array, collapsed: Left) -> Array:
        """Log density up to a constant, shape (d,), where the coefficients are integrated out."""
        density = collapsed.log_likelihood
        for name, column in zip(self.names, at.T, strict=True):
            if name in CORRELATIONS:
                # (1 - r^2)^(shape - 1) and the Jacobian 1 - r^2 = cosh(z)^-2
                log_cosh = np.logaddexp(column, -column) - np.log(2)
                density = density - 2 * getattr(self.priors, name) * log_cosh
                continue
            value = column if name in FOLDED else np.exp(column)
            density = density - 0.5 * (value / getattr(self.priors, _parameter(name))) ** 2
            if name not in FOLDED:
                density = density + column  # the Jacobian
        return np.where(np.isfinite(density), density, -np.inf)


@dataclass(frozen=True)
class _OneTrial(Target["Collapsed | _Parts"]):
    """The target of one trial's outcome."""

    design: Design

    def collapsed(self, at: Array) -> Collapsed | _Parts:
        usual = self.design.prior_sd(self.priors)
        spreads = GaussianDraws(beta=np.empty((len(at), 0)), **self.values(at))
        if self.priors.slope is None:
            return collapse(self.design, spreads, usual)
        column = self.design.coefficients.index("moderator")
        found = []
        for weight, mean, sd in slope_parts(self.priors):
            # A normal prior around a mean is one around zero of what is left after that mean
            own = np.where(np.arange(len(usual)) == column, sd, usual)
            part = collapse(self.design.without_slope(mean), spreads, own)
            found.append((float(np.log(weight)), mean, part))
        return _Parts(found, self.design.present.index(column))


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the SDs leave to know of the coefficients, where the slope's prior is a mixture.

    Attributes
    ----------
    parts : list of (float, float, Collapsed)
        Log weight, mean of the slope, and the coefficients around it.
    place : int
        Of the slope among the coefficients.
    """

    parts: list[tuple[float, float, Collapsed]]
    place: int

    @property
    def _terms(self) -> Array:
        return np.array([weight + part.log_likelihood for weight, _, part in self.parts])

    @property
    def log_likelihood(self) -> Array:
        """Over all parts, shape (d,)."""
        return np.asarray(special.logsumexp(self._terms, axis=0))

    def take(self, chosen: NDArray[np.int64]) -> _Parts:
        """The same for some of the values, in any order."""
        kept = [(weight, mean, part.take(chosen)) for weight, mean, part in self.parts]
        return _Parts(kept, self.place)

    def draw(self, generator: np.random.Generator) -> Array:
        """One draw of the coefficients for each value of the SDs, shape (d, p)."""
        share = np.exp(self._terms[0] - self.log_likelihood)
        first = generator.random(len(share)) < share
        drawn = []
        for _, mean, part in self.parts:
            own = part.draw(generator)
            own[:, self.place] += mean
            drawn.append(own)
        return np.where(first[:, None], drawn[0], drawn[1])


def instant_outcome(
    design: Design, priors: Priors, profile: SamplerProfile, seed: int
) -> tuple[xr.DataTree, Timings]:
    """Draw from the posterior of one outcome, without compiling anything.

    Parameters
    ----------
    design : Design
        The moderator observed and in one piece; families other than the Gaussian:
        `inference.sampling.instant_families`.
    priors : Priors
    profile : SamplerProfile
        Whose numbers of chains and draws are used.
    seed : int
        The run's seed.

    Returns
    -------
    xarray.DataTree
        Groups ``posterior`` and ``sample_stats``, as of
        `inference.sampling.sampling.sample_outcome`; the latter's attributes ``pareto_k``,
        ``effective_draws`` (of the proposals' weights) and ``proposals``.
    Timings

    Raises
    ------
    InputError
        If the design is another one.
    UnreliableWeightsError
        If Pareto k is over `GOOD_K`.
    """
    require_instant(design)
    # One BLAS thread: sums split over threads change their bits with the machine.
    with threadpool_limits(limits=1, user_api="blas"):
        if design.exact:
            return _drawn(design, priors, profile, seed)
        from alliance.inference.sampling.instant_families import instant_family

        return instant_family(design, priors, profile, seed)


@dataclass(frozen=True, eq=False, slots=True)
class Points[Left: Integrated]:
    """Draws of the SDs, chosen among proposals by their weights.

    Attributes
    ----------
    at : ndarray, shape (d, k)
        All proposals, chain after chain.
    chosen : ndarray of int, shape (chain, draw)
        Which of them are draws.
    density : ndarray, shape (d,)
    left : Integrated
        What each proposal leaves to know.
    streams : list of numpy.random.Generator
        Of each chain, for what is drawn next.
    facts : dict
        ``pareto_k``, ``effective_draws`` (of the proposals' weights) and ``proposals``.
    """

    at: Array
    chosen: NDArray[np.int64]
    density: Array
    left: Left
    streams: list[np.random.Generator]
    facts: dict[str, float]


def points[Left: Integrated](
    target: Target[Left], profile: SamplerProfile, seed: int, outcome: str
) -> Points[Left]:
    """Draw the SDs by importance sampling.

    Parameters
    ----------
    target : Target
    profile : SamplerProfile
    seed : int
        The run's.
    outcome : str
        Names the stream of random numbers.

    Raises
    ------
    UnreliableWeightsError
    """
    pilot, *streams = (
        np.random.default_rng(seed_sequence(seed, "sampling", outcome, chain))
        for chain in range(profile.chains + 1)
    )
    proposal = _fitted(target, pilot)
    number = PER_DRAW * profile.draws
    for last in (False, True):
        flat = np.concatenate([proposal.draw(number, stream) for stream in streams])
        whole = target.collapsed(flat)
        density = target.density(flat, whole)
        log_weights, pareto_k = smoothed(density - proposal.log_density(flat))
        if pareto_k <= GOOD_K:
            break
        if last:
            raise UnreliableWeightsError(pareto_k)
        # So many proposals tell the posterior's moments better than the pilots did
        proposal = fitted_to(flat, log_weights, target.folded)
    chosen = np.stack(
        [
            chain * number + resampled(weights, profile.draws, stream)
            for chain, (weights, stream) in enumerate(
                zip(np.exp(log_weights).reshape(profile.chains, number), streams, strict=True)
            )
        ]
    )
    facts = {
        "pareto_k": pareto_k,
        "effective_draws": float(1 / (np.exp(log_weights) ** 2).sum()),
        "proposals": int(log_weights.size),
    }
    return Points(flat, chosen, density, whole, streams, facts)


def _drawn(
    design: Design, priors: Priors, profile: SamplerProfile, seed: int
) -> tuple[xr.DataTree, Timings]:
    started = time.perf_counter()
    target = _OneTrial(priors, scale_names(design), design)
    found = points(target, profile, seed, design.outcome)
    chosen = found.chosen
    beta = np.stack(
        [
            found.left.take(rows).draw(stream)
            for rows, stream in zip(chosen, found.streams, strict=True)
        ]
    )
    scalars = {name: values[chosen] for name, values in target.values(found.at).items()}
    names = [design.coefficients[column] for column in design.present]
    groups = design.nesting.coords(design.arms)
    tree = instant_tree(beta, names, scalars, found.density[chosen], groups)
    tree["sample_stats"].attrs |= found.facts
    sampled = time.perf_counter()
    if design.integrated:
        keep = profile.keeps_draws(len(design.therapists))
        add_therapist_effects(tree, _effects(tree, design, seed), design, keep_draws=keep)
    finished = time.perf_counter()
    return tree, Timings(0.0, sampled - started, finished - sampled)


def can_be_instant(design: Design) -> bool:
    """Whether the alliance is as rated, without a model of its own.

    Clinics above therapists go with Gaussian outcomes alone: elsewhere a therapist's integral would
    be within that of the clinic.
    """
    return not needs_model(design) and (design.exact or not design.clinic_effects)


def require_instant(design: Design) -> None:
    """Refuse designs that `can_be_instant` does not take.

    Raises
    ------
    InputError
    """
    if can_be_instant(design):
        return
    what, needs = f"family {design.family.name} with clinic effects", "a Gaussian outcome for these"
    if needs_model(design):
        what, needs = "latent alliance", "the alliance as rated"
        if design.moderator.structure == "within_between":
            what = "alliance within and between therapists"
    raise InputError(
        f"The instant engine does not fit {design.outcome} ({what}): it needs {needs}.",
        "Leave `engine` out; nuts fits every model.",
    )


def _parameter(name: str) -> str:
    """The prior's name of one of the target's parameters."""
    return name.split(" ")[0]


def scale_names(design: Design) -> tuple[str, ...]:
    """Names of a target's parameters, those of the residual SDs first.

    Parameters
    ----------
    design : Design
    """
    groups = design.nesting.number
    names = [RESIDUAL] if groups == 1 else [f"{RESIDUAL} {k}" for k in range(groups)]
    if "intercept" in design.effects:
        names.append("therapist_sd")
    if "slope" in design.effects:
        names += ["therapist_slope_sd", "therapist_correlation"]
    if any(effect.startswith("arm[") for effect in design.effects):
        names.append("therapist_arm_sd")
    if "intercept" in design.clinic_effects:
        names.append("clinic_sd")
    if "slope" in design.clinic_effects:
        names += ["clinic_slope_sd", "clinic_correlation"]
    return tuple(names)


def _fitted[Left: Integrated](target: Target[Left], generator: np.random.Generator) -> Mixture:
    """Proposal for SDs and correlations by name."""
    change = {"residual_sd": np.log} | dict.fromkeys(CORRELATIONS, np.arctanh)
    kinds = [_parameter(name) for name in target.names]
    start = np.array([change.get(name, np.abs)(START[name]) for name in kinds])
    bounds = [LIMITS.get(name, (-MOST_SD, MOST_SD)) for name in kinds]
    return fitted_proposal(target, start, bounds, generator)


class Folded(Protocol):
    """A log density up to a constant at points (d, k); of some coordinates only the size counts."""

    @property
    def folded(self) -> list[int]:
        """These coordinates."""
        ...

    def __call__(self, at: Array) -> Array:
        """Log density, shape (d,)."""
        ...


def fitted_proposal(
    target: Folded,
    start: Array,
    bounds: Sequence[tuple[float, float]],
    generator: np.random.Generator,
) -> Mixture:
    """Proposal: the mode and its curvature first, then moments under the weights of two pilots.

    Parameters
    ----------
    target : Folded
    start : ndarray, shape (k,)
        Where the search for the mode starts.
    bounds : sequence of (float, float)
        Of the search.
    generator : numpy.random.Generator

    Raises
    ------
    UnreliableWeightsError
        If all weight is on one point.
    """
    mode = optimize.minimize(negated(target), start, jac=True, method="L-BFGS-B", bounds=bounds).x
    mode[target.folded] = np.abs(mode[target.folded])
    proposal = Mixture(mode, factor_of(curvature_at(target, mode)), target.folded)
    for _ in range(ROUNDS):
        at = proposal.draw(max(PILOT, PILOT_EACH * len(mode)), generator)
        log_weights, _ = smoothed(target(at) - proposal.log_density(at))
        proposal = fitted_to(at, log_weights, target.folded)
    return proposal


def _effects(tree: xr.DataTree, design: Design, seed: int) -> Iterator[TherapistDraws]:
    draws = draws_of(tree)
    for chain in range(draws.sizes["chain"]):
        own = gaussian_draws(draws.isel(chain=[chain]), design)
        stream = seed_sequence(seed, "therapist_effects", design.outcome, chain)
        yield draw_therapist_effects(design, own, np.random.default_rng(stream))
