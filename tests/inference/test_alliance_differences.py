"""How much the alliance differs between therapists: formulas, coverage, and the model's answer."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from prediction_examples import example_fit
from scipy import stats

from alliance.inference.answers.averages import (
    Estimate,
    alliance_differences,
    from_ratings,
)
from alliance.inference.draws.datatree import draws_of, flat
from alliance.inference.posterior import Posterior

Array = NDArray[np.float64]


def by_label(found: list[Estimate]) -> dict[tuple[str, str], Estimate]:
    return {(estimate.quantity, estimate.level): estimate for estimate in found}


def test_with_groups_of_one_size_it_is_the_classical_analysis_of_variance() -> None:
    """Searle, Casella & McCulloch 1992, section 3.5-3.6: estimators and the exact F interval."""
    random = np.random.default_rng(1)
    groups, size = 6, 5
    ratings = random.normal(80, 10, (groups, size)) + random.normal(0, 8, (groups, 1))
    index = np.repeat(np.arange(groups), size)
    names = [f"T{k}" for k in range(groups)]
    found = by_label(from_ratings(ratings.ravel(), index, names, interval=0.9))
    between = size * ratings.mean(axis=1).var(ddof=1)
    within = ratings.var(axis=1, ddof=1).mean()
    sd = found["alliance_sd_between", ""]
    assert sd.mean == pytest.approx(np.sqrt((between - within) / size))
    assert found["alliance_sd_within", ""].mean == pytest.approx(np.sqrt(within))
    share = found["alliance_share", ""]
    assert share.mean == pytest.approx((between - within) / (between + (size - 1) * within))
    for limit, quantile in ((share.lower, 0.95), (share.upper, 0.05)):
        ratio = between / within / stats.f.ppf(quantile, groups - 1, groups * (size - 1))
        assert limit == pytest.approx((ratio - 1) / (ratio + size - 1))
    half = stats.t.ppf(0.95, groups * (size - 1)) * np.sqrt(within / size)
    for k, name in enumerate(names):
        mean = found["alliance_mean", name]
        assert mean.mean == pytest.approx(ratings[k].mean())
        assert (mean.lower, mean.upper) == pytest.approx((mean.mean - half, mean.mean + half))
    assert np.isnan(sd.sd)
    assert {estimate.source for estimate in found.values()} == {"ratings"}


SIZES = {
    "as in the 2013 trial": [2, 3, 5, 5, 8, 9, 10, 12, 14, 17, 19, 34],
    "half of the patients with one": [60, *[5] * 12],
    "many with one patient": [1] * 20 + [2] * 5 + [40, 40],
}
SHARES = (0.0, 0.02, 0.1, 0.4, 0.8)
FEW = (("as in the 2013 trial", 0.02), ("half of the patients with one", 0.0))
DESIGNS = [
    pytest.param(name, share, marks=() if (name, share) in FEW else pytest.mark.validation)
    for name in SIZES
    for share in SHARES
]
TRIALS = 600


@pytest.mark.parametrize(("sizes", "share"), DESIGNS)
def test_intervals_cover_what_they_promise_with_unequal_groups(sizes: str, share: float) -> None:
    """Simulated trials; therapists as unequal as they are in practice, and more so.

    Unweighted means in the place of the exact ratio cover .919 in the first design at a share of
    .02 (1,000 trials).
    """
    count = np.array(SIZES[sizes])
    groups = len(count)
    index = np.repeat(np.arange(groups), count)
    names = [str(k) for k in range(groups)]
    random, trials, within = np.random.default_rng(2), TRIALS, 12.0
    between = within * np.sqrt(share / (1 - share))
    truth = {
        "alliance_sd_between": between,
        "alliance_sd_within": within,
        "alliance_share": share,
    }
    covered = dict.fromkeys(truth, 0)
    means = 0
    for _ in range(trials):
        centres = random.normal(80, between, groups)
        ratings = centres[index] + random.normal(0, within, len(index))
        found = from_ratings(ratings, index, names)
        for estimate in found[groups:]:
            covered[estimate.quantity] += (
                estimate.lower <= truth[estimate.quantity] <= estimate.upper
            )
        means += sum(
            estimate.lower <= centre <= estimate.upper
            for estimate, centre in zip(found[:groups], centres, strict=True)
        )
    # 4 binomial SDs. An interval that is cut off at zero holds a true zero whenever its lower limit
    # does (97.5%). That of the SD between is conservative.
    exact, slack = 0.95 if share else 0.975, 4 * np.sqrt(0.95 * 0.05 / trials)
    assert abs(covered["alliance_sd_within"] / trials - 0.95) < slack
    assert abs(means / trials / groups - 0.95) < slack
    assert abs(covered["alliance_share"] / trials - exact) < slack
    assert 0.95 - slack < covered["alliance_sd_between"] / trials <= 1


def test_the_share_is_that_given_arms_and_baseline() -> None:
    """The interval against the dense F statistic it is defined by, and coverage with predictors.

    Therapists treat in one arm each, whose alliances are 1.5 SD apart: no part of the share.
    """
    random = np.random.default_rng(7)
    count = np.array([2, 3, 5, 8, 13, 21, 4, 4, 9, 11])
    index = np.repeat(np.arange(10), count)
    arm = (index % 2).astype(float)
    share, covered, trials = 0.2, 0, 300
    for trial in range(trials):
        baseline = random.normal(size=len(index))
        X = np.column_stack([np.ones(len(index)), arm, baseline])
        own = np.sqrt(share / (1 - share)) * random.normal(size=10)
        ratings = 1.5 * arm + 0.5 * baseline + own[index] + random.normal(size=len(index))
        found = by_label(from_ratings(ratings, index, list("abcdefghij"), predictors=X))
        estimate = found["alliance_share", ""]
        covered += estimate.lower <= share <= estimate.upper
        if trial or not estimate.lower:
            continue
        Z = np.eye(10)[index]
        whole = np.column_stack([X, Z])
        left = ratings - whole @ np.linalg.lstsq(whole, ratings, rcond=None)[0]
        levels = np.linalg.matrix_rank(whole) - 3
        freedom = len(index) - levels - 3
        for value, quantile in ((estimate.lower, 0.975), (estimate.upper, 0.025)):
            V = np.eye(len(index)) + value / (1 - value) * Z @ Z.T
            W = np.linalg.inv(V)
            beta = np.linalg.solve(X.T @ W @ X, X.T @ W @ ratings)
            squares = (ratings - X @ beta) @ W @ (ratings - X @ beta)
            statistic = (squares - left @ left) / levels / (left @ left / freedom)
            assert statistic == pytest.approx(stats.f.ppf(quantile, levels, freedom), rel=1e-6)
    assert abs(covered / trials - 0.95) < 4 * np.sqrt(0.95 * 0.05 / trials)


def test_with_no_spread_within_therapists_all_of_it_is_between_them() -> None:
    index = np.repeat(np.arange(3), 2)
    found = by_label(from_ratings(np.array([1.0, 2.0, 4.0])[index], index, ["a", "b", "c"]))
    assert found["alliance_share", ""].mean == pytest.approx(1.0)


def test_therapists_without_ratings_or_with_one_are_told_as_far_as_possible() -> None:
    ratings, index = np.array([80.0, 90.0, 70.0, 85.0]), np.array([0, 0, 1, 3])
    found = by_label(from_ratings(ratings, index, ["a", "b", "c", "d"]))
    assert found["alliance_mean", "b"].mean == 70
    assert np.isfinite(found["alliance_mean", "b"].upper)  # by the SD of the others
    assert np.isnan(found["alliance_mean", "c"].mean)
    assert np.isfinite(found["alliance_share", ""].upper)
    alone = by_label(from_ratings(np.array([80.0, 90.0]), np.array([0, 1]), ["a", "b"]))
    assert alone["alliance_mean", "a"].mean == 80
    assert np.isnan(alone["alliance_mean", "a"].lower)
    assert np.isnan(alone["alliance_share", ""].mean)


def test_where_the_model_has_a_part_for_the_alliance_it_answers() -> None:
    fit = example_fit(alliance="within_between")
    design = fit.design("function")
    draws = draws_of(fit.trees["function"])
    ratings = fit.patients("function")["moderator"].values
    found = by_label(alliance_differences(Posterior(design, draws), ratings))
    centre, unit = design.scaling.moderator
    between = unit * flat(draws, "moderator_therapist_sd")
    within = unit * flat(draws, "moderator_residual_sd")
    share = found["alliance_share", ""]
    assert found["alliance_sd_between", ""].mean == pytest.approx(between.mean())
    assert share.mean == pytest.approx((between**2 / (between**2 + within**2)).mean())
    assert share.source == "posterior"
    means = centre + unit * flat(draws, "moderator_therapist_mean")[:, 2]
    mean = found["alliance_mean", design.therapists[2]]
    assert (mean.mean, mean.sd) == pytest.approx((means.mean(), means.std(ddof=1)))
    assert (mean.lower, mean.upper) == pytest.approx(np.quantile(means, [0.025, 0.975]))
