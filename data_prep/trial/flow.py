"""Who enters the analysis of an outcome, and why the others do not.

What the user should know about a trial's moderator and its gaps though it is no error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from alliance.data_prep.covariates import Covariate, covariates_of
from alliance.data_prep.study.description import Study
from alliance.data_prep.trial.items import ROUNDING

MISSING = -1  # index of a patient whose arm or therapist is not known

# Attributes of a trial's data that say what happens to patients without the moderator, and whether
# an outcome's patients must have the other outcomes too; and codes of the arms that have one.
MISSING_ALLIANCE, COMMON_PATIENTS = "missing_alliance", "common_patients"
RATED_ARMS = "moderator_arms"
WITHOUT_THERAPIST = "without_therapist"  # attribute: positions of the arms that have none
# Endings of the variables of an outcome
FOLLOWUP, BASELINE, EXPOSURE = "_followup", "_baseline", "_exposure"


def deciding_settings(study: Study) -> dict[str, Any]:
    """Settings of the model that decide who is analysed, as attributes of a trial's data.

    Parameters
    ----------
    study : Study
    """
    model = study.model
    without = [k for k, code in enumerate(study.arms) if code in study.arms_without_therapist]
    found = {
        MISSING_ALLIANCE: model.missing_alliance,
        COMMON_PATIENTS: model.common_patients,
        RATED_ARMS: study.rated_arms,
    }
    return found | ({WITHOUT_THERAPIST: without} if without else {})


def lacking_moderator(data: xr.Dataset) -> np.ndarray:
    """Tell which patients lack the moderator, though those of their arm can have one.

    Parameters
    ----------
    data : xarray.Dataset
        Data of a `Trial`.

    Returns
    -------
    numpy.ndarray of bool, shape (patients,)
        Of a patient whose arm is not known, whether there is none.
    """
    codes = data["arm"].to_numpy()
    rated = np.isin(codes, data.attrs.get(RATED_ARMS, codes))
    can = np.append(rated, rated.any())[data["arm_index"].to_numpy()]  # MISSING is the last
    return np.asarray(can & np.isnan(data["moderator"].to_numpy()))


def lacks_therapist(data: xr.Dataset) -> np.ndarray:
    """Tell whose therapist is missing: not those of arms that have none. Bool, shape (patients,).

    Parameters
    ----------
    data : xarray.Dataset
        Data of a `Trial`.
    """
    none = data["therapist_index"].to_numpy() == MISSING
    without = data.attrs.get(WITHOUT_THERAPIST, [])
    if not without:  # of millions of patients, too
        return np.asarray(none)
    return np.asarray(none & ~np.isin(data["arm_index"].to_numpy(), without))


def exclusions(data: xr.Dataset, outcome: str) -> dict[str, np.ndarray]:
    """Tell what each patient lacks, in the order in which patients are excluded for it.

    Parameters
    ----------
    data : xarray.Dataset
        Data of a `Trial`.
    outcome : str

    Returns
    -------
    dict of str to numpy.ndarray of bool, shape (patients,)
        Keys as the columns of `Trial.flow`. Nobody lacks an alliance that is imputed, or that
        patients of the arm cannot have. With
        `common_patients` the last is ``without_other_outcome``: follow-up or baseline of another.
    """
    imputed = data.attrs[MISSING_ALLIANCE] == "impute"
    clinics = {}
    if "clinic_index" in data:
        clinics["without_clinic"] = data["clinic_index"].to_numpy() == MISSING
    lacking = {
        "without_arm": data["arm_index"].to_numpy() == MISSING,
        "without_therapist": lacks_therapist(data),
        **clinics,
        "without_alliance": lacking_moderator(data) & np.bool(not imputed),
        "without_covariate": np.isnan(data["covariates"].to_numpy()).any(axis=1),
        "without_baseline": np.zeros(data.sizes["patient"], dtype=bool),
        "without_followup": np.isnan(data[f"{outcome}_followup"].to_numpy()),
    }
    if f"{outcome}_baseline" in data:
        lacking["without_baseline"] = np.isnan(data[f"{outcome}_baseline"].to_numpy())
    if data.attrs.get(COMMON_PATIENTS, False):
        others = [
            np.isnan(data[name].to_numpy())
            for name in map(str, data.data_vars)
            if name.endswith((FOLLOWUP, BASELINE))
            and name not in (f"{outcome}{FOLLOWUP}", f"{outcome}{BASELINE}")
        ]
        lacking["without_other_outcome"] = np.logical_or.reduce(others)
    return lacking


def flow_counts(data: xr.Dataset, outcome: str) -> dict[str, str | int]:
    """Count the patients that each exclusion removes from those that are left before it.

    Parameters
    ----------
    data : xarray.Dataset
        Data of a `Trial`.
    outcome : str

    Returns
    -------
    dict
        One row of `Trial.flow`.
    """
    left = np.ones(data.sizes["patient"], dtype=bool)
    counts: dict[str, str | int] = {"outcome": outcome, "rows_read": len(left)}
    for reason, lacking in exclusions(data, outcome).items():
        counts[reason] = int((left & lacking).sum())
        left &= ~lacking
    counts["analysed"] = int(left.sum())
    counts["alliance_imputed"] = int((left & lacking_moderator(data)).sum())
    return counts


def complete_patients(data: xr.Dataset, outcome: str) -> np.ndarray:
    """Tell which patients enter the analysis of an outcome.

    Parameters
    ----------
    data : xarray.Dataset
        Data of a `Trial`.
    outcome : str

    Returns
    -------
    numpy.ndarray of bool, shape (patients,)
    """
    return ~np.logical_or.reduce(list(exclusions(data, outcome).values()))


def analysed_patients(data: xr.Dataset, outcome: str) -> xr.Dataset:
    """Take the patients who lack nothing; see `Trial.analysed`.

    Parameters
    ----------
    data : xarray.Dataset
        Data of a `Trial`.
    outcome : str
    """
    complete = complete_patients(data, outcome)
    names = {
        f"{outcome}_followup": "outcome",
        f"{outcome}_baseline": "baseline",
        f"{outcome}{EXPOSURE}": "exposure",
    }
    names = {name: short for name, short in names.items() if name in data}
    kept = [*names, "moderator", "arm_index", "therapist_index", "covariates"]
    kept += ["clinic_index"] if "clinic_index" in data else []
    rows = data[kept].rename(names).isel(patient=np.flatnonzero(complete))
    # Selecting variables drops the coordinates that none of them has as a dim.
    rows = rows.assign_coords(data.coords)
    rows = rows.drop_attrs(deep=False).assign_attrs(outcome=outcome)
    rated = data.attrs.get(RATED_ARMS)
    if rated is not None and len(rated) < data.sizes["arm"]:
        rows = rows.assign_attrs({RATED_ARMS: rated})
    return read_only(rows)


def rated_patients(rows: xr.Dataset) -> xr.Dataset:
    """Take the analysed patients who lack no moderator: all of them unless it is imputed."""
    return rows.isel(patient=np.flatnonzero(~lacking_moderator(rows)))


def unseen_counts(data: xr.Dataset, outcome: str) -> pd.DataFrame:
    """Count the patients of each arm who lack the follow-up alone; see `Trial.unseen`."""
    lacking = exclusions(data, outcome)
    unseen = lacking.pop("without_followup")
    eligible = ~np.logical_or.reduce(list(lacking.values()))
    arm, arms = data["arm_index"].to_numpy(), data["arm"].to_numpy()
    return pd.DataFrame(
        {
            "arm": arms.tolist(),
            "eligible": np.bincount(arm[eligible], minlength=len(arms)),
            "unseen": np.bincount(arm[eligible & unseen], minlength=len(arms)),
        }
    )


def read_only(data: xr.Dataset) -> xr.Dataset:
    """Lock the arrays of a dataset against writing, and return it."""
    for variable in data.data_vars.values():
        variable.values.flags.writeable = False
    return data


def counted(number: int, noun: str) -> str:
    """Put a number before a noun.

    Examples
    --------
    >>> counted(1, "therapist"), counted(12, "therapist")
    ('1 therapist', '12 therapists')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


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
    unrated = lacking_moderator(data)
    lacking = {
        "arm": data["arm_index"].to_numpy() == MISSING,
        "therapist": lacks_therapist(data),
    }
    if "clinic_index" in data:
        lacking["clinic"] = data["clinic_index"].to_numpy() == MISSING
    imputed = 0
    if study.model.missing_alliance == "impute":
        imputed = int((unrated & _analysed(data, study)).sum())
    elif study.moderator is not None:
        lacking[study.moderator.name] = unrated
    rows = data.sizes["patient"]
    notes = [
        f"{int(mask.sum())} of {counted(rows, 'row')} without {what}."
        for what, mask in lacking.items()
        if mask.any()
    ]
    notes += moderator_notes(study)
    notes += trials_notes(study)
    if imputed:
        verb = "is" if imputed == 1 else "are"
        patients = counted(imputed, "patient")
        notes.append(f"{patients} without {study.measure.name} {verb} imputed.")
    return notes


def moderator_notes(study: Study) -> list[str]:
    """Say so if the study has no moderator, or arms have none.

    Parameters
    ----------
    study : Study
    """
    if study.moderator is None:
        return ["The study has no [moderator]: contrasts of the arms alone, and no slopes."]
    name, rated = study.moderator.name, study.rated_arms
    without = [code for code in study.arms if code not in rated]
    if not without:
        return []
    note = (
        f"By moderator_arms patients of {', '.join(without)} have no {name}: slopes are those of "
        f"{', '.join(rated)}, and other arms are compared with these at one value of the {name}, "
        "its mean by default."
    )
    if len(rated) == 1:
        note += " With one slope there is no difference of slopes."
    return [note]


def trials_notes(study: Study) -> list[str]:
    """Say so if the study tells trials apart that are taken as one.

    Parameters
    ----------
    study : Study
    """
    if study.model.several_trials != "no" or not (study.trials or study.columns.trial):
        return []
    return [
        "The study tells several trials apart, and they are taken as one: "
        '`several_trials="varying"` lets effects vary between them.'
    ]


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
    if not study.model.ceiling:
        return []
    low, high = study.measure.range
    at_top = data["moderator"].to_numpy() >= high - ROUNDING * (high - low)
    if (at_top & _analysed(data, study)).any():
        return []
    return [
        f"No analysed patient has the highest possible {study.measure.name} ({high:g}), so that "
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
    """Say which levels of covariates no analysed patient of one outcome has, or one alone.

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
        alone = [level for level, count in zip(levels, counts, strict=False) if count == 1]
        if alone and len(seen) > 1:
            told = " and ".join(map(repr, alone))
            notes.append(
                f"Outcome {outcome!r}: one analysed patient alone has the {covariate.name} {told}"
                + (
                    ", with which the others are compared: name another level in `reference`."
                    if alone[0] == seen[0]
                    else f"{', each' if len(alone) > 1 else ''}: its coefficient rests on the "
                    "prior and this patient."
                )
            )
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
