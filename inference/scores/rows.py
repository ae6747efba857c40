"""Patients asked about as rows: their values on their own scales, and their design matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alliance.inference.posterior import Rows
from alliance.models.design.design import Design

Array = NDArray[np.float64]
Index = NDArray[np.int64]


def row_matrix(design: Design, rows: Rows) -> Array:
    """The rows' columns of the design matrix, standardised as the analysed patients were.

    Parameters
    ----------
    design : Design
    rows : Rows

    Returns
    -------
    ndarray, shape (r, p)
        Columns as named in the design's coefficients.
    """
    return design.encoding.matrix(rows.arm_index, rows.moderator, rows.baseline, rows.covariates)
