"""An operation of PyTensor that gives a log likelihood together with its gradients.

Models whose effects are integrated out in closed form compute value and gradients in the same
loops, which numba compiles and Python understands; PyTensor need not know what is within.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType, grad_not_implemented
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key


class ExactLikelihood(Op):
    """Log likelihood whose other outputs are its gradients.

    Attributes
    ----------
    parameters : int
        How many of the inputs, the first ones, have a gradient; the others are data.

    Notes
    -----
    The first output is the log likelihood, the only one that can be differentiated; the others are
    its gradients, shaped as the parameters.
    """

    __props__: ClassVar[tuple[str, ...]] = ()
    parameters: ClassVar[int]

    def loops(self) -> Callable[..., tuple[Any, ...]]:
        """Value, a 0-d array, and gradients from all inputs, in a function that numba compiles."""
        raise NotImplementedError

    def make_node(self, *inputs: Any) -> Apply[Any, Any]:
        """Apply the operation to parameters and data."""
        variables = [pt.as_tensor_variable(each) for each in inputs]
        gradients = (variable.type() for variable in variables[: self.parameters])
        return Apply(self, variables, [pt.dscalar(), *gradients])

    def perform(self, node: Any, inputs: Sequence[Any], output_storage: Any) -> None:
        """Compute the outputs where nothing is compiled."""
        for storage, value in zip(output_storage, self.loops()(*inputs), strict=True):
            storage[0] = np.asarray(value)

    def pullback(
        self, inputs: Sequence[Variable], outputs: Sequence[Variable], cotangents: Sequence[Any]
    ) -> list[Variable]:
        """Gradients of the log likelihood, from the other outputs."""
        if not all(isinstance(each.type, DisconnectedType) for each in cotangents[1:]):
            name = type(self).__name__
            raise NotImplementedError(f"The gradients of {name} have none themselves.")
        gradients = [cotangents[0] * output for output in outputs[1:]]
        data = range(len(gradients), len(inputs))
        return [*gradients, *(grad_not_implemented(self, k, inputs[k]) for k in data)]


def compiled_by_numba(*modules: str) -> Callable[[type[ExactLikelihood]], type[ExactLikelihood]]:
    """Have numba compile the loops of an operation, kept on disk until their text changes.

    Parameters
    ----------
    *modules : str
        Names of other modules whose functions the loops call.

    Returns
    -------
    callable
        Decorator of the operation's class.
    """

    def registered(operation: type[ExactLikelihood]) -> type[ExactLikelihood]:
        @register_funcify_default_op_cache_key(operation)
        def compiled(op: ExactLikelihood, **_: Any) -> tuple[Any, int]:
            """Numba's version, and a number that changes with its text: no old one is used."""
            texts = [inspect.getsource(sys.modules[m]) for m in (operation.__module__, *modules)]
            texts += [str(getattr(op, name)) for name in op.__props__]
            digest = hashlib.sha256("".join(texts).encode()).hexdigest()
            return numba_njit(op.loops()), int(digest[:15], 16)

        return operation

    return registered
