"""What an outcome family is: a few formulas, for PyTensor's symbols and for NumPy's draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]
Auxiliary = Mapping[str, Any]  # a family's own parameters, by name


@dataclass(frozen=True, slots=True)
class Operations:
    """The functions that the formulas need of an array library."""

    log: Callable[[Any], Any]
    exp: Callable[[Any], Any]
    log1p: Callable[[Any], Any]
    sigmoid: Callable[[Any], Any]
    softplus: Callable[[Any], Any]
    log1mexp: Callable[[Any], Any]  # log(1 - exp(x)) for x < 0
    gammaln: Callable[[Any], Any]
    log_ndtr: Callable[[Any], Any]  # log of the standard normal distribution function
    where: Callable[[Any, Any, Any], Any]
    ends: Callable[[Any, Any], tuple[Any, Any]]  # the cutpoints below and above each category


GAMMA = {"alpha": 2.0, "beta": 0.1}  # prior of a parameter that may be large
EDGE = 1e-12  # how near 0 and 1 a cumulative share may come before its logit or probit
FAR = 1e4  # stands for infinity beyond the outermost cutpoints; exp(-FAR) is exactly zero


def _array_ends(cutpoints: Array, category: Array) -> tuple[Array, Array]:
    padded = np.pad(cutpoints, ((0, 0), (1, 1)), constant_values=((0, 0), (-FAR, FAR)))
    index = category.astype(int)
    return padded[:, index], padded[:, index + 1]


def _log1mexp(x: Array) -> Array:
    # Mächler 2012, Accurately computing log(1 - exp(-|a|)): the switch at log 2 keeps both exact.
    with np.errstate(divide="ignore"):
        return np.where(x > -np.log(2), np.log(-np.expm1(x)), np.log1p(-np.exp(x)))


ARRAYS = Operations(
    np.log,
    np.exp,
    np.log1p,
    special.expit,
    lambda x: np.logaddexp(0, x),
    _log1mexp,
    special.gammaln,
    special.log_ndtr,
    np.where,
    _array_ends,
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a family's own, and its prior.

    Attributes
    ----------
    name : str
    prior : {"half_normal", "gamma", "ordered_logit", "ordered_probit"}
        ``gamma`` has shape 2 and rate 0.1; the ordered ones are cutpoints on that link whose
        categories have Dirichlet shares.
    scale : str or None
        The entry of `models.priors.Priors` that sets the scale or concentration, or fixes a
        ``gamma`` parameter's value.
    """

    name: str
    prior: str
    scale: str | None = None


@dataclass(frozen=True, slots=True)
class Scale:
    """How an outcome's scores relate to its family's own variable and link.

    Attributes
    ----------
    offset, unit : float
        A score is ``offset + unit * family's variable``.
    top : int
        Highest value of a discrete family's variable, whose lowest is 0; 0 for continuous ones
        and for counts, which have none.
    link_location, link_unit : float
        What 0, and one SD of the outcome, are on the link's scale; priors are stated in SDs.
    """

    offset: float
    unit: float
    top: int
    link_location: float
    link_unit: float


@dataclass(frozen=True, slots=True)
class Family:
    """One distribution of scores around a linear predictor ``eta``.

    Attributes
    ----------
    name : str
    discrete : bool
        Whether scores are whole numbers between the ends of the outcome's range.
    has_intercept : bool
        Whether ``eta`` has an intercept of its own (cutpoints hold an ordinal one's).
    link : str
        In words.
    scale : callable
        From scores (n,) and the outcome's range to a `Scale`.
    parameters : tuple of Parameter
    log_likelihood : callable
        ``(operations, y, eta, auxiliary, scale)``, pointwise, y the family's own variable.
    expected : callable
        ``(eta, auxiliary, scale)`` of the family's own variable.
    slope : callable
        Derivative of `expected` with respect to eta.
    variance : callable
        Variance of the family's own variable given eta.
    random : callable
        ``(generator, eta, auxiliary, scale)``: draws of the family's own variable.
    ratio : {"", "odds", "rate"}
        Of what the exponential of a difference of two predictors is a ratio, if of anything.
    together : callable, optional
        `expected`, `slope` and `variance` at once, of a family in which they share work.

    Notes
    -----
    In the NumPy formulas eta has shape (d, n): d draws, n patients; auxiliary parameters (d, 1),
    ordinal cutpoints (d, K - 1).
    """

    name: str
    discrete: bool
    has_intercept: bool
    link: str
    scale: Callable[[Array, tuple[float, float]], Scale]
    parameters: tuple[Parameter, ...]
    log_likelihood: Callable[[Operations, Any, Any, Auxiliary, Scale], Any]
    expected: Callable[[Array, Auxiliary, Scale], Array]
    slope: Callable[[Array, Auxiliary, Scale], Array]
    variance: Callable[[Array, Auxiliary, Scale], Array]
    random: Callable[[np.random.Generator, Array, Auxiliary, Scale], Array]
    ratio: Literal["", "odds", "rate"] = ""
    together: Callable[[Array, Auxiliary, Scale], tuple[Array, Array, Array]] | None = None

    def response(
        self, eta: Array, auxiliary: Auxiliary, scale: Scale
    ) -> tuple[Array, Array, Array]:
        """Expected scores, their slopes and variances, each (d, n), at predictors (d, n)."""
        if self.together is not None:
            return self.together(eta, auxiliary, scale)
        each = (self.expected, self.slope, self.variance)
        expected, slope, variance = (formula(eta, auxiliary, scale) for formula in each)
        return expected, slope, variance
