"""The linear predictor of patients asked about, from saved draws: for any arm, alliance, therapist.

Predictions, averages and effect curves stand on it. Nothing here is compiled.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alliance.inference.draws.blocks import BLOCK_NUMBERS, by_columns
from alliance.inference.posterior import Posterior, Rows
from alliance.inference.scores.rows import row_matrix
from alliance.inference.scores.therapist_parts import (
    AVERAGE,
    NEW,
    TherapistChoice,
    TherapistPart,
    mean_slopes,
    new_therapists,
    require_therapists,
    therapist_factor,
    therapist_part,
    therapist_variance,
)
from alliance.models.design.design import Design

__all__ = [
    "AVERAGE",
    "NEW",
    "TherapistChoice",
    "TherapistPart",
    "column_blocks",
    "expected_scores",
    "linear_predictor",
    "link_scale",
    "mean_slopes",
    "new_therapists",
    "predictor_at",
    "require_therapists",
    "row_matrix",
    "therapist_factor",
    "therapist_part",
    "therapist_variance",
]

Array = NDArray[np.float64]


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
    X = row_matrix(design, rows)
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


def expected_scores(posterior: Posterior, predictor: Array) -> Array:
    """Expected scores on the outcome's own scale.

    Parameters
    ----------
    posterior : Posterior
    predictor : ndarray, shape (d, r)
        As from `linear_predictor`.

    Returns
    -------
    ndarray, shape (d, r)
    """
    design = posterior.design
    family, scale = design.family, design.scale
    auxiliary = posterior.family_parameters

    def expected(some: slice) -> Array:
        return family.expected(link_scale(design, predictor[:, some]), auxiliary, scale)

    own = by_columns(predictor.shape, expected, numbers_each=max(1, scale.top))
    return scale.offset + scale.unit * own


def column_blocks(shape: tuple[int, ...], numbers_each: int = 1) -> list[slice]:
    """Blocks of rows whose arrays stay near a few million numbers.

    Parameters
    ----------
    shape : (d, r)
    numbers_each : int
        Numbers that are held at a time for each draw of each row.
    """
    draws, rows = shape
    block = max(1, BLOCK_NUMBERS // (draws * numbers_each))
    return [slice(start, min(start + block, rows)) for start in range(0, rows, block)]
