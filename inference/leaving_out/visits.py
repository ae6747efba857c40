"""Leave-one-out for outcomes over time: a patient with all visits at once.

The scores of one patient at several visits speak of one another, so that leaving one of them out
asks how well a patient is known, and not how well new ones are predicted. What is left out is the
patient; the other patients of the therapist still speak of the therapist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError
from alliance.inference.estimands.over_time import residual_covariances, visit_positions
from alliance.inference.leaving_out.leave_one_out import LeaveOneOut, smoothed
from alliance.inference.pointwise.log_likelihood import own_predictor
from alliance.inference.posterior import Posterior

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
    first = posteriors[0]
    outcome = first.outcome.visit_of
    positions = {} if outcome is None else visit_positions(first.manifest, outcome)
    if list(positions) != [own.name for own in posteriors]:
        raise InputError(
            f"{first.name}: a patient is left out with all visits of an outcome over time.",
            "Name the outcome and not one of its visits.",
        )
    total = 1 + max(int(own.max()) for own in positions.values())
    residuals = np.full((first.total, total, len(posteriors)), np.nan)
    group = np.zeros(total, dtype=np.int64)
    for visit, own in enumerate(posteriors):
        group[positions[own.name]] = own.design.residual_group
        residuals[:, positions[own.name], visit] = own.design.y - own_predictor(own)
    covariance = residual_covariances([own.draws for own in posteriors])
    unit = np.log(first.design.scaling.outcome[1])
    found = np.empty((first.total, total))
    kinds, which = np.unique(
        np.column_stack([group, ~np.isnan(residuals[0])]), axis=0, return_inverse=True
    )
    for number, kind in enumerate(kinds):
        places = np.flatnonzero(kind[1:])
        rows = np.flatnonzero(which.ravel() == number)
        factor = np.linalg.cholesky(covariance[:, kind[0], places[:, None], places])
        apart = residuals[:, rows[:, None], places]
        white = np.linalg.solve(factor, np.swapaxes(apart, -1, -2))
        log_sds = np.log(np.diagonal(factor, axis1=-2, axis2=-1)).sum(axis=-1)
        constant = len(places) * (np.log(2 * np.pi) / 2 + unit)
        found[:, rows] = -0.5 * (white**2).sum(axis=1) - log_sds[:, None] - constant
    return xr.DataArray(
        found.reshape(*first.shape, total),
        dims=("chain", "draw", "patient"),
        coords={
            "chain": first.draws["chain"],
            "draw": first.draws["draw"],
            "patient": np.arange(total),
        },
    )


def leave_visits_out(posteriors: Sequence[Posterior]) -> LeaveOneOut:
    """Leave out one patient at a time with all visits, by PSIS.

    Parameters
    ----------
    posteriors : sequence of Posterior
        As of `visits_log_likelihood`.

    Returns
    -------
    LeaveOneOut
        Of the outcome over time.
    """
    pointwise = visits_log_likelihood(posteriors)
    patients = pointwise.sizes["patient"]
    units = tuple(str(position) for position in range(1, patients + 1))
    one = np.ones(patients, dtype=np.int64)
    found = smoothed(posteriors[0], "patient", pointwise, units, one)
    return replace(found, outcome=str(posteriors[0].outcome.visit_of))
