"""Calibration where the alliance differs by arm and goes with baseline and covariate, by NUTS.

A ceiling is compiled anew for each trial, whose ratings at the ceiling are others, and takes most
of the time.
"""

from __future__ import annotations

import numpy as np
import pytest
from alliance_trials import OPTIONS, fitted_without_predictors, question_of

from alliance.inference.many_fits.calibration import Calibration, calibrate, simulated_trial
from alliance.models.design.ratings import predictor_columns

pytestmark = pytest.mark.validation

TRIALS = 300
PLANTED = 60  # enough for a model without predictors to fail


def told(name: str, found: Calibration) -> None:
    worst = found.table.sort_values("p_value").iloc[0]
    print(
        f"{name}: {len(found.pit)} trials, {len(found.labels)} quantities, smallest p "
        f"{worst['p_value']:.2g} ({worst['quantity']} {worst['level']}), after Holm "
        f"{found.adjusted.min():.2g}, {found.divergent} trials with divergences"
    )


@pytest.mark.parametrize("name", OPTIONS)
def test_every_reported_quantity_is_calibrated(name: str) -> None:
    found = calibrate(question_of(name), TRIALS)
    told(name, found)
    assert found.passed


@pytest.mark.parametrize("name", ["mismeasured", "within and between"])
def test_an_alliance_that_nothing_predicts_is_found(name: str) -> None:
    with fitted_without_predictors():
        found = calibrate(question_of(name, strong=True), PLANTED)
    told(f"{name}, nothing predicts the alliance", found)
    assert not found.passed


@pytest.mark.parametrize("name", OPTIONS)
def test_simulated_ratings_go_with_arm_baseline_and_covariate(name: str) -> None:
    """Over trials the regression of ratings has the spread that the priors of its slopes have."""
    question = question_of(name)
    columns = predictor_columns(question.design)
    names = [question.design.coefficients[k] for k in columns]
    assert {"intercept", "baseline", "arm[1]", "arm[2]", "covariate[age]"} == set(names)
    slopes = []
    for number in range(200):
        trial = simulated_trial(
            question.design, question.priors, np.random.default_rng([13, number])
        ).design
        seen = ~trial.moderator_missing
        rating = trial.X[seen, trial.coefficients.index("moderator")]
        slopes.append(np.linalg.lstsq(trial.X[seen][:, columns], rating, rcond=None)[0])
    # SD .5 by the prior; a ceiling takes some of it away, noise adds to it
    spread = np.std(slopes, axis=0)
    assert (spread > 0.25).all(), dict(zip(names, spread, strict=True))
