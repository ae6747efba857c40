"""Chances of whole scores under continuous laws: unit intervals, steps, ends of the scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from effect_fits import fit_of
from example_families import LIMITS, family_design
from numpy.typing import NDArray
from prediction_examples import posterior_of, therapist_posterior
from scipy import stats

from alliance.inference.answers.averages import average
from alliance.inference.answers.decisions import decisions
from alliance.inference.answers.predictions import predict
from alliance.inference.draws.datatree import add_patients
from alliance.inference.patients.asked_patients import patient_grid
from alliance.inference.posterior import Posterior
from alliance.inference.runs.fit import Fit
from alliance.inference.scores.single_scores import (
    ScoreSteps,
    common_step,
    heaped_ends,
    score_steps,
)
from alliance.inference.scores.thresholds import Thresholds
from alliance.models.design.design import Design

Array = NDArray[np.float64]


@pytest.mark.parametrize(
    ("scores", "limits", "step"),
    [
        ([0, 3, 10, 7], (0, 10), 1.0),
        ([-5, 2, 4, 5], (-5, 5), 1.0),
        ([0, 20, 50, 100], (0, 100), 10.0),
        ([1.0, 1.4, 4.8, 2.2], (1, 5), 0.2),  # means of five items
        ([k * 100 / 24 for k in (0, 1, 7, 24)], (0, 100), 100 / 24),  # percent of a sum
        ([0.5, 3.0, 99.0], (0, 100.25), 0.5),  # the range's own end is no score
        ([3, 12, 44], (0, 63), 1.0),
        ([0.123, 3.4567, 7.1], (0, 10), 0.0),
        ([0.0, 1.0, 7.3333333], (0, 10), 1 / 3),
        ([1.0, 3000.0, 2.0], (0, 10_000), 0.0),  # half a step would be 1/20000 of the range
        ([5.0, 5.0], (0, 10), 5.0),
        ([0.0, 0.0], (0, 10), 0.0),
    ],
)
def test_the_step_is_the_largest_that_all_scores_are_made_of(
    scores: list[float], limits: tuple[float, float], step: float
) -> None:
    for unit in (1.0, 1e-9, 1e9):  # and in any unit
        own = unit * np.array([*scores, np.nan])
        found = common_step(own, (unit * limits[0], unit * limits[1]))
        assert found == pytest.approx(unit * step, rel=1e-6)
    single = np.array(scores, dtype=np.float32).astype(float)
    assert common_step(single, limits) == pytest.approx(step, rel=1e-6)


def law(design: Design, auxiliary: dict[str, Array], eta: Array) -> stats.rv_continuous:
    place = design.scale.offset + design.scale.unit * eta
    spread = design.scale.unit * auxiliary["residual_sd"]
    if design.family.name == "gaussian":
        return stats.norm(place, spread)
    return stats.t(auxiliary["degrees_of_freedom"], place, spread)


@pytest.mark.parametrize("family", ["gaussian", "student_t"])
@pytest.mark.parametrize(("step", "low"), [(1.0, 0.0), (10.0, -20.0), (0.25, 3.0)])
def test_a_score_is_what_lies_nearer_to_it_than_to_others(
    family: str, step: float, low: float
) -> None:
    design = family_design(family)
    auxiliary = Posterior(design, therapist_posterior(design)).family_parameters
    steps = ScoreSteps(low, low + 40 * step, step)
    bounds = low + step * np.array([0.0, 1.0, 2.5, 17.0, 17.4, 39.0, 40.0])
    centre = (bounds - design.scale.offset) / design.scale.unit
    eta = centre + np.random.default_rng(3).normal(0, 1, (8, len(bounds)))
    exact = law(design, auxiliary, eta)
    at_least = steps.chance_at_least(design, auxiliary, eta, bounds)
    at_most = steps.chance_at_most(design, auxiliary, eta, bounds)
    # Between two scores, those at or above begin half a step under the next one
    lower = low + step * (np.array([0.0, 1.0, 3.0, 17.0, 18.0, 39.0, 40.0]) - 0.5)
    upper = low + step * (np.array([0.0, 1.0, 2.0, 17.0, 17.0, 39.0, 40.0]) + 0.5)
    np.testing.assert_allclose(at_least[:, 1:], exact.sf(lower)[:, 1:], rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(at_most[:, :-1], exact.cdf(upper)[:, :-1], rtol=1e-9, atol=1e-14)
    # Every score is at least the lowest and at most the highest one, and none lies beyond
    assert (at_least[:, 0] == 1).all()
    assert (at_most[:, -1] == 1).all()
    beyond = np.array([low - step, low + 41 * step])
    two = eta[:, :2]
    np.testing.assert_array_equal(
        steps.chance_at_most(design, auxiliary, two, beyond), [[0.0, 1.0]] * 8
    )
    np.testing.assert_array_equal(
        steps.chance_at_least(design, auxiliary, two, beyond), [[1.0, 0.0]] * 8
    )


@pytest.mark.parametrize("family", ["gaussian", "student_t"])
def test_chances_of_all_scores_add_up(family: str) -> None:
    """At most k and at least k + 1 are one, whatever k: no half point is lost or counted twice."""
    design = family_design(family)
    auxiliary = Posterior(design, therapist_posterior(design)).family_parameters
    steps, scores = ScoreSteps(-5.0, 5.0, 1.0), np.arange(-5.0, 5.0)
    eta = np.random.default_rng(4).normal(size=(8, len(scores)))
    below = steps.chance_at_most(design, auxiliary, eta, scores)
    above = steps.chance_at_least(design, auxiliary, eta, scores + 1)
    np.testing.assert_allclose(below + above, 1.0, rtol=1e-12)


def pain_fit(seed: int = 1, *, whole: bool = True, patients: int = 4000) -> Fit:
    """Pain from 0 to 10, lower is better; draws are the least-squares truth, repeated.

    The law is normal with SD 1.8 around .45 times the baseline plus 2 (arms .4 apart), and recorded
    as the nearest whole number within the scale.
    """
    fit = fit_of("function", therapist="none", interaction=False, better="lower")
    random = np.random.default_rng(seed)
    arm = random.integers(0, 3, patients)
    baseline = np.clip(np.round(random.normal(6.5, 1.6, patients)), 2, 10)
    mean = 2.0 + 0.45 * baseline - 0.4 * arm
    score = mean + 1.8 * random.standard_normal(patients)
    if whole:
        score = np.clip(np.round(score), 0, 10)
    data = xr.Dataset(
        {
            "outcome": ("patient", score),
            "baseline": ("patient", baseline),
            "moderator": ("patient", random.normal(80, 12, patients)),
            "arm_index": ("patient", arm),
            "therapist_index": ("patient", np.zeros(patients, dtype=int)),
            "covariates": (("patient", "covariate"), np.empty((patients, 0))),
        },
        coords={"arm": ["GE", "MCE", "SMT"], "therapist": ["T1"], "covariate": np.array([], str)},
    )
    limits = (0.0, 10.0) if whole else (-30.0, 40.0)
    described = fit.study.outcomes["function"].model_copy(update={"range": limits})
    study = fit.study.model_copy(update={"outcomes": {"function": described}})
    tree = xr.DataTree()
    add_patients(tree, data)
    found = replace(fit, study=study, trees={"function": tree}, manifest={"seed": 1})
    design = found.design("function")
    columns = [k for k, name in enumerate(design.coefficients) if name.split("[")[0] != "covariate"]
    beta, rest, *_ = np.linalg.lstsq(design.X[:, columns], design.y, rcond=None)
    names = [design.coefficients[k] for k in columns]
    sd = float(np.sqrt(rest[0] / patients))
    known = posterior_of(
        design, 2, 10, {"beta": dict(zip(names, beta, strict=True)), "residual_sd": sd}
    )
    tree["posterior"] = xr.DataTree(known)
    return found


def share(fit: Fit, quantity: str, thresholds: Thresholds) -> float:
    table = decisions(fit["function"], thresholds).table
    own = table[(table["quantity"] == quantity) & table["moderator"].isna()]
    return float(own["mean"].mean())


def test_shares_of_whole_scores_are_those_of_the_trial() -> None:
    """4,000 patients: reaching a score, and improving by 2, hold against the counted shares.

    Standard errors of the counted shares are .008 at most; without the half point the model's
    shares are .03 to .11 too low.
    """
    fit = pain_fit()
    data = fit.patients("function")
    score, baseline = data["outcome"].values, data["baseline"].values
    for reach in (2.0, 4.0, 7.0):
        told = share(fit, "share_reaching", Thresholds(reach=reach))
        assert told == pytest.approx((score <= reach).mean(), abs=0.025)
    told = share(fit, "share_improved", Thresholds(better_by=2.0))
    assert told == pytest.approx((baseline - score >= 2).mean(), abs=0.025)
    # A score between two whole ones is the lower of them
    assert share(fit, "share_reaching", Thresholds(reach=4.5)) == pytest.approx(
        share(fit, "share_reaching", Thresholds(reach=4.0)), rel=1e-12
    )


def test_predict_decide_and_averages_count_alike() -> None:
    fit = pain_fit(patients=300)
    wanted = Thresholds(at_most=3, at_least=6, change=2)
    asked = patient_grid(fit["function"], baseline=[7.0])
    found = predict(fit["function"], asked, thresholds=wanted, therapist="average")
    design, draws = fit.design("function"), fit.trees["function"]["posterior"].dataset
    spread = design.scale.unit * float(draws["residual_sd"][0, 0])
    exact = stats.norm(found.table["expected"], spread)
    np.testing.assert_allclose(found.table["prob_at_most"], exact.cdf(3.5))
    np.testing.assert_allclose(found.table["prob_at_least"], exact.sf(5.5))
    np.testing.assert_allclose(found.table["prob_change"], exact.cdf(5.5))  # at least 1.5 fewer
    assert "steps of 1" in found.counted.steps
    averages = average(fit["function"], therapist="average", thresholds=Thresholds(at_most=3))
    table = decisions(fit["function"], Thresholds(reach=3)).table
    own = table[(table["quantity"] == "share_reaching") & table["moderator"].isna()]
    np.testing.assert_allclose(averages.table["prob_at_most"], own["mean"])


def test_scores_without_steps_keep_their_law() -> None:
    fit = pain_fit(whole=False, patients=300)
    assert score_steps(fit["function"]).step == 0
    asked = patient_grid(fit["function"])
    found = predict(fit["function"], asked, thresholds=Thresholds(at_most=3), therapist="average")
    design, draws = fit.design("function"), fit.trees["function"]["posterior"].dataset
    spread = design.scale.unit * float(draws["residual_sd"][0, 0])
    exact = stats.norm(found.table["expected"], spread).cdf(3)
    np.testing.assert_allclose(found.table["prob_at_most"], exact)
    assert found.counted.steps == ""
    assert decisions(fit["function"], Thresholds(better_by=0.5)).counted.ends == ()


def test_a_discrete_family_has_chances_of_its_own() -> None:
    fit = fit_of("function", family="beta_binomial")
    assert score_steps(fit["function"]).step == 0
    assert heaped_ends(fit["function"]) == ()
    assert LIMITS["beta_binomial"] == (3.0, 30.0)


def test_an_end_that_holds_more_than_the_normal_gives_is_named() -> None:
    """A third of the patients moved to the floor; the model's share is the unit interval's."""
    fit = pain_fit()
    assert heaped_ends(fit["function"]) == ()  # recorded normal scores: no more than expected
    data = fit.patients("function").copy(deep=True)
    moved = np.random.default_rng(2).random(data.sizes["patient"]) < 0.33
    data["outcome"] = ("patient", np.where(moved, 0.0, data["outcome"].values))
    tree = xr.DataTree()
    add_patients(tree, data)
    tree["posterior"] = xr.DataTree(fit.trees["function"]["posterior"].dataset)
    heaped = replace(fit, trees={"function": tree})
    (end,) = heaped_ends(heaped["function"])
    assert end.lowest
    assert end.score == 0
    assert end.observed == pytest.approx((data["outcome"].values == 0).mean())
    assert end.expected < end.observed - 0.1
    (told,) = decisions(heaped["function"], Thresholds(reach=1)).counted.ends
    assert "lowest score, 0" in told
    assert f"{end.observed:.0%}" in told
