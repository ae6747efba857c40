"""The therapists' share of variance on the outcome's own scale, for every family.

Where the link is curved, the variance of scores between therapists and that within them depend on
where the patient stands. Both are integrated over the distribution of therapists for a stated
patient, in every draw: what Goldstein, Browne & Rasbash 2002
(doi:10.1207/S15328031US0104_02) do by simulation is done by quadrature here. For a Gaussian outcome
the share is the intraclass correlation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alliance.inference.draws.blocks import normal_nodes
from alliance.inference.scores.predictor import (
    Rows,
    linear_predictor,
    link_scale,
    new_therapists,
    therapist_variance,
)
from alliance.models.design.design import Design
from alliance.models.families.family import Auxiliary

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class VarianceParts:
    """Variance of a patient's score over therapists, for d draws and r patients.

    Attributes
    ----------
    between : ndarray, shape (d, r)
        Variance of the expected score between therapists.
    within : ndarray, shape (d, r)
        Mean over therapists of the variance of the score within one; infinite for a Student-t
        outcome with two degrees of freedom or fewer.
    """

    between: Array
    within: Array

    @property
    def share(self) -> Array:
        """Share of the variance that lies between therapists, shape (d, r)."""
        return np.asarray(self.between / (self.between + self.within))

    def averaged(self) -> Array:
        """The share where both parts are averaged over the patients, shape (d,)."""
        between = self.between.mean(axis=1)
        return np.asarray(between / (between + self.within.mean(axis=1)))


def variance_parts(
    design: Design, draws: xr.Dataset, auxiliary: Auxiliary, rows: Rows
) -> VarianceParts:
    """Take a score's variance apart, between therapists and within them.

    Parameters
    ----------
    design : Design
    draws : xarray.Dataset
    auxiliary : mapping of str to ndarray
        As from `inference.scores.residuals.family_parameters`.
    rows : Rows
        Patients whose scores are meant.

    Returns
    -------
    VarianceParts
    """
    family, scale = design.family, design.scale
    predictor = linear_predictor(design, draws, rows)
    if family.link == "identity":
        # Exact in closed form
        eta = link_scale(design, predictor)
        within = family.variance(eta, auxiliary, scale)
        between = scale.unit**2 * therapist_variance(design, draws, rows)
        return VarianceParts(between, scale.unit**2 * within)
    centre = family.expected(link_scale(design, predictor), auxiliary, scale)
    mean, square, within = (np.zeros_like(predictor) for _ in range(3))
    for share, shift, spread in new_therapists(design, draws, rows):
        for node, own in normal_nodes():
            weight = share * own
            eta = link_scale(design, predictor + shift + node * spread)
            deviation = family.expected(eta, auxiliary, scale) - centre
            mean += weight * deviation
            square += weight * deviation**2
            within += weight * family.variance(eta, auxiliary, scale)
    between = np.maximum(square - mean**2, 0.0)
    return VarianceParts(scale.unit**2 * between, scale.unit**2 * within)
