"""The exact Gaussian model with its coefficients integrated out as well, in NumPy.

Given the SDs, outcome, coefficients and therapist effects are jointly normal. With V the outcome's
covariance once therapist effects are out (`models.gaussian.marginal`), S the coefficients' prior
covariance P = S^-1 + X'V^-1 X and b = X'V^-1 y,

    log p(y | SDs) = -1/2 (n log 2 pi + log|V| + log|S| + log|P| + y'V^-1 y - b'P^-1 b),

and the coefficients are normal with mean P^-1 b and covariance P^-1 (Lindley & Smith 1972,
doi:10.1111/j.2517-6161.1972.tb00885.x). Three or four SDs and a correlation are all that is left to
sample. Only cross-products enter, for many values of the SDs at once.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alliance.models.design.design import Design
from alliance.models.gaussian.gaussian_draws import GaussianDraws
from alliance.models.gaussian.marginal import (
    LOG_2_PI,
    Elements,
    TherapistTerms,
    is_zero,
    scaled,
    therapist_terms,
)

Array = NDArray[np.float64]

BLOCK_NUMBERS = 500_000  # of draws x therapists x effects^2: what the processor's caches hold
DIGITS = 1e-13  # least over largest eigenvalue of a precision that double numbers can hold


@dataclass(frozen=True, slots=True)
class Collapsed:
    """What d values of the SDs leave to know.

    Attributes
    ----------
    log_likelihood : ndarray, shape (d,)
        Coefficients and therapist effects integrated out; minus infinity where therapist SDs are
        so many residual SDs that no digit is left.
    mean : ndarray, shape (d, p)
        Of the coefficients that are present, given the SDs.
    factor : ndarray, shape (d, p, p)
        Lower Cholesky factor of their precision.
    """

    log_likelihood: Array
    mean: Array
    factor: Array

    def draw(self, generator: np.random.Generator) -> Array:
        """One draw of the coefficients for each value of the SDs, shape (d, p)."""
        noise = generator.standard_normal(self.mean.shape)[..., None]
        return np.asarray(self.mean + np.linalg.solve(self.factor.mT, noise)[..., 0])

    def take(self, chosen: NDArray[np.int64]) -> Collapsed:
        """The same for some of the values, in any order."""
        return Collapsed(self.log_likelihood[chosen], self.mean[chosen], self.factor[chosen])


def collapse(design: Design, spreads: GaussianDraws, prior_sd: Array) -> Collapsed:
    """Integrate coefficients and therapist effects out at each value of the SDs.

    Parameters
    ----------
    design : Design
        Exact and with the moderator in one piece; p coefficients are present.
    spreads : GaussianDraws
        d values; its coefficients are not used.
    prior_sd : ndarray
        Of every coefficient of the design, as of `models.design.design.Design.prior_sd`.

    Returns
    -------
    Collapsed
    """
    size = max(1, len(design.effects))
    block = max(1, BLOCK_NUMBERS // (len(design.therapists) * size**2))
    starts = range(0, len(spreads.residual_sd), block)

    def part(start: int) -> Collapsed:
        return _collapse(design, spreads.block(slice(start, start + block)), prior_sd)

    # Blocks are the same on any number of cores, and so are their last bits
    with ThreadPoolExecutor() as pool:
        parts = list(pool.map(part, starts)) if len(starts) > 1 else [part(0)]
    return Collapsed(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("log_likelihood", "mean", "factor")
        )
    )


def _collapse(design: Design, spreads: GaussianDraws, prior_sd: Array) -> Collapsed:
    kept = [*design.present, len(design.coefficients)]  # and the outcome
    within = design.moments.cross_products[:, :, kept]
    variance = spreads.residual_sd[:, None, None] ** 2
    products = np.broadcast_to(within[:, kept].sum(axis=0), (len(variance), len(kept), len(kept)))
    log_determinant = np.zeros(len(variance))
    if columns := design.effect_columns:
        ZtW = within[:, columns]
        terms, G = _therapists(design, spreads)
        products = products - _explained(terms, G, ZtW)
        log_determinant = terms.log_determinant.sum(axis=-1)
    products = products / variance
    p = len(kept) - 1
    scale = prior_sd[design.present]
    factor, lost = _cholesky(products[:, :p, :p] + np.diag(scale**-2.0))
    half = np.linalg.solve(factor, products[:, :p, p:])
    mean = np.linalg.solve(factor.mT, half)[..., 0]
    n = design.moments.n
    log_likelihood = -0.5 * (
        n * (LOG_2_PI + np.log(variance[:, 0, 0]))
        + log_determinant
        + products[:, p, p]
        - (half[..., 0] ** 2).sum(axis=1)
    )
    log_likelihood -= np.log(scale).sum()
    log_likelihood -= np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
    return Collapsed(np.where(lost, -np.inf, log_likelihood), mean, factor)


def _cholesky(matrices: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Lower factors, and which matrices rounding has left without one.

    Therapist SDs of a million residual SDs explain all but the last digits of a sum of squares.
    No posterior is there, and a search for its mode may step there.
    """
    try:
        return np.linalg.cholesky(matrices), np.zeros(len(matrices), dtype=bool)
    except np.linalg.LinAlgError:
        finite = np.isfinite(matrices).all(axis=(1, 2))
        whole = np.where(finite[:, None, None], matrices, 0.0)
        values = np.linalg.eigvalsh(whole)
        lost = values[:, 0] <= DIGITS * np.abs(values[:, -1])
        kept = np.where(lost[:, None, None], np.eye(matrices.shape[-1]), whole)
        return np.linalg.cholesky(kept), lost


def _therapists(design: Design, spreads: GaussianDraws) -> tuple[TherapistTerms, list[list[Array]]]:
    """Factors of every therapist's matrix M_j, and the effects' factor over the residual SD."""
    columns = design.effect_columns
    ZtZ = design.moments.ZtZ(columns)
    span = range(len(columns))
    G = scaled(spreads.factor(len(design.effects)), spreads.residual_sd[:, None])
    nothing = np.zeros(len(design.therapists))
    terms = therapist_terms(
        ZtZ=[[ZtZ[:, a, b] for b in span] for a in span], Ztr=[nothing for _ in span], G=G
    )
    return terms, G


def _explained(terms: TherapistTerms, G: Elements, ZtW: Array) -> Array:
    """Sum over therapists of ``W_j'Z_j G M_j^-1 G' Z_j'W_j``, shape (d, p + 1, p + 1)."""
    size, width = ZtW.shape[1:]
    span = range(size)
    # Rows of U^-1 G', from which G M^-1 G' is put together: M = U D U'
    solved = []
    for a in span:
        row: list[Array] = []
        for c in span:
            own = 0.0 if is_zero(G[a][c]) or c > a else G[a][c]
            row.append(own - sum(terms.factor[c][e] * row[e] for e in range(c)))
        solved.append(row)
    found = np.zeros((len(terms.log_determinant), width * width))
    for a in span:
        for b in range(a + 1):
            weight = sum(solved[a][c] * solved[b][c] / terms.pivots[c] for c in span)
            outer = ZtW[:, a, :, None] * ZtW[:, b, None, :]
            if a != b:
                outer = outer + outer.mT
            found += np.asarray(weight) @ outer.reshape(len(outer), -1)
    return found.reshape(-1, width, width)
