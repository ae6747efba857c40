"""A model of visits sampled: its covariances by NUTS, all else drawn exactly given them."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alliance.inference.draws.datatree import Timings
from alliance.inference.sampling.compilation import compile_model
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.inference.sampling.sampling import Progress, nuts_seed, require_complete, run_chains
from alliance.inference.sampling.visit_draws import VisitDraws, drawn_given, visit_trees
from alliance.models.priors import Priors
from alliance.models.visits.covariance import CovarianceShape
from alliance.models.visits.design import VisitsDesign
from alliance.models.visits.likelihood import VisitModel
from alliance.models.visits.model import CORRELATION, VISIT_SD, visits_data, visits_model

Array = NDArray[np.float64]

_compiled: dict[tuple[Any, ...], Any] = {}


def sample_visits(
    outcome: str,
    model: VisitModel,
    shape: CovarianceShape,
    priors: Priors,
    profile: SamplerProfile,
    seed: int,
    *,
    cores: int | None = None,
    progress: Progress | None = None,
) -> VisitDraws:
    """Draw from the posterior of one outcome over time.

    Parameters
    ----------
    outcome : str
        Names the streams of random numbers, with the seed.
    model : VisitModel
        On the standardised scale.
    shape : CovarianceShape
    priors : Priors
        Those of the coefficients are in the model.
    profile : SamplerProfile
    seed : int
    cores : int, optional
        Chains run at a time; it never changes a draw.
    progress : callable, optional
        Called with the draws done and the draws to do.

    Returns
    -------
    VisitDraws

    Raises
    ------
    IncompleteSamplingError
        If a chain is short, or a draw is not finite.
    KeyboardInterrupt
        On Ctrl-C; the chains are stopped and their draws dropped.
    """
    started = time.perf_counter()
    compiled_model = _compiled_visits(model, shape, priors)
    compiled = time.perf_counter()
    raw = run_chains(compiled_model, profile, nuts_seed(seed, outcome), cores, progress)
    sampled = time.perf_counter()
    draws = raw["posterior"].to_dataset()
    require_complete(draws, outcome, profile)
    residual, loading = drawn_covariances(draws, shape)
    beta, effects = drawn_given(outcome, model, residual, loading, seed)
    finished = time.perf_counter()
    timings = Timings(compiled - started, sampled - compiled, finished - sampled)
    return VisitDraws(beta, residual, loading, effects, raw, timings)


def sample_over_time(
    design: VisitsDesign,
    priors: Priors,
    profile: SamplerProfile,
    seed: int,
    *,
    cores: int | None = None,
    progress: Progress | None = None,
) -> tuple[dict[str, xr.DataTree], Timings]:
    """Draw from the posterior of an outcome over time.

    Parameters
    ----------
    design : VisitsDesign
    priors : Priors
    profile, seed, cores, progress
        As of `sample_visits`.

    Returns
    -------
    dict of str to xarray.DataTree
        By the name of the outcome at a visit; draws as of an outcome by itself, all visits of one
        draw together, and ``residual_correlation`` with later visits (``later_visit``), by
        ``residual_group`` where there are several.
    Timings
    """
    found = sample_visits(
        design.outcome,
        design.model(priors),
        design.shape,
        priors,
        profile,
        seed,
        cores=cores,
        progress=progress,
    )
    return visit_trees(design, found), found.timings


def _compiled_visits(model: VisitModel, shape: CovarianceShape, priors: Priors) -> Any:
    """Nutpie's compiled model of this shape, with these data in it."""
    kind = (
        shape.structure,
        shape.visits,
        shape.sds,
        shape.groups,
        shape.correlated,
        shape.independent,
        shape.limits,
    )
    if kind not in _compiled:
        _compiled[kind] = compile_model(visits_model(model, shape, priors))
    return _compiled[kind].with_data(**visits_data(model, shape, priors))


def drawn_covariances(draws: xr.Dataset, shape: CovarianceShape) -> tuple[Array, Array]:
    """Residual covariances and factors of the therapist effects' of the sampler's draws.

    Parameters
    ----------
    draws : xarray.Dataset
        Variables of `models.visits.model.visits_model` over ``chain`` and ``draw``.
    shape : CovarianceShape

    Returns
    -------
    ndarray, shape (chain, draw, A, V, V)
    ndarray, shape (chain, draw, Q, Q)
    """
    sd = draws["residual_sd"].values
    parameters = np.zeros((*sd.shape[:-1], 0))
    if CORRELATION in draws:
        parameters = draws[CORRELATION].values
    size = shape.correlated + shape.independent
    loading = np.zeros((*sd.shape[:2], size, size))
    if shape.correlated:
        loading[..., 0, 0] = draws["therapist_sd"].values
    if shape.correlated > 1:
        slope, r = draws["therapist_slope_sd"].values, draws["therapist_correlation"].values
        loading[..., 1, 0], loading[..., 1, 1] = slope * r, slope * np.sqrt(1 - r**2)
    if shape.independent:
        own = range(shape.correlated, size)
        loading[..., own, own] = draws[VISIT_SD].values[..., None]
    return shape.residual(sd, parameters), loading
