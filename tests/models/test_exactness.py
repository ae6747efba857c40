"""The exact Gaussian model against the dense multivariate normal, and its gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from example_designs import (
    example_design,
    example_patients,
    prior_draws,
    random_effects_matrix,
    therapist_covariance,
    unconstrained,
)
from numpy.typing import NDArray
from pymc.blocking import DictToArrayBijection
from scipy import stats
from threadpoolctl import threadpool_limits

from alliance.models.design.design import Design
from alliance.models.gaussian.exact_gaussian import exact_gaussian_model, model_data
from alliance.models.gaussian.gaussian_draws import GaussianDraws, therapist_log_likelihood
from alliance.models.priors import Priors

EFFECTS = ("none", "intercept", "intercept+slope")
TRIALS: dict[str, Callable[[], xr.Dataset]] = {
    "typical": lambda: example_patients(11, patients=90, therapists=8),
    "no baseline": lambda: example_patients(12, patients=90, therapists=8, baseline=False),
    "a therapist with one patient, one with none": lambda: example_patients(
        13, patients=60, therapists=6, one_patient=True, no_patient=True
    ),
    "more therapists than patients": lambda: example_patients(14, patients=40, therapists=100),
    "many therapists": lambda: example_patients(15, patients=360, therapists=300),
}
# Parameters are drawn from the prior; these are its far corners.
TINY = 1e-6
CORNERS: dict[str, dict[str, float]] = {
    "therapist SD near zero": {"therapist_sd": TINY},
    "slope SD near zero": {"therapist_slope_sd": TINY},
    "both near zero": {"therapist_sd": TINY, "therapist_slope_sd": TINY},
    "correlation near one": {"therapist_correlation": 0.99, "therapist_sd": 1.5},
    "correlation near minus one": {"therapist_correlation": -0.99, "therapist_slope_sd": 1.0},
    "small residual": {"residual_sd": 0.05, "therapist_sd": 2.0, "therapist_slope_sd": 1.0},
}


@pytest.fixture(scope="module", autouse=True)
def _one_blas_thread() -> Iterator[None]:
    # Two threads that wait for each other on a busy machine make small factorisations take seconds.
    with threadpool_limits(limits=1, user_api="blas"):
        yield


@dataclass(frozen=True)
class Compiled:
    """The model's functions for one set of effects, in PyTensor's interpreter: no compilation."""

    model: pm.Model
    log_likelihood: Callable[..., NDArray]
    log_density: Callable[..., NDArray]  # without Jacobians of the transformations
    sampled: Callable[..., NDArray]  # with the Jacobians, as the sampler takes it
    gradient: Callable[..., NDArray]  # of `sampled`

    def give(self, design: Design, priors: Priors) -> None:
        """Give the compiled functions other data, as the sampler does."""
        for name, values in model_data(design, priors).items():
            self.model.set_data(name, values)


@pytest.fixture(scope="module", params=EFFECTS)
def compiled(request: pytest.FixtureRequest) -> Compiled:
    design = example_design(example_patients(1, patients=30, therapists=3), request.param)
    model = exact_gaussian_model(design, Priors())
    (likelihood,) = model.replace_rvs_by_values([model["log_likelihood_sum"]])
    return Compiled(
        model,
        model.compile_fn(likelihood, mode="FAST_COMPILE"),
        model.compile_fn(model.logp(jacobian=False), mode="FAST_COMPILE"),
        model.compile_fn(model.logp(), mode="FAST_COMPILE"),
        model.compile_fn(model.dlogp(), mode="FAST_COMPILE"),
    )


def therapist_setting(compiled: Compiled) -> str:
    names = [variable.name for variable in compiled.model.free_RVs]
    if "therapist_slope_sd" in names:
        return "intercept+slope"
    return "intercept" if "therapist_sd" in names else "none"


def parameters(design: Design, count: int = 4, seed: int = 5) -> list[GaussianDraws]:
    """Random parameters from the prior, and a random one at each of the corners that exist."""
    random = np.random.default_rng(seed)
    drawn = prior_draws(design, Priors(), count + len(CORNERS), random)
    # A prior draw of the residual SD may be so small that 1e-8 is beyond double precision.
    drawn = replace(drawn, residual_sd=np.maximum(drawn.residual_sd, 0.2))
    singles = [drawn.block(slice(d, d + 1)) for d in range(count + len(CORNERS))]
    for d, corner in enumerate(CORNERS.values()):
        values = {
            name: np.array([value])
            for name, value in corner.items()
            if getattr(drawn, name) is not None
        }
        singles[count + d] = replace(singles[count + d], **values)
    return singles


def dense_log_density(design: Design, draw: GaussianDraws, rows: NDArray | slice) -> float:
    """Log density of some patients: multivariate normal, covariance Z S Z' + sigma^2 I."""
    y, X, Z = design.y[rows], design.X[rows], random_effects_matrix(design)[rows]
    therapists = np.kron(np.eye(len(design.therapists)), therapist_covariance(draw))
    covariance = Z @ therapists @ Z.T + draw.residual_sd[0] ** 2 * np.eye(len(y))
    dense = stats.Covariance.from_cholesky(np.linalg.cholesky(covariance))
    return float(stats.multivariate_normal.logpdf(y, X @ draw.beta[0], dense))


@pytest.mark.parametrize("trial", TRIALS)
def test_log_likelihood_is_that_of_the_dense_multivariate_normal(
    compiled: Compiled, trial: str
) -> None:
    design = example_design(TRIALS[trial](), therapist_setting(compiled))
    compiled.give(design, Priors())
    for draw in parameters(design, count=2 if trial == "many therapists" else 6):
        dense = dense_log_density(design, draw, slice(None))
        precision = {"rtol": 1e-11, "atol": 1e-8}
        np.testing.assert_allclose(compiled.log_likelihood(unconstrained(draw)), dense, **precision)
        in_numpy = therapist_log_likelihood(design, draw).sum()
        np.testing.assert_allclose(in_numpy, dense, **precision)


@pytest.mark.parametrize("therapist", EFFECTS)
def test_each_therapists_log_likelihood_is_that_of_its_own_patients(therapist: str) -> None:
    trial = TRIALS["a therapist with one patient, one with none"]()
    design = example_design(trial, therapist, interaction=False)
    for draw in parameters(design):
        found = therapist_log_likelihood(design, draw)[0]
        assert found[-1] == 0.0  # the last therapist has no patient
        for j in range(len(design.therapists) - 1):
            own = np.flatnonzero(design.therapist_index == j)
            assert len(own) == 1 or j > 0
            np.testing.assert_allclose(
                found[j], dense_log_density(design, draw, own), rtol=1e-11, atol=1e-8
            )


def test_many_draws_at_once_are_each_of_them() -> None:
    design = example_design(TRIALS["typical"]())
    draws = prior_draws(design, Priors(), 7, np.random.default_rng(3))
    together = therapist_log_likelihood(design, draws)
    assert together.shape == (7, 8)
    for d in range(7):
        alone = therapist_log_likelihood(design, draws.block(slice(d, d + 1)))[0]
        np.testing.assert_allclose(together[d], alone, rtol=1e-12)


def log_prior(design: Design, priors: Priors, draw: GaussianDraws) -> float:
    """Normalised prior density, written with scipy."""
    scale = {
        "intercept": priors.intercept,
        "baseline": priors.baseline_slope,
        "arm[1]": priors.arm,
        "arm[2]": priors.arm,
        "moderator": priors.moderator_slope,
        "interaction[1]": priors.interaction,
        "interaction[2]": priors.interaction,
        "covariate[age]": priors.covariate_slope,
        "covariate[sex[M]]": priors.covariate_slope,
    }
    total = sum(
        stats.norm.logpdf(value, 0, scale[name])
        for name, value in zip(design.coefficients, draw.beta[0], strict=True)
    )
    total += stats.halfnorm.logpdf(draw.residual_sd[0], scale=priors.residual_sd)
    if draw.therapist_sd is not None:
        total += stats.halfnorm.logpdf(draw.therapist_sd[0], scale=priors.therapist_sd)
    if draw.therapist_slope_sd is not None and draw.therapist_correlation is not None:
        total += stats.halfnorm.logpdf(draw.therapist_slope_sd[0], scale=priors.therapist_slope_sd)
        # LKJ of two effects: (1 + r) / 2 has a beta distribution with both parameters the shape.
        shape = priors.therapist_correlation
        total += stats.beta.logpdf(draw.therapist_correlation[0], shape, shape, loc=-1, scale=2)
    return float(total)


OTHER_PRIORS = Priors(
    intercept=2.0,
    baseline_slope=0.7,
    arm=0.4,
    moderator_slope=0.35,
    interaction=0.15,
    covariate_slope=0.6,
    therapist_sd=0.25,
    therapist_slope_sd=0.2,
    therapist_correlation=3.5,
    residual_sd=1.3,
)


@pytest.mark.parametrize("priors", [Priors(), OTHER_PRIORS], ids=["default", "other"])
def test_log_density_is_likelihood_and_priors(compiled: Compiled, priors: Priors) -> None:
    design = example_design(TRIALS["typical"](), therapist_setting(compiled))
    compiled.give(design, priors)
    shape = priors.therapist_correlation
    # The model leaves out the constant of the correlation's density, c (1 - r^2)^(shape - 1),
    # beside the uniform's 1/2.
    constant = 0.0
    if therapist_setting(compiled) == "intercept+slope":
        constant = stats.beta.logpdf(0.0, shape, shape, loc=-1, scale=2) - np.log(0.5)
    for draw in parameters(design):
        expected = dense_log_density(design, draw, slice(None)) + log_prior(design, priors, draw)
        found = compiled.log_density(unconstrained(draw)) + constant
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-8)


@pytest.mark.parametrize("trial", [name for name in TRIALS if name != "many therapists"])
def test_gradient_agrees_with_finite_differences(compiled: Compiled, trial: str) -> None:
    design = example_design(TRIALS[trial](), therapist_setting(compiled))
    compiled.give(design, Priors())
    draws = parameters(design, count=2)
    for draw in draws:
        here = DictToArrayBijection.map(unconstrained(draw))

        def value(shift: NDArray, here=here) -> float:
            moved = here._replace(data=here.data + shift)
            return float(compiled.sampled(DictToArrayBijection.rmap(moved)))

        gradient = compiled.gradient(unconstrained(draw))
        step = 1e-3  # a fourth-order formula: error of order step^4
        for k, unit in enumerate(np.eye(len(here.data))):
            h = step * unit
            difference = 8 * (value(h) - value(-h)) - (value(2 * h) - value(-2 * h))
            np.testing.assert_allclose(difference / (12 * step), gradient[k], rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("trial", TRIALS)
def test_sampling_starts_at_a_finite_point_with_a_finite_gradient(
    compiled: Compiled, trial: str
) -> None:
    design = example_design(TRIALS[trial](), therapist_setting(compiled))
    compiled.give(design, Priors())
    start = compiled.model.initial_point()
    assert np.isfinite(compiled.sampled(start))
    assert np.isfinite(compiled.gradient(start)).all()
