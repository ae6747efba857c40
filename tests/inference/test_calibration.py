"""Simulation-based calibration: what it ranks, what it says, what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from example_families import family_design

from alliance.data_prep.errors import InputError
from alliance.inference.many_fits.calibration import (
    Calibration,
    CalibrationQuestion,
    _share_below,
    calibrate,
    simulated_trial,
)
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.models.priors import Priors

PRIORS = Priors()
SHORT = SamplerProfile("ci", chains=2, draws=200, tune=200)
LABELS = (("intercept", ""), ("moderator_slope", "average"))


def made(pit: np.ndarray) -> Calibration:
    return Calibration("pain", LABELS, pit, np.zeros_like(pit), np.ones_like(pit))


def test_even_shares_pass_and_shifted_or_narrow_ones_fail() -> None:
    random = np.random.default_rng(1)
    even = random.random((400, 2))
    assert made(even).passed
    shifted = even.copy()
    shifted[:, 1] = shifted[:, 1] ** 1.4  # true values lie low in their posteriors
    assert not made(shifted).passed
    narrow = even.copy()  # posteriors too narrow: true values in their tails
    narrow[:, 0] = 0.5 + np.sign(narrow[:, 0] - 0.5) * np.abs(narrow[:, 0] - 0.5) ** 0.6 * 0.5**0.4
    found = made(narrow)
    assert not found.passed
    table = found.table.set_index("quantity")
    assert table.loc["intercept", "covered_50"] < 0.4 < table.loc["moderator_slope", "covered_50"]
    assert (table["p_adjusted"] >= table["p_value"]).all()
    curve = found.curve("intercept")
    outside = (curve["share"] < curve["lower"]) | (curve["share"] > curve["upper"])
    assert outside.any()
    with pytest.raises(InputError, match="No quantity"):
        found.curve("nothing")


@pytest.mark.validation
def test_false_alarms_are_as_rare_as_they_are_said_to_be() -> None:
    """400 calibrated analyses of two quantities; binomial(400, .01) is over 12 once in 2,000."""
    random = np.random.default_rng(2)
    assert sum(not made(random.random((100, 2))).passed for _ in range(400)) <= 12


def test_ranks_of_draws_from_the_same_distribution_are_even() -> None:
    random = np.random.default_rng(3)
    shares = np.concatenate(
        [
            _share_below(random.normal(size=(400, 5)), random.normal(size=5), random)
            for _ in range(400)
        ]
    )
    assert 0 < shares.min() < 0.01
    assert 0.99 < shares.max() < 1
    # standard error of 2,000 even shares' mean: .0065
    assert shares.mean() == pytest.approx(0.5, abs=0.026)


def test_trials_have_other_outcomes_and_the_same_patients() -> None:
    design = family_design("gaussian")
    first, again, other = (
        simulated_trial(design, PRIORS, np.random.default_rng(seed)) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first.design.X, design.X)
    np.testing.assert_array_equal(first.design.y, again.design.y)
    assert first.draws.identical(again.draws)
    assert not np.array_equal(first.design.y, other.design.y)
    ordinal = simulated_trial(family_design("ordinal"), PRIORS, np.random.default_rng(1)).design
    assert set(np.unique(ordinal.y)) <= set(range(5))


def test_ratings_with_a_model_are_simulated_too() -> None:
    """Missing ones stay missing; none lies above the ceiling; the true ones are kept."""
    design = family_design("gaussian", "impute")
    trial = simulated_trial(design, PRIORS, np.random.default_rng(2))
    moderator = design.coefficients.index("moderator")
    missing = design.moderator_missing
    assert missing.any()
    assert (trial.design.X[missing, moderator] == 0).all()
    assert (trial.design.X[~missing, moderator] != design.X[~missing, moderator]).all()
    assert trial.draws["latent_patient"].values.tolist() == np.flatnonzero(missing).tolist()
    arm = design.coefficients.index("arm[1]")
    both = trial.design.X[:, arm] * trial.design.X[:, moderator]
    np.testing.assert_allclose(
        trial.design.X[:, design.coefficients.index("interaction[1]")], both, atol=1e-12
    )


def test_instant_posteriors_are_calibrated_and_wrong_priors_are_found() -> None:
    """80 trials without therapists; a slope's prior a tenth as wide in the model fails at once."""
    design = family_design("gaussian", therapist="none")
    told: list[tuple[int, int]] = []
    question = CalibrationQuestion(design, PRIORS, SHORT, seed=3, engine="instant")
    found = calibrate(question, 80, progress=lambda done, total: told.append((done, total)))
    assert found.passed
    assert told[-1] == (80, 80)
    assert found.pit.shape == (80, len(found.labels))
    tight = replace(PRIORS, moderator_slope=PRIORS.moderator_slope / 10)
    wrong = calibrate(replace(question, fitted=tight), 80)
    assert not wrong.passed
    failed = {wrong.labels[k][0] for k in np.flatnonzero(wrong.adjusted < 0.01)}
    assert "moderator_slope" in failed


def test_what_cannot_be_calibrated_is_refused() -> None:
    design = family_design("gaussian")
    with pytest.raises(InputError, match="one or more"):
        calibrate(CalibrationQuestion(design, PRIORS, SHORT), 0)
    with pytest.raises(InputError, match="fewer than"):
        CalibrationQuestion(design, PRIORS, replace(SHORT, draws=50))
