"""Log densities of outcomes over time: of a patient at all visits, of a therapist's patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.cell_moments import NOBODY
from alliance.data_prep.errors import InputError
from alliance.inference.estimands.over_time import residual_covariances, visit_positions
from alliance.inference.pointwise.log_likelihood import own_predictor
from alliance.inference.posterior import Posterior
from alliance.inference.scores.therapist_parts import therapist_factor

Array = NDArray[np.float64]


def visits_log_likelihood(posteriors: Sequence[Posterior]) -> xr.DataArray:
    """Log density of all visits of each patient at every draw.

    Parameters
    ----------
    posteriors : sequence of Posterior
        Of an outcome at all its visits, in the order of time.

    Returns
    -------
    xarray.DataArray
        Dims chain, draw, patient (by position from 0, those with any visit), on the outcome's own
        scale, given the parameters and that draw's effects of the patient's therapist.

    Raises
    ------
    InputError
        If these are not all visits of one outcome.
    """
    total, each = _each_patient(posteriors, own_predictor)
    found = np.concatenate([own.log_density for own in each], axis=1)
    order = np.argsort(np.concatenate([own.rows for own in each]))
    return _labelled(posteriors[0], "patient", found[:, order], np.arange(total))


@dataclass(frozen=True, eq=False, slots=True)
class _Seen:
    """Patients of one residual group who were seen at the same visits.

    Attributes
    ----------
    rows : ndarray of int, shape (n,)
        Among the patients with any visit.
    log_density : ndarray, shape (d, n)
        Of their scores, on the outcome's own scale.
    together : ndarray, shape (d,)
        Sum of all elements of the precision of their residuals.
    weighed : ndarray, shape (d, n)
        Sums of residuals that the precision weighs.
    """

    rows: NDArray[np.int64]
    log_density: Array
    together: Array
    weighed: Array


def _each_patient(
    posteriors: Sequence[Posterior], predictor: Callable[[Posterior], Array]
) -> tuple[int, list[_Seen]]:
    """Number of patients with any visit, and their densities around a predictor (d, n)."""
    first, positions = posteriors[0], positions_of(posteriors)
    total = 1 + max(int(own.max()) for own in positions.values())
    residuals = np.full((first.total, total, len(posteriors)), np.nan)
    group = np.zeros(total, dtype=np.int64)
    for visit, own in enumerate(posteriors):
        group[positions[own.name]] = own.design.residual_group
        residuals[:, positions[own.name], visit] = own.design.y - predictor(own)
    covariance = residual_covariances([own.draws for own in posteriors])
    unit = np.log(first.design.scaling.outcome[1])
    kinds, which = np.unique(
        np.column_stack([group, ~np.isnan(residuals[0])]), axis=0, return_inverse=True
    )
    found = []
    for number, kind in enumerate(kinds):
        places = np.flatnonzero(kind[1:])
        rows = np.flatnonzero(which.ravel() == number)
        factor = np.linalg.cholesky(covariance[:, kind[0], places[:, None], places])
        apart = np.swapaxes(residuals[:, rows[:, None], places], -1, -2)  # (d, V, n)
        white = np.linalg.solve(factor, apart)
        ones = np.linalg.solve(factor, np.ones((len(factor), len(places), 1)))
        log_sds = np.log(np.diagonal(factor, axis1=-2, axis2=-1)).sum(axis=-1)
        constant = len(places) * (np.log(2 * np.pi) / 2 + unit)
        density = -0.5 * (white**2).sum(axis=1) - log_sds[:, None] - constant
        together, weighed = (ones**2).sum(axis=(1, 2)), (ones * white).sum(axis=1)
        found.append(_Seen(rows, density, together, weighed))
    return total, found


def positions_of(posteriors: Sequence[Posterior]) -> dict[str, NDArray[np.int64]]:
    """Which of the patients with any visit those of each visit are."""
    first = posteriors[0]
    outcome = first.outcome.visit_of
    positions = {} if outcome is None else visit_positions(first.manifest, outcome)
    if list(positions) != [own.name for own in posteriors]:
        raise InputError(
            f"{first.name}: a patient is left out with all visits of an outcome over time.",
            "Name the outcome and not one of its visits.",
        )
    return positions


def _labelled(
    first: Posterior, dim: str, found: Array, labels: NDArray[np.generic]
) -> xr.DataArray:
    return xr.DataArray(
        found.reshape(*first.shape, -1),
        dims=("chain", "draw", dim),
        coords={"chain": first.draws["chain"], "draw": first.draws["draw"], dim: labels},
    )


def therapists_log_likelihood(posteriors: Sequence[Posterior]) -> xr.DataArray:
    """Log density of all visits of each therapist's patients at every draw, effects integrated out.

    Parameters
    ----------
    posteriors : sequence of Posterior
        As of `visits_log_likelihood`.

    Returns
    -------
    xarray.DataArray
        Dims chain, draw, therapist (by id; last, as ``NOBODY``, patients without one).

    Raises
    ------
    InputError
        As of `visits_log_likelihood`, or if therapists deviate at visits, which draws do not tell
        from their effects at all visits.
    """
    first, design = posteriors[0], posteriors[0].design
    visits = None if first.source is None else first.source.spec.visits
    if visits is not None and visits.therapist_by_visit:
        raise InputError(
            "Effects of therapists who deviate at visits are not integrated out afterwards.",
            "Fit with therapist_by_visit = false for therapists left out and for power-scaling.",
        )
    total, each = _each_patient(posteriors, lambda own: own.beta @ own.design.X.T)
    Z = np.zeros((total, len(design.effects)))
    therapist = np.full(total, len(design.therapists))
    positions = positions_of(posteriors)
    for own in posteriors:
        has = own.design.nesting.has_therapist(own.design.arm_index)
        Z[positions[own.name]] = own.design.X[:, own.design.effect_columns] * has[:, None]
        therapist[positions[own.name]] = own.design.therapist_index
    d, J, q = first.total, len(design.therapists) + 1, len(design.effects)
    found, A, t = np.zeros((d, J)), np.zeros((d, J, q, q)), np.zeros((d, J, q))
    for seen in each:
        belongs = (therapist[seen.rows, None] == np.arange(J)).astype(float)
        z = Z[seen.rows]
        found += seen.log_density @ belongs
        A += seen.together[:, None, None, None] * np.einsum("nj,na,nb->jab", belongs, z, z)
        t += np.einsum("dn,nj,na->dja", seen.weighed, belongs, z, optimize=True)
    if q:
        L = therapist_factor(first)[:, None]
        M = np.eye(q) + np.swapaxes(L, -1, -2) @ A @ L
        w = np.swapaxes(L, -1, -2) @ t[..., None]
        found += 0.5 * (w * np.linalg.solve(M, w)).sum(axis=(-1, -2))
        found -= 0.5 * np.linalg.slogdet(M)[1]
    return _labelled(first, "therapist", found, np.array([*design.therapists, NOBODY]))
