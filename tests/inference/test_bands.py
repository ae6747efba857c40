"""Bands around a curve: against closed form, against counting, and their coverage."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate, optimize, stats

from alliance.data_prep.errors import InputError
from alliance.inference.answers.effects import Bands, Region, bands, regions_excluding_zero

Array = NDArray[np.float64]

POINTS = np.linspace(-1.5, 2.0, 36)
COVARIANCE = np.array([[1.0, 0.3], [0.3, 0.4]])
LINE = np.column_stack([np.ones_like(POINTS), POINTS])


def lines(draws: int, seed: int, mean: Array | None = None) -> Array:
    """Draws of a straight line whose intercept and slope are normal, at the points."""
    random = np.random.default_rng(seed)
    centre = np.zeros(2) if mean is None else mean
    return random.multivariate_normal(centre, COVARIANCE, draws) @ LINE.T


def within(curves: Array, lower: Array, upper: Array) -> Array:
    """Whether each curve lies between the ends at every point, or on them but for rounding."""
    return ((curves >= lower - 1e-12) & (curves <= upper + 1e-12)).all(axis=1)


def chance_beyond(value: float) -> float:
    """That the largest standardised deviation of a normal line over all points exceeds a value.

    Standardised, the line is R cos(angle - phase), with R Rayleigh and the phase uniform, along an
    arc of angles; |cos| reaches 1 where the phase lies in the arc or opposite to it, and elsewhere
    its value at the nearer end (the tube formula of Hotelling 1939, without its approximation).
    """
    root = np.linalg.cholesky(COVARIANCE)
    first, last = root.T @ [1, POINTS[0]], root.T @ [1, POINTS[-1]]
    arc = np.arccos(first @ last / np.linalg.norm(first) / np.linalg.norm(last))

    in_arc = 2 * arc / (2 * np.pi) * np.exp(-(value**2) / 2)
    beside, _ = integrate.quad(
        lambda angle: np.exp(-(value**2) / 2 / np.cos(angle) ** 2), 0, (np.pi - arc) / 2
    )
    return float(in_arc + 4 * beside / (2 * np.pi))


def exact_critical_value(probability: float) -> float:
    return float(optimize.brentq(lambda value: chance_beyond(value) - (1 - probability), 1, 5))


@pytest.mark.parametrize("interval", [0.8, 0.95])
def test_the_factor_of_a_normal_line_is_the_closed_form(interval: float) -> None:
    found = bands(lines(200_000, seed=1), interval)
    normal = stats.norm.ppf((1 + interval) / 2)
    exact = exact_critical_value(interval)
    # The range holds angles of most of a half circle: the band is clearly wider than an interval.
    assert exact / normal > 1.2
    # The quantile's Monte Carlo error is below 0.004, the grid's loss below 0.002.
    assert found.factor * normal == pytest.approx(exact, abs=0.015)
    sd = np.sqrt(np.einsum("gi,ij,gj->g", LINE, COVARIANCE, LINE))
    np.testing.assert_allclose(found.upper, normal * sd, rtol=0.02)
    np.testing.assert_allclose(found.band_upper, exact * sd, rtol=0.02)
    np.testing.assert_allclose(found.band_lower, -exact * sd, rtol=0.02)
    np.testing.assert_allclose(found.median, 0, atol=0.01)


def skewed(draws: int) -> Array:
    return np.exp(lines(draws, seed=2))


def test_the_band_is_the_narrowest_of_its_kind_that_holds_the_share_of_curves() -> None:
    curves = skewed(3000)
    found = bands(curves, 0.95)
    assert within(curves, found.band_lower, found.band_upper).mean() >= 0.95
    factor = found.factor * (1 - 1e-9)
    lower = found.median - factor * (found.median - found.lower)
    upper = found.median + factor * (found.upper - found.median)
    assert within(curves, lower, upper).mean() < 0.95
    assert within(curves, found.lower, found.upper).mean() < 0.93


def test_a_skewed_posterior_has_a_skewed_band_around_the_pointwise_one() -> None:
    found = bands(skewed(3000), 0.95)
    assert (found.band_lower < found.lower).all()
    assert (found.band_upper > found.upper).all()
    ratio = (found.band_upper - found.median) / (found.median - found.band_lower)
    np.testing.assert_allclose(
        ratio, (found.upper - found.median) / (found.median - found.lower), rtol=1e-10
    )
    assert ratio.min() > 1.5  # of a lognormal with an SD of 0.8 or more it is 3 or more


def test_a_curve_that_is_the_same_everywhere_has_one_band() -> None:
    one = np.random.default_rng(3).normal(size=(4000, 1))
    found = bands(np.repeat(one, 9, axis=1), 0.95)
    # The two sides are not exactly alike in a sample, hence not exactly 1.
    assert found.factor == pytest.approx(1, abs=0.01)


def test_a_point_without_spread_stays_a_point() -> None:
    curves = np.concatenate([np.full((500, 1), 2.0), lines(500, seed=4)], axis=1)
    found = bands(curves)
    assert np.isfinite(found.factor)
    assert found.band_lower[0] == found.band_upper[0] == 2.0


@pytest.mark.parametrize("interval", [0, 1, 1.5, float("nan")])
def test_what_is_no_probability_is_refused(interval: float) -> None:
    with pytest.raises(InputError, match="not between 0 and 1"):
        bands(lines(20, seed=5), interval)


def test_coverage_of_the_whole_curve_in_200_simulated_posteriors() -> None:
    """The estimate is drawn around the true line, and the posterior around the estimate."""
    random = np.random.default_rng(6)
    true = np.array([0.4, -0.3])
    covered = {"band": 0, "pointwise": 0}
    for _ in range(200):
        estimate = random.multivariate_normal(true, COVARIANCE)
        posterior = random.multivariate_normal(estimate, COVARIANCE, 2000) @ LINE.T
        found = bands(posterior, 0.95)
        curve = (LINE @ true)[None]
        covered["band"] += int(within(curve, found.band_lower, found.band_upper)[0])
        covered["pointwise"] += int(within(curve, found.lower, found.upper)[0])
    assert abs(covered["band"] / 200 - 0.95) <= 0.035
    # Three standard errors of 200 simulations around what the closed form says of intervals.
    expected = 1 - chance_beyond(stats.norm.ppf(0.975))
    assert covered["pointwise"] < covered["band"]
    assert abs(covered["pointwise"] / 200 - expected) < 3 * np.sqrt(expected * (1 - expected) / 200)


def region_cases() -> list[tuple[str, list[float], list[Region]]]:
    return [
        ("clear of zero throughout", [1, 2, 3, 4], [Region(0, 3, 1)]),
        ("from a crossing on", [-1, 1, 2, 3], [Region(0.5, 3, 1)]),
        ("up to a crossing", [3, 1, -3, -4], [Region(0, 1.25, 1)]),
        ("in the middle", [-1, 1, 1, -3], [Region(0.5, 2.25, 1)]),
        ("in two places", [1, -1, -1, 1], [Region(0, 0.5, 1), Region(2.5, 3, 1)]),
        ("nowhere", [-1, -2, 0, -1], []),
    ]


@pytest.mark.parametrize(
    ("lower", "expected"),
    [case[1:] for case in region_cases()],
    ids=[case[0] for case in region_cases()],
)
def test_regions_end_where_the_band_meets_zero(lower: list[float], expected: list[Region]) -> None:
    points, ends = np.arange(4.0), np.array(lower)
    assert regions_excluding_zero(points, ends, ends + 10) == expected
    mirrored = regions_excluding_zero(points, -ends - 10, -ends)
    assert mirrored == [Region(each.start, each.end, -1) for each in expected]


def test_a_curve_may_lie_above_zero_here_and_below_it_there() -> None:
    points = np.arange(4.0)
    lower, upper = np.array([1.0, -1, -3, -5]), np.array([3.0, 1, -1, -3])
    assert regions_excluding_zero(points, lower, upper) == [Region(0, 0.5, 1), Region(1.5, 3, -1)]


def test_the_regions_of_a_line_are_those_of_the_closed_form() -> None:
    """Where |mean| exceeds the critical value times the SD, as Potthoff (1964) has it."""
    mean = np.array([1.0, 2.5])
    found: Bands = bands(lines(200_000, seed=7, mean=mean))
    regions = regions_excluding_zero(POINTS, found.band_lower, found.band_upper)
    critical = exact_critical_value(0.95)

    def clear(value: float) -> float:
        x = np.array([1, value])
        return abs(x @ mean) - critical * np.sqrt(x @ COVARIANCE @ x)

    below, above = regions
    assert (below.sign, above.sign) == (-1, 1)
    assert (below.start, above.end) == (POINTS[0], POINTS[-1])
    # A third of the distance between two points: the band is a curve between them.
    assert below.end == pytest.approx(optimize.brentq(clear, -1.4, -0.4), abs=0.03)
    assert above.start == pytest.approx(optimize.brentq(clear, -0.4, 1.0), abs=0.03)
