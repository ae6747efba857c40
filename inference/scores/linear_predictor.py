"""The linear predictor of patients asked about, from saved draws: for any arm, alliance, therapist.

Predictions, averages and effect curves stand on it. Nothing here is compiled.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alliance.inference.draws.blocks import by_columns
from alliance.inference.posterior import Posterior, Rows
from alliance.inference.scores.therapist_parts import (
    TherapistPart,
    mean_slopes,
)
from alliance.models.design.design import Design
from alliance.models.design.encoding import sum_to_zero_basis

Array = NDArray[np.float64]
Index = NDArray[np.int64]


def linear_predictor(
    posterior: Posterior, rows: Rows, therapists: TherapistPart | None = None
) -> Array:
    """Draws of the linear predictor of each row, on the scale of the coefficients.

    Parameters
    ----------
    posterior : Posterior
    rows : Rows
    therapists : TherapistPart, optional
        As from `therapist_part`; without it the therapist is an average one.

    Returns
    -------
    ndarray, shape (d, r)
        d draws, chain after chain.
    """
    design = posterior.design
    X = rows.matrix(design)
    beta = posterior.beta
    predictor = beta @ X.T
    if therapists is None:
        return predictor
    mean = therapists.own_mean()
    for k, column in enumerate(design.effect_columns):
        times = X[:, column] - mean if design.effects[k] == "slope" else X[:, column]
        predictor += therapists.effect[:, therapists.index, k] * times
    if therapists.mean is not None:
        predictor += mean * mean_slopes(posterior, X)
    return predictor


def predictor_at(
    posterior: Posterior,
    rows: Rows,
    moderator: Array,
    therapists: TherapistPart | None = None,
) -> Array:
    """The linear predictor at an alliance that may differ between posterior.draws.

    Parameters
    ----------
    posterior : Posterior
    rows : Rows
        Their own alliance is not looked at.
    moderator : ndarray, shape (1, r) or (d, r)
        Standardised alliance.
    therapists : TherapistPart, optional

    Returns
    -------
    ndarray, shape (d, r)
    """
    mean, sd = posterior.design.scaling.moderator
    # The predictor is a straight line in the alliance: two points give all of it.
    level, further = (
        linear_predictor(posterior, rows.at_moderator(point), therapists)
        for point in (mean, mean + sd)
    )
    return level + (further - level) * moderator


def link_scale(design: Design, predictor: Array) -> Array:
    """A predictor on the scale of the family's link, same shape."""
    return design.scale.link_location + design.scale.link_unit * predictor


def expected_scores(posterior: Posterior, eta: Array) -> Array:
    """Expected scores on the outcome's own scale.

    Parameters
    ----------
    posterior : Posterior
    eta : ndarray, shape (d, r)
        Predictor on the scale of the family's link.

    Returns
    -------
    ndarray, shape (d, r)
    """
    family, scale = posterior.design.family, posterior.design.scale
    parameters = posterior.family_parameters
    own = by_columns(
        eta.shape,
        lambda some: family.expected(eta[:, some], parameters, scale),
        numbers_each=scale.top if "cutpoint" in parameters else 1,  # a chance for each category
    )
    return scale.offset + scale.unit * own


def arm_slopes(posterior: Posterior) -> Array:
    """Moderator slope of each arm on the predictor's scale, shape (d, K)."""
    arms = len(posterior.design.arms)
    slope = np.repeat(posterior.coefficient("moderator")[:, None], arms, axis=1)
    if posterior.design.encoding.interaction:
        parts = posterior.beta[:, posterior.design.encoding.places("interaction")]
        slope = slope + parts @ sum_to_zero_basis(arms).T
    return slope
