"""What trials differ by, on the outcome's own scale, and the priors of it."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.levels import contrast_names
from alliance.inference.draws.datatree import flat
from alliance.models.design.design import Design
from alliance.models.design.encoding import arm_pairs, sum_to_zero_basis
from alliance.models.priors import Priors
from alliance.models.trials.design import TrialsDesign

Array = NDArray[np.float64]

ACROSS = "interaction_across"
OF_CONTRASTS = float(np.sqrt(2.0))
"""SD of the difference of two arms over that of an arm: of effects that sum to zero."""

SPREADS = {
    "trial_arm_sd": OF_CONTRASTS,
    "trial_slope_sd": 1.0,
    "trial_interaction_sd": OF_CONTRASTS,
}
"""SDs between trials that are reported, over those of the coefficients: of contrasts of two arms,
of the average slope, and of differences of two arms' slopes."""


def trial_estimands(
    draws: xr.Dataset, slope: Array, moderator_unit: float, design: Design
) -> dict[tuple[str, str], Array]:
    """What trials differ by.

    Parameters
    ----------
    draws : xarray.Dataset
        d draws of an average trial, as of `inference.draws.datatree.trials_tree`.
    slope : ndarray, shape (d,)
        The outcome's SD.
    moderator_unit : float
        SD of the moderator for slopes per point, 1 for those per SD.
    design : Design

    Returns
    -------
    dict of (quantity, level) to ndarray, shape (d,)
        ``trial_arm_sd``, ``trial_slope_sd``, ``trial_interaction_sd`` (see `SPREADS`);
        ``interaction_across`` (all pairs): how an arm contrast goes with a trial's mean alliance.
        Empty for one trial.
    """
    found: dict[tuple[str, str], Array] = {}
    for name, factor in SPREADS.items():
        if name in draws:
            unit = 1.0 if name == "trial_arm_sd" else moderator_unit
            found[name, ""] = factor * slope * flat(draws, name) / unit
    if "trial_across" in draws:
        own = flat(draws, "trial_across")
        basis, names = sum_to_zero_basis(len(design.arms)), contrast_names(design.arms)
        for later, earlier in arm_pairs(len(design.arms)):
            difference = own @ (basis[later] - basis[earlier])
            found[ACROSS, names[later, earlier]] = slope * difference / moderator_unit
    return found


def trial_priors(
    trials: TrialsDesign, priors: Priors, *, per_sd: bool
) -> list[tuple[str, str, str, float, float]]:
    """Priors of these, as rows of `inference.estimands.estimands.prior_table`.

    Parameters
    ----------
    trials : TrialsDesign
    priors : Priors
    per_sd : bool
    """
    design = trials.pooled
    outcome_sd = design.outcome_unit[1]
    unit = 1.0 if per_sd else design.scaling.moderator[1]
    rows = [
        (name, "", "half-normal", 0.0, factor * outcome_sd * getattr(priors, name) / own)
        for name, factor in SPREADS.items()
        for own in [1.0 if name == "trial_arm_sd" else unit]
        if name in trials.spreads
    ]
    if trials.across:
        scale = OF_CONTRASTS * outcome_sd * priors.interaction / unit
        names, pairs = contrast_names(design.arms), arm_pairs(len(design.arms))
        rows += [(ACROSS, names[pair], "normal", 0.0, scale) for pair in pairs]
    return rows
