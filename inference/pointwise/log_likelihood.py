"""How likely each patient's outcome, and each therapist's patients together, are at every draw.

All densities are on the outcome's own scale: a density of standardised scores is divided by the
outcome's unit, so that Gaussian and Student-t models can be set beside one another. Nothing is
compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError
from alliance.inference.draws.blocks import BLOCK_NUMBERS
from alliance.inference.draws.datatree import gaussian_draws
from alliance.inference.draws.quadrature import normal_nodes
from alliance.inference.pointwise.integrated_likelihood import (
    gaussian_integrated,
    quadrature_integrated,
)
from alliance.inference.posterior import Posterior
from alliance.inference.scores.predictor import link_scale, predictor_at
from alliance.inference.scores.therapist_parts import (
    TherapistChoice,
    TherapistPart,
    therapist_factor,
    therapist_part,
)
from alliance.models.design.design import Design
from alliance.models.design.ratings import caseload, rating_products
from alliance.models.design.within_between import taken_apart
from alliance.models.families.family import ARRAYS
from alliance.models.gaussian.gaussian_draws import GaussianDraws
from alliance.models.gaussian.gaussian_draws import therapist_log_likelihood as exact_log_likelihood
from alliance.models.gaussian.marginal import AllianceTerms, alliance_terms

Array = NDArray[np.float64]

# Numbers of an array that the nodes of a quadrature are summed over: the cache holds several such
QUADRATURE_NUMBERS = 100_000
MEAN_NODES = 21  # for a therapist's true mean alliance given the ratings
# Effects of a therapist beyond which a grid of nodes is too large to be summed over
MOST_INTEGRATED = 4


def patient_log_likelihood(posterior: Posterior) -> xr.DataArray:
    """Log density or mass of each analysed patient's outcome at every draw.

    Parameters
    ----------
    posterior : Posterior

    Returns
    -------
    xarray.DataArray
        Dims chain, draw, patient (by position from 0), on the outcome's own scale, given the
        parameters, that draw's effects of the patient's therapist and, where the alliance is a
        parameter, that draw's alliance. For an outcome of a joint model, whatever the patient's
        other outcomes are.

    Raises
    ------
    InputError
        If the run has no such outcome.
    """
    design = posterior.design
    found = np.empty((*posterior.shape, len(design.y)))
    for chain, some, part in posterior.blocks(len(design.y)):
        found[chain, some] = _pointwise(
            design,
            own_predictor(part),
            part.family_parameters,
        )
    return _labelled(found, posterior.draws, "patient", np.arange(len(design.y)))


def therapist_log_likelihood(posterior: Posterior) -> xr.DataArray:
    """Log density or mass of the outcomes of each therapist's patients together at every draw.

    Parameters
    ----------
    posterior : Posterior

    Returns
    -------
    xarray.DataArray
        Dims chain, draw, therapist; zero for a therapist without patients. On the outcome's own
        scale, given the parameters and the patients' alliance, with the therapist's effects
        integrated out: in closed form for Gaussian outcomes, by adaptive quadrature for others.
        Where the alliance is taken apart into within and between, given the ratings, the true
        means integrated out by quadrature; where it is a parameter, or the outcome not Gaussian,
        given that draw's alliance and true means.

    Raises
    ------
    InputError
        If the run has no such outcome, the outcome is one of a joint model, or too many effects
        vary between therapists.
    """
    require_integrable(posterior)
    design = posterior.design
    therapists = len(design.therapists)
    found = np.empty((*posterior.shape, therapists))
    count = np.bincount(design.therapist_index, minlength=therapists)
    numbers = BLOCK_NUMBERS if design.family.name == "gaussian" else QUADRATURE_NUMBERS
    for chain, some, part in posterior.blocks(len(design.y), numbers):
        if design.exact:
            given = gaussian_draws(part.draws, design)
            found[chain, some] = (
                _over_true_means(part, given)
                if taken_apart(design)
                else exact_log_likelihood(design, given)
            )
        else:
            found[chain, some] = _integrated(part)
    if not design.family.discrete:
        found -= np.log(design.scale.unit) * count
    return _labelled(found, posterior.draws, "therapist", np.array(design.therapists))


def require_integrable(posterior: Posterior) -> None:
    """Refuse outcomes whose therapist effects are not integrated out.

    Raises
    ------
    InputError
    """
    if posterior.joint:
        raise InputError(
            "The outcomes of a joint model are not left out one at a time: a patient's outcomes "
            "speak of one another.",
            "Fit the outcomes without --joint.",
        )
    design = posterior.design
    if design.family.name != "gaussian" and len(design.effects) > MOST_INTEGRATED:
        raise InputError(
            f"{posterior.name}: {len(design.effects)} effects vary between therapists; they are "
            f"integrated out for up to {MOST_INTEGRATED} where the outcome is not Gaussian.",
            "Leave out patients instead (--by patient), or fit without therapist_by_arm.",
        )


def _over_true_means(posterior: Posterior, given: GaussianDraws) -> Array:
    """Exact log likelihood of each therapist's outcomes given the ratings, (d, J).

    Given the ratings a therapist's true mean is normal. The outcomes say little more of it, so that
    nodes placed by the ratings alone do.
    """
    design, gamma = posterior.design, posterior.flat("moderator_coefficient")
    terms = ratings_terms(
        rating_products(design),
        gamma,
        posterior.flat("moderator_therapist_sd"),
        posterior.flat("moderator_residual_sd"),
    )
    centre, spread = gamma @ caseload(design).T + terms.mean, np.sqrt(terms.variance)
    total = np.full(centre.shape, -np.inf)
    for node, weight in normal_nodes(MEAN_NODES):
        there = replace(given, moderator_therapist_mean=centre + node * spread)
        np.logaddexp(total, np.log(weight) + exact_log_likelihood(design, there), out=total)
    return total


def ratings_terms(products: Array, gamma: Array, between: Array, within: Array) -> AllianceTerms:
    """The alliance's own model at d draws: likelihood of ratings, and therapists' deviations.

    Parameters
    ----------
    products : ndarray, shape (J, a + 1, a + 1)
        As of `models.design.ratings.rating_products`.
    gamma : ndarray, shape (d, a)
    between, within : ndarray, shape (d,)
        SDs between therapists and within them.
    """
    g = np.hstack([-gamma, np.ones((len(gamma), 1))])
    deviations = np.einsum("jab,db->dja", products, g)
    return alliance_terms(
        count=products[:, 0, 0],
        total=deviations[..., 0],
        squares=np.einsum("dja,da->dj", deviations, g),
        location=0.0,
        therapist_variance=between[:, None] ** 2,
        residual_variance=within[:, None] ** 2,
        log=np.log,
    )


def own_predictor(posterior: Posterior) -> Array:
    """Predictor of the analysed patients with their own therapists and alliance, (d, n)."""
    moderator = posterior.alliance()
    return predictor_at(posterior, posterior.rows, moderator, own_therapists(posterior))


def own_therapists(posterior: Posterior) -> TherapistPart | None:
    """The patients' own therapists, with the effects of every draw."""
    design = posterior.design
    labels = tuple(design.therapists[k] for k in design.therapist_index)
    return therapist_part(
        posterior,
        TherapistChoice("known", labels),
        len(design.y),
        np.random.default_rng(0),  # known therapists are not drawn
    )


def _pointwise(design: Design, predictor: Array, auxiliary: dict[str, Array]) -> Array:
    """Log likelihood of each patient's outcome on its own scale, (d, n)."""
    eta = link_scale(design, predictor)
    found = design.family.log_likelihood(ARRAYS, design.y, eta, auxiliary, design.scale)
    return np.asarray(found) - (0.0 if design.family.discrete else np.log(design.scale.unit))


def _integrated(posterior: Posterior) -> Array:
    """Log likelihood of each therapist's outcomes, the family's own variable, (d, J)."""
    design = posterior.design
    part = own_therapists(posterior)
    if part is not None:
        part = replace(part, effect=np.zeros_like(part.effect))
    moderator = posterior.alliance()
    centre = predictor_at(posterior, posterior.rows, moderator, part)
    auxiliary = posterior.family_parameters
    within = moderator if part is None else moderator - part.own_mean()
    Z = [
        within if name == "slope" else design.X[None, :, column]
        for name, column in zip(design.effects, design.effect_columns, strict=True)
    ]
    factor = therapist_factor(posterior)
    therapists = (design.therapist_index, len(design.therapists))
    if design.family.name == "gaussian":
        return gaussian_integrated(
            design.y - centre, Z, factor, auxiliary["residual_sd"], *therapists
        )

    def of_rows(some: slice | NDArray[np.int64]) -> Callable[[Array], Array]:
        def log_density(predictor: Array) -> Array:
            eta = link_scale(design, predictor)
            return np.asarray(
                design.family.log_likelihood(ARRAYS, design.y[some], eta, auxiliary, design.scale)
            )

        return log_density

    return quadrature_integrated(of_rows, centre, Z, factor, *therapists)


def _labelled(
    found: Array, draws: xr.Dataset, dim: str, labels: NDArray[np.generic]
) -> xr.DataArray:
    return xr.DataArray(
        found,
        dims=("chain", "draw", dim),
        coords={"chain": draws["chain"].values, "draw": draws["draw"].values, dim: labels},
        name="log_likelihood",
    )
