"""What follows from draws of the exact Gaussian model by arithmetic alone, without compiling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.design import Design
from models.marginal import TherapistTerms, covariance_factor, solve_transposed, therapist_terms

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
    therapist_sd, therapist_slope_sd, therapist_correlation : ndarray, shape (d,), or None
        None where the model has no such effect.
    """

    beta: Array
    residual_sd: Array
    therapist_sd: Array | None = None
    therapist_slope_sd: Array | None = None
    therapist_correlation: Array | None = None

    def factor(self) -> list[list[Array]]:
        """Elements (d, 1) of the lower Cholesky factor of the therapist effects' covariance."""
        if self.therapist_sd is None:
            return []
        intercept = self.therapist_sd[:, None]
        if self.therapist_slope_sd is None or self.therapist_correlation is None:
            return [[intercept]]
        slope, correlation = self.therapist_slope_sd[:, None], self.therapist_correlation[:, None]
        return covariance_factor(intercept, slope, correlation, np.sqrt)

    def block(self, some: slice) -> GaussianDraws:
        """A part of the draws."""

        def part(values: Array | None) -> Array | None:
            return None if values is None else values[some]

        return GaussianDraws(
            self.beta[some],
            self.residual_sd[some],
            part(self.therapist_sd),
            part(self.therapist_slope_sd),
            part(self.therapist_correlation),
        )


def _terms(design: Design, draws: GaussianDraws) -> TherapistTerms:
    moments, columns = design.moments, design.effect_columns
    ZtZ, ZtX, Zty = moments.ZtZ(columns), moments.ZtX(columns), moments.Zty(columns)
    q = range(len(columns))
    return therapist_terms(
        ZtZ=[[ZtZ[:, a, b] for b in q] for a in q],
        Ztr=[Zty[:, a] - draws.beta @ ZtX[:, a].T for a in q],
        L=draws.factor(),
        residual_variance=draws.residual_sd[:, None] ** 2,
        sqrt=np.sqrt,
        log=np.log,
    )


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
    """
    moments, beta = design.moments, draws.beta
    columns = list(range(beta.shape[1]))
    XtX, Xty = moments.ZtZ(columns), moments.Zty(columns)
    yty = moments.cross_products[:, -1, -1]
    squares = yty - 2 * beta @ Xty.T + np.einsum("dp,jpq,dq->dj", beta, XtX, beta, optimize=True)
    variance = draws.residual_sd[:, None] ** 2
    log_density = -0.5 * moments.count * np.log(2 * np.pi * variance)
    if design.effects:
        terms = _terms(design, draws)
        squares = squares - terms.explained
        log_density = log_density - 0.5 * terms.log_determinant
    return np.asarray(log_density - 0.5 * squares / variance)


def draw_therapist_effects(
    design: Design, draws: GaussianDraws, generator: np.random.Generator
) -> Array:
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
    ndarray, shape (d, J, q)
        On the standardised scale: normal with mean ``L M_j^-1 w_j / sigma^2`` and covariance
        ``L M_j^-1 L'`` (see `models.marginal`). A therapist without patients is drawn from the
        population of therapists.
    """
    total, therapists, size = len(draws.residual_sd), len(design.therapists), len(design.effects)
    effects = np.empty((total, therapists, size))
    if size == 0:
        return effects
    block = max(1, BLOCK_NUMBERS // (therapists * size))
    for start in range(0, total, block):
        some = slice(start, start + block)
        part = draws.block(some)
        terms, L = _terms(design, part), part.factor()
        variance = part.residual_sd[:, None] ** 2
        noise = generator.standard_normal((len(variance), therapists, size))
        standard = solve_transposed(
            terms.factor, [terms.whitened[a] / variance + noise[..., a] for a in range(size)]
        )
        for a in range(size):
            effects[some, :, a] = sum(L[a][b] * standard[b] for b in range(a + 1))
    return effects
