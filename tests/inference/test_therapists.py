"""Therapists: effects and ranks against loops, shares of variance against simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from prediction_examples import example_fit, one_predictor, posterior_of, with_posterior
from scipy import special, stats

from alliance.data_prep.errors import InputError
from alliance.inference.answers.therapists import COLUMNS, therapists, variance_parts
from alliance.inference.draws.datatree import draws_of, flat
from alliance.inference.draws.summaries import normal_nodes
from alliance.inference.estimands.estimands import estimand_draws
from alliance.inference.patients.asked_patients import patient_grid
from alliance.inference.posterior import Posterior
from alliance.inference.scores.questions import linear_predictor
from alliance.inference.scores.therapist_parts import therapist_variance
from alliance.models.families.families import find_family

Array = NDArray[np.float64]


def rows_of(table: Any, quantity: str) -> dict[str, dict[str, Any]]:
    rows = table[table["quantity"] == quantity].to_dict("records")
    return {row["level"]: row for row in rows}


# Effects and ranks --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("likelihood", "outcome", "alliance"),
    [
        ("published", "function", "total"),
        ("published", "function", "within_between"),
        ("native", "function", "total"),
        ("native", "gpe", "total"),
    ],
)
@pytest.mark.parametrize("at", [None, 85.0])
def test_effects_are_differences_to_an_average_therapist(
    likelihood: str, outcome: str, alliance: str, at: float | None
) -> None:
    """Expected scores by the family's own formula, predictor term by term, arm by arm."""
    fit = example_fit(likelihood, alliance=alliance, draws=6)
    design, draws = fit.design(outcome), draws_of(fit.trees[outcome])
    patient = patient_grid(fit[outcome], alliance=None if at is None else [at])
    family, scale = design.family, design.scale
    auxiliary = Posterior(design, draws).family_parameters

    def expected(number: int, name: str | None) -> float:
        draw = draws.isel(chain=number // 6, draw=number % 6)
        own = {key: values[number : number + 1] for key, values in auxiliary.items()}
        scores = []
        for arm in range(3):
            predictor = one_predictor(design, draw, patient.rows.in_arm(arm), 0, name)
            eta = np.array([[scale.link_location + scale.link_unit * predictor]])
            scores.append(scale.offset + scale.unit * family.expected(eta, own, scale)[0, 0])
        return float(np.mean(scores))

    by_loops = np.array(
        [
            [expected(number, name) - expected(number, None) for name in design.therapists]
            for number in range(12)
        ]
    )
    found = therapists(fit[outcome], alliance=at, interval=0.9)
    assert found.draws is not None
    np.testing.assert_allclose(found.draws["effect"].values.reshape(12, -1), by_loops, atol=1e-10)
    rows = rows_of(found.table, "therapist_effect")
    # Higher is better: the best therapist has the highest effect, and rank 1.
    ranks = np.array([[1 + (row > value).sum() for value in row] for row in by_loops])
    for k, name in enumerate(design.therapists):
        row = rows[name]
        assert row["mean"] == pytest.approx(by_loops[:, k].mean(), abs=1e-10)
        assert row["rank"] == pytest.approx(ranks[:, k].mean())
        assert row["prob_best"] == pytest.approx(np.mean(ranks[:, k] == 1))
        assert row["prob_positive"] == np.mean(by_loops[:, k] > 0)
        assert row["patients"] == (design.therapist_index == k).sum()
        assert (row["lower"], row["upper"]) == pytest.approx(
            np.quantile(by_loops[:, k], [0.05, 0.95]), abs=1e-10
        )
        assert found.ranks is not None
        shares = found.ranks.sel(therapist=name).values
        np.testing.assert_allclose(shares, [np.mean(ranks[:, k] == rank) for rank in range(1, 6)])
    assert list(rows) == sorted(rows, key=lambda name: -rows[name]["mean"])
    assert list(found.table.columns) == list(COLUMNS)


def test_the_best_therapist_has_the_lowest_scores_where_lower_is_better() -> None:
    fit = example_fit()
    described = fit.study.outcomes["function"].model_copy(update={"better": "lower"})
    turned = type(fit)(
        fit.study.model_copy(update={"outcomes": {"function": described}}),
        fit.specs,
        fit.trees,
        fit.flow,
        fit.manifest,
    )
    up, down = (
        rows_of(therapists(one["function"]).table, "therapist_effect") for one in (fit, turned)
    )
    assert list(down) == list(reversed(up))
    for name, row in down.items():
        assert row["mean"] == up[name]["mean"]
        assert row["rank"] == pytest.approx(6 - up[name]["rank"])


@pytest.mark.parametrize(("likelihood", "outcome"), [("published", "function"), ("native", "gpe")])
def test_slopes_are_changes_of_the_expected_score_for_one_point(
    likelihood: str, outcome: str
) -> None:
    """Against finite differences of expected scores with the same therapist."""
    fit = example_fit(likelihood, draws=6)
    design, draws = fit.design(outcome), draws_of(fit.trees[outcome])
    middle = float(patient_grid(fit[outcome]).rows.moderator[0])
    found = rows_of(therapists(fit[outcome]).table, "therapist_slope")
    step, scale = 1e-4, design.scale
    auxiliary = Posterior(design, draws).family_parameters
    for name in design.therapists:
        means = []
        for value in (middle - step, middle + step):
            patient = patient_grid(fit[outcome], alliance=[value])
            predictor = np.array(
                [
                    [
                        one_predictor(
                            design,
                            draws.isel(chain=number // 6, draw=number % 6),
                            patient.rows.in_arm(arm),
                            0,
                            name,
                        )
                        for arm in range(3)
                    ]
                    for number in range(12)
                ]
            )
            eta = scale.link_location + scale.link_unit * predictor
            expected = scale.unit * design.family.expected(eta, auxiliary, scale)
            means.append(expected.mean(axis=1))
        slope = (means[1] - means[0]) / (2 * step)
        assert found[name]["mean"] == pytest.approx(slope.mean(), rel=1e-5)
        assert found[name]["sd"] == pytest.approx(slope.std(ddof=1), rel=1e-5)


# Shares of variance -------------------------------------------------------------------------------


def test_the_share_of_a_gaussian_outcome_is_the_reported_icc() -> None:
    fit = example_fit()
    design, draws = fit.design("function"), draws_of(fit.trees["function"])
    found = rows_of(therapists(fit["function"]).table, "therapist_share")
    reported = estimand_draws(Posterior(design, draws))
    icc = reported.values[..., reported["quantity"].values == "therapist_icc"].ravel()
    assert list(found) == ["average"]  # the same in every arm
    assert found["average"]["mean"] == pytest.approx(icc.mean(), rel=1e-12)
    limits = (found["average"]["lower"], found["average"]["upper"])
    assert limits == pytest.approx(np.quantile(icc, [0.025, 0.975]), rel=1e-12)


@pytest.mark.parametrize("at", [-1.0, 1.0])
def test_the_share_follows_the_slopes_variance_along_the_alliance(at: float) -> None:
    fit = example_fit()
    design, draws = fit.design("function"), draws_of(fit.trees["function"])
    centre, unit = design.scaling.moderator
    row = rows_of(
        therapists(fit["function"], alliance=centre + at * unit, extrapolate=True).table,
        "therapist_share",
    )["average"]
    sd, slope, rho, residual = (
        flat(draws, name)
        for name in (
            "therapist_sd",
            "therapist_slope_sd",
            "therapist_correlation",
            "residual_sd",
        )
    )
    between = sd**2 + 2 * rho * sd * slope * at + slope**2 * at**2
    assert row["mean"] == pytest.approx((between / (between + residual**2)).mean(), rel=1e-10)
    assert row["moderator"] == pytest.approx(centre + at * unit)


@pytest.mark.parametrize("name", ["beta_binomial", "ordinal", "student_t"])
def test_shares_of_every_family_agree_with_simulation(name: str) -> None:
    """Goldstein, Browne & Rasbash 2002, their method by simulation: therapists, then scores."""
    outcome = "gpe" if name == "ordinal" else "function"
    fit = example_fit("student_t" if name == "student_t" else "native")
    design = fit.design(outcome)
    assert design.family is find_family(name)
    parameters: dict[str, Any] = {
        "beta": {"arm[1]": 0.5, "moderator": 0.3},
        "therapist_sd": 0.8,
        "therapist_slope_sd": 0.2,
        "therapist_correlation": 0.3,
        "therapist_arm_sd": 0.4,
        "precision": 15.0,
        "residual_sd": 0.9,
        "degrees_of_freedom": 8.0,
        "cutpoint": np.linspace(-2, 3, design.scale.top) if name == "ordinal" else None,
    }
    own = {parameter.name for parameter in design.family.parameters} | {
        *("beta", "therapist_sd", "therapist_slope_sd", "therapist_correlation")
    }
    draws = posterior_of(
        design, 1, 1, {key: value for key, value in parameters.items() if key in own}
    )
    fit = with_posterior(fit, outcome, draws)
    row, auxiliary = patient_grid(fit[outcome]).rows, Posterior(design, draws).family_parameters
    random, scale, many = np.random.default_rng(6), design.scale, 400_000
    parts = variance_parts(Posterior(design, draws), row)
    spread = np.sqrt(therapist_variance(Posterior(design, draws), row))
    eta = scale.link_location + scale.link_unit * (
        linear_predictor(Posterior(design, draws), row) + spread * random.standard_normal((1, many))
    )
    expected = scale.unit * design.family.expected(eta, auxiliary, scale)
    scores = scale.unit * design.family.random(random, eta, auxiliary, scale)
    # The share between therapists is the variance of expectations in that of scores. Its parts
    # have relative errors near sqrt(2 / n), a t's with 8 degrees of freedom near sqrt(3.5 / n).
    share = expected.var() / scores.var()
    assert abs(parts.share[0, 0] / share - 1) < 4 * np.sqrt((2 + 3.5) / many)
    assert abs(parts.between[0, 0] / expected.var() - 1) < 4 * np.sqrt(2 / many)
    total = parts.between[0, 0] + parts.within[0, 0]
    assert abs(total / scores.var() - 1) < 4 * np.sqrt(3.5 / many)


def test_a_family_with_a_curved_link_has_a_share_in_every_arm_and_one_over_arms() -> None:
    fit = example_fit("native")
    found = rows_of(therapists(fit["gpe"]).table, "therapist_share")
    assert list(found) == ["GE", "MCE", "SMT", "average"]
    design, draws = fit.design("gpe"), draws_of(fit.trees["gpe"])
    rows = patient_grid(fit["gpe"]).rows.repeated(3, np.arange(3))
    parts = variance_parts(Posterior(design, draws), rows)
    for k, row in enumerate(found.values()):
        share = parts.share[:, k] if k < 3 else parts.averaged()
        assert row["mean"] == pytest.approx(share.mean())
    # In each draw the one over arms lies between those of the arms.
    assert (parts.share.min(axis=1) < parts.averaged()).all()
    assert (parts.averaged() < parts.share.max(axis=1)).all()


def test_arm_effects_that_vary_leave_a_gaussian_outcome_one_share_for_all_arms() -> None:
    fit = example_fit(therapist_by_arm=True)
    design, draws = fit.design("function"), draws_of(fit.trees["function"])
    rows = patient_grid(fit["function"]).rows.repeated(3, np.arange(3))
    share = variance_parts(Posterior(design, draws), rows).share
    np.testing.assert_allclose(share, share[:, :1] * np.ones(3), rtol=1e-12)
    found = rows_of(therapists(fit["function"]).table, "therapist_share")
    assert list(found) == ["average"]
    assert found["average"]["mean"] == pytest.approx(share[:, 0].mean())
    # Arm effects on an orthonormal basis of K arms add 1 - 1 / K of their variance to every arm.
    between = flat(draws, "therapist_sd") ** 2 + flat(draws, "therapist_arm_sd") ** 2 * (1 - 1 / 3)
    total = between + flat(draws, "residual_sd") ** 2
    np.testing.assert_allclose(share[:, 0], between / total, rtol=1e-10)


def test_the_share_of_a_t_without_variance_is_zero() -> None:
    fit = example_fit("student_t")
    design = fit.design("function")
    parameters = {
        "beta": {},
        "therapist_sd": 0.5,
        "therapist_slope_sd": 0.2,
        "residual_sd": 1.0,
        "degrees_of_freedom": 1.5,
    }
    draws = posterior_of(design, 1, 2, parameters)
    parts = variance_parts(Posterior(design, draws), patient_grid(fit["function"]).rows)
    assert np.isinf(parts.within).all()
    assert (parts.share == 0).all()


@pytest.mark.parametrize(("sd", "accuracy"), [(1.0, 1e-9), (2.0, 2e-5)])
def test_the_quadrature_is_as_accurate_as_it_says(sd: float, accuracy: float) -> None:
    """Mean and mean square of an inverse logit, against a fine trapezoidal rule."""
    grid = np.linspace(-10, 10, 4001)
    weights = stats.norm.pdf(grid) / stats.norm.pdf(grid).sum()
    for location in (-2.0, 0.0, 1.0):
        for power in (1, 2):
            exact = weights @ special.expit(location + sd * grid) ** power
            found = sum(
                weight * special.expit(location + sd * node) ** power
                for node, weight in normal_nodes()
            )
            assert found == pytest.approx(exact, abs=accuracy)


# What else there is -------------------------------------------------------------------------------


def test_a_model_without_therapist_effects_still_tells_of_the_alliance() -> None:
    found = therapists(example_fit(therapist="none")["gpe"])
    assert found.ranks is None
    assert found.draws is None
    assert set(found.table["quantity"]) == {
        "alliance_mean",
        "alliance_sd_between",
        "alliance_sd_within",
        "alliance_share",
    }


def test_bad_queries_are_refused() -> None:
    fit = example_fit()
    with pytest.raises(InputError, match="no outcome 'gp'"):
        therapists(fit["gp"])
    with pytest.raises(InputError, match="20 lies outside"):
        therapists(fit["gpe"], alliance=20)
    with pytest.raises(InputError, match="not between 0 and 1"):
        therapists(fit["gpe"], interval=95)
