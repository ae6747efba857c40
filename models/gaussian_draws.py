"""What follows from draws of the exact Gaussian model by arithmetic alone, without compiling."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.design import Design
from models.marginal import (
    AllianceTerms,
    TherapistTerms,
    alliance_terms,
    covariance_factor,
    scaled,
    solve_transposed,
    therapist_terms,
    with_independent,
    with_intercept_loading,
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
    moderator_coefficient, moderator_therapist_sd, moderator_residual_sd : (d,), or None
        The alliance's own model: its mean, and its SDs between and within therapists.
    moderator_slope_between : ndarray, shape (d,), or None
    """

    beta: Array
    residual_sd: Array
    therapist_sd: Array | None = None
    therapist_slope_sd: Array | None = None
    therapist_correlation: Array | None = None
    therapist_arm_sd: Array | None = None
    moderator_coefficient: Array | None = None
    moderator_therapist_sd: Array | None = None
    moderator_residual_sd: Array | None = None
    moderator_slope_between: Array | None = None

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


@dataclass(frozen=True, slots=True)
class _Integrated:
    """The therapists' part of the likelihood, and what their effects are drawn from."""

    terms: TherapistTerms
    L: list[list[Array]]
    alliance: AllianceTerms | None
    contextual: Array | None  # (d, 1)
    squares: Array | float  # what a moved intercept adds to the residual sum of squares, (d, J)


def _integrate(design: Design, draws: GaussianDraws) -> _Integrated:
    moments = design.moments
    intercept = design.coefficients.index("intercept")
    columns = design.effect_columns or [intercept]
    ZtZ, ZtX, Zty = moments.ZtZ(columns), moments.ZtX(columns), moments.Zty(columns)
    q = range(len(columns))
    Ztr = [Zty[:, a] - draws.beta @ ZtX[:, a].T for a in q]
    L = draws.factor(len(design.effects))
    alliance, contextual, squares = None, None, 0.0
    if design.moderator.structure == "within_between":
        alliance, contextual = _alliance(design, draws)
        L = with_intercept_loading(L, contextual * np.sqrt(alliance.variance), np.sqrt)
        shift = contextual * alliance.mean
        squares = shift * (shift * ZtX[:, 0, intercept] - 2 * Ztr[0])
        Ztr = [Ztr[a] - shift * ZtX[:, a, intercept] for a in q]
    terms = therapist_terms(
        ZtZ=[[ZtZ[:, a, b] for b in q] for a in q],
        Ztr=Ztr,
        G=scaled(L, draws.residual_sd[:, None]),
    )
    return _Integrated(terms, L, alliance, contextual, squares)


def _alliance(design: Design, draws: GaussianDraws) -> tuple[AllianceTerms, Array]:
    """The alliance's own model, and the contextual effect (d, 1)."""
    moderator = design.coefficients.index("moderator")
    within = design.moments.cross_products
    location, between, spread, slope = (
        np.asarray(values)[:, None]
        for values in (
            draws.moderator_coefficient,
            draws.moderator_therapist_sd,
            draws.moderator_residual_sd,
            draws.moderator_slope_between,
        )
    )
    terms = alliance_terms(
        count=design.moments.count,
        total=within[:, design.coefficients.index("intercept"), moderator],
        squares=within[:, moderator, moderator],
        location=location,
        therapist_variance=between**2,
        residual_variance=spread**2,
        log=np.log,
    )
    return terms, slope - draws.beta[:, moderator, None]


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
        Where the alliance is taken apart, that of ratings and outcomes together.
    """
    moments, beta = design.moments, draws.beta
    columns = list(range(beta.shape[1]))
    XtX, Xty = moments.ZtZ(columns), moments.Zty(columns)
    yty = moments.cross_products[:, -1, -1]
    squares = yty - 2 * beta @ Xty.T + np.einsum("dp,jpq,dq->dj", beta, XtX, beta, optimize=True)
    variance = draws.residual_sd[:, None] ** 2
    log_density = -0.5 * moments.count * np.log(2 * np.pi * variance)
    if design.effects or design.moderator.structure == "within_between":
        integrated = _integrate(design, draws)
        squares = squares + integrated.squares - integrated.terms.explained
        log_density = log_density - 0.5 * integrated.terms.log_determinant
        if integrated.alliance is not None:
            log_density = log_density + integrated.alliance.log_likelihood
    return np.asarray(log_density - 0.5 * squares / variance)


@dataclass(frozen=True, slots=True)
class TherapistDraws:
    """Therapists' effects on the standardised scale.

    Attributes
    ----------
    effect : ndarray, shape (d, J, q)
        In the order of the design's effects.
    moderator_mean : ndarray, shape (d, J), or None
        The therapists' true mean alliance, as a deviation; None unless it is taken apart.
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
        `models.marginal`). A therapist without patients is drawn from the population.
    """
    total, therapists = len(draws.residual_sd), len(design.therapists)
    size = max(1, len(design.effects))
    effects = np.empty((total, therapists, size))
    taken_apart = design.moderator.structure == "within_between"
    means = np.empty((total, therapists)) if taken_apart else None
    if not design.effects and means is None:
        return TherapistDraws(effects[..., :0], None)
    block = max(1, BLOCK_NUMBERS // (therapists * size))
    for start in range(0, total, block):
        some = slice(start, start + block)
        part = draws.block(some)
        integrated = _integrate(design, part)
        terms, L = integrated.terms, integrated.L
        effects[some] = effects_given(terms, L, part.residual_sd[:, None], generator)
        if means is not None:
            means[some], effects[some, :, 0] = _take_apart(
                part, integrated, effects[some], generator
            )
    return TherapistDraws(effects[..., : len(design.effects)], means)


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


def _take_apart(
    draws: GaussianDraws, integrated: _Integrated, effects: Array, generator: np.random.Generator
) -> tuple[Array, Array]:
    """Split moved intercepts into the therapists' true mean alliance and their own intercepts.

    A moved intercept is ``u + c (m - mean of m)``, with c the contextual effect; given it, and the
    slope that u is correlated with, the two parts are normal.
    """
    alliance, contextual = integrated.alliance, integrated.contextual
    if alliance is None or contextual is None:
        raise ValueError("the alliance is not taken apart")
    moved = effects[..., 0]
    spread = alliance.variance
    own = np.zeros((len(moved), 1))  # variance and mean of u given the slope
    expected = np.zeros_like(moved)
    if draws.therapist_sd is not None:
        own = draws.therapist_sd[:, None] ** 2
        if draws.therapist_slope_sd is not None and draws.therapist_correlation is not None:
            correlation = draws.therapist_correlation[:, None]
            ratio = draws.therapist_sd[:, None] / draws.therapist_slope_sd[:, None]
            expected = correlation * ratio * effects[..., 1]
            own = own * (1 - correlation**2)
    both = contextual**2 * spread + own
    centre = contextual * spread / both * (moved - expected)
    noise = np.sqrt(spread * own / both) * generator.standard_normal(moved.shape)
    deviation = centre + noise
    return alliance.mean + deviation, moved - contextual * deviation
