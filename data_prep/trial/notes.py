"""What the user should know about a trial's moderator and its gaps though it is no error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from alliance.data_prep.covariates import Covariate, covariates_of
from alliance.data_prep.study.description import Study
from alliance.data_prep.trial.flow import MISSING, complete_patients, counted
from alliance.data_prep.trial.scoring import ROUNDING


def missing_notes(data: xr.Dataset, study: Study) -> list[str]:
    """Say how many rows lack an arm, a therapist or the moderator.

    Parameters
    ----------
    data : xarray.Dataset
        Data of a `Trial`.
    study : Study

    Returns
    -------
    list of str
        One note for each thing that some rows lack; of an imputed moderator, how many patients it
        is imputed for.
    """
    unrated = np.isnan(data["moderator"].to_numpy())
    lacking = {
        "arm": data["arm_index"].to_numpy() == MISSING,
        "therapist": data["therapist_index"].to_numpy() == MISSING,
    }
    imputed = 0
    if study.model.missing_alliance == "impute":
        imputed = int((unrated & _analysed(data, study)).sum())
    else:
        lacking[study.moderator.name] = unrated
    rows = data.sizes["patient"]
    notes = [
        f"{int(mask.sum())} of {counted(rows, 'row')} without {what}."
        for what, mask in lacking.items()
        if mask.any()
    ]
    if imputed:
        verb = "is" if imputed == 1 else "are"
        patients = counted(imputed, "patient")
        notes.append(f"{patients} without {study.moderator.name} {verb} imputed.")
    return notes


def ceiling_notes(data: xr.Dataset, study: Study) -> list[str]:
    """Say so if the model has a ceiling that no analysed patient has reached.

    Parameters
    ----------
    data : xarray.Dataset
        Data of a `Trial`.
    study : Study

    Returns
    -------
    list of str
        One note, or none.
    """
    low, high = study.moderator.range
    at_top = data["moderator"].to_numpy() >= high - ROUNDING * (high - low)
    if not study.model.ceiling or (at_top & _analysed(data, study)).any():
        return []
    return [
        f"No analysed patient has the highest possible {study.moderator.name} ({high:g}), so that "
        "ceiling = true has nothing to act on."
    ]


def level_notes(data: xr.Dataset, study: Study) -> list[str]:
    """Say which levels of covariates no analysed patient of an outcome has.

    Parameters
    ----------
    data : xarray.Dataset
        Data of a `Trial`.
    study : Study

    Returns
    -------
    list of str
        One note for each covariate and outcome with such levels.
    """
    notes = []
    for name in study.outcomes:
        rows = data["covariates"].to_numpy()[complete_patients(data, name)]
        notes += empty_level_notes(name, covariates_of(data), rows.sum(axis=0).tolist(), len(rows))
    return notes


def empty_level_notes(
    outcome: str, covariates: Sequence[Covariate], patients: Sequence[float], total: int
) -> list[str]:
    """Say which levels of covariates no analysed patient of one outcome has.

    Parameters
    ----------
    outcome : str
    covariates : sequence of Covariate
    patients : sequence of float
        Patients with a 1 in each column; of numbers anything.
    total : int
        All of them.
    """
    notes, start = [], 0
    for covariate in covariates:
        levels, first = covariate.levels or (), start
        start += len(covariate.columns)
        counts = [round(count) for count in patients[first:start]]
        counts.insert(0, total - sum(counts))
        seen = [level for level, count in zip(levels, counts, strict=False) if count]
        if len(seen) == len(levels):
            continue
        empty = ", ".join(repr(level) for level in levels if level not in seen)
        note = f"Outcome {outcome!r}: no analysed patient has the {covariate.name} {empty}"
        if len(seen) == 1:
            note += f", so that all have {seen[0]!r} and the covariate says nothing"
        elif levels[0] not in seen:
            note += f"; {seen[0]!r} is the reference in its place"
        notes.append(f"{note}.")
    return notes


def _analysed(data: xr.Dataset, study: Study) -> np.ndarray:
    """Patients who enter the analysis of at least one outcome: bool, shape (patients,)."""
    return np.logical_or.reduce([complete_patients(data, name) for name in study.outcomes])
