"""Who enters the analysis of an outcome, and why the others do not."""

from __future__ import annotations

import numpy as np
import xarray as xr

MISSING = -1  # index of a patient whose arm or therapist is not known


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
        Keys as the columns of `Trial.flow`.
    """
    lacking = {
        "without_arm": data["arm_index"].to_numpy() == MISSING,
        "without_therapist": data["therapist_index"].to_numpy() == MISSING,
        "without_alliance": np.isnan(data["moderator"].to_numpy()),
        "without_covariate": np.isnan(data["covariates"].to_numpy()).any(axis=1),
        "without_baseline": np.zeros(data.sizes["patient"], dtype=bool),
        "without_followup": np.isnan(data[f"{outcome}_followup"].to_numpy()),
    }
    if f"{outcome}_baseline" in data:
        lacking["without_baseline"] = np.isnan(data[f"{outcome}_baseline"].to_numpy())
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
    return counts


def analysed_patients(data: xr.Dataset, outcome: str) -> xr.Dataset:
    """Take the patients who lack nothing; see `Trial.analysed`."""
    complete = ~np.logical_or.reduce(list(exclusions(data, outcome).values()))
    names = {f"{outcome}_followup": "outcome", f"{outcome}_baseline": "baseline"}
    names = {name: short for name, short in names.items() if name in data}
    kept = [*names, "moderator", "arm_index", "therapist_index", "covariates"]
    rows = data[kept].rename(names).isel(patient=np.flatnonzero(complete))
    # Selecting variables drops the coordinates that none of them has as a dim.
    rows = rows.assign_coords(data.coords)
    return read_only(rows.assign_attrs(outcome=outcome))


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
