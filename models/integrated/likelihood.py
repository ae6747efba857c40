"""The likelihood of patients whose therapists' effects are integrated out numerically.

With L the lower factor of the effects' covariance, therapist j's effects are L z with z standard
normal, and

    p(y_j | rest) = integral of  prod_i p(y_i | eta_i + A_i L z)  N(z; 0, I)  dz,

over one to four dimensions. Gauss-Hermite nodes are placed where the integrand lies, therapist by
therapist and draw by draw: at its mode, in SDs of its curvature there (adaptive quadrature; Liu &
Pierce 1994, doi:10.1093/biomet/81.3.624). How many nodes are enough is found by asking more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

from alliance.models.design.design import Design
from alliance.models.families.family import ARRAYS
from alliance.models.gaussian.marginal import (
    LOG_2_PI,
    covariance_factor,
    is_zero,
    with_independent,
)
from alliance.models.integrated.kernels import Expansion, Kernel, kernel_of

Array = NDArray[np.float64]
Index = NDArray[np.int64]

LADDER = (3, 5, 7, 9, 13, 19, 27, 41)  # nodes along an axis
MOST_NODES = 2_500  # of a therapist: beyond, another engine is quicker
CLOSE = 0.25  # SDs of the prior: the last step that brings nodes near enough to the mode
MOST_STEPS = 8
MOST_FAR = 0.5  # share of draws that are far from modes, up to which others are left alone
LONGEST_STEP = 3.0  # SDs of the prior
BLOCK_NUMBERS = 60_000  # of therapists x nodes x draws: what the processor's caches hold
MODE_NUMBERS = 60_000  # of patients x draws
SAFE = 600.0  # sum of logarithms up to which factors are multiplied: their product is a number


@dataclass(frozen=True, slots=True)
class FamilyDraws:
    """Draws of a family's parameters on the standardised scale.

    Attributes
    ----------
    beta : ndarray, shape (d, p)
        Of all coefficients of the design.
    own : mapping of str to ndarray
        The family's: (d,), cutpoints (d, K - 1), residual SDs of several groups (d, G).
    therapist_sd, therapist_slope_sd, therapist_correlation, therapist_arm_sd : (d,), or None
    """

    beta: Array
    own: Mapping[str, Array]
    therapist_sd: Array | None = None
    therapist_slope_sd: Array | None = None
    therapist_correlation: Array | None = None
    therapist_arm_sd: Array | None = None

    def __len__(self) -> int:
        return len(self.beta)

    def take(self, some: slice | Index) -> FamilyDraws:
        """Some of the draws."""
        spreads = (
            self.therapist_sd,
            self.therapist_slope_sd,
            self.therapist_correlation,
            self.therapist_arm_sd,
        )
        own = {name: values[some] for name, values in self.own.items()}
        parts = [None if values is None else values[some] for values in spreads]
        return FamilyDraws(self.beta[some], own, *parts)

    def factor(self, effects: int) -> list[list[Any]]:
        """Elements (d,) of the lower factor of the covariance of so many effects."""
        if self.therapist_sd is None:
            return []
        factor: list[list[Any]] = [[self.therapist_sd]]
        if self.therapist_slope_sd is not None and self.therapist_correlation is not None:
            factor = covariance_factor(
                self.therapist_sd, self.therapist_slope_sd, self.therapist_correlation, np.sqrt
            )
        if self.therapist_arm_sd is not None:
            factor = with_independent(factor, self.therapist_arm_sd, effects - len(factor))
        return factor


@dataclass(frozen=True, slots=True)
class Centres:
    """Where each therapist's effects lie, in SDs of the prior; J therapists, d draws.

    Attributes
    ----------
    mean : list of q ndarray, shape (J, d)
    spread : nested list of ndarray, shape (J, d)
        Elements of an upper factor C of the covariance, C C'.
    log_volume : ndarray, shape (J, d)
        log|C|.
    """

    mean: list[Array]
    spread: list[list[Any]]
    log_volume: Array

    def block(self, some: slice) -> Centres:
        """A part of the draws."""
        spread = [[e if isinstance(e, float) else e[:, some] for e in row] for row in self.spread]
        return Centres([each[:, some] for each in self.mean], spread, self.log_volume[:, some])


class Patients:
    """A design's patients, ordered for sums and products within therapists.

    Parameters
    ----------
    design : Design
        Of a family that has a kernel, its moderator as observed.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        self.start: list[Array] = []  # where the modes of the effects are looked for, (J,) each
        sizes = design.patients_of_therapists * bool(design.effects)
        own = design.therapist_index < len(design.therapists)
        known = np.flatnonzero(own & bool(design.effects))
        self.alone = np.setdiff1d(np.arange(len(design.y)), known)
        # Therapists with most patients first; their first patients, then their second ones, ...
        self.seen = np.argsort(-sizes, kind="stable")[: int((sizes > 0).sum())]
        rank = np.empty(len(sizes) + 1, dtype=np.int64)
        rank[self.seen] = np.arange(len(self.seen))
        by_therapist = known[np.argsort(rank[design.therapist_index[known]], kind="stable")]
        place = np.concatenate([np.arange(size) for size in [0, *sizes[self.seen]]])
        order = np.argsort(place, kind="stable")
        self.rows = by_therapist[order]
        self.rank = rank[design.therapist_index[self.rows]]
        ends = [0, *np.cumsum(np.bincount(place)).tolist()]
        self.slots = [slice(a, b) for a, b in pairwise(ends)]
        unit = design.scale.link_unit
        self.A = unit * design.X[np.ix_(self.rows, design.effect_columns)]

    @property
    def effects(self) -> int:
        """Therapist effects q."""
        return len(self.design.effects)

    @cached_property
    def member(self) -> sparse.csr_array:
        """Which therapist (row, by rank) a patient (column) is of."""
        ones = np.ones(len(self.rows))
        places = (self.rank, np.arange(len(self.rows)))
        return sparse.csr_array((ones, places), shape=(len(self.seen), len(self.rows)))

    @cached_property
    def loaded(self) -> list[sparse.csr_array]:
        """The same with each effect's own column."""
        return [self.member @ sparse.diags_array(own) for own in self.A.T]

    @cached_property
    def squared(self) -> list[list[sparse.csr_array]]:
        """The same with products of two columns."""
        return [
            [self.loaded[a] @ sparse.diags_array(self.A[:, b]) for b in range(a + 1)]
            for a in range(self.effects)
        ]

    def predictor(self, draws: FamilyDraws, rows: Index) -> Array:
        """Without therapist effects, shape (rows, d)."""
        scale = self.design.scale
        eta = scale.link_location + scale.link_unit * (self.design.X[rows] @ draws.beta.T)
        if self.design.offset is not None:
            eta = eta + self.design.offset[rows, None]
        return np.asarray(eta)

    def own_parameters(self, draws: FamilyDraws, rows: Index) -> dict[str, Array]:
        """The family's, of each patient where they differ."""
        found = {**draws.own}
        for name, value in self.design.fixed.items():
            found[name] = np.full(len(draws), value)
        if "residual_sd" in found and found["residual_sd"].ndim > 1:
            found["residual_sd"] = found["residual_sd"].T[self.design.residual_group[rows]]
        return found

    def kernel(self, draws: FamilyDraws) -> Kernel:
        """Of the patients with therapists."""
        own = self.own_parameters(draws, self.rows)
        return kernel_of(self.design.family, self.design.y[self.rows], own, self.design.scale)


def pointwise(patients: Patients, draws: FamilyDraws, rows: Index, eta: Array) -> Array:
    """Log likelihood of some patients at predictors (rows, d), by the family's own formula."""
    design = patients.design
    own = patients.own_parameters(draws, rows)
    shaped = {
        name: values if name == "cutpoint" else np.atleast_2d(values).T
        for name, values in own.items()
    }
    found = design.family.log_likelihood(ARRAYS, design.y[rows], eta.T, shaped, design.scale)
    return np.asarray(found).T


def log_marginal(patients: Patients, draws: FamilyDraws, nodes: int) -> Array:
    """Log likelihood with the therapist effects integrated out.

    Parameters
    ----------
    patients : Patients
    draws : FamilyDraws
        d draws.
    nodes : int
        Along each axis.

    Returns
    -------
    ndarray, shape (d,)
        Minus infinity where it is not a number.
    """
    size = len(patients.rows) + len(patients.alone)
    step = max(16, MODE_NUMBERS // max(1, size))
    starts = range(0, len(draws), step)

    def part(start: int) -> Array:
        return _block(patients, draws.take(slice(start, start + step)), nodes)

    # Blocks are the same on any number of cores, and so are their last bits
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(part, starts)) if len(starts) > 1 else [part(0)]
    total = np.concatenate(found)
    return np.where(np.isfinite(total), total, -np.inf)


def _block(patients: Patients, draws: FamilyDraws, nodes: int) -> Array:
    with np.errstate(all="ignore"):
        total = np.zeros(len(draws))
        if len(patients.alone):
            eta = patients.predictor(draws, patients.alone)
            total += pointwise(patients, draws, patients.alone, eta).sum(axis=0)
        if len(patients.rows):
            eta = patients.predictor(draws, patients.rows)
            centres = find_centres(patients, draws, eta)
            total += therapist_marginals(patients, draws, eta, centres, nodes).sum(axis=0)
    return total


def find_centres(patients: Patients, draws: FamilyDraws, eta: Array) -> Centres:
    """Mode and curvature of each therapist's effects, by Newton's method.

    Parameters
    ----------
    patients : Patients
    draws : FamilyDraws
    eta : ndarray, shape (n, d)
        Predictors without the effects.
    """
    q = patients.effects
    shape, span = (len(patients.seen), len(draws)), range(q)
    z = [np.zeros(shape) for _ in span]
    if patients.start:
        z = [np.repeat(each[:, None], len(draws), axis=1) for each in patients.start]
    z, R = _newton(patients, draws, eta, z, MOST_STEPS)
    identity = [[float(a == b) for b in span] for a in span]
    columns = [solve_transposed(R, column) for column in identity]
    spread = [[columns[b][a] for b in span] for a in span]
    volume = -np.log(np.prod([R[a][a] for a in span], axis=0))
    return Centres(z, spread, volume)


def _newton(
    patients: Patients, draws: FamilyDraws, eta: Array, z: list[Array], steps: int
) -> tuple[list[Array], list[list[Array]]]:
    """Modes from z, at most so many steps away, and the lower factor of the curvature near them."""
    span = range(len(z))
    L, kernel = draws.factor(len(z)), patients.kernel(draws)
    found = kernel.slopes(_moved(patients, L, z, eta), exact=False)
    by_effect = [own @ found.score for own in patients.loaded]
    R = cholesky(information(L, patients, found.weight))
    step = solve_transposed(R, solve(R, [turned(L, by_effect, a) - z[a] for a in span]))
    sizes = [np.clip(np.nan_to_num(each), -LONGEST_STEP, LONGEST_STEP) for each in step]
    z = [own + size for own, size in zip(z, sizes, strict=True)]
    far = np.flatnonzero((np.abs(sizes) > CLOSE).any(axis=(0, 1)))
    if not len(far) or steps == 1:
        return z, R
    if len(far) > MOST_FAR * len(draws):
        return _newton(patients, draws, eta, z, steps - 1)
    some = [own[:, far] for own in z]
    others, factor = _newton(patients, draws.take(far), eta[:, far], some, steps - 1)
    for a in span:
        z[a][:, far] = others[a]
        for b in range(a + 1):
            R[a][b][:, far] = factor[a][b]
    return z, R


def _moved(patients: Patients, L: list[list[Any]], z: list[Array], eta: Array) -> Array:
    """Predictors with therapists' effects, given in SDs of their prior."""
    q = len(z)
    effect = [sum(L[a][b] * z[b] for b in range(a + 1)) for a in range(q)]
    return np.asarray(
        eta + sum(patients.A[:, a, None] * effect[a][patients.rank] for a in range(q))
    )


def turned(L: list[list[Any]], values: list[Any], a: int) -> Any:
    """Element a of L' values, L a lower factor by its elements."""
    terms = [L[c][a] * values[c] for c in range(a, len(values)) if not is_zero(L[c][a])]
    return sum(terms)


def information(L: list[list[Any]], patients: Patients, weight: Array) -> list[list[Array]]:
    """What is known of each therapist's effects, I + L'A'WAL: the lower elements, each (J, d)."""
    q = len(L)
    inner: list[list[Any]] = [[None] * q for _ in range(q)]
    for a in range(q):
        for b in range(a + 1):
            inner[a][b] = inner[b][a] = patients.squared[a][b] @ weight
    half = [[turned(L, [inner[c][b] for c in range(q)], a) for b in range(q)] for a in range(q)]
    return [[float(a == b) + turned(L, half[a], b) for b in range(a + 1)] for a in range(q)]


def cholesky(M: list[list[Array]]) -> list[list[Array]]:
    """Lower factor of a matrix by its lower elements."""
    R: list[list[Array]] = []
    for a, row in enumerate(M):
        own: list[Array] = []
        for b in range(a + 1):
            other = own if a == b else R[b]
            left = row[b] - sum(own[c] * other[c] for c in range(b))
            own.append(np.sqrt(left) if a == b else left / R[b][b])
        R.append(own)
    return R


def solve(R: list[list[Array]], right: list[Any]) -> list[Any]:
    """Solve R x = right for a lower factor by its elements."""
    x: list[Any] = []
    for a in range(len(right)):
        known = sum(R[a][b] * x[b] for b in range(a))
        x.append((right[a] - known) / R[a][a])
    return x


def solve_transposed(R: list[list[Array]], right: list[Any]) -> list[Any]:
    """Solve R'x = right for a lower factor by its elements."""
    q = len(right)
    x: list[Any] = [0.0] * q
    for a in reversed(range(q)):
        known = sum(R[b][a] * x[b] for b in range(a + 1, q))
        x[a] = (right[a] - known) / R[a][a]
    return x


def _rule(nodes: int, effects: int) -> tuple[Array, Array, Array]:
    """Nodes of one axis; all points (q, M) and the log weights of plain integration (M,)."""
    x, w = special.roots_hermitenorm(nodes)
    log_w = np.log(w) + 0.5 * x**2
    points = np.array(list(product(x, repeat=effects))).T
    weights = np.array([sum(each) for each in product(log_w, repeat=effects)])
    return x, points, weights


def therapist_marginals(
    patients: Patients, draws: FamilyDraws, eta: Array, centres: Centres, nodes: int
) -> Array:
    """Log likelihood of each therapist's patients together.

    Parameters
    ----------
    patients : Patients
    draws : FamilyDraws
    eta : ndarray, shape (n, d)
        Predictors without the effects.
    centres : Centres
    nodes : int
        Along each axis.

    Returns
    -------
    ndarray, shape (J, d)
        Of the therapists in the order of `Patients.seen`.
    """
    q, therapists = patients.effects, len(patients.seen)
    step = max(8, BLOCK_NUMBERS // (therapists * nodes**q))
    parts = []
    for start in range(0, len(draws), step):
        some = slice(start, start + step)
        own = centres.block(some)
        parts.append(_integrated(patients, draws.take(some), eta[:, some], own, nodes))
    return np.concatenate(parts, axis=1)


@dataclass(frozen=True, slots=True)
class Around:
    """A block of draws, expanded around each therapist's centre.

    Attributes
    ----------
    kernel : Kernel
    expansion : Expansion
    along : list of q ndarray, shape (n, d)
        What one step along an axis of the centre's spread adds to each patient's predictor.
    linear : list of q ndarray, shape (J, d)
        The same, summed up by the patients' powers.
    """

    kernel: Kernel
    expansion: Expansion
    along: list[Array]
    linear: list[Array]


def expand(
    patients: Patients, draws: FamilyDraws, eta: Array, centres: Centres, furthest: float
) -> Around:
    """Expand patients' log likelihoods around their therapists' centres.

    Parameters
    ----------
    patients : Patients
    draws : FamilyDraws
    eta : ndarray, shape (n, d)
        Predictors without the effects.
    centres : Centres
    furthest : float
        SDs of the centres' spread that will be asked about.
    """
    q, rank, A = patients.effects, patients.rank, patients.A
    span = range(q)
    L, kernel = draws.factor(q), patients.kernel(draws)
    # An effect is L (mean + C x)
    axes = [
        [
            sum(L[a][c] * centres.spread[c][b] for c in range(a + 1) if not is_zero(L[a][c]))
            for b in span
        ]
        for a in span
    ]
    moved = _moved(patients, L, centres.mean, eta)
    along = [_by_patient(A, [axes[a][b] for a in span], rank) for b in span]
    reach = furthest * np.abs(along).sum(axis=0)
    expansion = kernel.expansion(moved, reach)
    linear = []
    if expansion.power.any():
        sums = [own @ expansion.power for own in patients.loaded]
        linear = [sum(sums[a] * axes[a][b] for a in span) for b in span]
    return Around(kernel, expansion, along, linear)


def _integrated(
    patients: Patients, draws: FamilyDraws, eta: Array, centres: Centres, nodes: int
) -> Array:
    q = patients.effects
    span = range(q)
    x, points, log_weights = _rule(nodes, q)
    around = expand(patients, draws, eta, centres, float(np.abs(x).max()))
    total = log_products(patients, around, _on_grid(around, x), points.shape[1])
    for b, linear in enumerate(around.linear):
        total += points[b][:, None] * linear[:, None, :]
    for a in span:
        value = centres.mean[a][:, None, :]
        for b in span:
            value = value + points[b][:, None] * _middle(centres.spread[a][b])
        total -= 0.5 * value**2
    total += log_weights[:, None]
    largest = total.max(axis=1)
    sums = np.exp(total - largest[:, None, :]).sum(axis=1)
    constant = patients.member @ around.expansion.constant
    return largest + np.log(sums) + constant + centres.log_volume - 0.5 * q * LOG_2_PI


def _middle(element: Any) -> Any:
    return element if isinstance(element, float) else element[:, None, :]


def _by_patient(A: Array, axis: list[Any], rank: Index) -> Array:
    return np.asarray(
        sum(A[:, a, None] * own[rank] for a, own in enumerate(axis) if not is_zero(own))
    )


def _on_grid(around: Around, x: Array) -> Callable[[slice], Array]:
    """How far some patients' predictors move at every node of a grid, (rows, M, d)."""
    m, d = len(x), around.along[0].shape[1]
    # Along each axis, (n, m, d): sums, or products of exponentials
    if around.kernel.additive:
        unit = around.kernel.unit()
        steps = [x[:, None] * (each / unit)[:, None, :] for each in around.along]
    else:
        half = np.exp(x[m - m // 2 :, None] * np.stack(around.along)[:, :, None, :])
        ones = np.ones((len(half), half.shape[1], m % 2, d))
        steps = list(np.concatenate([1 / half[:, :, ::-1], ones, half], axis=2))
    join = np.add if around.kernel.additive else np.multiply

    def moves(rows: slice) -> Array:
        size = rows.stop - rows.start
        found = steps[0][rows]
        for each in steps[1:]:
            found = join(found[:, :, None], each[rows][:, None]).reshape(size, -1, d)
        return found if len(steps) > 1 else found.copy()

    return moves


def log_products(
    patients: Patients, around: Around, moves: Callable[[slice], Array], count: int
) -> Array:
    """Minus the sum of exponent log(factor) over each therapist's patients.

    Parameters
    ----------
    patients : Patients
    around : Around
        d draws.
    moves : callable
        From rows to what their predictors move by, or its exponential: (rows, count, d), new.
    count : int

    Returns
    -------
    ndarray, shape (J, count, d)
    """
    kernel, expansion = around.kernel, around.expansion
    shape = (len(patients.seen), count, around.along[0].shape[1])
    total, products, out = np.zeros(shape), np.ones(shape), np.empty(shape)
    together = max(1, int(SAFE / max(expansion.largest, 1.0)))
    exponent = expansion.exponent
    for number, rows in enumerate(patients.slots):
        size = rows.stop - rows.start
        factor = out[:size]
        kernel.factor(expansion.arrays, rows, moves(rows), factor)
        if kernel.logs:
            factor *= exponent[rows, None] if isinstance(exponent, np.ndarray) else exponent
            total[:size] -= factor
            continue
        products[:size] *= factor
        if (number + 1) % together == 0 or number + 1 == len(patients.slots):
            total -= np.log(products)
            products[...] = 1.0
    return total if kernel.logs else total * exponent
