"""The same trial in other units gives the same answers: no tolerance is on the data's own scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from effect_fits import fit_of
from matplotlib.axes import Axes

from alliance.diagnostics.checks.family_advice import advice
from alliance.diagnostics.checks.predictive_checks import predictive_check
from alliance.diagnostics.checks.predictive_statistics import distinct, resolution
from alliance.diagnostics.figures.predictive_figures import distribution_figure, statistics_figure
from alliance.inference.answers.decisions import decisions
from alliance.inference.answers.effects import effects_along
from alliance.inference.answers.therapists import therapists
from alliance.inference.answers.unseen_improvement import unseen_improvement
from alliance.inference.draws.datatree import add_patients, draws_of
from alliance.inference.pointwise.replicates import explained_variance
from alliance.inference.runs.fit import Fit
from alliance.inference.scores.single_scores import heaped_ends, score_steps
from alliance.inference.scores.thresholds import Thresholds

UNITS = (1e-9, 1e-3, 1e6)


def in_units(fit: Fit, outcome: float, alliance: float) -> Fit:
    """The fit with outcome, baseline and alliance in other units; the draws are standardised."""
    study = fit.study
    described = study.outcomes["function"]
    low, high = described.range
    scaled = described.model_copy(update={"range": (outcome * low, outcome * high)})
    ends = tuple(alliance * end for end in study.moderator.range)
    moderator = study.moderator.model_copy(update={"range": ends})
    changes = {"outcomes": {"function": scaled}, "moderator": moderator}
    data = fit.patients("function").copy(deep=True)
    for name, unit in (("outcome", outcome), ("baseline", outcome), ("moderator", alliance)):
        data[name] = data[name] * unit
    tree = xr.DataTree()
    add_patients(tree, data)
    tree["posterior"] = xr.DataTree(draws_of(fit.trees["function"]))
    return replace(fit, study=study.model_copy(update=changes), trees={"function": tree})


@pytest.fixture(scope="module")
def plain() -> Fit:
    fit = fit_of("function", therapist="intercept+slope")
    return replace(fit, manifest=fit.manifest | {"seed": 2})


@pytest.fixture(params=UNITS)
def scaled(request: pytest.FixtureRequest, plain: Fit) -> Fit:
    return in_units(plain, request.param, request.param)


def unit_of(scaled: Fit, plain: Fit) -> float:
    return scaled.study.outcomes["function"].range[1] / plain.study.outcomes["function"].range[1]


def test_replicated_data_are_judged_alike(plain: Fit, scaled: Fit) -> None:
    one, other = (predictive_check(fit["function"]) for fit in (plain, scaled))
    for first, second in zip(one.realised, other.realised, strict=True):
        assert second.p_value == pytest.approx(first.p_value, abs=1e-12), first.statistic.name
    shares = ["floor", "ceiling"]
    told = [each.table.set_index("statistic") for each in (one, other)]
    pd.testing.assert_series_equal(*(table.loc[shares, "replicated"] for table in told))
    for draw in (distribution_figure, statistics_figure):
        bars = [
            [len(panel.patches) for panel in draw(fit, [check]).findobj(Axes)]
            for fit, check in ((plain, one), (scaled, other))
        ]
        assert bars[0] == bars[1]


def test_shares_and_chances_are_the_same(plain: Fit, scaled: Fit) -> None:
    unit = unit_of(scaled, plain)
    tables = [
        decisions(fit["function"], Thresholds(better_by=2 * k, reach=20 * k), values=[80 * k]).table
        for fit, k in ((plain, 1.0), (scaled, unit))
    ]
    for column in ("prob_better", "prob_better_by"):
        np.testing.assert_allclose(tables[1][column], tables[0][column])
    share = tables[0]["quantity"].str.startswith("share")
    np.testing.assert_allclose(tables[1].loc[share, "mean"], tables[0].loc[share, "mean"])
    assert score_steps(scaled["function"]).step == pytest.approx(unit)
    for first, second in zip(*(heaped_ends(f["function"]) for f in (plain, scaled)), strict=True):
        assert second.expected == pytest.approx(first.expected)


def test_bands_regions_and_extrapolation_are_the_same(plain: Fit, scaled: Fit) -> None:
    unit = unit_of(scaled, plain)
    one, other = (effects_along(fit["function"], grid=11) for fit in (plain, scaled))
    assert not other.extrapolated.any()
    for level, band in one.contrast_bands.items():
        again = other.contrast_bands[level]
        np.testing.assert_allclose(again.band_lower, unit * band.band_lower, rtol=1e-6)
        assert len(other.regions(level)) == len(one.regions(level))


def test_shares_of_variance_and_tipping_points_are_the_same(plain: Fit, scaled: Fit) -> None:
    one, other = (explained_variance(fit["function"]).table for fit in (plain, scaled))
    np.testing.assert_allclose(other["mean"], one["mean"])
    one, other = (therapists(fit["function"]).table for fit in (plain, scaled))
    share = one["quantity"] == "therapist_share"
    np.testing.assert_allclose(other.loc[share, "mean"], one.loc[share, "mean"])
    first, second = (unseen_improvement(fit["function"]) for fit in (plain, scaled))
    assert second.tipping_mean == pytest.approx(first.tipping_mean)
    assert second.robustness_value == pytest.approx(first.robustness_value)


def test_whole_scores_are_whole_in_points_alone(plain: Fit) -> None:
    """Numbers near zero are no whole numbers, though they are near one."""
    told = advice(plain["function"], "floor", above=True)
    assert "beta_binomial" in told
    tiny = in_units(plain, 1e-9, 1.0)
    described = tiny.study.outcomes["function"].model_copy(update={"range": (0.0, 1.0)})
    study = tiny.study.model_copy(update={"outcomes": {"function": described}})
    assert "counted in these" not in advice(
        replace(tiny, study=study)["function"], "floor", above=True
    )
    assert "Fit this outcome again" not in advice(
        replace(tiny, study=study)["function"], "floor", above=True
    )


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e9])
def test_distinct_values_are_told_apart_by_their_spread(unit: float) -> None:
    values = unit * np.array([3.0, 1.0, 1.0 + 1e-13, 2.5])
    np.testing.assert_allclose(distinct(values), unit * np.array([1.0, 2.5, 3.0]))
    assert len(distinct(np.full(4, unit) * (1 + 1e-15 * np.arange(4)))) == 1
    assert len(distinct(np.zeros(3))) == 1


def test_the_resolution_is_a_point_in_any_unit(plain: Fit, scaled: Fit) -> None:
    steps = [resolution(fit.design("function")) for fit in (plain, scaled)]
    assert steps[0] == pytest.approx(1.0)
    assert steps[1] == pytest.approx(unit_of(scaled, plain))
