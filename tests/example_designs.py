"""Small trials with known truth, as `Trial.analysed` gives them, and parameters to try on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.covariates import Covariate, column_coordinates
from alliance.models.design.design import Design, build_design
from alliance.models.gaussian.gaussian_draws import GaussianDraws
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec, TherapistEffects

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ExampleTruth:
    """True values on the outcome's own scale; by default the therapists differ clearly."""

    intercept: float = 12.0
    baseline_slope: float = 0.5
    arm_effect: tuple[float, ...] = (-1.0, 1.5, 0.0)
    moderator_slope: tuple[float, ...] = (0.10, 0.02, 0.06)
    covariate_slope: float = -0.05
    therapist_sd: float = 2.5
    therapist_slope_sd: float = 0.12
    therapist_correlation: float = 0.4
    residual_sd: float = 3.0


def example_patients(
    seed: int = 1,
    *,
    patients: int = 180,
    therapists: int = 12,
    baseline: bool = True,
    truth: ExampleTruth | None = None,
    one_patient: bool = False,
    no_patient: bool = False,
) -> xr.Dataset:
    """Analysed patients of a simulated trial with the covariates age and sex.

    With `one_patient` the first therapist has a single patient, with `no_patient` the last has
    none; the patients' therapists are otherwise random.
    """
    truth = ExampleTruth() if truth is None else truth
    arms = [f"arm {letter}" for letter in "CABDEF"[: len(truth.arm_effect)]]
    random = np.random.default_rng(seed)
    arm = random.permutation(np.arange(patients) % len(arms))
    therapist = random.integers(int(one_patient), therapists - int(no_patient), patients)
    if one_patient:
        therapist[patients // 2] = 0
    moderator = random.normal(80, 12, patients)
    age, sex = random.normal(54, 10, patients), random.integers(0, 2, patients).astype(float)
    standard = random.normal(size=(2, therapists))
    rho = truth.therapist_correlation
    on_intercept = truth.therapist_sd * standard[0]
    on_slope = truth.therapist_slope_sd * (rho * standard[0] + np.sqrt(1 - rho**2) * standard[1])
    slope = np.array(truth.moderator_slope)[arm] + on_slope[therapist]
    outcome = truth.intercept + np.array(truth.arm_effect)[arm] + on_intercept[therapist]
    outcome += slope * (moderator - 80) + truth.covariate_slope * (age - 54)
    outcome += truth.residual_sd * random.normal(size=patients)
    variables = {
        "moderator": ("patient", moderator),
        "arm_index": ("patient", arm),
        "therapist_index": ("patient", therapist),
        "covariates": (("patient", "covariate"), np.column_stack([age, sex])),
    }
    if baseline:
        before = random.normal(10, 4, patients)
        outcome += truth.baseline_slope * (before - 10)
        variables["baseline"] = ("patient", before)
    coords = {
        "arm": arms,
        "therapist": [f"T{number:03d}" for number in range(therapists)],
        **column_coordinates([Covariate("age"), Covariate("sex", ("F", "M"))]),
    }
    return xr.Dataset(variables | {"outcome": ("patient", outcome)}, coords=coords)


def example_design(
    patients: xr.Dataset,
    therapist: TherapistEffects = "intercept+slope",
    *,
    interaction: bool = True,
    **options: Any,
) -> Design:
    """Design of the patients that `example_patients` gives; `options` as `ModelSpec` has them."""
    return build_design(patients, ModelSpec("example", therapist, interaction, **options))


def prior_draws(
    design: Design, priors: Priors, count: int, random: np.random.Generator
) -> GaussianDraws:
    """Independent draws of the parameters from their priors."""
    scale = design.prior_sd(priors)
    beta = scale * random.normal(size=(count, len(scale)))
    residual = priors.residual_sd * np.abs(random.normal(size=count))
    intercept = priors.therapist_sd * np.abs(random.normal(size=count))
    slope = priors.therapist_slope_sd * np.abs(random.normal(size=count))
    shape = priors.therapist_correlation
    correlation = 2 * random.beta(shape, shape, count) - 1
    return GaussianDraws(
        beta=beta,
        residual_sd=residual,
        therapist_sd=intercept if design.effects else None,
        therapist_slope_sd=slope if "slope" in design.effects else None,
        therapist_correlation=correlation if "slope" in design.effects else None,
    )


def therapist_covariance(draws: GaussianDraws, draw: int = 0) -> Array:
    """Covariance of a therapist's effects at one draw, shape (q, q), entry by entry."""
    if draws.therapist_sd is None:
        return np.zeros((0, 0))
    u = draws.therapist_sd[draw]
    if draws.therapist_slope_sd is None or draws.therapist_correlation is None:
        return np.array([[u**2]])
    v, rho = draws.therapist_slope_sd[draw], draws.therapist_correlation[draw]
    return np.array([[u**2, rho * u * v], [rho * u * v, v**2]])


def random_effects_matrix(design: Design) -> Array:
    """Z of all therapists side by side, shape (n, J q): therapist by therapist."""
    size = len(design.effects)
    Z = np.zeros((len(design.y), len(design.therapists) * size))
    for row, j in enumerate(design.therapist_index):
        Z[row, j * size : (j + 1) * size] = design.X[row, design.effect_columns]
    return Z


def conditional_effects(design: Design, draws: GaussianDraws, draw: int = 0) -> tuple[Array, Array]:
    """Mean and covariance of all effects given the rest, from dense matrices over patients.

    Shapes (J q,) and (J q, J q), therapist by therapist.
    """
    Z = random_effects_matrix(design)
    S = np.kron(np.eye(len(design.therapists)), therapist_covariance(draws, draw))
    V = Z @ S @ Z.T + draws.residual_sd[draw] ** 2 * np.eye(len(design.y))
    gain = S @ Z.T @ np.linalg.inv(V)
    return gain @ (design.y - design.X @ draws.beta[draw]), S - gain @ Z @ S


def unconstrained(draws: GaussianDraws) -> dict[str, Array]:
    """The first draw as PyMC takes it: SDs by their logarithms, the correlation by its log odds."""
    values = {"beta": draws.beta[0], "residual_sd_log__": np.log(draws.residual_sd[0])}
    if draws.therapist_sd is not None:
        values["therapist_sd_log__"] = np.log(draws.therapist_sd[0])
    if draws.therapist_slope_sd is not None and draws.therapist_correlation is not None:
        values["therapist_slope_sd_log__"] = np.log(draws.therapist_slope_sd[0])
        rho = draws.therapist_correlation[0]
        values["therapist_correlation_interval__"] = np.log1p(rho) - np.log1p(-rho)
    return {name: np.asarray(value) for name, value in values.items()}
