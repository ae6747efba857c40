"""Families without a closed form, without compiling: importance sampling of all but the therapists.

Therapist effects are integrated out numerically (`models.integrated.likelihood`). The spreads (of
therapists, and the family's own parameter) are proposed as those of the Gaussian model are: from a
folded mixture of multivariate t distributions. Given them, coefficients and cutpoints are close to
normal; their proposal's mean and covariance follow the spreads by quadratic surfaces, which are
fitted to modes at a few dozen values of the spreads (`models.integrated.modes`). A pilot corrects
both, and finds how many nodes the integral needs. What is integrated is checked on the draws that
are kept, with more nodes.

Therapists' effects are drawn afterwards given everything else.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import special

from alliance.inference.draws.datatree import Timings, add_therapist_effects, instant_tree
from alliance.inference.sampling.importance import (
    GOOD_K,
    PER_DRAW,
    PILOT,
    SCALE,
    WORST_CONDITION,
    Mixture,
    UnreliableIntegralError,
    UnreliableWeightsError,
    factor_of,
    resampled,
    slopes_at,
    smoothed,
)
from alliance.inference.sampling.profiles import SamplerProfile, seed_sequence
from alliance.models.design.design import Design
from alliance.models.families.family import GAMMA
from alliance.models.gaussian.gaussian_draws import TherapistDraws
from alliance.models.integrated.effects import draw_effects
from alliance.models.integrated.likelihood import (
    LADDER,
    MOST_NODES,
    FamilyDraws,
    Patients,
    log_marginal,
)
from alliance.models.integrated.modes import Conditional, Modes
from alliance.models.priors import Priors

Array = NDArray[np.float64]

CLOSE_ENOUGH = 1e-4  # error of the log likelihood that the checked draws may have
AIMED_AT = 1e-4  # the same of a pilot's, when nodes are first chosen
ROUGHLY = 0.05  # error of the proposals' weights: those that are kept are weighed again
CHECKED = 64  # draws that the integral is checked on
TRIED = np.array([1.0, 0.5, 0.2, 0.05, 0.0])  # of a Newton step: the best is taken
SPARE_POINTS = 12  # modes beyond those that a surface needs
WIDEST = {"therapist_correlation": 0.8}  # SD of a first proposal; else `WIDEST_LOG`, or a prior's
WIDEST_LOG = 1.0
SURFACE = 1.3  # SDs of the spreads among which surfaces are fitted
FURTHEST = 3.0  # SDs of the spreads at which surfaces end: beyond, they are as at their edge
RIDGE = 1e-3
TAILS = 12  # degrees of freedom of coefficients given the spreads
WIDE_SHARE, WIDE = 0.2, 1.5  # of their proposals, with SDs 1 + 1.5 / sqrt(their number) as wide
TRUSTED = 10  # effective pilots per coordinate that count as much as the modes' covariance
REFITS = 2  # proposals that are fitted anew where weights are unreliable
MOST_STEPS, LONGEST, NEAR = 12, 1.0, 0.3  # of Newton: number, units, and SDs: a pilot follows

# Scales and what they are searched between; log but for folded and Fisher's
FOLDED = ("therapist_sd", "therapist_slope_sd", "therapist_arm_sd", "overdispersion")
START = {
    "residual_sd": np.log(0.7),
    "degrees_of_freedom": np.log(8.0),
    "precision": np.log(10.0),
    "overdispersion": 0.5,
    "therapist_sd": 0.2,
    "therapist_slope_sd": 0.15,
    "therapist_arm_sd": 0.1,
    "therapist_correlation": 0.0,
}
LIMITS = {
    "residual_sd": (-6.0, 2.0),
    "degrees_of_freedom": (-1.5, 6.0),
    "precision": (-4.0, 8.0),
    "overdispersion": (-5.0, 5.0),
    "therapist_sd": (-3.0, 3.0),
    "therapist_slope_sd": (-3.0, 3.0),
    "therapist_arm_sd": (-3.0, 3.0),
    "therapist_correlation": (-4.0, 4.0),
}


def _parameter(name: str) -> str:
    return name.split(" ")[0]


def spread_names(design: Design) -> tuple[str, ...]:
    """What is proposed first: the family's own scalar parameters, and the therapists' spreads."""
    names = []
    for parameter in design.family.parameters:
        if parameter.name == "cutpoint" or parameter.name in design.fixed:
            continue
        if parameter.name == "residual_sd" and design.nesting.number > 1:
            names += [f"residual_sd {k}" for k in range(design.nesting.number)]
        else:
            names.append(parameter.name)
    if "intercept" in design.effects:
        names.append("therapist_sd")
    if "slope" in design.effects:
        names += ["therapist_slope_sd", "therapist_correlation"]
    if any(effect.startswith("arm[") for effect in design.effects):
        names.append("therapist_arm_sd")
    return tuple(names)


@dataclass(frozen=True, slots=True)
class _Spreads:
    """Spreads at points (d, k): logarithms, sizes with a sign, Fisher's z of the correlation."""

    design: Design
    priors: Priors
    names: tuple[str, ...]

    @property
    def folded(self) -> list[int]:
        """Columns of the parameters with a sign."""
        return [k for k, name in enumerate(self.names) if name in FOLDED]

    def widest(self) -> Array:
        """SDs that a posterior hardly has, shape (k,): where it bends the wrong way at its mode."""
        return np.array(
            [
                getattr(self.priors, name)
                if name in FOLDED
                else WIDEST.get(_parameter(name), WIDEST_LOG)
                for name in self.names
            ]
        )

    def values(self, at: Array) -> dict[str, Array]:
        """By name; residual SDs of several groups (d, G)."""
        found: dict[str, Array] = {}
        groups = []
        for name, column in zip(self.names, at.T, strict=True):
            if name in FOLDED:
                found[name] = np.abs(column)
            elif name == "therapist_correlation":
                found[name] = np.tanh(column)
            elif name != _parameter(name):
                groups.append(np.exp(column))
            else:
                found[name] = np.exp(column)
        if groups:
            found["residual_sd"] = np.stack(groups, axis=-1)
        return found

    def draws(self, at: Array) -> FamilyDraws:
        """Without coefficients."""
        values = self.values(at)
        theirs = {name: values.pop(name) for name in list(values) if name.startswith("therapist_")}
        return FamilyDraws(np.zeros((len(at), 0)), values, **theirs)

    def log_prior(self, at: Array) -> Array:
        """Up to a constant, with the Jacobians, shape (d,)."""
        density = np.zeros(len(at))
        for name, column in zip(self.names, at.T, strict=True):
            kind = _parameter(name)
            if kind == "therapist_correlation":
                # (1 - r^2)^(shape - 1) and the Jacobian 1 - r^2 = cosh(z)^-2
                log_cosh = np.logaddexp(column, -column) - np.log(2)
                density = density - 2 * self.priors.therapist_correlation * log_cosh
            elif kind in ("degrees_of_freedom", "precision"):
                density = density + GAMMA["alpha"] * column - GAMMA["beta"] * np.exp(column)
            else:
                value = column if kind in FOLDED else np.exp(column)
                density = density - 0.5 * (value / getattr(self.priors, kind)) ** 2
                if kind not in FOLDED:
                    density = density + column
        return density


@dataclass(frozen=True, slots=True)
class _Surfaces:
    """Mean and covariance of the other coordinates, as quadratic functions of the spreads.

    Attributes
    ----------
    centre : ndarray, shape (k,)
    factor : ndarray, shape (k, k)
        Lower factor by which spreads are made standard.
    mean : ndarray, shape (T, D)
    covariance : ndarray, shape (T, D (D + 1) / 2)
        Of the lower factor's elements, the diagonal's by their logarithms.
    """

    centre: Array
    factor: Array
    mean: Array
    covariance: Array

    def at(self, spreads: Array) -> tuple[Array, Array]:
        """Means (d, D) and lower factors (d, D, D) at spreads (d, k)."""
        terms = _terms(_standard(spreads, self.centre, self.factor))
        size = self.mean.shape[1]
        factors = np.zeros((len(spreads), size, size))
        factors[:, *np.tril_indices(size)] = terms @ self.covariance
        diagonal = np.arange(size)
        factors[:, diagonal, diagonal] = np.exp(factors[:, diagonal, diagonal])
        return terms @ self.mean, factors


def _standard(spreads: Array, centre: Array, factor: Array) -> Array:
    if not len(centre):
        return spreads
    away = np.linalg.solve(factor, (spreads - centre).T).T
    length = np.linalg.norm(away, axis=1, keepdims=True)
    return np.asarray(away * np.minimum(1.0, FURTHEST / np.maximum(length, 1e-12)))


def _terms(x: Array) -> Array:
    """1, each coordinate, and their products, shape (d, T)."""
    k = x.shape[1]
    pairs = [x[:, a] * x[:, b] for a in range(k) for b in range(a + 1)]
    return np.column_stack([np.ones(len(x)), x, *pairs])


def _surfaces(spreads: Array, modes: Modes, centre: Array, factor: Array) -> _Surfaces:
    kept = modes.found
    x = _terms(_standard(spreads[kept], centre, factor))
    # The covariance's lower factor is the transposed inverse of the information's, turned
    turned = np.linalg.cholesky(np.linalg.inv(modes.information[kept]))
    size = turned.shape[1]
    diagonal = np.arange(size)
    turned[:, diagonal, diagonal] = np.log(turned[:, diagonal, diagonal])
    elements = turned[:, *np.tril_indices(size)]
    gram = x.T @ x + RIDGE * np.eye(x.shape[1])
    return _Surfaces(
        centre,
        factor,
        np.linalg.solve(gram, x.T @ modes.at[kept]),
        np.linalg.solve(gram, x.T @ elements),
    )


@dataclass(frozen=True, slots=True)
class _Proposal:
    """Spreads from a mixture; the others normal around surfaces, with heavier tails.

    Attributes
    ----------
    spreads : Mixture or None
        None where there are none.
    surfaces : _Surfaces
    shift : ndarray, shape (D,)
        Of the others, in the surfaces' SDs.
    stretch : ndarray, shape (D, D)
        Lower factor of their covariance there.
    """

    spreads: Mixture | None
    surfaces: _Surfaces
    shift: Array
    stretch: Array

    def draw(self, number: int, generator: np.random.Generator) -> _Points:
        """Points with their log densities, up to a constant."""
        if self.spreads is None:
            spreads, density = np.zeros((number, 0)), np.zeros(number)
        else:
            spreads = self.spreads.draw(number, generator)
            density = self.spreads.log_density(spreads)
        size = len(self.shift)
        normal = generator.standard_normal((number, size))
        tails = np.sqrt(TAILS / generator.chisquare(TAILS, number))
        width = 1 + WIDE / np.sqrt(max(size, 1))
        wide = np.where(generator.random(number) < WIDE_SHARE, width, 1.0)
        away = normal * (tails * wide)[:, None]
        mean, factors = self.surfaces.at(spreads)
        standard = self.shift + away @ self.stretch.T
        others = mean + (factors @ standard[:, :, None])[:, :, 0]
        diagonal = np.arange(size)
        distance = (away**2).sum(axis=1)
        terms = [
            np.log(share)
            - size * np.log(sd)
            - (TAILS + size) / 2 * np.log1p(distance / (TAILS * sd**2))
            for share, sd in ((1 - WIDE_SHARE, 1.0), (WIDE_SHARE, width))
        ]
        density = density + special.logsumexp(terms, axis=0)
        density = density - np.log(factors[:, diagonal, diagonal]).sum(axis=1)
        return _Points(spreads, others, standard, density)

    def refitted(self, points: _Points, log_weights: Array) -> _Proposal:
        """The proposal with moments of weighted points."""
        spreads = self.spreads
        if spreads is not None:
            spreads = _refitted(spreads, points.spreads, log_weights)
        shift, stretch = _blended(points.standard, log_weights, self.shift, self.stretch, 1.0)
        return _Proposal(spreads, self.surfaces, shift, stretch)


@dataclass(frozen=True, slots=True)
class _Points:
    """Proposed spreads (d, k) and others (d, D), these also in the surfaces' SDs; log density."""

    spreads: Array
    others: Array
    standard: Array
    density: Array

    def take(self, some: NDArray[np.int64]) -> _Points:
        return _Points(
            self.spreads[some], self.others[some], self.standard[some], self.density[some]
        )

    @staticmethod
    def together(parts: list[_Points]) -> _Points:
        names = ("spreads", "others", "standard", "density")
        return _Points(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _refitted(mixture: Mixture, at: Array, log_weights: Array) -> Mixture:
    """A mixture with moments of weighted points."""
    centre, factor = _blended(at, log_weights, mixture.centre, mixture.factor, SCALE)
    return replace(mixture, centre=centre, factor=factor)


def _blended(
    at: Array, log_weights: Array, centre: Array, factor: Array, scale: float
) -> tuple[Array, Array]:
    """Centre and factor between those at hand and those of weighted points, as far as these count.

    Raises
    ------
    UnreliableWeightsError
        If all weight is on one point, or nowhere.
    """
    weights = np.exp(log_weights)
    effective = 1 / (weights**2).sum()
    if not np.isfinite(effective):
        raise UnreliableWeightsError(np.inf)
    trust = effective / (effective + TRUSTED * max(len(centre), 1))
    mean = weights @ at
    away = at - mean
    covariance = trust * scale * (weights[:, None] * away).T @ away
    covariance = covariance + (1 - trust) * factor @ factor.T
    if not np.linalg.cond(covariance) < WORST_CONDITION:
        raise UnreliableWeightsError(np.inf)
    return trust * mean + (1 - trust) * centre, np.linalg.cholesky(covariance)


class _Target:
    """The posterior of everything but therapists' effects."""

    def __init__(self, design: Design, priors: Priors) -> None:
        self.patients = Patients(design)
        self.spreads = _Spreads(design, priors, spread_names(design))
        self.conditional = Conditional(self.patients, priors)
        self.nodes = self.rough = LADDER[0] if design.effects else 1
        self._near: tuple[Array, list[Array]] | None = None

    def draws(self, points: _Points) -> FamilyDraws:
        return self.conditional.draws(points.others, self.spreads.draws(points.spreads))

    def modes(self, spreads: Array) -> Modes:
        """Modes at spreads (d, k), looked for where the last ones were."""
        count = len(spreads)
        start, effects = self.conditional.start(), None
        if self._near is not None:
            start = self._near[0]
            effects = [np.repeat(each[:, None], count, axis=1) for each in self._near[1]]
        found = self.conditional.modes(
            self.spreads.draws(spreads), np.tile(start, (count, 1)), effects
        )
        best = int(found.log_density.argmax())
        if found.found[best]:
            self._near = found.at[best], [each[:, best] for each in found.effects]
            self.patients.start = self._near[1]
        return found

    def laplace(self, spreads: Array) -> Array:
        """Approximate log density of spreads (d, k), up to a constant."""
        return self.modes(spreads).log_density + self.spreads.log_prior(spreads)

    def __call__(self, points: _Points, nodes: int) -> Array:
        """Log density up to a constant, shape (d,), by so many nodes."""
        density = self.spreads.log_prior(points.spreads)
        density = density + self.conditional.log_prior(points.others)
        there = np.flatnonzero(np.isfinite(density))
        density[there] += log_marginal(self.patients, self.draws(points.take(there)), nodes)
        return np.asarray(density)

    def error(self, points: _Points) -> float:
        """Largest change of the log likelihood with the next number of nodes."""
        draws = self.draws(points)
        each = (self.nodes, self.more_nodes)
        own, other = (log_marginal(self.patients, draws, nodes) for nodes in each)
        return float(np.max(np.abs(own - other)))

    @property
    def more_nodes(self) -> int:
        """The next number of nodes."""
        return LADDER[LADDER.index(self.nodes) + 1]

    def add_nodes(self) -> bool:
        """Take the next number of nodes, and whether it and the one beyond are not too many."""
        place = LADDER.index(self.nodes) + 1
        if place + 1 >= len(LADDER) or LADDER[place + 1] ** self.patients.effects > MOST_NODES:
            return False
        self.nodes = LADDER[place]
        return True

    def choose_nodes(self, points: _Points) -> None:
        """Take so many nodes that more would change nothing at these points.

        Proposals do with fewer: an error that all of them share does not matter, and what is left
        of it is taken out of those that are kept.
        """
        if not self.patients.effects:
            return
        draws = self.draws(points)
        by = cache(lambda nodes: log_marginal(self.patients, draws, nodes))
        while np.max(np.abs(by(self.nodes) - by(self.more_nodes))) > AIMED_AT and self.add_nodes():
            pass
        enough = (
            nodes
            for nodes in LADDER[: LADDER.index(self.nodes) + 1]
            if np.ptp(by(nodes) - by(self.nodes)) < ROUGHLY
        )
        self.rough = next(enough)


def instant_family(
    design: Design, priors: Priors, profile: SamplerProfile, seed: int
) -> tuple[xr.DataTree, Timings]:
    """Draw from the posterior of one outcome; see `inference.sampling.instant.instant_outcome`.

    Raises
    ------
    UnreliableWeightsError
    """
    started = time.perf_counter()
    target = _Target(design, priors)
    pilot, *streams = (
        np.random.default_rng(seed_sequence(seed, "sampling", design.outcome, chain))
        for chain in range(profile.chains + 1)
    )
    proposal = _fitted(target, pilot)
    number = PER_DRAW * profile.draws
    points, density, log_weights, pareto_k = _weighed(target, proposal, number, streams)
    for _ in range(REFITS):
        if pareto_k <= GOOD_K:
            break
        proposal = proposal.refitted(points, log_weights)
        points, density, log_weights, pareto_k = _weighed(target, proposal, number, streams)
    if not pareto_k <= GOOD_K:
        raise UnreliableWeightsError(pareto_k)
    chosen = _chosen(log_weights, profile, streams)
    kept, lp, error = _weighed_again(target, points.take(chosen.ravel()), density[chosen], streams)
    draws = target.draws(kept)
    scalars = {
        name: values.reshape(*chosen.shape, *values.shape[1:])
        for name, values in target.spreads.values(kept.spreads).items()
    }
    names = [design.coefficients[column] for column in design.present]
    beta = draws.beta[:, design.present].reshape(*chosen.shape, -1)
    cutpoints = draws.own.get("cutpoint")
    tree = instant_tree(
        beta,
        names,
        scalars,
        lp,
        design.nesting.coords(design.arms),
        None if cutpoints is None else cutpoints.reshape(*chosen.shape, -1),
    )
    statistics = tree["sample_stats"].attrs
    statistics["pareto_k"] = pareto_k
    statistics["effective_draws"] = float(1 / (np.exp(log_weights) ** 2).sum())
    statistics["proposals"] = int(log_weights.size)
    if design.effects:
        statistics["nodes"] = target.nodes
        statistics["integration_error"] = error
    sampled = time.perf_counter()
    if design.effects:
        keep = profile.keeps_draws(len(design.therapists))
        effects = _effects(target, draws, design, profile, seed)
        add_therapist_effects(tree, effects, design, keep_draws=keep)
    finished = time.perf_counter()
    return tree, Timings(0.0, sampled - started, finished - sampled)


def _weighed_again(
    target: _Target, kept: _Points, density: Array, streams: list[np.random.Generator]
) -> tuple[_Points, Array, float]:
    """Points that were kept by rough weights, by what these were off: few change.

    Parameters
    ----------
    target : _Target
    kept : _Points
        Chain after chain.
    density : ndarray, shape (chain, draw)
        Rough log densities.
    streams : list of numpy.random.Generator

    Returns
    -------
    _Points
    ndarray, shape (chain, draw)
        Log densities.
    float
        Largest error of these, among some.

    Raises
    ------
    UnreliableIntegralError
    """
    if not target.patients.effects:
        return kept, density, 0.0
    sample = np.linspace(0, density.size - 1, CHECKED).round().astype(int)
    while not (error := target.error(kept.take(sample))) <= CLOSE_ENOUGH:
        if not target.add_nodes():
            raise UnreliableIntegralError(error)
    fine = target(kept, target.nodes).reshape(density.shape)
    away = np.exp(fine - density - (fine - density).max())
    places = np.stack(
        [
            chain * len(own) + resampled(own, len(own), stream)
            for chain, (own, stream) in enumerate(zip(away, streams, strict=True))
        ]
    )
    return kept.take(places.ravel()), fine.ravel()[places], error


def _weighed(
    target: _Target, proposal: _Proposal, number: int, streams: list[np.random.Generator]
) -> tuple[_Points, Array, Array, float]:
    """So many points of each stream: their log densities, log weights, and Pareto k."""
    points = _Points.together([proposal.draw(number, stream) for stream in streams])
    density = target(points, target.rough)
    return points, density, *smoothed(density - points.density)


def _chosen(
    log_weights: Array, profile: SamplerProfile, streams: list[np.random.Generator]
) -> NDArray[np.int64]:
    """Positions of the points that are kept, (chain, draw): each chain's from its own."""
    weights = np.exp(log_weights).reshape(profile.chains, -1)
    return np.stack(
        [
            chain * weights.shape[1] + resampled(own, profile.draws, stream)
            for chain, (own, stream) in enumerate(zip(weights, streams, strict=True))
        ]
    )


def _effects(
    target: _Target, draws: FamilyDraws, design: Design, profile: SamplerProfile, seed: int
) -> Iterator[TherapistDraws]:
    for chain in range(profile.chains):
        own = draws.take(slice(chain * profile.draws, (chain + 1) * profile.draws))
        stream = seed_sequence(seed, "therapist_effects", design.outcome, chain)
        effect = draw_effects(target.patients, own, np.random.default_rng(stream))
        yield TherapistDraws(effect, None)


def _fitted(target: _Target, generator: np.random.Generator) -> _Proposal:
    """Proposal: modes and surfaces first, then the moments of a pilot's weighted points."""
    spreads = target.spreads
    size = target.conditional.size
    if spreads.names:
        mode, factor = _search(target)
        first = Mixture(mode, factor, spreads.folded)
        number = 2 * len(_terms(np.zeros((1, len(mode))))[0]) + SPARE_POINTS
        at = first.draw(number, generator)
        modes = target.modes(at)
        density = modes.log_density + spreads.log_prior(at) - first.log_density(at)
        centre, factor = _blended(at, density - special.logsumexp(density), mode, factor, SCALE)
        mixture: Mixture | None = Mixture(centre, factor, spreads.folded)
    else:
        centre, factor, mixture = np.zeros(0), np.zeros((0, 0)), None
        at = np.zeros((1, 0))
        modes = target.modes(at)
    if modes.found.sum() < 1 + len(centre) * (len(centre) + 3) // 2:
        raise UnreliableWeightsError(np.inf)
    surfaces = _surfaces(at, modes, centre, factor)
    proposal = _Proposal(mixture, surfaces, np.zeros(size), np.eye(size))
    points = proposal.draw(PILOT, generator)
    log_weights, _ = smoothed(target(points, target.rough) - points.density)
    chosen = resampled(np.exp(log_weights), CHECKED, generator)
    target.choose_nodes(points.take(np.unique(chosen)))
    return proposal.refitted(points, log_weights)


def _search(target: _Target) -> tuple[Array, Array]:
    """Mode of the spreads, and the factor of the covariance that its curvature stands for.

    Newton's method, derivatives by differences: all points of a step are evaluated at once.
    """
    spreads = target.spreads
    kinds = [_parameter(name) for name in spreads.names]
    at = np.array([START[kind] for kind in kinds])
    widest = spreads.widest()
    low, high = np.array([LIMITS[kind] for kind in kinds]).T
    target.modes(at[None])  # from where those of its neighbours are near
    for _ in range(MOST_STEPS):
        gradient, curvature = slopes_at(target.laplace, at)
        if not np.isfinite(gradient).all():
            raise UnreliableWeightsError(np.inf)
        factor = widest[:, None] * factor_of(widest[:, None] * curvature * widest, 1.0)
        step = factor @ (factor.T @ gradient)
        size = np.linalg.norm(factor.T @ gradient)
        step *= min(1.0, LONGEST / max(float(np.abs(step).max()), LONGEST))
        tried = np.clip(at + TRIED[:, None] * step, low, high)
        tried[:, spreads.folded] = np.abs(tried[:, spreads.folded])
        at = tried[int(target.laplace(tried).argmax())]
        if size < NEAR:
            break
    return at, factor
