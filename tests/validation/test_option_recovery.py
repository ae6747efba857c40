"""Recovery by z-score: every family, and every way that the alliance may enter, on known truth.

Beside the z-scores and intervals of what is reported, those of every patient's own latent alliance
are counted. A plain fit of the same data shows what each option is for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.typing import NDArray
from option_trials import PROFILE, Sampler, patients_of, simulate
from recovery_scores import (
    LARGEST_MEAN_Z,
    TRIALS,
    assert_recovered,
    random_numbers,
    scored,
    summarised,
)

from alliance.inference.draws.datatree import draws_of
from alliance.inference.estimands.estimands import estimand_draws
from alliance.inference.posterior import Posterior
from alliance.inference.sampling.sampling import sample_outcome
from alliance.models.design.design import Design, build_design
from alliance.models.families.families import FAMILIES
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec, ModeratorSpec

pytestmark = pytest.mark.validation

Array = NDArray[np.float64]

SLOPE = ("moderator_slope", "average")
CONTRAST = ("arm_contrast", "B-A")


@pytest.mark.parametrize("family", FAMILIES)
def test_families(family: str) -> None:
    patients, sampler = patients_of("total", family), Sampler()
    scores = []
    for number in range(TRIALS):
        trial = simulate(patients, random_numbers(family, number))
        draws = sampler(trial.design, seed=number)
        scores.append(scored(estimand_draws(Posterior(trial.design, draws)), trial.truth))
    assert_recovered(summarised(scores), family)


def test_arm_effects_that_vary_between_therapists() -> None:
    """Left out, their variation makes the interval of the arm contrast too narrow."""
    patients = patients_of("therapist_by_arm")
    scores, plainly = [], []
    for number in range(TRIALS):
        trial = simulate(patients, random_numbers("therapist_by_arm", number))
        for spec, rows in (
            (patients.spec, scores),
            (replace(patients.spec, therapist_by_arm=False), plainly),
        ):
            design = build_design(trial.data, spec)
            tree, _ = sample_outcome(design, Priors(), PROFILE, seed=number)
            rows.append(scored(estimand_draws(Posterior(design, draws_of(tree))), trial.truth))
    table, plain = summarised(scores), summarised(plainly)
    assert_recovered(table, "arm effects between therapists")
    assert ("therapist_arm_sd", "") in table.index
    columns = ["coverage", "width", "sd_z"]
    print(f"left out\n{plain.loc[[CONTRAST], columns].round(3).to_string()}")
    assert plain.loc[[CONTRAST], "width"].item() < 0.9 * table.loc[[CONTRAST], "width"].item()


@dataclass(frozen=True)
class Recovered:
    """Scores of an option's fits and of plain ones, and coverage of the latent alliances."""

    fitted: pd.DataFrame
    plain: pd.DataFrame
    latent_coverage: Array  # of each trial


def recover(option: str, plain: Callable[[xr.Dataset], tuple[xr.Dataset, ModelSpec]]) -> Recovered:
    patients, sampler = patients_of(option), Sampler()
    fitted, plainly, coverage = [], [], []
    for number in range(TRIALS):
        trial = simulate(patients, random_numbers(option, number))
        draws = sampler(trial.design, seed=number)
        fitted.append(scored(estimand_draws(Posterior(trial.design, draws)), trial.truth))
        limits = draws["moderator_latent"].quantile([0.025, 0.975], ("chain", "draw")).values
        coverage.append(((limits[0] <= trial.latent) & (trial.latent <= limits[1])).mean())
        other = build_design(*plain(trial.data))
        tree, _ = sample_outcome(other, Priors(), PROFILE, seed=number)
        plainly.append(scored(estimand_draws(Posterior(other, draws_of(tree))), trial.truth))
    return Recovered(summarised(fitted), summarised(plainly), np.array(coverage))


def assert_latent_covered(coverage: Array) -> None:
    """Share of the latent alliances within their intervals, patient by patient.

    All trials of an option have the same ratings, whose own error the standard error leaves out.
    """
    error = coverage.std(ddof=1) / np.sqrt(TRIALS)
    print(f"latent alliances covered: {coverage.mean():.4f} (standard error {error:.4f})")
    assert abs(coverage.mean() - 0.95) < LARGEST_MEAN_Z * error


def as_rated(data: xr.Dataset) -> tuple[xr.Dataset, ModelSpec]:
    return data, ModelSpec("example", "intercept")


def complete_cases(data: xr.Dataset) -> tuple[xr.Dataset, ModelSpec]:
    rated = np.flatnonzero(np.isfinite(data["moderator"].values))
    return data.isel(patient=rated), ModelSpec("example", "intercept")


def bias_in_errors(table: pd.DataFrame, label: tuple[str, str]) -> float:
    return float(table.loc[[label], "bias"].iloc[0] / table.loc[[label], "bias_se"].iloc[0])


def test_reliability_of_0_7() -> None:
    """Ratings taken for the truth give slopes too flat; with their reliability they do not."""
    found = recover("reliability", as_rated)
    assert_recovered(found.fitted, "reliability")
    print(f"taken for the truth\n{found.plain.round(3).to_string()}")
    assert_latent_covered(found.latent_coverage)
    assert bias_in_errors(found.plain, SLOPE) < -3


def test_ceiling_at_30_percent_of_the_patients() -> None:
    """Ratings cut off give slopes too steep; with the ceiling known they do not."""
    found = recover("ceiling", as_rated)
    assert_recovered(found.fitted, "ceiling")
    print(f"ceiling ignored\n{found.plain.round(3).to_string()}")
    assert_latent_covered(found.latent_coverage)
    assert bias_in_errors(found.plain, SLOPE) > 3


def test_a_quarter_of_the_alliances_missing_given_arm_and_baseline() -> None:
    """Both ways cover; imputation keeps the patients, and has the narrower intervals."""
    found = recover("impute", complete_cases)
    assert_recovered(found.fitted, "imputed")
    # Complete cases have another mean baseline, where the intercept stands; all else compares.
    imputed, complete = (table.drop(("intercept", "")) for table in (found.fitted, found.plain))
    print(
        f"coverage over all quantities: imputed {imputed['coverage'].mean():.3f}, "
        f"complete cases {complete['coverage'].mean():.3f}"
    )
    ratio = (imputed["width"] / complete["width"]).loc[[("baseline_slope", ""), CONTRAST]]
    print(f"widths, imputed to complete cases\n{ratio.round(3).to_string()}")
    assert_recovered(complete, "complete cases")
    assert_latent_covered(found.latent_coverage)
    assert (ratio < 0.95).all()


WITHIN, BETWEEN = 0.5, 0.05  # slopes for one SD of the alliance
SMALL, MANY = 6, 100  # patients of a therapist, and therapists


def within_between_trial(random: np.random.Generator) -> xr.Dataset:
    """Six patients for each of 100 therapists whose patients' mean alliance differs."""
    therapist = np.repeat(np.arange(MANY), SMALL)
    arm = np.tile(np.arange(2), MANY * SMALL // 2)
    mean = 0.6 * random.standard_normal(MANY)[therapist]
    deviation = 0.8 * random.standard_normal(len(arm))
    baseline = random.standard_normal(len(arm))
    outcome = 0.4 * baseline + 0.3 * arm + WITHIN * deviation + BETWEEN * mean
    outcome += 0.3 * random.standard_normal(MANY)[therapist]
    outcome += 0.7 * random.standard_normal(len(arm))
    return xr.Dataset(
        {
            "outcome": ("patient", 15 + 6 * outcome),
            "baseline": ("patient", 10 + 4 * baseline),
            "moderator": ("patient", 80 + 10 * (mean + deviation)),
            "arm_index": ("patient", arm),
            "therapist_index": ("patient", therapist),
            "covariates": (("patient", "covariate"), np.empty((len(arm), 0))),
        },
        coords={
            "arm": ["A", "B"],
            "therapist": [f"T{j}" for j in range(MANY)],
            "covariate": np.array([], dtype=str),
        },
    )


def observed_means(design: Design) -> float:
    """Slope between therapists by least squares on the observed means (Mundlak), in our units."""
    rating = design.X[:, design.coefficients.index("moderator")]
    counts = np.bincount(design.therapist_index)
    means = (np.bincount(design.therapist_index, rating) / counts)[design.therapist_index]
    names = ("intercept", "baseline", "arm[1]")
    others = design.X[:, [design.coefficients.index(name) for name in names]]
    columns = np.column_stack([means, rating - means, others])
    slope = np.linalg.lstsq(columns, design.y, rcond=None)[0][0]
    return float(slope * design.scaling.outcome[1] / design.scaling.moderator[1])


def test_slopes_within_and_between_with_six_patients_a_therapist() -> None:
    """Observed means mix the slopes (Lüdtke et al. 2008, doi:10.1037/a0012869); latent do not."""
    unit = 6 / 10  # of the outcome for one point of the alliance
    truth = pd.Series(
        {
            ("baseline_slope", ""): 6 / 4 * 0.4,
            ("moderator_slope", "within"): unit * WITHIN,
            ("moderator_slope", "between"): unit * BETWEEN,
            ("contextual_effect", ""): unit * (BETWEEN - WITHIN),
            ("arm_contrast", "B-A"): 6 * 0.3,
            ("therapist_sd", ""): 6 * 0.3,
            ("therapist_mean_reliability", ""): 0.36 / (0.36 + 0.64 / SMALL),
        }
    )
    spec = ModelSpec(
        "example",
        "intercept",
        interaction=False,
        moderator=ModeratorSpec(structure="within_between"),
    )
    scores, by_observed_means = [], []
    for number in range(TRIALS):
        design = build_design(within_between_trial(random_numbers("between", number)), spec)
        tree, _ = sample_outcome(design, Priors(), PROFILE, seed=number)
        scores.append(scored(estimand_draws(Posterior(design, draws_of(tree))), truth))
        by_observed_means.append(observed_means(design) - unit * BETWEEN)
    table = summarised(scores)
    assert_recovered(table, "within and between")
    bias, error = np.mean(by_observed_means), np.std(by_observed_means, ddof=1) / np.sqrt(TRIALS)
    latent = bias_in_errors(table, ("moderator_slope", "between"))
    expected = unit * (WITHIN - BETWEEN) * (1 - 0.36 / (0.36 + 0.64 / SMALL))
    print(
        f"slope between therapists, bias: observed means {bias:.4f} (SE {error:.4f}, in theory "
        f"{expected:.4f}), {bias / error:.1f} SE; latent means {latent:.1f} SE"
    )
    assert bias > 3 * error
    assert abs(bias - expected) < 3 * error
    assert abs(latent) < 3
