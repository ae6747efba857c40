"""How strong an unseen improvement would have to be: planted ones are recovered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import xarray as xr
from planted_misfits import ARMS, OUTCOME, QUICK, THERAPISTS, described

from alliance.data_prep.errors import InputError
from alliance.inference.answers.unseen_improvement import (
    Strength,
    UnseenImprovement,
    adjusted_estimate,
    adjusted_se,
    least_squares_slope,
    partial_r2,
    unseen_improvement,
)
from alliance.inference.draws.datatree import add_patients
from alliance.inference.runs.fit import Fit
from alliance.inference.sampling.sampling import sample_outcome
from alliance.models.design.design import build_design
from alliance.models.spec import ModelSpec, ModeratorSpec

PATIENTS, TRIALS = 400, 20
SHARE = 0.2  # of the alliance, and of what then remains of the outcome, that it explains
ALLIANCE_SD = 12.0


def improved_trial(seed: int, first_arms: float = 0.0) -> tuple[xr.Dataset, np.ndarray]:
    """The alliance does nothing; an improvement before its rating raises it and the score.

    With z and e of variance 1, alliance sqrt(.2) z + sqrt(.8) e has a share .2 of z; the score
    b z + c f has, given the alliance, b^2 .8 of z, and .2 of all with c^2 = 3.2 b^2.
    Such a share of the patients, if one is given, is in the first arm, the rest in the second.
    """
    random = np.random.default_rng([seed, 7])
    arm = random.permutation(PATIENTS) % ARMS
    if first_arms:
        arm = (random.permutation(PATIENTS) >= first_arms * PATIENTS).astype(int)
    therapist = random.permutation(PATIENTS) % THERAPISTS
    improvement, own, noise, baseline = random.standard_normal((4, PATIENTS))
    alliance = np.sqrt(SHARE) * improvement + np.sqrt(1 - SHARE) * own
    score = 4 * improvement + np.sqrt(3.2) * 4 * noise + 3 * baseline + 2 * arm
    score = score + 2.5 * random.standard_normal(THERAPISTS)[therapist]
    found = xr.Dataset(
        {
            "outcome": ("patient", 50 + score),
            "baseline": ("patient", 50 + 10 * baseline),
            "moderator": ("patient", 80 + ALLIANCE_SD * alliance),
            "arm_index": ("patient", arm),
            "therapist_index": ("patient", therapist),
            "covariates": (("patient", "covariate"), np.empty((PATIENTS, 0))),
        },
        coords={
            "arm": ["GE", "MCE", "SMT"][: arm.max() + 1],
            "therapist": [f"T{j}" for j in range(THERAPISTS)],
            "covariate": np.array([], dtype=str),
        },
    )
    return found, improvement


def improved_fit(
    seed: int, spec: ModelSpec | None = None, first_arms: float = 0.0
) -> tuple[Fit, np.ndarray]:
    data, improvement = improved_trial(seed, first_arms)
    limits, spec = (-100.0, 200.0), spec or ModelSpec(OUTCOME)
    tree, _ = sample_outcome(build_design(data, spec, limits), spec.priors, QUICK, seed)
    add_patients(tree, data)
    flow = pd.DataFrame({"outcome": [OUTCOME], "analysed": [PATIENTS]})
    manifest = {"seed": seed, "profile": QUICK.to_dict()}
    return Fit(described(limits), {OUTCOME: spec}, {OUTCOME: tree}, flow, manifest), improvement


@pytest.fixture(scope="module")
def found() -> list[UnseenImprovement]:
    return [unseen_improvement(improved_fit(seed)[0][OUTCOME]) for seed in range(TRIALS)]


def z(values: np.ndarray, truth: float) -> float:
    return float((values.mean() - truth) / (values.std(ddof=1) / np.sqrt(len(values))))


@pytest.mark.mcmc
def test_the_planted_improvement_carries_the_slope_to_zero(found: list[UnseenImprovement]) -> None:
    """z over 20 trials; a correct method exceeds 3.3 once in 1,000 times.

    The slope's prior (SD .3) pulls it in by 3%, which is 0.01 of these 0.2: it is allowed for.
    """
    planted = Strength(SHARE, SHARE)
    linear = np.array([float(adjusted_estimate(each.linear, SHARE, SHARE)) for each in found])
    posterior = np.array([each.moved(planted).mean() for each in found])
    seen = np.array([each.slope.mean() for each in found])
    assert seen.mean() > 5 * seen.std(ddof=1) / np.sqrt(TRIALS)  # without it there is a slope
    assert abs(z(linear, 0.0)) < 3.3
    assert abs(z(posterior + 0.03 * seen, 0.0)) < 3.3
    assert abs(z(np.array([each.robustness_value for each in found]), SHARE)) < 3.3
    assert abs(z(np.array([each.tipping_mean for each in found]) + 0.006, SHARE)) < 3.3


@pytest.mark.mcmc
def test_the_interval_holds_zero_as_often_as_it_says(found: list[UnseenImprovement]) -> None:
    """Moved by the planted strength, 95% intervals hold zero in 15 of 20 trials or more."""
    planted = Strength(SHARE, SHARE)
    held = 0
    for each in found:
        lower, upper = np.quantile(each.moved(planted), [0.025, 0.975])
        held += lower <= 0 <= upper
    assert held >= 15  # binomial(20, .95) lies below in 3 of 10,000


@pytest.mark.mcmc
def test_the_linear_answer_is_the_regression_with_the_improvement() -> None:
    fit, improvement = improved_fit(3)
    answer = unseen_improvement(fit[OUTCOME])
    design = fit.linear_design(OUTCOME)
    names = ["intercept", "arm[1]", "arm[2]", "baseline", "moderator"]  # one slope for all arms
    X = design.X[:, [design.coefficients.index(name) for name in names]]
    column = names.index("moderator")
    whole = np.column_stack([X, improvement])
    of_alliance = partial_r2(X[:, column], np.delete(whole, column, axis=1), [X.shape[1] - 1])
    of_outcome = partial_r2(design.y, whole, [X.shape[1]])
    long = least_squares_slope(whole, design.y, column)
    unit = design.scaling.outcome[1] / design.scaling.moderator[1]
    assert float(adjusted_estimate(answer.linear, of_alliance, of_outcome)) == pytest.approx(
        long.estimate * unit, rel=1e-9
    )
    assert float(adjusted_se(answer.linear, of_alliance, of_outcome)) == pytest.approx(
        long.se * unit, rel=1e-9
    )


@pytest.mark.mcmc
def test_only_what_is_named_is_taken_from_the_alliance() -> None:
    """Baseline and arm leave nearly all of it: the SD is the regression's on these two alone.

    With 85% of the patients in one arm the product of arm and alliance, were it removed too, would
    leave 1 - (.85 - .15)^2 = .51 of the variance.
    """
    fit, _ = improved_fit(4, ModelSpec(OUTCOME, therapist="none"), first_arms=0.85)
    answer = unseen_improvement(fit[OUTCOME])
    data = fit.patients(OUTCOME)
    named = np.column_stack(
        [np.ones(PATIENTS), data["arm_index"].values == 1, data["baseline"].values]
    )
    alliance = data["moderator"].values
    left = alliance - named @ np.linalg.lstsq(named, alliance, rcond=None)[0]
    remaining = np.sqrt(left @ left / (PATIENTS - 4))
    assert remaining > 0.97 * alliance.std(ddof=1)
    estimands = fit.estimands(OUTCOME)
    spread = estimands.isel(estimand=list(estimands["quantity"].values).index("residual_sd"))
    np.testing.assert_allclose(answer.unit, spread.values.ravel() / remaining, rtol=1e-9)
    # And the regression is the one with these columns and the alliance
    model = sm.OLS(data["outcome"].values, np.column_stack([named, alliance])).fit()
    assert answer.linear.estimate == pytest.approx(model.params[-1], rel=1e-9)
    assert answer.linear.se == pytest.approx(model.bse[-1], rel=1e-9)
    assert answer.linear.degrees_of_freedom == PATIENTS - 4


@pytest.mark.mcmc
def test_tipping_points_are_where_the_curve_reaches_zero() -> None:
    answer = unseen_improvement(improved_fit(1)[0][OUTCOME])
    at = answer.curve(np.array([0.0, answer.tipping_interval, answer.tipping_mean]))
    assert at["mean"].iloc[0] == pytest.approx(answer.slope.mean())
    assert at["lower"].iloc[1] == pytest.approx(0, abs=1e-3 * answer.slope.std())
    assert at["mean"].iloc[2] == pytest.approx(0, abs=1e-9)
    assert at["prob_same_sign"].is_monotonic_decreasing
    table = answer.table()
    assert list(table["benchmark"]) == ["nothing"] + ["baseline"] * 3
    assert list(table["times"]) == [0, 1, 2, 3]
    assert table["r2_outcome"].is_monotonic_increasing
    linear = answer.tipping_table().iloc[0]
    assert linear["linear_t"] == pytest.approx(linear["linear"] / linear["linear_se"])


@pytest.mark.mcmc
def test_a_slope_of_the_true_alliance_has_less_of_it_to_explain() -> None:
    """With a reliability of .7 the remaining variance lacks the noise: the unit of bias grows."""
    fit = improved_fit(2)[0]
    plain = unseen_improvement(fit[OUTCOME])
    spec = ModelSpec(OUTCOME, moderator=ModeratorSpec(reliability=0.7))
    true = unseen_improvement(replace(fit, specs={OUTCOME: spec})[OUTCOME])  # of the same draws
    # The remaining variance is near 1, of which .3 is noise
    assert float(true.unit.mean() / plain.unit.mean()) == pytest.approx(1 / np.sqrt(0.7), rel=0.03)


def test_what_cannot_be_answered_is_refused(made_fit: Fit) -> None:
    with pytest.raises(InputError, match="no outcome"):
        unseen_improvement(made_fit["nothing"])
    outcome = made_fit.outcomes[0]
    assert unseen_improvement(replace(made_fit, shared=xr.DataTree())[outcome]).patients > 0
