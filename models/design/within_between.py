"""Alliance within and between therapists: what each slope multiplies, written as a change of X.

With a_i the alliance of patient i and M_j the true mean of therapist j
(`models.ratings.latent_moderator`),

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
