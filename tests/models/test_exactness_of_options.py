"""Arm effects between therapists, alliance within and between: exact against dense matrices.

Given the parameters, the therapists' true mean alliance among them, the therapists' effects u are
normal, and outcomes depend on them linearly. A dense normal distribution of all outcomes is
therefore the reference, with columns written out patient by patient, and conditioning it gives that
of u. Ratings are another dense normal distribution, of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest
from example_designs import (
    example_design,
    example_patients,
    prior_draws,
    therapist_covariance,
    unconstrained,
)
from numpy.typing import NDArray
from scipy import stats
from scipy.linalg import block_diag

from alliance.models.design.design import Design
from alliance.models.gaussian.exact_gaussian import exact_gaussian_model
from alliance.models.gaussian.gaussian_draws import (
    GaussianDraws,
    draw_therapist_effects,
    therapist_log_likelihood,
)
from alliance.models.patient_level import patient_level_model
from alliance.models.priors import Priors
from alliance.models.spec import ModeratorSpec

APART = {"moderator": ModeratorSpec(structure="within_between")}
BY_ARM_BETWEEN = {"moderator": ModeratorSpec("within_between", between_interaction=True)}
BY_ARM = {"therapist_by_arm": True}
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "intercept, by arm": ("intercept", BY_ARM),
    "intercept and slope, by arm": ("intercept+slope", BY_ARM),
    "none, alliance apart": ("none", APART),
    "intercept, alliance apart": ("intercept", APART),
    "intercept and slope, alliance apart": ("intercept+slope", APART),
    "no interaction, alliance apart": ("intercept+slope", APART | {"interaction": False}),
    "everything": ("intercept+slope", BY_ARM_BETWEEN | BY_ARM),
}
DRAWS = 20_000
LARGEST_Z = 4.5  # of some 300 z-scores, one exceeds it in 500 runs


@pytest.fixture(params=OPTIONS)
def design(request: pytest.FixtureRequest) -> Design:
    """Five therapists: the first has one patient, the last none."""
    therapist, options = OPTIONS[request.param]
    patients = example_patients(51, patients=60, therapists=5, one_patient=True, no_patient=True)
    return example_design(patients, therapist, **options)


def taken_apart(design: Design) -> bool:
    return design.moderator.structure == "within_between"


@dataclass(frozen=True)
class Alliance:
    """Parameters of the alliance's own model, and its ratings with what predicts them."""

    coefficient: NDArray
    therapist_sd: float
    residual_sd: float
    standard: NDArray  # the therapists' deviations as the models have them

    @classmethod
    def drawn(cls, design: Design, random: np.random.Generator) -> Alliance:
        predictors = alliance_predictors(design).shape[1]
        return cls(
            0.5 * random.normal(size=predictors),
            0.2 + abs(random.normal()),
            0.3 + abs(random.normal()),
            random.normal(size=len(design.therapists)),
        )

    def point(self) -> dict[str, NDArray]:
        return {
            "moderator_coefficient": self.coefficient,
            "moderator_therapist_sd_log__": np.asarray(np.log(self.therapist_sd)),
            "moderator_residual_sd_log__": np.asarray(np.log(self.residual_sd)),
            "moderator_therapist_standard": self.standard,
        }

    def ratings(self, design: Design) -> tuple[float, NDArray, NDArray]:
        """Log density of all ratings; mean and covariance of the deviations given them."""
        belongs = np.eye(len(design.therapists))[design.therapist_index]
        deviation = rating(design) - alliance_predictors(design) @ self.coefficient
        noise = self.residual_sd**2 * np.eye(len(deviation))
        prior = self.therapist_sd**2 * np.eye(len(design.therapists))
        covariance = belongs @ prior @ belongs.T + noise
        gain = prior @ belongs.T @ np.linalg.inv(covariance)
        density = stats.multivariate_normal.logpdf(deviation, np.zeros(len(deviation)), covariance)
        return float(density), gain @ deviation, prior - gain @ belongs @ prior

    def therapist_means(self, design: Design) -> NDArray:
        """What the arms of the caseload predict, all else average, and the own deviation."""
        _, mean, covariance = self.ratings(design)
        own = mean + np.sqrt(np.diag(covariance)) * self.standard  # independent given ratings
        names = design.coefficients
        expected = alliance_predictors(design) * [
            name == "intercept" or name.startswith("arm[") for name in names_of_predictors(names)
        ]
        for j in range(len(own)):
            rows = design.therapist_index == j
            chosen = rows if rows.any() else np.ones_like(rows)
            own[j] += expected[chosen].mean(axis=0) @ self.coefficient
        return own


def names_of_predictors(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if name.split("[")[0] not in ("moderator", "interaction")]


def alliance_predictors(design: Design) -> NDArray:
    names = design.coefficients
    return design.X[:, [names.index(name) for name in names_of_predictors(names)]]


def rating(design: Design) -> NDArray:
    return design.X[:, design.coefficients.index("moderator")]


def parameters(design: Design, count: int, seed: int) -> GaussianDraws:
    """Draws from the prior, of the options' parameters too; true means are those of anybody."""
    random, priors = np.random.default_rng(seed), Priors()
    draws = prior_draws(design, priors, count, random)
    draws = replace(draws, residual_sd=np.maximum(draws.residual_sd, 0.2))
    if "arm[1]" in design.effects:
        arm_sd = priors.therapist_arm_sd * np.abs(random.normal(size=count))
        draws = replace(draws, therapist_arm_sd=arm_sd)
    if not taken_apart(design):
        return draws
    if design.moderator.between_interaction:
        own = priors.interaction * random.normal(size=(count, len(design.arms) - 1))
        draws = replace(draws, moderator_interaction_between=own)
    return replace(
        draws,
        moderator_slope_between=priors.moderator_slope * random.normal(size=count),
        moderator_therapist_mean=random.normal(size=(count, len(design.therapists))),
    )


def effects_covariance(design: Design, draw: GaussianDraws) -> NDArray:
    """Covariance of one therapist's effects, shape (q, q)."""
    correlated = therapist_covariance(draw)
    arms = len(design.effects) - len(correlated)
    arm_sd = 0.0 if draw.therapist_arm_sd is None else draw.therapist_arm_sd[0]
    return block_diag(correlated, arm_sd**2 * np.eye(arms)) if arms else correlated


def columns(design: Design, draw: GaussianDraws) -> tuple[NDArray, NDArray]:
    """X with the alliance within the therapist, and the part between therapists, by patient."""
    X, between = design.X.copy(), np.zeros(len(design.y))
    if not taken_apart(design):
        return X, between
    mean = draw.moderator_therapist_mean[0][design.therapist_index]
    within = rating(design) - mean
    for k, name in enumerate(design.coefficients):
        if name == "moderator":
            X[:, k] = within
        elif name.startswith("interaction["):
            X[:, k] = within * X[:, design.coefficients.index(name.replace("interaction", "arm"))]
    between += draw.moderator_slope_between[0] * mean
    if draw.moderator_interaction_between is not None:
        arms = [k for k, name in enumerate(design.coefficients) if name.startswith("arm[")]
        between += X[:, arms] @ draw.moderator_interaction_between[0] * mean
    return X, between


def dense(design: Design, draw: GaussianDraws) -> tuple[float, NDArray, NDArray]:
    """Log density of the outcomes; mean and covariance of u given them, by therapist."""
    therapists = len(design.therapists)
    X, between = columns(design, draw)
    belongs = np.eye(therapists)[design.therapist_index]
    Z = X[:, design.effect_columns]
    loading = (belongs[:, :, None] * Z[:, None, :]).reshape(len(X), -1)
    prior = np.kron(np.eye(therapists), effects_covariance(design, draw))
    residual = design.y - X @ draw.beta[0] - between
    covariance = loading @ prior @ loading.T + draw.residual_sd[0] ** 2 * np.eye(len(X))
    gain = prior @ loading.T @ np.linalg.inv(covariance)
    density = stats.multivariate_normal.logpdf(residual, np.zeros(len(residual)), covariance)
    return float(density), gain @ residual, prior - gain @ loading @ prior


def point(draw: GaussianDraws) -> dict[str, NDArray]:
    values = unconstrained(draw)
    if draw.therapist_arm_sd is not None:
        values["therapist_arm_sd_log__"] = np.asarray(np.log(draw.therapist_arm_sd[0]))
    for name in ("moderator_slope_between", "moderator_interaction_between"):
        if getattr(draw, name) is not None:
            values[name] = np.asarray(getattr(draw, name)[0])
    return values


def complete(design: Design, draw: GaussianDraws, seed: int) -> tuple[GaussianDraws, dict, float]:
    """The draw with true means of the alliance's model; its point; the ratings' log density."""
    if not taken_apart(design):
        return draw, point(draw), 0.0
    alliance = Alliance.drawn(design, np.random.default_rng(seed))
    draw = replace(draw, moderator_therapist_mean=alliance.therapist_means(design)[None])
    return draw, point(draw) | alliance.point(), alliance.ratings(design)[0]


def test_log_likelihood_is_that_of_the_dense_normal(design: Design) -> None:
    model = exact_gaussian_model(design, Priors())
    names = ["log_likelihood_sum", *(["moderator_likelihood"] if taken_apart(design) else [])]
    likelihoods = model.replace_rvs_by_values([model[name] for name in names])
    compiled = model.compile_fn(likelihoods, inputs=model.value_vars, mode="FAST_COMPILE")
    draws = parameters(design, 6, seed=1)
    for d in range(6):
        draw, at, ratings = complete(design, draws.block(slice(d, d + 1)), seed=d)
        expected = dense(design, draw)[0]
        found = compiled(at)
        np.testing.assert_allclose(found[0], expected, rtol=1e-10, atol=1e-8)
        np.testing.assert_allclose(found[1:], [ratings] * (len(names) - 1), rtol=1e-10)
        in_numpy = therapist_log_likelihood(design, draw).sum()
        np.testing.assert_allclose(in_numpy, expected, rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize(
    "design",
    ["intercept and slope, by arm", "none, alliance apart", "everything"],
    indirect=True,
)
def test_densities_agree_with_the_patient_level_model(design: Design) -> None:
    """log p(y, u) - log p(u | y) = log p(y), whatever u is."""
    exact, patient_level = (
        model.compile_logp(jacobian=False, mode="FAST_COMPILE")
        for model in (
            exact_gaussian_model(design, Priors()),
            patient_level_model(design, Priors()),
        )
    )
    random = np.random.default_rng(2)
    therapists, size = len(design.therapists), len(design.effects)
    draws = parameters(design, 4, seed=3)
    for d in range(4):
        draw, at, _ = complete(design, draws.block(slice(d, d + 1)), seed=d)
        conditional, joint_point = 0.0, dict(at)
        if size:
            standard = random.normal(size=(therapists, size))
            L = np.linalg.cholesky(effects_covariance(design, draw))
            joint_point["therapist_standard"] = standard
            _, mean, covariance = dense(design, draw)
            effects = (standard @ L.T).ravel()
            conditional = stats.multivariate_normal.logpdf(effects, mean, covariance)
            conditional += therapists * np.log(np.diag(L)).sum()
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
    given = GaussianDraws(**repeated)
    drawn = draw_therapist_effects(design, given, np.random.default_rng(20040320))
    assert drawn.moderator_mean is given.moderator_therapist_mean
    flat = drawn.effect.reshape(DRAWS, -1)
    _, mean, covariance = dense(design, draw)
    assert flat.shape[1] == len(mean)
    if not len(mean):
        return
    variance = np.diag(covariance)
    z_mean = (flat.mean(axis=0) - mean) / np.sqrt(variance / DRAWS)
    assert np.abs(z_mean).max() < LARGEST_Z
    deviations = flat - mean
    spread = np.sqrt((np.outer(variance, variance) + covariance**2) / DRAWS)
    z_covariance = (deviations.T @ deviations / DRAWS - covariance) / spread
    assert np.abs(z_covariance[np.triu_indices(len(mean))]).max() < LARGEST_Z


def test_many_draws_are_taken_in_blocks(design: Design, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = parameters(design, 7, seed=5)
    whole = therapist_log_likelihood(design, draws)
    monkeypatch.setattr("alliance.models.gaussian.gaussian_draws.BLOCK_NUMBERS", 1)
    np.testing.assert_allclose(therapist_log_likelihood(design, draws), whole, rtol=1e-12)
