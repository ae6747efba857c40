"""The joint likelihood with an ordinal outcome against integrals of the dense normal density."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy import integrate, stats

from alliance.models.design.design import build_design
from alliance.models.families.families import ORDINAL_PROBIT
from alliance.models.joint.joint import (
    JointDesign,
    correlation_factor,
    effects_factor,
    join_designs,
)
from alliance.models.joint.likelihood import mixed_log_likelihood
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec

PATIENTS, THERAPISTS, CATEGORIES = 12, 3, 4
# All patterns: everything, the ordinal one missing, alone, and with one Gaussian outcome.
HAVE = {"pain": range(9), "rating": [*range(5), *range(7, 12)], "function": range(7)}
BETTER = {"pain": "lower", "rating": "higher", "function": "higher"}
FAMILIES = {"rating": ORDINAL_PROBIT.name}


@pytest.fixture(scope="module")
def joint() -> JointDesign:
    generator = np.random.default_rng(2)
    moderator = generator.normal(size=PATIENTS)
    arm = np.arange(PATIENTS) % 2
    therapist = np.arange(PATIENTS) % THERAPISTS
    designs = {}
    for name, rows in HAVE.items():
        picked = np.asarray(rows)
        scores = generator.normal(size=len(picked))
        if name in FAMILIES:
            scores = np.arange(len(picked)) % CATEGORIES
        data = xr.Dataset(
            {
                "outcome": ("patient", scores.astype(float)),
                "moderator": ("patient", moderator[picked]),
                "arm_index": ("patient", arm[picked]),
                "therapist_index": ("patient", therapist[picked]),
                "covariates": (("patient", "covariate"), np.zeros((len(picked), 0))),
            },
            coords={
                "arm": ["A", "B"],
                "therapist": [f"t{k}" for k in range(THERAPISTS)],
                "covariate": np.array([], dtype=str),
            },
        )
        spec = ModelSpec(name, family=FAMILIES.get(name, "gaussian"))
        designs[name] = build_design(data, spec, (0, CATEGORIES - 1), (0.0, 1.0))
    return join_designs(designs, HAVE, BETTER)


def log_probability(
    seen: NDArray, values: NDArray, mean: NDArray, covariance: NDArray, ordinal: int, cut: NDArray
) -> float:
    """One patient's, the density of all outcomes integrated over the latent interval."""
    normal = stats.multivariate_normal(mean[seen], covariance[np.ix_(seen, seen)])
    if not seen[ordinal]:
        return normal.logpdf(values[seen])
    place = int(seen[:ordinal].sum())
    lower, upper = np.clip(cut[int(values[ordinal]) :][:2], -9, 9)  # SD 1 around means below 3

    def density(latent: float) -> float:
        point = values[seen].copy()
        point[place] = latent
        return normal.pdf(point)

    return float(np.log(integrate.quad(density, lower, upper, epsabs=0, epsrel=1e-11)[0]))


def test_density_is_the_dense_normal_integrated_over_the_latent_variable(
    joint: JointDesign,
) -> None:
    generator = np.random.default_rng(3)
    outcomes, effects = len(joint.designs), len(joint.first.effects)
    beta = generator.normal(0, 0.5, (outcomes, len(joint.first.coefficients)))
    partial = generator.uniform(-0.7, 0.7, (1 + effects, outcomes * (outcomes - 1) // 2))
    sd = generator.uniform(0.4, 1.1, (1 + effects, outcomes))
    sd[0, joint.ordinal] = 1.0  # of the latent residual
    root = correlation_factor(partial, outcomes, np)
    residual = sd[0, :, None] * root[0]
    loading = effects_factor(sd[1:], root[1:], generator.uniform(-0.9, 0.9, outcomes), np)
    coords = {
        "effect": list(joint.first.effects),
        "therapist": list(joint.first.therapists),
        "outcome": list(joint.designs),
    }
    rows = {"W": joint.W, "Z": joint.Z, "therapist_index": joint.therapist_index}
    with pm.Model(coords=coords) as model:
        data = {name: pt.constant(values) for name, values in rows.items()}
        value = mixed_log_likelihood(
            joint, data, *(pt.constant(part) for part in (beta, residual, loading)), Priors()
        )
    wanted = [value, model["therapist_standard"], model["cutpoint"]]
    outputs = model.replace_rvs_by_values(wanted)
    point = {
        name: start + generator.normal(0, 0.5, np.shape(start))
        for name, start in model.initial_point().items()
    }
    function = model.compile_fn(outputs, inputs=model.value_vars, mode="FAST_COMPILE")
    found, standard, cutpoints = function(point)

    covariance = residual @ residual.T
    cut = np.concatenate([[-np.inf], cutpoints, [np.inf]])
    kept = beta.copy()
    kept[joint.ordinal, joint.first.coefficients.index("intercept")] = 0.0
    own = np.einsum("abc,jc->jab", loading.reshape(effects, outcomes, -1), np.hstack([*standard]))
    expected = 0.0
    for i in range(PATIENTS):
        mean = (joint.W[i, :, :-1] * kept).sum(axis=1)
        for k in range(effects):
            mean += joint.Z[i, k] * own[joint.therapist_index[i], k]
        values = joint.W[i, :, -1]
        expected += log_probability(joint.seen[i], values, mean, covariance, joint.ordinal, cut)
    # The integrals' tolerance is 1e-11 for each of ten patients, with tails beyond 9 left out.
    assert found == pytest.approx(expected, rel=1e-8)
