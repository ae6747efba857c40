"""Posterior predictive checks: statistics against plain formulas, p-values, verdicts, advice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from effect_fits import PAIRS, fit_of
from numpy.typing import NDArray
from planted_misfits import OUTCOME, SCENARIOS, Scenario, described, planted_patients
from prediction_examples import posterior_of, therapist_posterior
from scipy import stats

from alliance.diagnostics.checks.family_advice import advice
from alliance.diagnostics.checks.predictive_checks import (
    COLUMNS,
    FALSE_ALARMS,
    MOST_OUTSIDE,
    PredictiveCheck,
    Realised,
    check_predictive,
    predictive_check,
)
from alliance.diagnostics.checks.predictive_statistics import Statistic, statistics_of
from alliance.diagnostics.verdicts import CheckResult, Verdict
from alliance.inference.draws.datatree import add_patients
from alliance.inference.pointwise.replicates import Replicates, replicate
from alliance.inference.runs.fit import Fit
from alliance.models.design.design import Design, build_design
from alliance.models.spec import ModelSpec, ModeratorSpec

Array = NDArray[np.float64]
EVERY = [*PAIRS, ("gpe", "ordinal_probit")]
SMALLEST: dict[str, Any] = {"therapist": "none", "interaction": False}

# Statistics --------------------------------------------------------------------------------------


def block_and_statistics(**options: Any) -> tuple[Replicates, dict[str, Statistic]]:
    fit = fit_of(**options)
    (block,) = replicate(fit["function"], number=8, seed=1)
    found = statistics_of(block.design, fit.study.outcomes["function"].range)
    return block, {statistic.name: statistic for statistic in found}


def test_which_statistics_a_model_gets() -> None:
    common = {"sd", "skewness", "tails", "minimum", "maximum", "floor", "ceiling"}
    common |= {"residual_sd_ratio"}
    full, intercept, smallest = (
        set(block_and_statistics(**options)[1])
        for options in ({}, {"therapist": "intercept"}, SMALLEST)
    )
    assert full == common | {"odd_therapist"}
    assert intercept == common | {"odd_therapist", "therapist_slopes"}
    assert smallest == common | {"arm_slopes", "therapist_means", "therapist_slopes"}


def test_shapes_are_those_of_scipy() -> None:
    block, found = block_and_statistics(**SMALLEST)
    residual = (block.drawn - block.expected.mean(axis=0)) / block.spread.mean()
    scores = block.drawn
    expected = {
        "sd": np.std(scores, axis=1, ddof=1),
        "skewness": stats.skew(residual, axis=1),
        "tails": stats.kurtosis(residual, axis=1, fisher=False),
        "minimum": scores.min(axis=1),
        "maximum": scores.max(axis=1),
        "floor": (np.abs(scores - 3) <= 0.5).mean(axis=1),  # function goes in whole points from 3
        "ceiling": (np.abs(scores - 30) <= 0.5).mean(axis=1),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name].value(block, scores), values, err_msg=name)


def test_arms_and_therapists_are_those_of_plain_formulas() -> None:
    block, found = block_and_statistics(**SMALLEST)
    design, fit = block.design, fit_of(**SMALLEST)
    arm = fit.patients("function")["arm_index"].values
    alliance = design.X[:, design.coefficients.index("moderator")]
    residual = (block.drawn[2] - block.expected[2]) / block.spread[2]
    table = pd.DataFrame(
        {"arm": arm, "therapist": design.therapist_index, "r": residual, "a": alliance}
    )
    sds = table.groupby("arm")["r"].std()
    means = table.groupby("therapist")["r"].agg(["mean", "size"])

    def slopes(by: str) -> float:
        fitted = {key: np.polyfit(rows["a"], rows["r"], 1)[0] for key, rows in table.groupby(by)}
        slope = pd.Series(fitted)
        weight = table.groupby(by)["a"].apply(lambda a: ((a - a.mean()) ** 2).sum())
        return float(np.cov(slope, aweights=weight, ddof=0))

    expected = {
        "residual_sd_ratio": sds.max() / sds.min(),
        "arm_slopes": slopes("arm"),
        "therapist_slopes": slopes("therapist"),
        "therapist_means": float(np.cov(means["mean"], fweights=means["size"], ddof=0)),
    }
    for name, value in expected.items():
        assert found[name].value(block, block.drawn)[2] == pytest.approx(value), name


def test_the_farthest_therapist_is_measured_in_spreads_of_new_ones() -> None:
    block, found = block_and_statistics()
    assert block.new is not None
    assert block.average is not None
    index = block.design.therapist_index
    spread, distance = [], []
    for therapist in np.unique(index):
        own = index == therapist
        spread.append((block.new - block.average)[:, own].mean(axis=1).std())
        distance.append(abs((block.observed - block.average[4])[own].mean()))
    value = found["odd_therapist"].value(block, block.observed[None])[4]
    assert value == pytest.approx(np.max(np.array(distance) / spread))


def test_arms_and_therapists_with_few_patients_are_left_out() -> None:
    block, found = block_and_statistics(**SMALLEST)
    index = block.design.therapist_index.copy()
    lone = np.flatnonzero(index == 0)[:2]
    design = replace(block.design, therapist_index=np.where(index == 0, 1, index))
    without = replace(block, design=design)
    index = design.therapist_index.copy()
    index[lone] = 0
    with_two = replace(block, design=replace(block.design, therapist_index=index))
    far = block.drawn.copy()
    far[:, lone] += 1e6  # would be seen, did it count
    means = found["therapist_means"].value
    assert means(with_two, far).max() < 1e3
    assert means(without, far).max() > 1e6


# P-values ----------------------------------------------------------------------------------------


def realised(observed: list[float], replicated: list[float], tail: Any = "both") -> Realised:
    statistic = Statistic("t", "c", "w", tail, lambda _, y: y)
    return Realised(statistic, np.array(observed), np.array(replicated))


def test_p_values_count_ties_by_half_and_are_never_zero() -> None:
    assert realised([1] * 9, [0, 0, 0, 1, 1, 2, 2, 2, 2]).upper_share == pytest.approx(5.5 / 10)
    assert realised([9] * 9, list(range(9))).p_value == pytest.approx(2 * 0.5 / 10)
    assert realised([-1] * 9, list(range(9))).p_value == pytest.approx(2 * 0.5 / 10)
    assert realised([-1] * 9, list(range(9)), "upper").p_value == pytest.approx(9.5 / 10)
    assert realised([5] * 3, [5] * 3).p_value == pytest.approx(1)


def one_draw(design: Design) -> xr.Dataset:
    return therapist_posterior(design, chains=1, draws=1)


@pytest.mark.parametrize(("outcome", "family"), EVERY)
def test_p_values_of_data_from_the_model_are_uniform_at_known_parameters(
    outcome: str, family: str
) -> None:
    """Each of 300 replicates in turn is taken for the data; mid-p then has mean 1/2 exactly, and
    where there are no ties 2% of the upper tails lie below .02.
    """
    options = {"interaction": False, "therapist": "intercept"}
    fit = fit_of(outcome, one_draw, family=family, **options)
    (block,) = replicate(fit[outcome], number=1500, seed=1)
    for statistic in statistics_of(block.design, fit.study.outcomes[outcome].range):
        scores = block.new if statistic.new_therapists else block.drawn
        values = statistic.value(block, scores)
        shares = np.array(
            [
                Realised(statistic, np.full(1500, value), values).upper_share
                for value in values[:300]
            ]
        )
        # The standard error of the mean of 300 uniform numbers is 0.017.
        assert shares.mean() == pytest.approx(0.5, abs=0.07), statistic.name
        if len(np.unique(values)) > 1400:
            assert stats.kstest(shares, "uniform").pvalue > 1e-4, statistic.name


# Verdicts ----------------------------------------------------------------------------------------


def linear_fit(scenario: Scenario, seed: int = 1, **fitted: Any) -> Fit:
    """A planted trial under a flat prior: draws of a linear model without therapist effects."""
    random = np.random.default_rng(seed)
    data = planted_patients(scenario, random)
    spec = ModelSpec(OUTCOME, **{"therapist": "none", **fitted})
    design = build_design(data, spec, scenario.limits)
    estimate, (rest,), _, _ = np.linalg.lstsq(design.X, design.y)
    freedom, number = len(design.y) - design.X.shape[1], 500
    sd = np.sqrt(rest / random.chisquare(freedom, number))
    root = np.linalg.cholesky(np.linalg.inv(design.X.T @ design.X))
    beta = estimate + sd[:, None] * (random.standard_normal((number, len(estimate))) @ root.T)
    parameters = {"beta": dict(zip(design.coefficients, beta.T, strict=True)), "residual_sd": sd}
    tree = xr.DataTree.from_dict({"posterior": posterior_of(design, 1, number, parameters)})
    add_patients(tree, data)
    return Fit(
        described(scenario.limits), {OUTCOME: spec}, {OUTCOME: tree}, pd.DataFrame(), {"seed": seed}
    )


def reviews(fit: Fit) -> dict[str, CheckResult]:
    results = check_predictive(fit[OUTCOME])
    assert {result.verdict for result in results} <= {Verdict.PASS, Verdict.REVIEW}
    assert {bool(result.recommendation) for result in results if result.verdict == "PASS"} <= {
        False
    }
    return {result.check: result for result in results if result.verdict == "REVIEW"}


@pytest.mark.parametrize("seed", range(10))
def test_clean_trials_pass(seed: int) -> None:
    clean = SCENARIOS["clean, smallest model"]
    assert reviews(linear_fit(clean, seed, interaction=False)) == {}


# Sizes beyond those of the validation lane, where detection rates are measured: every seed is seen.
LARGE = {
    "floor and ceiling": SCENARIOS["floor and ceiling"],
    "t3 residuals": replace(
        SCENARIOS["t3 residuals"], noise=lambda random, arm: random.standard_t(2, len(arm))
    ),
    "unequal residual SDs": SCENARIOS["unequal residual SDs"],
    "left-out interaction": replace(
        SCENARIOS["left-out interaction"], arm_slopes=(-0.8, 0.0, 0.8), therapist_slope_sd=0.0
    ),
    "left-out therapist effect": Scenario("therapist_means", therapist_sd=0.9),
    "left-out therapist slopes": Scenario("therapist_slopes", therapist_slope_sd=0.9),
}
EXPECTED = {
    "floor and ceiling": ("predictive_distribution", 'family = "ordinal" in the study file'),
    "t3 residuals": ("predictive_distribution", 'family = "student_t"'),
    "unequal residual SDs": ("predictive_arms", "residual_by_arm=True"),
    "left-out interaction": ("predictive_interaction", "`interaction=True`"),
    "left-out therapist effect": ("predictive_therapists", '`therapist="intercept"`'),
    "left-out therapist slopes": ("predictive_therapists", '`therapist="intercept+slope"`'),
}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", LARGE)
def test_planted_misfits_are_named_and_told_what_to_do(name: str, seed: int) -> None:
    interaction = name != "left-out interaction"
    found = reviews(linear_fit(LARGE[name], seed, interaction=interaction))
    check, remedy = EXPECTED[name]
    assert check in found
    assert remedy in found[check].recommendation
    assert found[check].worst.startswith(f"{OUTCOME}: ")
    value, review = found[check].value, found[check].review
    assert value is not None
    assert review is not None
    assert value < review


def test_far_scores_of_heavy_tails_are_not_put_down_to_the_range() -> None:
    """Whole scores far from the ends: what trips beside the kurtosis comes from the tails."""
    whole = replace(LARGE["t3 residuals"], scores=lambda y: np.round(500 + 10 * y))
    found = reviews(linear_fit(replace(whole, limits=(0.0, 1000.0))))["predictive_distribution"]
    assert "lowest score" in found.message or "highest score" in found.message
    assert "student_t" in found.recommendation
    assert "beta_binomial" not in found.recommendation


def test_scores_outside_the_range_are_judged_by_their_share() -> None:
    found = reviews(linear_fit(SCENARIOS["floor and ceiling"]))["predictive_range"]
    assert found.value is not None
    assert found.value > MOST_OUTSIDE == found.review
    assert "outside the range of 0 to 10 (more than 5%)" in found.message
    clean = check_predictive(linear_fit(SCENARIOS["clean, full model"])[OUTCOME])
    (passed,) = [result for result in clean if result.check == "predictive_range"]
    assert passed.verdict == Verdict.PASS
    assert "(no more than 5%)" in passed.message


def checked(outcome: str = "function", **options: Any) -> PredictiveCheck:
    return predictive_check(fit_of(outcome, **options)[outcome], number=200, seed=1)


@pytest.mark.parametrize(("outcome", "family"), EVERY)
def test_every_family_is_checked(outcome: str, family: str) -> None:
    check = checked(outcome, family=family)
    table = check.table
    assert list(table.columns) == list(COLUMNS)
    own = table[table["statistic"] != "outside"]
    assert own["p_value"].between(0, 1, inclusive="neither").all()
    assert check.limit == pytest.approx(FALSE_ALARMS / len(own))
    bounded = check.pictures.edges is not None and family not in ("gaussian", "student_t")
    assert (check.outside is None) == bounded
    assert table.drop(columns="p_value").notna().all(axis=None)


@pytest.mark.parametrize(
    "options",
    [
        {"moderator": ModeratorSpec("within_between", "impute", 0.7)},
        {"moderator": ModeratorSpec(ceiling=112.0)},
        {"therapist_by_arm": True, "therapist": "intercept"},
        SMALLEST,
    ],
)
def test_every_option_is_checked(options: dict[str, Any]) -> None:
    assert np.isfinite([item.p_value for item in checked(**options).realised]).all()


@pytest.mark.parametrize(
    ("outcome", "family", "statistic", "above", "told"),
    [
        ("function", "gaussian", "tails", True, 'family = "student_t"'),
        ("function", "student_t", "tails", False, 'family = "gaussian"'),
        ("function", "gaussian", "ceiling", True, "its own family, beta_binomial"),
        ("gpe", "gaussian", "skewness", True, "its own family, ordinal"),
        ("gpe", "gaussian", "outside", False, '`likelihood="native"`: it keeps'),
        ("gpe", "ordinal", "floor", True, "No other family here"),
        ("function", "gaussian", "odd_therapist", True, "alliance sensitivity"),
    ],
)
def test_advice_fits_the_family(
    outcome: str, family: str, statistic: str, above: bool, told: str
) -> None:
    assert told in advice(fit_of(outcome, family=family)[outcome], statistic, above=above)


@pytest.mark.parametrize(
    ("outcome", "told"),
    [("gpe", "in a joint model for one outcome"), ("function", "without `joint`")],
)
def test_advice_on_an_outcome_of_a_joint_model(outcome: str, told: str) -> None:
    joint = replace(fit_of(outcome), shared=xr.DataTree())
    assert told in advice(joint[outcome], "ceiling", above=True)


def test_advice_on_scores_in_steps_and_on_scores_without() -> None:
    fit = linear_fit(SCENARIOS["clean, full model"])
    assert "No family here" in advice(fit[OUTCOME], "skewness", above=True)
    halved = replace(
        SCENARIOS["clean, full model"], scores=lambda y: np.round(2 * (50 + 10 * y)) / 2
    )
    assert "in steps of 0.5" in advice(linear_fit(halved)[OUTCOME], "floor", above=True)


@pytest.mark.mcmc
def test_sampled_outcomes_with_equal_arms_and_normal_therapists(simulated_fit: Fit) -> None:
    """Scores are simulated with one residual SD for all arms and normal therapist effects."""
    for outcome in simulated_fit.outcomes:
        results = {result.check: result for result in check_predictive(simulated_fit[outcome])}
        assert set(results) == {
            "predictive_distribution",
            "predictive_range",
            "predictive_arms",
            "predictive_therapists",
        }
        assert results["predictive_arms"].verdict == Verdict.PASS
        assert results["predictive_therapists"].verdict == Verdict.PASS
