"""Sums over the therapists of several trials, with their gradients, in one operation.

Trial by trial those of `models.gaussian.generalised_squares`; one compilation serves any numbers of
trials and therapists.
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

from alliance.models.gaussian.generalised_squares import Places, _sums


def _over_trials(sums: Any) -> Any:
    """The sums of each trial, made of those of one, in Python or compiled."""

    # Without annotations: numba takes the types of what it is given.
    def over_trials(beta, elements, cross_products, within, starts, columns, places):  # type: ignore[no-untyped-def]
        trials = beta.shape[0]
        squares, determinant = np.zeros(trials), np.zeros(trials)
        by_beta = np.zeros_like(beta)
        by_elements, of_elements = np.zeros_like(elements), np.zeros_like(elements)
        for t in range(trials):
            own = within[:, starts[t] : starts[t + 1]]
            factor = elements[t].copy().reshape(-1, 1)
            found = sums(beta[t], factor, cross_products[t], own, columns, places, False)
            squares[t], determinant[t] = found[0], found[1]
            by_beta[t] = found[2]
            by_elements[t] = found[3][:, 0]
            of_elements[t] = found[4][:, 0]
        return squares, determinant, by_beta, by_elements, of_elements

    return over_trials


class TrialSquares(Op):
    """Generalised residual sum of squares, and log determinant, of each trial's therapists.

    Parameters
    ----------
    columns : sequence of int
        Columns of X whose coefficients vary between therapists, q.
    places : sequence of (int, int, int)
        As of `models.gaussian.generalised_squares.packed`.

    Notes
    -----
    With T trials, p coefficients and J therapists, sorted by trial, the inputs are ``beta`` (T, p);
    ``elements`` (T, m), those of ``L / sigma_t``; ``cross_products`` (T, p + 1, p + 1); ``within``
    (q, J, p + 1); ``starts`` (T + 1,), where each trial's therapists begin. The first two outputs
    (T,) can be differentiated; the others are their gradients.
    """

    __props__ = ("columns", "places")

    def __init__(self, columns: Sequence[int], places: Places) -> None:
        self.columns = tuple(int(column) for column in columns)
        self.places = tuple(tuple(int(number) for number in place) for place in places)

    def make_node(self, *inputs: Any) -> Apply[Any, Any]:
        """Apply the operation to its five inputs."""
        beta, elements, *data = map(pt.as_tensor_variable, inputs)
        outputs = [pt.dvector(), pt.dvector(), pt.dmatrix(), pt.dmatrix(), pt.dmatrix()]
        return Apply(self, [beta, elements, *data], outputs)

    def perform(self, node: Any, inputs: Sequence[Any], output_storage: Any) -> None:
        """Compute the outputs where nothing is compiled."""
        found = _over_trials(_sums)(*inputs, *self._fixed())
        for storage, value in zip(output_storage, found, strict=True):
            storage[0] = value

    def pullback(
        self, inputs: Sequence[Variable], outputs: Sequence[Variable], cotangents: Sequence[Any]
    ) -> list[Variable]:
        """Gradients of sums of the first two outputs, from the others."""
        if not all(isinstance(each.type, DisconnectedType) for each in cotangents[2:]):
            raise NotImplementedError("The gradients of TrialSquares have none themselves.")
        squares, determinant = (
            pt.zeros_like(output) if isinstance(each.type, DisconnectedType) else each
            for each, output in zip(cotangents[:2], outputs[:2], strict=True)
        )
        return [
            squares[:, None] * outputs[2],
            squares[:, None] * outputs[3] + determinant[:, None] * outputs[4],
            *(grad_not_implemented(self, k, inputs[k]) for k in (2, 3, 4)),
        ]

    def _fixed(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return np.array(self.columns), np.array(self.places).reshape(-1, 3)


@register_funcify_default_op_cache_key(TrialSquares)
def _compiled_sums(op: TrialSquares, **_: Any) -> tuple[Any, int]:
    """Numba's version, and a number that changes with its text, so that no old one is used."""
    over_trials = numba_njit(_over_trials(numba_njit(_sums)))
    columns, places = op._fixed()

    # Without annotations: numba takes the types of what it is given.
    @numba_njit
    def trial_squares(beta, elements, cross_products, within, starts):  # type: ignore[no-untyped-def]
        return over_trials(beta, elements, cross_products, within, starts, columns, places)

    text = inspect.getsource(_sums) + inspect.getsource(_over_trials)
    return trial_squares, int(hashlib.sha256(text.encode()).hexdigest()[:15], 16)
