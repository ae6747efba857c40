"""ArmMeans over the trial's patients, each imagined in every arm and with some alliance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from alliance.inference.posterior import Posterior, Rows
from alliance.inference.scores.predictor import column_blocks, link_scale, predictor_at
from alliance.inference.scores.rows import row_matrix
from alliance.inference.scores.therapist_parts import TherapistPart, mean_slopes
from alliance.models.design.design import Design
from alliance.models.families.family import Auxiliary

Array = NDArray[np.float64]

# From eta (d, b) on the link's scale, the family's own parameters, and the rows it belongs to.
Measure = Callable[[Array, Auxiliary, slice], Array]


@dataclass(frozen=True, eq=False, slots=True)
class ArmMeans:
    """ArmMeans of some measure over patients, for d draws and K arms.

    Attributes
    ----------
    by_arm : ndarray, shape (d, K)
        All patients in one arm.
    as_treated : ndarray, shape (d,)
        Every patient in the arm of the trial.
    """

    by_arm: Array
    as_treated: Array


def averaged(
    posterior: Posterior,
    patients: Rows,
    moderator: Array,
    measure: Measure,
    *,
    weights: Array | None = None,
    therapists: TherapistPart | None = None,
    means: Array | None = None,
) -> ArmMeans:
    """Average a measure over patients in every arm.

    Parameters
    ----------
    posterior : Posterior
    patients : Rows
        n patients; their alliance is not looked at.
    moderator : ndarray, shape (1, n) or (d, n)
        Standardised alliance; in each draw its own where it is latent.
    measure : callable
    weights : ndarray, shape (n,), optional
        Patients that each row stands for; one by default.
    therapists : TherapistPart, optional
        By default an average therapist.
    means : ndarray, shape (d, n), optional
        Added to the mean alliance of each patient's therapist, standardised.

    Returns
    -------
    ArmMeans
    """
    design = posterior.design
    share = np.full(len(patients), 1 / len(patients)) if weights is None else weights
    share = share / share.sum()
    auxiliary = posterior.family_parameters
    arms = len(design.arms)
    total = posterior.total
    by_arm, as_treated = np.zeros((total, arms)), np.zeros(total)
    for some in column_blocks((total, len(patients)), max(1, design.scale.top)):
        rows = patients.chosen(some)
        part = None if therapists is None else therapists.block(some)
        value = moderator[:, some]
        for arm in range(arms):
            there = rows.in_arm(arm)
            predictor = predictor_at(posterior, there, value, part)
            if means is not None:
                slopes = mean_slopes(posterior, row_matrix(design, there))
                predictor = predictor + slopes * means[:, some]
            found = measure(link_scale(design, predictor), auxiliary, some)
            by_arm[:, arm] += found @ share[some]
            as_treated += found @ (share[some] * (rows.arm_index == arm))
    return ArmMeans(by_arm, as_treated)


def expected_measure(design: Design) -> Measure:
    """The expected score on the outcome's own scale."""
    family, scale = design.family, design.scale

    def expected(eta: Array, auxiliary: Auxiliary, _some: slice) -> Array:
        return np.asarray(scale.offset + scale.unit * family.expected(eta, auxiliary, scale))

    return expected


def distinct_patients(patients: Rows) -> tuple[Rows, Array]:
    """Patients who differ in baseline or covariates, and how many each stands for.

    Arm and alliance are those of the first of them: this serves patients who are imagined in every
    arm with the same alliance.
    """
    parts = [patients.covariates]
    if patients.baseline is not None:
        parts.append(patients.baseline[:, None])
    columns = np.column_stack(parts)
    if not columns.shape[1]:
        return patients.chosen(slice(0, 1)), np.array([float(len(patients))])
    _, first, counts = np.unique(columns, axis=0, return_index=True, return_counts=True)
    baseline = None if patients.baseline is None else patients.baseline[first]
    distinct = replace(
        patients,
        arm_index=patients.arm_index[first],
        moderator=patients.moderator[first],
        baseline=baseline,
        covariates=patients.covariates[first],
    )
    return distinct, counts.astype(float)
