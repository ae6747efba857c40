"""The instant engine against NUTS, on 20 trials of five kinds."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from arviz_stats.base import array_stats
from numpy.typing import NDArray
from planted_misfits import ARMS, OUTCOME

from alliance.inference.draws.datatree import draws_of
from alliance.inference.estimands.estimands import estimand_draws
from alliance.inference.posterior import Posterior
from alliance.inference.sampling.instant import GOOD_K, instant_outcome
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.inference.sampling.sampling import sample_outcome
from alliance.models.design.design import Design, build_design
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec

pytestmark = pytest.mark.validation

Array = NDArray[np.float64]
PATIENTS = 182
PRIORS = Priors()
# An SD is then known to about 0.5% (independent draws of a normal) to 1% (of a skewed SD): 3% is
# three standard errors or more.
LONG = SamplerProfile("standard", chains=4, draws=10_000, tune=2_000)
# therapists, arms crossed with them, SD of their means, of their slopes; one therapist with one
KINDS = {
    "crossed": (12, True, 0.3, 0.1, False),
    "nested": (20, False, 0.3, 0.1, False),
    "one therapist with one patient": (8, True, 0.3, 0.1, True),
    "therapist variance near zero": (12, True, 0.0, 0.0, False),
    "strong slope variance": (12, True, 0.3, 0.8, False),
}


def trial(kind: str, number: int) -> Design:
    therapists, crossed, sd, slope_sd, lone = KINDS[kind]
    random = np.random.default_rng([number, list(KINDS).index(kind)])
    arm = random.permutation(PATIENTS) % ARMS
    therapist = random.integers(0, therapists, PATIENTS)
    if not crossed:  # each therapist in one arm
        therapist = ARMS * (therapist // ARMS) + arm
        therapist = np.minimum(therapist, ARMS * (therapists // ARMS) - ARMS + arm)
    if lone:
        therapist = np.where(therapist == 0, 1, therapist)
        therapist[0] = 0
    alliance, baseline, noise = random.standard_normal((3, PATIENTS))
    u = sd * random.standard_normal(therapists)
    v = slope_sd * random.standard_normal(therapists)
    score = 0.4 * baseline + 0.2 * arm + (0.3 + v[therapist]) * alliance + u[therapist] + noise
    patients = xr.Dataset(
        {
            "outcome": ("patient", 50 + 10 * score),
            "baseline": ("patient", 50 + 10 * baseline),
            "moderator": ("patient", 80 + 12 * alliance),
            "arm_index": ("patient", arm),
            "therapist_index": ("patient", therapist),
            "covariates": (("patient", "covariate"), np.empty((PATIENTS, 0))),
        },
        coords={
            "arm": ["GE", "MCE", "SMT"],
            "therapist": [f"T{j}" for j in range(therapists)],
            "covariate": np.array([], dtype=str),
        },
    )
    return build_design(patients, ModelSpec(OUTCOME), (-1_000.0, 1_000.0))


def quantities(design: Design, tree: xr.DataTree) -> Array:
    found = estimand_draws(Posterior(design, draws_of(tree)))
    return np.asarray(found.transpose("estimand", "chain", "draw").values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", range(4))
def test_means_and_sds_agree(kind: str, number: int) -> None:
    design = trial(kind, number)
    quick, _ = instant_outcome(design, PRIORS, LONG, number)
    sampled, _ = sample_outcome(design, PRIORS, LONG, number)
    own, other = quantities(design, quick), quantities(design, sampled)
    facts = quick["sample_stats"].attrs
    effective = min(facts["effective_draws"], own[0].size)
    errors = [
        np.hypot(x.std() / np.sqrt(effective), float(array_stats.mcse(y)))
        for x, y in zip(own, other, strict=True)
    ]
    z = (own.mean(axis=(1, 2)) - other.mean(axis=(1, 2))) / errors
    ratio = own.std(axis=(1, 2)) / other.std(axis=(1, 2))
    print(
        f"{kind} {number}: k {facts['pareto_k']:.2f}, {effective:.0f} effective, largest |z| "
        f"{np.abs(z).max():.2f}, SDs {ratio.min():.3f} to {ratio.max():.3f}"
    )
    assert facts["pareto_k"] <= GOOD_K
    assert np.abs(z).max() < 4
    assert np.abs(ratio - 1).max() < 0.03
