"""The likelihood of visits with its gradient, in one operation; formulas: `.likelihood`.

The same numbers as `models.visits.likelihood` gives for one value of the covariances, in loops that
numba compiles; the tests hold the two together.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import pytensor.tensor as pt
from numpy.typing import NDArray
from pytensor.gradient import DisconnectedType, grad_not_implemented
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key

from alliance.models.visits.likelihood import VisitModel

Array = NDArray[np.float64]
Places = NDArray[np.int64]


def likelihood_data(model: VisitModel) -> dict[str, NDArray[Any]]:
    """The arrays that the operation is given, in its order."""
    moments = model.moments
    return {
        "precision": model.precision,
        "term_visit": model.terms.visit,
        "term_column": model.terms.column,
        "effect_visit": model.effects.visit,
        "effect_column": model.effects.column,
        "effect_row": np.searchsorted(moments.varying, model.effects.column).astype(np.int64),
        "seen": moments.seen.astype(np.int64),
        "residual_group": moments.residual_group,
        "patients": moments.patients,
        "cross_products": moments.cross_products,
        "pair_group": moments.pair_group,
        "pair_therapist": moments.pair_therapist,
        "pair_products": moments.pair_products,
    }


@numba.njit
def _root_and_inverse(M: Array) -> tuple[float, Array, Array]:
    """Log determinant, inverse of the lower factor and inverse of a positive definite matrix."""
    size = M.shape[0]
    C, D = np.zeros((size, size)), np.zeros((size, size))  # M = C C', D = C^-1
    log_determinant = 0.0
    for a in range(size):
        for b in range(a + 1):
            element = M[a, b]
            for c in range(b):
                element -= C[a, c] * C[b, c]
            C[a, b] = np.sqrt(element) if a == b else element / C[b, b]
        log_determinant += 2 * np.log(C[a, a])
    for a in range(size):  # rows of D, each a sum of earlier ones: along the rows, not across
        for c in range(a):
            weight = C[a, c]
            for b in range(c + 1):
                D[a, b] -= weight * D[c, b]
        D[a, a] = 1.0
        for b in range(a + 1):
            D[a, b] /= C[a, a]
    inverse = np.zeros((size, size))
    for c in range(size):
        for a in range(c + 1):
            weight = D[c, a]
            for b in range(a + 1):
                inverse[a, b] += weight * D[c, b]
    for a in range(size):
        for b in range(a):
            inverse[b, a] = inverse[a, b]
    return log_determinant, D, inverse


def _visits(
    residual: Array,
    loading: Array,
    precision: Array,
    term_visit: Places,
    term_column: Places,
    effect_visit: Places,
    effect_column: Places,
    effect_row: Places,
    seen: Places,
    residual_group: Places,
    patients: Places,
    cross_products: Array,
    pair_group: Places,
    pair_therapist: Places,
    pair_products: Array,
) -> tuple[float, Array, Array]:
    """Log likelihood and gradients; numba compiles it, and Python understands it."""
    groups, V = seen.shape
    p = cross_products.shape[1] - V
    P, Q, pairs = len(precision), len(effect_visit), len(pair_group)
    omega, by_omega = np.zeros((groups, V + 1, V + 1)), np.zeros((groups, V + 1, V + 1))
    information, sums = np.zeros((P, P)), np.zeros(P)
    log_density, squares, scores = 0.0, 0.0, 0
    for k in range(P):
        information[k, k] = precision[k]
        log_density += 0.5 * np.log(precision[k])
    for g in range(groups):
        # Rows and columns of visits not seen become those of the identity, and zero again.
        part = residual[residual_group[g]].copy()
        for s in range(V):
            scores += seen[g, s] * patients[g]
            for t in range(V):
                if not (seen[g, s] and seen[g, t]):
                    part[s, t] = 1.0 if s == t else 0.0
        log_determinant, _, inverse = _root_and_inverse(part)
        log_density -= 0.5 * patients[g] * log_determinant
        own, S = omega[g], cross_products[g]
        for s in range(V):
            for t in range(V):
                if seen[g, s] and seen[g, t]:
                    own[s, t] = inverse[s, t]
                    own[V, t] += inverse[s, t]
                    own[s, V] += inverse[s, t]
                    own[V, V] += inverse[s, t]
                    squares += inverse[s, t] * S[p + s, p + t]
        for k in range(P):
            row, products = own[term_visit[k]], S[term_column[k]]
            for m in range(k + 1):
                information[k, m] += row[term_visit[m]] * products[term_column[m]]
            for t in range(V):
                sums[k] += row[t] * products[p + t]
    log_density -= 0.5 * scores * np.log(2 * np.pi)

    # Therapist by therapist; their pairs stand together
    held = np.zeros(pairs, dtype=np.int64)  # number of the therapist of each pair
    therapists = 0
    for i in range(pairs):
        if i and pair_therapist[i] != pair_therapist[i - 1]:
            therapists += 1
        held[i] = therapists
    therapists = therapists + 1 if pairs and Q else 0
    A, C, t_ = np.zeros((therapists, Q, Q)), np.zeros((therapists, Q, P)), np.zeros((therapists, Q))
    GC, inverses = np.zeros((therapists, Q, P)), np.zeros((therapists, Q, Q))
    Gt = np.zeros((therapists, Q))
    if Q:
        for i in range(pairs):
            j, own = held[i], omega[pair_group[i]]
            for e in range(Q):
                row, products = own[effect_visit[e]], pair_products[i, effect_row[e]]
                for f in range(Q):
                    A[j, e, f] += row[effect_visit[f]] * products[effect_column[f]]
                for k in range(P):
                    C[j, e, k] += row[term_visit[k]] * products[term_column[k]]
                for t in range(V):
                    t_[j, e] += row[t] * products[p + t]
    LC, root_C = np.zeros((Q, P)), np.zeros((Q, P))
    Lt, root_t = np.zeros(Q), np.zeros(Q)
    for j in range(therapists):
        M = np.eye(Q)
        LC[:], root_C[:] = 0.0, 0.0
        Lt[:], root_t[:] = 0.0, 0.0
        for e in range(Q):
            for c in range(e, Q):  # L is lower triangular
                weight = loading[c, e]
                Lt[e] += weight * t_[j, c]
                for k in range(P):
                    LC[e, k] += weight * C[j, c, k]
                for f in range(Q):
                    for d in range(f, Q):
                        M[e, f] += weight * A[j, c, d] * loading[d, f]
        log_determinant, D, inverse = _root_and_inverse(M)
        log_density -= 0.5 * log_determinant
        inverses[j] = inverse
        for e in range(Q):
            for c in range(Q):
                weight, below = inverse[e, c], D[e, c]
                Gt[j, e] += weight * Lt[c]
                root_t[e] += below * Lt[c]
                for k in range(P):
                    GC[j, e, k] += weight * LC[c, k]
                    root_C[e, k] += below * LC[c, k]
        for e in range(Q):
            squares -= root_t[e] ** 2
            for k in range(P):
                weight = root_C[e, k]
                sums[k] -= weight * root_t[e]
                for m in range(k + 1):
                    information[k, m] -= weight * root_C[e, m]
    log_determinant, _, covariance = _root_and_inverse(information)
    beta = np.zeros(P)
    for k in range(P):
        for m in range(P):
            beta[k] += covariance[k, m] * sums[m]
        squares -= beta[k] * sums[k]
    log_density -= 0.5 * (log_determinant + squares)

    second = covariance.copy()
    for k in range(P):
        for m in range(P):
            second[k, m] += beta[k] * beta[m]
    for g in range(groups):
        change, S = by_omega[g], cross_products[g]
        for k in range(P):
            row, products = change[term_visit[k]], S[term_column[k]]
            for m in range(k):
                row[term_visit[m]] -= second[k, m] * products[term_column[m]]
            row[term_visit[k]] -= 0.5 * second[k, k] * products[term_column[k]]
            for t in range(V):
                row[t] += beta[k] * products[p + t]
        for s in range(V):
            for t in range(V):
                change[s, t] -= 0.5 * S[p + s, p + t]
    by_loading = np.zeros((Q, Q))
    u, uB, uu = (
        np.zeros((therapists, Q)),
        np.zeros((therapists, Q, P)),
        np.zeros((therapists, Q, Q)),
    )
    H, wB = np.zeros((Q, P)), np.zeros((Q, P))
    w, ww, AL = np.zeros(Q), np.zeros((Q, Q)), np.zeros((Q, Q))
    for j in range(therapists):
        H[:], AL[:] = 0.0, 0.0
        for e in range(Q):
            w[e] = Gt[j, e]
            for k in range(P):
                weight = GC[j, e, k]
                w[e] -= weight * beta[k]
                for m in range(P):
                    H[e, m] += weight * covariance[k, m]
            for c in range(Q):
                for f in range(Q):
                    AL[e, f] += A[j, e, c] * loading[c, f]
        for e in range(Q):
            for k in range(P):
                wB[e, k] = w[e] * beta[k] - H[e, k]
            for f in range(Q):
                ww[e, f] = inverses[j, e, f] + w[e] * w[f]
                for k in range(P):
                    ww[e, f] += H[e, k] * GC[j, f, k]
        for e in range(Q):
            for f in range(e + 1):
                by_loading[e, f] += t_[j, e] * w[f]
                for k in range(P):
                    by_loading[e, f] -= C[j, e, k] * wB[f, k]
                for c in range(Q):
                    by_loading[e, f] -= AL[e, c] * ww[c, f]
            for c in range(e + 1):
                weight = loading[e, c]
                u[j, e] += weight * w[c]
                for k in range(P):
                    uB[j, e, k] += weight * wB[c, k]
                for f in range(Q):
                    for d in range(f + 1):
                        uu[j, e, f] += weight * ww[c, d] * loading[f, d]
    if Q:
        for i in range(pairs):
            j, change = held[i], by_omega[pair_group[i]]
            for e in range(Q):
                row, products = change[effect_visit[e]], pair_products[i, effect_row[e]]
                for f in range(Q):
                    row[effect_visit[f]] -= 0.5 * uu[j, e, f] * products[effect_column[f]]
                for k in range(P):
                    row[term_visit[k]] -= uB[j, e, k] * products[term_column[k]]
                for t in range(V):
                    row[t] += u[j, e] * products[p + t]

    by_residual = np.zeros_like(residual)
    inner, half = np.zeros((V, V)), np.zeros((V, V))
    for g in range(groups):
        own, change, found = omega[g], by_omega[g], by_residual[residual_group[g]]
        for s in range(V):
            for t in range(V):
                inner[s, t] = 0.5 * (change[s, t] + change[t, s] + change[s, V] + change[V, s])
                inner[s, t] += 0.5 * (change[V, t] + change[t, V]) + change[V, V]
        half[:] = 0.0
        for s in range(V):
            for r in range(V):
                weight = own[s, r]
                for t in range(V):
                    half[s, t] += weight * inner[r, t]
        for s in range(V):
            for r in range(V):
                weight = half[s, r]
                for t in range(V):
                    found[s, t] -= weight * own[r, t]
            for t in range(V):
                found[s, t] -= 0.5 * patients[g] * own[s, t]
    return log_density, by_residual, by_loading


class VisitsLikelihood(Op):
    """Log likelihood of scores over time, coefficients and therapist effects integrated out.

    Notes
    -----
    With A groups of residuals, V visits and Q effects of a therapist, the inputs are ``residual``
    (A, V, V), covariances of the residuals; ``loading`` (Q, Q), lower factor of the effects'
    covariance; and the arrays of `likelihood_data`. The first output is the log likelihood, the
    only one that can be differentiated; the others are its gradients.
    """

    __props__ = ()

    def make_node(self, *inputs: Any) -> Apply[Any, Any]:
        """Apply the operation to its inputs."""
        variables = [pt.as_tensor_variable(each) for each in inputs]
        outputs = [pt.dscalar(), *(variable.type() for variable in variables[:2])]
        return Apply(self, variables, outputs)

    def perform(self, node: Any, inputs: Sequence[Any], output_storage: Any) -> None:
        """Compute the outputs where nothing is compiled."""
        for storage, value in zip(output_storage, _visits(*inputs), strict=True):
            storage[0] = np.asarray(value)

    def pullback(
        self, inputs: Sequence[Variable], outputs: Sequence[Variable], cotangents: Sequence[Any]
    ) -> list[Variable]:
        """Gradients of the log likelihood, from the other outputs."""
        if not all(isinstance(each.type, DisconnectedType) for each in cotangents[1:]):
            raise NotImplementedError("The gradients of VisitsLikelihood have none themselves.")
        gradients = [cotangents[0] * output for output in outputs[1:]]
        data = range(len(gradients), len(inputs))
        return [*gradients, *(grad_not_implemented(self, k, inputs[k]) for k in data)]


@register_funcify_default_op_cache_key(VisitsLikelihood)
def _compiled_likelihood(op: VisitsLikelihood, **_: Any) -> tuple[Any, int]:
    """Numba's version, and a number that changes with its text, so that no old one is used."""
    likelihood = numba_njit(_visits)

    # Without annotations: numba takes the types of what it is given.
    @numba_njit
    def visits_likelihood(  # type: ignore[no-untyped-def]
        residual, loading, precision, term_visit, term_column, effect_visit, effect_column,
        effect_row, seen, residual_group, patients, cross_products, pair_group, pair_therapist,
        pair_products,
    ):  # fmt: skip
        value, by_residual, by_loading = likelihood(
            residual, loading, precision, term_visit, term_column, effect_visit, effect_column,
            effect_row, seen, residual_group, patients, cross_products, pair_group, pair_therapist,
            pair_products,
        )  # fmt: skip
        return np.asarray(value), by_residual, by_loading

    text = inspect.getsource(sys.modules[__name__])  # with the functions it calls
    return visits_likelihood, int(hashlib.sha256(text.encode()).hexdigest()[:15], 16)
