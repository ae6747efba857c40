"""What follows from draws of the exact Gaussian model by arithmetic alone, without compiling."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alliance.models.design.design import Design
from alliance.models.design.ratings import change_of_columns, moved_products, taken_apart
from alliance.models.gaussian.marginal import (
    TherapistTerms,
    covariance_factor,
    scaled,
    solve_transposed,
    therapist_terms,
    with_independent,
)

Array = NDArray[np.float64]

# Therapist effects are drawn in blocks of draws whose arrays stay near this many numbers (32 MB).
BLOCK_NUMBERS = 4_000_000


@dataclass(frozen=True, slots=True)
class GaussianDraws:
    """Draws of a Gaussian model's parameters on the standardised scale.

    Attributes
    ----------
    beta : ndarray, shape (d, p)
    residual_sd : ndarray, shape (d,)
    therapist_sd, therapist_slope_sd, therapist_correlation, therapist_arm_sd : (d,), or None
        None where the model has no such effect.
    moderator_slope_between : ndarray, shape (d,), or None
        Where the alliance is taken apart: see `models.design.ratings`.
    moderator_interaction_between : ndarray, shape (d, K - 1), or None
    moderator_therapist_mean : ndarray, shape (d, J), or None
        The therapists' true mean alliance.
    """

    beta: Array
    residual_sd: Array
    therapist_sd: Array | None = None
    therapist_slope_sd: Array | None = None
    therapist_correlation: Array | None = None
    therapist_arm_sd: Array | None = None
    moderator_slope_between: Array | None = None
    moderator_interaction_between: Array | None = None
    moderator_therapist_mean: Array | None = None

    @property
    def between_slopes(self) -> Array:
        """Of the part between therapists, (d, 1 or K), as `within_between` orders them."""
        slope = np.asarray(self.moderator_slope_between)[:, None]
        if self.moderator_interaction_between is None:
            return slope
        return np.hstack([slope, self.moderator_interaction_between])

    def factor(self, effects: int) -> list[list[Array]]:
        """Elements (d, 1) of the lower Cholesky factor of the covariance of so many effects."""
        if self.therapist_sd is None:
            return []
        factor = [[self.therapist_sd[:, None]]]
        if self.therapist_slope_sd is not None:
            slope = self.therapist_slope_sd[:, None]
            correlation = np.zeros_like(slope)  # where the model has none
            if self.therapist_correlation is not None:
                correlation = self.therapist_correlation[:, None]
            factor = covariance_factor(factor[0][0], slope, correlation, np.sqrt)
        if self.therapist_arm_sd is not None:
            arms = effects - len(factor)
            factor = with_independent(factor, self.therapist_arm_sd[:, None], arms)
        return factor

    def block(self, some: slice) -> GaussianDraws:
        """A part of the draws."""
        parts: dict[str, Any] = {}
        for field in fields(self):
            values = getattr(self, field.name)
            parts[field.name] = None if values is None else values[some]
        return GaussianDraws(**parts)


def _products(design: Design, draws: GaussianDraws) -> Array:
    """Cross-products within therapists, (J, P, P), or (d, J, P, P) where draws change them."""
    products = design.moments.cross_products
    if not taken_apart(design):
        return products
    slopes = [slope[:, None, None, None] for slope in draws.between_slopes.T]
    means = np.asarray(draws.moderator_therapist_mean)
    return np.asarray(moved_products(products, means, change_of_columns(design, slopes)))


def _integrate(
    design: Design, draws: GaussianDraws, products: Array
) -> tuple[TherapistTerms, list[list[Array]]]:
    """The therapists' part of the likelihood, and the lower factor of their effects."""
    columns = design.effect_columns
    q = range(len(columns))
    rows = products[..., columns, :]
    if products.ndim == 3:
        Ztr = [rows[:, a, -1] - draws.beta @ rows[:, a, :-1].T for a in q]
    else:
        Ztr = [rows[..., a, -1] - np.einsum("djp,dp->dj", rows[..., a, :-1], draws.beta) for a in q]
    L = draws.factor(len(columns))
    terms = therapist_terms(
        ZtZ=[[rows[..., a, column] for column in columns] for a in q],
        Ztr=Ztr,
        G=scaled(L, draws.residual_sd[:, None]),
    )
    return terms, L


def _blocks(design: Design, draws: GaussianDraws) -> list[slice]:
    """Blocks of draws whose arrays stay near so many numbers."""
    therapists, total = len(design.therapists), len(draws.residual_sd)
    numbers = max(1, len(design.effects))
    if taken_apart(design):
        numbers = 4 * (len(design.coefficients) + 1) ** 2  # the products, and what they are made of
    step = max(1, BLOCK_NUMBERS // (therapists * numbers))
    return [slice(start, start + step) for start in range(0, total, step)]


def therapist_log_likelihood(design: Design, draws: GaussianDraws) -> Array:
    """Log likelihood of each therapist's patients together, the therapist's effects integrated out.

    Parameters
    ----------
    design : Design
        J therapists.
    draws : GaussianDraws
        d draws.

    Returns
    -------
    ndarray, shape (d, J)
        Sums over therapists to the exact log likelihood; zero for a therapist without patients.
        Where the alliance is taken apart, given each draw's true means of the therapists.
    """
    if not taken_apart(design):
        return _log_likelihood(design, draws)
    blocks = _blocks(design, draws)
    return np.concatenate([_log_likelihood(design, draws.block(some)) for some in blocks])


def _log_likelihood(design: Design, draws: GaussianDraws) -> Array:
    moments, beta = design.moments, draws.beta
    products = _products(design, draws)
    XtX, Xty, yty = products[..., :-1, :-1], products[..., :-1, -1], products[..., -1, -1]
    if products.ndim == 3:
        linear = beta @ Xty.T
        quadratic = np.einsum("dp,jpq,dq->dj", beta, XtX, beta, optimize=True)
    else:
        linear = np.einsum("dp,djp->dj", beta, Xty)
        quadratic = np.einsum("djp,dp->dj", np.einsum("djpq,dq->djp", XtX, beta), beta)
    squares = yty - 2 * linear + quadratic
    variance = draws.residual_sd[:, None] ** 2
    log_density = -0.5 * moments.count * np.log(2 * np.pi * variance)
    if design.effects:
        terms, _ = _integrate(design, draws, products)
        squares = squares - terms.explained
        log_density = log_density - 0.5 * terms.log_determinant
    return np.asarray(log_density - 0.5 * squares / variance)


@dataclass(frozen=True, slots=True)
class TherapistDraws:
    """Therapists' effects on the standardised scale.

    Attributes
    ----------
    effect : ndarray, shape (d, J, q)
        In the order of the design's effects.
    moderator_mean : ndarray, shape (d, J), or None
        The therapists' true mean alliance; None unless it is taken apart.
    """

    effect: Array
    moderator_mean: Array | None


def draw_therapist_effects(
    design: Design, draws: GaussianDraws, generator: np.random.Generator
) -> TherapistDraws:
    """Draw every therapist's effects given the other parameters.

    Parameters
    ----------
    design : Design
        J therapists, q effects.
    draws : GaussianDraws
        d draws.
    generator : numpy.random.Generator

    Returns
    -------
    TherapistDraws
        Normal with mean ``L M_j^-1 w_j / sigma^2`` and covariance ``L M_j^-1 L'`` (see
        `models.gaussian.marginal`). A therapist without patients is drawn from the population.
    """
    total, therapists = len(draws.residual_sd), len(design.therapists)
    effects = np.empty((total, therapists, len(design.effects)))
    if design.effects:
        for some in _blocks(design, draws):
            part = draws.block(some)
            terms, L = _integrate(design, part, _products(design, part))
            effects[some] = effects_given(terms, L, part.residual_sd[:, None], generator)
    return TherapistDraws(effects, draws.moderator_therapist_mean)


def effects_given(
    terms: TherapistTerms,
    L: list[list[Array]],
    residual_sd: Array,
    generator: np.random.Generator,
) -> Array:
    """Draw therapists' effects from what the likelihood says of them, (d, J, q).

    Parameters
    ----------
    terms : TherapistTerms
        Of d draws.
    L : nested list
        Lower factor of the effects' covariance, elements (d, 1) or (d, J).
    residual_sd : ndarray, shape (d, 1)
    generator : numpy.random.Generator
    """
    size = len(terms.solved)
    noise = generator.standard_normal((*np.shape(terms.solved[0]), size))
    right = [
        terms.solved[a] / (residual_sd * terms.pivots[a]) + noise[..., a] / np.sqrt(terms.pivots[a])
        for a in range(size)
    ]
    standard = solve_transposed(terms.factor, right)
    return np.stack(
        [sum(L[a][b] * standard[b] for b in range(a + 1)) for a in range(size)], axis=-1
    )
