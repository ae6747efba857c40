"""PyMC models compiled for nutpie, their machine code kept on disk for the next process.

nutpie wraps a model's compiled density in a callback that numba cannot keep, because it is built
around the addresses of that process; each process then compiles for four seconds or more what has
not changed. The callbacks written here read all addresses from nutpie's table of data, so numba
keeps them in PyTensor's cache folder, under a key made of the model's graph and of their own text.
The draws are the same bit for bit (``docs/decisions/0010-cached-callbacks.md``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from typing import Any
from uuid import uuid4

import numba
import numpy as np
import pymc as pm
import pytensor
from numpy.typing import NDArray
from nutpie import compile_pymc as nutpie_pymc
from pymc.initial_point import make_initial_point_fn
from pytensor.link.numba.cache import CACHED_SRC_FUNCTIONS, compile_numba_function_src

# With numba's fast mathematics the same seed gives other draws from a cold than from a warm cache.
pytensor.config.numba__fastmath = False
# Draws are those of double precision, whatever PYTENSOR_FLAGS or a .pytensorrc says.
pytensor.config.floatX = "float64"

_double = numba.types.CPointer(numba.types.double)
_LOGP_SIGNATURE = numba.types.int64(
    numba.types.uint64, _double, _double, _double, numba.types.voidptr
)
_EXPAND_SIGNATURE = numba.types.int64(
    numba.types.uint64, numba.types.uint64, _double, _double, numba.types.voidptr
)

# What nutpie's own callbacks do and return: 0 well, 1, 3 and 4 an invalid point, below 0 a fault.
# No exception may pass into the sampler, and numba knows no narrower class to catch there.
_LOGP_SOURCE = """
def alliance_logp(dim, x_, gradient_, logp_, data_):
    if dim != {size}:
        return -1
    try:
        table = carray(data_, ({fields},), uintp)
        value, gradient = density(carray(x_, ({size},)){arrays})
        logp_[0] = value.item()
        for i in range({size}):
            gradient_[i] = gradient[i]
            if not isfinite(gradient[i]):
                return 3
        if not isfinite(logp_[0]):
            return 4
    except Exception:
        return 1
    return 0
"""
_EXPAND_SOURCE = """
def alliance_expand(dim, expanded, x_, values_, data_):
    if dim != {size} or expanded != {expanded}:
        return -1
    try:
        table = carray(data_, ({fields},), uintp)
        values = density(carray(x_, ({size},)){arrays})[0]
        for i in range({expanded}):
            values_[i] = values[i]
    except Exception:
        return -2
    return 0
"""


_one_start = Lock()  # PyTensor's shared values are those of the process


@dataclass(frozen=True)
class CompiledModel(nutpie_pymc.CompiledPyMCModel):
    """nutpie's compiled model, whose chains start where the data that it is given have them.

    nutpie changes the data of the density and not those of the starting points, which hang on the
    scales of the priors: the same seed would give other draws after other priors were compiled.

    Attributes
    ----------
    started : callable
        Starting point for a seed, from the shared values as they are.
    """

    started: Callable[[Any], NDArray[np.float64]] | None = None

    def with_data(self, **updates: Any) -> CompiledModel:
        """With other data of the same names."""
        found = super().with_data(**updates)
        return replace(found, initial_point_func=partial(_start_of, found))


def _start_of(model: CompiledModel, seed: Any) -> NDArray[np.float64]:
    assert model.started is not None
    with _one_start:
        for variable, key in model.shared_var_keys.items():
            variable.set_value(model.shared_data[key], borrow=True)
        return model.started(seed)


def compile_model(model: pm.Model) -> Any:
    """Compile a PyMC model as ``nutpie.compile_pymc_model`` does, faster in a second process.

    Parameters
    ----------
    model : pymc.Model

    Returns
    -------
    CompiledModel
        With nutpie's own methods, ``with_data`` among them.
    """
    initial = make_initial_point_fn(
        model=model, jitter_rvs=set(model.free_RVs), return_transformed=True
    )
    size, expanded, logp, expand, initial_point, shapes, reparameterized = (
        nutpie_pymc._make_functions(
            model,
            mode="NUMBA",
            compute_grad=True,
            join_expanded=True,
            pymc_initial_point_fn=nutpie_pymc._wrap_with_lock(initial),
        )
    )
    keys = {
        variable: uuid4().hex
        for variable in dict.fromkeys([*logp.get_shared(), *expand.get_shared()])
    }
    arrays = {key: _frozen(variable.get_value()) for variable, key in keys.items()}
    sizes = {"size": size, "expanded": expanded}
    callbacks = [
        _callback(source, signature, function, keys, arrays, sizes)
        for source, signature, function in (
            (_LOGP_SOURCE, _LOGP_SIGNATURE, logp),
            (_EXPAND_SOURCE, _EXPAND_SIGNATURE, expand),
        )
    ]
    dims, coords = nutpie_pymc._prepare_dims_and_coords(model, shapes, reparameterized)
    return CompiledModel(
        _n_dim=size,
        dims=dims,
        _coords=coords,
        _shapes={name: tuple(shape) for name, _, shape in zip(*shapes, strict=True)},
        compiled_logp_func=callbacks[0],
        compiled_expand_func=callbacks[1],
        initial_point_func=initial_point,
        started=initial_point,
        shared_data=arrays,
        shared_var_keys=keys,
        user_data=nutpie_pymc.make_user_data(keys, arrays),
        n_expanded=expanded,
        shape_info=shapes,
        logp_func=logp,
        expand_func=expand,
        reparameterized_names=reparameterized,
    )


def _frozen(values: Any) -> NDArray[Any]:
    array = np.array(values, order="C", copy=True)
    array.flags.writeable = False
    return array


def _callback(
    source: str,
    signature: Any,
    function: Any,  # a compiled PyTensor function
    keys: dict[Any, str],
    arrays: dict[str, NDArray[Any]],
    sizes: dict[str, int],
) -> Any:
    """A C callback around one compiled PyTensor function, from numba's cache where it is there."""
    density = function.vm.jit_fn
    shared = [keys[variable] for variable in function.get_shared()]
    fields = sum(2 + array.ndim for array in arrays.values())
    text = source.format(arrays=_array_arguments(arrays, shared), fields=fields, **sizes)
    graph = CACHED_SRC_FUNCTIONS.get(density.py_func)  # None where PyTensor itself cannot keep it
    # With the module's name in the key no code is found that another version's module is to load.
    key = None if graph is None else hashlib.sha256((graph + text + __name__).encode()).hexdigest()
    known = {array.dtype.name: array.dtype.type for array in arrays.values()}
    callback = compile_numba_function_src(
        text,
        text.split("(")[0].removeprefix("\ndef "),
        global_env={
            "__name__": __name__,  # the module that numba imports when it loads the code
            "address": nutpie_pymc.address_as_void_pointer,
            "carray": numba.carray,
            "density": density,
            "isfinite": np.isfinite,
            "uintp": np.uintp,
            **known,
        },
        cache_key=key,
    )
    return numba.cfunc(signature, cache=key is not None)(callback)


def _array_arguments(arrays: dict[str, NDArray[Any]], shared: Sequence[str]) -> str:
    """Source of the data arguments, read from nutpie's table.

    The table has the addresses of all arrays, then their sizes, then the lengths of their axes.
    """
    places = {key: number for number, key in enumerate(arrays)}
    axes = np.cumsum([2 * len(arrays), *(array.ndim for array in arrays.values())])
    arguments = ""
    for key in shared:
        start, array = axes[places[key]], arrays[key]
        shape = "".join(f"int(table[{start + axis}]), " for axis in range(array.ndim))
        arguments += f", carray(address(table[{places[key]}]), ({shape}), {array.dtype.name})"
    return arguments
