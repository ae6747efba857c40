"""Where coefficients and cutpoints lie, given the spreads: mode and curvature, for many at once.

Given the spreads of therapists and the family's own parameter, coefficients, cutpoints and
therapist effects have a posterior that is close to normal. Its mode is found by Newton's method;
with the therapist effects taken out of the information (Schur complement) it gives a normal
approximation of the rest, and Laplace's of the spreads' density (Rue, Martino & Chopin 2009,
doi:10.1111/j.1467-9868.2008.00700.x). Only proposals are made of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

from alliance.models.design.design import Design
from alliance.models.families.family import FAR
from alliance.models.integrated.kernels import kernel_of
from alliance.models.integrated.likelihood import (
    FamilyDraws,
    Patients,
    cholesky,
    information,
    pointwise,
    solve,
    solve_transposed,
    turned,
)
from alliance.models.integrated.shares import Shares
from alliance.models.priors import Priors

Array = NDArray[np.float64]

MOST_STEPS = 40
CLOSE = 1e-7  # squared Newton decrement: the log density is then as near to its largest value
LONGEST = 4.0  # SDs of a step, over all coordinates
LEAST = 1e-3  # least eigenvalue of the information, of the largest: what the data say nothing of
SHRINKS = 0.25  # least share of a cube root that a step leaves


@dataclass(frozen=True, slots=True)
class Modes:
    """Modes given d values of the spreads; D coordinates, J therapists.

    Attributes
    ----------
    at : ndarray, shape (d, D)
        Coefficients that are present, then the cutpoints' coordinates.
    effects : list of q ndarray, shape (J, d)
        Of the therapists, in SDs of their prior.
    information : ndarray, shape (d, D, D)
    log_density : ndarray, shape (d,)
        Laplace's approximation of the spreads' log likelihood.
    found : ndarray of bool, shape (d,)
    """

    at: Array
    effects: list[Array]
    information: Array
    log_density: Array
    found: NDArray[np.bool_]


class Conditional:
    """What there is beside the spreads: coefficients, and cutpoints by their `Shares`.

    Parameters
    ----------
    patients : Patients
    priors : Priors
    """

    def __init__(self, patients: Patients, priors: Priors) -> None:
        design: Design = patients.design
        self.patients, self.present = patients, design.present
        self.prior_sd = design.prior_sd(priors)[self.present]
        self.shares: Shares | None = None
        if any(parameter.name == "cutpoint" for parameter in design.family.parameters):
            counts = np.bincount(design.y.astype(int), minlength=design.scale.top + 1)
            self.shares = Shares(counts.astype(float), priors.category_concentration)
        self.order = np.concatenate([patients.rows, patients.alone])
        self.X = design.scale.link_unit * design.X[np.ix_(self.order, self.present)]
        self.y = design.y[self.order]
        self.known = len(patients.rows)

    @property
    def size(self) -> int:
        """How many coordinates there are."""
        return len(self.present) + (0 if self.shares is None else len(self.shares.others))

    def start(self) -> Array:
        """Nobody differs, shape (D,)."""
        own = np.zeros(0) if self.shares is None else self.shares.start()
        return np.concatenate([np.zeros(len(self.present)), own])

    def draws(self, at: Array, spreads: FamilyDraws) -> FamilyDraws:
        """Parameters at coordinates (d, D) and spreads."""
        p = len(self.present)
        beta = np.zeros((len(at), len(self.patients.design.coefficients)))
        beta[:, self.present] = at[:, :p]
        own = dict(spreads.own)
        if self.shares is not None:
            own["cutpoint"] = self.shares.cutpoints(np.abs(at[:, p:]))
        return FamilyDraws(
            beta,
            own,
            spreads.therapist_sd,
            spreads.therapist_slope_sd,
            spreads.therapist_correlation,
            spreads.therapist_arm_sd,
        )

    def log_prior(self, at: Array) -> Array:
        """Log density of coordinates (d, D), up to a constant."""
        p = len(self.present)
        density = -0.5 * ((at[:, :p] / self.prior_sd) ** 2).sum(axis=1)
        if self.shares is not None:
            density = density + self.shares.log_prior(at[:, p:])
        return np.asarray(density)

    @cached_property
    def squares(self) -> Array:
        """Products of each patient's columns, (n, p p)."""
        return (self.X[:, :, None] * self.X[:, None, :]).reshape(len(self.X), -1)

    @cached_property
    def crossed(self) -> list[sparse.csr_array]:
        """Sums within therapists of products of an effect's column and each of X, (J p, n)."""
        patients = self.patients
        own = self.X[: self.known]
        return [
            _stacked(patients.rank, column[:, None] * own, len(patients.seen))
            for column in patients.A.T
        ]

    @cached_property
    def categories(self) -> list[sparse.csr_array]:
        """Sums within categories: of patients, of the columns of X, and of each effect's column
        within each therapist.
        """
        y, count = self.y.astype(int), len(self.y)
        top = self.patients.design.scale.top + 1
        known = slice(self.known)
        patients = self.patients
        members = [
            _one_hot(patients.rank, len(patients.seen)) * column[:, None] for column in patients.A.T
        ]
        return [
            _stacked(y, np.ones((count, 1)), top),
            _stacked(y, self.X, top),
            *(_stacked(y[known], own, top) for own in members),
        ]

    def modes(self, spreads: FamilyDraws, start: Array, effects: list[Array] | None) -> Modes:
        """Modes given the spreads.

        Parameters
        ----------
        spreads : FamilyDraws
            d values; coefficients and cutpoints are not used.
        start : ndarray, shape (d, D)
        effects : list of q ndarray, shape (J, d), optional
            Where the therapists' effects are looked for first.
        """
        patients = self.patients
        q, count = patients.effects, len(spreads)
        at = start.copy()
        z = effects or [np.zeros((len(patients.seen), count)) for _ in range(q)]
        L = spreads.factor(q)
        with np.errstate(all="ignore"):
            for _ in range(MOST_STEPS):
                step, z_step, _, _ = self._step(at, z, L, spreads)
                size = np.where(np.isfinite(step.decrement), step.decrement, np.inf)
                scale = np.minimum(1.0, LONGEST / np.sqrt(np.maximum(size, 1e-300)))
                if self.shares is not None:
                    scale = scale * self._room(at, step.change * scale[:, None])
                moving = np.isfinite(scale) & (size < np.inf)
                at = at + np.where(moving, scale, 0.0)[:, None] * np.where(
                    moving[:, None], step.change, 0.0
                )
                scale = np.where(moving, scale, 0.0)
                z = [
                    own + scale * np.where(moving, move, 0.0)
                    for own, move in zip(z, z_step, strict=True)
                ]
                if ((size < CLOSE) | ~moving).all():
                    break
            step, _, log_determinant, value = self._step(at, z, L, spreads)
        sign, size = np.linalg.slogdet(step.information)
        density = value - 0.5 * size - 0.5 * log_determinant
        found = (step.decrement < CLOSE) & np.isfinite(density) & (sign > 0)
        return Modes(at, z, step.information, np.where(found, density, -np.inf), found)

    def _room(self, at: Array, change: Array) -> Array:
        """How much of a step keeps shares positive, (d,)."""
        p = len(self.present)
        own, move = at[:, p:], change[:, p:]
        down = np.where(move < 0, (1 - SHRINKS) * own / np.maximum(-move, 1e-300), np.inf)
        room = np.minimum(1.0, down.min(axis=1))
        for _ in range(20):
            rest = 1 - ((own + room[:, None] * move) ** 3).sum(axis=1)
            enough = rest > SHRINKS**3 * (1 - (own**3).sum(axis=1))
            if enough.all():
                break
            room = np.where(enough, room, room / 2)
        return room

    def _step(
        self, at: Array, z: list[Array], L: list[list[Any]], spreads: FamilyDraws
    ) -> tuple[_Step, list[Array], Array, Array]:
        patients, p = self.patients, len(self.present)
        q, d = patients.effects, len(at)
        span = range(q)
        draws = self.draws(at, spreads)
        eta = patients.predictor(draws, self.order)
        effect = [sum(L[a][b] * z[b] for b in range(a + 1)) for a in span]
        if q:
            A = patients.A
            moved = sum(A[:, a, None] * effect[a][patients.rank] for a in span)
            eta[: self.known] += moved
        own = patients.own_parameters(draws, self.order)
        kernel = kernel_of(patients.design.family, self.y, own, patients.design.scale)
        slopes = kernel.slopes(eta, exact=True)
        known = slice(self.known)
        score, weight = slopes.score[known], slopes.weight[known]
        gradient = (self.X.T @ slopes.score).T - at[:, :p] / self.prior_sd**2
        inside = (slopes.weight.T @ self.squares).reshape(d, p, p) + np.diag(self.prior_sd**-2.0)
        therapists = len(patients.seen)
        across = [
            (cross @ weight).reshape(therapists, p, d).transpose(2, 1, 0) for cross in self.crossed
        ]
        if self.shares is not None:
            ordered = _Ordered(self, own["cutpoint"].T, eta)
            by_cut, first, second = (
                ordered.gradient,
                *self.shares.chain(at[:, p:], ordered.gradient),
            )
            prior, prior_information = self.shares.prior_slopes(at[:, p:])
            gradient = np.hstack([gradient, np.einsum("dka,dk->da", first, by_cut) + prior])
            cut = first.mT @ ordered.information @ first - second + prior_information
            side = first.mT @ ordered.by_coefficient
            inside = np.concatenate(
                [np.concatenate([inside, side.mT], axis=2), np.concatenate([side, cut], axis=2)],
                axis=1,
            )
            across = [
                np.concatenate([one, first.mT @ two], axis=1)
                for one, two in zip(across, ordered.by_effect, strict=True)
            ]
        value = self.log_prior(at) + self._likelihood(draws, eta)
        right, log_determinant = gradient, np.zeros(d)
        R: list[list[Array]] = []
        V: list[Array] = []
        w: list[Array] = []
        if q:
            by_effect = [loaded @ score for loaded in patients.loaded]
            g = [turned(L, by_effect, a) - z[a] for a in span]
            R = cholesky(information(L, patients, weight))
            # (D, J) blocks of the information between coordinates and effects, then R^-1 of them
            turned_across = [
                turned([[_wide(e) for e in row] for row in L], across, a) for a in span
            ]
            V = solve([[_swap(e) for e in row] for row in R], turned_across)
            w = solve(R, g)
            for a in span:
                inside = inside - V[a] @ V[a].mT
                right = right - (V[a] @ w[a].T[:, :, None])[:, :, 0]
                log_determinant = log_determinant + 2 * np.log(R[a][a]).sum(axis=0)
                value = value - 0.5 * (z[a] ** 2).sum(axis=0)
        inside = _positive(inside)
        change = np.linalg.solve(inside, right[:, :, None])[:, :, 0]
        decrement = (change * right).sum(axis=1) + sum((own**2).sum(axis=0) for own in w)
        z_step: list[Array] = []
        if q:
            left = [w[a] - (V[a].mT @ change[:, :, None])[:, :, 0].T for a in span]
            z_step = solve_transposed(R, left)
        return _Step(change, inside, decrement), z_step, log_determinant, value

    def _likelihood(self, draws: FamilyDraws, eta: Array) -> Array:
        found = pointwise(self.patients, draws, self.order, eta)
        return np.asarray(found.sum(axis=0))


@dataclass(frozen=True, slots=True)
class _Step:
    change: Array
    information: Array
    decrement: Array


class _Ordered:
    """Derivatives of an ordinal likelihood with respect to its cutpoints."""

    def __init__(self, conditional: Conditional, cutpoints: Array, eta: Array) -> None:
        ends = np.full((1, eta.shape[1]), FAR)
        padded = np.concatenate([-ends, cutpoints, ends])
        y, count = conditional.y.astype(int), len(cutpoints)
        above, below = special.expit(padded[y + 1] - eta), special.expit(padded[y] - eta)
        chance = np.maximum(above - below, np.finfo(float).tiny)
        up, low = above * (1 - above), below * (1 - below)
        by_up, by_low = up / chance, -low / chance
        # Minus the second derivatives, by the two ends; each end moves as minus the predictor
        both = by_up * by_low
        upper = by_up**2 - by_up * (1 - 2 * above)
        lower = by_low**2 - by_low * (1 - 2 * below)
        is_up, by_column, *by_member = conditional.categories
        sums_up = (is_up @ by_up)[:count]
        sums_low = (is_up @ by_low)[1:]
        self.gradient = (sums_up + sums_low).T
        d = eta.shape[1]
        information = np.zeros((d, count, count))
        diagonal = np.arange(count)
        information[:, diagonal, diagonal] = ((is_up @ upper)[:count] + (is_up @ lower)[1:]).T
        beside = (is_up @ both)[1:-1].T if count > 1 else np.zeros((d, 0))
        information[:, diagonal[:-1], diagonal[1:]] = beside
        information[:, diagonal[1:], diagonal[:-1]] = beside
        self.information = information
        from_up, from_low = -(upper + both), -(lower + both)
        self.by_coefficient = _by_ends(by_column, from_up, from_low, count + 1)
        known = conditional.known
        self.by_effect = [
            _by_ends(own, from_up[:known], from_low[:known], count + 1) for own in by_member
        ]


def _one_hot(rank: NDArray[np.int64], size: int) -> Array:
    return (rank[:, None] == np.arange(size)).astype(float)


def _by_ends(cells: sparse.csr_array, from_up: Array, from_low: Array, categories: int) -> Array:
    """Sums over patients, by the cutpoint above and the one below them, (d, K - 1, c)."""
    up, low = (
        (cells @ values).reshape(categories, -1, values.shape[1]) for values in (from_up, from_low)
    )
    return np.asarray((up[:-1] + low[1:]).transpose(2, 0, 1))


def _stacked(group: NDArray[np.int64], columns: Array, groups: int) -> sparse.csr_array:
    """Sums of columns (n, c) within groups, as a matrix (groups c, n)."""
    n, c = columns.shape
    row = (group[:, None] * c + np.arange(c)).ravel()
    place = np.repeat(np.arange(n), c)
    return sparse.csr_array((columns.ravel(), (row, place)), shape=(groups * c, n))


def _wide(element: Any) -> Any:
    """An element (d,) beside blocks (d, D, J)."""
    return element if isinstance(element, float) else element[:, None, None]


def _swap(element: Array) -> Array:
    """An element (J, d) beside blocks (d, D, J)."""
    return element.T[:, None, :]


def _positive(information: Array) -> Array:
    """The nearest of matrices that are positive definite enough to be inverted."""
    try:
        np.linalg.cholesky(information)
    except np.linalg.LinAlgError:
        pass
    else:
        return information
    safe = np.nan_to_num(information, posinf=1e12, neginf=-1e12)
    safe = (safe + safe.mT) / 2
    values, vectors = np.linalg.eigh(safe)
    least = np.maximum(LEAST, 1e-10 * values[:, -1:])
    if (values >= least).all():
        return safe
    return np.asarray((vectors * np.maximum(values, least)[:, None, :]) @ vectors.mT)
