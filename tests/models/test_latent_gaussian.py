"""Therapist effects integrated out given a latent alliance: against the dense normal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from option_trials import patients_of
from scipy import stats

from alliance.models.design.design import Design, build_design
from alliance.models.gaussian.gaussian_draws import GaussianDraws
from alliance.models.latent_ratings import draw_latent_effects, latent_gaussian_model
from alliance.models.patient_level import patient_level_model
from alliance.models.priors import Priors

NAMES = ("beta", "residual_sd", "therapist_sd", "therapist_slope_sd", "therapist_correlation")
BETWEEN = ("moderator_therapist_mean", "moderator_slope_between", "moderator_interaction_between")
ALLIANCE = ("moderator_latent", *BETWEEN)


@pytest.fixture(params=["impute", "reliability", "ceiling", "within_between", "therapist_by_arm"])
def design(request: pytest.FixtureRequest) -> Design:
    """Every way an alliance is latent, also with slopes taken apart or arm effects that vary."""
    option = request.param if request.param in ("reliability", "ceiling") else "impute"
    patients = patients_of(option)
    moderator = patients.spec.moderator
    if request.param == "within_between":
        moderator = replace(moderator, structure="within_between", between_interaction=True)
    spec = replace(
        patients.spec,
        therapist="intercept+slope",
        moderator=moderator,
        therapist_by_arm=request.param == "therapist_by_arm",
    )
    generator = np.random.default_rng(1)
    scores = ("patient", generator.normal(size=patients.data.sizes["patient"]))
    return build_design(patients.data.assign(outcome=scores), spec)


def parameters(design: Design) -> dict[str, NDArray]:
    """The model's log likelihood and parameters at a random point, SDs away from zero."""
    model = latent_gaussian_model(design, Priors())
    names = [name for name in (*NAMES, "therapist_arm_sd", *ALLIANCE) if name in model.named_vars]
    wanted = [model["log_likelihood_sum"], *(model[name] for name in names)]
    generator = np.random.default_rng(2)
    point = {
        name: start + generator.normal(0, 0.3, np.shape(start))
        for name, start in model.initial_point().items()
    }
    outputs = model.replace_rvs_by_values(wanted)
    function = model.compile_fn(outputs, inputs=model.value_vars, mode="FAST_COMPILE")
    return dict(zip(["log_likelihood", *names], function(point), strict=True))


def moderator_of(design: Design, at: dict[str, NDArray]) -> NDArray:
    value = design.X[:, design.coefficients.index("moderator")].copy()
    model = patient_level_model(design, Priors())
    value[list(model.coords["latent_patient"])] = at["moderator_latent"]
    return value


def dense(design: Design, at: dict[str, NDArray]) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Residuals, their covariance, the effects' loadings (n, J q) and prior covariance."""
    moderator, X = moderator_of(design, at), design.X.copy()
    arms = [k for k, name in enumerate(design.coefficients) if name.startswith("arm[")]
    between = np.zeros(len(X))
    if "moderator_slope_between" in at:
        means = at["moderator_therapist_mean"][design.therapist_index]
        slopes = at["moderator_slope_between"] + X[:, arms] @ at["moderator_interaction_between"]
        moderator, between = moderator - means, slopes * means
    for column, factor in zip(design.moderator_columns, [1.0, *design.X[:, arms].T], strict=True):
        X[:, column] = moderator * factor
    residual = design.y - X @ at["beta"] - between
    sd, slope_sd, correlation = (float(at[name]) for name in NAMES[2:])
    own = np.zeros((len(design.effects),) * 2)
    own[:2, :2] = [[sd**2, sd * slope_sd * correlation], [sd * slope_sd * correlation, slope_sd**2]]
    for k in range(2, len(design.effects)):
        own[k, k] = float(at["therapist_arm_sd"]) ** 2
    therapists = len(design.therapists)
    belongs = design.therapist_index[:, None] == np.arange(therapists)
    loadings = (belongs[:, :, None] * X[:, None, design.effect_columns]).reshape(len(X), -1)
    prior = np.kron(np.eye(therapists), own)
    covariance = loadings @ prior @ loadings.T + float(at["residual_sd"]) ** 2 * np.eye(len(X))
    return residual, covariance, loadings, prior


def test_likelihood_is_that_of_the_dense_normal(design: Design) -> None:
    at = parameters(design)
    residual, covariance, *_ = dense(design, at)
    expected = stats.multivariate_normal(cov=covariance).logpdf(residual)
    # Two ways of solving the same systems, of as many rows as there are patients.
    assert float(at["log_likelihood"]) == pytest.approx(expected, rel=1e-10)


def test_effects_are_drawn_from_their_conditional_normal(design: Design) -> None:
    at, draws = parameters(design), 4_000
    residual, covariance, loadings, prior = dense(design, at)
    weight = prior @ loadings.T @ np.linalg.inv(covariance)
    mean, spread = weight @ residual, prior - weight @ loadings @ prior
    repeated = {
        name: np.repeat(np.asarray(at[name])[None], draws, axis=0)
        for name in (*NAMES, "therapist_arm_sd", *BETWEEN)
        if name in at
    }
    moderator = np.repeat(moderator_of(design, at)[None], draws, axis=0)
    drawn = draw_latent_effects(
        design, GaussianDraws(**repeated), moderator, np.random.default_rng(3)
    ).reshape(draws, -1)
    sd = np.sqrt(np.diag(spread))
    z = (drawn.mean(axis=0) - mean) / (sd / np.sqrt(draws))
    assert np.abs(z).max() < 4.5  # of at most 36 z-scores
    # A sample correlation or relative variance has a standard error of at most sqrt(2 / 4,000).
    assert np.abs((np.cov(drawn.T) - spread) / np.outer(sd, sd)).max() < 4.5 * np.sqrt(2 / draws)
