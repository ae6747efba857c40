"""Predictions for new therapists: closed forms of a Gaussian outcome, quadrature of the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from prediction_examples import example_fit, one_predictor, posterior_of, with_posterior
from scipy import integrate, stats

from alliance.inference.answers.predictions import predict
from alliance.inference.draws.datatree import draws_of
from alliance.inference.patients.asked_patients import patient_grid
from alliance.inference.runs.fit import Fit
from alliance.inference.scores.thresholds import Thresholds
from alliance.models.design.design import Design

MANY = 20_000  # draws where the answer is known: 4 Monte Carlo errors of a mean are then 0.03 SD
ERRORS = 4


def gaussian_score(design: Design, predictor: float) -> float:
    return design.scaling.outcome[0] + design.scaling.outcome[1] * predictor


def exact_gaussian_fit() -> tuple[Fit, Design, dict[str, Any]]:
    """Coefficients with a known normal distribution; SDs known; therapists of the trial far off."""
    fit = example_fit()
    design = fit.design("function")
    random = np.random.default_rng(7)
    names = [design.coefficients[k] for k in design.present]
    mean = random.normal(0, 0.3, len(names))
    root = 0.1 * random.normal(size=(len(names), len(names)))
    beta = mean + random.standard_normal((MANY, len(names))) @ root.T
    truth = {
        "mean": mean,
        "covariance": root @ root.T,
        "residual_sd": 0.8,
        "therapist_sd": 0.5,
        "therapist_slope_sd": 0.3,
        "therapist_correlation": -0.4,
    }
    draws = posterior_of(
        design,
        2,
        MANY // 2,
        {"beta": dict(zip(names, beta.T, strict=True))}
        | {name: truth[name] for name in truth if name not in ("mean", "covariance")},
    )
    shape = (2, MANY // 2, len(design.therapists), 2)
    draws = draws.assign(
        therapist_effect=(("chain", "draw", "therapist", "effect"), np.full(shape, 5.0))
    )
    return with_posterior(fit, "function", draws), design, truth


@pytest.mark.parametrize("at", [-2.0, 0.0, 1.5])
def test_a_new_therapist_adds_exactly_the_variance_between_therapists(at: float) -> None:
    """Residual, therapist and coefficient variance by closed form, with the slope's at alliance.

    The trial's therapists all lie 5 SDs off: whoever reuses their effects is caught.
    """
    fit, design, truth = exact_gaussian_fit()
    centre, unit = design.scaling.moderator
    patients = patient_grid(fit["function"], alliance=[centre + at * unit], extrapolate=True)
    found = predict(fit["function"], patients, therapist="new", seed=1)
    sd, slope, rho = (
        truth[name] for name in ("therapist_sd", "therapist_slope_sd", "therapist_correlation")
    )
    between = sd**2 + 2 * rho * sd * slope * at + slope**2 * at**2
    scale = design.scaling.outcome[1]
    assert found.draws is not None
    for arm, row in zip(range(3), found.table.to_dict("records"), strict=True):
        x = patients.rows.in_arm(arm).matrix(design)[0, design.present]
        fixed = x @ truth["covariance"] @ x
        for name, variance in (
            ("expected", fixed + between),
            ("outcome", fixed + between + truth["residual_sd"] ** 2),
        ):
            # A variance of n normal draws has a relative error of sqrt(2 / n).
            share = row[f"{name}_sd"] ** 2 / (scale**2 * variance)
            assert abs(share - 1) < ERRORS * np.sqrt(2 / MANY)
        error = scale * np.sqrt((fixed + between) / MANY)
        assert abs(row["expected"] - gaussian_score(design, x @ truth["mean"])) < ERRORS * error


def test_the_trap_of_the_trials_own_therapists_would_be_seen() -> None:
    """What the test above guards against: known therapists give another mean and variance."""
    fit, design, _ = exact_gaussian_fit()
    patients = patient_grid(fit["function"])
    new = predict(fit["function"], patients, therapist="new").table
    known = predict(fit["function"], patients, therapist=design.therapists[0]).table
    assert (known["expected"] - new["expected"]).min() > 4 * design.scaling.outcome[1]
    assert (known["outcome_sd"] < new["outcome_sd"]).all()


def moments_over_therapists(
    design: Design, law: Any, predictor: float, spread: float, threshold: float
) -> tuple[float, float, float, float]:
    """Mean and variance of a score, variance of its expectation, and chance of a threshold.

    `law` is the scipy distribution of scores at a predictor; integrated over a therapist's normal
    deviation by adaptive quadrature.
    """

    def over(value: Any) -> float:
        def weighted(standard: float) -> float:
            return stats.norm.pdf(standard) * value(law(predictor + spread * standard))

        return integrate.quad(weighted, -8, 8)[0]

    mean = over(lambda d: d.mean())
    square = over(lambda d: d.var() + d.mean() ** 2)
    between = over(lambda d: d.mean() ** 2) - mean**2
    return mean, square - mean**2, between, over(lambda d: 1 - d.cdf(threshold - 0.5))


def native_case(outcome: str) -> tuple[Fit, Design, Any]:
    """One set of parameters for all draws, and the law of scores at a predictor."""
    fit = example_fit("native")
    design = fit.design(outcome)
    scale = design.scale
    parameters: dict[str, Any] = {
        "beta": {"moderator": 0.3, "interaction[1]": 0.2, "arm[1]": 0.4, "baseline": 0.3},
        "therapist_sd": 0.5,
        "therapist_slope_sd": 0.3,
        "therapist_correlation": 0.4,
    }

    def eta(predictor: float) -> float:
        return scale.link_location + scale.link_unit * predictor

    if outcome == "gpe":
        cutpoints = np.linspace(-2, 3, scale.top)
        parameters["cutpoint"] = cutpoints

        def law(predictor: float) -> Any:
            ends = stats.logistic.cdf([-np.inf, *(cutpoints - eta(predictor)), np.inf])
            scores = scale.offset + np.arange(scale.top + 1)
            return stats.rv_discrete(values=(scores, np.diff(ends)))

    else:
        parameters["precision"] = 12.0

        def law(predictor: float) -> Any:
            share = stats.logistic.cdf(eta(predictor))
            return stats.betabinom(scale.top, 12 * share, 12 * (1 - share), loc=scale.offset)

    draws = posterior_of(design, 2, MANY // 2, parameters)
    return with_posterior(fit, outcome, draws), design, law


@pytest.mark.parametrize(("outcome", "threshold"), [("gpe", 2.0), ("function", 18.0)])
def test_native_families_with_a_new_therapist_against_quadrature(
    outcome: str, threshold: float
) -> None:
    fit, design, law = native_case(outcome)
    centre, unit = design.scaling.moderator
    patients = patient_grid(fit[outcome], alliance=[centre - 1.2 * unit])
    found = predict(
        fit[outcome], patients, therapist="new", thresholds=Thresholds(at_least=threshold), seed=2
    )
    sd, slope, rho, at = 0.5, 0.3, 0.4, -1.2
    spread = np.sqrt(sd**2 + 2 * rho * sd * slope * at + slope**2 * at**2)
    one = draws_of(fit.trees[outcome]).isel(chain=0, draw=0)
    for arm, row in zip(range(3), found.table.to_dict("records"), strict=True):
        predictor = one_predictor(design, one, patients.rows.in_arm(arm), 0)
        mean, variance, between, chance = moments_over_therapists(
            design, law, predictor, spread, threshold
        )
        assert abs(row["expected"] - mean) < ERRORS * np.sqrt(between / MANY)
        # Bounded scores have tails no heavier than a normal's, nor their expectation.
        assert abs(row["outcome_sd"] ** 2 / variance - 1) < ERRORS * np.sqrt(2 / MANY)
        assert abs(row["expected_sd"] ** 2 / between - 1) < ERRORS * np.sqrt(2 / MANY)
        # The chance is averaged over therapists, given whom it is exact: its error is below
        assert abs(row["prob_at_least"] - chance) < ERRORS * np.sqrt(chance * (1 - chance) / MANY)
