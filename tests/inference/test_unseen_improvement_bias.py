"""Omitted-variable bias: by hand, against a regression that has the variable, and as published."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize

from alliance.inference.answers.unseen_improvement import (
    LinearSlope,
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

# Cinelli & Hazlett 2020, section 5: exposure to violence and attitude to peace in Darfur, as the
# authors' package sensemakr prints them
DARFUR = LinearSlope(0.09731582, 0.02325654, 783)


def test_the_formulas_by_hand() -> None:
    """Eight patients: alliance a, unseen improvement z, outcome y.

    Sums of squares and products about the means: aa 28 - 12*12/8 = 10, zz 8 - 6*6/8 = 3.5,
    az 12 - 12*6/8 = 3, ya 57 - 29*12/8 = 13.5, yz 29 - 29*6/8 = 7.25, yy 129 - 29*29/8 = 23.875.
    """
    a = np.array([0.0, 1, 0, 1, 2, 3, 2, 3])
    z = np.array([0.0, 0, 1, 1, 0, 1, 1, 2])
    y = np.array([1.0, 2, 3, 3, 3, 6, 5, 6])
    X = np.column_stack([np.ones(8), a, z])
    # Without z: 13.5 / 10, and a residual sum of squares of 23.875 - 13.5^2 / 10 = 5.65
    short = least_squares_slope(X[:, :2], y, 1)
    assert short.estimate == pytest.approx(1.35)
    assert short.degrees_of_freedom == 6
    assert short.se == pytest.approx(np.sqrt(5.65 / 6 / 10))
    # With z: (13.5 * 3.5 - 7.25 * 3) / (10 * 3.5 - 3^2) = 25.5 / 26
    long = least_squares_slope(X, y, 1)
    assert long.estimate == pytest.approx(25.5 / 26)
    rest = 23.875 - 25.5 / 26 * 13.5 - 32 / 26 * 7.25
    assert long.se == pytest.approx(np.sqrt(rest / 5 * 3.5 / 26))
    # z explains 3^2 / (10 * 3.5) of the alliance, and of the 5.65 what is then gone
    of_alliance, of_outcome = 9 / 35, (5.65 - rest) / 5.65
    assert partial_r2(a, X[:, [0, 2]], [1]) == pytest.approx(of_alliance)
    assert partial_r2(y, X, [2]) == pytest.approx(of_outcome)
    assert bias(short, of_alliance, of_outcome) == pytest.approx(1.35 - 25.5 / 26)
    assert adjusted_estimate(short, of_alliance, of_outcome) == pytest.approx(long.estimate)
    assert adjusted_se(short, of_alliance, of_outcome) == pytest.approx(long.se)


@pytest.mark.parametrize("seed", range(6))
def test_any_variable_left_out_is_described_by_its_two_shares(seed: int) -> None:
    """The slope falls or rises, as z works with or against it; its size is exact either way."""
    random = np.random.default_rng(seed)
    X = np.column_stack([np.ones(40), random.normal(size=(40, 4))])
    X[:, 4] += random.normal(size=3) @ X[:, 1:4].T  # what is left out goes with all the others
    y = X @ random.normal(size=5) + random.normal(size=40)
    short, long = least_squares_slope(X[:, :4], y, 1), least_squares_slope(X, y, 1)
    of_treatment = partial_r2(X[:, 1], X[:, [0, 2, 3, 4]], [3])
    of_outcome = partial_r2(y, X, [4])
    gap = abs(long.estimate - short.estimate)
    assert bias(short, of_treatment, of_outcome) == pytest.approx(gap, rel=1e-9)
    assert adjusted_se(short, of_treatment, of_outcome) == pytest.approx(long.se, rel=1e-9)


def test_robustness_values_as_published() -> None:
    assert DARFUR.t == pytest.approx(4.18, abs=0.005)
    assert DARFUR.partial_r2 == pytest.approx(0.022, abs=0.0005)
    assert robustness_value(DARFUR) == pytest.approx(0.139, abs=0.0005)
    assert robustness_value(DARFUR, alpha=0.05) == pytest.approx(0.076, abs=0.0005)


@pytest.mark.parametrize(
    ("of_treatment", "of_outcome", "estimate", "se"),
    [
        (0.0092, 0.1246, 0.0752, 0.0219),
        (0.0183, 0.2493, 0.0529, 0.0204),
        (0.0275, 0.3741, 0.0304, 0.0187),
    ],
)
def test_adjusted_estimates_as_published(
    of_treatment: float, of_outcome: float, estimate: float, se: float
) -> None:
    """Once, twice and three times as strong as being female; four printed digits of each share."""
    assert adjusted_estimate(DARFUR, of_treatment, of_outcome) == pytest.approx(estimate, abs=2e-4)
    assert adjusted_se(DARFUR, of_treatment, of_outcome) == pytest.approx(se, abs=6e-5)


@pytest.mark.parametrize("slope", [DARFUR, LinearSlope(-0.08, 0.023, 160)])
def test_robustness_is_where_the_slope_is_gone(slope: LinearSlope) -> None:
    share = robustness_value(slope)
    assert adjusted_estimate(slope, share, share) == pytest.approx(0, abs=1e-12)
    half = robustness_value(slope, q=0.5)
    assert adjusted_estimate(slope, half, half) == pytest.approx(slope.estimate / 2)
    from scipy import stats

    share = robustness_value(slope, alpha=0.05)
    t = adjusted_estimate(slope, share, share) / adjusted_se(slope, share, share)
    df = slope.degrees_of_freedom - 1
    assert abs(t) == pytest.approx(stats.t.ppf(0.975, df), rel=1e-9)


def test_a_result_that_is_none_has_no_robustness() -> None:
    assert robustness_value(LinearSlope(0.01, 0.1, 100), alpha=0.05) == 0
    assert robustness_value(LinearSlope(0.0, 0.1, 100)) == 0
    # With few degrees of freedom the share of the outcome alone decides
    strong = LinearSlope(10.0, 0.1, 4)
    assert 0 < robustness_value(strong, alpha=0.05) < 1
    shares = np.linspace(0.01, 0.9, 30)
    np.testing.assert_allclose(robustness(leverage(shares, shares)), shares)


@pytest.mark.parametrize("times", [1.0, 2.0, 3.0])
def test_a_benchmark_is_what_something_so_strong_explains(times: float) -> None:
    """Constructed: z is `times` as strong as x, for the alliance and for the outcome given it.

    x, z, the alliance's and the outcome's own parts are orthogonal, so that the bound is reached.
    """
    random = np.random.default_rng(1)
    parts = np.linalg.qr(np.column_stack([np.ones(60), random.normal(size=(60, 4))]))[0]
    one, x, z, own, noise = parts.T
    a = 0.3 * x + np.sqrt(times) * 0.3 * z + np.sqrt(1 - 0.09 * (1 + times)) * own

    def outcome(weight: float) -> Array:
        return 0.5 * a + 0.4 * x + weight * z + noise

    def excess(weight: float) -> float:
        y = outcome(weight)
        of_x = partial_r2(y, np.column_stack([one, a, x]), [2])
        of_z = partial_r2(y, np.column_stack([one, a, z]), [2])
        return of_z - times * of_x

    y = outcome(optimize.brentq(excess, 0.2, 3.0))
    found = benchmark(
        partial_r2(a, np.column_stack([one, x]), [1]),
        partial_r2(y, np.column_stack([one, a, x]), [2]),
        times,
    )
    assert found is not None
    everything = np.column_stack([one, a, x, z])
    assert found.r2_treatment == pytest.approx(partial_r2(a, everything[:, [0, 2, 3]], [2]))
    assert found.r2_outcome == pytest.approx(partial_r2(y, everything, [3]))


def test_nothing_explains_more_than_there_is() -> None:
    assert benchmark(0.4, 0.1, 2.0) is None  # 2 * 0.4 / 0.6 > 1 of the alliance
    cut = benchmark(0.2, 0.5, 2.0)
    assert cut is not None
    assert cut.r2_outcome == 1.0
