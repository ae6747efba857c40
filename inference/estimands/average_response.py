"""Expected scores averaged over the trial's patients: what families with a curved link report.

Every patient is imagined in every arm, with an average therapist, and expected scores are averaged
over the patients (`inference.scores.questions`). For a Gaussian outcome the same averages are its
coefficients, so that all families answer in the same words on the outcome's own scale.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.levels import AVERAGE, contrast_names, slope_names
from alliance.inference.posterior import Posterior, Rows
from alliance.inference.scores.linear_predictor import arm_slopes, expected_scores
from alliance.inference.scores.questions import Question, own_alliance
from alliance.models.design.encoding import arm_pairs

Array = NDArray[np.float64]


def average_response(posterior: Posterior, at: float | None = None) -> dict[str, Array]:
    """Average expected scores, their slopes and variances over the trial's patients.

    Parameters
    ----------
    posterior : Posterior
        Where the alliance is latent, with ``moderator_latent``.
    at : float, optional
        The alliance, in its own points, that the patients are imagined with; their own by default.

    Returns
    -------
    dict of str to ndarray, shape (d, K)
        For each arm, on the outcome's own scale: ``expected``, the mean expected score; ``slope``,
        its mean change for one SD of the linear predictor's scale; ``variance``, the mean variance
        of a score given its patient and an average therapist.
    """
    asked = Question(
        posterior,
        posterior.rows,
        arms=tuple(range(len(posterior.design.arms))),
        alliance=own_alliance(posterior),
        weights=posterior.design.count,
    )
    if at is None:
        return asked.averaged(_response)
    found = asked.along(np.array([at]), _response)
    return {name: values[..., 0] for name, values in found.items()}


def _response(posterior: Posterior, eta: Array, _rows: Rows) -> dict[str, Array]:
    family, scale = posterior.design.family, posterior.design.scale
    parameters = posterior.family_parameters
    return {
        "expected": expected_scores(posterior, eta),
        "slope": scale.unit * scale.link_unit * family.slope(eta, parameters, scale),
        "variance": scale.unit**2 * family.variance(eta, parameters, scale),
    }


def response_estimands(
    posterior: Posterior, response: Mapping[str, Array], moderator_unit: float
) -> dict[tuple[str, str], Array]:
    """Reported quantities of a family with a curved link.

    Parameters
    ----------
    posterior : Posterior
    response : mapping of str to ndarray, shape (d, K)
        As from `average_response`.
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
    slopes = response["slope"] * arm_slopes(posterior) / moderator_unit
    overall = response["slope"].mean(axis=1)
    interaction = "interaction[1]" in design.coefficients
    found = {("intercept", ""): response["expected"].mean(axis=1)}
    if design.has_baseline:
        found["baseline_slope", ""] = (
            overall * posterior.coefficient("baseline") / design.scaling.baseline[1]
        )
    found["moderator_slope", AVERAGE] = slopes.mean(axis=1)
    if interaction:
        own = slope_names(arms)
        found |= {("moderator_slope", name): slopes[:, k] for k, name in enumerate(own)}
    for level, later, earlier in levels:
        found["arm_contrast", level] = (
            response["expected"][:, later] - response["expected"][:, earlier]
        )
    if interaction:
        for level, later, earlier in levels:
            found["interaction", level] = slopes[:, later] - slopes[:, earlier]
    columns = design.encoding.places("covariate")
    for k, name, unit in design.encoding.seen_columns:
        slope = posterior.beta[:, columns[k]]
        found["covariate_slope", name] = overall * slope / unit
    return found
