"""The exact Gaussian likelihood with therapists and clinics, and its gradient, in one operation.

With ``Z`` the columns that vary between therapists and between clinics, all of them, and ``G`` the
block-diagonal factor of their covariance over the residual SD,

    M = I + G'Z'Z G,    |V| = sigma^2n |M|,    y'V^-1 y = (r'r - w'M^-1 w) / sigma^2,    w = G'Z'r.

Therapists are eliminated one by one. With A_j = Z_j'Z_j, H_j = P M_j^-1 P' and X the products of a
therapist's columns and his clinics', they leave of the clinics' own

    B = Z_c'Z_c - sum_j X'H_j X,    t = Z_c'r - sum_j X'H_j Z_j'r,

one small dense matrix for each component of linked clinics (`models.clinics`); where therapists
have one clinic each it has as many rows as a clinic has effects. With D = C (I + C'B C)^-1 C' and
R = (I - A H) X, what the gradients by the two factors need is

    Z_j'V^-1 Z_j = A - A H A - R D R',    Z_c'V^-1 Z_c = B - B D B,

summed over therapists, and over clinics.

`models.gaussian.clinic_draws` computes the same for draws, with NumPy; the tests hold the two
together, and both to the dense normal distribution.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytensor.tensor as pt
from numba.extending import register_jitable
from numpy.typing import NDArray
from pytensor.gradient import DisconnectedType, grad_not_implemented
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key

from alliance.models.gaussian.generalised_squares import Places

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@register_jitable
def _factor(places: Any, elements: Any, size: int) -> Any:
    G = np.zeros((size, size))
    for i in range(places.shape[0]):
        G[places[i, 0], places[i, 1]] = elements[places[i, 2]]
    return G


@register_jitable
def _inverse(matrix: Any, L: Any, half: Any, inverse: Any) -> float:
    """Inverse of a positive definite matrix by its Cholesky factor; the log determinant."""
    size = matrix.shape[0]
    if size == 1:
        inverse[0, 0] = 1 / matrix[0, 0]
        return float(np.log(matrix[0, 0]))
    log_determinant = 0.0
    for a in range(size):
        for b in range(a + 1):
            element = matrix[a, b]
            for c in range(b):
                element -= L[a, c] * L[b, c]
            if a == b:
                log_determinant += np.log(element)
                L[a, a] = np.sqrt(element)
            else:
                L[a, b] = element / L[b, b]
    for a in range(size):
        half[a, a] = 1 / L[a, a]
        for b in range(a):
            total = 0.0
            for c in range(b, a):
                total -= L[a, c] * half[c, b]
            half[a, b] = total / L[a, a]
    for a in range(size):
        for b in range(a + 1):
            total = 0.0
            for c in range(a, size):
                total += half[c, a] * half[c, b]
            inverse[a, b] = total
            inverse[b, a] = total
    return float(log_determinant)


@register_jitable
def _weighed(shares: Any, rows: Any, beta: Any, columns: Any, squares: Any, residuals: Any) -> None:
    """Z'Z and Z'r of each unit, in units of the first group's residual SD."""
    p = beta.shape[0]
    for g in range(rows.shape[0]):
        for a in range(rows.shape[1]):
            for j in range(rows.shape[2]):
                left = rows[g, a, j, p]
                for b in range(p):
                    left -= rows[g, a, j, b] * beta[b]
                residuals[j, a] += shares[g] * left
                for b in range(rows.shape[1]):
                    squares[j, a, b] += shares[g] * rows[g, a, j, columns[b]]


@register_jitable
def _of_unit(
    shares: Any, rows: Any, beta: Any, columns: Any, v: Any, by_beta: Any, by_shares: Any
) -> None:
    """Add what the units' own sums bring to the gradients by coefficients and shares."""
    p = beta.shape[0]
    for g in range(rows.shape[0]):
        for a in range(rows.shape[1]):
            for j in range(rows.shape[2]):
                twice = 2 * shares[g] * v[j, a]
                for b in range(p):
                    by_beta[b] += twice * rows[g, a, j, b]
                if rows.shape[0] > 1:
                    squared = -2 * rows[g, a, j, p]
                    for b in range(p):
                        squared += 2 * rows[g, a, j, b] * beta[b]
                    for b in range(rows.shape[1]):
                        squared += rows[g, a, j, columns[b]] * v[j, b]
                    by_shares[g] += v[j, a] * squared


@register_jitable
def _by_elements(places: Any, sums: Any, G: Any, elements: Any, weight: float) -> Any:
    """Gradient by a factor's elements: a weight times the sums @ G, where elements stand."""
    found = np.zeros_like(elements)
    for i in range(places.shape[0]):
        a, b, number = places[i, 0], places[i, 1], places[i, 2]
        total = 0.0
        for c in range(G.shape[0]):
            total += sums[a, c] * G[c, b]
        found[number] += weight * total
    return found


def _levels(
    beta: Any,
    of_therapist: Any,
    of_clinic: Any,
    shares: Any,
    total: Any,
    therapist: Any,
    clinic: Any,
    pair: Any,
    pairs: Any,
    ends: Any,
    columns: Any,
    clinic_columns: Any,
    places: Any,
    clinic_places: Any,
) -> Any:
    """Sums and gradients: see `TwoLevels`. Written out in loops, for numba."""
    p, groups = beta.shape[0], shares.shape[0]
    q, J = therapist.shape[1], therapist.shape[2]
    k, K, linked = clinic.shape[1], clinic.shape[2], pair.shape[1]
    P = _factor(places, of_therapist, q)
    C = _factor(clinic_places, of_clinic, k)
    squares, log_determinant = 0.0, 0.0
    by_beta = np.zeros(p)
    shares_squares, shares_determinant = np.zeros(groups), np.zeros(groups)
    for g in range(groups):
        own = 0.0
        for a in range(p + 1):
            left = total[g, a, p]
            for b in range(p):
                left -= total[g, a, b] * beta[b]
            if a < p:
                by_beta[a] -= 2 * shares[g] * left
                own -= beta[a] * left
            else:
                own += left
        shares_squares[g] += own
        squares += shares[g] * own

    A, s = np.zeros((J, q, q)), np.zeros((J, q))
    B, t = np.zeros((K, k, k)), np.zeros((K, k))
    X = np.zeros((linked, q, k))
    _weighed(shares, therapist, beta, columns, A, s)
    _weighed(shares, clinic, beta, clinic_columns, B, t)
    for g in range(groups):
        for i in range(linked):
            for a in range(q):
                for b in range(k):
                    X[i, a, b] += shares[g] * pair[g, i, a, b]

    H, kept = np.zeros((J, q, q)), np.zeros((linked, q, k))  # P M^-1 P', and H X
    v, vc = np.zeros((J, q)), np.zeros((K, k))
    of_P, of_C = np.zeros((q, q)), np.zeros((k, k))  # sums of Z'V^-1 Z
    on_P, on_C = np.zeros((q, q)), np.zeros((k, k))  # of Z'V^-1 r r'V^-1 Z
    M, L, half = np.zeros((q, q)), np.zeros((q, q)), np.zeros((q, q))
    inverse, AP = np.zeros((q, q)), np.zeros((q, q))
    widest = 0
    for m in range(ends.shape[0] - 1):
        widest = max(widest, (ends[m + 1, 1] - ends[m, 1]) * k)
    room = np.zeros((6, widest, widest))
    w = np.zeros(widest)
    R = np.zeros((max(linked, 1), q, k))

    first = 0
    for m in range(ends.shape[0] - 1):
        j0, j1, k0, k1 = ends[m, 0], ends[m + 1, 0], ends[m, 1], ends[m + 1, 1]
        size = (k1 - k0) * k
        border = room[0, :size, :size]  # clinics' Z'Z less what therapists explain
        for a in range(size):
            w[a] = t[k0 + a // k, a % k]
            for b in range(size):
                same = a // k == b // k
                border[a, b] = B[k0 + a // k, a % k, b % k] if same else 0.0
        i = first
        for j in range(j0, j1):
            for a in range(q):
                for b in range(q):
                    AP[a, b] = 0.0
                    for c in range(b, q):
                        AP[a, b] += A[j, a, c] * P[c, b]
            for a in range(q):
                for b in range(q):
                    M[a, b] = 1.0 if a == b else 0.0
                    for c in range(a, q):
                        M[a, b] += P[c, a] * AP[c, b]
            log_determinant += _inverse(M, L, half, inverse)
            for a in range(q):
                for b in range(q):
                    AP[a, b] = 0.0
                    for c in range(a + 1):
                        AP[a, b] += P[a, c] * inverse[c, b]
            for a in range(q):
                for b in range(q):
                    for c in range(b + 1):
                        H[j, a, b] += AP[a, c] * P[b, c]
            for a in range(q):
                for b in range(q):
                    v[j, a] += H[j, a, b] * s[j, b]
            for a in range(q):
                squares -= s[j, a] * v[j, a]
            start = i
            while i < linked and pairs[i, 0] == j:
                at = (pairs[i, 1] - k0) * k
                for b in range(k):
                    for a in range(q):
                        for c in range(q):
                            kept[i, a, b] += H[j, a, c] * X[i, c, b]
                    for a in range(q):
                        w[at + b] -= X[i, a, b] * v[j, a]
                i += 1
            for one in range(start, i):
                at = (pairs[one, 1] - k0) * k
                for other in range(start, i):
                    to = (pairs[other, 1] - k0) * k
                    for a in range(k):
                        for b in range(k):
                            for c in range(q):
                                border[at + a, to + b] -= X[one, c, a] * kept[other, c, b]
        last = i
        # Of the clinics what H is of a therapist: C (I + C' border C)^-1 C'
        covariance, inside, work = room[1, :size, :size], room[2, :size, :size], room[3]
        for a in range(size):
            for b in range(size):
                work[a, b] = 0.0
                for c in range(b % k, k):
                    work[a, b] += border[a, (b // k) * k + c] * C[c, b % k]
        for a in range(size):
            for b in range(size):
                inside[a, b] = 1.0 if a == b else 0.0
                for c in range(a % k, k):
                    inside[a, b] += C[c, a % k] * work[(a // k) * k + c, b]
        solved = room[4, :size, :size]
        if size:
            log_determinant += _inverse(
                inside, room[3, :size, :size], room[5, :size, :size], solved
            )
        for a in range(size):
            for b in range(size):
                inside[a, b] = 0.0
                for c in range(a % k + 1):
                    inside[a, b] += C[a % k, c] * solved[(a // k) * k + c, b]
        for a in range(size):
            for b in range(size):
                covariance[a, b] = 0.0
                for c in range(b % k + 1):
                    covariance[a, b] += inside[a, (b // k) * k + c] * C[b % k, c]
        for a in range(size):
            own = 0.0
            for b in range(size):
                own += covariance[a, b] * w[b]
            vc[k0 + a // k, a % k] = own
            squares -= w[a] * own
        for a in range(size):
            left = w[a]
            for b in range(size):
                left -= border[a, b] * vc[k0 + b // k, b % k]
                inside[a, b] = 0.0
                for c in range(size):
                    inside[a, b] += border[a, c] * covariance[c, b]
            t[k0 + a // k, a % k] = left  # Z'V^-1 r
        for c in range(k1 - k0):
            for a in range(k):
                for b in range(k):
                    on_C[a, b] += t[k0 + c, a] * t[k0 + c, b]
                    of_C[a, b] += border[c * k + a, c * k + b]
                    for e in range(size):
                        of_C[a, b] -= inside[c * k + a, e] * border[e, c * k + b]
            if groups > 1:
                for g in range(groups):
                    for a in range(k):
                        for b in range(k):
                            shares_determinant[g] += (
                                covariance[c * k + a, c * k + b]
                                * clinic[g, a, k0 + c, clinic_columns[b]]
                            )
        i = first
        for j in range(j0, j1):
            start = i
            while i < last and pairs[i, 0] == j:
                c0 = pairs[i, 1]
                for a in range(q):
                    for b in range(k):
                        v[j, a] -= kept[i, a, b] * vc[c0, b]
                        s[j, a] -= X[i, a, b] * vc[c0, b]
                        R[i, a, b] = X[i, a, b]
                        for c in range(q):
                            R[i, a, b] -= A[j, a, c] * kept[i, c, b]
                i += 1
            for a in range(q):
                for c in range(q):
                    AP[a, c] = 0.0
                    for b in range(q):
                        AP[a, c] += A[j, a, b] * H[j, b, c]
                for b in range(q):
                    s[j, a] -= A[j, a, b] * v[j, b]
            for a in range(q):
                for b in range(q):
                    on_P[a, b] += s[j, a] * s[j, b]
                    of_P[a, b] += A[j, a, b]
                    for c in range(q):
                        of_P[a, b] -= AP[a, c] * A[j, c, b]
            for one in range(start, i):
                at = (pairs[one, 1] - k0) * k
                for other in range(start, i):
                    to = (pairs[other, 1] - k0) * k
                    for c in range(k):
                        for e in range(k):
                            weight = covariance[at + c, to + e]
                            for a in range(q):
                                for b in range(q):
                                    of_P[a, b] -= R[one, a, c] * weight * R[other, b, e]
            if groups > 1:
                for one in range(start, i):
                    at = (pairs[one, 1] - k0) * k
                    c0 = pairs[one, 1]
                    for a in range(q):
                        for b in range(k):
                            across = 0.0  # of the covariance, of therapist and clinic
                            for other in range(start, i):
                                to = (pairs[other, 1] - k0) * k
                                for e in range(k):
                                    across -= kept[other, a, e] * covariance[to + e, at + b]
                            for g in range(groups):
                                element = 2 * pair[g, one, a, b]
                                shares_determinant[g] += across * element
                                shares_squares[g] += v[j, a] * vc[c0, b] * element
                for a in range(q):
                    for b in range(q):
                        own = H[j, a, b]
                        for one in range(start, i):
                            at = (pairs[one, 1] - k0) * k
                            for other in range(start, i):
                                to = (pairs[other, 1] - k0) * k
                                for c in range(k):
                                    for e in range(k):
                                        weight = covariance[at + c, to + e]
                                        own += kept[one, a, c] * weight * kept[other, b, e]
                        for g in range(groups):
                            shares_determinant[g] += own * therapist[g, a, j, columns[b]]
        first = last

    _of_unit(shares, therapist, beta, columns, v, by_beta, shares_squares)
    _of_unit(shares, clinic, beta, clinic_columns, vc, by_beta, shares_squares)
    return (
        squares,
        log_determinant,
        by_beta,
        _by_elements(places, on_P, P, of_therapist, -2.0),
        _by_elements(places, of_P, P, of_therapist, 2.0),
        _by_elements(clinic_places, on_C, C, of_clinic, -2.0),
        _by_elements(clinic_places, of_C, C, of_clinic, 2.0),
        shares_squares,
        shares_determinant,
    )


HELPERS = (_levels, _factor, _inverse, _weighed, _of_unit, _by_elements)


class TwoLevels(Op):
    """Generalised residual sum of squares, and log determinant, with therapists and clinics.

    Parameters
    ----------
    columns, clinic_columns : sequence of int
        Columns of X whose coefficients vary between therapists, q, and between clinics, k.
    places, clinic_places : sequence of (int, int, int)
        Where the elements of the two factors stand: `models.gaussian.generalised_squares.packed`.

    Notes
    -----
    Inputs are ``beta`` (p,), the elements of the therapists' factor and of the clinics' over the
    residual SD of the first residual group, ``shares`` (G,), that SD's variance over each group's,
    the four arrays of `models.clinics.LevelProducts`, and ``pairs`` and ``ends`` of
    `models.clinics.Cells`. The first two outputs are ``r'r - w'M^-1 w`` and ``log|M|``, which alone
    can be differentiated; the others are their gradients by the first four inputs.
    """

    __props__ = ("columns", "clinic_columns", "places", "clinic_places")

    def __init__(
        self,
        columns: Sequence[int],
        clinic_columns: Sequence[int],
        places: Places,
        clinic_places: Places,
    ) -> None:
        self.columns = tuple(int(column) for column in columns)
        self.clinic_columns = tuple(int(column) for column in clinic_columns)
        self.places = tuple(tuple(int(number) for number in place) for place in places)
        self.clinic_places = tuple(
            tuple(int(number) for number in place) for place in clinic_places
        )

    def make_node(self, *inputs: Any) -> Apply[Any, Any]:
        """Apply the operation to its ten inputs."""
        given = [pt.as_tensor_variable(each) for each in inputs]
        beta, of_therapist, of_clinic, shares = given[:4]
        outputs = [pt.dscalar(), pt.dscalar(), beta.type()]
        for each in (of_therapist, of_clinic, shares):
            outputs += [each.type(), each.type()]
        return Apply(self, given, outputs)

    def perform(self, node: Any, inputs: Sequence[Any], output_storage: Any) -> None:
        """Compute the outputs where nothing is compiled."""
        given: list[Any] = [*inputs, *self._fixed()]
        found = _levels(*given)
        for storage, value in zip(output_storage, found, strict=True):
            storage[0] = np.asarray(value)

    def pullback(
        self, inputs: Sequence[Variable], outputs: Sequence[Variable], cotangents: Sequence[Any]
    ) -> list[Variable]:
        """Gradients of a sum of the first two outputs, from the others."""
        if not all(isinstance(each.type, DisconnectedType) for each in cotangents[2:]):
            raise NotImplementedError("The gradients of TwoLevels have none themselves.")
        squares, determinant = (
            pt.zeros(()) if isinstance(each.type, DisconnectedType) else each
            for each in cotangents[:2]
        )
        gradients = [squares * outputs[2]]
        for k in (3, 5, 7):
            gradients.append(squares * outputs[k] + determinant * outputs[k + 1])
        held = [grad_not_implemented(self, k, inputs[k]) for k in range(4, len(inputs))]
        return [*gradients, *held]

    def _fixed(self) -> tuple[Index, Index, Index, Index]:
        return (
            np.array(self.columns, dtype=np.int64),
            np.array(self.clinic_columns, dtype=np.int64),
            np.array(self.places, dtype=np.int64).reshape(-1, 3),
            np.array(self.clinic_places, dtype=np.int64).reshape(-1, 3),
        )


@register_funcify_default_op_cache_key(TwoLevels)
def _compiled_levels(op: TwoLevels, **_: Any) -> tuple[Any, int]:
    """Numba's version, and a number that changes with its text, so that no old one is used."""
    levels = numba_njit(_levels)
    columns, clinic_columns, places, clinic_places = op._fixed()

    # Without annotations: numba takes the types of what it is given.
    @numba_njit
    def two_levels(beta, t, c, shares, total, therapist, clinic, pair, pairs, ends):  # type: ignore[no-untyped-def]
        found = levels(
            beta, t, c, shares, total, therapist, clinic, pair, pairs, ends,
            columns, clinic_columns, places, clinic_places,
        )  # fmt: skip
        squares, determinant, b, t0, t1, c0, c1, s0, s1 = found
        return np.asarray(squares), np.asarray(determinant), b, t0, t1, c0, c1, s0, s1

    text = "".join(inspect.getsource(own) for own in HELPERS)
    return two_levels, int(hashlib.sha256(text.encode()).hexdigest()[:15], 16)
