"""Joint trials from the priors: what is drawn is what the outcomes show, and fits rank it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from alliance.data_prep.errors import InputError
from alliance.data_prep.simulator.inputs import imagined_patients
from alliance.data_prep.study.description import Study, find_study, narrowed, read_study
from alliance.inference.many_fits.calibration_runs import (
    JointQuestion,
    calibration_questions,
    ranked,
    simulated_joint_trial,
)
from alliance.inference.sampling.joint import join_data
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.models.joint.joint import JointDesign
from alliance.models.priors import Priors
from alliance.models.spec import JOINT, specify


def joined(
    patients: int, therapists: int, outcomes: Sequence[str] = ("pain", "function")
) -> tuple[Study, JointDesign]:
    study = narrowed(
        read_study(find_study("ferreira2013")),
        outcomes=outcomes,
        joint=True,
        likelihood="native" if "gpe" in outcomes else "published",
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


def test_therapists_intercepts_and_slopes_correlate_as_their_truth_says() -> None:
    """Least squares in 1,500 therapists of 40 patients, and their own error taken off."""
    _, joint = joined(60_000, 1_500)
    priors = Priors(therapist_sd=2.0, therapist_slope_sd=2.0, residual_sd=0.3)
    trial, truths, _ = simulated_joint_trial(joint, priors, np.random.default_rng(7))
    order = np.argsort(joint.therapist_index, kind="stable")
    breaks = np.cumsum(np.bincount(joint.therapist_index, minlength=1_500))[:-1]
    for k, (name, truth) in enumerate(truths.items()):
        design = trial.designs[name]
        left = trial.W[:, k, -1] - design.X[:, design.present] @ truth["beta"].values[0, 0]
        solved, error = [], np.zeros((2, 2))
        for rows in np.split(order, breaks):
            Z = joint.Z[rows]
            if len(rows) < 10:
                continue
            inverse = np.linalg.inv(Z.T @ Z)
            solved.append(inverse @ Z.T @ left[rows])
            error += truth["residual_sd"].item() ** 2 * inverse
        covariance = np.cov(np.array(solved).T) - error / len(solved)
        found = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
        expected = truth["therapist_correlation"].item()
        # Standard error of a correlation of 1,500 pairs, (1 - r^2) / sqrt(1500) < .026, 4 times
        assert found == pytest.approx(expected, abs=0.1)
    sizes = [abs(truth["therapist_correlation"].item()) for truth in truths.values()]
    assert max(sizes) > 0.3  # which independence would not meet


def test_categories_are_as_frequent_as_the_cutpoints_say() -> None:
    """Over 400 therapists; a therapist's patients are alike, so each therapist counts once."""
    _, joint = joined(8_000, 400, ("pain", "gpe"))
    assert joint.ordinal == list(joint.designs).index("gpe")
    trial, truths, _ = simulated_joint_trial(joint, Priors(), np.random.default_rng(6))
    design, truth = trial.designs["gpe"], truths["gpe"]
    assert "residual_sd" not in truth
    assert "cutpoint" not in truths["pain"]
    # Latent normal of SD 1 around coefficients, and around them what varies between therapists
    moderator = design.X[:, design.coefficients.index("moderator")]
    own, slope = (truth[name].item() for name in ("therapist_sd", "therapist_slope_sd"))
    spread = np.sqrt(1 + own**2 + (slope * moderator) ** 2)
    eta = design.X[:, design.present] @ truth["beta"].values[0, 0]
    for category, cutpoint in enumerate(truth["cutpoint"].values[0, 0], start=1):
        difference = (design.y >= category) - stats.norm.sf((cutpoint - eta) / spread)
        sums = np.bincount(design.therapist_index, weights=difference)
        assert abs(sums.mean()) < 4 * sums.std(ddof=1) / np.sqrt(len(sums)) + 1e-9


def test_a_joint_question_is_one_and_answers_for_every_outcome() -> None:
    study, _ = joined(60, 6)
    questions = calibration_questions(study, None, patients=60, therapists=6, seed=1, engine=None)
    assert list(questions) == [JOINT]
    assert isinstance(questions[JOINT], JointQuestion)
    with pytest.raises(InputError, match="instant engine does not fit a joint model"):
        calibration_questions(study, None, patients=60, therapists=6, seed=1, engine="instant")


@pytest.mark.mcmc
@pytest.mark.parametrize("outcome", ["function", pytest.param("gpe", marks=pytest.mark.validation)])
def test_every_reported_quantity_is_ranked(outcome: str) -> None:
    study, joint = joined(60, 6, ("pain", outcome))
    question = JointQuestion(joint, Priors(), SamplerProfile("ci", 2, 100, 100), seed=1)
    found = ranked({JOINT: question}, JOINT, 0)
    assert list(found) == [*study.outcomes, JOINT]
    assert ["therapist_sd", ""] in found["pain"]["labels"]
    assert ["residual_correlation", f"{outcome}-pain"] in found[JOINT]["labels"]
    for ranks in found.values():
        assert all(0 < share < 1 for share in ranks["pit"])
    assert found == ranked({JOINT: question}, JOINT, 0)  # from a model compiled before
