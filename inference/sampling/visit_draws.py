"""Draws of a model of visits, whatever engine made them, as trees of its visits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from alliance.inference.draws.datatree import Timings, joint_trees
from alliance.inference.sampling.profiles import seed_sequence
from alliance.models.nesting import RESIDUAL_GROUP
from alliance.models.visits.covariance import CovarianceShape
from alliance.models.visits.design import VisitsDesign
from alliance.models.visits.likelihood import VisitModel, draw_effects

Array = NDArray[np.float64]

RESIDUAL_CORRELATION = "residual_correlation"


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


def drawn_given(
    outcome: str, model: VisitModel, residual: Array, loading: Array, seed: int
) -> tuple[Array, Array]:
    """Coefficients and therapists' effects given draws of the covariances.

    Parameters
    ----------
    outcome : str
        Names the streams of random numbers, with the seed.
    model : VisitModel
    residual : ndarray, shape (chain, draw, A, V, V)
    loading : ndarray, shape (chain, draw, Q, Q)
    seed : int

    Returns
    -------
    ndarray, shape (chain, draw, P)
    ndarray, shape (chain, draw, J, Q)
    """
    beta, effects = [], []
    # One BLAS thread: sums split over threads change their bits with the machine
    with threadpool_limits(limits=1, user_api="blas"):
        for chain in range(len(residual)):
            sequence = seed_sequence(seed, "therapist_effects", outcome, chain)
            generator = np.random.default_rng(sequence)
            found = draw_effects(model, residual[chain], loading[chain], generator)
            beta.append(found[0])
            effects.append(found[1])
    return np.stack(beta), np.stack(effects)


def visit_trees(design: VisitsDesign, found: VisitDraws) -> dict[str, xr.DataTree]:
    """Trees of an outcome's visits.

    Parameters
    ----------
    design : VisitsDesign
    found : VisitDraws
        Of its model.

    Returns
    -------
    dict of str to xarray.DataTree
        By the name of the outcome at a visit; draws as of an outcome by itself, all visits of one
        draw together, and ``residual_correlation`` with later visits (``later_visit``), by
        ``residual_group`` where there are several.
    """
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
    return trees


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
