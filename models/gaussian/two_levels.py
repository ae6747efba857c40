"""The exact Gaussian likelihood with therapists and clinics, and its gradient, in one operation.

With ``Z`` the columns that vary between therapists and between clinics, all of them, and ``G`` the
block-diagonal factor of their covariance over the residual SD,

    M = I + G'Z'Z G,    |V| = sigma^2n |M|,    y'V^-1 y = (r'r - w'M^-1 w) / sigma^2,    w = G'Z'r.

M is block diagonal in therapists, bordered by clinics: therapists are eliminated one by one, and
what they leave of a component of linked clinics (`models.clinics`) is one small dense matrix. Where
therapists have one clinic each it has as many rows as a clinic has effects.

`models.gaussian.clinic_draws` computes the same for draws, with NumPy; the tests hold the two
together, and both to the dense normal distribution.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytensor.tensor as pt
from numba.extending import register_jitable
from numpy.typing import NDArray
from pytensor.gradient import DisconnectedType, grad_not_implemented
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key

from alliance.models.design.design import Design
from alliance.models.gaussian.generalised_squares import Places

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class LevelProducts:
    """Cross-products of both levels, by residual group, in the order of `models.clinics.Cells`.

    Attributes
    ----------
    total : ndarray, shape (G, p + 1, p + 1)
        W'W over all patients, with W = [X, y].
    therapist : ndarray, shape (G, q, J, p + 1)
        Z_j'W_j of each therapist.
    clinic : ndarray, shape (G, k, K, p + 1)
        The same of each clinic.
    pair : ndarray, shape (G, c, q, k)
        Z_j'Z_k of the patients whom a therapist has in a clinic.
    """

    total: Array
    therapist: Array
    clinic: Array
    pair: Array


def level_products(design: Design) -> LevelProducts:
    """Cross-products of therapists, clinics and their pairs.

    Parameters
    ----------
    design : Design
        With clinics' effects.
    """
    cells, known = design.cells, len(design.therapists)
    own, of_clinic = design.effect_columns, design.clinic_columns
    groups = design.group_moments
    therapist = [each.cross_products[:known, own][cells.therapists] for each in groups]
    clinic = [each.cross_products[:, of_clinic][cells.clinics] for each in design.clinic_moments]
    place_of_therapist, place_of_clinic = np.argsort(cells.therapists), np.argsort(cells.clinics)
    has = np.flatnonzero(design.therapist_index < known)
    number = {(j, k): place for place, (j, k) in enumerate(cells.pairs.tolist())}
    pair = np.zeros((len(groups), len(cells.pairs), len(own), len(of_clinic)))
    patients = zip(
        place_of_therapist[design.therapist_index[has]].tolist(),
        place_of_clinic[design.clinic_of[has]].tolist(),
        strict=True,
    )
    place = np.array([number[each] for each in patients], dtype=np.int64)
    products = design.X[has][:, own, None] * design.X[has][:, None, of_clinic]
    np.add.at(pair, (design.residual_group[has], place), products)
    return LevelProducts(
        total=np.stack([each.cross_products.sum(axis=0) for each in groups]),
        therapist=np.stack(therapist).transpose(0, 2, 1, 3),
        clinic=np.stack(clinic).transpose(0, 2, 1, 3),
        pair=pair,
    )


@register_jitable
def _factor(places: Any, elements: Any, size: int) -> Any:
    G = np.zeros((size, size))
    for i in range(places.shape[0]):
        G[places[i, 0], places[i, 1]] = elements[places[i, 2]]
    return G


@register_jitable
def _times(left: Any, right: Any) -> Any:
    """Product of two small matrices: no library's threads, and none of its cost."""
    found = np.zeros((left.shape[0], right.shape[1]))
    for a in range(left.shape[0]):
        for b in range(right.shape[1]):
            for c in range(right.shape[0]):
                found[a, b] += left[a, c] * right[c, b]
    return found


@register_jitable
def _inverse(matrix: Any) -> Any:
    """Inverse and log determinant of a positive definite matrix, by Cholesky factor."""
    size = matrix.shape[0]
    L = np.zeros((size, size))
    log_determinant = 0.0
    for a in range(size):
        for b in range(a + 1):
            element = matrix[a, b]
            for c in range(b):
                element -= L[a, c] * L[b, c]
            if a == b:
                L[a, a] = np.sqrt(element)
                log_determinant += 2 * np.log(L[a, a])
            else:
                L[a, b] = element / L[b, b]
    half = np.zeros((size, size))  # L^-1
    for a in range(size):
        half[a, a] = 1 / L[a, a]
        for b in range(a):
            total = 0.0
            for c in range(b, a):
                total -= L[a, c] * half[c, b]
            half[a, b] = total / L[a, a]
    inverse = np.zeros((size, size))
    for a in range(size):
        for b in range(a + 1):
            total = 0.0
            for c in range(a, size):
                total += half[c, a] * half[c, b]
            inverse[a, b] = total
            inverse[b, a] = total
    return inverse, log_determinant


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
    k, K = clinic.shape[1], clinic.shape[2]
    P = _factor(places, of_therapist, q)
    C = _factor(clinic_places, of_clinic, k)
    squares, log_determinant = 0.0, 0.0
    beta_gradient = np.zeros(p)
    P_squares, P_determinant = np.zeros((q, q)), np.zeros((q, q))
    C_squares, C_determinant = np.zeros((k, k)), np.zeros((k, k))
    shares_squares, shares_determinant = np.zeros(groups), np.zeros(groups)

    for g in range(groups):
        own = 0.0
        for a in range(p + 1):
            left = total[g, a, p]
            for b in range(p):
                left -= total[g, a, b] * beta[b]
            if a < p:
                beta_gradient[a] -= 2 * shares[g] * left
                own -= beta[a] * left
            else:
                own += left
        shares_squares[g] += own
        squares += shares[g] * own

    # Z'Z and Z'r of all levels, in units of the first group's residual SD
    A, s = np.zeros((J, q, q)), np.zeros((J, q))
    B, t = np.zeros((K, k, k)), np.zeros((K, k))
    X = np.zeros((pair.shape[1], q, k))
    for g in range(groups):
        for j in range(J):
            for a in range(q):
                for b in range(q):
                    A[j, a, b] += shares[g] * therapist[g, a, j, columns[b]]
                left = therapist[g, a, j, p]
                for b in range(p):
                    left -= therapist[g, a, j, b] * beta[b]
                s[j, a] += shares[g] * left
        for j in range(K):
            for a in range(k):
                for b in range(k):
                    B[j, a, b] += shares[g] * clinic[g, a, j, clinic_columns[b]]
                left = clinic[g, a, j, p]
                for b in range(p):
                    left -= clinic[g, a, j, b] * beta[b]
                t[j, a] += shares[g] * left
        for i in range(pair.shape[1]):
            for a in range(q):
                for b in range(k):
                    X[i, a, b] += shares[g] * pair[g, i, a, b]

    inverses = np.zeros((J, q, q))
    v, vc = np.zeros((J, q)), np.zeros((K, k))
    x, xc = np.zeros((J, q)), np.zeros((K, k))
    left_over, left_of_clinic = s.copy(), t.copy()  # Z'(r - Zv), in the end
    # Blocks of G M^-1 G', for the gradients by shares, and of Z'Z G M^-1
    covariance, clinic_covariance = np.zeros((q, q)), np.zeros((k, k))
    first_pair = 0
    for m in range(ends.shape[0] - 1):
        j0, j1, k0, k1 = ends[m, 0], ends[m + 1, 0], ends[m, 1], ends[m + 1, 1]
        size = (k1 - k0) * k
        border, w = np.zeros((size, size)), np.zeros(size)
        for c in range(k1 - k0):
            BC = _times(B[k0 + c], C)
            for a in range(k):
                for e in range(k):
                    w[c * k + a] += C[e, a] * t[k0 + c, e]
                    for b in range(k):
                        border[c * k + a, c * k + b] += C[e, a] * BC[e, b]
                border[c * k + a, c * k + a] += 1.0
        last_pair = first_pair
        while last_pair < pairs.shape[0] and pairs[last_pair, 0] < j1:
            last_pair += 1
        linked = last_pair - first_pair
        N, T = np.zeros((linked, q, k)), np.zeros((linked, q, k))
        i = first_pair
        for j in range(j0, j1):
            M = _times(P.T, _times(A[j], P))
            for a in range(q):
                M[a, a] += 1.0
            inverses[j], own = _inverse(M)
            log_determinant += own
            wj = _times(P.T, s[j][:, None])[:, 0]
            x[j] = _times(inverses[j], wj[:, None])[:, 0]
            for a in range(q):
                squares -= wj[a] * x[j, a]
            start = i
            while i < last_pair and pairs[i, 0] == j:
                N[i - first_pair] = _times(P.T, _times(X[i], C))
                T[i - first_pair] = _times(inverses[j], N[i - first_pair])
                i += 1
            for one in range(start, i):
                at = (pairs[one, 1] - k0) * k
                for a in range(k):
                    for e in range(q):
                        w[at + a] -= N[one - first_pair, e, a] * x[j, e]
                for other in range(start, i):
                    to = (pairs[other, 1] - k0) * k
                    for a in range(k):
                        for b in range(k):
                            for e in range(q):
                                border[at + a, to + b] -= (
                                    N[one - first_pair, e, a] * T[other - first_pair, e, b]
                                )
        inverse, own = _inverse(border)
        log_determinant += own
        for a in range(size):
            solved = 0.0
            for b in range(size):
                solved += inverse[a, b] * w[b]
            squares -= w[a] * solved
            xc[k0 + a // k, a % k] = solved
        for c in range(k0, k1):
            vc[c] = _times(C, xc[c][:, None])[:, 0]
            left_of_clinic[c] -= _times(B[c], vc[c][:, None])[:, 0]
            at = (c - k0) * k
            block = inverse[at : at + k, at : at + k]
            C_determinant += 2 * _times(B[c], _times(C, block))
            clinic_covariance = _times(C, _times(block, C.T))
            for g in range(groups):
                for a in range(k):
                    for b in range(k):
                        shares_determinant[g] += (
                            clinic_covariance[a, b] * clinic[g, a, c, clinic_columns[b]]
                        )
        i = first_pair
        for j in range(j0, j1):
            start = i
            while i < last_pair and pairs[i, 0] == j:
                x[j] -= _times(T[i - first_pair], xc[pairs[i, 1]][:, None])[:, 0]
                i += 1
            v[j] = _times(P, x[j][:, None])[:, 0]
            left_over[j] -= _times(A[j], v[j][:, None])[:, 0]
            own_inverse = inverses[j].copy()
            for one in range(start, i):
                at = (pairs[one, 1] - k0) * k
                across = np.zeros((q, k))  # the block of M^-1 of therapist and clinic
                for other in range(start, i):
                    to = (pairs[other, 1] - k0) * k
                    across -= _times(T[other - first_pair], inverse[to : to + k, at : at + k])
                own_inverse -= _times(across, T[one - first_pair].T)
                P_determinant += 2 * _times(X[one], _times(C, across.T))
                C_determinant += 2 * _times(X[one].T, _times(P, across))
                both = _times(P, _times(across, C.T))
                left_over[j] -= _times(X[one], vc[pairs[one, 1]][:, None])[:, 0]
                left_of_clinic[pairs[one, 1]] -= _times(X[one].T, v[j][:, None])[:, 0]
                for g in range(groups):
                    for a in range(q):
                        for b in range(k):
                            element = pair[g, one, a, b]
                            shares_determinant[g] += 2 * both[a, b] * element
                            shares_squares[g] += 2 * v[j, a] * vc[pairs[one, 1], b] * element
            P_determinant += 2 * _times(A[j], _times(P, own_inverse))
            covariance = _times(P, _times(own_inverse, P.T))
            for g in range(groups):
                for a in range(q):
                    for b in range(q):
                        shares_determinant[g] += covariance[a, b] * therapist[g, a, j, columns[b]]
        first_pair = last_pair

    for j in range(J):
        for a in range(q):
            for g in range(groups):
                residual = therapist[g, a, j, p]
                for b in range(p):
                    residual -= therapist[g, a, j, b] * beta[b]
                    beta_gradient[b] += 2 * shares[g] * v[j, a] * therapist[g, a, j, b]
                squared = -2 * residual
                for b in range(q):
                    squared += therapist[g, a, j, columns[b]] * v[j, b]
                shares_squares[g] += v[j, a] * squared
            for b in range(q):
                P_squares[a, b] -= 2 * left_over[j, a] * x[j, b]
    for j in range(K):
        for a in range(k):
            for g in range(groups):
                residual = clinic[g, a, j, p]
                for b in range(p):
                    residual -= clinic[g, a, j, b] * beta[b]
                    beta_gradient[b] += 2 * shares[g] * vc[j, a] * clinic[g, a, j, b]
                squared = -2 * residual
                for b in range(k):
                    squared += clinic[g, a, j, clinic_columns[b]] * vc[j, b]
                shares_squares[g] += vc[j, a] * squared
            for b in range(k):
                C_squares[a, b] -= 2 * left_of_clinic[j, a] * xc[j, b]

    by_therapist, of_determinant = np.zeros_like(of_therapist), np.zeros_like(of_therapist)
    for i in range(places.shape[0]):
        by_therapist[places[i, 2]] += P_squares[places[i, 0], places[i, 1]]
        of_determinant[places[i, 2]] += P_determinant[places[i, 0], places[i, 1]]
    by_clinic, clinic_determinant = np.zeros_like(of_clinic), np.zeros_like(of_clinic)
    for i in range(clinic_places.shape[0]):
        by_clinic[clinic_places[i, 2]] += C_squares[clinic_places[i, 0], clinic_places[i, 1]]
        clinic_determinant[clinic_places[i, 2]] += C_determinant[
            clinic_places[i, 0], clinic_places[i, 1]
        ]
    return (
        squares,
        log_determinant,
        beta_gradient,
        by_therapist,
        of_determinant,
        by_clinic,
        clinic_determinant,
        shares_squares,
        shares_determinant,
    )


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
    the four arrays of `LevelProducts`, and ``pairs`` and ``ends`` of `models.clinics.Cells`. The
    first two outputs are ``r'r - w'M^-1 w`` and ``log|M|``, which alone can be differentiated; the
    others are their gradients by the first four inputs.
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
        found = _levels(*inputs, *self._fixed())
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

    text = "".join(inspect.getsource(own) for own in (_levels, _factor, _inverse, _times))
    return two_levels, int(hashlib.sha256(text.encode()).hexdigest()[:15], 16)
