"""A model of visits sampled: its covariances by NUTS, all else drawn exactly given them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from alliance.inference.draws.datatree import Timings, joint_trees
from alliance.inference.sampling.compilation import compile_model
from alliance.inference.sampling.profiles import SamplerProfile, seed_sequence
from alliance.inference.sampling.sampling import Progress, nuts_seed, require_complete, run_chains
from alliance.models.nesting import RESIDUAL_GROUP
from alliance.models.priors import Priors
from alliance.models.visits.covariance import CovarianceShape
from alliance.models.visits.design import VisitsDesign
from alliance.models.visits.likelihood import VisitModel, draw_effects
from alliance.models.visits.model import CORRELATION, VISIT_SD, visits_data, visits_model

Array = NDArray[np.float64]

RESIDUAL_CORRELATION = "residual_correlation"

_compiled: dict[tuple[Any, ...], Any] = {}


@dataclass(frozen=True, eq=False, slots=True)
class VisitDraws:
    """Draws of a model of visits, on the scale of its data.

    Attributes
    ----------
    beta : ndarray, shape (chain, draw, P)
    residual : ndarray, shape (chain, draw, A, V, V)
        Covariances of the residuals.
    loading : ndarray, shape (chain, draw, Q, Q)
        Lower factor of the covariance of a therapist's effects.
    effects : ndarray, shape (chain, draw, J, Q)
    raw : xarray.DataTree
        The sampler's own draws and statistics.
    timings : Timings
    """

    beta: Array
    residual: Array
    loading: Array
    effects: Array
    raw: xr.DataTree
    timings: Timings


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
    beta, effects = [], []
    # One BLAS thread: sums split over threads change their bits with the machine
    with threadpool_limits(limits=1, user_api="blas"):
        for chain in range(len(residual)):
            sequence = seed_sequence(seed, "therapist_effects", outcome, chain)
            found = draw_effects(
                model, residual[chain], loading[chain], np.random.default_rng(sequence)
            )
            beta.append(found[0])
            effects.append(found[1])
    finished = time.perf_counter()
    timings = Timings(compiled - started, sampled - compiled, finished - sampled)
    return VisitDraws(np.stack(beta), residual, loading, np.stack(effects), raw, timings)


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
    sds = np.sqrt(np.diagonal(found.residual, axis1=-2, axis2=-1))  # (chain, draw, A, V)
    correlation = found.residual / (sds[..., :, None] * sds[..., None, :])
    apart = found.residual.shape[2] > 1
    by_group = (RESIDUAL_GROUP,) if apart else ()
    sds = np.swapaxes(sds, -1, -2) if apart else sds[:, :, 0]
    correlation = correlation if apart else correlation[:, :, 0]
    trees, _ = joint_trees(
        found.raw,
        design.designs,
        design.coefficients(found.beta),
        {"residual_sd": sds, **_therapist_scalars(found.loading, design.shape)},
        _at_visits(found.effects, design.shape),
        xr.Dataset(),
        found.timings.sampling,
    )
    labels = [own.removeprefix(f"{design.outcome}_") for own in design.designs]
    for t, tree in enumerate(trees.values()):
        if t + 1 < len(labels) and design.shape.correlations:
            own = tree["posterior"].to_dataset().assign_coords(later_visit=labels[t + 1 :])
            values = correlation[..., t, t + 1 :]
            own[RESIDUAL_CORRELATION] = (("chain", "draw", *by_group, "later_visit"), values)
            tree["posterior"] = xr.DataTree(own)
    return trees, found.timings


def _therapist_scalars(loading: Array, shape: CovarianceShape) -> dict[str, Array]:
    """SDs and correlation (chain, draw, V) of a therapist's effects at each visit."""
    if not shape.correlated:
        return {}
    covariance = loading @ np.swapaxes(loading, -1, -2)
    variance = covariance[..., 0, 0] + (covariance[..., -1, -1] if shape.independent else 0.0)
    sd = np.sqrt(variance)
    found = {"therapist_sd": sd}
    if shape.correlated > 1:
        slope = np.sqrt(covariance[..., 1, 1])
        found |= {
            "therapist_slope_sd": slope,
            "therapist_correlation": covariance[..., 0, 1] / (sd * slope),
        }
    return {name: np.repeat(own[..., None], shape.visits, axis=-1) for name, own in found.items()}


def _at_visits(effects: Array, shape: CovarianceShape) -> Array:
    """Effects (chain, draw, J, V, q) at each visit, from those at all and the deviations."""
    common = np.repeat(effects[..., None, : shape.correlated], shape.visits, axis=-2)
    if shape.independent:
        common[..., 0] += effects[..., shape.correlated :]
    return common


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
