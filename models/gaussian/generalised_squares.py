"""The exact Gaussian likelihood's sums over therapists, with their gradient, in one operation.

Written out in PyTensor's symbols the same sums make some forty operations whose compilation takes
longer than sampling. `models.gaussian.gaussian_draws` computes them for draws, with NumPy, from the
formulas of `models.gaussian.marginal`; the tests hold the two together.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytensor.tensor as pt
from numpy.typing import NDArray
from pytensor.gradient import DisconnectedType, grad_not_implemented
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key

from alliance.models.gaussian.marginal import Elements, is_zero

Array = NDArray[np.float64]
Places = tuple[tuple[int, int, int], ...]


def packed(G: Elements) -> tuple[list[Any], Places]:
    """The distinct elements of a lower triangular matrix, and where each of them stands.

    Parameters
    ----------
    G : q x q nested sequence
        Elements that are the number zero are left out; one symbol may stand in several places.

    Returns
    -------
    elements : list of m
    places : tuple of (row, column, number of the element)
    """
    elements: list[Any] = []
    places = []
    for row, entries in enumerate(G):
        for column, entry in enumerate(entries[: row + 1]):
            if is_zero(entry):
                continue
            if not any(entry is element for element in elements):
                elements.append(entry)
            number = next(k for k, element in enumerate(elements) if element is entry)
            places.append((row, column, number))
    return elements, tuple(places)


def _sums(
    beta: Array,
    elements: Array,
    cross_products: Array,
    within: Array,
    columns: NDArray[np.int64],
    places: NDArray[np.int64],
    latent: bool,
) -> tuple[float, float, Array, Array, Array, Array, Array]:
    """Sums and gradients; loops that numba compiles, and that Python understands."""
    size, effects, therapists = len(beta), within.shape[0], within.shape[1]
    varying = elements.shape[1] > 1
    squares, log_determinant, left = cross_products[size, size], 0.0, 0.0
    beta_gradient = np.empty(size)
    for a in range(size):
        product = -cross_products[a, size]
        for b in range(size):
            product += cross_products[a, b] * beta[b]
        beta_gradient[a] = 2 * product
        squares += beta[a] * (product - cross_products[a, size])
    elements_gradient = np.zeros_like(elements)
    determinant_gradient = np.zeros_like(elements)
    changing = within.shape if latent else (0, 0, 0)
    within_gradient, within_determinant = np.zeros(changing), np.zeros(changing)
    G = np.zeros((effects, effects))
    AG = np.empty((effects, effects))
    U = np.empty((effects, effects))
    pivots, inverse, s = np.empty(effects), np.empty(effects), np.empty(effects)
    x, v, row = np.empty(effects), np.empty(effects), np.empty(effects)
    for j in range(therapists):
        k = j if varying else 0
        for i in range(places.shape[0]):
            G[places[i, 0], places[i, 1]] = elements[places[i, 2], k]
        for a in range(effects):
            s[a] = within[a, j, size]
            for b in range(size):
                s[a] -= within[a, j, b] * beta[b]
        for a in range(effects):
            for b in range(effects):
                AG[a, b] = 0.0
                for c in range(b, effects):
                    AG[a, b] += within[a, j, columns[c]] * G[c, b]
        determinant = 1.0
        for a in range(effects):  # M = I + G'AG = U D U', U unit lower
            x[a] = 0.0
            for c in range(a, effects):
                x[a] += G[c, a] * s[c]
            for b in range(a + 1):
                element = 1.0 if a == b else 0.0
                for c in range(a, effects):
                    element += G[c, a] * AG[c, b]
                for c in range(b):
                    element -= U[a, c] * pivots[c] * U[b, c]
                if a == b:
                    pivots[a] = element
                    inverse[a] = 1 / element
                    determinant *= element
                else:
                    U[a, b] = element * inverse[b]
        log_determinant += np.log(determinant)
        for a in range(effects):  # x becomes M^-1 G's
            for b in range(a):
                x[a] -= U[a, b] * x[b]
        for a in range(effects):
            squares -= x[a] ** 2 * inverse[a]
            x[a] *= inverse[a]
        for a in range(effects - 1, -1, -1):
            for b in range(a + 1, effects):
                x[a] -= U[b, a] * x[b]
        for a in range(effects):
            v[a] = 0.0
            for b in range(a + 1):
                v[a] += G[a, b] * x[b]
            for b in range(size):
                beta_gradient[b] += 2 * v[a] * within[a, j, b]
        solved = -1
        for i in range(places.shape[0]):
            a, b, number = places[i]
            if a != solved:  # left becomes element a of s - A v, row that of AG M^-1
                solved = a
                left = s[a]
                for c in range(effects):
                    left -= within[a, j, columns[c]] * v[c]
                    row[c] = AG[a, c]
                    for d in range(c):
                        row[c] -= U[c, d] * row[d]
                for c in range(effects - 1, -1, -1):
                    row[c] *= inverse[c]
                    for d in range(c + 1, effects):
                        row[c] -= U[d, c] * row[d]
            elements_gradient[number, k] -= 2 * left * x[b]
            determinant_gradient[number, k] += 2 * row[b]
        if latent:
            for a in range(effects):
                for b in range(size):
                    within_gradient[a, j, b] += 2 * v[a] * beta[b]
                within_gradient[a, j, size] -= 2 * v[a]
                for c in range(effects):  # row becomes M^-1 times row a of G
                    row[c] = G[a, c]
                    for d in range(c):
                        row[c] -= U[c, d] * row[d]
                for c in range(effects - 1, -1, -1):
                    row[c] *= inverse[c]
                    for d in range(c + 1, effects):
                        row[c] -= U[d, c] * row[d]
                for c in range(effects):
                    within_gradient[a, j, columns[c]] += v[a] * v[c]
                    for d in range(c + 1):
                        within_determinant[a, j, columns[c]] += G[c, d] * row[d]
    return (
        squares,
        log_determinant,
        beta_gradient,
        elements_gradient,
        determinant_gradient,
        within_gradient,
        within_determinant,
    )


class GeneralisedSquares(Op):
    """Generalised residual sum of squares, and log determinant, of all therapists.

    Parameters
    ----------
    columns : sequence of int
        Columns of X whose coefficients vary between therapists, q.
    places : sequence of (int, int, int)
        Row, column and number of each element of the factor; see `packed`.
    latent : bool
        Whether the cross-products depend on parameters.

    Notes
    -----
    With p coefficients and J therapists, the inputs are ``beta`` (p,); ``elements`` (m, 1) or
    (m, J), those of ``G_j = L_j / sigma``, common to all therapists or one set for each;
    ``cross_products`` (p + 1, p + 1), W'W with W = [X, y]; ``within`` (q, J, p + 1), Z_j'W_j.

    The first two outputs are ``r'r - sum_j w_j' M_j^-1 w_j`` and ``sum_j log|M_j|``, with
    ``M_j = I + G_j'Z_j'Z_j G_j`` and ``w_j = G_j'Z_j'r_j`` (see `models.gaussian.marginal`); they
    alone can be differentiated. The others are their gradients: with ``x_j = M_j^-1 w_j`` and ``v_j
    = G_j x_j``, those of ``w_j'x_j`` are ``2 v_j`` for ``Z_j'r_j`` and ``2 (Z_j'r_j - Z_j'Z_j v_j)
    x_j'`` for ``G_j`` and ``-v_j v_j'`` for ``Z_j'Z_j``; those of ``log|M_j|`` are ``2 Z_j'Z_j G_j
    M_j^-1`` and ``G_j M_j^-1 G_j'``.
    """

    __props__ = ("columns", "places", "latent")

    def __init__(self, columns: Sequence[int], places: Places, latent: bool = False) -> None:
        self.latent = latent
        self.columns = tuple(int(column) for column in columns)
        self.places = tuple(tuple(int(number) for number in place) for place in places)

    def make_node(self, *inputs: Any) -> Apply[Any, Any]:
        """Apply the operation to its four inputs."""
        beta, elements, *data = map(pt.as_tensor_variable, inputs)
        outputs = [pt.dscalar(), pt.dscalar(), beta.type(), elements.type(), elements.type()]
        changing = [pt.dtensor3(), pt.dtensor3()]
        return Apply(self, [beta, elements, *data], [*outputs, *changing])

    def perform(self, node: Any, inputs: Sequence[Any], output_storage: Any) -> None:
        """Compute the outputs where nothing is compiled."""
        beta, elements, cross_products, within = inputs
        found = _sums(beta, elements, cross_products, within, *self._fixed(), self.latent)
        for storage, value in zip(output_storage, found, strict=True):
            storage[0] = np.asarray(value)

    def pullback(
        self, inputs: Sequence[Variable], outputs: Sequence[Variable], cotangents: Sequence[Any]
    ) -> list[Variable]:
        """Gradients of a sum of the first two outputs, from the others."""
        if not all(isinstance(each.type, DisconnectedType) for each in cotangents[2:]):
            raise NotImplementedError("The gradients of GeneralisedSquares have none themselves.")
        squares, determinant = (
            pt.zeros(()) if isinstance(each.type, DisconnectedType) else each
            for each in cotangents[:2]
        )
        gradients = [
            squares * outputs[2],
            squares * outputs[3] + determinant * outputs[4],
        ]
        if not self.latent:
            return [*gradients, *(grad_not_implemented(self, k, inputs[k]) for k in (2, 3))]
        b = pt.concatenate([-inputs[0], [1.0]])
        return [
            *gradients,
            squares * pt.outer(b, b),
            squares * outputs[5] + determinant * outputs[6],
        ]

    def _fixed(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return np.array(self.columns), np.array(self.places).reshape(-1, 3)


@register_funcify_default_op_cache_key(GeneralisedSquares)
def _compiled_sums(op: GeneralisedSquares, **_: Any) -> tuple[Any, int]:
    """Numba's version, and a number that changes with its text, so that no old one is used."""
    sums = numba_njit(_sums)
    columns, places = op._fixed()
    latent = op.latent

    # Without annotations: numba takes the types of what it is given.
    @numba_njit
    def generalised_squares(beta, elements, cross_products, within):  # type: ignore[no-untyped-def]
        found = sums(beta, elements, cross_products, within, columns, places, latent)
        squares, determinant, by_beta, by_elements, of_elements, by_within, of_within = found
        totals = np.asarray(squares), np.asarray(determinant)
        return (*totals, by_beta, by_elements, of_elements, by_within, of_within)

    text = inspect.getsource(_sums)
    return generalised_squares, int(hashlib.sha256(text.encode()).hexdigest()[:15], 16)
