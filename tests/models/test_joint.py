"""The joint likelihood of all outcomes against the dense multivariate normal."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from pytensor.compile.mode import Mode
from scipy import stats

from models.design import build_design
from models.joint import JointDesign, join_designs
from models.joint_model import joint_model
from models.priors import Priors
from models.spec import ModelSpec

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


# A wheel of PyTensor links no BLAS in C; its interpreter takes NumPy's instead, and warns.
@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS:UserWarning")
@pytest.mark.parametrize("therapist", ["none", "intercept", "intercept+slope"])
def test_density_equals_the_dense_normal_with_outcomes_missing(therapist: str) -> None:
    joint = joint_design(therapist)
    model = joint_model(joint, Priors())
    effects = joint.first.effects
    names = ["therapist", "therapist_slope"][: len(effects)]
    wanted = ["log_likelihood_sum", "beta", "residual_sd", "residual_correlation"]
    wanted += [f"{name}_{part}" for name in names for part in ("sd", "correlation")]
    outputs = model.replace_rvs_by_values([model[name] for name in wanted])
    function = pm.compile(
        model.value_vars, outputs, mode=Mode(linker="py", optimizer="fast_compile")
    )
    generator = np.random.default_rng(5)
    start = model.initial_point()
    point = [
        start[v.name] + generator.normal(0, 0.3, np.shape(start[v.name])) for v in model.value_vars
    ]
    found, beta, residual_sd, residual_correlation, *rest = function(*point)

    def covariance(sd: np.ndarray, correlation: np.ndarray) -> np.ndarray:
        return np.outer(sd, sd) * correlation

    same = joint.therapist_index[:, None] == joint.therapist_index
    dense = np.kron(np.eye(PATIENTS), covariance(residual_sd, residual_correlation))
    for k, (sd, correlation) in enumerate(zip(rest[::2], rest[1::2], strict=True)):
        dense += np.kron(same * np.outer(joint.Z[:, k], joint.Z[:, k]), covariance(sd, correlation))
    mean = np.einsum("nkp,kp->nk", joint.W[:, :, :-1], beta).ravel()
    there = joint.seen.ravel()
    expected = stats.multivariate_normal(mean[there], dense[np.ix_(there, there)]).logpdf(
        joint.W[:, :, -1].ravel()[there]
    )
    assert found == pytest.approx(expected, abs=1e-8)  # what a double keeps of some 100 terms


def test_patterns_count_every_patient_once() -> None:
    joint = joint_design("none")
    assert sum(pattern.patients for pattern in joint.patterns) == PATIENTS
    assert joint.orientation.tolist() == [-1.0, 1.0, 1.0]
