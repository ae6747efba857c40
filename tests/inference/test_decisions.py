"""Answers to named thresholds: against loops over patients, closed form, a second computation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from effect_fits import PAIRS, chance_of, expected, fit_of, looped
from prediction_examples import posterior_of, therapist_posterior
from scipy import stats

from alliance.data_prep.errors import InputError
from alliance.inference.answers.averages import average
from alliance.inference.answers.decisions import COLUMNS, Decisions, decisions
from alliance.inference.scores.thresholds import Thresholds
from alliance.models.design.design import Design

VALUE = 84.5
NO_THERAPISTS = {"therapist": "none"}


def row(answer: Decisions, quantity: str, level: str, value: float | None = None) -> pd.Series:
    table = answer.table
    here = table["moderator"].isna() if value is None else table["moderator"] == value
    found = table[(table["quantity"] == quantity) & (table["level"] == level) & here]
    assert len(found) == 1
    return found.iloc[0]


def one_draw(design: Design) -> xr.Dataset:
    """So that a mean is the value at that draw: two equal draws, for an SD needs two."""
    draws = therapist_posterior(design, chains=1, draws=1)
    return xr.concat([draws, draws], dim="draw").assign_coords(draw=[0, 1])


@pytest.mark.parametrize("better", ["higher", "lower"])
@pytest.mark.parametrize(("outcome", "family"), PAIRS)
def test_effects_and_shares_are_those_of_a_loop_over_patients(
    outcome: str, family: str, better: str
) -> None:
    """Without therapist effects nothing is drawn, and every number can be counted."""
    fit = fit_of(outcome, one_draw, family=family, better=better, **NO_THERAPISTS)
    threshold, reach = 2.0, 1.0 if outcome == "gpe" else 15.0
    thresholds = Thresholds(better_by=threshold, reach=reach)
    answer = decisions(fit[outcome], thresholds, values=[VALUE])
    upwards = better == "higher"
    baseline = fit[outcome].rows.baseline

    def reached(design: Design, draw: xr.Dataset, predictor: float, _row: int) -> float:
        return chance_of(design, draw, predictor, reach, upwards=upwards)

    def improved(design: Design, draw: xr.Dataset, predictor: float, place: int) -> float:
        assert baseline is not None
        bound = baseline[place] + (threshold if upwards else -threshold)
        return chance_of(design, draw, predictor, bound, upwards=upwards)

    for value in (None, VALUE):
        by_arm = [looped(fit, outcome, 0, arm, value, expected) for arm in (0, 1, 2)]
        contrast = row(answer, "arm_contrast", "MCE-GE", value)
        assert contrast["mean"] == pytest.approx(by_arm[1] - by_arm[0], abs=1e-9)
        shares = [looped(fit, outcome, 0, arm, value, reached) for arm in (0, 1, 2)]
        assert min(shares) > 0.01
        for arm, share in zip(("GE", "MCE", "SMT"), shares, strict=True):
            assert row(answer, "share_reaching", arm, value)["mean"] == pytest.approx(share)
        difference = row(answer, "share_reaching_contrast", "SMT-MCE", value)
        assert difference["mean"] == pytest.approx(shares[2] - shares[1], abs=1e-9)
        # More patients who reach it are better, whichever end of the scale is.
        assert difference["prob_better"] == float(shares[2] > shares[1])
        if baseline is not None:
            share = looped(fit, outcome, 0, 1, value, improved)
            assert row(answer, "share_improved", "MCE", value)["mean"] == pytest.approx(share)
    assert answer.improvement == (baseline is not None)
    assert ("share_improved" in set(answer.table["quantity"])) == answer.improvement


def fixed(total: int, **parameters: Any) -> Any:
    """A posterior whose parameters are all known, repeated."""
    return lambda design: posterior_of(design, 1, total, parameters)


def test_shares_of_new_therapists_hold_the_therapists_variance() -> None:
    """The residual variance and that of therapists, in closed form: not the residual one alone."""
    residual, spread, total = 0.6, 0.8, 20_000
    posterior = fixed(total, beta={"arm[1]": 0.5}, residual_sd=residual, therapist_sd=spread)
    fit = fit_of(posterior=posterior, therapist="intercept")
    design, reach = fit.design("function"), 24.5  # where a whole score of 25 begins
    answer = decisions(fit["function"], Thresholds(reach=25), values=[VALUE], seed=3)
    mean, sd = design.scaling.outcome
    predictor = 0.5 / np.sqrt(2)  # the first arm of the orthonormal basis
    standard = (predictor - (reach - mean) / sd) / np.hypot(residual, spread)
    found = row(answer, "share_reaching", "GE", VALUE)
    exact = stats.norm.cdf(standard)
    error = found["sd"] / np.sqrt(total)
    assert found["mean"] == pytest.approx(exact, abs=4 * error)
    alone = stats.norm.cdf((predictor - (reach - mean) / sd) / residual)
    assert abs(alone - exact) > 20 * error  # what leaving the therapists out would give
    # The share differs between therapists, and the interval says so.
    quantiles = stats.norm.cdf(
        (standard * np.hypot(residual, spread) + spread * np.array(stats.norm.ppf([0.025, 0.975])))
        / residual
    )
    np.testing.assert_allclose([found["lower"], found["upper"]], quantiles, atol=0.02)


@pytest.mark.parametrize("family", ["gaussian", "student_t", "beta_binomial"])
def test_shares_agree_with_averages_over_new_therapists(family: str) -> None:
    """Drawn here, integrated by quadrature there."""
    total = 2000
    own = {
        "gaussian": {"residual_sd": 0.7},
        "student_t": {"residual_sd": 0.7, "degrees_of_freedom": 5.0},
        "beta_binomial": {"precision": 20.0},
    }[family]
    posterior = fixed(
        total,
        beta={"arm[1]": 0.3, "moderator": 0.3, "interaction[2]": 0.2, "baseline": 0.4},
        therapist_sd=0.5,
        therapist_slope_sd=0.2,
        therapist_correlation=0.3,
        **own,
    )
    fit = fit_of(posterior=posterior, family=family)
    answer = decisions(fit["function"], Thresholds(better_by=3), seed=4)
    other = average(fit["function"], therapist="new", thresholds=Thresholds(change=3))
    for arm, share in zip(other.table["arm"], other.table["prob_change"], strict=True):
        found = row(answer, "share_improved", arm)
        assert found["mean"] == pytest.approx(share, abs=4 * found["sd"] / np.sqrt(total))
        assert found["sd"] > 0.05  # therapists do differ


def test_one_new_therapist_treats_in_all_arms_and_at_all_values() -> None:
    """The therapists' common effect cancels from a difference far more than from two therapists."""
    posterior = fixed(2000, beta={}, residual_sd=0.6, therapist_sd=0.8)
    fit = fit_of(posterior=posterior, therapist="intercept")
    answer = decisions(fit["function"], Thresholds(reach=20), values=[VALUE])
    assert row(answer, "share_reaching", "GE", VALUE)["sd"] > 0.1
    assert row(answer, "share_reaching_contrast", "MCE-GE", VALUE)["sd"] < 1e-12
    again = decisions(fit["function"], Thresholds(reach=20), values=[VALUE])
    pd.testing.assert_frame_equal(answer.table, again.table)


def test_at_their_own_alliance_effects_are_those_of_the_summary() -> None:
    fit = fit_of("gpe", family="ordinal")
    answer = decisions(fit["gpe"], Thresholds(equivalence=(-1, 1)))
    summary = fit.summary().set_index(["quantity", "level"])
    for level in ("MCE-GE", "SMT-GE", "SMT-MCE"):
        told = summary.loc[("arm_contrast", level)]
        found = row(answer, "arm_contrast", level)
        for name in ("mean", "sd", "lower", "upper", "prob_positive"):
            assert found[name] == pytest.approx(told[name])


def test_chances_are_shares_of_draws() -> None:
    def many(design: Design) -> xr.Dataset:
        return therapist_posterior(design, chains=2, draws=100)

    fit = fit_of("function", many, better="lower")
    answer = decisions(
        fit["function"], Thresholds(better_by=2, equivalence=(-1, 3)), values=[VALUE]
    )
    from alliance.inference.answers.effects import effects_along

    curves = effects_along(fit["function"], values=[VALUE]).curves
    place = int(np.searchsorted(curves.moderator, VALUE))
    draws = curves.expected[:, 2, place] - curves.expected[:, 0, place]
    found = row(answer, "arm_contrast", "SMT-GE", VALUE)
    assert found["prob_better"] == pytest.approx((draws < 0).mean())
    assert found["prob_better_by"] == pytest.approx((draws <= -2).mean())
    assert found["prob_equivalent"] == pytest.approx(((draws > -1) & (draws < 3)).mean())
    assert 0 < found["prob_better_by"] < found["prob_better"] < 1


def test_without_values_the_quartiles_of_the_ratings_are_shown() -> None:
    fit = fit_of()
    answer = decisions(fit["function"], Thresholds(better_by=1))
    assert tuple(answer.table.columns) == COLUMNS
    ratings = fit["function"].rows.moderator
    shown = answer.table["moderator"].dropna().unique()
    np.testing.assert_allclose(shown, np.quantile(ratings, [0.25, 0.5, 0.75]))
    assert answer.table["moderator"].isna().any()


def test_nothing_has_a_default() -> None:
    with pytest.raises(InputError, match=r"Nothing is asked.*no threshold has a default"):
        decisions(fit_of()["function"], Thresholds())


def test_values_beyond_the_ratings_are_refused_or_marked() -> None:
    fit = fit_of()
    with pytest.raises(InputError, match="20 lies outside what was observed"):
        decisions(fit["function"], Thresholds(better_by=1), values=[20.0])
    answer = decisions(
        fit["function"], Thresholds(better_by=1), values=[20.0, VALUE], extrapolate=True
    )
    marked = answer.table.loc[answer.table["extrapolated"], "moderator"]
    assert set(marked) == {20.0}
    assert not answer.table.loc[answer.table["moderator"].isna(), "extrapolated"].any()
