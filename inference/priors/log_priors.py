"""How likely each prior thinks the drawn parameters: log densities from the saved draws.

One term for each kind of parameter, as `models.priors.Priors` sets them, so that each prior can be
weighed on its own. The densities are those of the models (`models.gaussian.exact_gaussian`,
`models.patients.patient_level`, `models.ratings.latent_moderator`,
`models.families.family_parameters`) on the standardised scale. What is distributed around other
parameters (therapist effects, a latent alliance) is no prior in this sense: it belongs to the
model, and only what governs it has a prior.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import special, stats

from alliance.inference.draws.datatree import flat
from alliance.inference.posterior import Posterior
from alliance.models.design.design import Design
from alliance.models.design.ratings import PREDICTOR_SCALE, ROUNDING, needs_model, predictor_columns
from alliance.models.families.family import EDGE, GAMMA
from alliance.models.gaussian.marginal import alliance_terms
from alliance.models.priors import Priors

Array = NDArray[np.float64]

# Entry of `Priors` that sets the prior of each kind of coefficient
COEFFICIENTS = {
    "intercept": "intercept",
    "baseline": "baseline_slope",
    "arm": "arm",
    "moderator": "moderator_slope",
    "interaction": "interaction",
    "covariate": "covariate_slope",
}
HALF_NORMAL = ("therapist_sd", "therapist_slope_sd", "therapist_arm_sd", "moderator_therapist_sd")


def log_priors(posterior: Posterior) -> xr.Dataset:
    """Log density of each kind of prior at every draw.

    Parameters
    ----------
    posterior : Posterior

    Returns
    -------
    xarray.Dataset
        Over chain and draw; named after the entries of `Priors`, those without an entry after the
        parameter (``precision``, ``moderator_coefficient``, ``moderator_residual_sd``). Priors
        that are flat (LKJ or Dirichlet of shape 1) and parameters that are fixed have no term.
    """
    design, draws, priors = posterior.design, posterior.draws, posterior.priors
    found: dict[str, Array] = {}

    def add(name: str, density: Array) -> None:
        found[name] = found.get(name, 0.0) + density.reshape(len(density), -1).sum(axis=1)

    scales, beta = design.prior_sd(priors), posterior.flat("beta")
    for k, name in enumerate(map(str, draws["coefficient"].values)):
        column = design.coefficients.index(name)
        kind = design.encoding.terms[column].kind
        add(COEFFICIENTS[kind], stats.norm.logpdf(beta[:, k], 0, scales[column]))
    if "moderator_slope_between" in draws:
        between = posterior.flat("moderator_slope_between")
        add("moderator_slope", stats.norm.logpdf(between, 0, priors.moderator_slope))
    if "moderator_interaction_between" in draws:
        own = posterior.flat("moderator_interaction_between")
        add("interaction", stats.norm.logpdf(own, 0, priors.interaction))
    for name in HALF_NORMAL:
        if name in draws:
            add(name, stats.halfnorm.logpdf(posterior.flat(name), 0, getattr(priors, name)))
    if "therapist_correlation" in draws and priors.therapist_correlation != 1:
        add(
            "therapist_correlation",
            _lkj(posterior.flat("therapist_correlation"), priors.therapist_correlation),
        )
    _add_family(add, design, draws, priors)
    if needs_model(design):
        gamma = posterior.flat("moderator_coefficient")
        add("moderator_coefficient", stats.norm.logpdf(gamma, 0, PREDICTOR_SCALE))
        add(
            "moderator_residual_sd",
            stats.halfnorm.logpdf(posterior.flat("moderator_residual_sd"), 0, 1),
        )
    return _by_draw(found, draws)


def _lkj(correlation: Array, shape: float) -> Array:
    """Density of a 2 x 2 LKJ correlation: a beta distribution stretched over -1 to 1."""
    return np.asarray(stats.beta.logpdf((1 + correlation) / 2, shape, shape) - np.log(2))


def _add_family(
    add: Callable[[str, Array], None], design: Design, draws: xr.Dataset, priors: Priors
) -> None:
    for parameter in design.family.parameters:
        if parameter.name not in draws:  # fixed
            continue
        values = flat(draws, parameter.name)
        if parameter.prior == "half_normal":
            add(parameter.name, stats.halfnorm.logpdf(values, 0, priors.residual_sd))
        elif parameter.prior == "gamma":
            add(parameter.name, stats.gamma.logpdf(values, GAMMA["alpha"], scale=1 / GAMMA["beta"]))
        elif priors.category_concentration != 1:
            cumulative = special.expit if parameter.prior == "ordered_logit" else special.ndtr
            shares = np.diff(cumulative(values), axis=1, prepend=0.0, append=1.0)
            add("category_concentration", _dirichlet(shares, priors.category_concentration))


def _dirichlet(shares: Array, concentration: float) -> Array:
    """Density of the categories' shares for an average patient, (d,)."""
    categories = shares.shape[1]
    constant = special.gammaln(concentration * categories) - categories * special.gammaln(
        concentration
    )
    # Shares smaller than the models tell apart are of no category's patients
    logs = np.log(np.maximum(shares, EDGE))
    return np.asarray(constant + (concentration - 1) * logs.sum(axis=1))


def ratings_log_density(posterior: Posterior) -> xr.DataArray:
    """Log density of each therapist's ratings under the alliance's own model, true means out.

    Parameters
    ----------
    posterior : Posterior
        With a model of the alliance (`models.ratings.latent_moderator.needs_model`).

    Returns
    -------
    xarray.DataArray
        Dims chain, draw, therapist; of the ratings that are there and below the ceiling.
    """
    design, draws = posterior.design, posterior.draws
    columns = predictor_columns(design)
    gamma = posterior.flat("moderator_coefficient")
    gamma = gamma.reshape(len(gamma), -1)
    observed = design.X[:, design.coefficients.index("moderator")]
    seen = ~design.moderator_missing
    if design.moderator.ceiling is not None:
        mean, sd = design.scaling.moderator
        seen &= observed < (design.moderator.ceiling - mean) / sd - ROUNDING
    noise = 0.0 if design.moderator.reliability is None else 1 - design.moderator.reliability
    therapists = np.arange(len(design.therapists))
    belongs = (design.therapist_index[seen, None] == therapists).astype(float)
    deviation = observed[seen] - gamma @ design.X[seen][:, columns].T
    terms = alliance_terms(
        count=belongs.sum(axis=0),
        total=deviation @ belongs,
        squares=deviation**2 @ belongs,
        location=0.0,
        therapist_variance=posterior.flat("moderator_therapist_sd")[:, None] ** 2,
        residual_variance=posterior.flat("moderator_residual_sd")[:, None] ** 2 + noise,
        log=np.log,
    )
    shape = (draws.sizes["chain"], draws.sizes["draw"], len(therapists))
    return xr.DataArray(
        np.asarray(terms.log_likelihood).reshape(shape),
        dims=("chain", "draw", "therapist"),
        coords={"chain": draws["chain"], "draw": draws["draw"], "therapist": therapists},
        name="ratings",
    )


def _by_draw(found: dict[str, Array], draws: xr.Dataset) -> xr.Dataset:
    shape = (draws.sizes["chain"], draws.sizes["draw"])
    return xr.Dataset(
        {name: (("chain", "draw"), values.reshape(shape)) for name, values in found.items()},
        coords={"chain": draws["chain"].values, "draw": draws["draw"].values},
    )
