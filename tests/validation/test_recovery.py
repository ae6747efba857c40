"""Recovery: posteriors of simulated trials against the true values that made them.

Why the scores have to behave: the truth is drawn from the prior, so that among trials whose data
look the same the truth is distributed as the posterior. The prior speaks of an outcome with mean 0
and SD 1 among the analysed patients. Hence a truth counts only if it gives the outcome nearly that
SD (in a unit of its own): the SD is a function of the data, and what holds given the data holds
given their SD. Two mismatches are left, both small beside the random error of 80 scores: the SD is
1 only within `SD_TOLERANCE`; and the mean is made zero by subtraction, which amounts to a flat
prior of the intercept instead of Normal(0, 1), where the posterior SD is near 0.15.

The four outcomes of a trial share patients and therapists, but here neither residuals nor effects
are correlated between them: given the patients, their scores are independent, and a
Kolmogorov-Smirnov test may take all 80 scores of one quantity. Scores of different quantities of
one fit depend on each other; they are tested one quantity at a time, with Holm's correction.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from example_designs import prior_draws
from numpy.typing import NDArray
from scipy import stats

from alliance.data_prep.simulator.inputs import (
    ARMS,
    CorrelationInputs,
    Given,
    OutcomeTruth,
    SimulationInputs,
    read_inputs,
    true_values,
)
from alliance.data_prep.simulator.simulation import Simulated, simulate_trial
from alliance.data_prep.trial.trial import Trial, trial_from_frame
from alliance.inference.draws.datatree import draws_of
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.sampling.profiles import PROFILES
from alliance.models.design.design import Design, build_design
from alliance.models.design.encoding import sum_to_zero_basis
from alliance.models.gaussian.gaussian_draws import GaussianDraws
from alliance.models.priors import Priors
from alliance.models.spec import specify

pytestmark = pytest.mark.validation

TRIALS = 20
PATIENTS, THERAPISTS = 240, 12
SD_TOLERANCE = 0.02
SIGNIFICANT = 0.01
LOCATION = (
    "intercept",
    "baseline_slope",
    "moderator_slope",
    "arm_contrast",
    "interaction",
    "covariate_slope",
)


def inputs_without_correlation() -> SimulationInputs:
    none: Given[float] = Given(value=0.0, tag="assumed", source="independent scores")
    independent = CorrelationInputs(baseline=none, residual=none, therapist=none)
    return read_inputs().model_copy(update={"correlation": independent})


INPUTS = inputs_without_correlation()


def simulate(seed: int, truth: dict[str, OutcomeTruth]) -> Simulated:
    return simulate_trial(
        seed=seed,
        patients=PATIENTS,
        therapists=THERAPISTS,
        inputs=INPUTS,
        respect_ranges=False,
        truth=truth,
    )


def designs(trial: Trial) -> dict[str, Design]:
    return {
        name: build_design(trial.analysed(name), spec)
        for name, spec in specify(trial.study).items()
    }


def population_means(outcome: str) -> dict[str, float]:
    """Means at which the simulator's parameters hold."""
    baseline = INPUTS.outcomes[outcome].baseline_mean
    return {
        "baseline": 0.0 if baseline is None else baseline.value,
        "moderator": INPUTS.alliance.population()["mean"],
        "age": INPUTS.patient.age_mean.value,
    }


def on_the_simulators_scale(design: Design, draw: GaussianDraws) -> OutcomeTruth:
    """Standardised parameters as the simulator takes them.

    One SD of the outcome is the residual SD of the simulator's inputs. The design's parameters hold
    at the means of the analysed patients, the simulator's at those of the population.
    """
    unit = INPUTS.outcomes[design.outcome].residual_sd.value
    means, scaling = population_means(design.outcome), design.scaling
    beta = dict(zip(design.coefficients, draw.beta[0], strict=True))
    basis = sum_to_zero_basis(len(ARMS))
    arm = basis @ [beta["arm[1]"], beta["arm[2]"]]
    deviation = basis @ [beta["interaction[1]"], beta["interaction[2]"]]
    moderator_mean, moderator_sd = scaling.moderator
    shift = (means["moderator"] - moderator_mean) / moderator_sd
    from_means = beta["intercept"] + beta["moderator"] * shift
    from_means += beta["baseline"] * (means["baseline"] - scaling.baseline[0]) / scaling.baseline[1]
    age_mean, age_sd = scaling.covariates[0]
    from_means += beta["covariate[age]"] * (means["age"] - age_mean) / age_sd
    u, v = draw.therapist_sd[0], draw.therapist_slope_sd[0]
    covariance = draw.therapist_correlation[0] * u * v
    u_there = np.sqrt(u**2 + 2 * shift * covariance + shift**2 * v**2)
    return OutcomeTruth(
        intercept=INPUTS.outcomes[design.outcome].followup_mean.value + unit * from_means,
        baseline_slope=unit * beta["baseline"] / scaling.baseline[1],
        arm_effect=dict(zip(ARMS, unit * (arm + deviation * shift), strict=True)),
        moderator_slope=dict(
            zip(ARMS, unit * (beta["moderator"] + deviation) / moderator_sd, strict=True)
        ),
        therapist_sd=unit * u_there,
        therapist_slope_sd=unit * v / moderator_sd,
        therapist_correlation=(covariance + shift * v**2) / (u_there * v),
        residual_sd=unit * draw.residual_sd[0],
        covariate_slope=unit * beta["covariate[age]"] / age_sd,
    )


def trial_with_truth_from_the_prior(seed: int) -> tuple[Simulated, Trial]:
    """A trial whose outcomes' true values are prior draws that give an SD of 1."""
    random = np.random.default_rng([2013, seed])
    # With one seed, patients and all random numbers stay the same whatever the truth.
    any_truth = {
        name: replace(true, covariate_slope=1.0) for name, true in true_values(INPUTS).items()
    }
    first = simulate(seed, any_truth)
    trial = trial_from_frame(first.study, first.frame)
    by_outcome = designs(trial)
    accepted: dict[str, OutcomeTruth] = {}
    while len(accepted) < len(by_outcome):
        candidates = {
            name: on_the_simulators_scale(design, prior_draws(design, Priors(), 1, random))
            for name, design in by_outcome.items()
        }
        frame = simulate(seed, candidates).frame
        # Who rated and who was seen again: the analysed patients of every outcome.
        frame = frame.dropna()
        for name, design in by_outcome.items():
            assert len(frame) == len(design.y)
            unit = INPUTS.outcomes[name].residual_sd.value
            sd = frame[first.study.outcomes[name].followup].std() / unit
            if name not in accepted and abs(sd - 1) < SD_TOLERANCE:
                accepted[name] = candidates[name]
    simulated = simulate(seed, accepted)
    return simulated, trial_from_frame(simulated.study, simulated.frame)


def truth_at_the_patients_means(
    record: dict[str, Any], design: Design, therapist: str
) -> dict[tuple[str, str], float]:
    """The simulator's record of the truth, moved to the means of the analysed patients."""
    means, scaling = population_means(design.outcome), design.scaling
    shift = scaling.moderator[0] - means["moderator"]
    slopes, interactions = record["moderator_slope"], record["interaction"]
    intercept = record["intercept"] + slopes["average"] * shift
    intercept += record.get("baseline_slope", 0.0) * (scaling.baseline[0] - means["baseline"])
    intercept += record["covariate_slope"]["age"] * (scaling.covariates[0][0] - means["age"])
    u, v, rho = (record[f"therapist_{name}"] for name in ("sd", "slope_sd", "correlation"))
    u_here = np.sqrt(u**2 + 2 * shift * rho * u * v + shift**2 * v**2)
    effects = record["therapist_effects"][therapist]
    truth = {
        ("intercept", ""): intercept,
        ("covariate_slope", "age"): record["covariate_slope"]["age"],
        ("therapist_sd", ""): u_here,
        ("therapist_slope_sd", ""): v,
        ("therapist_icc", ""): u_here**2 / (u_here**2 + record["residual_sd"] ** 2),
        ("therapist_correlation", ""): (rho * u + shift * v) / u_here,
        ("residual_sd", ""): record["residual_sd"],
        ("therapist_effect", "intercept"): effects["intercept"] + effects["slope"] * shift,
        ("therapist_effect", "slope"): effects["slope"],
    }
    if "baseline_slope" in record:
        truth["baseline_slope", ""] = record["baseline_slope"]
    truth |= {("moderator_slope", level): value for level, value in slopes.items()}
    truth |= {("interaction", level): value for level, value in interactions.items()}
    truth |= {
        ("arm_contrast", level): value + interactions[level] * shift
        for level, value in record["arm_contrast"].items()
    }
    return truth


def posterior_draws(fit: Fit, outcome: str, therapist: str) -> dict[tuple[str, str], NDArray]:
    """Draws of everything that has a true value, on the outcome's own scale."""
    found = {
        (str(one["quantity"].item()), str(one["level"].item())): one.values.ravel()
        for one in fit.estimands(outcome).transpose("estimand", ...)
    }
    draws, scaling = draws_of(fit.trees[outcome]), fit.design(outcome).scaling
    found["therapist_correlation", ""] = draws["therapist_correlation"].values.ravel()
    for effect, unit in {"intercept": 1.0, "slope": scaling.moderator[1]}.items():
        standardised = draws["therapist_effect"].sel(therapist=therapist, effect=effect)
        found["therapist_effect", effect] = standardised.values.ravel() * scaling.outcome[1] / unit
    return found


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    """One row for each true value of each fit: z-score, rank in (0, 1), covered or not."""
    rows = []
    for number in range(TRIALS):
        simulated, trial = trial_with_truth_from_the_prior(seed=number + 1)
        fit = fit_trial(trial, PROFILES["standard"], seed=number)
        for position, outcome in enumerate(fit.outcomes):
            # One therapist for each fit: effects of one fit's therapists depend on each other.
            chosen = (number * len(fit.outcomes) + position) % THERAPISTS
            therapist = fit.design(outcome).therapists[chosen]
            record = simulated.truth["outcomes"][outcome]
            truth = truth_at_the_patients_means(record, fit.design(outcome), therapist)
            draws = posterior_draws(fit, outcome, therapist)
            assert truth.keys() == draws.keys()
            for (quantity, level), values in draws.items():
                true = truth[quantity, level]
                lower, upper = np.quantile(values, [0.025, 0.975])
                rows.append(
                    {
                        "fit": (number, outcome),
                        "quantity": quantity,
                        "level": level,
                        "z": (true - values.mean()) / values.std(ddof=1),
                        "rank": ((values < true).sum() + 0.5) / (len(values) + 1),
                        "covered": lower <= true <= upper,
                    }
                )
    return pd.DataFrame(rows)


def summarised(scores: pd.DataFrame) -> pd.DataFrame:
    """One row for each quantity: Kolmogorov-Smirnov p value and coverage, with its p value."""
    rows = []
    for (quantity, level), group in scores.groupby(["quantity", "level"], sort=False):
        # A location is nearly normal given the data; of a standard deviation only ranks are known.
        location = quantity in LOCATION
        ks = (
            stats.kstest(group["z"], "norm") if location else stats.kstest(group["rank"], "uniform")
        )
        covered, count = int(group["covered"].sum()), len(group)
        rows.append(
            {
                "quantity": f"{quantity} {level}".strip(),
                "n": count,
                "mean_z": group["z"].mean() if location else np.nan,
                "sd_z": group["z"].std() if location else np.nan,
                "ks": ks.statistic,
                "ks_p": ks.pvalue,
                "coverage": covered / count,
                "coverage_p": stats.binomtest(covered, count, 0.95).pvalue,
            }
        )
    return pd.DataFrame(rows).set_index("quantity")


def holm(p_values: pd.Series) -> pd.Series:
    """P values adjusted for their number, step by step (Holm 1979)."""
    ordered = p_values.sort_values()
    steps = ordered * np.arange(len(ordered), 0, -1)
    return steps.cummax().clip(upper=1).reindex(p_values.index)


def test_scores_of_the_true_values_behave(scores: pd.DataFrame) -> None:
    """Normal z-scores, uniform ranks, and 95% of the 95% intervals cover."""
    table = summarised(scores)
    print(f"\n{TRIALS} trials of four outcomes\n{table.round(3).to_string()}")
    of_a_fit = scores.groupby("fit")["covered"].mean()
    error = of_a_fit.std() / np.sqrt(len(of_a_fit))
    print(f"smallest Kolmogorov-Smirnov p, Holm: {holm(table['ks_p']).min():.3f}")
    print(f"smallest coverage p, Holm: {holm(table['coverage_p']).min():.3f}")
    print(f"coverage over all quantities: {of_a_fit.mean():.4f} (standard error {error:.4f})")
    assert len(of_a_fit) == TRIALS * 4
    assert holm(table["ks_p"]).min() > SIGNIFICANT
    assert holm(table["coverage_p"]).min() > SIGNIFICANT
    assert abs(of_a_fit.mean() - 0.95) < 3 * error
