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

from alliance.models.design.design import build_design
from alliance.models.joint.joint import (
    JointDesign,
    JointDraws,
    correlation_factor,
    draw_joint_effects,
    effects_factor,
    join_designs,
    lkj_powers,
)
from alliance.models.joint.likelihood import JointLikelihood
from alliance.models.joint.model import joint_model
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec

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
    loading: NDArray

    @classmethod
    def random(cls, joint: JointDesign, seed: int) -> Point:
        generator = np.random.default_rng(seed)
        outcomes, effects = len(joint.designs), len(joint.first.effects)
        partial = generator.uniform(-0.8, 0.8, (1 + effects, outcomes * (outcomes - 1) // 2))
        sd = generator.uniform(0.3, 1.2, (1 + effects, outcomes))
        root = correlation_factor(partial, outcomes, np)
        beta = generator.normal(size=(outcomes, len(joint.first.coefficients)))
        own = generator.uniform(-0.9, 0.9, outcomes) if effects == 2 else None
        loading = effects_factor(sd[1:], root[1:], own, np) if effects else np.zeros((0, 0))
        return cls(beta, sd[0, :, None] * root[0], loading)

    def likelihood(self, joint: JointDesign, mode: Mode | str) -> list[NDArray]:
        """The log likelihood, and its gradients."""
        inputs = [self.beta, self.residual, self.loading, *joint.arrays.values()]
        symbols = [pt.as_tensor_variable(values).type() for values in inputs]
        return pytensor.function(symbols, JointLikelihood()(*symbols), mode=mode)(*inputs)


def dense(joint: JointDesign, point: Point) -> tuple[NDArray, NDArray]:
    """Mean and covariance of all outcomes of all patients, patient after patient."""
    same = joint.therapist_index[:, None] == joint.therapist_index
    covariance = np.kron(np.eye(PATIENTS), point.residual @ point.residual.T)
    effects, outcomes = len(joint.first.effects), len(joint.designs)
    between = (point.loading @ point.loading.T).reshape(effects, outcomes, effects, outcomes)
    for a in range(effects):
        for b in range(effects):
            shared = same * np.outer(joint.Z[:, a], joint.Z[:, b])
            covariance += np.kron(shared, between[a, :, b])
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

    def likelihood(beta, residual, loading=point.loading):  # type: ignore[no-untyped-def]  # symbols
        return JointLikelihood()(beta, pt.tril(residual), pt.tril(loading), *data)[0]

    # verify_grad's own tolerance: 1e-4 of relative or absolute error in double precision.
    parts = [point.beta, point.residual, *([point.loading] if len(point.loading) else [])]
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
    prior = point.loading @ point.loading.T
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


def test_each_outcome_alone_has_its_own_intercept_slope_and_correlation() -> None:
    """As of a single-outcome model, whatever the correlations between outcomes are."""
    generator = np.random.default_rng(12)
    outcomes = 4
    sd = generator.uniform(-1.2, 1.2, (2, outcomes))  # of either sign
    own = np.array([-0.99, -0.4, 0.0, 0.8])
    root = correlation_factor(generator.uniform(-0.9, 0.9, (2, 6)), outcomes, np)
    loading = effects_factor(sd, root, own, np)
    assert (loading == np.tril(loading)).all()
    covariance = (loading @ loading.T).reshape(2, outcomes, 2, outcomes)
    R_u, R_w = root @ np.swapaxes(root, -1, -2)
    for k in range(outcomes):
        cross = sd[0, k] * sd[1, k] * own[k]
        expected = [[sd[0, k] ** 2, cross], [cross, sd[1, k] ** 2]]
        np.testing.assert_allclose(covariance[:, k, :, k], expected, rtol=1e-12)
    np.testing.assert_allclose(covariance[0, :, 0], R_u * np.outer(sd[0], sd[0]), rtol=1e-12)
    slopes = R_u * np.outer(own, own) + R_w * np.sqrt(np.outer(1 - own**2, 1 - own**2))
    np.testing.assert_allclose(covariance[1, :, 1], slopes * np.outer(sd[1], sd[1]), rtol=1e-12)
    alone = effects_factor(sd[:1], root[:1], None, np)
    np.testing.assert_allclose(alone, loading[:outcomes, :outcomes], rtol=1e-14)


def test_correlations_of_intercept_and_slope_have_the_prior_of_a_single_outcome() -> None:
    """A 2 x 2 LKJ(shape) is a beta density over -1 to 1; the shape is the study's own."""
    joint = joint_design("intercept+slope")
    model = joint_model(joint, Priors(therapist_correlation=3.5))
    (density,) = (p for p in model.potentials if p.name == "therapist_correlation_signed_lkj")
    values = np.array([-0.9, 0.2, 0.6])
    found = density.eval({model["therapist_correlation_signed"]: values})
    apart = np.array([0.1, 0.2, -0.3])
    other = density.eval({model["therapist_correlation_signed"]: apart})
    expected = stats.beta(3.5, 3.5).logpdf((1 + np.array([values, apart])) / 2).sum(axis=1)
    # up to a constant: 1e-12 of sums of three logarithms
    assert found - other == pytest.approx(expected[0] - expected[1], abs=1e-12)


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
