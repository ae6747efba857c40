"""Outcome families: each a few formulas, written once for PyTensor's symbols and NumPy's draws.

A family says how an outcome's linear predictor, on its link's scale, becomes scores. Adding one is
one entry in `FAMILIES` and one test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from data_prep.errors import InputError, nearest

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
    ends: Callable[[Any, Any], tuple[Any, Any]]  # the cutpoints below and above each category


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
    _array_ends,
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a family's own, and its prior.

    Attributes
    ----------
    name : str
    prior : {"half_normal", "gamma", "ordered"}
        ``gamma`` has shape 2 and rate 0.1; ``ordered`` are cutpoints whose categories have
        Dirichlet shares.
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
        Highest value of a discrete family's variable, whose lowest is 0; 0 for continuous ones.
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


# --- continuous scores: mean 0 and SD 1 among the analysed patients -----------------------------


def _standardised(scores: Array, _range: tuple[float, float]) -> Scale:
    return Scale(float(scores.mean()), float(scores.std(ddof=1)), 0, 0.0, 1.0)


def _identity(eta: Array, _auxiliary: Auxiliary, _scale: Scale) -> Array:
    return eta


def _one(eta: Array, _auxiliary: Auxiliary, _scale: Scale) -> Array:
    return np.ones_like(eta)


def _gaussian(do: Operations, y: Any, eta: Any, auxiliary: Auxiliary, _scale: Scale) -> Any:
    sd = auxiliary["residual_sd"]
    return -0.5 * ((y - eta) / sd) ** 2 - do.log(sd) - 0.5 * np.log(2 * np.pi)


def _gaussian_random(
    generator: np.random.Generator, eta: Array, auxiliary: Auxiliary, _scale: Scale
) -> Array:
    return eta + auxiliary["residual_sd"] * generator.standard_normal(eta.shape)


def _student(do: Operations, y: Any, eta: Any, auxiliary: Auxiliary, _scale: Scale) -> Any:
    sd, nu = auxiliary["residual_sd"], auxiliary["degrees_of_freedom"]
    constant = do.gammaln((nu + 1) / 2) - do.gammaln(nu / 2) - 0.5 * do.log(nu * np.pi)
    return constant - do.log(sd) - (nu + 1) / 2 * do.log1p(((y - eta) / sd) ** 2 / nu)


def _student_variance(eta: Array, auxiliary: Auxiliary, _scale: Scale) -> Array:
    sd, nu = auxiliary["residual_sd"], auxiliary["degrees_of_freedom"]
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(nu > 2, nu / (nu - 2), np.inf)
    return sd**2 * factor * np.ones_like(eta)


def _student_random(
    generator: np.random.Generator, eta: Array, auxiliary: Auxiliary, _scale: Scale
) -> Array:
    noise = generator.standard_t(np.broadcast_to(auxiliary["degrees_of_freedom"], eta.shape))
    return eta + auxiliary["residual_sd"] * noise


# --- ordered categories: cumulative logit (McCullagh 1980, doi:10.1111/j.2517-6161.1980.tb01109.x)


def _categories(scores: Array, limits: tuple[float, float]) -> Scale:
    # The latent logistic variable has SD pi / sqrt(3).
    return Scale(limits[0], 1.0, round(limits[1] - limits[0]), 0.0, float(np.pi / np.sqrt(3)))


def _ordinal(do: Operations, y: Any, eta: Any, auxiliary: Auxiliary, _scale: Scale) -> Any:
    below, above = do.ends(auxiliary["cutpoint"], y)
    lower, upper = below - eta, above - eta
    # log(sigmoid(upper) - sigmoid(lower)), without cancellation in either tail
    return -do.softplus(-upper) - do.softplus(lower) + do.log1mexp(lower - upper)


def _above(eta: Array, auxiliary: Auxiliary) -> Array:
    """P(y > k) for each cutpoint k, shape (d, n, K - 1)."""
    return np.asarray(special.expit(eta[..., None] - auxiliary["cutpoint"][:, None, :]))


def _ordinal_expected(eta: Array, auxiliary: Auxiliary, _scale: Scale) -> Array:
    return np.asarray(_above(eta, auxiliary).sum(axis=-1))


def _ordinal_slope(eta: Array, auxiliary: Auxiliary, _scale: Scale) -> Array:
    above = _above(eta, auxiliary)
    return np.asarray((above * (1 - above)).sum(axis=-1))


def _ordinal_variance(eta: Array, auxiliary: Auxiliary, scale: Scale) -> Array:
    above = _above(eta, auxiliary)
    mean = above.sum(axis=-1)
    # E y^2 is the sum over k of (2k - 1) P(y >= k)
    square = (above * (2 * np.arange(1, scale.top + 1) - 1)).sum(axis=-1)
    return np.asarray(square - mean**2)


def _ordinal_random(
    generator: np.random.Generator, eta: Array, auxiliary: Auxiliary, _scale: Scale
) -> Array:
    latent = eta + generator.logistic(size=eta.shape)
    return np.asarray((latent[..., None] > auxiliary["cutpoint"][:, None, :]).sum(axis=-1), float)


# --- bounded whole scores: beta-binomial (Skellam 1948, doi:10.1111/j.2517-6161.1948.tb00014.x) ---


def _trials(scores: Array, limits: tuple[float, float]) -> Scale:
    trials = limits[1] - limits[0]
    # Kept off the ends, where the logit has no value
    share = float(np.clip((scores.mean() - limits[0]) / trials, 0.5 / trials, 1 - 0.5 / trials))
    # One SD of the scores is this far on the logit's scale, to first order at their mean.
    link_unit = float(scores.std(ddof=1)) / (trials * share * (1 - share))
    return Scale(limits[0], 1.0, round(trials), float(special.logit(share)), link_unit)


def _beta_binomial(do: Operations, y: Any, eta: Any, auxiliary: Auxiliary, scale: Scale) -> Any:
    precision, n = auxiliary["precision"], scale.top
    a, b = do.sigmoid(eta) * precision, do.sigmoid(-eta) * precision
    # Behind abs, or PyTensor takes n - y + b for (n + b) - y, which loses a small b.
    rest = abs(n - y)
    choose = special.gammaln(n + 1.0) - do.gammaln(y + 1.0) - do.gammaln(rest + 1.0)
    seen = do.gammaln(y + a) + do.gammaln(rest + b) - do.gammaln(n + precision)
    return choose + seen - do.gammaln(a) - do.gammaln(b) + do.gammaln(precision)


def _beta_binomial_expected(eta: Array, _auxiliary: Auxiliary, scale: Scale) -> Array:
    return np.asarray(scale.top * special.expit(eta))


def _beta_binomial_slope(eta: Array, _auxiliary: Auxiliary, scale: Scale) -> Array:
    return np.asarray(scale.top * special.expit(eta) * special.expit(-eta))


def _beta_binomial_variance(eta: Array, auxiliary: Auxiliary, scale: Scale) -> Array:
    n, precision = scale.top, auxiliary["precision"]
    inflation = (n + precision) / (1 + precision)
    return np.asarray(n * special.expit(eta) * special.expit(-eta) * inflation)


def _beta_binomial_random(
    generator: np.random.Generator, eta: Array, auxiliary: Auxiliary, scale: Scale
) -> Array:
    precision = auxiliary["precision"]
    tiny = np.finfo(float).tiny  # a beta with a parameter that underflows to zero has no draw
    share = generator.beta(
        np.maximum(special.expit(eta) * precision, tiny),
        np.maximum(special.expit(-eta) * precision, tiny),
    )
    return generator.binomial(scale.top, share).astype(float)


RESIDUAL_SD = Parameter("residual_sd", "half_normal", "residual_sd")

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            name="gaussian",
            discrete=False,
            has_intercept=True,
            link="identity",
            scale=_standardised,
            parameters=(RESIDUAL_SD,),
            log_likelihood=_gaussian,
            expected=_identity,
            slope=_one,
            variance=lambda eta, aux, _scale: aux["residual_sd"] ** 2 * np.ones_like(eta),
            random=_gaussian_random,
        ),
        Family(
            name="student_t",
            discrete=False,
            has_intercept=True,
            link="identity",
            scale=_standardised,
            # Juárez & Steel 2010, doi:10.1198/jbes.2009.07145, for the degrees of freedom
            parameters=(
                RESIDUAL_SD,
                Parameter("degrees_of_freedom", "gamma", "degrees_of_freedom"),
            ),
            log_likelihood=_student,
            expected=_identity,
            slope=_one,
            variance=_student_variance,
            random=_student_random,
        ),
        Family(
            name="ordinal",
            discrete=True,
            has_intercept=False,
            link="cumulative logit",
            scale=_categories,
            parameters=(Parameter("cutpoint", "ordered", "category_concentration"),),
            log_likelihood=_ordinal,
            expected=_ordinal_expected,
            slope=_ordinal_slope,
            variance=_ordinal_variance,
            random=_ordinal_random,
        ),
        Family(
            name="beta_binomial",
            discrete=True,
            has_intercept=True,
            link="logit",
            scale=_trials,
            # intra-score correlations 1 / (1 + precision) from .02 to .3 are plausible
            parameters=(Parameter("precision", "gamma"),),
            log_likelihood=_beta_binomial,
            expected=_beta_binomial_expected,
            slope=_beta_binomial_slope,
            variance=_beta_binomial_variance,
            random=_beta_binomial_random,
        ),
    )
}


def find_family(name: str) -> Family:
    """Family of that name.

    Raises
    ------
    InputError
        If there is none.
    """
    if name not in FAMILIES:
        raise InputError(f"There is no outcome family {name!r}.", nearest(name, FAMILIES))
    return FAMILIES[name]
