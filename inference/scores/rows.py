"""Patients asked about as rows: their values on their own scales, and their design matrix."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from alliance.models.design.design import Design

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """Patients asked about, on their own scales.

    Attributes
    ----------
    arm_index : ndarray of int, shape (r,)
        Position in the design's arms.
    moderator : ndarray, shape (r,)
        The alliance, in its own points.
    baseline : ndarray, shape (r,), or None
        None where the outcome has none.
    covariates : ndarray, shape (r, c)
        Columns as the design's covariates.
    """

    arm_index: Index
    moderator: Array
    baseline: Array | None
    covariates: Array

    def __len__(self) -> int:
        return len(self.arm_index)

    def block(self, some: slice) -> Rows:
        """A part of the patients."""
        baseline = None if self.baseline is None else self.baseline[some]
        return Rows(self.arm_index[some], self.moderator[some], baseline, self.covariates[some])

    def chosen(self, positions: Index) -> Rows:
        """The patients at these positions."""
        baseline = None if self.baseline is None else self.baseline[positions]
        return Rows(
            self.arm_index[positions],
            self.moderator[positions],
            baseline,
            self.covariates[positions],
        )

    def repeated(self, times: int, arm_index: Index) -> Rows:
        """Every patient so many times in a row, in these arms."""
        baseline = None if self.baseline is None else np.repeat(self.baseline, times)
        moderator, covariates = (
            np.repeat(part, times, axis=0) for part in (self.moderator, self.covariates)
        )
        return Rows(arm_index, moderator, baseline, covariates)

    def in_arm(self, arm: int) -> Rows:
        """The same patients, all imagined in one arm."""
        return replace(self, arm_index=np.full(len(self), arm))

    def at_moderator(self, value: float) -> Rows:
        """The same patients, all imagined with one alliance."""
        return replace(self, moderator=np.full(len(self), float(value)))


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
