"""Sensitivity of every reported quantity to the priors and to the likelihood, by power-scaling.

The prior, or the likelihood, is raised to a power slightly off one, and the distance that a
quantity's posterior moves is had from the draws by importance weights: no refit (Kallioinen,
Paananen, Bürkner & Vehtari 2024, doi:10.1007/s11222-023-10366-5; computed by ArviZ). Priors are
scaled all together, and each kind alone, so that one that is too tight is named.

The likelihood is that of whole therapists where the therapist effects are integrated out (Gaussian
outcomes), and of single patients given their therapist's effects elsewhere; with the likelihood of
the ratings where the alliance has a model of its own.

How likely each prior thinks the drawn parameters: log densities from the saved draws.

One term for each kind of parameter, as `models.priors.Priors` sets them, so that each prior can be
weighed on its own. The densities are those of the models (`models.gaussian.exact_gaussian`,
`models.patient_level`, `models.latent_ratings`,
`models.patient_level`) on the standardised scale. What is distributed around other
parameters (therapist effects, a latent alliance) is no prior in this sense: it belongs to the
model, and only what governs it has a prior.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.base import array_stats
from numpy.typing import NDArray
from scipy import special, stats

from alliance.data_prep.errors import InputError
from alliance.inference.draws.datatree import flat, power_scaling_tree
from alliance.inference.estimands.estimands import SCALE_QUANTITIES, reported_draws, with_moments
from alliance.inference.estimands.over_time import residual_covariances
from alliance.inference.pointwise.log_likelihood import (
    everybodys_log_likelihood,
    marginal_log_likelihood,
    patient_log_likelihood,
)
from alliance.inference.pointwise.visits import therapists_log_likelihood
from alliance.inference.posterior import Posterior
from alliance.models.design.design import Design
from alliance.models.design.ratings import PREDICTOR_SCALE, ROUNDING, needs_model, predictor_columns
from alliance.models.families.family import EDGE, GAMMA
from alliance.models.gaussian.marginal import alliance_terms
from alliance.models.priors import Priors, slope_log_density
from alliance.models.visits.covariance import CovarianceShape
from alliance.models.visits.design import VisitsDesign

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
HALF_NORMAL = (
    *("therapist_sd", "therapist_slope_sd", "therapist_arm_sd", "moderator_therapist_sd"),
    *("clinic_sd", "clinic_slope_sd"),
)


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
        if kind == "moderator" and priors.slope is not None:
            add("moderator_slope", slope_log_density(priors, beta[:, k]))
            continue
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
    for name in ("therapist_correlation", "clinic_correlation"):
        if name in draws and getattr(priors, name) != 1:
            add(name, _lkj(posterior.flat(name), getattr(priors, name)))
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
            # Summed over residual groups, where there are several
            add(
                parameter.name,
                stats.halfnorm.logpdf(values, 0, getattr(priors, str(parameter.scale))),
            )
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
        With a model of the alliance (`models.latent_ratings.needs_model`).

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


SENSITIVE = 0.05
"""Distance from which a quantity counts as sensitive: Kallioinen et al. 2024, section 3.3."""

POWERS = (0.99, 1.01)  # either side of one; ArviZ's default

RULED = 0.2
"""Sensitivity to one prior from which the prior rules a quantity whatever the likelihood does. A
standard deviation that is nothing but its half-normal prior has 0.24; with some twenty therapists,
a prior as wide as what it describes has 0.05 to 0.17 (our simulated trials), because so few
therapists tell little. A coefficient that prior and data pull apart is as sensitive to both."""

FINE, INFORMATIVE = "fine", "informative prior"
CONFLICT, WEAK = "prior-data conflict", "weak likelihood"


@dataclass(frozen=True, eq=False, slots=True)
class PowerScaling:
    """Power-scaling sensitivity of one outcome's m reported quantities to p priors.

    Attributes
    ----------
    outcome : str
    labels : tuple of (quantity, level)
    prior : ndarray, shape (m,)
        Sensitivity to all priors together.
    likelihood : ndarray, shape (m,)
    kinds : tuple of str
        Kinds of priors, as of `inference.priors.power_scaling.log_priors`.
    by_kind : ndarray, shape (m, p)
        Sensitivity to each alone.
    """

    outcome: str
    labels: tuple[tuple[str, str], ...]
    prior: Array
    likelihood: Array
    kinds: tuple[str, ...]
    by_kind: Array

    @property
    def strongest(self) -> tuple[str, ...]:
        """Kind of prior that each quantity is most sensitive to."""
        return tuple(self.kinds[k] for k in np.argmax(self.by_kind, axis=1))

    @property
    def ruled(self) -> NDArray[np.bool_]:
        """Which quantities are ruled by which kind of prior, shape (m, p).

        Any quantity is from `RULED` on. A coefficient also is where it is sensitive to the prior,
        and more so than to the likelihood: a normal posterior that is nothing but its prior has a
        sensitivity of 0.09 to it and none to the likelihood.
        """
        spread = np.array([quantity in SCALE_QUANTITIES for quantity, _ in self.labels])
        more_than_data = np.maximum(SENSITIVE, self.likelihood)
        limit = np.where(spread, RULED, np.minimum(RULED, more_than_data))
        return np.asarray(self.by_kind >= limit[:, None])

    @property
    def diagnosis(self) -> tuple[str, ...]:
        """In words, for each quantity.

        ``fine``: not sensitive to the priors. ``informative prior``: sensitive to them, and more
        to the data. Where a prior rules it: ``prior-data conflict`` if the likelihood moves it
        too, else ``weak likelihood``. ArviZ's ``psense_summary`` calls a potential conflict what
        is sensitive to both, however little to the prior.
        """
        sensitive = np.maximum(self.prior, self.by_kind.max(axis=1)) >= SENSITIVE
        found = np.where(sensitive, INFORMATIVE, FINE).astype(object)
        ruled = self.ruled.any(axis=1)
        found[ruled] = np.where(self.likelihood[ruled] >= SENSITIVE, CONFLICT, WEAK)
        return tuple(map(str, found))

    @property
    def table(self) -> pd.DataFrame:
        """One row for each quantity: sensitivities, the strongest prior, and the diagnosis."""
        return pd.DataFrame(
            {
                "outcome": self.outcome,
                "quantity": [quantity for quantity, _ in self.labels],
                "level": [level for _, level in self.labels],
                "prior_sensitivity": self.prior,
                "likelihood_sensitivity": self.likelihood,
                "strongest_prior": self.strongest,
                "strongest_sensitivity": self.by_kind.max(axis=1),
                "diagnosis": self.diagnosis,
            }
        )

    @property
    def kind_table(self) -> pd.DataFrame:
        """One row for each quantity and kind of prior."""
        return pd.DataFrame(
            [
                {
                    "outcome": self.outcome,
                    "quantity": quantity,
                    "level": level,
                    "prior": kind,
                    "sensitivity": float(self.by_kind[row, column]),
                }
                for row, (quantity, level) in enumerate(self.labels)
                for column, kind in enumerate(self.kinds)
            ]
        )


def power_scaling(posterior: Posterior) -> PowerScaling:
    """Power-scale the priors and the likelihood of one outcome.

    Parameters
    ----------
    posterior : Posterior

    Returns
    -------
    PowerScaling

    Raises
    ------
    InputError
        If the run has no such outcome, or it is one of a joint model.
    """
    return _scaled(posterior, *scaling_tree(posterior))


def power_scaling_over_time(
    posteriors: Sequence[Posterior], design: VisitsDesign
) -> list[PowerScaling]:
    """Power-scale the priors and the likelihood of an outcome over time.

    Parameters
    ----------
    posteriors : sequence of Posterior
        Of the outcome at all its visits, in the order of time.
    design : VisitsDesign
        Of the same fit.

    Returns
    -------
    list of PowerScaling
        One for each visit.

    Raises
    ------
    InputError
        If therapists deviate at visits.
    """
    priors = log_priors_over_time(posteriors, design)
    likelihood = therapists_log_likelihood(posteriors).sum("therapist")
    found = []
    for posterior in posteriors:
        quantities, labels = _quantities(posterior)
        terms = xr.Dataset({"outcome": likelihood})
        found.append(_scaled(posterior, power_scaling_tree(quantities, priors, terms), labels))
    return found


def log_priors_over_time(posteriors: Sequence[Posterior], design: VisitsDesign) -> xr.Dataset:
    """Log density of each kind of prior of an outcome over time at every draw.

    Parameters
    ----------
    posteriors, design
        As of `power_scaling_over_time`.

    Returns
    -------
    xarray.Dataset
        As of `log_priors`, with ``residual_correlation``. Coefficients that are the same at all
        visits count once.
    """
    first, shape = posteriors[0], design.shape
    priors, V = first.priors, design.shape.visits
    one = log_priors(first)
    names = ("therapist_sd", "therapist_slope_sd", "therapist_correlation")
    found = {name: flat(one, name) for name in names if name in one}

    def add(name: str, density: Array) -> None:
        found[name] = found.get(name, 0.0) + density.reshape(len(density), -1).sum(axis=1)

    scales = first.design.prior_sd(priors)
    for visit, column in zip(design.terms.visit, design.terms.column, strict=True):
        beta = posteriors[0 if visit == V else visit].beta[:, column]
        kind = first.design.encoding.terms[column].kind
        add(COEFFICIENTS[kind], stats.norm.logpdf(beta, 0, scales[column]))
    for own in posteriors[: shape.sds]:
        sds = own.family_parameters["residual_sd"]
        add("residual_sd", stats.halfnorm.logpdf(sds, 0, priors.residual_sd))
    power = priors.residual_correlation - 1
    if shape.correlations and power:
        covariance = residual_covariances([own.draws for own in posteriors])
        sds = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
        R = covariance / (sds[..., :, None] * sds[..., None, :])
        if shape.structure == "unstructured":  # LKJ
            density = power * np.linalg.slogdet(R)[1]
        else:
            low, high = shape.limits
            r = _structure_parameters(R, shape)
            density = power * (np.log(r - low) + np.log(high - r)).sum(axis=-1)
        add("residual_correlation", density)
    return _by_draw(found, first.draws)


def _structure_parameters(R: Array, shape: CovarianceShape) -> Array:
    """Parameters (..., m) of correlation matrices (..., V, V) of a structure with one or by lag."""
    if shape.structure == "toeplitz":
        columns = [
            # The partial correlation of the ends of so many visits, given those between
            -inverse[..., 0, -1] / np.sqrt(inverse[..., 0, 0] * inverse[..., -1, -1])
            for size in range(2, shape.visits + 1)
            for inverse in (np.linalg.inv(R[..., :size, :size]),)
        ]
        return np.stack(columns, axis=-1)
    gap = 1.0 if shape.gaps is None else shape.gaps[0, 1]
    return np.asarray(R[..., 0, [1]] ** (1 / gap) if gap != 1 else R[..., 0, [1]])


def _scaled(
    posterior: Posterior, tree: xr.DataTree, labels: tuple[tuple[str, str], ...]
) -> PowerScaling:
    prior, likelihood = (
        {str(name): _sampled(term) for name, term in tree[group].data_vars.items()}
        for group in ("log_prior", "log_likelihood")
    )
    quantities = np.stack([_sampled(each) for each in tree["posterior"].data_vars.values()])
    return PowerScaling(
        outcome=posterior.name,
        labels=labels,
        prior=_sensitivity(quantities, np.sum(list(prior.values()), axis=0)),
        likelihood=_sensitivity(quantities, np.sum(list(likelihood.values()), axis=0)),
        kinds=tuple(prior),
        by_kind=np.stack([_sensitivity(quantities, term) for term in prior.values()], axis=1),
    )


def _sampled(values: xr.DataArray) -> Array:
    return np.asarray(values.transpose("chain", "draw").values)


def _sensitivity(quantities: Array, log_density: Array) -> Array:
    """Of m quantities (m, chain, draw) to one log density (chain, draw).

    As ArviZ's ``psense``, whose labelled arrays take ten times as long as its arithmetic.
    """
    weights = [
        np.exp(array_stats.power_scale_lw(log_density, alpha=alpha, axis=(0, 1)))
        for alpha in POWERS
    ]
    lower, upper = (np.broadcast_to(each / each.sum(), quantities.shape) for each in weights)
    return np.asarray(array_stats.power_scale_sense(quantities, lower, upper, *POWERS))


def scaling_tree(posterior: Posterior) -> tuple[xr.DataTree, tuple[tuple[str, str], ...]]:
    """What ArviZ's ``psense`` and ``psense_summary`` need, and the names of the quantities.

    Parameters
    ----------
    posterior : Posterior

    Returns
    -------
    xarray.DataTree
        The quantities are called by number (``quantity_0``): some of ArviZ's plots and sums break
        on variables called ``alpha``, or like a dim.
    tuple of (quantity, level)

    Raises
    ------
    InputError
        As of `power_scaling`.
    """
    posterior.refuse_over_time("Power-scaling of one visit")
    if posterior.joint:
        raise InputError(
            "Power-scaling is not available for a joint model: its outcomes share priors and "
            "likelihood.",
            'Fit the outcomes without `joint`; `sensitivity("unseen")` is available.',
        )
    design = posterior.design
    quantities, labels = _quantities(posterior)
    if design.family.name != "gaussian":
        likelihood, unit = patient_log_likelihood(posterior), "patient"
    elif design.clinic_effects:
        likelihood, unit = marginal_log_likelihood(posterior), "trial"
    else:
        likelihood, unit = everybodys_log_likelihood(posterior), "therapist"
    terms = {"outcome": likelihood.sum(unit)}
    if needs_model(design):
        terms["ratings"] = ratings_log_density(posterior).sum("therapist")
    tree = power_scaling_tree(quantities, log_priors(posterior), xr.Dataset(terms))
    return tree, labels


def _quantities(posterior: Posterior) -> tuple[xr.Dataset, tuple[tuple[str, str], ...]]:
    """Reported quantities by number, and their names."""
    estimands = with_moments(reported_draws(posterior))
    pairs = zip(estimands["quantity"].values, estimands["level"].values, strict=True)
    labels = tuple((str(quantity), str(level)) for quantity, level in pairs)
    bare = estimands.drop_vars(["quantity", "level", "at"], errors="ignore")
    named = {f"quantity_{k}": bare.isel(estimand=k) for k in range(len(labels))}
    return xr.Dataset(named), labels
