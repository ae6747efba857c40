"""What would hold if those who left had gone on otherwise than the model expects of them.

A model of visits takes what was not seen as missing at random. Reference-based assumptions replace
the expected scores of patients who left an arm by others, from the first visit that they missed for
good (Carpenter, Roger & Kenward 2013, doi:10.1080/10543406.2013.834911): with D_t the expected
difference of such patients between their own arm and the reference at visit t, l the last visit
seen, and o all visits seen, their mean moves by

    jump to reference             -D_t
    copy increments in reference  -D_t + D_l                     (D_l = 0 if no visit was seen)
    copy reference                -D_t + Sigma_to Sigma_oo^-1 D_o     (Sigma of the reference)
    delta                         a stated shift, beside any of these

and the mean of an arm by the average of that over its patients, whatever their scores at the visits
seen; adjusted for the columns of the model, as an analysis of covariance of completed scores is.
So everything follows from draws of coefficients and residual covariance and the patterns of
the visits seen; nothing is fitted again. Shares of patterns count as known. Gaps between visits
seen stay missing at random.

Two spreads answer two questions. The posterior SD is that of the quantity under the assumption: a
mean that leans on the reference arm varies less. The information-anchored SD keeps the share of
information that missing data cost under missing at random,

    SD under missing at random * sqrt(full-data variance here / full-data variance there),

which multiple imputation with Rubin's rules is about (Cro, Carpenter & Kenward 2019,
doi:10.1111/rssa.12423); it has no Bayesian reading that is known. The full-data variance is that of
completed scores within an arm: patients who left are shifted, and those who left were expected to
do worse or better than others before that, given the visits that they were seen at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError, nearest

Array = NDArray[np.float64]

Assumption = Literal["mar", "j2r", "cir", "cr"]
ASSUMPTIONS: tuple[str, ...] = get_args(Assumption)


@dataclass(frozen=True, eq=False, slots=True)
class LeftGroup:
    """Patients of one arm who have the same visits.

    Attributes
    ----------
    arm : int
    seen : ndarray of bool, shape (V,)
    patients : int
    weight : ndarray, shape (K,)
        What their scores count in the adjusted mean of each arm: see `adjusted_weights`.
    difference : ndarray, shape (d, V)
        What is expected of them in their own arm less that in the reference arm, on the outcome's
        own scale, in every draw.
    above : ndarray, shape (V,)
        How far above their columns' mean their scores are expected to be, given those that were
        seen (`expected_above`), on the same scale.
    """

    arm: int
    seen: NDArray[np.bool_]
    patients: int
    weight: Array
    difference: Array
    above: Array

    @property
    def left(self) -> NDArray[np.bool_]:
        """Visits after the last one seen, shape (V,)."""
        seen = np.flatnonzero(self.seen)
        last = seen[-1] if len(seen) else -1
        return np.arange(len(self.seen)) > last


def moved_means(group: LeftGroup, residual: Array, assumption: str, delta: float = 0.0) -> Array:
    """How far the means of such patients move from what is expected of them.

    Parameters
    ----------
    group : LeftGroup
    residual : ndarray, shape (d, V, V)
        Draws of the residual covariance of the reference arm.
    assumption : {"mar", "j2r", "cir", "cr"}
    delta : float
        Added to every score that was not seen.

    Returns
    -------
    ndarray, shape (d, V)
        Zero at visits that were seen, and but for delta in gaps between them.

    Raises
    ------
    InputError
        If there is no such assumption.
    """
    if assumption not in ASSUMPTIONS:
        raise InputError(
            f"There is no assumption {assumption!r}.", nearest(assumption, ASSUMPTIONS)
        )
    D, seen = group.difference, np.flatnonzero(group.seen)
    found = np.zeros_like(D)
    if assumption != "mar":
        found -= D
    if assumption == "cir" and len(seen):
        found += D[:, [seen[-1]]]
    if assumption == "cr" and len(seen):
        known = residual[:, seen[:, None], seen]
        weights = np.linalg.solve(known, residual[:, seen])
        found += np.einsum("dov,do->dv", weights, D[:, seen])
    return np.where(group.left, found, 0.0) + np.where(group.seen, 0.0, delta)


def expected_above(seen: NDArray[np.bool_], residual: Array, covariance: Array) -> Array:
    """What is expected of the residuals of patients with the same visits, given those seen.

    Parameters
    ----------
    seen : ndarray of bool, shape (V,)
    residual : ndarray, shape (d, V)
        Draws of their mean residuals, of use at the visits seen.
    covariance : ndarray, shape (d, V, V)
        Draws of the residual covariance of their arm.

    Returns
    -------
    ndarray, shape (V,)
        Mean over draws; zero where no visit was seen.
    """
    places = np.flatnonzero(seen)
    if not len(places):
        return np.zeros(len(seen))
    known = covariance[:, places[:, None], places]
    weights = np.linalg.solve(known, covariance[:, places])
    found: Array = np.einsum("dov,do->dv", weights, residual[:, places]).mean(axis=0)
    return found


@dataclass(frozen=True, eq=False, slots=True)
class AssumedMeans:
    """Arms' means under an assumption about what was not seen.

    Attributes
    ----------
    means : ndarray, shape (d, K, V)
        On the outcome's own scale.
    anchored : ndarray, shape (K, K, V)
        Information-anchored SD of the mean of the first arm less that of the second.
    per_point : ndarray, shape (K, K, V)
        How far the mean of the first arm moves for each point that unseen scores of the second
        are shifted by.
    """

    means: Array
    anchored: Array
    per_point: Array


def adjusted_weights(X: Array, places: Array, group: NDArray[np.int64]) -> Array:
    """What groups of patients count in adjusted means, those of an analysis of covariance.

    Parameters
    ----------
    X : ndarray, shape (n, p)
        Columns of the regression.
    places : ndarray, shape (K, p)
        At which the regression is read: the row of an arm at the means of all else.
    group : ndarray of int, shape (n,)

    Returns
    -------
    ndarray, shape (groups, K)
        The fitted value at a place is the sum, over groups, of weight times mean score, where all
        patients of a group have one score; without covariates, the group's share of its arm.
    """
    each = np.linalg.lstsq(X.T, places.T)[0]  # X'w = place, of least size
    return np.stack([np.bincount(group, weights=own) for own in each.T], axis=1)


def assumed_means(
    means: Array,
    groups: Sequence[LeftGroup],
    residual: Array,
    assumption: str,
    delta: Mapping[int, float] | None = None,
    reference: int = 0,
) -> AssumedMeans:
    """Means of the arms when those who left are taken to follow another course.

    Parameters
    ----------
    means : ndarray, shape (d, K, V)
        Of the arms if missing at random, on the outcome's own scale.
    groups : sequence of LeftGroup
        All patients, by arm and pattern of visits; of the reference arm the difference is zero.
    residual : ndarray, shape (d, K, V, V)
        Residual covariance of each arm on the same scale.
    assumption : {"mar", "j2r", "cir", "cr"}
    delta : mapping of int to float, optional
        By arm, added to every score that was not seen.
    reference : int
        Position of the arm that those who left are assumed to follow.

    Returns
    -------
    AssumedMeans
    """
    d, K, V = means.shape
    moved, squares, shifts = np.zeros((d, K, V)), np.zeros((K, V)), np.zeros((K, V))
    patients, per_point = np.zeros(K), np.zeros((K, K, V))
    above, together = np.zeros((K, V)), np.zeros((K, V))
    for group in groups:
        own = (delta or {}).get(group.arm, 0.0)
        shift = moved_means(group, residual[:, reference], assumption, own)
        moved += group.weight[:, None] * shift[:, None]
        squares[group.arm] += group.patients * shift.mean(axis=0) ** 2
        patients[group.arm] += group.patients
        shifts[group.arm] += group.patients * shift.mean(axis=0)
        above[group.arm] += group.patients * group.above
        together[group.arm] += group.patients * shift.mean(axis=0) * group.above
        per_point[:, group.arm] += group.weight[:, None] * ~group.seen
    of_arm = patients[:, None]
    between = squares / of_arm - (shifts / of_arm) ** 2
    between += 2 * (together / of_arm - shifts / of_arm * above / of_arm)
    plain = np.diagonal(residual, axis1=-2, axis2=-1).mean(axis=0)  # (K, V)
    anchored = np.zeros((K, K, V))
    for first in range(K):
        for second in range(K):
            some = [first, second]
            before = sum(plain[k] / patients[k] for k in some)
            after = sum((plain[k] + between[k]) / patients[k] for k in some)
            sd = (means[:, first] - means[:, second]).std(axis=0, ddof=1)
            anchored[first, second] = sd * np.sqrt(after / before)
    return AssumedMeans(means + moved, anchored, per_point)


def tipping_shift(
    contrast: Array, share: float, probability: float, direction: int
) -> float | None:
    """The shift of unseen scores at which a chance of benefit is lost.

    Parameters
    ----------
    contrast : ndarray, shape (d,)
        Draws of the contrast without the shift; the shifted arm comes first.
    share : float
        Of that arm's patients who were not seen.
    probability : float
        The chance that is to be kept, from above one half to below one.
    direction : {1, -1}
        1 where a higher score is better.

    Returns
    -------
    float or None
        In points, against the arm; None if the chance is not there to begin with, or nobody was
        unseen.
    """
    benefit = direction * contrast
    kept = float(np.quantile(benefit, 1 - probability))
    if kept <= 0 or share <= 0:
        return None
    return -direction * kept / share
