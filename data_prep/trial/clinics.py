"""Whether therapists are nested in clinics or work in several, and what clinics can answer."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr

from alliance.data_prep.errors import Problem
from alliance.data_prep.study.description import Study
from alliance.data_prep.trial.flow import MISSING, analysed_patients, counted

TherapistsInClinics = Literal["nested", "crossed", "alone"]


def therapists_in_clinics(data: xr.Dataset) -> tuple[TherapistsInClinics, int]:
    """Tell from the patients whose therapist and clinic are known how the two are combined.

    Parameters
    ----------
    data : xarray.Dataset
        Data of a `Trial` with clinics.

    Returns
    -------
    kind : {"nested", "crossed", "alone"}
        Nested: every therapist has patients in one clinic. Alone: no therapist is recorded.
    several : int
        Therapists who have patients in several clinics.
    """
    clinic, therapist = data["clinic_index"].to_numpy(), data["therapist_index"].to_numpy()
    known = (clinic != MISSING) & (therapist != MISSING)
    if not known.any():
        return "alone", 0
    pairs = np.unique(np.column_stack([therapist[known], clinic[known]]), axis=0)
    several = int((np.bincount(pairs[:, 0]) > 1).sum())
    return ("crossed" if several else "nested"), several


def clinic_notes(study: Study, data: xr.Dataset) -> list[str]:
    """Say how many clinics there are, and how therapists are distributed over them.

    Parameters
    ----------
    study : Study
    data : xarray.Dataset
        Data of a `Trial`.
    """
    if study.clinic_setting == "none":
        if study.columns.clinic is None:
            return []
        return ['Clinics are recorded and left out of the model: clinic = "none" under [model].']
    kind, several = therapists_in_clinics(data)
    clinics = counted(data.sizes["clinic"], "clinic")
    if kind == "alone":
        return [f"{clinics}, and no therapists: what differs between them is the clinics'."]
    if kind == "nested":
        notes = [f"{clinics}; each therapist works in one of them: nested."]
    else:
        verb = "works" if several == 1 else "work"
        who = counted(several, "therapist")
        notes = [
            f"{clinics}; {who} {verb} in several of them: crossed. If therapists are numbered "
            "anew in each clinic, give each an id of their own."
        ]
    clinic, therapist = data["clinic_index"].to_numpy(), data["therapist_index"].to_numpy()
    known = (clinic != MISSING) & (therapist != MISSING)
    pairs = np.unique(np.column_stack([clinic[known], therapist[known]]), axis=0)
    alone = int((np.bincount(pairs[:, 0], minlength=data.sizes["clinic"]) == 1).sum())
    if alone:
        verb = "has" if alone == 1 else "have"
        notes.append(
            f"{counted(alone, 'clinic')} {verb} one therapist: what such a clinic and its "
            "therapist do is told apart by the other clinics alone."
        )
    return notes


def clinic_problems(study: Study, source: str, name: str, data: xr.Dataset) -> list[Problem]:
    """Find outcomes whose analysed patients are of one clinic, or that are their therapists.

    Parameters
    ----------
    study : Study
    source : str
    name : str
        Of the outcome.
    data : xarray.Dataset
        Data of a `Trial`.
    """
    if study.clinic_setting == "none":
        return []
    rows = analysed_patients(data, name)
    clinic, therapist = rows["clinic_index"].to_numpy(), rows["therapist_index"].to_numpy()
    remedy = 'Set clinic = "none" under [model], or leave `clinic` out of [columns].'
    if len(np.unique(clinic)) < 2:
        rule = f"{name}: all analysed patients are of one clinic, and clinics cannot differ"
        return [Problem(source, None, study.columns.clinic, None, rule, remedy)]
    pairs = np.unique(np.column_stack([therapist, clinic]), axis=0)
    therapists, clinics = (len(np.unique(pairs[:, k])) for k in (0, 1))
    if study.model.therapist == "none" or study.columns.therapist is None:
        if np.bincount(clinic).max() == 1:
            rule = f"{name}: each clinic has one analysed patient only"
            return [Problem(source, None, study.columns.clinic, None, rule, remedy)]
        return []
    if len(pairs) == therapists == clinics:
        rule = (
            f"{name}: each clinic has one therapist, who works nowhere else, so that clinics and "
            "therapists are one and the same"
        )
        return [Problem(source, None, study.columns.clinic, None, rule, remedy)]
    return []
