"""Therapist effects drawn after the other parameters, against the conjugate formula."""

from __future__ import annotations

import numpy as np
import pytest
from example_designs import (
    conditional_effects,
    example_design,
    example_patients,
    prior_draws,
    therapist_covariance,
)
from numpy.typing import NDArray

from alliance.models.design.design import Design
from alliance.models.gaussian import gaussian_draws as gaussian_draws_module
from alliance.models.gaussian.gaussian_draws import GaussianDraws, draw_therapist_effects
from alliance.models.priors import Priors

DRAWS = 20_000
# Bound of a z-score: of some 200 independent ones, one exceeds it in 700 runs.
LARGEST_Z = 4.5
EFFECTS = ("intercept", "intercept+slope")


class NoNoise(np.random.Generator):
    """A generator whose normal numbers are their means, so that draws are conditional means."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def standard_normal(self, size: tuple[int, ...]) -> NDArray:  # type: ignore[override]  # a stand-in with one method
        return np.zeros(size)


def a_design(therapist: str) -> Design:
    """Six therapists: the first has one patient, the last none."""
    patients = example_patients(21, patients=70, therapists=6, one_patient=True, no_patient=True)
    return example_design(patients, therapist)


def repeated(draws: GaussianDraws, count: int) -> GaussianDraws:
    def repeat(values: NDArray | None) -> NDArray | None:
        return None if values is None else np.repeat(values[:1], count, axis=0)

    return GaussianDraws(
        repeat(draws.beta),
        repeat(draws.residual_sd),
        repeat(draws.therapist_sd),
        repeat(draws.therapist_slope_sd),
        repeat(draws.therapist_correlation),
    )


def some_parameters(therapist: str) -> GaussianDraws:
    """Parameters at which both the data and the population matter."""
    slope = therapist == "intercept+slope"
    return GaussianDraws(
        beta=np.array([[0.1, 0.4, -0.2, 0.3, 0.25, 0.1, -0.15, -0.1, 0.05]]),
        residual_sd=np.array([0.7]),
        therapist_sd=np.array([0.4]),
        therapist_slope_sd=np.array([0.25]) if slope else None,
        therapist_correlation=np.array([-0.6]) if slope else None,
    )


@pytest.mark.parametrize("therapist", EFFECTS)
def test_means_and_covariances_of_the_draws(therapist: str) -> None:
    design, draws = a_design(therapist), some_parameters(therapist)
    mean, covariance = conditional_effects(design, draws)
    generator = np.random.default_rng(20040320)
    effects = draw_therapist_effects(design, repeated(draws, DRAWS), generator).effect
    assert effects.shape == (DRAWS, 6, len(design.effects))
    flat = effects.reshape(DRAWS, -1)
    variance = np.diag(covariance)
    z_mean = (flat.mean(axis=0) - mean) / np.sqrt(variance / DRAWS)
    assert np.abs(z_mean).max() < LARGEST_Z
    # Deviations from the true mean: their products have this variance under normality.
    deviations = flat - mean
    spread = np.sqrt((np.outer(variance, variance) + covariance**2) / DRAWS)
    z_covariance = (deviations.T @ deviations / DRAWS - covariance) / spread
    assert np.abs(z_covariance[np.triu_indices(len(mean))]).max() < LARGEST_Z


@pytest.mark.parametrize("therapist", EFFECTS)
def test_a_therapist_without_patients_is_drawn_from_the_population(therapist: str) -> None:
    design, draws = a_design(therapist), some_parameters(therapist)
    assert not (design.therapist_index == 5).any()
    mean, covariance = conditional_effects(design, draws)
    size = len(design.effects)
    population = therapist_covariance(draws)
    np.testing.assert_allclose(mean[-size:], 0, atol=1e-12)
    np.testing.assert_allclose(covariance[-size:, -size:], population, atol=1e-12)
    generator = np.random.default_rng(1)
    drawn = draw_therapist_effects(design, repeated(draws, DRAWS), generator).effect[:, -1]
    variance = np.diag(population)
    assert (np.abs(drawn.mean(axis=0)) < LARGEST_Z * np.sqrt(variance / DRAWS)).all()
    spread = np.sqrt((np.outer(variance, variance) + population**2) / DRAWS)
    assert (np.abs(drawn.T @ drawn / DRAWS - population) < LARGEST_Z * spread).all()


@pytest.mark.parametrize("therapist", EFFECTS)
def test_every_draw_has_the_mean_of_its_own_parameters(therapist: str) -> None:
    """Many draws at once, each with other parameters, near-zero variances among them."""
    design = a_design(therapist)
    draws = prior_draws(design, Priors(), 50, np.random.default_rng(8))
    draws.therapist_sd[:5] = 1e-6
    means = draw_therapist_effects(design, draws, NoNoise()).effect
    for draw in range(50):
        expected, _ = conditional_effects(design, draws, draw)
        np.testing.assert_allclose(means[draw].ravel(), expected, rtol=1e-8, atol=1e-10)


def test_drawing_in_blocks_changes_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    design = a_design("intercept+slope")
    draws = prior_draws(design, Priors(), 50, np.random.default_rng(9))
    whole = draw_therapist_effects(design, draws, np.random.default_rng(1)).effect
    monkeypatch.setattr(gaussian_draws_module, "BLOCK_NUMBERS", 7 * 12)  # blocks of 7 draws
    in_blocks = draw_therapist_effects(design, draws, np.random.default_rng(1)).effect
    # Some processors multiply seven rows in another order of sums than fifty: the last bits
    np.testing.assert_allclose(in_blocks, whole, rtol=1e-12, atol=1e-14)


def test_no_effects_give_no_draws() -> None:
    design = a_design("none")
    draws = prior_draws(design, Priors(), 3, np.random.default_rng(9))
    assert draw_therapist_effects(design, draws, np.random.default_rng(1)).effect.shape == (3, 6, 0)
