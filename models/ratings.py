"""What a design says of the ratings of the alliance: which are latent, and what predicts them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.design import Design

Array = NDArray[np.float64]

ROUNDING = 1e-9  # standardising a score at the ceiling may move it below by this much
PREDICTOR_SCALE = 0.5  # SDs of the alliance for one SD of a predictor: a large effect is 0.5


def predictor_columns(design: Design) -> list[int]:
    """Columns of X that predict the alliance: intercept; with imputation all but its own."""
    if design.moderator.missing != "impute":
        return design.encoding.places("intercept")
    own = set(design.moderator_columns)
    known = {*design.encoding.places("intercept"), *design.present}
    return sorted(known - own)


def needs_model(design: Design) -> bool:
    """Whether the alliance has a model of its own."""
    return design.moderator.latent or design.moderator.structure == "within_between"


def latent_patients(design: Design) -> list[int]:
    """Positions of the patients whose alliance is a parameter."""
    if design.moderator.reliability is not None and design.moderator.reliability < 1:
        return list(range(len(design.y)))
    if not design.moderator.latent:
        return []
    observed = design.X[:, design.coefficients.index("moderator")]
    kinds = kinds_of_rating(design, observed)
    return sorted([*kinds.missing.tolist(), *kinds.at_ceiling.tolist()])


@dataclass(frozen=True, slots=True)
class RatingKinds:
    """Positions of the patients whose rating is there, missing, or at the ceiling.

    Attributes
    ----------
    seen, missing, at_ceiling : ndarray of int
    ceiling : float
        On the standardised scale; infinite where there is none.
    """

    seen: NDArray[np.int64]
    missing: NDArray[np.int64]
    at_ceiling: NDArray[np.int64]
    ceiling: float


def kinds_of_rating(design: Design, observed: Array) -> RatingKinds:
    """Sort the patients by their rating.

    Parameters
    ----------
    design : Design
    observed : ndarray, shape (n,)
        Ratings on the standardised scale.
    """
    mean, sd = design.scaling.moderator
    raw = design.moderator.ceiling
    ceiling = np.inf if raw is None else (raw - mean) / sd
    missing = design.moderator_missing
    at_ceiling = ~missing & (observed >= ceiling - ROUNDING)
    return RatingKinds(
        seen=np.flatnonzero(~missing & ~at_ceiling),
        missing=np.flatnonzero(missing),
        at_ceiling=np.flatnonzero(at_ceiling),
        ceiling=float(ceiling),
    )
