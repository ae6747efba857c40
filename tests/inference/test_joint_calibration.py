"""Joint trials from the priors: what is drawn is what the outcomes show, and fits rank it."""

from __future__ import annotations

import numpy as np
import pytest

from data_prep.errors import InputError
from data_prep.imagined import imagined_patients
from data_prep.study import Study, find_study, narrowed, read_study
from inference.calibration_runs import calibration_questions, ranked
from inference.joint_calibration import JointQuestion, join_data, simulated_joint_trial
from inference.profiles import SamplerProfile
from models.joint import JointDesign
from models.priors import Priors
from models.spec import JOINT, specify


def joined(patients: int, therapists: int) -> tuple[Study, JointDesign]:
    study = narrowed(
        read_study(find_study("ferreira2013")), outcomes=["pain", "function"], joint=True
    )
    data = imagined_patients(study, patients, therapists, np.random.default_rng(1))
    return study, join_data(study, data, specify(study))


def test_true_parameters_are_those_of_the_outcomes() -> None:
    """6,000 patients of 300 therapists: coefficients and correlations as they were drawn."""
    _, joint = joined(6_000, 300)
    trial, truths, shared = simulated_joint_trial(joint, Priors(), np.random.default_rng(5))
    residuals = []
    for k, (name, design) in enumerate(trial.designs.items()):
        np.testing.assert_array_equal(trial.W[:, k, -1], design.y)
        truth = truths[name]
        X = design.X[:, design.present]
        found = np.linalg.lstsq(X, design.y, rcond=None)[0]
        spread = [float(truth[each].item()) for each in ("residual_sd", "therapist_sd")]
        # A coefficient's standard error, therapists' effects included: 4 of them
        error = 4 * (spread[0] / np.sqrt(6_000) * 2 + spread[1] / np.sqrt(300))
        np.testing.assert_allclose(found, truth["beta"].values[0, 0], atol=error)
        residuals.append(design.y - X @ truth["beta"].values[0, 0])
    own = np.stack(residuals)
    means = np.stack(
        [np.bincount(joint.therapist_index, weights=each) / 20 for each in own]
    )  # 20 patients of each
    within = own - means[:, joint.therapist_index]
    correlation = shared["residual_correlation"].item()
    # Slopes that differ between therapists are in both: they move it a little
    assert np.corrcoef(within)[0, 1] == pytest.approx(correlation, abs=0.08)


def test_a_joint_question_is_one_and_answers_for_every_outcome() -> None:
    study, _ = joined(60, 6)
    questions = calibration_questions(study, None, patients=60, therapists=6, seed=1, engine=None)
    assert list(questions) == [JOINT]
    assert isinstance(questions[JOINT], JointQuestion)
    with pytest.raises(InputError, match="instant engine does not fit a joint model"):
        calibration_questions(study, None, patients=60, therapists=6, seed=1, engine="instant")
    native = narrowed(read_study(find_study("ferreira2013")), joint=True, likelihood="native")
    with pytest.raises(InputError, match="one is ordinal"):
        calibration_questions(native, None, patients=60, therapists=6, seed=1, engine=None)


@pytest.mark.mcmc
def test_every_reported_quantity_is_ranked() -> None:
    study, joint = joined(60, 6)
    question = JointQuestion(joint, Priors(), SamplerProfile("ci", 2, 100, 100), seed=1)
    found = ranked({JOINT: question}, JOINT, 0)
    assert list(found) == [*study.outcomes, JOINT]
    assert ["therapist_sd", ""] in found["pain"]["labels"]
    assert ["residual_correlation", "function-pain"] in found[JOINT]["labels"]
    for ranks in found.values():
        assert all(0 < share < 1 for share in ranks["pit"])
    assert found == ranked({JOINT: question}, JOINT, 0)
