"""The linear predictor of patients asked about, from saved draws: for any arm, alliance, therapist.

Predictions, averages and effect curves stand on it. Nothing here is compiled.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alliance.inference.draws.blocks import by_columns
from alliance.inference.scores.expected_scores import BLOCK_NUMBERS, auxiliary_draws, coefficients
from alliance.inference.scores.rows import Rows, row_matrix
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
    "Rows",
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
    design: Design, draws: xr.Dataset, rows: Rows, therapists: TherapistPart | None = None
) -> Array:
    """Draws of the linear predictor of each row, on the scale of the coefficients.

    Parameters
    ----------
    design : Design
    draws : xarray.Dataset
        Posterior of the outcome on the standardised scale.
    rows : Rows
    therapists : TherapistPart, optional
        As from `therapist_part`; without it the therapist is an average one.

    Returns
    -------
    ndarray, shape (d, r)
        d draws, chain after chain.
    """
    X = row_matrix(design, rows)
    beta = np.stack(list(coefficients(draws, design).values()), axis=1)
    predictor = beta @ X.T
    if therapists is None:
        return predictor
    mean = therapists.own_mean()
    for k, column in enumerate(design.effect_columns):
        times = X[:, column] - mean if design.effects[k] == "slope" else X[:, column]
        predictor += therapists.effect[:, therapists.index, k] * times
    if therapists.mean is not None:
        predictor += mean * mean_slopes(design, draws, X)
    return predictor


def predictor_at(
    design: Design,
    draws: xr.Dataset,
    rows: Rows,
    moderator: Array,
    therapists: TherapistPart | None = None,
) -> Array:
    """The linear predictor at an alliance that may differ between draws.

    Parameters
    ----------
    design : Design
    draws : xarray.Dataset
    rows : Rows
        Their own alliance is not looked at.
    moderator : ndarray, shape (1, r) or (d, r)
        Standardised alliance.
    therapists : TherapistPart, optional

    Returns
    -------
    ndarray, shape (d, r)
    """
    mean, sd = design.scaling.moderator
    # The predictor is a straight line in the alliance: two points give all of it.
    level, further = (
        linear_predictor(design, draws, rows.at_moderator(point), therapists)
        for point in (mean, mean + sd)
    )
    return level + (further - level) * moderator


def link_scale(design: Design, predictor: Array) -> Array:
    """A predictor on the scale of the family's link, same shape."""
    return design.scale.link_location + design.scale.link_unit * predictor


def expected_scores(design: Design, draws: xr.Dataset, predictor: Array) -> Array:
    """Expected scores on the outcome's own scale.

    Parameters
    ----------
    design : Design
    draws : xarray.Dataset
        With the family's own parameters.
    predictor : ndarray, shape (d, r)
        As from `linear_predictor`.

    Returns
    -------
    ndarray, shape (d, r)
    """
    family, scale = design.family, design.scale
    auxiliary = auxiliary_draws(draws, design)

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
