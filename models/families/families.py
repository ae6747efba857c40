"""Outcome families: each a few formulas, written once for PyTensor's symbols and NumPy's draws.

A family says how an outcome's linear predictor, on its link's scale, becomes scores. Adding one is
one entry in `FAMILIES` and one test.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from alliance.data_prep.errors import InputError, nearest
from alliance.models.families.family import Auxiliary, Family, Operations, Parameter, Scale
from alliance.models.families.ordinal import ORDINAL, ORDINAL_PROBIT

Array = NDArray[np.float64]

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
