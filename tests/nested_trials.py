"""Trials of which some arms have therapists, and what a dense normal distribution says of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from alliance.models.design.design import Design, build_design
from alliance.models.gaussian.gaussian_draws import GaussianDraws
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec

Array = NDArray[np.float64]

# Arms, those without therapists, whether residual SDs are by arm, what varies between therapists.
DESIGNS: tuple[tuple[tuple[str, ...], tuple[str, ...], bool, str], ...] = (
    (("CBT", "TAU"), ("TAU",), False, "intercept+slope"),
    (("CBT", "TAU"), ("TAU",), False, "intercept"),
    (("CBT", "TAU"), ("TAU",), False, "none"),
    (("TAU", "CBT", "IPT"), ("TAU",), False, "intercept+slope"),
    (("TAU", "CBT", "IPT"), ("TAU",), True, "intercept+slope"),
    (("TAU", "CBT", "WL"), ("TAU", "WL"), False, "intercept"),
    (("A", "B"), (), True, "intercept+slope"),
    (("A", "B", "C"), (), True, "none"),
    (("A", "B"), ("A", "B"), False, "none"),
    (("A", "B"), ("A", "B"), True, "none"),
)


def patients(
    arms: tuple[str, ...], without: tuple[str, ...], *, number: int = 60, therapists: int = 7,
    seed: int = 3, shift: float = 0.0, therapist_sd: float = 0.0, sds: tuple[float, ...] = (),
) -> xr.Dataset:  # fmt: skip
    """Analysed patients, crossed where arms have therapists; the last therapist has one patient."""
    random = np.random.default_rng(seed)
    arm = random.permutation(np.arange(number) % len(arms))
    alone = np.isin(arm, [arms.index(code) for code in without])
    therapist = random.integers(0, therapists - 1, number)
    if not alone.all():
        therapist[np.flatnonzero(~alone)[0]] = therapists - 1
    therapist[alone] = -1
    alliance, baseline = random.normal(size=(2, number))
    own = np.append(random.normal(0, therapist_sd, therapists), 0.0)[therapist]
    spread = np.array(sds or (1.0,) * len(arms))[arm]
    y = 0.3 * alliance + 0.5 * baseline + shift * arm + own + spread * random.normal(size=number)
    return xr.Dataset(
        {
            "outcome": ("patient", y),
            "moderator": ("patient", alliance),
            "baseline": ("patient", baseline),
            "arm_index": ("patient", arm),
            "therapist_index": ("patient", therapist),
            "covariates": (("patient", "covariate"), np.empty((number, 0))),
        },
        coords={
            "arm": list(arms),
            "therapist": [f"T{j}" for j in range(therapists)] if not alone.all() else [],
            "covariate": np.array([], dtype=str),
        },
    )


def nested_design(
    arms: tuple[str, ...], without: tuple[str, ...], by_arm: bool, therapist: Any, **own: Any
) -> Design:
    """Design of such patients."""
    spec = ModelSpec("y", therapist, without_therapist=without, residual_by_arm=by_arm)
    return build_design(patients(arms, without, **own), spec)


def random_draws(design: Design, number: int = 4, seed: int = 1) -> GaussianDraws:
    """Parameters at random."""
    random = np.random.default_rng(seed)
    residual = np.exp(random.normal(0, 0.4, (number, design.nesting.number)))
    spreads = {}
    if design.effects:
        spreads["therapist_sd"] = random.uniform(0.2, 1, number)
    if "slope" in design.effects:
        spreads["therapist_slope_sd"] = random.uniform(0.2, 1, number)
        spreads["therapist_correlation"] = random.uniform(-0.8, 0.8, number)
    beta = random.normal(size=(number, len(design.coefficients)))
    residual = residual if residual.shape[1] > 1 else residual[:, 0]
    return GaussianDraws(beta, residual, **spreads)


def dense_covariance(design: Design, draws: GaussianDraws, d: int) -> Array:
    """Covariance of all outcomes at one draw, patient by patient."""
    arm = design.arm_index
    groups = np.array(design.nesting.groups or (0,) * len(design.arms))
    V = np.diag(np.atleast_1d(draws.residual_sd[d])[groups[arm]] ** 2)
    size = len(design.effects)
    if not size:
        return V
    S = np.diag([draws.therapist_sd[d] ** 2] + [0.0] * (size - 1))
    if size > 1:
        S[1, 1] = draws.therapist_slope_sd[d] ** 2
        S[0, 1] = S[1, 0] = draws.therapist_correlation[d] * np.sqrt(S[0, 0] * S[1, 1])
    treated = ~np.isin(arm, list(design.nesting.without))
    for j in range(len(design.therapists)):
        own = treated & (design.therapist_index == j)
        Z = design.X[:, design.effect_columns] * own[:, None]
        V += Z @ S @ Z.T
    return V


def dense_log_likelihood(design: Design, draws: GaussianDraws) -> Array:
    """Of all outcomes at each draw, from the dense multivariate normal."""
    return np.array(
        [
            stats.multivariate_normal(
                design.X @ draws.beta[d], dense_covariance(design, draws, d)
            ).logpdf(design.y)
            for d in range(len(draws.beta))
        ]
    )


def dense_collapsed(design: Design, draws: GaussianDraws) -> Array:
    """The same with the coefficients integrated out."""
    X = design.X[:, design.present]
    prior = np.diag(design.prior_sd(Priors())[design.present] ** 2)
    return np.array(
        [
            stats.multivariate_normal(
                np.zeros(len(X)), dense_covariance(design, draws, d) + X @ prior @ X.T
            ).logpdf(design.y)
            for d in range(len(draws.beta))
        ]
    )
