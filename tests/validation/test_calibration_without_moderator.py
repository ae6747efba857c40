"""Calibration of trials with arms without a moderator, and of plain ones, by the instant engine."""

from __future__ import annotations

import pytest
from trials_without import OUTCOME, a_frame, a_study

from alliance.data_prep.study.description import Study
from alliance.data_prep.trial.trial import trial_from_frame
from alliance.inference.many_fits.calibration import CalibrationQuestion, calibrate
from alliance.inference.many_fits.calibration_runs import calibration_questions

pytestmark = pytest.mark.validation

STUDIES = {
    "waiting list beside two therapies": a_study(),
    "waiting list beside one": a_study(arms=("WL", "CBT"), rated=("CBT",)),
    "plain": a_study(rated=None),
}
TRIALS = 300


@pytest.mark.parametrize("name", STUDIES)
def test_every_reported_quantity_is_calibrated(name: str) -> None:
    study: Study = STUDIES[name]
    trial = trial_from_frame(study, a_frame(arms=tuple(study.arms), rated=study.rated_arms))
    questions = calibration_questions(
        study, trial.data, patients=0, therapists=0, seed=7, engine=None
    )
    question = questions[OUTCOME]
    assert isinstance(question, CalibrationQuestion)
    found = calibrate(question, TRIALS)
    print(f"{name}: smallest p {found.p_values.min():.4f}, after Holm {found.adjusted.min():.3f}")
    assert found.passed
