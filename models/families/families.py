"""Outcome families: each a few formulas, written once for PyTensor's symbols and NumPy's draws.

A family says how an outcome's linear predictor, on its link's scale, becomes scores. Adding one is
one entry in `FAMILIES` and one test.

Ordered categories: a latent variable cut at thresholds, logistic or normal.

McCullagh 1980, doi:10.1111/j.2517-6161.1980.tb01109.x. The logistic one is the usual cumulative
logit; the normal one serves where the latent variable is to correlate with other outcomes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from alliance.data_prep.errors import InputError, nearest
from alliance.models.families.events_and_counts import BINARY, COUNT
from alliance.models.families.family import Auxiliary, Family, Operations, Parameter, Scale

Array = NDArray[np.float64]


def _logistic_interval(do: Operations, lower: Any, upper: Any) -> Any:
    # log(sigmoid(upper) - sigmoid(lower)), without cancellation in either tail
    return -do.softplus(-upper) - do.softplus(lower) + do.log1mexp(lower - upper)


def _normal_interval(do: Operations, lower: Any, upper: Any) -> Any:
    # log(Phi(upper) - Phi(lower)), turned into the lower tail
    turned = lower + upper > 0
    high = do.log_ndtr(do.where(turned, -lower, upper))
    return high + do.log1mexp(do.log_ndtr(do.where(turned, -upper, lower)) - high)


def _ordinal_family(
    name: str,
    link: str,
    prior: str,
    latent_sd: float,
    interval: Callable[[Operations, Any, Any], Any],
    distribution: Callable[[Array], Array],
    density: Callable[[Array], Array],
    noise: Callable[[np.random.Generator, tuple[int, ...]], Array],
) -> Family:
    """An ordinal family from its latent variable's distribution around ``eta``."""
    logistic = link == "cumulative logit"

    def scale(_scores: Array, limits: tuple[float, float]) -> Scale:
        return Scale(limits[0], 1.0, round(limits[1] - limits[0]), 0.0, latent_sd)

    def log_likelihood(
        do: Operations, y: Any, eta: Any, auxiliary: Auxiliary, _scale: Scale
    ) -> Any:
        below, above = do.ends(auxiliary["cutpoint"], y)
        return interval(do, below - eta, above - eta)

    def beyond(eta: Array, auxiliary: Auxiliary) -> Array:
        """How far eta lies above each cutpoint, shape (d, n, K - 1)."""
        return np.asarray(eta[..., None] - auxiliary["cutpoint"][:, None, :])

    def together(eta: Array, auxiliary: Auxiliary, _scale: Scale) -> tuple[Array, Array, Array]:
        above, steep, square = (np.zeros_like(eta) for _ in range(3))
        for k, cutpoint in enumerate(auxiliary["cutpoint"].T):
            away = eta - cutpoint[:, None]
            share = distribution(away)
            above += share
            square += (2 * k + 1) * share
            steep += share * (1 - share) if logistic else density(away)
        return above, steep, square - above**2

    def expected(eta: Array, auxiliary: Auxiliary, _scale: Scale) -> Array:
        return np.asarray(distribution(beyond(eta, auxiliary)).sum(axis=-1))

    def slope(eta: Array, auxiliary: Auxiliary, _scale: Scale) -> Array:
        return np.asarray(density(beyond(eta, auxiliary)).sum(axis=-1))

    def variance(eta: Array, auxiliary: Auxiliary, scale: Scale) -> Array:
        above = distribution(beyond(eta, auxiliary))
        # E y^2 is the sum over k of (2k - 1) P(y >= k)
        square = (above * (2 * np.arange(1, scale.top + 1) - 1)).sum(axis=-1)
        return np.asarray(square - above.sum(axis=-1) ** 2)

    def random(
        generator: np.random.Generator, eta: Array, auxiliary: Auxiliary, _scale: Scale
    ) -> Array:
        latent = eta + noise(generator, eta.shape)
        return np.asarray((latent[..., None] > auxiliary["cutpoint"][:, None, :]).sum(-1), float)

    return Family(
        name=name,
        discrete=True,
        has_intercept=False,
        link=link,
        scale=scale,
        parameters=(Parameter("cutpoint", prior, "category_concentration"),),
        log_likelihood=log_likelihood,
        expected=expected,
        slope=slope,
        variance=variance,
        random=random,
        ratio="odds" if logistic else "",
        together=together,
    )


def _logistic_density(x: Array) -> Array:
    share = special.expit(x)
    return np.asarray(share * (1 - share))


ORDINAL = _ordinal_family(
    name="ordinal",
    link="cumulative logit",
    prior="ordered_logit",
    latent_sd=float(np.pi / np.sqrt(3)),
    interval=_logistic_interval,
    distribution=special.expit,
    density=_logistic_density,
    noise=lambda generator, shape: generator.logistic(size=shape),
)
ORDINAL_PROBIT = _ordinal_family(
    name="ordinal_probit",
    link="cumulative probit",
    prior="ordered_probit",
    latent_sd=1.0,
    interval=_normal_interval,
    distribution=special.ndtr,
    density=stats.norm.pdf,
    noise=lambda generator, shape: generator.standard_normal(shape),
)


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
        ORDINAL,
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
        BINARY,
        COUNT,
    )
}


def find_family(name: str) -> Family:
    """Family of that name.

    Raises
    ------
    InputError
        If there is none.
    """
    if name == ORDINAL_PROBIT.name:  # of joint models, not for a study file to choose
        return ORDINAL_PROBIT
    if name not in FAMILIES:
        raise InputError(f"There is no outcome family {name!r}.", nearest(name, FAMILIES))
    return FAMILIES[name]
