"""Arm effects between therapists, alliance within and between: exact against dense matrices.

Given the parameters, everything that differs between therapists (their effects u and, where the
alliance is taken apart, their true mean alliance m) is normal, and outcomes and ratings depend on
it linearly. One dense normal distribution of all outcomes and ratings is therefore the reference,
and conditioning it gives that of u and m.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from example_designs import (
    example_design,
    example_patients,
    prior_draws,
    random_effects_matrix,
    therapist_covariance,
    unconstrained,
)
from numpy.typing import NDArray
from scipy import stats
from scipy.linalg import block_diag

from models.design import Design
from models.exact_gaussian import exact_gaussian_model
from models.gaussian_draws import GaussianDraws, draw_therapist_effects, therapist_log_likelihood
from models.patient_level import patient_level_model
from models.priors import Priors
from models.spec import ModeratorSpec

APART = {"moderator": ModeratorSpec(structure="within_between")}
BY_ARM = {"therapist_by_arm": True}
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "intercept, by arm": ("intercept", BY_ARM),
    "intercept and slope, by arm": ("intercept+slope", BY_ARM),
    "none, alliance apart": ("none", APART),
    "intercept, alliance apart": ("intercept", APART),
    "intercept and slope, alliance apart": ("intercept+slope", APART),
    "everything": ("intercept+slope", APART | BY_ARM),
}
DRAWS = 20_000
LARGEST_Z = 4.5  # of some 300 z-scores, one exceeds it in 500 runs


@pytest.fixture(params=OPTIONS)
def design(request: pytest.FixtureRequest) -> Design:
    """Five therapists: the first has one patient, the last none."""
    therapist, options = OPTIONS[request.param]
    patients = example_patients(51, patients=60, therapists=5, one_patient=True, no_patient=True)
    return example_design(patients, therapist, **options)


def parameters(design: Design, count: int, seed: int) -> GaussianDraws:
    """Draws from the prior, of the options' parameters too."""
    random, priors = np.random.default_rng(seed), Priors()
    draws = prior_draws(design, priors, count, random)
    draws = replace(draws, residual_sd=np.maximum(draws.residual_sd, 0.2))
    if "arm[1]" in design.effects:
        arm_sd = priors.therapist_arm_sd * np.abs(random.normal(size=count))
        draws = replace(draws, therapist_arm_sd=arm_sd)
    if not taken_apart(design):
        return draws
    return replace(
        draws,
        moderator_coefficient=0.5 * random.normal(size=count),
        moderator_therapist_sd=priors.moderator_therapist_sd * np.abs(random.normal(size=count)),
        moderator_residual_sd=0.2 + np.abs(random.normal(size=count)),
        moderator_slope_between=priors.moderator_slope * random.normal(size=count),
    )


def taken_apart(design: Design) -> bool:
    return design.moderator.structure == "within_between"


def effects_covariance(design: Design, draw: GaussianDraws) -> NDArray:
    """Covariance of one therapist's effects, shape (q, q)."""
    correlated = therapist_covariance(draw)
    arms = len(design.effects) - len(correlated)
    arm_sd = 0.0 if draw.therapist_arm_sd is None else draw.therapist_arm_sd[0]
    return block_diag(correlated, arm_sd**2 * np.eye(arms)) if arms else correlated


def dense(design: Design, draw: GaussianDraws) -> tuple[float, NDArray, NDArray]:
    """Log density of outcomes and ratings; mean and covariance of u and m given them.

    The effects come first, therapist by therapist, then the means.
    """
    therapists, n = len(design.therapists), len(design.y)
    prior = np.kron(np.eye(therapists), effects_covariance(design, draw))
    loading, noise = random_effects_matrix(design), np.full(n, draw.residual_sd[0] ** 2)
    residual = design.y - design.X @ draw.beta[0]
    if taken_apart(design):
        moderator = design.coefficients.index("moderator")
        belongs = np.eye(therapists)[design.therapist_index]
        contextual = draw.moderator_slope_between[0] - draw.beta[0, moderator]
        loading = np.block([[loading, contextual * belongs], [np.zeros_like(loading), belongs]])
        prior = block_diag(prior, draw.moderator_therapist_sd[0] ** 2 * np.eye(therapists))
        rating = design.X[:, moderator] - draw.moderator_coefficient[0]
        residual = np.concatenate([residual, rating])
        noise = np.append(noise, np.full(n, draw.moderator_residual_sd[0] ** 2))
    covariance = loading @ prior @ loading.T + np.diag(noise)
    gain = prior @ loading.T @ np.linalg.inv(covariance)
    density = stats.multivariate_normal.logpdf(residual, np.zeros(len(residual)), covariance)
    return float(density), gain @ residual, prior - gain @ loading @ prior


def point(draw: GaussianDraws) -> dict[str, NDArray]:
    values = unconstrained(draw)
    for name in ("therapist_arm_sd", "moderator_therapist_sd", "moderator_residual_sd"):
        if getattr(draw, name) is not None:
            values[f"{name}_log__"] = np.asarray(np.log(getattr(draw, name)[0]))
    for name in ("moderator_coefficient", "moderator_slope_between"):
        if getattr(draw, name) is not None:
            values[name] = np.asarray(getattr(draw, name)[0])
    return values


def test_log_likelihood_is_that_of_the_dense_normal(design: Design) -> None:
    model = exact_gaussian_model(design, Priors())
    (likelihood,) = model.replace_rvs_by_values([model["log_likelihood_sum"]])
    compiled = model.compile_fn(likelihood, mode="FAST_COMPILE")
    draws = parameters(design, 6, seed=1)
    in_numpy = therapist_log_likelihood(design, draws).sum(axis=1)
    for d in range(6):
        draw = draws.block(slice(d, d + 1))
        expected = dense(design, draw)[0]
        np.testing.assert_allclose(compiled(point(draw)), expected, rtol=1e-10, atol=1e-8)
        np.testing.assert_allclose(in_numpy[d], expected, rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize(
    "design",
    ["intercept and slope, by arm", "none, alliance apart", "everything"],
    indirect=True,
)
def test_densities_agree_with_the_patient_level_model(design: Design) -> None:
    """log p(y, u, m) - log p(u, m | y) = log p(y), whatever u and m are."""
    exact, patient_level = (
        model.compile_logp(jacobian=False, mode="FAST_COMPILE")
        for model in (
            exact_gaussian_model(design, Priors()),
            patient_level_model(design, Priors()),
        )
    )
    random = np.random.default_rng(2)
    therapists, size = len(design.therapists), len(design.effects)
    patients = np.bincount(design.therapist_index, minlength=therapists)
    draws = parameters(design, 4, seed=3)
    for d in range(4):
        draw = draws.block(slice(d, d + 1))
        at = point(draw)
        standard = random.normal(size=(therapists, size))
        latent, log_jacobian, joint_point = np.zeros(0), 0.0, dict(at)
        if size:
            L = np.linalg.cholesky(effects_covariance(design, draw))
            latent = (standard @ L.T).ravel()
            log_jacobian += therapists * np.log(np.diag(L)).sum()
            joint_point["therapist_standard"] = standard
        if taken_apart(design):
            # The patient-level model has each mean as a deviate around what its ratings say.
            between, within = (
                draw.moderator_therapist_sd[0] ** 2,
                draw.moderator_residual_sd[0] ** 2,
            )
            variance = 1 / (1 / between + patients / within)
            rating = design.X[:, design.coefficients.index("moderator")]
            deviation = rating - draw.moderator_coefficient[0]
            totals = np.bincount(design.therapist_index, deviation, therapists)
            deviates = random.normal(size=therapists)
            means = variance * totals / within + np.sqrt(variance) * deviates
            latent = np.concatenate([latent, means])
            log_jacobian += 0.5 * np.log(variance).sum()
            joint_point["moderator_therapist_standard"] = deviates
            joint_point["moderator_coefficient"] = at["moderator_coefficient"][None]
        _, mean, covariance = dense(design, draw)
        conditional = stats.multivariate_normal.logpdf(latent, mean, covariance) + log_jacobian
        np.testing.assert_allclose(
            patient_level(joint_point) - conditional, exact(at), rtol=1e-8, atol=1e-7
        )


def test_means_and_covariances_of_the_draws(design: Design) -> None:
    draw = parameters(design, 1, seed=4)
    draw = replace(draw, residual_sd=np.array([0.7]))
    repeated = {
        field.name: None if value is None else np.repeat(value, DRAWS, axis=0)
        for field in fields(draw)
        for value in [getattr(draw, field.name)]
    }
    drawn = draw_therapist_effects(
        design, GaussianDraws(**repeated), np.random.default_rng(20040320)
    )
    flat = drawn.effect.reshape(DRAWS, -1)
    if taken_apart(design):
        flat = np.column_stack([flat, drawn.moderator_mean])
    else:
        assert drawn.moderator_mean is None
    _, mean, covariance = dense(design, draw)
    assert flat.shape[1] == len(mean)
    variance = np.diag(covariance)
    z_mean = (flat.mean(axis=0) - mean) / np.sqrt(variance / DRAWS)
    assert np.abs(z_mean).max() < LARGEST_Z
    deviations = flat - mean
    spread = np.sqrt((np.outer(variance, variance) + covariance**2) / DRAWS)
    z_covariance = (deviations.T @ deviations / DRAWS - covariance) / spread
    assert np.abs(z_covariance[np.triu_indices(len(mean))]).max() < LARGEST_Z
