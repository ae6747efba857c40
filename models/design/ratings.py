"""What a design says of the ratings of the alliance: which are latent, and what predicts them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alliance.models.design.design import Design

Array = NDArray[np.float64]

ROUNDING = 1e-9  # standardising a score at the ceiling may move it below by this much
PREDICTOR_SCALE = 0.5  # SDs of the alliance for one SD of a predictor: a large effect is 0.5


def predictor_columns(design: Design) -> list[int]:
    """Columns of X that predict the alliance: all that stands beside it in the outcome's model.

    Intercept, baseline, arms and covariates. A rating that is shrunk, imputed or lifted towards
    what is expected of the patient must be so given all that the outcome is predicted from beside
    it, or what it has in common with them is taken for noise (Carroll et al. 2006,
    doi:10.1201/9781420010138, section 4.4).
    """
    own = set(design.moderator_columns)
    known = {*design.encoding.places("intercept"), *design.present}
    return sorted(known - own)


def caseload(design: Design) -> Array:
    """What each therapist's mean alliance is predicted from, shape (J, predictors).

    In the order of `predictor_columns`: one for the intercept, the arms of the therapist's analysed
    patients on average, and zero, which is the mean, for baseline and covariates. A therapist
    without analysed patients has the arms of all. Times the coefficients of the alliance's model
    it is the mean alliance that the therapist's patients are expected to have for the arms they are
    in; the therapist's own deviation comes on top.
    """
    patients, totals = _patients_by_arm(design)
    seen = patients[:, None] > 0
    overall = totals.sum(axis=0) / patients.sum()
    return _predictors(design, np.where(seen, totals / np.maximum(patients[:, None], 1), overall))


def trial_caseload(design: Design) -> Array:
    """As `caseload`, of a therapist whose patients are in the arms as all analysed ones are."""
    patients, totals = _patients_by_arm(design)
    return _predictors(design, totals.sum(axis=0, keepdims=True) / patients.sum())


def _patients_by_arm(design: Design) -> tuple[Array, Array]:
    """Number of analysed patients of each therapist, (J,), and sums of their arms' columns."""
    arms = design.arm_columns
    if design.given is not None:
        intercept = design.coefficients.index("intercept")
        return design.given.count.astype(float), design.given.cross_products[:, intercept, arms]
    belongs = design.therapist_index == np.arange(len(design.therapists))[:, None]
    weighted = belongs * design.count
    return weighted.sum(axis=1), weighted @ design.X[:, arms]


def rating_products(design: Design) -> Array:
    """Cross-products of the alliance's predictors and the ratings, by therapist, (J, a + 1, a + 1).

    The intercept comes first, the rating last. Every rating is observed.
    """
    kept = [*predictor_columns(design), design.coefficients.index("moderator")]
    return np.asarray(design.moments.cross_products[:, kept][:, :, kept])


def _predictors(design: Design, arms: Array) -> Array:
    columns = predictor_columns(design)
    found = np.zeros((len(arms), len(columns)))
    found[:, columns.index(design.coefficients.index("intercept"))] = 1.0
    found[:, [columns.index(k) for k in design.arm_columns]] = arms
    return found


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
