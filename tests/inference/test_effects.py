"""Effects along the alliance of a fit: the table, its probabilities, regions and refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from effect_fits import PAIRS, fit_of
from prediction_examples import therapist_posterior

from alliance.data_prep.errors import InputError
from alliance.inference.answers.effects import COLUMNS, Effects, effects_along, effects_table
from alliance.inference.draws.datatree import draws_of
from alliance.inference.scores.thresholds import Thresholds
from alliance.models.design.design import Design
from alliance.models.spec import ModeratorSpec

DRAWS = 200


def many_draws(design: Design) -> xr.Dataset:
    return therapist_posterior(design, chains=2, draws=DRAWS // 2)


def asked(**options: Any) -> Effects:
    fit = fit_of("function", many_draws)
    return effects_along(fit["function"], **options)


@pytest.fixture(scope="module")
def effects() -> Effects:
    return asked(thresholds=Thresholds(better_by=2, equivalence=(-1.5, 1)), grid=9)


def test_the_table_has_every_value_and_the_short_one_those_shown(effects: Effects) -> None:
    table = effects_table(effects)
    assert tuple(table.columns) == COLUMNS
    curves = table[table["quantity"].isin(["arm_contrast", "expected_score"])]
    assert len(curves) == 6 * len(effects.curves.moderator)  # three contrasts, three arms
    short = effects_table(effects, every=False)
    contrasts = short[short["quantity"] == "arm_contrast"]
    assert sorted(set(contrasts["moderator"])) == effects.shown.tolist()
    # Unless values are named: the quartiles of the ratings, and where the curve ends
    ratings = effects.ratings
    np.testing.assert_allclose(effects.shown, np.quantile(ratings, [0.05, 0.25, 0.5, 0.75, 0.95]))
    assert not table["extrapolated"].any()


def test_probabilities_are_shares_of_draws(effects: Effects) -> None:
    table = effects_table(effects)
    rows = table[(table["quantity"] == "arm_contrast") & (table["level"] == "SMT-GE")]
    draws = effects.curves.expected[:, 2] - effects.curves.expected[:, 0]
    assert 0 < (draws >= 2).mean() < 1
    np.testing.assert_allclose(rows["mean"], draws.mean(axis=0))
    np.testing.assert_allclose(rows["sd"], draws.std(axis=0, ddof=1))
    np.testing.assert_allclose(rows["lower"], np.quantile(draws, 0.025, axis=0))
    np.testing.assert_allclose(rows["prob_positive"], (draws > 0).mean(axis=0))
    np.testing.assert_allclose(rows["prob_better"], (draws > 0).mean(axis=0))
    np.testing.assert_allclose(rows["prob_better_by"], (draws >= 2).mean(axis=0))
    np.testing.assert_allclose(rows["prob_equivalent"], ((draws > -1.5) & (draws < 1)).mean(axis=0))
    assert set(rows["threshold"]) == {2.0}
    assert (rows["band_lower"] <= rows["lower"]).all()
    assert (rows["band_upper"] >= rows["upper"]).all()


def test_where_lower_is_better_a_threshold_counts_downwards() -> None:
    draws = np.array([-6.0, -5.0, -4.0, 1.0])
    found = Thresholds(better_by=5, equivalence=(-4.5, 2)).judge(draws, -1)
    assert found["prob_better"] == 0.75
    assert found["prob_better_by"] == 0.5  # five points lower is five points better
    assert found["prob_equivalent"] == 0.5  # the region is of the contrast as it is printed
    margin = Thresholds(better_by=-1).judge(draws, -1)
    assert margin["prob_better_by"] == 1.0  # nowhere more than one point worse


def test_a_contrast_the_other_way_round_has_its_sign_turned() -> None:
    one = effects_table(asked(contrasts=["SMT-GE"]))
    other = effects_table(asked(contrasts=["GE-SMT"]))
    for quantity in ("arm_contrast", "interaction"):
        here, there = (table[table["quantity"] == quantity] for table in (one, other))
        np.testing.assert_allclose(here["mean"].values, -there["mean"].values)
        np.testing.assert_allclose(here["lower"].values, -there["upper"].values)


@pytest.mark.parametrize(("outcome", "family"), PAIRS)
def test_differences_of_slopes_are_those_of_the_summary(outcome: str, family: str) -> None:
    fit = fit_of(outcome, family=family)
    table = effects_table(effects_along(fit[outcome]))
    rows = table[table["quantity"] == "interaction"]
    summary = fit.estimands(outcome)
    told = summary.isel(estimand=summary["quantity"].values == "interaction")
    assert list(rows["level"]) == list(told["level"].values)
    np.testing.assert_allclose(rows["mean"], told.mean(("chain", "draw")))
    assert rows["moderator"].isna().all()


def test_without_an_interaction_there_is_no_difference_of_slopes() -> None:
    fit = fit_of(interaction=False)
    found = effects_along(fit["function"])
    assert found.slopes == {}
    table = effects_table(found)
    contrast = table[(table["quantity"] == "arm_contrast") & (table["level"] == "MCE-GE")]
    assert np.ptp(contrast["mean"]) < 1e-10
    # The same at all values: hardly wider than the interval of one (8 draws are few)
    assert found.contrast_bands["MCE-GE"].factor < 1.3


def test_regions_are_rows_with_their_ends() -> None:
    def shifted(design: Design) -> xr.Dataset:
        draws = many_draws(design)
        draws["beta"] = 0.1 * draws["beta"]
        names = list(draws["coefficient"].values)
        draws["beta"].values[..., names.index("arm[1]")] += 2.0
        return draws

    fit = fit_of("function", shifted)
    found = effects_along(fit["function"])
    table = effects_table(found)
    regions = table[table["quantity"].str.startswith("region")]
    low, high = found.curves.moderator[[0, -1]]
    # The first column of the basis sets the first arm against the second.
    by_level = dict(zip(regions["level"], regions["quantity"], strict=True))
    first = np.sign(fit_contrast_mean(found, "MCE-GE"))
    assert by_level["MCE-GE"] == ("region_above_zero" if first > 0 else "region_below_zero")
    row = regions[regions["level"] == "MCE-GE"].iloc[0]
    assert (row["lower"], row["upper"]) == (low, high)


def fit_contrast_mean(found: Effects, level: str) -> float:
    which = next(each for each in found.contrasts if each.level == level)
    return float(which.of(found.curves.expected).mean())


def test_curves_run_between_the_outer_percentiles_unless_values_are_named() -> None:
    found = asked()
    low, high = np.quantile(found.ratings, [0.05, 0.95])
    assert found.observed[0] < low < high < found.observed[1]
    assert found.curves.moderator[[0, -1]].tolist() == [low, high]
    assert found.shown[[0, -1]].tolist() == [low, high]
    named = asked(values=found.observed)
    assert named.curves.moderator[[0, -1]].tolist() == list(found.observed)
    # Where arms change places is asked of all ratings, wherever the curve ends; the chance hardly
    # depends on the points of a curve that is straight
    for one, other in zip(found.crossings, named.crossings, strict=True):
        assert one.chance == pytest.approx(other.chance, abs=1e-12)


def test_values_beyond_the_ratings_are_refused_or_marked() -> None:
    low, high = asked().observed
    beyond = low - 5
    with pytest.raises(InputError, match=rf"{beyond:g} lies outside .* {low:g} to {high:g}"):
        asked(values=[beyond])
    found = asked(values=[beyond, 80.0], extrapolate=True)
    table = effects_table(found, every=False)
    curves = table[table["quantity"] == "arm_contrast"]
    assert set(curves.loc[curves["extrapolated"], "moderator"]) == {beyond}
    assert set(curves["moderator"]) == {beyond, 80.0}
    # The simultaneous band now holds for the longer stretch.
    assert found.curves.moderator[0] == beyond
    band, curves = found.contrast_bands["MCE-GE"], found.contrasts[0].of(found.curves.expected)
    # One draw lies on the edge itself: it counts as inside whichever way it is rounded.
    inside = (curves >= band.band_lower - 1e-9) & (curves <= band.band_upper + 1e-9)
    assert inside.all(axis=1).mean() >= 0.95


def test_values_off_the_scale_are_refused_even_so() -> None:
    with pytest.raises(InputError, match=r"there is no 113 on its scale.*16 to 112"):
        asked(values=[113.0], extrapolate=True)


def test_above_a_ceiling_there_may_be_more() -> None:
    fit = fit_of("function", moderator=ModeratorSpec(ceiling=112.0))
    found = effects_along(fit["function"], values=[115.0], extrapolate=True)
    assert found.curves.moderator[-1] == 115.0


def test_what_does_not_exist_is_refused_with_what_does() -> None:
    fit = fit_of()
    with pytest.raises(InputError, match=r"no outcome 'functoin'. Did you mean 'function'"):
        effects_along(fit["functoin"])
    with pytest.raises(InputError, match="no therapist 'T1x'"):
        effects_along(fit["function"], therapist="T1x")
    with pytest.raises(InputError, match="no contrast"):
        effects_along(fit["function"], contrasts=["MCE-XX"])
    with pytest.raises(InputError, match="not between 0 and 1"):
        effects_along(fit["function"], interval=95)


def test_a_new_therapist_widens_bands_where_arms_vary_between_therapists() -> None:
    fit = fit_of("function", many_draws, therapist_by_arm=True)
    average, new, again, other = (
        effects_along(fit["function"], therapist=who, seed=seed)
        for who, seed in (("average", 0), ("new", 1), ("new", 1), ("new", 2))
    )
    width = [
        np.mean(found.contrast_bands["MCE-GE"].upper - found.contrast_bands["MCE-GE"].lower)
        for found in (average, new)
    ]
    assert width[1] > width[0]
    np.testing.assert_array_equal(new.curves.expected, again.curves.expected)
    assert not np.array_equal(new.curves.expected, other.curves.expected)


def test_the_better_end_decides_which_arm_is_best() -> None:
    high = asked()
    low = replace(high.curves, direction=-1)
    worst = (low.expected.argmin(axis=1) == 1).mean(axis=0)
    np.testing.assert_allclose(low.best()[1], worst)
    fit = fit_of("function", many_draws, better="lower")
    table = effects_table(effects_along(fit["function"], values=[80.0]), every=False)
    scores = table[table["quantity"] == "expected_score"]
    assert scores["prob_best"].sum() == pytest.approx(1)
    curves = effects_along(fit["function"], values=[80.0]).curves
    k = int(np.searchsorted(curves.moderator, 80.0))
    share = (curves.expected[:, :, k].argmin(axis=1) == 1).mean()
    assert scores.set_index("level").loc["MCE", "prob_best"] == pytest.approx(share)


def test_draws_are_those_of_the_posterior() -> None:
    fit = fit_of()
    draws = draws_of(fit.trees["function"])
    assert len(effects_along(fit["function"]).curves.expected) == draws.sizes["chain"] * 4
