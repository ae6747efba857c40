"""Small trials whose outcome is of any family, and draws of every parameter to try on them."""

from __future__ import annotations

import numpy as np
import xarray as xr
from example_designs import example_patients
from numpy.typing import NDArray

from alliance.models.design.design import Design, build_design
from alliance.models.design.encoding import sum_to_zero_basis
from alliance.models.design.ratings import latent_patients, predictor_columns
from alliance.models.families.families import FAMILIES
from alliance.models.spec import ModelSpec, ModeratorSpec, TherapistEffects

Array = NDArray[np.float64]

LIMITS = {
    "gaussian": (-100.0, 200.0),
    "student_t": (-100.0, 200.0),
    "ordinal": (1.0, 5.0),
    "beta_binomial": (3.0, 30.0),
    "binary": (0.0, 1.0),
    "count": (0.0, 12.0),
}
CEILING = 92.0  # of the alliance, whose mean is 80 and SD 12
OPTIONS: dict[str, ModeratorSpec] = {
    "total": ModeratorSpec(),
    "within_between": ModeratorSpec(structure="within_between"),
    "between by arm": ModeratorSpec("within_between", between_interaction=True),
    "impute": ModeratorSpec(missing="impute"),
    "reliability": ModeratorSpec(reliability=0.7),
    "ceiling": ModeratorSpec(ceiling=CEILING),
    "all": ModeratorSpec("within_between", "impute", 0.7, CEILING, between_interaction=True),
}


def as_family(scores: Array, family: str) -> Array:
    """Continuous scores recorded as the family's outcome is: whole numbers within its limits."""
    if not FAMILIES[family].discrete:
        return scores
    low, high = LIMITS[family]
    middle, spread = np.mean(scores), 3 * np.std(scores)
    return np.clip(np.round(low + (high - low) * (0.5 + (scores - middle) / spread / 2)), low, high)


def family_patients(family: str, seed: int = 7, *, patients: int = 60) -> xr.Dataset:
    """Patients with and without a rating of the alliance, some at its ceiling."""
    found = example_patients(seed, patients=patients, therapists=6, no_patient=True)
    found["outcome"] = ("patient", as_family(found["outcome"].values, family))
    rating = np.minimum(found["moderator"].values, CEILING)
    rating[::5] = np.nan
    found["moderator"] = ("patient", rating)
    return found


def family_design(
    family: str,
    option: str = "total",
    therapist: TherapistEffects = "intercept+slope",
    *,
    therapist_by_arm: bool = False,
    interaction: bool = True,
    seed: int = 7,
    patients: int = 60,
) -> Design:
    """Design of `family_patients`; unless the option imputes, of those with a rating."""
    found = family_patients(family, seed, patients=patients)
    moderator = OPTIONS[option]
    if moderator.missing == "complete_case":
        found = found.isel(patient=np.flatnonzero(np.isfinite(found["moderator"].values)))
    spec = ModelSpec(
        "example",
        therapist,
        interaction,
        family=family,
        moderator=moderator,
        therapist_by_arm=therapist_by_arm,
    )
    return build_design(found, spec, LIMITS[family])


def repeating_design(family: str, moderator: ModeratorSpec | None = None) -> Design:
    """Design of 600 patients with whole ratings and baselines, many of whom are alike."""
    random = np.random.default_rng(8)
    patients, therapists = 600, 3
    arm = random.integers(0, 3, patients)
    baseline = random.integers(0, 2, patients).astype(float)
    rating = random.integers(0, 3, patients).astype(float)
    therapist = random.integers(0, therapists, patients)
    scores = rating + baseline + 0.5 * arm + 0.5 * therapist + random.normal(size=patients)
    found = xr.Dataset(
        {
            "outcome": ("patient", as_family(scores, family)),
            "baseline": ("patient", baseline),
            "moderator": ("patient", rating),
            "arm_index": ("patient", arm),
            "therapist_index": ("patient", therapist),
            "covariates": (("patient", "covariate"), np.empty((patients, 0))),
        },
        coords={
            "arm": ["A", "B", "C"],
            "therapist": [f"T{j}" for j in range(therapists)],
            "covariate": np.array([], dtype=str),
        },
    )
    spec = ModelSpec("example", family=family, moderator=moderator or ModeratorSpec())
    return build_design(found, spec, LIMITS[family])


def made_posterior(design: Design, seed: int = 9, *, chains: int = 2, draws: int = 4) -> xr.Dataset:
    """Random parameters with the names, dims and shapes of the family's posterior."""
    random = np.random.default_rng(seed)
    shape = (chains, draws)

    def positive(scale: float) -> tuple[tuple[str, ...], Array]:
        return ("chain", "draw"), scale * (0.2 + random.random(shape))

    names = [design.coefficients[k] for k in design.present]
    found: dict[str, tuple[tuple[str, ...], Array]] = {
        "beta": (("chain", "draw", "coefficient"), 0.4 * random.normal(size=(*shape, len(names))))
    }
    for parameter in design.family.parameters:
        if parameter.prior.startswith("ordered"):
            cutpoints = np.sort(2 * random.normal(size=(*shape, design.scale.top)), axis=-1)
            found[parameter.name] = (("chain", "draw", "threshold"), cutpoints)
        else:
            # Degrees of freedom beyond 2, where the variance exists
            found[parameter.name] = positive(20 if parameter.prior == "gamma" else 1)
    if design.effects:
        found["therapist_sd"] = positive(0.4)
    if "slope" in design.effects:
        found["therapist_slope_sd"] = positive(0.2)
    if "arm[1]" in design.effects:
        found["therapist_arm_sd"] = positive(0.2)
    if design.moderator.structure == "within_between":
        found["moderator_slope_between"] = (("chain", "draw"), random.normal(size=shape))
        found["moderator_therapist_sd"] = positive(0.5)
        found["moderator_residual_sd"] = positive(1)
        predictors = len(predictor_columns(design))
        gamma = 0.3 * random.normal(size=(*shape, predictors))
        found["moderator_coefficient"] = (("chain", "draw", "moderator_predictor"), gamma)
        if design.moderator.between_interaction:
            own = random.normal(size=(*shape, len(design.arms) - 1))
            found["moderator_interaction_between"] = (("chain", "draw", "between"), own)
    if design.moderator.latent:
        latent = latent_patients(design)
        values = random.normal(size=(*shape, len(latent)))
        found["moderator_latent"] = (("chain", "draw", "latent_patient"), values)
    coords = {
        "chain": np.arange(chains),
        "draw": np.arange(draws),
        "coefficient": names,
        "latent_patient": latent_patients(design),
    }
    return xr.Dataset(found, coords=coords)


def arm_parts(design: Design, beta: dict[str, float], kind: str) -> Array:
    """Effects of one kind for each arm at one draw, which sum to zero: shape (K,)."""
    basis = sum_to_zero_basis(len(design.arms))
    return basis @ [beta.get(f"{kind}[{k}]", 0.0) for k in range(1, len(design.arms))]
