"""Therapist effects integrated out of a Gaussian model in closed form.

With ``L`` the Cholesky factor of the therapist effects' covariance and ``r_j = y_j - X_j beta``,
therapist j contributes ``M_j = I + L' Z_j'Z_j L / sigma^2`` and ``w_j = L' Z_j' r_j``:

    log p(y | beta, sigma, L) = -n/2 log(2 pi) - n log sigma - 1/2 sum_j log|M_j|
                                - (r'r - sum_j w_j' M_j^-1 w_j / sigma^2) / (2 sigma^2)

(matrix determinant lemma and Woodbury identity; Harville 1977, doi:10.1080/01621459.1977.10480998).
Only cross-products enter, so the cost does not depend on the number of patients.

The matrices M_j are at most a few rows wide, one for each therapist. Their triangular factors are
therefore written out element by element, each element an array over draws and therapists. The
factor L and the alliance's own model serve PyTensor's symbols as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LOG_2_PI = math.log(2 * math.pi)
Elements = Sequence[Sequence[Any]]  # a small matrix, each element an array or a symbol


def covariance_factor(
    intercept_sd: Any, slope_sd: Any, correlation: Any, sqrt: Callable[[Any], Any]
) -> list[list[Any]]:
    """Lower Cholesky factor of the covariance of therapist intercepts and slopes, by elements."""
    return [
        [intercept_sd, 0.0 * intercept_sd],
        [slope_sd * correlation, slope_sd * sqrt(1 - correlation**2)],
    ]


def scaled(L: Elements, unit: Any) -> list[list[Any]]:
    """Factor divided by a number or symbol; elements that are the number zero stay so."""
    return [[element if is_zero(element) else element / unit for element in row] for row in L]


def with_independent(L: Elements, sd: Any, number: int) -> list[list[Any]]:
    """Lower factor enlarged by effects that are independent of the others and share one SD."""
    size = len(L)
    rows = [[*row, *[0.0] * number] for row in L]
    return rows + [[*[0.0] * (size + k), sd, *[0.0] * (number - 1 - k)] for k in range(number)]


def is_zero(element: Any) -> bool:
    """Whether an element is the number zero, and not an array or symbol."""
    return isinstance(element, float) and element == 0.0


@dataclass(frozen=True, slots=True)
class TherapistTerms:
    """What one therapist adds to the integrated likelihood, for all therapists at once.

    Attributes
    ----------
    log_determinant : array
        log|M_j|.
    explained : array
        ``w_j' M_j^-1 w_j / sigma^2``.
    factor : nested list
        Elements below the diagonal of the unit lower factor U_j, with M_j = U_j D_j U_j'.
    pivots : list
        Diagonal of D_j.
    solved : list
        Elements of ``U_j^-1 w_j / sigma``.
    """

    log_determinant: Any
    explained: Any
    factor: list[list[Any]]
    pivots: list[Any]
    solved: list[Any]


def therapist_terms(ZtZ: Elements, Ztr: Sequence[Any], G: Elements) -> TherapistTerms:
    """Log determinant and explained sum of squares of every therapist.

    Parameters
    ----------
    ZtZ : q x q nested sequence
        Elements of Z_j'Z_j, each over therapists.
    Ztr : sequence of q
        Elements of Z_j'r_j, each over therapists (and draws).
    G : q x q nested sequence
        Elements of ``L / sigma``, the lower Cholesky factor of the effects' covariance over the
        residual SD; those above the diagonal are not used.

    Returns
    -------
    TherapistTerms
    """
    size = len(Ztr)
    span = range(size)
    w = [sum(G[c][a] * Ztr[c] for c in range(a, size) if not is_zero(G[c][a])) for a in span]
    factor: list[list[Any]] = [[None] * size for _ in span]
    pivots: list[Any] = []
    solved: list[Any] = []
    for a in span:
        rows: list[Any] = []  # of U_j D_j
        for b in range(a + 1):
            element = float(a == b) + sum(
                G[c][a] * ZtZ[c][d] * G[d][b]
                for c in range(a, size)
                for d in range(b, size)
                if not (is_zero(G[c][a]) or is_zero(G[d][b]))
            )
            rows.append(element - sum(rows[c] * factor[b][c] for c in range(b)))
            if b < a:
                factor[a][b] = rows[b] / pivots[b]
        pivots.append(rows[a])
        solved.append(w[a] - sum(factor[a][c] * solved[c] for c in range(a)))
    return TherapistTerms(
        log_determinant=np.log(math.prod(pivots)),
        explained=sum(t**2 / d for t, d in zip(solved, pivots, strict=True)),
        factor=factor,
        pivots=pivots,
        solved=solved,
    )


def solve_transposed(factor: Elements, right: Sequence[Any]) -> list[Any]:
    """Solve ``U' x = b`` for the unit lower factor U, element by element.

    Parameters
    ----------
    factor : q x q nested sequence
        Elements below the diagonal.
    right : sequence of q

    Returns
    -------
    list of q
    """
    size = len(right)
    solution: list[Any] = [None] * size
    for a in reversed(range(size)):
        known = sum(factor[b][a] * solution[b] for b in range(a + 1, size))
        solution[a] = right[a] - known
    return solution


def effects_given(
    terms: TherapistTerms,
    L: Elements,
    residual_sd: Any,
    generator: np.random.Generator,
) -> Any:
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


def explained_products(terms: TherapistTerms, G: Elements, ZtW: Any) -> Any:
    """Sum over therapists of ``W_j'Z_j G M_j^-1 G' Z_j'W_j``, shape (d, p + 1, p + 1).

    Z_j'W_j is one for all draws, (J, q, p + 1), or one for each, (d, J, q, p + 1).
    """
    size, width = ZtW.shape[-2:]
    span = range(size)
    # Rows of U^-1 G', from which G M^-1 G' is put together: M = U D U'
    solved = []
    for a in span:
        row: list[Any] = []
        for c in span:
            own = 0.0 if is_zero(G[a][c]) or c > a else G[a][c]
            row.append(own - sum(terms.factor[c][e] * row[e] for e in range(c)))
        solved.append(row)
    if ZtW.ndim == 4:
        found = np.zeros((len(ZtW), width, width))
        for c in span:
            there = [a for a in span if not is_zero(solved[a][c])]
            parts = [solved[a][c][..., None] * ZtW[:, :, a] for a in there]
            own = np.sum(parts, axis=0)
            found += own.mT @ (own / terms.pivots[c][..., None])
        return found
    found = np.zeros((len(terms.log_determinant), width * width))
    for a in span:
        for b in range(a + 1):
            weight = sum(solved[a][c] * solved[b][c] / terms.pivots[c] for c in span)
            outer = ZtW[:, a, :, None] * ZtW[:, b, None, :]
            if a != b:
                outer = outer + outer.mT
            found += np.asarray(weight) @ outer.reshape(len(outer), -1)
    return found.reshape(-1, width, width)


@dataclass(frozen=True, slots=True)
class AllianceTerms:
    """Therapists' deviations in the alliance given their patients' ratings, for all at once.

    Attributes
    ----------
    log_likelihood : array
        Of the ratings, the deviations integrated out.
    mean, variance : array
        Of each therapist's deviation from what is expected of the patients.
    """

    log_likelihood: Any
    mean: Any
    variance: Any


def alliance_terms(
    count: Any,
    total: Any,
    squares: Any,
    location: Any,
    therapist_variance: Any,
    residual_variance: Any,
    log: Callable[[Any], Any],
) -> AllianceTerms:
    """Therapists' deviations m_j with ``a_ij ~ N(location + m_j, residual variance)``, m_j normal.

    Parameters
    ----------
    count, total, squares : array, shape (J,)
        Number, sum and sum of squares of each therapist's ratings.
    location, therapist_variance, residual_variance : scalar or array over draws
    log : callable

    Returns
    -------
    AllianceTerms
    """
    deviation = total - count * location
    denominator = residual_variance + count * therapist_variance
    mean = therapist_variance * deviation / denominator
    within = squares - 2 * location * total + count * location**2 - mean * deviation
    determinant = (count - 1) * log(residual_variance) + log(denominator)
    return AllianceTerms(
        log_likelihood=-0.5 * (count * LOG_2_PI + determinant + within / residual_variance),
        mean=mean,
        variance=therapist_variance * residual_variance / denominator,
    )
