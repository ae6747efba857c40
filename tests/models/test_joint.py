"""The joint likelihood of all outcomes against the dense multivariate normal."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import xarray as xr
from numpy.typing import NDArray
from pytensor.compile.mode import Mode
from pytensor.gradient import verify_grad
from pytensor.graph.traversal import ancestors
from scipy import stats

from models.correlations import correlation_factor, lkj_powers
from models.design import build_design
from models.joint import JointDesign, join_designs
from models.joint_draws import JointDraws, draw_joint_effects
from models.joint_likelihood import JointLikelihood
from models.joint_model import joint_model
from models.priors import Priors
from models.spec import ModelSpec

PYTHON = Mode(linker="py", optimizer="fast_compile")  # nothing is compiled
PATIENTS, THERAPISTS = 40, 6
# Which patients have which outcome: two patterns overlap, and some have one outcome only.
HAVE = {"pain": range(40), "function": range(10, 40), "gpe": [*range(5), *range(20, 40)]}
BETTER = {"pain": "lower", "function": "higher", "gpe": "higher"}


def joint_design(therapist: str) -> JointDesign:
    generator = np.random.default_rng(4)
    moderator = generator.normal(size=PATIENTS)
    arm = generator.integers(0, 3, PATIENTS)
    therapists = generator.integers(0, THERAPISTS, PATIENTS)
    designs = {}
    for name, rows in HAVE.items():
        picked = np.asarray(rows)
        data = xr.Dataset(
            {
                "outcome": ("patient", generator.normal(size=len(picked))),
                "baseline": ("patient", generator.normal(size=len(picked))),
                "moderator": ("patient", moderator[picked]),
                "arm_index": ("patient", arm[picked]),
                "therapist_index": ("patient", therapists[picked]),
                "covariates": (("patient", "covariate"), np.zeros((len(picked), 0))),
            },
            coords={
                "arm": ["A", "B", "C"],
                "therapist": [f"t{k}" for k in range(THERAPISTS)],
                "covariate": np.array([], dtype=str),
            },
        )
        spec = ModelSpec(name, therapist=therapist)  # type: ignore[arg-type]  # parametrised text
        designs[name] = build_design(data, spec)
    return join_designs(designs, HAVE, BETTER)


@dataclass(frozen=True)
class Point:
    """Parameters of the joint model, the SDs well away from zero."""

    beta: NDArray
    residual: NDArray
    factors: NDArray

    @classmethod
    def random(cls, joint: JointDesign, seed: int) -> Point:
        generator = np.random.default_rng(seed)
        outcomes, effects = len(joint.designs), len(joint.first.effects)
        partial = generator.uniform(-0.8, 0.8, (1 + effects, outcomes * (outcomes - 1) // 2))
        sd = generator.uniform(0.3, 1.2, (1 + effects, outcomes, 1))
        factors = sd * correlation_factor(partial, outcomes, np)
        beta = generator.normal(size=(outcomes, len(joint.first.coefficients)))
        return cls(beta, factors[0], factors[1:])

    def likelihood(self, joint: JointDesign, mode: Mode | str) -> list[NDArray]:
        """The log likelihood, and its gradients."""
        inputs = [self.beta, self.residual, self.factors, *joint.arrays.values()]
        symbols = [pt.as_tensor_variable(values).type() for values in inputs]
        return pytensor.function(symbols, JointLikelihood()(*symbols), mode=mode)(*inputs)


def dense(joint: JointDesign, point: Point) -> tuple[NDArray, NDArray]:
    """Mean and covariance of all outcomes of all patients, patient after patient."""
    same = joint.therapist_index[:, None] == joint.therapist_index
    covariance = np.kron(np.eye(PATIENTS), point.residual @ point.residual.T)
    for k, factor in enumerate(point.factors):
        loading = same * np.outer(joint.Z[:, k], joint.Z[:, k])
        covariance += np.kron(loading, factor @ factor.T)
    return np.einsum("nkp,kp->nk", joint.W[:, :, :-1], point.beta).ravel(), covariance


@pytest.fixture(params=["none", "intercept", "intercept+slope"], scope="module")
def joint(request: pytest.FixtureRequest) -> JointDesign:
    return joint_design(request.param)


def test_likelihood_equals_the_dense_normal_with_outcomes_missing(joint: JointDesign) -> None:
    point = Point.random(joint, seed=5)
    found, *gradients = point.likelihood(joint, PYTHON)
    mean, covariance = dense(joint, point)
    there = joint.seen.ravel()
    normal = stats.multivariate_normal(mean[there], covariance[np.ix_(there, there)])
    # what a double keeps of some 100 terms
    assert found == pytest.approx(normal.logpdf(joint.W[:, :, -1].ravel()[there]), abs=1e-9)
    compiled = point.likelihood(joint, "NUMBA")
    for one, other in zip(compiled, [found, *gradients], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)


def test_gradient_is_that_of_finite_differences(joint: JointDesign) -> None:
    point = Point.random(joint, seed=6)
    data = list(joint.arrays.values())

    def likelihood(beta, residual, factors=point.factors):  # type: ignore[no-untyped-def]  # symbols
        return JointLikelihood()(beta, pt.tril(residual), pt.tril(factors), *data)[0]

    # verify_grad's own tolerance: 1e-4 of relative or absolute error in double precision.
    parts = [point.beta, point.residual, *([point.factors] if len(point.factors) else [])]
    verify_grad(likelihood, parts, rng=np.random.default_rng(7), mode=PYTHON)


def test_therapist_effects_are_drawn_from_their_conditional_normal() -> None:
    joint = joint_design("intercept+slope")
    point = Point.random(joint, seed=8)
    mean, covariance = dense(joint, point)
    there = joint.seen.ravel()
    precision = np.linalg.inv(covariance[np.ix_(there, there)])
    therapist, draws = 2, 20_000
    own = (joint.therapist_index == therapist)[:, None, None, None] * np.eye(3)[None, :, :, None]
    # Columns: intercepts of the three outcomes, then their slopes.
    load = np.concatenate([own[..., 0] * joint.Z[:, k, None, None] for k in range(2)], axis=2)
    load = load.reshape(-1, 6)[there]
    prior = np.zeros((6, 6))
    for k, factor in enumerate(point.factors):
        prior[3 * k : 3 * k + 3, 3 * k : 3 * k + 3] = factor @ factor.T
    weight = prior @ load.T @ precision
    expected = weight @ (joint.W[:, :, -1].ravel() - mean)[there]
    spread = prior - weight @ load @ prior
    repeated = JointDraws(*(np.repeat(part[None], draws, 0) for part in astuple(point)))
    drawn = draw_joint_effects(joint, repeated, np.random.default_rng(9))[:, therapist]
    drawn = drawn.transpose(0, 2, 1).reshape(draws, 6)
    error = np.sqrt(np.diag(spread) / draws)
    assert np.abs((drawn.mean(0) - expected) / error).max() < 4  # standard errors, of 6 means
    # A sample covariance has a relative standard error near sqrt(2 / draws) = 1%.
    scale = np.sqrt(np.outer(np.diag(spread), np.diag(spread)))
    assert np.abs((np.cov(drawn.T) - spread) / scale).max() < 0.05


def test_partial_correlations_have_the_lkj_density() -> None:
    size, shape, step = 4, 2.5, 1e-6
    generator = np.random.default_rng(10)
    partial = generator.uniform(-0.9, 0.9, size * (size - 1) // 2)
    lower = np.tril_indices(size, -1)

    def correlations(values: NDArray) -> NDArray:
        factor = correlation_factor(values, size, np)
        return (factor @ factor.T)[lower]

    factor = correlation_factor(partial, size, np)
    np.testing.assert_allclose(np.diag(factor @ factor.T), 1, rtol=1e-14)
    changes = step * np.eye(len(partial))
    jacobian = [
        (correlations(partial + h) - correlations(partial - h)) / (2 * step) for h in changes
    ]
    # LKJ(shape) of the correlations, det(R)^(shape - 1), carried over to the partial ones.
    log_determinant = 2 * np.log(np.diag(factor)).sum()
    expected = (shape - 1) * log_determinant + np.linalg.slogdet(np.array(jacobian))[1]
    found = (lkj_powers(size, shape) * np.log1p(-(partial**2))).sum()
    assert found == pytest.approx(expected, abs=1e-7)  # central differences with step 1e-6


def test_slopes_are_pooled_as_benefits() -> None:
    joint = joint_design("none")
    model = joint_model(joint, Priors())
    beta = next(v for v in ancestors(model.potentials[-1:]) if v.name == "beta")
    values = pm.draw(
        [beta, model["pooled_moderator_slope"], model["moderator_slope_spread_signed"]],
        500,
        random_seed=11,
    )
    slope = values[0][:, :, joint.first.coefficients.index("moderator")] * [-1, 1, 1]
    spread = (slope - values[1][:, None]) / values[2][:, None]
    # Standard normal deviations: 1,500 of them, so a mean within 4 / sqrt(1500).
    assert abs(spread.mean()) < 0.11
    assert spread.std() == pytest.approx(1, abs=0.08)  # 4 / sqrt(2 * 1500)


def test_patterns_count_every_patient_once() -> None:
    joint = joint_design("none")
    assert sum(pattern.patients for pattern in joint.patterns) == PATIENTS
    assert joint.orientation.tolist() == [-1.0, 1.0, 1.0]
