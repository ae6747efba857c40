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

The numbers of coefficients, effects and residual groups are constants of the compiled loops: with
them loops of one or two rounds are written out, which halves the time of an evaluation. So does
calling a function once for all units: numba counts the references of arrays at each call. Without
clinics the operation serves one level with several residual SDs.

`models.gaussian.clinic_draws` computes the same for draws, with NumPy; the tests hold the two
together, and both to the dense normal distribution.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Sequence
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

LARGE = 1e100  # a product of pivots beyond it goes into the log determinant, before it overflows


@register_jitable(forceinline=True)
def _factor(places: Any, elements: Any, size: int) -> Any:
    G = np.zeros((size, size))
    for i in range(places.shape[0]):
        G[places[i, 0], places[i, 1]] = elements[places[i, 2]]
    return G


@register_jitable(forceinline=True)
def _units(
    sizes: Any, shares: Any, rows: Any, beta: Any, columns: Any, ends: Any, linked: bool, w: Any,
    A: Any,
) -> None:  # fmt: skip
    """Z'r and Z'Z of all units, in units of the first group's residual SD, into w and A.

    Linked units stand in A beside the others of their component, whose ends are given.
    """
    p, groups, width = sizes
    m, before = 0, 0
    for unit in range(rows.shape[2]):
        if linked:
            while unit >= ends[m + 1]:
                m += 1
            before = (unit - ends[m]) * width
        for a in range(width):
            own = 0.0
            for g in range(groups):
                left = rows[g, a, unit, p]
                for b in range(p):
                    left -= rows[g, a, unit, b] * beta[b]
                own += shares[g] * left
            w[unit * width + a] = own
            for b in range(width):
                own = 0.0
                for g in range(groups):
                    own += shares[g] * rows[g, a, unit, columns[b]]
                A[unit * width + a, before + b] = own


@register_jitable(forceinline=True)
def _covariances(
    G: Any, A: Any, width: int, ends: Any, linked: bool, w: Any, H: Any, v: Any
) -> tuple[float, float]:
    """H becomes G (I + G'AG)^-1 G' of all units, v = Hw; sums of log determinants and of w'v.

    Linked units of one component have one matrix, and G a block for each of them.
    """
    logarithm, product, explained = 0.0, 1.0, 0.0
    if width == 0:
        return logarithm, explained
    work = np.empty((2, A.shape[1], A.shape[1]))  # L, and what becomes G L'^-1
    for m in range(ends.shape[0] - 1 if linked else A.shape[0] // width):
        at, size = m * width, width
        if linked:
            at, size = ends[m] * width, (ends[m + 1] - ends[m]) * width
        for a in range(size):
            for b in range(a // width * width + width):
                own = 0.0
                for c in range(b % width, width):
                    own += A[at + a, b - b % width + c] * G[c, b % width]
                work[1, a, b] = own
        for a in range(size):
            for b in range(a + 1):
                own = 1.0 if a == b else 0.0
                for c in range(a % width, width):
                    own += G[c, a % width] * work[1, a - a % width + c, b]
                for c in range(b):
                    own -= work[0, a, c] * work[0, b, c]
                if a == b:
                    product *= own
                    work[0, a, a] = 1 / np.sqrt(own)
                else:
                    work[0, a, b] = own * work[0, b, b]
            if product > LARGE:
                logarithm += np.log(product)
                product = 1.0
        for a in range(size):  # the second becomes G L'^-1
            first = a - a % width
            for b in range(first, size):
                own = G[a % width, b - first] if b < first + width else 0.0
                for c in range(first, b):
                    own -= work[0, b, c] * work[1, a, c]
                work[1, a, b] = own * work[0, b, b]
        for a in range(size):
            for b in range(a + 1):
                own = 0.0
                for c in range(a - a % width, size):
                    own += work[1, a, c] * work[1, b, c]
                H[at + a, b] = own
                H[at + b, a] = own
        for a in range(size):
            own = 0.0
            for b in range(size):
                own += H[at + a, b] * w[at + b]
            v[at + a] = own
            explained += w[at + a] * own
    return logarithm + np.log(product), explained


@register_jitable(forceinline=True)
def _of_unit(
    sizes: Any,
    shares: Any,
    rows: Any,
    beta: Any,
    columns: Any,
    v: Any,
    by_beta: Any,
    by_shares: Any,
) -> None:
    """Add what the units' own sums bring to the gradients by coefficients and shares."""
    p, groups, width = sizes
    for g in range(groups):
        for a in range(width):
            for j in range(rows.shape[2]):
                own = v[j * width + a]
                twice = 2 * shares[g] * own
                for b in range(p):
                    by_beta[b] += twice * rows[g, a, j, b]
                if groups > 1:
                    squared = -2 * rows[g, a, j, p]
                    for b in range(p):
                        squared += 2 * rows[g, a, j, b] * beta[b]
                    for b in range(width):
                        squared += rows[g, a, j, columns[b]] * v[j * width + b]
                    by_shares[g] += own * squared


@register_jitable(forceinline=True)
def _by_elements(
    places: Any, sums: Any, which: int, G: Any, determinant: Any, squares: Any
) -> None:
    """Gradients by a factor's elements: the sums @ G, where elements stand.

    The sums are those of `which` and the next; both are symmetric, their lower triangles given.
    """
    for i in range(places.shape[0]):
        a, b, number = places[i, 0], places[i, 1], places[i, 2]
        of, on = 0.0, 0.0
        for c in range(G.shape[0]):
            of += sums[which, max(a, c), min(a, c)] * G[c, b]
            on += sums[which + 1, max(a, c), min(a, c)] * G[c, b]
        determinant[number] += 2 * of
        squares[number] -= 2 * on


def levels_of(p: int, groups: int, own_groups: int, q: int, k: int) -> Callable[..., Any]:
    """The loops of `TwoLevels` for so many coefficients, groups, and effects at either level.

    Therapists have patients in the first groups alone, where there are no clinics.
    """

    def levels(
        beta: Any,
        elements: Any,
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
        J, K, linked = therapist.shape[2], clinic.shape[2], pair.shape[1]
        own_sizes, clinic_sizes = (p, own_groups, q), (p, groups, k)
        P, C = _factor(places, elements, q), _factor(clinic_places, elements, k)
        squares = 0.0
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

        clinic_ends, widest = ends[:, 1], 0
        for m in range(ends.shape[0] - 1):
            widest = max(widest, (clinic_ends[m + 1] - clinic_ends[m]) * k)
        A, H = np.empty((J * q, q)), np.empty((J * q, q))  # Z'Z, and P M^-1 P'
        s, v = np.empty(J * q), np.empty(J * q)
        _units(own_sizes, shares, therapist, beta, columns, clinic_ends, False, s, A)
        log_determinant, explained = _covariances(P, A, q, clinic_ends, False, s, H, v)
        squares -= explained

        # Clinics' Z'Z and Z'r less what therapists explain, and of it what H is of a therapist
        B, D = np.zeros((K * k, widest)), np.empty((K * k, widest))
        w, vc = np.empty(K * k), np.empty(K * k)
        X, HX = np.empty((linked, q, k)), np.empty((linked, q, k))
        _units(clinic_sizes, shares, clinic, beta, clinic_columns, clinic_ends, True, w, B)
        m, start = 0, 0
        for i in range(linked):
            j, c0 = pairs[i, 0], pairs[i, 1] * k
            while j >= ends[m + 1, 0]:
                m += 1
            k0 = clinic_ends[m] * k
            if j != pairs[start, 0]:
                start = i
            for b in range(k):
                lost = 0.0
                for a in range(q):
                    own = 0.0
                    for g in range(groups):
                        own += shares[g] * pair[g, i, a, b]
                    X[i, a, b] = own
                    lost += own * v[j * q + a]
                w[c0 + b] -= lost
                for a in range(q):
                    own = 0.0
                    for c in range(q):
                        own += H[j * q + a, c] * X[i, c, b]
                    HX[i, a, b] = own
            for other in range(start, i + 1):
                to = pairs[other, 1] * k
                for a in range(k):
                    for b in range(k):
                        own = 0.0
                        for c in range(q):
                            own += X[i, c, a] * HX[other, c, b]
                        B[c0 + a, to - k0 + b] -= own
                        if other < i:
                            B[to + b, c0 - k0 + a] -= own
        of_clinics, explained = _covariances(C, B, k, clinic_ends, True, w, D, vc)
        squares -= explained

        # Lower triangles of sums of Z'V^-1 Z, and of Z'V^-1 r r'V^-1 Z: therapists', then clinics'
        n = max(q, k)
        sums, room = np.zeros((4, n, n)), np.empty((3, n, n))
        BD = np.empty((k, widest))
        last = 0
        for m in range(ends.shape[0] - 1):
            j0, j1, k0, k1 = ends[m, 0], ends[m + 1, 0], ends[m, 1], ends[m + 1, 1]
            top, size = k0 * k, (k1 - k0) * k
            for c in range(k1 - k0):
                for a in range(k):
                    left = w[top + c * k + a]
                    for b in range(size):
                        BD[a, b] = 0.0
                    for e in range(size):
                        element = B[top + c * k + a, e]
                        if element != 0.0:  # most clinics share no therapist
                            left -= element * vc[top + e]
                            for b in range(size):
                                BD[a, b] += element * D[top + e, b]
                    room[2, 0, a] = left  # Z'V^-1 r
                for a in range(k):
                    for b in range(a + 1):
                        sums[3, a, b] += room[2, 0, a] * room[2, 0, b]
                        own = B[top + c * k + a, c * k + b]
                        for e in range(size):
                            own -= BD[a, e] * B[top + c * k + b, e]
                        sums[2, a, b] += own
                if groups > 1:
                    for g in range(groups):
                        for a in range(k):
                            for b in range(k):
                                shares_determinant[g] += (
                                    D[top + c * k + a, c * k + b]
                                    * clinic[g, a, k0 + c, clinic_columns[b]]
                                )
            for j in range(j0, j1):
                start = last
                while last < linked and pairs[last, 0] == j:
                    c0 = pairs[last, 1] * k
                    for a in range(q):
                        own, lost = 0.0, 0.0
                        for b in range(k):
                            own += HX[last, a, b] * vc[c0 + b]
                            lost += X[last, a, b] * vc[c0 + b]
                        v[j * q + a] -= own
                        s[j * q + a] -= lost
                    last += 1
                for a in range(q):
                    left = s[j * q + a]
                    for b in range(q):
                        left -= A[j * q + a, b] * v[j * q + b]
                        own = 0.0
                        for c in range(q):
                            own += A[j * q + a, c] * H[j * q + c, b]
                        room[0, a, b] = own
                    room[2, 0, a] = left
                for a in range(q):
                    for b in range(a + 1):
                        sums[1, a, b] += room[2, 0, a] * room[2, 0, b]
                        own = A[j * q + a, b]
                        for c in range(q):
                            own -= room[0, a, c] * A[j * q + c, b]
                        sums[0, a, b] += own
                if groups > 1:
                    for one in range(start, last):
                        at_i, c0 = (pairs[one, 1] - k0) * k, pairs[one, 1] * k
                        for a in range(q):
                            for b in range(k):
                                across = 0.0  # of the covariance, of therapist and clinic
                                for other in range(start, last):
                                    to = (pairs[other, 1] - k0) * k
                                    for e in range(k):
                                        across -= HX[other, a, e] * D[top + to + e, at_i + b]
                                for g in range(groups):
                                    element = 2 * pair[g, one, a, b]
                                    shares_determinant[g] += across * element
                                    shares_squares[g] += v[j * q + a] * vc[c0 + b] * element
                    for a in range(q):
                        for b in range(q):
                            own = H[j * q + a, b]
                            for one in range(start, last):
                                at_i = (pairs[one, 1] - k0) * k
                                for other in range(start, last):
                                    to = (pairs[other, 1] - k0) * k
                                    for c in range(k):
                                        for e in range(k):
                                            weight = D[top + at_i + c, to + e]
                                            own += HX[one, a, c] * weight * HX[other, b, e]
                            for g in range(own_groups):
                                shares_determinant[g] += own * therapist[g, a, j, columns[b]]
                for one in range(start, last):  # X becomes R
                    for b in range(k):
                        for a in range(q):
                            own = 0.0
                            for c in range(q):
                                own += A[j * q + a, c] * HX[one, c, b]
                            X[one, a, b] -= own
                for one in range(start, last):
                    at_i = (pairs[one, 1] - k0) * k
                    for other in range(start, last):
                        to = (pairs[other, 1] - k0) * k
                        for a in range(q):
                            for e in range(k):
                                own = 0.0
                                for c in range(k):
                                    own += X[one, a, c] * D[top + at_i + c, to + e]
                                room[1, a, e] = own
                        for a in range(q):
                            for b in range(a + 1):
                                own = 0.0
                                for e in range(k):
                                    own += room[1, a, e] * X[other, b, e]
                                sums[0, a, b] -= own

        _of_unit(own_sizes, shares, therapist, beta, columns, v, by_beta, shares_squares)
        _of_unit(clinic_sizes, shares, clinic, beta, clinic_columns, vc, by_beta, shares_squares)
        by_elements, determinant = np.zeros_like(elements), np.zeros_like(elements)
        _by_elements(places, sums, 0, P, determinant, by_elements)
        _by_elements(clinic_places, sums, 2, C, determinant, by_elements)
        return (
            squares,
            log_determinant + of_clinics,
            by_beta,
            by_elements,
            determinant,
            shares_squares,
            shares_determinant,
        )

    return levels


HELPERS = (levels_of, _factor, _units, _covariances, _of_unit, _by_elements)


class TwoLevels(Op):
    """Generalised residual sum of squares, and log determinant, with therapists and clinics.

    Parameters
    ----------
    columns, clinic_columns : sequence of int
        Columns of X whose coefficients vary between therapists, q, and between clinics, k.
    places, clinic_places : sequence of (int, int, int)
        Where the elements of the two factors stand: `models.gaussian.generalised_squares.packed`;
        those of the clinics' come after the therapists'.
    coefficients, groups, own_groups : int
        p, residual groups G, and those of them that the therapists' cross-products have.

    Notes
    -----
    Inputs are ``beta`` (p,), the elements of the therapists' factor and then of the clinics' over
    the residual SD of the first residual group, ``shares`` (G,), that SD's variance over each
    group's, the four arrays of `models.clinics.LevelProducts`, and ``pairs`` and ``ends`` of
    `models.clinics.Cells`. The first two outputs are ``r'r - w'M^-1 w`` and ``log|M|``, which alone
    can be differentiated; the others are their gradients by the first three inputs.
    """

    __props__ = (
        "columns",
        "clinic_columns",
        "places",
        "clinic_places",
        "coefficients",
        "groups",
        "own_groups",
    )

    def __init__(
        self,
        columns: Sequence[int],
        clinic_columns: Sequence[int],
        places: Places,
        clinic_places: Places,
        coefficients: int,
        groups: int,
        own_groups: int,
    ) -> None:
        self.coefficients, self.groups, self.own_groups = coefficients, groups, own_groups
        self.columns = tuple(int(column) for column in columns)
        self.clinic_columns = tuple(int(column) for column in clinic_columns)
        self.places = tuple(tuple(int(number) for number in place) for place in places)
        self.clinic_places = tuple(
            tuple(int(number) for number in place) for place in clinic_places
        )

    def make_node(self, *inputs: Any) -> Apply[Any, Any]:
        """Apply the operation to its nine inputs."""
        given = [pt.as_tensor_variable(each) for each in inputs]
        beta, elements, shares = given[:3]
        outputs = [pt.dscalar(), pt.dscalar(), beta.type()]
        for each in (elements, shares):
            outputs += [each.type(), each.type()]
        return Apply(self, given, outputs)

    def perform(self, node: Any, inputs: Sequence[Any], output_storage: Any) -> None:
        """Compute the outputs where nothing is compiled."""
        given: list[Any] = [*inputs, *self._fixed()]
        found = self._loops()(*given)
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
        for k in (3, 5):
            gradients.append(squares * outputs[k] + determinant * outputs[k + 1])
        held = [grad_not_implemented(self, k, inputs[k]) for k in range(3, len(inputs))]
        return [*gradients, *held]

    def _loops(self) -> Callable[..., Any]:
        sizes = (self.coefficients, self.groups, self.own_groups)
        return levels_of(*sizes, len(self.columns), len(self.clinic_columns))

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
    levels = numba_njit(op._loops())
    columns, clinic_columns, places, clinic_places = op._fixed()

    # Without annotations: numba takes the types of what it is given.
    @numba_njit
    def two_levels(beta, elements, shares, total, therapist, clinic, pair, pairs, ends):  # type: ignore[no-untyped-def]
        found = levels(
            beta, elements, shares, total, therapist, clinic, pair, pairs, ends,
            columns, clinic_columns, places, clinic_places,
        )  # fmt: skip
        squares, determinant, b, e0, e1, s0, s1 = found
        return np.asarray(squares), np.asarray(determinant), b, e0, e1, s0, s1

    text = "".join(inspect.getsource(own) for own in HELPERS)
    return two_levels, int(hashlib.sha256(text.encode()).hexdigest()[:15], 16)
