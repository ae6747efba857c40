"""Expected scores averaged over the trial's patients: what families with a curved link report.

Every patient is imagined in every arm (g-computation; Robins 1986,
doi:10.1016/0270-0255(86)90088-6), with an average therapist, and expected scores are averaged over
the patients. For a Gaussian outcome the same averages are its coefficients, so that all families
answer in the same words on the outcome's own scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.levels import AVERAGE, contrast_names, slope_names
from alliance.inference.draws.blocks import BLOCK_NUMBERS
from alliance.inference.posterior import Posterior
from alliance.models.design.encoding import arm_pairs, sum_to_zero_basis

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Response:
    """Averages over the trial's patients, for d draws and K arms, on the outcome's own scale.

    Attributes
    ----------
    expected : ndarray, shape (d, K)
        Mean expected score.
    slope : ndarray, shape (d, K)
        Mean change of the expected score for one SD of the linear predictor's scale.
    variance : ndarray, shape (d,)
        Mean variance of a score given its patient and an average therapist, over arms too.
    """

    expected: Array
    slope: Array
    variance: Array


def arm_slopes(posterior: Posterior) -> Array:
    """Moderator slope of each arm on the predictor's scale, shape (d, K)."""
    arms = len(posterior.design.arms)
    slope = np.repeat(posterior.coefficient("moderator")[:, None], arms, axis=1)
    if posterior.design.encoding.interaction:
        parts = posterior.beta[:, posterior.design.encoding.places("interaction")]
        slope = slope + parts @ sum_to_zero_basis(arms).T
    return slope


def average_response(posterior: Posterior, moderator: Array | None = None) -> Response:
    """Average expected scores, their slopes and variances over the trial's patients.

    Parameters
    ----------
    posterior : Posterior
    moderator : ndarray, shape (1, 1), (1, n) or (d, n), optional
        Standardised alliance that the patients are imagined with; their own by default.

    Returns
    -------
    Response
    """
    design = posterior.design
    auxiliary = posterior.family_parameters
    arms, family, scale = len(design.arms), design.family, design.scale
    basis = sum_to_zero_basis(arms)
    kept = design.encoding.places("intercept", "baseline", "covariate")
    common = posterior.beta[:, kept]
    arm_parts = posterior.beta[:, design.arm_columns] @ basis.T
    slopes = arm_slopes(posterior)
    if moderator is None:
        moderator = posterior.alliance()
    weights = design.count / design.count.sum()
    total, patients = len(common), len(design.y)
    expected, slope = np.empty((total, arms)), np.empty((total, arms))
    variance = np.zeros(total)
    block = max(1, BLOCK_NUMBERS // (patients * max(1, scale.top)))
    for start in range(0, total, block):
        some = slice(start, start + block)
        aux = {name: values[some] for name, values in auxiliary.items()}
        rows = common[some] @ design.X[:, kept].T
        value = moderator if moderator.shape[0] == 1 else moderator[some]
        for arm in range(arms):
            predictor = rows + arm_parts[some, arm, None] + slopes[some, arm, None] * value
            eta = scale.link_location + scale.link_unit * predictor
            expected[some, arm] = family.expected(eta, aux, scale) @ weights
            slope[some, arm] = scale.link_unit * (family.slope(eta, aux, scale) @ weights)
            variance[some] += family.variance(eta, aux, scale) @ weights / arms
    return Response(
        expected=scale.offset + scale.unit * expected,
        slope=scale.unit * slope,
        variance=scale.unit**2 * variance,
    )


def response_estimands(
    posterior: Posterior, response: Response, moderator_unit: float
) -> dict[tuple[str, str], Array]:
    """Reported quantities of a family with a curved link.

    Parameters
    ----------
    posterior : Posterior
    response : Response
    moderator_unit : float
        SD of the moderator for slopes per point, 1 for slopes per SD.

    Returns
    -------
    dict of (quantity, level) to ndarray, shape (d,)
        As in `inference.estimands.estimands.linear_estimands`; slopes are average derivatives of
        the expected score.
    """
    design = posterior.design
    arms = design.arms
    names = contrast_names(arms)
    levels = [(names[k, j], k, j) for k, j in arm_pairs(len(arms))]
    slopes = response.slope * arm_slopes(posterior) / moderator_unit
    overall = response.slope.mean(axis=1)
    interaction = "interaction[1]" in design.coefficients
    found = {("intercept", ""): response.expected.mean(axis=1)}
    if design.has_baseline:
        found["baseline_slope", ""] = (
            overall * posterior.coefficient("baseline") / design.scaling.baseline[1]
        )
    found["moderator_slope", AVERAGE] = slopes.mean(axis=1)
    if interaction:
        own = slope_names(arms)
        found |= {("moderator_slope", name): slopes[:, k] for k, name in enumerate(own)}
    for level, later, earlier in levels:
        found["arm_contrast", level] = response.expected[:, later] - response.expected[:, earlier]
    if interaction:
        for level, later, earlier in levels:
            found["interaction", level] = slopes[:, later] - slopes[:, earlier]
    columns = design.encoding.places("covariate")
    for k, name, unit in design.encoding.seen_columns:
        slope = posterior.beta[:, columns[k]]
        found["covariate_slope", name] = overall * slope / unit
    return found
