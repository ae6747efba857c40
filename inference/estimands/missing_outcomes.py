"""Outcomes that were not seen: missing at random given the model, or shifted by a stated amount.

Patients without a follow-up add nothing to its likelihood. Inference from that takes their outcomes
as missing at random given the model: like the outcomes of seen patients with the same arm,
therapist, alliance, baseline and covariates (in a joint model, with the same other outcomes too).
No data can show whether that holds.

A shift (delta) states a departure from it, as a pattern-mixture model: the mean outcome of the
unseen patients of arm k lies ``delta[k]`` from what the model expects of them. Averaged over all
eligible patients of the arm, seen and unseen, the mean outcome is then the model's plus
``share[k] * delta[k]``, with ``share[k] = unseen[k] / eligible[k]``, and the contrast of a later
arm L and an earlier arm E moves by ``share[L] * delta[L] - share[E] * delta[E]``, whatever the
outcome's family (White, Carpenter & Horton 2018, doi:10.5705/ss.202016.0308; on the place of such
a sensitivity analysis in a trial: White, Horton, Carpenter & Pocock 2011, doi:10.1136/bmj.d40).
This is arithmetic on draws: nothing is fitted again. Shift and shares count as known numbers, so
the interval moves and does not widen. Slopes are left as they are.

Eligible are the patients who lack nothing but the follow-up, if that. Where patients without a
rating are left out (``complete_case``), the unseen among them are outside the analysis altogether,
and the shift says nothing of them; where the alliance is imputed they count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import xarray as xr

from alliance.data_prep.errors import InputError
from alliance.data_prep.levels import contrast_names
from alliance.data_prep.study.description import Study
from alliance.data_prep.trial.trial import Trial
from alliance.models.design.encoding import arm_pairs

MISSING_OUTCOMES = "missing_outcomes"  # entry of a run's manifest
CONTRAST, SHIFTED = "arm_contrast", "arm_contrast_delta"  # quantities of the tidy table


def missing_outcome_counts(trial: Trial) -> dict[str, dict[str, dict[str, int]]]:
    """Count eligible and unseen patients, as plain values for a run's manifest.

    Parameters
    ----------
    trial : Trial

    Returns
    -------
    dict of outcome to dict of arm to dict
        ``eligible`` and ``unseen``, as `data_prep.trial.trial.Trial.unseen` counts them.
    """
    return {
        outcome: {
            str(row["arm"]): {"eligible": int(row["eligible"]), "unseen": int(row["unseen"])}
            for row in trial.unseen(outcome).to_dict("records")
        }
        for outcome in trial.study.outcomes
    }


def stated_shifts(study: Study, outcome: str) -> dict[str, float]:
    """Shift of every arm of an outcome in display order; empty if no arm is shifted.

    Parameters
    ----------
    study : Study
    outcome : str

    Returns
    -------
    dict of str to float
        In the outcome's own units; 0 for arms that the study does not name.
    """
    delta = study.outcomes[outcome].delta
    return {arm: delta.get(arm, 0.0) for arm in study.arms} if any(delta.values()) else {}


def unseen_patients(
    study: Study, manifest: Mapping[str, Any], outcome: str
) -> dict[str, tuple[int, int]]:
    """Unseen and eligible patients of each arm, from a run's manifest.

    Parameters
    ----------
    study : Study
    manifest : mapping
        Of a `Fit`.
    outcome : str

    Returns
    -------
    dict of arm to (unseen, eligible)

    Raises
    ------
    InputError
        If the run does not hold these counts.
    """
    try:
        counts = manifest[MISSING_OUTCOMES][outcome]
        found = {
            arm: (int(counts[arm]["unseen"]), int(counts[arm]["eligible"])) for arm in study.arms
        }
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"The study shifts unseen outcomes (outcomes.{outcome}.delta), and the run's manifest "
            "holds no counts of the patients without this outcome in each arm.",
            "Fit again, or take the shift out of the run's study.toml.",
        ) from error
    for arm, (unseen, eligible) in found.items():
        if not 0 <= unseen < eligible:
            raise InputError(
                f"The run's manifest counts {unseen} of {eligible} patients of the arm {arm!r} "
                f"without the outcome {outcome!r}, which cannot be.",
                "Fit again.",
            )
    return found


def contrast_shifts(study: Study, manifest: Mapping[str, Any], outcome: str) -> dict[str, float]:
    """How far the stated shifts move each arm contrast of an outcome.

    Parameters
    ----------
    study : Study
    manifest : mapping
        Of a `Fit`.
    outcome : str

    Returns
    -------
    dict of str to float
        By level (``MCE-GE``), in the outcome's own units; empty if the outcome has no shift.

    Raises
    ------
    InputError
        If there is a shift, and the run does not hold the counts of unseen patients.
    """
    shifts = stated_shifts(study, outcome)
    if not shifts:
        return {}
    counts = unseen_patients(study, manifest, outcome)
    moved = [shift * counts[arm][0] / counts[arm][1] for arm, shift in shifts.items()]
    names = contrast_names(tuple(shifts))
    return {
        names[later, earlier]: moved[later] - moved[earlier]
        for later, earlier in arm_pairs(len(shifts))
    }


def with_shifted_contrasts(estimands: xr.DataArray, shifts: Mapping[str, float]) -> xr.DataArray:
    """Draws of the reported quantities with shifted arm contrasts after the plain ones.

    Parameters
    ----------
    estimands : xarray.DataArray
        As from `inference.estimands.estimands.estimand_draws`, dims ``chain, draw, estimand``.
    shifts : mapping of str to float
        As from `contrast_shifts`; empty leaves everything as it is.

    Returns
    -------
    xarray.DataArray
        Further estimands of the quantity ``arm_contrast_delta``, at the levels of ``arm_contrast``.
    """
    if not shifts:
        return estimands
    places = (estimands["quantity"].values == CONTRAST).nonzero()[0]
    contrasts = estimands.isel(estimand=places)
    amounts = xr.DataArray(
        [shifts[str(level)] for level in contrasts["level"].values], dims="estimand"
    )
    shifted = (contrasts + amounts).assign_coords(quantity=("estimand", [SHIFTED] * len(places)))
    after = int(places[-1]) + 1
    parts = [
        estimands.isel(estimand=slice(None, after)),
        shifted,
        estimands.isel(estimand=slice(after, None)),
    ]
    return xr.concat(parts, dim="estimand")


def with_shifted_priors(priors: pd.DataFrame, shifts: Mapping[str, float]) -> pd.DataFrame:
    """Priors of the reported quantities with those of shifted arm contrasts after the plain ones.

    Parameters
    ----------
    priors : pandas.DataFrame
        As from `inference.estimands.estimands.prior_table`.
    shifts : mapping of str to float
        As from `contrast_shifts`; empty leaves everything as it is.
    """
    if not shifts:
        return priors
    places = (priors["quantity"] == CONTRAST).to_numpy().nonzero()[0]
    contrasts = priors.iloc[places]
    moved = contrasts["location"] + contrasts["level"].map(shifts)
    shifted = contrasts.assign(quantity=SHIFTED, location=moved)
    after = int(places[-1]) + 1
    return pd.concat([priors.iloc[:after], shifted, priors.iloc[after:]], ignore_index=True)
