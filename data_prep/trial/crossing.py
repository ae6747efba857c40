"""Whether therapists are crossed with arms or nested in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr

from alliance.data_prep.trial.flow import MISSING, counted

TherapistsInArms = Literal["crossed", "partly crossed", "nested"]


def therapists_in_arms(data: xr.Dataset) -> tuple[TherapistsInArms, list[str]]:
    """Tell from the patients whose arm and therapist are known how the two are combined.

    Parameters
    ----------
    data : xarray.Dataset
        Data of a `Trial`.

    Returns
    -------
    kind : {"crossed", "partly crossed", "nested"}
        Crossed: every therapist has patients in all arms. Nested: each in exactly one.
    notes : list of str
        The kind in words, therapists with one patient (counted), arms with one therapist.
    """
    arm, therapist = data["arm_index"].to_numpy(), data["therapist_index"].to_numpy()
    known = (arm != MISSING) & (therapist != MISSING)
    arms = data.sizes["arm"]
    cells = therapist[known] * arms + arm[known]
    patients = np.bincount(cells, minlength=data.sizes["therapist"] * arms).reshape(-1, arms)
    return crossing_of(patients, [str(code) for code in data["arm"].to_numpy()])


def crossing_of(patients: np.ndarray, codes: Sequence[str]) -> tuple[TherapistsInArms, list[str]]:
    """Tell from the numbers of patients how therapists and arms are combined.

    Parameters
    ----------
    patients : numpy.ndarray of int, shape (therapists, arms)
    codes : sequence of str
        Of the arms.

    Returns
    -------
    kind : {"crossed", "partly crossed", "nested"}
    notes : list of str
        As of `therapists_in_arms`.
    """
    patients = patients[patients.sum(axis=1) > 0]
    kind, note = _kind(arms_of_each=(patients > 0).sum(axis=1), arms=patients.shape[1])
    notes = [note]
    single = int((patients.sum(axis=1) == 1).sum())
    if single:
        notes.append(f"{counted(single, 'therapist')} treated one patient only.")
    for code, therapists in zip(codes, (patients > 0).sum(axis=0), strict=True):
        if therapists == 1 and len(patients) > 1:
            notes.append(
                f"Arm {code!r} has one therapist: what the arm does and what the therapist "
                "does cannot be told apart."
            )
    return kind, notes


def _kind(arms_of_each: np.ndarray, arms: int) -> tuple[TherapistsInArms, str]:
    therapists = len(arms_of_each)
    everywhere = int((arms_of_each == arms).sum())
    in_one = int((arms_of_each == 1).sum())
    if everywhere == therapists:
        if therapists == 1:
            return "crossed", "One therapist treated the patients of every arm."
        return (
            "crossed",
            f"Each of the {therapists} therapists treated patients in every arm: crossed.",
        )
    if in_one == therapists:
        return (
            "nested",
            f"Each of the {therapists} therapists treated patients in one arm only: nested.",
        )
    return "partly crossed", (
        f"{everywhere} of the {therapists} therapists treated patients in every arm, {in_one} in "
        "one arm only: partly crossed."
    )
