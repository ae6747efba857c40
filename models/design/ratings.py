"""What a design says of the ratings of the alliance: which are latent, and what predicts them.

Alliance within and between therapists: what each slope multiplies, written as a change of X.

With a_i the alliance of patient i and M_j the true mean of therapist j
(`models.latent_ratings`),

    eta_i = ... + (slope + interaction[arm] + therapist slope) (a_i - M_j)
                + (slope between + interaction between[arm]) M_j

so that interactions and therapists' slopes are those of patients within a therapist (Enders &
Tofighi 2007, doi:10.1037/1082-989X.12.2.121); the interaction between is there where it is asked
for. On the standardised scale zero is the mean of the analysed patients: coefficients of the arms
are contrasts of patients at their therapist's mean, of a therapist whose mean is that of all.

Given M_j, the columns that hold a_i - M_j are a linear change of those that hold a_i, and the part
between therapists may be taken from y: [X, y]_j becomes [X, y]_j (I + M_j N), with one matrix N for
all therapists. Cross-products within therapists are therefore enough, and no rows are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alliance.models.design.design import Design

Array = NDArray[np.float64]


def taken_apart(design: Design) -> bool:
    """Whether the alliance has one slope within therapists and one between them."""
    return design.moderator.structure == "within_between"


def between_columns(design: Design) -> list[int]:
    """Columns of X that the part between therapists multiplies with their mean alliance.

    The intercept's; with an interaction between therapists those of the arms too.
    """
    arms = design.arm_columns if design.moderator.between_interaction else []
    return [design.coefficients.index("intercept"), *arms]


def change_of_columns(design: Design, slopes: Sequence[Any]) -> Any:
    """The matrix N: what one SD of a therapist's mean does to the columns of X, and to y.

    Parameters
    ----------
    design : Design
        p coefficients.
    slopes : sequence
        Of the part between therapists, in the order of `between_columns`: symbols, or arrays of
        shape (..., 1, 1).

    Returns
    -------
    symbol or ndarray, shape (..., p + 1, p + 1)
        Columns of intercept and arms stay as they are, so that N N = 0.
    """
    size = len(design.coefficients) + 1
    centring = np.zeros((size, size))
    factors = [design.coefficients.index("intercept"), *design.arm_columns]
    for column, factor in zip(design.moderator_columns, factors, strict=False):
        centring[factor, column] = -1.0
    change: Any = centring
    for column, slope in zip(between_columns(design), slopes, strict=True):
        place = np.zeros((size, size))
        place[column, -1] = 1.0
        change = change - slope * place
    return change


def moved_products(products: Any, means: Any, change: Any) -> Any:
    """Cross-products of the changed columns, therapist by therapist.

    Parameters
    ----------
    products : array or symbol, shape (J, p + 1, p + 1)
        ``[X, y]' [X, y]`` of each therapist's patients.
    means : array or symbol, shape (..., J)
    change : array or symbol, shape (p + 1, p + 1) or (..., 1, p + 1, p + 1)
        See `change_of_columns`.

    Returns
    -------
    array or symbol, shape (..., J, p + 1, p + 1)
        ``(I + M N)' C (I + M N)``.
    """
    turned = change.swapaxes(-1, -2)
    once = products @ change
    once = once + once.swapaxes(-1, -2)
    twice = turned @ products @ change
    mean = means[..., None, None]
    return products + mean * (once + mean * twice)


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
        moments = design.moments
        return moments.count.astype(float), moments.cross_products[:, intercept, arms]
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
