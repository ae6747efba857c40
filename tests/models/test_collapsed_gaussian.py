"""The Gaussian model without its coefficients: the dense normal, and conditional moments."""

from __future__ import annotations

import numpy as np
import pytest
from example_designs import example_patients
from numpy.typing import NDArray
from scipy import stats

import alliance.models.gaussian.gaussian_draws as collapsed_gaussian
from alliance.models.design.design import Design, build_design
from alliance.models.gaussian.gaussian_draws import Collapsed, GaussianDraws, collapse
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec

Array = NDArray[np.float64]
PRIORS = Priors()
# therapist effects, arm effects that vary between therapists, baseline
MODELS = [
    ("none", False, True),
    ("intercept", False, True),
    ("intercept", True, True),
    ("intercept+slope", False, True),
    ("intercept+slope", False, False),
    ("intercept+slope", True, True),
]


def example(therapist: str, by_arm: bool, baseline: bool) -> tuple[Design, GaussianDraws]:
    """Sixty patients of six therapists, one of whom has none, and five values of the SDs."""
    patients = example_patients(3, patients=60, therapists=6, no_patient=True)
    if not baseline:
        patients = patients.drop_vars("baseline")
    spec = ModelSpec("example", therapist, therapist_by_arm=by_arm)  # type: ignore[arg-type]
    design = build_design(patients, spec, (-1_000.0, 1_000.0))
    random = np.random.default_rng(5)
    found = {"residual_sd": random.uniform(0.5, 1, 5)}
    if therapist != "none":
        found["therapist_sd"] = np.append(random.uniform(0.1, 0.6, 4), 1e-9)
    if "slope" in therapist:
        found["therapist_slope_sd"] = np.append(0.0, random.uniform(0.1, 2, 4))
        found["therapist_correlation"] = random.uniform(-0.9, 0.9, 5)
    if by_arm:
        found["therapist_arm_sd"] = random.uniform(0.1, 0.4, 5)
    return design, GaussianDraws(beta=np.empty((5, 0)), **found)


def covariance(design: Design, spreads: GaussianDraws, k: int) -> Array:
    """Dense covariance (n, n) of the outcome given the coefficients."""
    n, q = len(design.y), len(design.effects)
    found = spreads.residual_sd[k] ** 2 * np.eye(n)
    if q:
        elements = spreads.factor(q)
        L = np.array(
            [[np.broadcast_to(elements[a][b], (5, 1))[k, 0] for b in range(q)] for a in range(q)]
        )
        Z = design.X[:, design.effect_columns]
        same = design.therapist_index[:, None] == design.therapist_index
        found = found + same * (Z @ L @ L.T @ Z.T)
    return found


@pytest.mark.parametrize(("therapist", "by_arm", "baseline"), MODELS)
def test_likelihood_and_coefficients_are_those_of_the_dense_normal(
    therapist: str, by_arm: bool, baseline: bool
) -> None:
    design, spreads = example(therapist, by_arm, baseline)
    prior_sd = design.prior_sd(PRIORS)
    found = collapse(design, spreads, prior_sd)
    X, S = design.X[:, design.present], np.diag(prior_sd[design.present] ** 2)
    for k in range(5):
        V = covariance(design, spreads, k)
        dense = stats.multivariate_normal.logpdf(design.y, np.zeros(len(design.y)), V + X @ S @ X.T)
        assert found.log_likelihood[k] == pytest.approx(dense, rel=1e-11)
        precision = np.linalg.inv(S) + X.T @ np.linalg.solve(V, X)
        mean = np.linalg.solve(precision, X.T @ np.linalg.solve(V, design.y))
        np.testing.assert_allclose(found.mean[k], mean, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(
            found.factor[k] @ found.factor[k].T, precision, rtol=1e-8, atol=1e-9
        )


def test_blocks_of_values_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    design, spreads = example("intercept+slope", False, True)
    whole = collapse(design, spreads, design.prior_sd(PRIORS))
    monkeypatch.setattr(collapsed_gaussian, "BLOCK_NUMBERS", 2 * 6 * 4)  # two values at a time
    parts = collapse(design, spreads, design.prior_sd(PRIORS))
    np.testing.assert_allclose(parts.log_likelihood, whole.log_likelihood, rtol=1e-13)
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-12)


def test_draws_have_the_conditional_moments() -> None:
    """z of means and covariances of 40,000 draws; 8 and 36 of them, largest 4.5 once in 3,000."""
    design, spreads = example("intercept", False, True)
    one = collapse(design, spreads.block(slice(0, 1)), design.prior_sd(PRIORS))
    many = Collapsed(
        np.repeat(one.log_likelihood, 40_000),
        np.repeat(one.mean, 40_000, axis=0),
        np.repeat(one.factor, 40_000, axis=0),
    )
    draws = many.draw(np.random.default_rng(2))
    truth = np.linalg.inv(one.factor[0] @ one.factor[0].T)
    sd = np.sqrt(np.diag(truth))
    z = (draws.mean(axis=0) - one.mean[0]) / (sd / 200)
    assert np.abs(z).max() < 4.5
    error = np.sqrt((np.outer(sd, sd) ** 2 + truth**2) / 40_000)
    assert np.abs((np.cov(draws.T) - truth) / error).max() < 4.5
