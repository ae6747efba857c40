"""How much the alliance differs between therapists: formulas, coverage, and the model's answer."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from prediction_examples import example_fit
from scipy import stats

from inference.alliance_differences import Estimate, alliance_differences, from_ratings
from inference.datatree import posterior
from inference.expected_scores import flat

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


@pytest.mark.parametrize("between", [0.0, 3.0, 8.0])
def test_intervals_cover_what_they_promise_with_unequal_groups(between: float) -> None:
    """1,000 simulated trials of 12 therapists with 2 to 34 patients, as the 2013 trial had."""
    sizes = np.array([2, 3, 5, 5, 8, 9, 10, 12, 14, 17, 19, 34])
    index = np.repeat(np.arange(12), sizes)
    names = [str(k) for k in range(12)]
    random, trials, within = np.random.default_rng(2), 1000, 12.0
    truth = {
        "alliance_sd_between": between,
        "alliance_sd_within": within,
        "alliance_share": between**2 / (between**2 + within**2),
    }
    covered = dict.fromkeys(truth, 0)
    means = 0
    for _ in range(trials):
        centres = random.normal(80, between, 12)
        ratings = centres[index] + random.normal(0, within, len(index))
        found = from_ratings(ratings, index, names)
        for estimate in found[12:]:
            covered[estimate.quantity] += (
                estimate.lower <= truth[estimate.quantity] <= estimate.upper
            )
        means += sum(
            estimate.lower <= centre <= estimate.upper
            for estimate, centre in zip(found[:12], centres, strict=True)
        )
    # 95% of 1,000 trials: 4 binomial SDs are 2.8%. The interval of the SD between is
    # conservative, both are approximate with unequal groups, and an interval that is cut off at
    # zero holds a true zero whenever its lower limit does (97.5%).
    assert abs(covered["alliance_sd_within"] / trials - 0.95) < 0.028
    assert abs(means / trials / 12 - 0.95) < 0.028
    assert 0.922 < covered["alliance_share"] / trials < 0.995
    assert 0.922 < covered["alliance_sd_between"] / trials <= 1


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
    draws = posterior(fit.trees["function"])
    ratings = fit.patients("function")["moderator"].values
    found = by_label(alliance_differences(design, draws, ratings))
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
