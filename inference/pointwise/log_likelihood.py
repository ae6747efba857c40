"""How likely each patient's outcome, and each therapist's patients together, are at every draw.

All densities are on the outcome's own scale: a density of standardised scores is divided by the
outcome's unit, so that Gaussian and Student-t models can be set beside one another. Nothing is
compiled.

Therapist effects integrated out of the likelihood of each therapist's outcomes, draw by draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.cell_moments import NOBODY
from alliance.data_prep.errors import InputError
from alliance.inference.draws.datatree import gaussian_draws
from alliance.inference.draws.summaries import normal_nodes
from alliance.inference.posterior import Posterior
from alliance.inference.scores.questions import own_link, predictor_at
from alliance.inference.scores.therapist_parts import (
    TherapistChoice,
    TherapistPart,
    clinic_factor,
    therapist_factor,
    therapist_part,
)
from alliance.models.design.design import Design
from alliance.models.design.ratings import caseload, rating_products, taken_apart
from alliance.models.families.family import ARRAYS
from alliance.models.gaussian.gaussian_draws import GaussianDraws
from alliance.models.gaussian.gaussian_draws import marginal_log_likelihood as exact_of_levels
from alliance.models.gaussian.gaussian_draws import therapist_log_likelihood as exact_log_likelihood
from alliance.models.gaussian.marginal import AllianceTerms, alliance_terms, therapist_terms

Array = NDArray[np.float64]
Index = NDArray[np.int64]

# Nodes for each effect, by the number of effects, once the grid is centred and scaled.
NODES = {1: 15, 2: 9, 3: 7, 4: 5}
NEWTON_STEPS = 8
STEP = 1e-3  # of numerical derivatives, on the predictor's scale; they only place the grid


def gaussian_integrated(
    residual: Array,
    Z: Sequence[Array],
    factor: Array,
    residual_sd: Array,
    therapist_index: Index,
    therapists: int,
) -> Array:
    """Log density of each therapist's Gaussian outcomes, in closed form.

    Parameters
    ----------
    residual : ndarray, shape (d, n)
        Outcomes minus their expected values with an average therapist.
    Z : sequence of q ndarray, shape (1, n) or (d, n)
        What the patients multiply the therapist's effects by.
    factor : ndarray, shape (d, q, q)
        Lower Cholesky factor of the effects' covariance.
    residual_sd : ndarray, shape (d, 1)
    therapist_index : ndarray of int, shape (n,)
    therapists : int
        J.

    Returns
    -------
    ndarray, shape (d, J)
        See `models.gaussian.marginal`.
    """
    belongs = (therapist_index[:, None] == np.arange(therapists)).astype(float)
    squares, count = residual**2 @ belongs, belongs.sum(axis=0)
    log_determinant: Array | float = 0.0
    if Z:
        terms = therapist_terms(
            ZtZ=[[(a * b) @ belongs for b in Z] for a in Z],
            Ztr=[(a * residual) @ belongs for a in Z],
            G=[[factor[:, a, b, None] / residual_sd for b in range(a + 1)] for a in range(len(Z))],
        )
        squares = squares - terms.explained
        log_determinant = terms.log_determinant
    constant = count * np.log(2 * np.pi * residual_sd**2)
    return np.asarray(-0.5 * (constant + log_determinant + squares / residual_sd**2))


def quadrature_integrated(
    of_rows: Callable[[Index], Callable[[Array], Array]],
    centre: Array,
    Z: Sequence[Array],
    factor: Array,
    therapist_index: Index,
    therapists: int,
    nodes: int | None = None,
) -> Array:
    """Log density or mass of each therapist's outcomes, by adaptive Gauss-Hermite quadrature.

    The grid of nodes is placed, for every draw and therapist, at the mode of the effects given
    the outcomes, and scaled by the curvature there (Pinheiro & Bates 1995,
    doi:10.1080/10618600.1995.10474663).

    Parameters
    ----------
    of_rows : callable
        From positions of patients to a function that takes their predictor, shape (d, n), to the
        log density or mass of their outcomes.
    centre : ndarray, shape (d, n)
        Predictor with an average therapist.
    Z, factor, therapist_index, therapists
        As in `gaussian_integrated`.
    nodes : int, optional
        For each effect, in place of those of `NODES`.

    Returns
    -------
    ndarray, shape (d, J)
    """
    order = np.argsort(therapist_index, kind="stable")
    present, starts = np.unique(therapist_index[order], return_index=True)
    log_density, centre = of_rows(order), centre[:, order]
    found = np.zeros((len(centre), therapists))

    def by_therapist(values: Array) -> Array:
        return np.add.reduceat(values, starts, axis=1)

    if not Z:
        found[:, present] = by_therapist(log_density(centre))
        return found
    q, own = len(Z), np.repeat(np.arange(len(present)), np.diff([*starts, len(order)]))
    # What a patient multiplies the therapist's standard normal deviates by
    loading = [
        sum((factor[:, a, b, None] * Z[a][:, order] for a in range(b, q)), np.zeros((1, 1)))
        for b in range(q)
    ]

    def predictor(deviates: Sequence[Array]) -> Array:
        moved = centre.copy()
        for b in range(q):
            moved += deviates[b][:, own] * loading[b]
        return moved

    mode = [np.zeros((len(centre), len(present))) for _ in range(q)]
    precision = np.empty((*mode[0].shape, q, q))
    for _ in range(NEWTON_STEPS):
        slope, curvature = _derivatives(log_density, predictor(mode))
        gradient = np.stack([by_therapist(slope * loading[b]) - mode[b] for b in range(q)], axis=-1)
        for a in range(q):
            for b in range(a + 1):
                squares = by_therapist(curvature * loading[a] * loading[b])
                precision[..., a, b] = precision[..., b, a] = squares + float(a == b)
        step = np.linalg.solve(precision, gradient[..., None])[..., 0]
        mode = [mode[b] + np.clip(step[..., b], -1, 1) for b in range(q)]
    spread = np.linalg.inv(np.linalg.cholesky(precision)).swapaxes(-1, -2)
    log_scale = np.log(np.diagonal(spread, axis1=-2, axis2=-1)).sum(axis=-1)
    total = np.full(mode[0].shape, -np.inf)
    for grid in product(normal_nodes(nodes or NODES[q]), repeat=q):
        points = np.array([node for node, _ in grid])
        log_weight = sum(np.log(weight) for _, weight in grid) + 0.5 * points @ points
        deviates = [mode[b] + spread[..., b, :] @ points for b in range(q)]
        density = by_therapist(log_density(predictor(deviates)))
        density += log_weight - 0.5 * sum(deviate**2 for deviate in deviates)
        np.logaddexp(total, density, out=total)
    found[:, present] = total + log_scale
    return found


def _derivatives(log_density: Callable[[Array], Array], predictor: Array) -> tuple[Array, Array]:
    """Slope, and curvature downwards but not below zero, of each patient's log density."""
    below, here, above = (log_density(predictor + shift) for shift in (-STEP, 0.0, STEP))
    curvature = (2 * here - below - above) / STEP**2
    return (above - below) / (2 * STEP), np.maximum(curvature, 0.0)


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
            part.parameters_in(design.arm_index),
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
    found = everybodys_log_likelihood(posterior)
    return found.isel(therapist=slice(len(posterior.design.therapists)))


def everybodys_log_likelihood(posterior: Posterior) -> xr.DataArray:
    """As `therapist_log_likelihood`, with patients of arms without therapists together as the last.

    Parameters
    ----------
    posterior : Posterior
    """
    require_integrable(posterior)
    design = posterior.design
    found = np.empty((*posterior.shape, design.units))
    count = np.bincount(design.therapist_index, minlength=design.units)
    numbers = None if design.family.name == "gaussian" else QUADRATURE_NUMBERS
    for chain, some, part in posterior.blocks(len(design.y), numbers):
        if design.exact and not design.clinic_effects:
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
    labels = (*design.therapists, NOBODY)[: design.units]
    return _labelled(found, posterior.draws, "therapist", np.array(labels))


def marginal_log_likelihood(posterior: Posterior) -> xr.DataArray:
    """Log density of all outcomes at every draw, therapists and clinics integrated out.

    Parameters
    ----------
    posterior : Posterior
        Exact, with clinics' effects.

    Returns
    -------
    xarray.DataArray
        Dims chain, draw, trial (one).
    """
    design = posterior.design
    parts = [
        exact_of_levels(design, gaussian_draws(part.draws, design))
        for _, _, part in posterior.blocks(len(design.y))
    ]
    found = np.concatenate(parts).reshape(*posterior.shape, 1)
    found -= np.log(design.scale.unit) * len(design.y)
    return _labelled(found, posterior.draws, "trial", np.array([posterior.name]))


def clinic_log_likelihood(posterior: Posterior) -> xr.DataArray:
    """Log density of the outcomes of each clinic's patients together at every draw.

    Parameters
    ----------
    posterior : Posterior
        Gaussian or Student t.

    Returns
    -------
    xarray.DataArray
        Dims chain, draw, clinic, with the effects of the clinic and of therapists who work there
        alone integrated out. Therapists who work elsewhere too have those of the draw.

    Raises
    ------
    InputError
        If the model has no clinics, or the outcome is not Gaussian.
    """
    design = posterior.design
    require_clinic_effects(posterior)
    number = len(design.clinics)
    works_in = np.zeros((design.units, number), dtype=bool)
    works_in[design.therapist_index, design.clinic_of] = True
    inside = works_in.sum(axis=1) == 1
    known = len(design.therapists)
    inside[known:] = False
    found = np.empty((*posterior.shape, number))
    for chain, some, part in posterior.blocks(4 * len(design.y)):
        own = own_therapists(part)
        assert own is not None  # known ones
        effect = own.effect.copy()
        q = len(design.effects)
        effect[..., q:] = 0.0
        alone = np.zeros(effect.shape[1], dtype=bool)
        alone[own.index] = inside[design.therapist_index]
        effect[:, alone] = 0.0
        centre = predictor_at(part, part.rows, part.alliance(), replace(own, effect=effect))
        sd = np.broadcast_to(part.parameters_in(design.arm_index)["residual_sd"], centre.shape)
        residual, P, C = (design.y - centre) / sd, therapist_factor(part), clinic_factor(part)
        for clinic in range(number):
            rows = np.flatnonzero(design.clinic_of == clinic)
            Z, blocks = [design.X[rows, k] / sd[:, rows] for k in design.clinic_columns], [C]
            for therapist in np.unique(design.therapist_index[rows]):
                if therapist < known and inside[therapist] and q:
                    his = design.therapist_index[rows] == therapist
                    Z += [his * design.X[rows, k] / sd[:, rows] for k in design.effect_columns]
                    blocks.append(P)
            factor = np.zeros((len(residual), len(Z), len(Z)))
            start = 0
            for block in blocks:
                size = block.shape[1]
                factor[:, start : start + size, start : start + size] = block
                start += size
            together = np.zeros(len(rows), dtype=np.int64)
            one = np.ones((len(residual), 1))
            density = gaussian_integrated(residual[:, rows], Z, factor, one, together, 1)[:, 0]
            found[chain, some, clinic] = density - np.log(sd[:, rows]).sum(axis=1)
    found -= np.log(design.scale.unit) * np.bincount(design.clinic_of, minlength=number)
    return _labelled(found, posterior.draws, "clinic", np.array(design.clinics))


def require_clinic_effects(posterior: Posterior) -> None:
    """Refuse to leave out clinics where the model has none, or they cannot be integrated out.

    Raises
    ------
    InputError
    """
    design = posterior.design
    other = 'Leave out patients or therapists instead (`by="patient"`, `by="therapist"`).'
    if not design.clinic_effects:
        raise InputError(f"{posterior.name}: the model has no effects of clinics.", other)
    if design.family.name != "gaussian":
        raise InputError(
            f"{posterior.name}: clinics are left out of Gaussian outcomes alone, whose clinics and "
            "therapists integrate out together.",
            other,
        )


def require_integrable(posterior: Posterior) -> None:
    """Refuse outcomes whose therapist effects are not integrated out.

    Raises
    ------
    InputError
    """
    posterior.refuse_over_time("Leave-one-out")
    if posterior.joint:
        raise InputError(
            "The outcomes of a joint model are not left out one at a time: a patient's outcomes "
            "speak of one another.",
            "Fit the outcomes without `joint`.",
        )
    design = posterior.design
    if design.family.name != "gaussian" and len(design.effects) > MOST_INTEGRATED:
        raise InputError(
            f"{posterior.name}: {len(design.effects)} effects vary between therapists; they are "
            f"integrated out for up to {MOST_INTEGRATED} where the outcome is not Gaussian.",
            'Leave out patients instead (`by="patient"`), or fit without therapist_by_arm.',
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
    clinics = design.clinic_labels if design.clinic_effects else None
    choice = TherapistChoice("known", design.labels, clinics)
    return therapist_part(posterior, choice, len(design.y))


def _pointwise(design: Design, predictor: Array, auxiliary: dict[str, Array]) -> Array:
    """Log likelihood of each patient's outcome on its own scale, (d, n)."""
    eta = own_link(design, predictor)
    found = design.family.log_likelihood(ARRAYS, design.y, eta, auxiliary, design.scale)
    return np.asarray(found) - (0.0 if design.family.discrete else np.log(design.scale.unit))


def _integrated(posterior: Posterior) -> Array:
    """Log likelihood of each therapist's outcomes, the family's own variable, (d, J)."""
    design = posterior.design
    part = own_therapists(posterior)
    if part is not None:
        effect = part.effect.copy()
        effect[..., : len(design.effects)] = 0.0  # clinics stay as they are in the draw
        part = replace(part, effect=effect)
    moderator = posterior.alliance()
    centre = predictor_at(posterior, posterior.rows, moderator, part)
    within = moderator if part is None else moderator - part.own_mean()
    has = design.nesting.has_therapist(design.arm_index)
    Z = [
        (within if name == "slope" else design.X[None, :, column]) * has
        for name, column in zip(design.effects, design.effect_columns, strict=True)
    ]
    if not Z:  # clinics alone differ: patients of a therapist are independent given theirs
        eta = own_link(design, centre)
        own = posterior.parameters_in(design.arm_index)
        each = design.family.log_likelihood(ARRAYS, design.y, eta, own, design.scale)
        members = design.therapist_index[:, None] == np.arange(design.units)
        return np.asarray(each) @ members
    factor = therapist_factor(posterior)
    therapists = (design.therapist_index, design.units)
    if design.family.name == "gaussian":
        residual_sd = posterior.parameters_in(design.arm_index)["residual_sd"]
        if residual_sd.shape[1] == 1:
            return gaussian_integrated(design.y - centre, Z, factor, residual_sd, *therapists)
        scaled = (design.y - centre) / residual_sd
        Z = [times / residual_sd for times in Z]
        one = np.ones((len(scaled), 1))
        found = gaussian_integrated(scaled, Z, factor, one, *therapists)
        members = design.therapist_index[:, None] == np.arange(design.units)
        return np.asarray(found - np.log(residual_sd) @ members)

    def of_rows(some: NDArray[np.int64]) -> Callable[[Array], Array]:
        own = posterior.parameters_in(design.arm_index[some])

        def log_density(predictor: Array) -> Array:
            eta = own_link(design, predictor, some)
            return np.asarray(
                design.family.log_likelihood(ARRAYS, design.y[some], eta, own, design.scale)
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
