"""Averages over patients and over therapists: where they differ, and each against brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from prediction_examples import example_fit, one_predictor, posterior_of, with_posterior
from scipy import special, stats

from alliance.data_prep.errors import InputError
from alliance.inference.answers.averages import average
from alliance.inference.answers.predictions import predict
from alliance.inference.draws.datatree import draws_of
from alliance.inference.estimands.compared_at import average_response
from alliance.inference.patients.asked_patients import patient_grid, trial_patients
from alliance.inference.posterior import Posterior
from alliance.inference.runs.fit import Fit
from alliance.inference.scores.thresholds import Thresholds
from alliance.models.design.design import Design

Array = NDArray[np.float64]


def expected_scores(design: Design, draw: xr.Dataset, predictor: Array) -> Array:
    """On the outcome's own scale, from the family's formula; for each predictor."""
    scale = design.scale
    eta = scale.link_location + scale.link_unit * predictor
    if design.family.name == "gaussian":
        return scale.offset + scale.unit * eta
    if design.family.name == "beta_binomial":
        return scale.offset + scale.top * special.expit(eta)
    return scale.offset + special.expit(eta[:, None] - draw["cutpoint"].values).sum(axis=1)


def chances(design: Design, draw: xr.Dataset, predictor: Array, threshold: float) -> Array:
    """Of a score of at least so much, from scipy; for each predictor."""
    scale = design.scale
    eta = scale.link_location + scale.link_unit * predictor
    if design.family.name == "gaussian":
        score = scale.offset + scale.unit * eta
        # Scores are whole: this one begins half a point below
        return stats.norm.sf(threshold - 0.5, score, scale.unit * float(draw["residual_sd"]))
    if design.family.name == "beta_binomial":
        share, precision = special.expit(eta), float(draw["precision"])
        law = stats.betabinom(scale.top, share * precision, (1 - share) * precision)
        return law.sf(threshold - scale.offset - 1)
    return special.expit(eta - draw["cutpoint"].values[int(threshold - scale.offset) - 1])


# The trapezoidal rule is exact to machine precision for smooth functions under a normal density.
STANDARD = np.linspace(-8, 8, 401)
WEIGHTS = stats.norm.pdf(STANDARD) / stats.norm.pdf(STANDARD).sum()
COARSE = stats.norm.pdf(STANDARD[::8]) / stats.norm.pdf(STANDARD[::8]).sum()


def brute_force(
    fit: Fit, outcome: str, patients: Any, arm: int, therapist: str, threshold: float
) -> tuple[Array, Array]:
    """Mean expected score and share above a threshold in each draw: loop over loop."""
    design, draws = fit.design(outcome), draws_of(fit.trees[outcome])
    rows = patients.rows.in_arm(arm)
    means, shares = [], []
    for chain, number in np.ndindex(draws.sizes["chain"], draws.sizes["draw"]):
        draw = draws.isel(chain=chain, draw=number)
        found = []
        for k in range(len(rows)):
            if therapist == "new":
                parts = []
                for alliance, weight in new_means(design, draw):
                    spread = np.sqrt(therapist_spread(design, draw, rows, k, alliance))
                    centre = one_predictor(design, draw, rows, k, own_mean=alliance)
                    parts.append((centre + spread * STANDARD, weight * WEIGHTS))
                predictors, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
            else:
                known = {
                    "average": [None],
                    "known": list(design.therapists),
                    "own": [design.therapists[design.therapist_index[k]]],
                }.get(therapist, [therapist])
                predictors = np.array(
                    [one_predictor(design, draw, rows, k, name) for name in known]
                )
                weights = np.full(len(known), 1 / len(known))
            found.append(
                (
                    weights @ expected_scores(design, draw, predictors),
                    weights @ chances(design, draw, predictors, threshold),
                )
            )
        mean, share = np.mean(found, axis=0)
        means.append(mean)
        shares.append(share)
    return np.array(means), np.array(shares)


def new_means(design: Design, draw: xr.Dataset) -> list[tuple[float, float]]:
    """Mean alliances of new therapists with their weights; their patients in arms as the trial's.

    The first predictor of the alliance is the intercept, and all but the arms are zero on average.
    """
    if "moderator_slope_between" not in draw:
        return [(0.0, 1.0)]
    names = [name for name in design.coefficients if name != "baseline" or design.has_baseline]
    names = [name for name in names if name.split("[")[0] not in ("moderator", "interaction")]
    gamma = dict(zip(names, draw["moderator_coefficient"].values, strict=True))
    centre = gamma["intercept"]
    for name in names:
        if name.startswith("arm["):
            centre += gamma[name] * design.X[:, design.coefficients.index(name)].mean()
    sd = float(draw["moderator_therapist_sd"])
    return [(centre + sd * z, w) for z, w in zip(STANDARD[::8], COARSE, strict=True)]


def therapist_spread(
    design: Design, draw: xr.Dataset, rows: Any, row: int, alliance: float = 0.0
) -> float:
    """Variance of the predictor between new therapists of one mean alliance, entry by entry."""
    mean, sd = design.scaling.moderator
    at = (rows.moderator[row] - mean) / sd - alliance
    u, v = float(draw["therapist_sd"]), float(draw["therapist_slope_sd"])
    return u**2 + 2 * float(draw["therapist_correlation"]) * u * v * at + v**2 * at**2


THERAPISTS = ("new", "known", "average")
CASES = [
    ("published", "function", "total", 15.0),
    ("native", "function", "total", 15.0),
    ("native", "gpe", "total", 2.0),
    ("published", "function", "within_between", 15.0),
]


@pytest.mark.parametrize(("likelihood", "outcome", "alliance", "threshold"), CASES)
@pytest.mark.parametrize("therapist", ["new", "known", "own", "average", "T03"])
def test_averages_over_the_trials_patients_are_those_of_loops(
    likelihood: str,
    outcome: str,
    alliance: str,
    threshold: float,
    therapist: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("alliance.inference.draws.summaries.BLOCK_NUMBERS", 300)  # several blocks
    fit = example_fit(likelihood, chains=1, draws=2, alliance=alliance)
    patients = trial_patients(fit[outcome])
    found = average(
        fit[outcome],
        patients,
        therapist=therapist,
        arms=["MCE", "GE"],
        thresholds=Thresholds(at_least=threshold, better_by=0.5),
    )
    assert found.table["arm"].tolist() == ["GE", "MCE"]
    assert found.table["patients"].tolist() == [len(patients)] * 2
    assert found.table["moderator"].isna().all()
    expected = {}
    for arm, row in zip((0, 1), found.table.to_dict("records"), strict=True):
        mean, share = brute_force(fit, outcome, patients, arm, therapist, threshold)
        drawn = found.draws.isel(row=arm)
        # The quadrature of the chance of a Gaussian outcome is not exact to more digits.
        np.testing.assert_allclose(drawn["expected"].values.ravel(), mean, rtol=1e-6)
        np.testing.assert_allclose(drawn["prob_at_least"].values.ravel(), share, atol=1e-5)
        assert row["expected"] == pytest.approx(mean.mean(), rel=1e-6)
        limits = (row["prob_at_least_lower"], row["prob_at_least_upper"])
        assert limits == pytest.approx(np.quantile(share, [0.025, 0.975]), abs=1e-5)
        expected[arm] = (mean, share)
    [line] = found.contrasts.to_dict("records")
    mean, share = (expected[1][k] - expected[0][k] for k in (0, 1))
    assert line["contrast"] == "MCE-GE"
    assert line["expected"] == pytest.approx(mean.mean(), rel=1e-5)
    assert line["prob_at_least"] == pytest.approx(share.mean(), abs=1e-5)
    assert line["prob_positive"] == np.mean(mean > 0)
    assert line["prob_better_by"] == np.mean(mean >= 0.5)


@pytest.mark.parametrize("therapist", ["new", "average"])
def test_arm_effects_that_vary_between_therapists_are_integrated_too(therapist: str) -> None:
    """At the means: the variance of arm effects joins that of intercepts, whatever the arm."""
    fit = example_fit("native", chains=1, draws=3, therapist_by_arm=True)
    design, draws = fit.design("gpe"), draws_of(fit.trees["gpe"])
    patients = patient_grid(fit["gpe"])
    found = average(fit["gpe"], patients, therapist=therapist)
    for number in range(3):
        draw = draws.isel(chain=0, draw=number)
        for arm in range(3):
            predictor = one_predictor(design, draw, patients.rows.in_arm(arm), 0)
            variance = 0.0
            if therapist == "new":
                # Squares of a row of the sum-to-zero basis of K arms sum to 1 - 1 / K.
                variance = float(draw["therapist_arm_sd"]) ** 2 * (1 - 1 / 3)
                variance += therapist_spread(design, draw, patients.rows, 0)
            predictors = predictor + np.sqrt(variance) * STANDARD
            value = WEIGHTS @ expected_scores(design, draw, predictors)
            got = found.draws["expected"].values[0, number, arm]
            assert got == pytest.approx(value, rel=1e-6)


def curved_fit() -> Fit:
    """A bounded score whose scale is steep: patients and therapists differ much."""
    fit = example_fit("native")
    design = fit.design("function")
    parameters = {
        "beta": {"baseline": 2.0, "moderator": 1.0, "intercept": 0.8},
        "precision": 10.0,
        "therapist_sd": 1.5,
        "therapist_slope_sd": 0.2,
    }
    draws = posterior_of(design, 1, 2, parameters)
    random = np.random.default_rng(4)
    shape = (1, 2, len(design.therapists), 2)
    effects = np.broadcast_to(random.normal(0, 1.5, shape[2:]), shape)
    draws = draws.assign_coords(therapist=list(design.therapists), effect=list(design.effects))
    draws["therapist_effect"] = (("chain", "draw", "therapist", "effect"), effects)
    return with_posterior(fit, "function", draws)


def test_it_matters_over_whom_is_averaged_where_the_link_is_curved() -> None:
    """Every one of these is right for its question; see the tests against loops."""
    fit = curved_fit()
    low, high = fit.study.outcomes["function"].range
    grid = patient_grid(fit["function"], baseline=[8, 14, 20])
    sets = {
        "trial": trial_patients(fit["function"]),
        "grid": grid,
        "means": patient_grid(fit["function"]),
    }
    found = {
        (whom, therapist): average(fit["function"], patients, therapist=therapist)
        .table["expected"]
        .iloc[0]
        for whom, patients in sets.items()
        for therapist in THERAPISTS
    }
    for whom in sets:  # at least a tenth of a point apart; the scale has 27
        assert min(np.diff(sorted(found[whom, name] for name in THERAPISTS))) > 0.1, found
    for name in THERAPISTS:
        assert min(np.diff(sorted(found[whom, name] for whom in sets))) > 0.1, found
    # Therapists who differ pull the mean of a score towards the middle of its scale (Jensen).
    middle = (low + high) / 2
    for whom in ("trial", "means"):
        new, ordinary = found[whom, "new"], found[whom, "average"]
        assert middle < new < ordinary


def test_it_does_not_matter_for_a_gaussian_outcome() -> None:
    fit = example_fit()
    patients = trial_patients(fit["function"], alliance=[80.0])
    new, ordinary = (
        average(fit["function"], patients, therapist=name).draws["expected"].values
        for name in ("new", "average")
    )
    at_means = average(fit["function"], patient_grid(fit["function"], alliance=[80.0]))
    np.testing.assert_allclose(new, ordinary, rtol=1e-12)
    np.testing.assert_allclose(at_means.draws["expected"].values, ordinary, rtol=1e-12)


@pytest.mark.parametrize("likelihood", ["published", "native"])
def test_one_new_therapist_and_the_mean_over_new_ones_have_one_mean_and_two_spreads(
    likelihood: str,
) -> None:
    """A single therapist's deviation is in the interval of a prediction, not in an average's."""
    fit = example_fit(likelihood, draws=5000)
    patients = patient_grid(fit["function"])
    one = predict(fit["function"], patients, therapist="new").table
    mean = average(fit["function"], patients, therapist="new").table
    # The difference is that of 10,000 deviations of one therapist from the mean over all.
    error = np.sqrt(one["expected_sd"] ** 2 - mean["expected_sd"] ** 2) / np.sqrt(10_000)
    assert (np.abs(one["expected"] - mean["expected"]) < 4 * error).all()
    assert (one["expected_sd"] > mean["expected_sd"] + 5 * error).all()


@pytest.mark.parametrize("setting", ["impute", "reliability"])
def test_an_alliance_that_is_a_parameter_is_averaged_as_the_model_has_it(setting: str) -> None:
    """Against the averages of the reported quantities, which are themselves held against loops."""
    changes: dict[str, Any] = (
        {"missing_alliance": "impute"} if setting == "impute" else {"reliability": True}
    )
    for likelihood, outcome in (("published", "function"), ("native", "gpe")):
        fit = example_fit(likelihood, **changes)
        found = average(fit[outcome], therapist="average")
        response = average_response(Posterior(fit.design(outcome), draws_of(fit.trees[outcome])))
        got = found.draws["expected"].values.reshape(-1, 3)
        np.testing.assert_allclose(got, response["expected"], rtol=1e-10)


def test_named_values_of_the_alliance_give_one_average_each() -> None:
    fit = example_fit("native")
    found = average(fit["function"], trial_patients(fit["function"], alliance=[80, 95]))
    assert found.table["moderator"].tolist() == 3 * [80] + 3 * [95]
    assert found.contrasts["moderator"].tolist() == 3 * [80] + 3 * [95]
    alone = average(fit["function"], trial_patients(fit["function"], alliance=[95]))
    np.testing.assert_allclose(
        found.draws["expected"].values[..., 3:], alone.draws["expected"].values, rtol=1e-12
    )
    beyond = trial_patients(fit["function"], alliance=[20, 95], extrapolate=True)
    assert average(fit["function"], beyond).table["extrapolated"].tolist() == 3 * [True] + 3 * [
        False
    ]


def test_one_arm_has_no_contrasts() -> None:
    found = average(example_fit()["gpe"], arms=["SMT"])
    assert found.table["arm"].tolist() == ["SMT"]
    assert len(found.contrasts) == 0


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"therapist": "T9"}, "no therapist 'T9'"),
        ({"arms": ["XX"]}, "no arm 'XX'"),
        ({"thresholds": Thresholds(at_least=99)}, "at least 99"),
        ({"interval": 0.0}, "0 is not between"),
    ],
)
def test_bad_queries_are_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        average(example_fit()["gpe"], **changes)
    grid = patient_grid(example_fit()["gpe"])
    with pytest.raises(InputError, match="without therapists of their own"):
        average(example_fit()["gpe"], grid, therapist="own")
