"""The instant engine against NUTS in every family, on trials of seven kinds."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from arviz_stats.base import array_stats
from numpy.typing import NDArray
from scipy import special

from alliance.inference.draws.datatree import draws_of
from alliance.inference.estimands.estimands import estimand_draws
from alliance.inference.posterior import Posterior
from alliance.inference.sampling.importance import GOOD_K, UnreliableWeightsError
from alliance.inference.sampling.instant import instant_outcome
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.inference.sampling.sampling import sample_outcome
from alliance.models.design.design import Design, build_design
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec

pytestmark = pytest.mark.validation

Array = NDArray[np.float64]
PATIENTS, ARMS = 182, 3
PRIORS = Priors()
LONG = SamplerProfile("standard", chains=4, draws=4_000, tune=1_000)
# therapists, arms crossed with them, SD of their means, of their slopes
KINDS = {
    "crossed": (12, True, 0.3, 0.1),
    "nested": (21, False, 0.3, 0.1),
    "few therapists": (4, True, 0.3, 0.1),
    "therapists with one patient": (90, True, 0.3, 0.1),
    "rare and empty categories": (12, True, 0.3, 0.1),
    "scores at both ends": (12, True, 0.3, 0.1),
    "strong slope variance": (12, True, 0.3, 0.8),
}
LIMITS = {
    "student_t": None,
    "ordinal": (0.0, 6.0),
    "beta_binomial": (0.0, 27.0),
    "binary": (0.0, 1.0),
    "count": (0.0, np.inf),
}


def scores(family: str, kind: str, latent: Array, random: np.random.Generator) -> Array:
    """Scores around a latent predictor in SDs, as the family has them."""
    rare, wide = kind.startswith("rare"), kind.startswith("scores")
    if wide:
        latent = 3 * latent
    if family == "student_t":
        return 50 + 10 * (latent + 0.7 * random.standard_t(2 if rare else 4, len(latent)))
    if family == "ordinal":
        noisy = 1.8 * latent + random.logistic(size=len(latent))
        chosen = np.searchsorted([-3.0, -1.5, -0.5, 0.5, 1.5, 3.0], noisy).astype(float)
        return np.where(np.isin(chosen, [2.0, 5.0]), chosen - 1, chosen) if rare else chosen
    if family == "beta_binomial":
        share = special.expit(0.8 * latent + (-2.5 if rare else 0.3))
        own = random.beta(12 * share + 1e-9, 12 * (1 - share) + 1e-9)
        return random.binomial(27, own).astype(float)
    if family == "binary":
        chance = special.expit(1.8 * latent - (2.5 if rare else 0.3))
        return (random.random(len(latent)) < chance).astype(float)
    rate = np.exp(0.6 * latent + (-1.5 if rare else 0.7)) * random.gamma(3, 1 / 3, len(latent))
    return random.poisson(rate).astype(float)


def trial(family: str, kind: str, number: int) -> Design:
    therapists, crossed, sd, slope_sd = KINDS[kind]
    random = np.random.default_rng([number, list(KINDS).index(kind), list(LIMITS).index(family)])
    arm = random.permutation(PATIENTS) % ARMS
    therapist = random.integers(0, therapists, PATIENTS)
    if not crossed:  # each therapist in one arm
        therapist = ARMS * (therapist // ARMS) + arm
    if kind == "therapists with one patient":
        therapist = np.where(np.arange(PATIENTS) < 60, np.arange(PATIENTS), 60 + therapist // 3)
    alliance, baseline = random.standard_normal((2, PATIENTS))
    u = sd * random.standard_normal(therapists + 60)
    v = slope_sd * random.standard_normal(therapists + 60)
    latent = 0.4 * baseline + 0.2 * arm + (0.3 + v[therapist]) * alliance + u[therapist]
    patients = xr.Dataset(
        {
            "outcome": ("patient", scores(family, kind, latent, random)),
            "baseline": ("patient", 50 + 10 * baseline),
            "moderator": ("patient", 80 + 12 * alliance),
            "arm_index": ("patient", arm),
            "therapist_index": ("patient", therapist),
            "covariates": (("patient", "covariate"), np.empty((PATIENTS, 0))),
        },
        coords={
            "arm": ["GE", "MCE", "SMT"],
            "therapist": [f"T{j}" for j in range(therapist.max() + 1)],
            "covariate": np.array([], dtype=str),
        },
    )
    return build_design(patients, ModelSpec("outcome", family=family), LIMITS[family])


def quantities(design: Design, tree: xr.DataTree) -> Array:
    found = estimand_draws(Posterior(design, draws_of(tree)))
    values = np.asarray(found.transpose("estimand", "chain", "draw").values)
    # A Student-t distribution with at most two degrees of freedom has no SD
    return values[~np.isin(found["quantity"].values, ["residual_sd", "therapist_icc"])]


@pytest.mark.parametrize("number", range(3), ids=["first", "second", "third"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", LIMITS)
def test_means_sds_and_limits_agree(family: str, kind: str, number: int) -> None:
    design = trial(family, kind, number)
    try:
        quick, _ = instant_outcome(design, PRIORS, LONG, number)
    except UnreliableWeightsError as error:
        print(f"{family}, {kind} {number}: NUTS takes over ({error})")
        pytest.skip("NUTS takes over")
    sampled, _ = sample_outcome(design, PRIORS, LONG, number)
    own, other = quantities(design, quick), quantities(design, sampled)
    facts = quick["sample_stats"].attrs
    effective = min(facts["effective_draws"], own[0].size)
    share = own[0].size / effective  # by how much weights widen the error of independent draws
    z, sds, limits = [], [], []
    for x, y in zip(own, other, strict=True):
        error = np.hypot(x.std() * np.sqrt(share / x.size), float(array_stats.mcse(y)))
        z.append((x.mean() - y.mean()) / error)
        noise = np.hypot(
            float(array_stats.mcse(x, method="sd")) * np.sqrt(share),
            float(array_stats.mcse(y, method="sd")),
        )
        sds.append((x.std() / y.std() - 1, noise / y.std()))
        for probability in (0.025, 0.975):
            noise = np.hypot(
                float(array_stats.mcse(x, method="quantile", prob=probability)) * np.sqrt(share),
                float(array_stats.mcse(y, method="quantile", prob=probability)),
            )
            away = np.quantile(x, probability) - np.quantile(y, probability)
            limits.append((away / y.std(), noise / y.std()))
    sd, sd_noise = np.array(sds).T
    limit, limit_noise = np.array(limits).T
    print(
        f"{family}, {kind} {number}: k {facts['pareto_k']:.2f}, {effective:.0f} effective, "
        f"nodes {facts['nodes']}, error {facts['integration_error']:.0e}, "
        f"largest |z| {np.abs(z).max():.2f}, SDs {100 * np.abs(sd).max():.1f}% "
        f"({np.abs(sd / sd_noise).max():.1f} errors), limits {100 * np.abs(limit).max():.1f}% of "
        f"an SD ({np.abs(limit / limit_noise).max():.1f} errors)"
    )
    assert facts["pareto_k"] <= GOOD_K
    assert np.abs(z).max() < 4
    # 3% and 6% as far as the samples tell: skewed quantities have Monte Carlo errors of as much
    assert (np.abs(sd) < np.maximum(0.03, 4 * sd_noise)).all()
    assert (np.abs(limit) < np.maximum(0.06, 4 * limit_noise)).all()
