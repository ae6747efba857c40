"""The log density of visits and its gradient in the covariances, in loops; formulas: `.likelihood`.

The same numbers as `models.visits.likelihood` gives for one value of the covariances, for numba;
the tests hold the two together.

Symmetric matrices are *packed*: their lower triangles, row by row. The sums over groups then run
along pairs of visits, and those over therapists along coefficients, of which the processor does
several at a time.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Places = NDArray[np.int64]


@numba.njit
def root_and_inverse(M: Array, C: Array, D: Array, inverse: Array) -> float:
    """Log determinant of M = C C', positive definite; C is lower triangular, D = C^-1.

    The three are written to, and those above the diagonal of C and D are not looked at.
    """
    size = M.shape[0]
    log_determinant = 0.0
    for a in range(size):
        for b in range(a + 1):
            element = M[a, b]
            for c in range(b):
                element -= C[a, c] * C[b, c]
            C[a, b] = np.sqrt(element) if a == b else element / C[b, b]
        log_determinant += 2 * np.log(C[a, a])
    for a in range(size):  # rows of D, each a sum of earlier ones: along the rows, not across
        for b in range(size):
            D[a, b] = inverse[a, b] = 0.0
        for c in range(a):
            weight = C[a, c]
            for b in range(c + 1):
                D[a, b] -= weight * D[c, b]
        D[a, a] = 1.0
        for b in range(a + 1):
            D[a, b] /= C[a, a]
    for c in range(size):
        for a in range(c + 1):
            weight = D[c, a]
            for b in range(a + 1):
                inverse[a, b] += weight * D[c, b]
    for a in range(size):
        for b in range(a):
            inverse[b, a] = inverse[a, b]
    return log_determinant


@numba.njit
def add_product(out: Array, A: Array, B: Array) -> None:
    """Add A B to what is in ``out``; BLAS takes numba longer to compile than to save time here."""
    for a in range(A.shape[0]):
        for b in range(A.shape[1]):
            weight = A[a, b]
            for c in range(B.shape[1]):
                out[a, c] += weight * B[b, c]


@numba.njit
def add_product_of_turned(out: Array, A: Array, B: Array) -> None:
    """Add A'B to what is in ``out``."""
    for b in range(A.shape[0]):
        for a in range(A.shape[1]):
            weight = A[b, a]
            for c in range(B.shape[1]):
                out[a, c] += weight * B[b, c]


@numba.njit
def add_product_with_turned(out: Array, A: Array, B: Array) -> None:
    """Add AB' to what is in ``out``."""
    for a in range(A.shape[0]):
        for b in range(B.shape[0]):
            for c in range(A.shape[1]):
                out[a, b] += A[a, c] * B[b, c]


@numba.njit
def add_multiples(out: Array, weights: Array, along: Array) -> None:
    """Add ``weights[a] * along[b]`` to element (a, b)."""
    for a in range(len(weights)):
        weight = weights[a]
        for b in range(len(along)):
            out[a, b] += weight * along[b]


@numba.njit
def dot(a: Array, b: Array) -> float:
    """Sum of products, in their order."""
    total = 0.0
    for k in range(len(a)):
        total += a[k] * b[k]
    return total


@numba.njit
def omegas(
    residual: Array, seen: Places, residual_group: Places, patients: Places
) -> tuple[float, Array]:
    """Sum of n_g log|Sigma_g|, and enlarged precisions (G, V + 1, V + 1)."""
    groups, V = seen.shape
    omega = np.zeros((groups, V + 1, V + 1))
    total = 0.0
    places = np.zeros(V, dtype=np.int64)
    for g in range(groups):
        size = 0
        for t in range(V):
            if seen[g, t]:
                places[size] = t
                size += 1
        part, inverse = np.empty((size, size)), np.empty((size, size))
        for a in range(size):
            for b in range(size):
                part[a, b] = residual[residual_group[g], places[a], places[b]]
        log_determinant = root_and_inverse(part, np.empty_like(part), np.empty_like(part), inverse)
        total += patients[g] * log_determinant
        own = omega[g]
        for a in range(size):
            for b in range(size):
                element = inverse[a, b]
                own[places[a], places[b]] = element
                own[V, places[b]] += element
                own[places[a], V] += element
                own[V, V] += element
    return total, omega


@numba.njit
def density_in_covariances(
    residual: Array,
    loading: Array,
    precision: Array,
    term_visit: Places,
    term_column: Places,
    effect_visit: Places,
    seen: Places,
    residual_group: Places,
    patients: Places,
    columns: Array,
    both: Array,
    squares: Array,
    pair_group: Places,
    pair_start: Places,
    pair_effects: Array,
    pair_terms: Array,
    pair_scores: Array,
) -> tuple[float, Array, Array]:
    """Log likelihood and gradients in residual covariances and the factor of the effects'.

    Of residual covariances (A, V, V), the factor (Q, Q), and the arrays of
    `models.visits.operation.likelihood_data`. The gradients are those of each element by itself,
    symmetric, and of the lower triangle.
    """
    groups, V = seen.shape
    p, pairs = both.shape[2], squares.shape[1]
    P, Q, therapists = len(precision), len(effect_visit), len(pair_start) - 1
    determinants, omega = omegas(residual, seen, residual_group, patients)
    by_omega = np.zeros_like(omega)
    total = determinants

    # Products of columns c and d at visits s and t, and of columns with scores, over all groups
    M, r, w = np.zeros((columns.shape[1], pairs)), np.zeros((p, V)), np.zeros(pairs)
    for g in range(groups):
        own = omega[g]
        place = 0
        for s in range(V):
            for t in range(s + 1):
                w[place] = own[s, t]
                place += 1
        add_multiples(M, columns[g], w)
        total += dot(squares[g], w)
        for t in range(V):
            add_multiples(r, both[g, t], own[t, :V])
            total += seen[g, t] * patients[g] * np.log(2 * np.pi)
    information, sums = np.zeros((P, P)), np.zeros(P)
    first, end = np.zeros(P, dtype=np.int64), np.full(P, V)
    for k in range(P):
        if term_visit[k] < V:
            first[k], end[k] = term_visit[k], term_visit[k] + 1
        information[k, k] = precision[k]
        total -= np.log(precision[k])
        c = term_column[k]
        for s in range(first[k], end[k]):
            sums[k] += r[c, s]
            for m in range(k + 1):
                d = term_column[m]
                packed = c * (c + 1) // 2 + d if c >= d else d * (d + 1) // 2 + c
                for t in range(first[m], end[m]):
                    at = s * (s + 1) // 2 + t if s >= t else t * (t + 1) // 2 + s
                    information[k, m] += M[packed, at]

    # Therapist by therapist; their pairs stand together
    at_effect = np.zeros((groups, Q, P))
    for g in range(groups):
        for e in range(Q):
            for k in range(P):
                at_effect[g, e, k] = omega[g, effect_visit[e], term_visit[k]]
    A, C, t_ = np.zeros((therapists, Q, Q)), np.zeros((therapists, Q, P)), np.zeros((therapists, Q))
    inverses, roots = np.zeros((therapists, Q, Q)), np.zeros((therapists, Q, Q))
    root_C, root_t = np.zeros((therapists, Q, P)), np.zeros((therapists, Q))
    LC, AL, inner = np.zeros((Q, P)), np.zeros((Q, Q)), np.zeros((Q, Q))
    factor = np.zeros((Q, Q))
    for j in range(therapists):
        for i in range(pair_start[j], pair_start[j + 1]):
            g = pair_group[i]
            for e in range(Q):
                row = omega[g, effect_visit[e]]
                for f in range(Q):
                    A[j, e, f] += row[effect_visit[f]] * pair_effects[i, e, f]
                for k in range(P):
                    C[j, e, k] += at_effect[g, e, k] * pair_terms[i, e, k]
                for t in range(V):
                    t_[j, e] += row[t] * pair_scores[i, e, t]
        LC.fill(0.0)
        AL.fill(0.0)
        inner.fill(0.0)
        add_product_of_turned(LC, loading, C[j])
        add_product(AL, A[j], loading)
        add_product_of_turned(inner, loading, AL)
        for e in range(Q):
            inner[e, e] += 1.0
        D = roots[j]
        total += root_and_inverse(inner, factor, D, inverses[j])
        add_product(root_C[j], D, LC)
        for e in range(Q):
            for c in range(Q):
                for d in range(Q):
                    root_t[j, e] += D[e, c] * loading[d, c] * t_[j, d]
            total -= root_t[j, e] ** 2
            for k in range(P):
                weight = root_C[j, e, k]
                sums[k] -= weight * root_t[j, e]
                for m in range(k + 1):
                    information[k, m] -= weight * root_C[j, e, m]
    beta, covariance = np.zeros(P), np.zeros((P, P))
    total += root_and_inverse(
        information, np.zeros_like(information), np.zeros_like(information), covariance
    )
    for k in range(P):
        beta[k] = dot(covariance[k], sums)
        total -= beta[k] * sums[k]

    # Expected products of coefficients at visits s and t, and of coefficients
    B, b = np.zeros((columns.shape[1], pairs)), np.zeros((p, V))
    for k in range(P):
        c = term_column[k]
        for s in range(first[k], end[k]):
            b[c, s] += beta[k]
            for m in range(P):
                d = term_column[m]
                packed = c * (c + 1) // 2 + d if c >= d else d * (d + 1) // 2 + c
                for t in range(first[m], min(end[m], s + 1)):
                    at = s * (s + 1) // 2 + t
                    B[packed, at] += covariance[k, m] + beta[k] * beta[m]
    by_scores, by_w = np.zeros((V, V)), np.zeros((1, pairs))
    for g in range(groups):
        by_w.fill(0.0)
        by_scores.fill(0.0)
        add_product(by_w, columns[g : g + 1], B)
        add_product(by_scores, both[g], b)
        place, change = 0, by_omega[g]
        for s in range(V):
            for t in range(s + 1):
                element = by_scores[s, t] + by_scores[t, s] - by_w[0, place]
                if s == t:
                    element -= squares[g, place]
                else:
                    element -= 0.5 * squares[g, place]
                change[s, t] = 0.5 * element
                change[t, s] = 0.5 * element
                place += 1

    by_loading, over_terms = np.zeros((Q, Q)), np.zeros((Q, Q, P))
    at_change, K, wB, LwB = np.zeros_like(at_effect), LC, np.zeros((Q, P)), np.zeros((Q, P))
    white, wr, ww, Lww = np.zeros(Q), np.zeros(Q), np.zeros((Q, Q)), np.zeros((Q, Q))
    uu, u = np.zeros((Q, Q)), np.zeros(Q)
    for j in range(therapists):
        D = roots[j]
        for own in (K, AL, wB, LwB, Lww):
            own.fill(0.0)
        uu.fill(0.0)
        u.fill(0.0)
        add_product(K, root_C[j], covariance)
        add_product(AL, A[j], loading)
        for e in range(Q):
            white[e] = root_t[j, e] - dot(root_C[j, e], beta)
            for f in range(Q):
                inner[e, f] = dot(K[e], root_C[j, f])
        for e in range(Q):
            wr[e] = 0.0
            for c in range(e, Q):  # D is lower triangular
                wr[e] += D[c, e] * white[c]
        for e in range(Q):
            for f in range(Q):
                ww[e, f] = inverses[j, e, f] + wr[e] * wr[f]
                for c in range(Q):
                    for d in range(Q):
                        ww[e, f] += D[c, e] * inner[c, d] * D[d, f]
            for c in range(e, Q):
                weight = D[c, e]
                for k in range(P):
                    wB[e, k] -= weight * K[c, k]
            for k in range(P):
                wB[e, k] += wr[e] * beta[k]
        for e in range(Q):
            for f in range(e + 1):
                by_loading[e, f] += t_[j, e] * wr[f]
                for c in range(Q):
                    by_loading[e, f] -= AL[e, c] * ww[c, f]
                for k in range(P):
                    over_terms[e, f, k] += C[j, e, k] * wB[f, k]
        add_product(LwB, loading, wB)
        add_product(Lww, loading, ww)
        add_product_with_turned(uu, Lww, loading)
        for e in range(Q):
            for c in range(e + 1):
                u[e] += loading[e, c] * wr[c]
        for i in range(pair_start[j], pair_start[j + 1]):
            g = pair_group[i]
            for e in range(Q):
                change = by_omega[g, effect_visit[e]]
                for f in range(Q):
                    change[effect_visit[f]] -= 0.5 * uu[e, f] * pair_effects[i, e, f]
                for k in range(P):
                    at_change[g, e, k] += LwB[e, k] * pair_terms[i, e, k]
                for t in range(V):
                    change[t] += u[e] * pair_scores[i, e, t]
    for e in range(Q):
        for f in range(e + 1):
            for k in range(P):
                by_loading[e, f] -= over_terms[e, f, k]
        for g in range(groups):
            for k in range(P):
                by_omega[g, effect_visit[e], term_visit[k]] -= at_change[g, e, k]

    by_residual = np.zeros_like(residual)
    whole, half, own = np.zeros((V, V)), np.zeros((V, V)), np.zeros((V, V))
    for g in range(groups):
        change = by_omega[g]
        for s in range(V):
            for t in range(V):
                own[s, t] = omega[g, s, t]
                whole[s, t] = 0.5 * (change[s, t] + change[t, s] + change[s, V] + change[V, s])
                whole[s, t] += 0.5 * (change[V, t] + change[t, V]) + change[V, V]
        half.fill(0.0)
        add_product(half, own, whole)
        whole.fill(0.0)
        add_product(whole, half, own)
        found = by_residual[residual_group[g]]
        for s in range(V):
            for t in range(V):
                found[s, t] -= whole[s, t] + 0.5 * patients[g] * own[s, t]
    return -0.5 * total, by_residual, by_loading
