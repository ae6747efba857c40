"""Where two arms change places along the alliance: brute force, closed form, and coverage."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from effect_fits import fit_of
from numpy.typing import NDArray

from alliance.inference.answers.crossing import Crossing, crossing
from alliance.inference.answers.effects import effects_along, effects_table
from alliance.inference.draws.datatree import draws_of
from alliance.inference.many_fits.calibration import fit_outcome
from alliance.inference.posterior import Posterior, Rows
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.inference.scores.questions import Question, expected
from alliance.models.design.design import build_design
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec

Array = NDArray[np.float64]
Index = NDArray[np.int64]
PROFILE = SamplerProfile("ci", chains=2, draws=500, tune=500)
POINTS = np.linspace(20.0, 60.0, 9)


def test_of_straight_lines_it_is_where_they_meet_and_shares_are_counted() -> None:
    chance = np.random.default_rng(1)
    level, slope = chance.normal(0, 8, 400), chance.normal(0, 0.5, 400)
    ratings = np.sort(np.round(chance.uniform(20, 60, 57)))
    found = crossing("B-A", POINTS, level[:, None] + slope[:, None] * (POINTS - 40), ratings)
    true = 40 - level / slope
    within = (true > 20) & (true < 60)
    assert 50 < within.sum() < 350  # both kinds are there
    np.testing.assert_array_equal(np.isfinite(found.draws), within)
    np.testing.assert_allclose(found.draws[within], true[within], rtol=1e-10)
    assert found.chance == within.mean()
    above = (level[:, None] + slope[:, None] * (ratings - 40) > 0).mean(axis=1)
    np.testing.assert_allclose(found.share_beyond, np.minimum(above, 1 - above), atol=1e-12)


def test_of_a_curve_that_turns_back_it_is_the_first_place_and_both_sides_count() -> None:
    curve = (POINTS - 30.0) * (POINTS - 50.0)  # below zero between 30 and 50, which are points
    ratings = np.array([21.0, 29.0, 31.0, 40.0, 49.0, 51.0, 59.0, 60.0])
    found = crossing("B-A", POINTS, np.stack([curve, np.abs(curve) + 1]), ratings)
    np.testing.assert_allclose(found.draws, [30.0, np.nan])
    np.testing.assert_allclose(found.share_beyond, [3 / 8, 0.0])


@pytest.mark.parametrize("family", ["gaussian", "beta_binomial"])
def test_the_rule_gains_what_the_engine_says_patient_by_patient(family: str) -> None:
    """The best arm by posterior means at each rating, every draw of every patient looked at."""
    posterior = fit_of("function", family=family)["function"]
    found = effects_along(posterior)
    assert found.chosen is not None
    each = Question(posterior, posterior.rows, (0, 1, 2)).each(expected)["expected"]
    single = int(each.mean(axis=(0, 1)).argmax())
    ratings = posterior.rows.moderator
    curves = Question(posterior, posterior.rows, (0, 1, 2)).along(np.unique(ratings), expected)
    middle = curves["expected"].mean(axis=0)
    best = middle.argmax(axis=0)[np.searchsorted(np.unique(ratings), ratings)]
    gain = each[:, np.arange(len(best)), best].mean(axis=1) - each[:, :, single].mean(axis=1)
    assert found.chosen.single == single
    # A curved link's averages are straight between the 41 points of the grid to 1e-3 of a point
    np.testing.assert_allclose(found.chosen.gain, gain, atol=1e-9 if family == "gaussian" else 1e-3)
    np.testing.assert_allclose(found.chosen.shares, np.bincount(best, minlength=3) / len(best))


def test_a_scale_on_which_lower_is_better_turns_gain_and_not_the_places() -> None:
    up, down = (
        effects_along(fit_of("function", better=b)["function"]) for b in ("higher", "lower")
    )
    assert up.chosen is not None
    assert down.chosen is not None
    for first, second in zip(up.crossings, down.crossings, strict=True):
        np.testing.assert_array_equal(first.draws, second.draws)
        np.testing.assert_array_equal(first.share_beyond, second.share_beyond)
    assert down.chosen.gain.mean() >= 0  # by construction of the rule, in points of improvement


def test_the_table_has_the_rows_and_a_model_without_interaction_has_none() -> None:
    found = effects_along(fit_of("function")["function"])
    table = effects_table(found, every=False).set_index(["quantity", "level"])
    for each in found.crossings:
        own = each.draws[np.isfinite(each.draws)]
        row = table.loc[("crossing", each.level)]
        assert row["mean"] == pytest.approx(own.mean())
        assert row["lower"] == pytest.approx(np.quantile(own, 0.025))
        assert table.loc[("crossing_chance", each.level), "mean"] == each.chance
    without = effects_along(fit_of("function", interaction=False)["function"])
    assert without.chosen is None
    assert not effects_table(without)["quantity"].str.contains("crossing|gain|beyond").any()


@pytest.mark.validation
def test_the_interval_of_a_crossing_covers_and_none_is_told_apart() -> None:
    """200 trials of 240 with an interaction, and 200 in which the arms' lines are parallel.

    True slopes differ by .6 SD, the arms by .3 SD at the mean: they cross half an SD below it. The
    interval is bounded by the observed range, and may cover more than it says; .90 is three
    binomial SDs of 200 trials below .95, .995 would be wide for nothing. Where lines are parallel
    and .8 SD apart (five standard errors), the chance of a crossing is small.
    """
    held, chances, apart = [], [], []
    for number in range(200):
        for slope, arm in ((0.6, 0.3), (0.0, 0.8)):
            chance = np.random.default_rng([77, number, int(10 * arm)])
            rating, group = chance.normal(size=240), chance.integers(0, 2, 240)
            therapist = np.arange(240) % 12
            y = 0.3 * rating + group * (arm + slope * rating) + chance.normal(0, 0.8, 240)
            y += chance.normal(0, 0.2, 12)[therapist]
            found = _crossed(y, rating, group, therapist)
            if slope:
                low, high = np.nanquantile(found.draws, [0.025, 0.975])
                held.append(low <= -arm / slope <= high)
                chances.append(found.chance)
            else:
                apart.append(found.chance)
    print(f"covered {np.mean(held):.3f}, chance {np.mean(chances):.3f}, apart {np.mean(apart):.3f}")
    assert 0.90 <= np.mean(held) <= 0.995
    assert np.mean(chances) > 0.95
    assert np.mean(apart) < 0.4


def _crossed(y: Array, rating: Array, arm: Index, therapist: Index) -> Crossing:
    """The crossing of arm B and A, in SDs of the true rating, by the instant engine."""
    data = xr.Dataset(
        {
            "outcome": ("patient", y),
            "moderator": ("patient", rating),
            "arm_index": ("patient", arm),
            "therapist_index": ("patient", therapist),
            "covariates": (("patient", "covariate"), np.empty((len(y), 0))),
        },
        coords={
            "arm": ["A", "B"],
            "therapist": [f"T{j}" for j in range(12)],
            "covariate": np.array([], dtype=str),
        },
    )
    design = build_design(data, ModelSpec("pain"))
    tree, _ = fit_outcome(design, Priors(), PROFILE, 1, engine="instant", cores=1)
    posterior = Posterior(design, draws_of(tree))
    points = np.linspace(rating.min(), rating.max(), 41)
    rows = Rows(np.zeros(41, dtype=np.int64), points, None, np.empty((41, 0)))
    first, second = (posterior.beta @ rows.in_arm(k).matrix(design).T for k in (1, 0))
    return crossing("B-A", points, first - second, rating)
