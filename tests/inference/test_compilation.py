"""Our callbacks: nutpie's own densities to the last bit, and kept for the next process."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import nutpie
import pymc as pm
import pytest
import xarray as xr
from numpy.typing import NDArray

from alliance.inference.sampling.compilation import compile_model


def small_model(scale: float = 1.0) -> pm.Model:
    """Data of two types and three ranks, a transformed parameter, a derived one."""
    generator = np.random.default_rng(0)
    with pm.Model(coords={"place": ["a", "b"], "patient": range(6)}) as model:
        X = pm.Data("X", generator.normal(size=(6, 2)) * scale, dims=("patient", "place"))
        count = pm.Data("count", np.array([3, 1, 4, 1, 5, 9]))
        unit = pm.Data("unit", np.array(1.5))
        beta = pm.Normal("beta", 0, unit, dims="place")
        sd = pm.HalfNormal("sd", 1)
        pm.Deterministic("doubled", 2 * beta, dims="place")
        pm.Potential("likelihood", (count * pm.logp(pm.Normal.dist(X @ beta, sd), 0.3)).sum())
    return model


def draws(compiled: Any) -> xr.Dataset:
    raw = nutpie.sample(compiled, draws=50, tune=50, chains=2, cores=1, seed=7, progress_bar=False)
    return raw["posterior"].to_dataset().drop_attrs()


@pytest.fixture(scope="module")
def compiled() -> Any:
    return compile_model(small_model())


@pytest.fixture(scope="module")
def nutpies() -> Any:
    return nutpie.compile_pymc_model(small_model())


def data(scale: float) -> dict[str, NDArray]:
    model = small_model(scale)
    return {name: model[name].get_value() for name in ("X", "count", "unit")}


def test_draws_are_those_of_nutpies_own_compiler(compiled: Any, nutpies: Any) -> None:
    xr.testing.assert_identical(draws(compiled), draws(nutpies))


def test_a_model_of_the_same_graph_is_read_from_disk(compiled: Any, nutpies: Any) -> None:
    again = compile_model(small_model(2.0))
    assert again.compiled_logp_func.cache_hits == 1
    assert again.compiled_expand_func.cache_hits == 1
    # Its own data, not those of the model that was kept.
    xr.testing.assert_identical(draws(again), draws(nutpies.with_data(**data(2.0))))


@pytest.mark.parametrize(
    ("dimensions", "point", "code"),
    [
        (3, [0.1, 0.2, 0.3], 0),
        (2, [0.1, 0.2], -1),  # a fault: another number of parameters
        (3, [np.inf, 0.2, 0.3], 3),  # a point to step back from
    ],
)
def test_the_density_answers_with_nutpies_codes(
    compiled: Any, nutpies: Any, dimensions: int, point: list[float], code: int
) -> None:
    answers = []
    for model in (compiled, nutpies):
        density = model.compiled_logp_func.ctypes
        x, gradient, value = (
            np.array(values, dtype=float) for values in (point, np.zeros(3), np.zeros(1))
        )
        pointers = [
            array.ctypes.data_as(ctypes.POINTER(ctypes.c_double)) for array in (x, gradient, value)
        ]
        answers.append(density(dimensions, *pointers, model.user_data.ctypes.data))
    assert answers == [code, code]
