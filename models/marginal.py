"""Therapist effects integrated out of a Gaussian model in closed form.

With ``L`` the Cholesky factor of the therapist effects' covariance and ``r_j = y_j - X_j beta``,
therapist j contributes ``M_j = I + L' Z_j'Z_j L / sigma^2`` and ``w_j = L' Z_j' r_j``:

    log p(y | beta, sigma, L) = -n/2 log(2 pi) - n log sigma - 1/2 sum_j log|M_j|
                                - (r'r - sum_j w_j' M_j^-1 w_j / sigma^2) / (2 sigma^2)

(matrix determinant lemma and Woodbury identity; Harville 1977, doi:10.1080/01621459.1977.10480998).
Only cross-products enter, so the cost does not depend on the number of patients.

The matrices M_j are at most a few rows wide, one for each therapist. Their Cholesky factors are
therefore written out element by element, each element a vector over therapists; the same lines
serve PyTensor's symbols (for the sampler's gradient) and NumPy's arrays of draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Elements = Sequence[Sequence[Any]]  # a small matrix, each element an array or a symbol


def covariance_factor(
    intercept_sd: Any, slope_sd: Any, correlation: Any, sqrt: Callable[[Any], Any]
) -> list[list[Any]]:
    """Lower Cholesky factor of the covariance of therapist intercepts and slopes, by elements."""
    return [
        [intercept_sd, 0.0 * intercept_sd],
        [slope_sd * correlation, slope_sd * sqrt(1 - correlation**2)],
    ]


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
        Elements of the lower Cholesky factor of M_j.
    whitened : list
        Elements of ``C_j^-1 w_j`` with C_j that factor.
    """

    log_determinant: Any
    explained: Any
    factor: list[list[Any]]
    whitened: list[Any]


def therapist_terms(
    ZtZ: Elements,
    Ztr: Sequence[Any],
    L: Elements,
    residual_variance: Any,
    sqrt: Callable[[Any], Any],
    log: Callable[[Any], Any],
) -> TherapistTerms:
    """Log determinant and explained sum of squares of every therapist.

    Parameters
    ----------
    ZtZ : q x q nested sequence
        Elements of Z_j'Z_j, each over therapists.
    Ztr : sequence of q
        Elements of Z_j'r_j, each over therapists (and draws).
    L : q x q nested sequence
        Elements of the lower Cholesky factor of the covariance; those above the diagonal unused.
    residual_variance : scalar or array over draws
    sqrt, log : callable
        Of the array library in use.

    Returns
    -------
    TherapistTerms
    """
    size = len(Ztr)
    span = range(size)
    M = [
        [
            float(a == b)
            + sum(L[c][a] * ZtZ[c][d] * L[d][b] for c in range(a, size) for d in range(b, size))
            / residual_variance
            for b in span
        ]
        for a in span
    ]
    w = [sum(L[c][a] * Ztr[c] for c in range(a, size)) for a in span]

    factor: list[list[Any]] = [[None] * size for _ in span]
    whitened: list[Any] = []
    for a in span:
        for b in range(a + 1):
            rest = M[a][b] - sum(factor[a][c] * factor[b][c] for c in range(b))
            factor[a][b] = sqrt(rest) if a == b else rest / factor[b][b]
        whitened.append((w[a] - sum(factor[a][c] * whitened[c] for c in range(a))) / factor[a][a])
    return TherapistTerms(
        log_determinant=2 * sum(log(factor[a][a]) for a in span),
        explained=sum(element**2 for element in whitened) / residual_variance,
        factor=factor,
        whitened=whitened,
    )


def solve_transposed(factor: Elements, right: Sequence[Any]) -> list[Any]:
    """Solve ``C' x = b`` for the lower factor C, element by element.

    Parameters
    ----------
    factor : q x q nested sequence
        Lower triangular.
    right : sequence of q

    Returns
    -------
    list of q
    """
    size = len(right)
    solution: list[Any] = [None] * size
    for a in reversed(range(size)):
        known = sum(factor[b][a] * solution[b] for b in range(a + 1, size))
        solution[a] = (right[a] - known) / factor[a][a]
    return solution
