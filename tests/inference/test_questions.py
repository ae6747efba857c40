"""The one question engine against brute force: patient by patient, term by term, from the draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from effect_fits import chance_of, draw_of, fit_of, mean_of
from numpy.typing import NDArray
from prediction_examples import one_predictor

from alliance.inference.posterior import Posterior, Rows
from alliance.inference.runs.fit import Fit
from alliance.inference.scores.questions import Question, expected
from alliance.inference.scores.single_scores import score_steps
from alliance.inference.scores.therapist_parts import (
    NEW,
    TherapistChoice,
    TherapistPart,
    therapist_part,
)
from alliance.inference.scores.thresholds import Thresholds
from alliance.models.design.design import Design
from alliance.models.spec import ModeratorSpec

Array = NDArray[np.float64]
Measure = Callable[[Design, xr.Dataset, float, Rows, int], float]

FEW = 4  # patients of the trial who are asked about
ARMS = (2, 0)
DRAWS = (5,)  # that are held against brute force
VALUES = np.array([70.0, 95.0])
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(41)  # 20 more than the engine's quadrature


def chance(score: str) -> Measure:
    """Brute force for a chance: at least 15 points, at most 12, 3 points of change."""

    def measure(design: Design, draw: xr.Dataset, predictor: float, rows: Rows, row: int) -> float:
        bound = {"at_least": 15.0, "at_most": 12.0}.get(score)
        if bound is None:
            assert rows.baseline is not None
            bound = rows.baseline[row] + 3.0
        return chance_of(design, draw, predictor, bound, upwards=score != "at_most")

    return measure


def score_expected(
    design: Design, draw: xr.Dataset, predictor: float, _rows: Rows, _row: int
) -> float:
    return mean_of(design, draw, predictor)


QUANTITIES: dict[str, tuple[Thresholds, Measure]] = {
    "expected": (Thresholds(), score_expected),
    "prob_at_least": (Thresholds(at_least=15.0), chance("at_least")),
    "prob_at_most": (Thresholds(at_most=12.0), chance("at_most")),
    "prob_reach": (Thresholds(reach=15.0), chance("at_least")),  # higher is better
    "prob_change": (Thresholds(change=3.0), chance("change")),
}


def answered(posterior: Posterior, eta: Array, rows: Rows, wanted: Thresholds) -> dict[str, Array]:
    found = expected(posterior, eta, rows)
    return found | wanted.chances(posterior, eta, rows, score_steps(posterior))


def brute(
    fit: Fit, rows: Rows, row: int, number: int, measure: Measure, who: str, part: TherapistPart
) -> float:
    """The quantity of one patient at one draw."""
    design, draw = fit.design("function"), draw_of(fit, "function", number)
    if who in ("own", "known"):
        k = fit.design("function").therapist_index[row] if who == "own" else 1
        predictor = one_predictor(design, draw, rows, row, design.therapists[k])
        return measure(design, draw, predictor, rows, row)
    predictor = one_predictor(design, draw, rows, row)
    mean, sd = design.scaling.moderator
    alliance = (rows.moderator[row] - mean) / sd
    if who == "new":
        intercept, slope = part.effect[number, 0]
        predictor += intercept + slope * alliance
    if who != "mean over new":
        return measure(design, draw, predictor, rows, row)
    u, v, rho = (float(draw[f"therapist_{name}"]) for name in ("sd", "slope_sd", "correlation"))
    spread = np.sqrt(u**2 + 2 * rho * u * v * alliance + v**2 * alliance**2)
    each = [measure(design, draw, predictor + spread * node, rows, row) for node in NODES]
    return float(np.array(each) @ WEIGHTS / WEIGHTS.sum())


@pytest.mark.parametrize("family", ["gaussian", "student_t", "beta_binomial"])
@pytest.mark.parametrize("who", ["average", "known", "own", "new", "mean over new"])
@pytest.mark.parametrize("name", QUANTITIES)
def test_an_answer_is_that_of_a_loop_over_patients(family: str, who: str, name: str) -> None:
    fit = fit_of(family=family)
    posterior, (wanted, measure) = fit["function"], QUANTITIES[name]
    patients = posterior.rows.chosen(np.arange(FEW))
    design = posterior.design
    own = tuple(design.therapists[k] for k in design.therapist_index[:FEW])
    choice = {
        "known": TherapistChoice.known(design.therapists[1]),
        "own": TherapistChoice("known", own),
        "new": NEW,
    }.get(who)
    part = None
    if choice is not None:
        part = therapist_part(posterior, choice, FEW, np.random.default_rng(1))
    asked = Question(posterior, patients, ARMS, therapists=(part,), over_new=who == "mean over new")

    def quantity(posterior: Posterior, eta: Array, rows: Rows) -> dict[str, Array]:
        return answered(posterior, eta, rows, wanted)

    each, mean = asked.each(quantity)[name], asked.averaged(quantity)[name]
    assert each.shape == (posterior.total, FEW, len(ARMS))
    for number in DRAWS:
        for k, arm in enumerate(ARMS):
            loop = [
                brute(fit, patients.in_arm(arm), row, number, measure, who, part)
                for row in range(FEW)
            ]
            # A quadrature of 21 nodes: exact to 1e-5 where the link is curved and effects are wide
            np.testing.assert_allclose(each[number, :, k], loop, rtol=1e-5, atol=1e-7)
            assert mean[number, k] == pytest.approx(np.mean(loop), rel=1e-5, abs=1e-7)
    if who in ("average", "known", "new"):
        along = asked.along(VALUES, quantity)[name]
        for g, value in enumerate(VALUES):
            there = patients.at_moderator(value).in_arm(ARMS[0])
            loop = [brute(fit, there, row, 5, measure, who, part) for row in range(FEW)]
            assert along[5, 0, g] == pytest.approx(np.mean(loop), rel=1e-8, abs=1e-9)


def test_weights_count_patients_and_own_arms_are_those_of_the_trial() -> None:
    posterior = fit_of(family="beta_binomial")["function"]
    patients, random = posterior.rows.chosen(np.arange(FEW)), np.random.default_rng(2)
    weights = random.integers(1, 4, FEW).astype(float)
    asked = Question(posterior, patients, weights=weights)
    each = asked.each(expected)["expected"][..., 0]
    found = asked.averaged(expected)["expected"][:, 0]
    np.testing.assert_allclose(found, each @ weights / weights.sum(), rtol=1e-12)
    repeated = patients.chosen(np.repeat(np.arange(FEW), weights.astype(int)))
    again = Question(posterior, repeated).averaged(expected)["expected"][:, 0]
    np.testing.assert_allclose(found, again, rtol=1e-12)
    for arm in set(patients.arm_index.tolist()):
        own = np.flatnonzero(patients.arm_index == arm)
        imagined = Question(posterior, patients.chosen(own), (arm,)).each(expected)["expected"]
        np.testing.assert_allclose(each[:, own], imagined[..., 0], rtol=1e-12)


def test_several_therapists_are_counted_alike() -> None:
    posterior = fit_of(family="student_t")["function"]
    patients = posterior.rows.chosen(np.arange(FEW))
    parts = tuple(
        therapist_part(posterior, TherapistChoice.known(name), FEW)
        for name in posterior.design.therapists
    )
    together = Question(posterior, patients, ARMS, therapists=parts).averaged(expected)
    alone = [
        Question(posterior, patients, ARMS, therapists=(part,)).averaged(expected)["expected"]
        for part in parts
    ]
    np.testing.assert_allclose(together["expected"], np.mean(alone, axis=0), rtol=1e-12)


def test_a_latent_alliance_is_that_of_the_draw() -> None:
    fit = fit_of("gpe", family="ordinal", moderator=ModeratorSpec(reliability=0.7))
    posterior = fit["gpe"]
    alliance = posterior.alliance()
    assert alliance.shape == (posterior.total, len(posterior.rows))
    found = Question(posterior, posterior.rows, (1,), alliance).each(expected)["expected"]
    mean, sd = posterior.design.scaling.moderator
    draw, rows = draw_of(fit, "gpe", 3), posterior.rows.in_arm(1)
    for row in (0, 17):
        there = rows.at_moderator(mean + sd * alliance[3, row])
        loop = mean_of(posterior.design, draw, one_predictor(posterior.design, draw, there, row))
        assert found[3, row, 0] == pytest.approx(loop, rel=1e-9)


@pytest.mark.parametrize("family", ["gaussian", "beta_binomial"])
def test_answers_do_not_depend_on_the_blocks(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    posterior = fit_of(family=family)["function"]
    asked = Question(posterior, posterior.rows, ARMS, over_new=True)
    whole = asked.each(expected)["expected"], asked.averaged(expected)["expected"]
    monkeypatch.setattr("alliance.inference.draws.summaries.BLOCK_NUMBERS", 300)
    assert len(list(asked.blocks())) > 3
    parts = asked.each(expected)["expected"], asked.averaged(expected)["expected"]
    for one, other in zip(parts, whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_a_curve_is_of_one_therapist_and_of_named_arms() -> None:
    posterior = fit_of()["function"]
    for changes in ({"arms": None}, {"over_new": True}):
        asked = replace(Question(posterior, posterior.rows, ARMS), **changes)
        with pytest.raises(ValueError, match="one therapist"):
            asked.along(VALUES, expected)


def test_the_score_itself_is_spread_around_the_expected_score() -> None:
    """Residuals of a Gaussian outcome have the draw's SD: a closed form for the score's spread."""
    from alliance.inference.answers.predictions import predict
    from alliance.inference.patients.asked_patients import patient_grid

    posterior = fit_of()["function"]
    many = patient_grid(posterior, alliance=[80.0], baseline=np.linspace(5, 20, 3_000))
    found = predict(posterior, many, arms=["GE"], therapist="average").draws
    assert found is not None
    apart = (found["outcome"] - found["expected"]).std("row").values.ravel()
    wanted = posterior.design.scale.unit * posterior.family_parameters["residual_sd"][:, 0]
    # Relative error of an SD of 3,000 scores: 1 / sqrt(6,000); four of these
    np.testing.assert_allclose(apart, wanted, rtol=4 / np.sqrt(6_000))
