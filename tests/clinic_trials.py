"""Small trials with clinics: nested or crossed therapists, some of them alone in a clinic."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alliance.models.design.design import Design, build_design
from alliance.models.spec import ModelSpec

Array = NDArray[np.float64]


def patients_with_clinics(
    kind: str = "nested",
    patients: int = 120,
    clinics: int = 6,
    per_clinic: int = 3,
    waiting: bool = False,
    seed: int = 3,
) -> xr.Dataset:
    """Two arms, a baseline and a covariate; the first clinic has one therapist.

    Crossed: one therapist in four works in the next clinic as well. Waiting: the patients of a
    third arm, which has no therapists, are of the same clinics.
    """
    random = np.random.default_rng(seed)
    clinic = np.arange(patients) % clinics
    therapist = clinic * per_clinic + random.integers(0, per_clinic, patients)
    therapist[clinic == 0] = 0
    if kind == "crossed":
        moves = (therapist % 4 == 1) & (random.random(patients) < 0.5)
        clinic = np.where(moves, (clinic + 1) % clinics, clinic)
    arm = random.permutation(np.arange(patients) % (3 if waiting else 2))
    if waiting:
        therapist = np.where(arm == 2, -1, therapist)
    present, index = np.unique(therapist, return_inverse=True)
    names = [f"T{j}" for j in present if j >= 0]
    return xr.Dataset(
        {
            "outcome": ("patient", 50 + 8 * random.standard_normal(patients)),
            "baseline": ("patient", 10 + 4 * random.standard_normal(patients)),
            "moderator": ("patient", 80 + 10 * random.standard_normal(patients)),
            "arm_index": ("patient", arm),
            "therapist_index": ("patient", index - int(waiting)),
            "clinic_index": ("patient", clinic),
            "covariates": (("patient", "covariate"), random.standard_normal((patients, 1))),
        },
        coords={
            "arm": ["A", "B", "W"][: arm.max() + 1],
            "therapist": names,
            "clinic": [f"C{k}" for k in range(clinics)],
            "covariate": ["age"],
        },
    )


def design_with_clinics(kind: str = "nested", **options: Any) -> Design:
    """The design of `patients_with_clinics`; options of both, by name."""
    own = {name: options.pop(name) for name in ("patients", "clinics", "per_clinic", "seed")
           if name in options}  # fmt: skip
    waiting = "W" in options.get("without_therapist", ())
    spec = ModelSpec("example", **{"clinic": "intercept", **options})
    return build_design(patients_with_clinics(kind, waiting=waiting, **own), spec)


def covariance(design: Design, own: dict[str, Array]) -> Array:
    """The outcome's covariance at one value of the parameters, written out row by row."""
    therapist, clinic = design.therapist_index, design.clinic_of
    Z, known = design.X[:, design.effect_columns], therapist < len(design.therapists)
    C = design.X[:, design.clinic_columns]
    same = (therapist[:, None] == therapist) & known[:, None]
    V = np.where(same, Z @ own["therapist"] @ Z.T, 0.0)
    V += np.where(clinic[:, None] == clinic, C @ own["clinic"] @ C.T, 0.0)
    return V + np.diag(own["residual_sd"][design.residual_group] ** 2)
