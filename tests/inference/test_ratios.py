"""Risks, odds and rates against brute force; numbers needed to treat against their definition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from example_families import (
    LIMITS,
    arm_parts,
    family_design,
    family_patients,
    made_posterior,
    repeating_design,
)
from numpy.typing import NDArray
from scipy import special

from alliance.inference.estimands.estimands import (
    estimand_draws,
    prior_table,
    summarise,
    with_moments,
)
from alliance.inference.estimands.ratios import RATIOS, number_in_words
from alliance.inference.pointwise.log_likelihood import own_predictor, patient_log_likelihood
from alliance.inference.posterior import Posterior
from alliance.inference.priors.prior_predictive import prior_draws
from alliance.inference.scores.questions import own_link
from alliance.models.design.design import Design, build_design
from alliance.models.families.family import ARRAYS
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec

Array = NDArray[np.float64]

OWN = ("binary", "count")
MEAN = {"binary": special.expit, "count": np.exp}


def by_label(posterior: Posterior, **options: object) -> dict[tuple[str, str], Array]:
    found = estimand_draws(posterior, **options)
    values = found.transpose("estimand", ...).values.reshape(found.sizes["estimand"], -1)
    labels = zip(found["quantity"].values.tolist(), found["level"].values.tolist(), strict=True)
    return dict(zip(labels, values, strict=True))


def one_by_one(design: Design, posterior: Posterior, at: float | None) -> Array:
    """Mean expected score of each arm (d, K): patient by patient, with the model's formula."""
    names = [design.coefficients[k] for k in design.present]
    beta = posterior.draws["beta"].values.reshape(-1, len(names))
    found = np.zeros((len(beta), len(design.arms)))
    alliance = design.X[:, design.coefficients.index("moderator")]
    if at is not None:
        mean, sd = design.scaling.moderator
        alliance = np.full(len(design.y), (at - mean) / sd)
    for d, values in enumerate(beta):
        own = dict(zip(names, values, strict=True))
        arms, slopes = arm_parts(design, own, "arm"), arm_parts(design, own, "interaction")
        for k in range(len(design.arms)):
            total = 0.0
            for i, row in enumerate(design.X):
                eta = own["intercept"] + arms[k] + (own["moderator"] + slopes[k]) * alliance[i]
                for column, name in enumerate(design.coefficients):
                    if name == "baseline" or name.startswith("covariate"):
                        eta += own[name] * row[column]
                scale = design.scale
                link = scale.link_location + scale.link_unit * eta
                total += float(MEAN[design.family.name](link))
            found[d, k] = total / len(design.y)
    return found


@pytest.mark.parametrize("at", [None, 85.0])
@pytest.mark.parametrize("family", OWN)
def test_differences_and_marginal_ratios_are_those_of_averages(
    family: str, at: float | None
) -> None:
    design = family_design(family)
    posterior = Posterior(design, made_posterior(design))
    found, mean = by_label(posterior, at=at), one_by_one(design, posterior, at)
    odds = mean / (1 - mean) if family == "binary" else mean
    expected = {
        "binary": {
            "risk_difference": mean[:, 1] - mean[:, 0],
            "risk_ratio": mean[:, 1] / mean[:, 0],
            "odds_ratio": odds[:, 1] / odds[:, 0],
        },
        "count": {
            "rate_difference": mean[:, 1] - mean[:, 0],
            "rate_ratio": mean[:, 1] / mean[:, 0],
        },
    }[family]
    level = f"{design.arms[1]}-{design.arms[0]}"
    for quantity, values in expected.items():
        np.testing.assert_allclose(found[quantity, level], values, rtol=1e-9)
    difference = "risk_difference" if family == "binary" else "rate_difference"
    np.testing.assert_array_equal(found[difference, level], found["arm_contrast", level])


@pytest.mark.parametrize("family", [*OWN, "ordinal"])
def test_conditional_ratios_are_of_one_patient_in_two_arms(family: str) -> None:
    """A patient at the mean alliance, then one at a named one; and one point more of it."""
    design = family_design(family)
    posterior = Posterior(design, made_posterior(design))
    names = [design.coefficients[k] for k in design.present]
    beta = posterior.draws["beta"].values.reshape(-1, len(names))
    kind = "rate" if family == "count" else "odds"
    (mean, sd), unit = design.scaling.moderator, design.scale.link_unit
    level = f"{design.arms[2]}-{design.arms[0]}"
    for at in (None, 90.0):
        found = by_label(posterior, at=at)
        alliance = 0.0 if at is None else (at - mean) / sd
        for d, values in enumerate(beta):
            own = dict(zip(names, values, strict=True))
            arms, slopes = arm_parts(design, own, "arm"), arm_parts(design, own, "interaction")
            apart = arms[2] - arms[0] + alliance * (slopes[2] - slopes[0])
            ratio = found[f"{kind}_ratio_conditional", level][d]
            assert ratio == pytest.approx(np.exp(unit * apart), rel=1e-9)
            one_point = unit * (own["moderator"] + slopes[1]) / sd
            of_moderator = found[f"moderator_{kind}_ratio", design.arms[1]][d]
            assert of_moderator == pytest.approx(np.exp(one_point), rel=1e-9)


def test_other_families_have_no_ratios() -> None:
    for family in ("gaussian", "student_t", "beta_binomial"):
        design = family_design(family)
        assert not {quantity for quantity, _ in by_label(Posterior(design, made_posterior(design)))
                    } & set(RATIOS)  # fmt: skip


def test_a_ratios_mean_and_sd_are_of_its_logarithm() -> None:
    design = family_design("binary")
    estimands = estimand_draws(Posterior(design, made_posterior(design, draws=50)))
    first, last = (f"{design.arms[k]}-{design.arms[0]}" for k in (1, 2))
    table = summarise("example", estimands).set_index(["quantity", "level"])
    for quantity, level in (("odds_ratio_conditional", first), ("risk_ratio", last)):
        place = (estimands["quantity"] == quantity) & (estimands["level"] == level)
        logs = np.log(estimands.values[..., place.values]).ravel()
        row = table.loc[quantity, level]
        assert row["mean"] == pytest.approx(np.exp(logs.mean()))
        assert row["sd"] == pytest.approx(np.exp(logs.mean()) * logs.std(ddof=1))
        assert np.isnan(row["prob_positive"])
    kept = with_moments(estimands)
    assert not set(kept["quantity"].values) & {*RATIOS, "risk_difference"}
    logs = with_moments(estimands, logs=True)
    assert set(RATIOS) & set(logs["quantity"].values)


@pytest.mark.parametrize(
    ("estimate", "lower", "upper", "words"),
    [
        (0.1, 0.05, 0.125, "10 to benefit one (8.0 to 20)"),
        # Altman 1998: benefit 8 to infinity to harm 20
        (0.05, -0.05, 0.125, "20 to benefit one (benefit 8.0 to infinity to harm 20)"),
        (-0.02, -0.1, 0.05, "50 to harm one (benefit 20 to infinity to harm 10)"),
        (-0.1, -0.2, -0.05, "10 to harm one (5.0 to 20)"),
        (0.1, 0.0, 0.2, "10 to benefit one (benefit 5.0 to infinity to harm infinity)"),
    ],
)
def test_numbers_needed_to_treat_run_through_infinity(
    estimate: float, lower: float, upper: float, words: str
) -> None:
    assert number_in_words(estimate, lower, upper) == words


def with_exposure(design: Design) -> tuple[Design, Array]:
    exposure = np.random.default_rng(4).uniform(0.3, 3.0, len(design.y))
    return replace(design, offset=np.log(exposure)), exposure


def test_an_exposure_multiplies_the_mean_of_its_patient_alone() -> None:
    """In the likelihood it does; rates and their ratios are for one unit of it."""
    design = family_design("count", therapist="none")
    draws = made_posterior(design)
    exposed, exposure = with_exposure(design)
    plain, other = Posterior(design, draws), Posterior(exposed, draws)
    eta = own_link(exposed, own_predictor(other))
    np.testing.assert_allclose(
        np.exp(eta), np.exp(own_link(design, own_predictor(plain))) * exposure, rtol=1e-12
    )
    found = patient_log_likelihood(other).values.reshape(len(eta), -1)
    own = design.family.log_likelihood
    expected = own(ARRAYS, design.y, eta, other.family_parameters, design.scale)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    one, two = by_label(plain), by_label(other)
    for label in one:
        np.testing.assert_array_equal(one[label], two[label])


def test_the_mean_rate_is_all_events_over_all_exposure() -> None:
    patients = family_patients("count")
    patients = patients.isel(patient=np.flatnonzero(np.isfinite(patients["moderator"].values)))
    exposure = np.random.default_rng(4).uniform(0.3, 3.0, patients.sizes["patient"])
    patients = patients.assign(exposure=("patient", exposure))
    design = build_design(patients, ModelSpec("example", family="count"), LIMITS["count"])
    rate = patients["outcome"].values.sum() / exposure.sum()
    assert design.scale.link_location == pytest.approx(np.log(rate))
    np.testing.assert_allclose(design.offset, np.log(exposure))


def test_identical_rows_with_other_exposures_stay_apart() -> None:
    design = repeating_design("count")
    design = replace(design, offset=np.log(1.0 + np.arange(len(design.y)) % 2))
    together = design.aggregated()
    assert together.count.sum() == len(design.y)
    assert len(together.y) < len(design.y)
    pairs = pd.Series(together.offset).nunique()
    assert pairs == 2


def test_priors_of_conditional_ratios_are_those_of_draws() -> None:
    """The table's log-normal against prior draws of the same quantity: 4 standard errors."""
    design, number = family_design("binary"), 4000
    draws = prior_draws(design, Priors(), draws=number, generator=np.random.default_rng(5))
    found = by_label(Posterior(design, draws))
    table = prior_table(design, Priors())
    rows = table[table["distribution"] == "log-normal"]
    assert len(rows) == 3 + 4  # three contrasts, and slopes: the average and of three arms
    for row in rows.to_dict("records"):
        logs = np.log(found[row["quantity"], row["level"]])
        assert abs(logs.std() / row["scale"] - 1) < 4 / np.sqrt(2 * number)
