"""Patients of a study that has none yet: who is treated by whom, with which alliance and baseline.

For questions about a design before there are data. Arms are of equal size, and so are the
therapists' caseloads; scores are normal around the middle of their range, which lies three SDs
from each end. Outcomes are only placeholders, in whose range and SD simulated ones are told.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from alliance.data_prep.errors import InputError
from alliance.data_prep.study.description import Study
from alliance.data_prep.trial.flow import deciding_settings, read_only

SDS_IN_RANGE = 6  # of a score
# Of patients, where a missing alliance is imputed: a missing rating for every 5 is common.
MISSING_SHARE = 0.2
FEWEST_PER_ARM = 4  # below it some arm's slope has no freedom left


def imagined_patients(
    study: Study,
    patients: int,
    therapists: int,
    generator: np.random.Generator,
    *,
    nested: bool = False,
) -> xr.Dataset:
    """Imagine patients for a study.

    Parameters
    ----------
    study : Study
        Whose arms, ranges, covariates and setting for a missing alliance are used.
    patients, therapists : int
    generator : numpy.random.Generator
    nested : bool
        Each therapist treats in one arm only, instead of in all of them.

    Returns
    -------
    xarray.Dataset
        As `data_prep.trial.trial.Trial.data`. Covariates are standard normal.

    Raises
    ------
    InputError
        If there are too few patients or therapists for the arms.
    """
    arms = len(study.arms)
    if patients < FEWEST_PER_ARM * arms:
        raise InputError(
            f"{patients} patients are too few for {arms} arms.",
            f"Ask for {FEWEST_PER_ARM * arms} or more.",
        )
    fewest = arms if nested else 1
    if not fewest <= therapists <= patients // 2:
        raise InputError(
            f"{therapists} therapists do not suit {patients} patients in {arms} arms"
            f"{', each treating in one' if nested else ''}.",
            f"Ask for {fewest} to {patients // 2}.",
        )
    arm = generator.permutation(np.arange(patients) % arms)
    therapist = np.empty(patients, dtype=np.int64)
    groups = [(arm == k, np.arange(therapists)[k::arms]) for k in range(arms)]
    if not nested:
        groups = [(np.ones(patients, dtype=bool), np.arange(therapists))]
    for rows, own in groups:
        therapist[rows] = own[generator.permutation(int(rows.sum())) % len(own)]
    moderator = _scores(study.moderator.range, patients, generator)
    if study.model.missing_alliance == "impute":
        moderator[generator.random(patients) < MISSING_SHARE] = np.nan
    covariates = generator.standard_normal((patients, len(study.covariates)))
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {
        "arm_index": (("patient",), arm),
        "therapist_index": (("patient",), therapist),
        "moderator": (("patient",), moderator),
        "covariates": (("patient", "covariate"), covariates),
    }
    for name, outcome in study.outcomes.items():
        scores = _scores(outcome.range, patients, generator)
        # Any whole score is one of every family.
        variables[f"{name}_followup"] = (("patient",), np.round(scores))
        if outcome.baseline is not None:
            baseline = _scores(outcome.range, patients, generator)
            variables[f"{name}_baseline"] = (("patient",), baseline)
    coords = {
        "arm": np.array(list(study.arms), dtype=str),
        "therapist": np.array([f"T{j + 1}" for j in range(therapists)], dtype=str),
        "covariate": np.array(list(study.covariates), dtype=str),
    }
    return read_only(xr.Dataset(variables, coords=coords, attrs=deciding_settings(study)))


def _scores(limits: tuple[float, float], number: int, generator: np.random.Generator) -> np.ndarray:
    low, high = limits
    centre, sd = (low + high) / 2, (high - low) / SDS_IN_RANGE
    return np.clip(centre + sd * generator.standard_normal(number), low, high)
