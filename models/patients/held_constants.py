"""What a compiled patient-level model holds for good, and what each trial gives to it."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alliance.models.design.design import Design
from alliance.models.design.ratings import kinds_of_rating, needs_model
from alliance.models.priors import Priors


def given_data(design: Design) -> dict[str, NDArray]:
    """The data (`pymc.Data`) of a patient-level model.

    Parameters
    ----------
    design : Design
        n rows, p coefficients.

    Returns
    -------
    dict of str to ndarray
        ``outcome`` (n,); of a model of the ratings ``moderator`` (n,), and of any other all that
        differs between patients: ``X`` (n, p) and, with therapist effects, ``therapist_index``
        (n,). ``count`` (n,), where the therapist effects are not integrated out.
    """
    data = {"outcome": design.y.astype(int) if design.family.discrete else design.y}
    if needs_model(design):
        data["moderator"] = design.X[:, design.coefficients.index("moderator")]
    else:
        data["X"] = design.X
        if design.effects:
            data["therapist_index"] = design.therapist_index
    if not design.integrated:
        data["count"] = design.count
    return data


def held_constants(design: Design, priors: Priors) -> str:
    """Key of all that a patient-level model holds beside `given_data`.

    Parameters
    ----------
    design : Design
    priors : Priors
    """
    scale = design.scale
    arrays: list[NDArray[Any]] = [design.prior_sd(priors)]
    facts = [
        design.coefficients,
        design.effects,
        design.therapists,
        design.family.name,
        design.moderator,
        (scale.top, scale.link_location, scale.link_unit),
        priors,
    ]
    if needs_model(design):
        ratings = design.X[:, design.coefficients.index("moderator")]
        arrays += [
            design.unmoderated(),
            design.therapist_index,
            design.moderator_missing,
            design.count,
            kinds_of_rating(design, ratings).at_ceiling,
        ]
        if design.moderator.ceiling is not None:
            facts.append(design.scaling.moderator)  # where it lies
    digest = hashlib.sha256(repr(facts).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
