"""What numerical integration needs of a family: slopes at a point, and products over patients.

Every family's log likelihood of one patient, as a function of how far ``d`` the predictor lies from
where the therapist's effects are expected, is

    constant + power d - exponent log(factor(d)),

so that a therapist's patients are multiplied before a logarithm is taken, and exponentials of
``d`` are products of those along each axis of the nodes: no transcendental function is called for
each node and patient.

Arrays have patients first and draws last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special

from alliance.data_prep.errors import InputError
from alliance.models.families.events_and_counts import LEAST_OVERDISPERSION
from alliance.models.families.family import ARRAYS, FAR, Family, Scale

Array = NDArray[np.float64]
MOST_PAIRS = 40  # of a bounded score's factors; beyond, gamma functions are cheaper


@dataclass(frozen=True, slots=True)
class Expansion:
    """A block's log likelihood around expected predictors; n patients, d draws.

    Attributes
    ----------
    constant : ndarray, shape (n, d)
    power : ndarray, shape (n, 1)
    exponent : float, or ndarray of shape (d,) or (n, d)
        One of each patient (n, d) is applied before patients are multiplied.
    arrays : tuple of ndarray, shape (n, d)
        What `Kernel.factor` takes.
    largest : float
        Bound on the size of a factor's logarithm.
    """

    constant: Array
    power: Array
    exponent: float | Array
    arrays: tuple[Array, ...]
    largest: float


@dataclass(frozen=True, slots=True)
class Slopes:
    """Derivatives of each patient's log likelihood.

    Attributes
    ----------
    score : ndarray, shape (n, d)
        With respect to the predictor.
    weight : ndarray, shape (n, d)
        Minus the second one or what is expected of it: positive.
    """

    score: Array
    weight: Array


class Kernel(Protocol):
    """One family, at a block of its parameters' draws.

    Attributes
    ----------
    additive : bool
        Whether `factor` takes ``d`` itself and not its exponential, in units of `unit`.
    logs : bool
        Whether `factor` gives logarithms.
    """

    additive: bool
    logs: bool

    def slopes(self, eta: Array, *, exact: bool) -> Slopes:
        """Derivatives at predictors (n, d); where not `exact`, near enough to place nodes."""

    def unit(self) -> Array | float:
        """What predictors are divided by, shape (n or 1, d)."""

    def expansion(self, eta: Array, reach: Array) -> Expansion:
        """Around predictors (n, d), nodes lying at most `reach` (n, d) away."""

    def factor(self, arrays: tuple[Array, ...], rows: slice, moved: Array, out: Array) -> None:
        """Factors of some patients at nodes, (rows, nodes, d); `moved` may be overwritten."""


def _rows(values: Array, rows: slice) -> Array:
    return values[rows, None, :]


class _Binary:
    additive = False
    logs = False

    def __init__(self, y: Array, auxiliary: Mapping[str, Array], scale: Scale) -> None:
        self.y = y[:, None]

    def unit(self) -> float:
        return 1.0

    def slopes(self, eta: Array, *, exact: bool) -> Slopes:
        chance = special.expit(eta)
        return Slopes(self.y - chance, chance * (1 - chance))

    def expansion(self, eta: Array, reach: Array) -> Expansion:
        largest = float((np.maximum(eta, 0) + reach).max()) + 1
        return Expansion(self.y * eta, self.y, 1.0, (np.exp(eta),), largest)

    def factor(self, arrays: tuple[Array, ...], rows: slice, moved: Array, out: Array) -> None:
        np.multiply(moved, _rows(arrays[0], rows), out=out)
        out += 1


class _Ordinal:
    """The chance of a category is E (1/B - 1/A) / ((1 + E/B) (1 + E/A)): A, B its ends' odds."""

    additive = False
    logs = False

    def __init__(self, y: Array, auxiliary: Mapping[str, Array], scale: Scale) -> None:
        cutpoints = auxiliary["cutpoint"].T
        ends = np.full((1, cutpoints.shape[1]), FAR)
        padded = np.concatenate([-ends, cutpoints, ends])
        category = y.astype(int)
        self.below, self.above = padded[category], padded[category + 1]
        self.first, self.last = (y == 0)[:, None], (y == scale.top)[:, None]

    def unit(self) -> float:
        return 1.0

    def slopes(self, eta: Array, *, exact: bool) -> Slopes:
        above, below = special.expit(self.above - eta), special.expit(self.below - eta)
        return Slopes(above + below - 1, above * (1 - above) + below * (1 - below))

    def expansion(self, eta: Array, reach: Array) -> Expansion:
        lower, upper = eta - self.below, eta - self.above
        over_b = np.where(self.first, 0.0, np.exp(np.where(self.first, 0.0, lower)))
        over_a = np.where(self.last, 0.0, np.exp(np.where(self.last, 0.0, upper)))
        width = np.where(self.first | self.last, -FAR, self.below - self.above)
        constant = np.where(self.first, 0.0, lower) + ARRAYS.log1mexp(np.minimum(width, 0.0))
        sizes = np.maximum(np.where(self.first, 0.0, lower), 0) + np.maximum(
            np.where(self.last, 0.0, upper), 0
        )
        largest = float((sizes + 2 * reach).max()) + 2
        power = np.where(self.first, 0.0, 1.0)
        return Expansion(constant, power, 1.0, (over_a + over_b, over_a * over_b), largest)

    def factor(self, arrays: tuple[Array, ...], rows: slice, moved: Array, out: Array) -> None:
        np.multiply(moved, _rows(arrays[1], rows), out=out)
        out += _rows(arrays[0], rows)
        out *= moved
        out += 1


class _Count:
    additive = False
    logs = True

    def __init__(self, y: Array, auxiliary: Mapping[str, Array], scale: Scale) -> None:
        self.y = y[:, None]
        self.alpha = np.maximum(auxiliary["overdispersion"] ** 2, LEAST_OVERDISPERSION)

    def unit(self) -> float:
        return 1.0

    def slopes(self, eta: Array, *, exact: bool) -> Slopes:
        share = special.expit(eta + np.log(self.alpha))
        total = self.y + 1 / self.alpha
        return Slopes(self.y - total * share, total * share * (1 - share))

    def expansion(self, eta: Array, reach: Array) -> Expansion:
        size = 1 / self.alpha
        shifted = eta + np.log(self.alpha)
        ways = special.gammaln(self.y + size) - special.gammaln(size)
        constant = ways - special.gammaln(self.y + 1) + self.y * shifted
        return Expansion(constant, self.y, self.y + size, (np.exp(shifted),), 0.0)

    def factor(self, arrays: tuple[Array, ...], rows: slice, moved: Array, out: Array) -> None:
        np.multiply(moved, _rows(arrays[0], rows), out=out)
        np.log1p(out, out=out)


class _StudentT:
    additive = True
    logs = False

    def __init__(self, y: Array, auxiliary: Mapping[str, Array], scale: Scale) -> None:
        self.y = y[:, None]
        self.sd, self.nu = auxiliary["residual_sd"], auxiliary["degrees_of_freedom"]

    def unit(self) -> Array:
        return np.atleast_2d(np.sqrt(self.nu) * self.sd)

    def slopes(self, eta: Array, *, exact: bool) -> Slopes:
        away = self.y - eta
        own = (self.nu + 1) / (self.nu * self.sd**2 + away**2)
        if exact:
            expected = (self.nu + 1) / ((self.nu + 3) * self.sd**2)
            return Slopes(own * away, np.broadcast_to(expected, away.shape))
        return Slopes(own * away, own)

    def expansion(self, eta: Array, reach: Array) -> Expansion:
        half = (self.nu + 1) / 2
        constant = special.gammaln(half) - special.gammaln(self.nu / 2)
        constant = constant - 0.5 * np.log(self.nu * np.pi) - np.log(self.sd)
        away = (self.y - eta) / self.unit()
        largest = float(np.log1p((np.abs(away) + reach / self.unit()) ** 2).max())
        constant = np.broadcast_to(constant, away.shape)
        return Expansion(constant, np.zeros((len(away), 1)), half, (away,), largest)

    def factor(self, arrays: tuple[Array, ...], rows: slice, moved: Array, out: Array) -> None:
        np.subtract(moved, _rows(arrays[0], rows), out=out)
        out *= out
        out += 1


class _BetaBinomial:
    """Rising factorials (a)_y (b)_(n - y), two factors at a time: (a + k)(a + y - 1 - k)."""

    additive = False

    def __init__(self, y: Array, auxiliary: Mapping[str, Array], scale: Scale) -> None:
        self.y, self.top = y[:, None], scale.top
        self.logs = scale.top > 2 * MOST_PAIRS
        self.phi = auxiliary["precision"]

    def unit(self) -> float:
        return 1.0

    def slopes(self, eta: Array, *, exact: bool) -> Slopes:
        share = special.expit(eta)
        factor = (1 + self.phi) / (self.top + self.phi)  # quasi-likelihood's
        spread = share * (1 - share)
        weight = self.top * spread * factor
        if not exact:
            return Slopes((self.y - self.top * share) * factor, weight)
        a, b = share * self.phi, special.expit(-eta) * self.phi
        digamma = special.digamma
        change = digamma(self.y + a) - digamma(a) - digamma(self.top - self.y + b) + digamma(b)
        return Slopes(self.phi * spread * change, weight)

    def expansion(self, eta: Array, reach: Array) -> Expansion:
        n, phi = self.top, self.phi
        constant = special.gammaln(n + 1.0) - special.gammaln(self.y + 1)
        constant = constant - special.gammaln(n - self.y + 1)
        constant = constant + special.gammaln(phi) - special.gammaln(n + phi)
        far = float((np.abs(eta) + reach).max())
        largest = n * np.log(n + float(np.max(phi)) + 1) + far
        odds = np.exp(eta)
        phi = np.broadcast_to(phi, odds.shape)
        y = np.broadcast_to(self.y, odds.shape)
        constant = np.broadcast_to(constant, odds.shape)
        return Expansion(constant, np.zeros((len(odds), 1)), -1.0, (odds, phi, y), largest)

    def factor(self, arrays: tuple[Array, ...], rows: slice, moved: Array, out: Array) -> None:
        odds, phi = _rows(arrays[0], rows), _rows(arrays[1], rows)
        y = arrays[2][rows, :1, None]
        moved *= odds
        rest = moved + 1
        np.divide(phi, rest, out=rest)  # b
        moved *= rest  # a
        n = self.top
        if self.logs:
            gammaln = special.gammaln
            out[...] = gammaln(y + moved) - gammaln(moved) + gammaln(n - y + rest) - gammaln(rest)
            return
        work = np.empty_like(out[0])
        for row, score in enumerate(y[:, 0, 0]):
            a, b, product = moved[row], rest[row], out[row]
            product[...] = 1.0
            _rising(a, int(score), product, work)
            _rising(b, int(n - score), product, work)


def _rising(a: Array, number: int, product: Array, work: Array) -> None:
    """Multiply by a (a + 1) ... (a + number - 1); `a` is overwritten."""
    if number % 2:
        np.add(a, (number - 1) / 2, out=work)
        product *= work
    np.add(a, number - 1, out=work)
    a *= work  # (a + k)(a + number - 1 - k) is a (a + number - 1) and a constant
    for k in range(number // 2):
        np.add(a, k * (number - 1 - k), out=work)
        product *= work


KERNELS: dict[str, Any] = {
    "binary": _Binary,
    "ordinal": _Ordinal,
    "count": _Count,
    "student_t": _StudentT,
    "beta_binomial": _BetaBinomial,
}


def kernel_of(family: Family, y: Array, auxiliary: Mapping[str, Array], scale: Scale) -> Kernel:
    """A family's kernel for some patients and draws.

    Parameters
    ----------
    family : Family
    y : ndarray, shape (n,)
    auxiliary : mapping of str to ndarray
        The family's own parameters: (d,), cutpoints (d, K - 1); residual SDs also (n, d).
    scale : Scale

    Raises
    ------
    InputError
        If the family has none.
    """
    if family.name not in KERNELS:
        raise InputError(
            f"Therapist effects of the family {family.name} are not integrated numerically.",
            f"Families that are: {', '.join(KERNELS)}.",
        )
    kernel: Kernel = KERNELS[family.name](y, auxiliary, scale)
    return kernel
