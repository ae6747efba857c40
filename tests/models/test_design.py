"""The design: its basis, scales and names, and what least squares through it says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import statsmodels.formula.api as smf
import xarray as xr
from example_designs import ExampleTruth, example_design, example_patients

from alliance.inference.estimands.estimands import linear_estimands, prior_table
from alliance.inference.published.refits import refit
from alliance.models.design.design import Design, sum_to_zero_basis
from alliance.models.priors import Priors


@pytest.mark.parametrize("arms", [2, 3, 5])
def test_basis_is_orthonormal_and_sums_to_zero(arms: int) -> None:
    basis = sum_to_zero_basis(arms)
    assert basis.shape == (arms, arms - 1)
    np.testing.assert_allclose(basis.T @ basis, np.eye(arms - 1), atol=1e-14)
    np.testing.assert_allclose(basis.sum(axis=0), 0, atol=1e-14)


@pytest.mark.parametrize("arms", [2, 3, 5])
def test_coefficients_on_the_basis_are_a_zero_sum_normal(arms: int) -> None:
    """Covariance I - 1/K, and the density that PyMC gives to such arm effects."""
    basis = sum_to_zero_basis(arms)
    np.testing.assert_allclose(basis @ basis.T, np.eye(arms) - 1 / arms, atol=1e-14)
    on_basis = np.random.default_rng(arms).normal(size=arms - 1)
    density = pm.logp(pm.ZeroSumNormal.dist(0.5, shape=arms), basis @ on_basis)
    expected = pm.logp(pm.Normal.dist(0, 0.5, shape=arms - 1), on_basis).sum()
    np.testing.assert_allclose(
        density.eval(mode="FAST_COMPILE"), expected.eval(mode="FAST_COMPILE")
    )


def test_names_of_the_coefficients() -> None:
    with_interaction = example_design(example_patients())
    assert with_interaction.coefficients == (
        "intercept",
        "baseline",
        "arm[1]",
        "arm[2]",
        "moderator",
        "interaction[1]",
        "interaction[2]",
        "covariate[age]",
        "covariate[sex[M]]",
    )
    without = example_design(example_patients(), interaction=False)
    left_out = {"interaction[1]", "interaction[2]"}
    assert without.coefficients == tuple(
        name for name in with_interaction.coefficients if name not in left_out
    )
    assert with_interaction.arms == ("arm C", "arm A", "arm B")
    assert with_interaction.covariates == ("age", "sex[M]")


def test_every_column_is_what_its_name_says() -> None:
    patients = example_patients()
    design = example_design(patients)
    X = dict(zip(design.coefficients, design.X.T, strict=True))
    assert (X["intercept"] == 1).all()
    for name, values in {
        "baseline": patients["baseline"],
        "moderator": patients["moderator"],
        "covariate[age]": patients["covariates"][:, 0],
        "covariate[sex[M]]": patients["covariates"][:, 1],
    }.items():
        np.testing.assert_allclose(X[name].mean(), 0, atol=1e-14)
        np.testing.assert_allclose(X[name].std(ddof=1), 1)
        assert np.corrcoef(X[name], values)[0, 1] == pytest.approx(1)
    for k in (1, 2):
        np.testing.assert_array_equal(X[f"interaction[{k}]"], X[f"arm[{k}]"] * X["moderator"])
    assert np.corrcoef(design.y, patients["outcome"])[0, 1] == pytest.approx(1)
    np.testing.assert_array_equal(design.therapist_index, patients["therapist_index"])


def test_scales_are_kept_and_undo_the_standardisation() -> None:
    patients = example_patients()
    design = example_design(patients)
    pairs = [
        (design.y, design.scaling.outcome, patients["outcome"]),
        (design.X[:, 1], design.scaling.baseline, patients["baseline"]),
        (design.X[:, 4], design.scaling.moderator, patients["moderator"]),
        (design.X[:, 7], design.scaling.covariates[0], patients["covariates"][:, 0]),
        (design.X[:, 8], design.scaling.covariates[1], patients["covariates"][:, 1]),
    ]
    for standardised, (mean, sd), values in pairs:
        np.testing.assert_allclose(mean + sd * standardised, values, rtol=1e-13)
        assert sd == pytest.approx(np.std(values.values, ddof=1))


@pytest.mark.parametrize(
    ("therapist", "columns"),
    [("none", []), ("intercept", ["intercept"]), ("intercept+slope", ["intercept", "moderator"])],
)
def test_columns_that_vary_between_therapists(therapist: str, columns: list[str]) -> None:
    design = example_design(example_patients(), therapist)
    assert [design.coefficients[column] for column in design.effect_columns] == columns


def test_an_absent_baseline_is_a_column_of_zeros_that_is_not_reported() -> None:
    design = example_design(example_patients(baseline=False))
    column = design.coefficients.index("baseline")
    assert not design.X[:, column].any()
    assert column not in design.present
    assert len(design.present) == len(design.coefficients) - 1
    assert design.scaling.baseline == (0.0, 1.0)
    assert "baseline_slope" not in [quantity for quantity, _ in linear_estimands(design).labels]


def test_outcomes_with_and_without_baseline_have_one_shape() -> None:
    """So that four outcomes cost one compilation."""
    one = example_design(example_patients())
    other = example_design(example_patients(baseline=False))
    assert one.coefficients == other.coefficients
    assert one.moments.cross_products.shape == other.moments.cross_products.shape


def test_prior_scales_stand_on_their_coefficients() -> None:
    priors = Priors(1.1, 1.2, 1.3, 1.4, 1.5, 1.6)
    expected = [1.1, 1.2, 1.3, 1.3, 1.4, 1.5, 1.5, 1.6, 1.6]
    assert example_design(example_patients()).prior_sd(priors).tolist() == expected


def test_prior_sd_of_contrasts_is_sqrt_2_times_the_scale_for_every_pair() -> None:
    """No arm is privileged; the scales are those of the outcome and of one point of alliance."""
    design = example_design(example_patients())
    priors = Priors()
    table = prior_table(design, priors).set_index("quantity")
    outcome_sd, moderator_sd = design.scaling.outcome[1], design.scaling.moderator[1]
    contrasts = table.loc["arm_contrast", "scale"].to_numpy()
    np.testing.assert_allclose(contrasts, [priors.arm * np.sqrt(2) * outcome_sd] * 3)
    interactions = table.loc["interaction", "scale"].to_numpy()
    expected = priors.interaction * np.sqrt(2) * outcome_sd / moderator_sd
    np.testing.assert_allclose(interactions, [expected] * 3)
    average = priors.moderator_slope * outcome_sd / moderator_sd
    slopes = table.loc["moderator_slope"].set_index("level")["scale"]
    assert slopes["average"] == pytest.approx(average)
    # An arm's slope is the average plus its deviation, of variance interaction^2 (1 - 1/3).
    of_an_arm = np.hypot(average, priors.interaction * np.sqrt(2 / 3) * outcome_sd / moderator_sd)
    np.testing.assert_allclose(slopes.drop("average"), [of_an_arm] * 3)
    sds = table[table["distribution"] == "half-normal"]["scale"]
    assert sds.to_dict() == pytest.approx(
        {
            "therapist_sd": priors.therapist_sd * outcome_sd,
            "therapist_slope_sd": priors.therapist_slope_sd * outcome_sd / moderator_sd,
            "residual_sd": priors.residual_sd * outcome_sd,
        }
    )
    assert table["location"].drop("intercept").eq(0).all()
    assert table.loc["intercept", "location"] == pytest.approx(design.scaling.outcome[0])


def least_squares(design: Design) -> pd.DataFrame:
    table = refit(design)
    table = table[(table["model"] == "ols") & table["se"].notna()]
    return table.set_index(["quantity", "level"])


def raw_columns(patients: xr.Dataset) -> pd.DataFrame:
    """The same patients as a plain table; continuous columns centred, nothing rescaled."""
    arm = patients["arm"].values[patients["arm_index"].values]
    columns = {
        "y": patients["outcome"].values,
        "arm": arm,
        "m": patients["moderator"].values,
        "age": patients["covariates"].values[:, 0],
        "sex": patients["covariates"].values[:, 1],
    }
    if "baseline" in patients:
        columns["b"] = patients["baseline"].values
    frame = pd.DataFrame(columns)
    centred = [name for name in ("m", "b", "age", "sex") if name in frame]
    return frame.assign(**{name: frame[name] - frame[name].mean() for name in centred})


@pytest.mark.parametrize("baseline", [True, False], ids=["baseline", "no baseline"])
def test_least_squares_through_the_design_is_the_regression_on_raw_data(baseline: bool) -> None:
    """Every linear quantity, its standard error, and its interval, against statsmodels' formula."""
    patients = example_patients(3, baseline=baseline)
    before = " + b" if baseline else ""
    result = smf.ols(f"y ~ C(arm) * m{before} + age + sex", raw_columns(patients)).fit()
    a, b = "C(arm)[T.arm B]", "C(arm)[T.arm C]"  # differences from arm A, the first by name
    expected = {
        ("intercept", ""): f"Intercept + {a} / 3 + {b} / 3",
        ("moderator_slope", "average"): f"m + {a}:m / 3 + {b}:m / 3",
        ("moderator_slope", "arm C"): f"m + {b}:m",
        ("moderator_slope", "arm A"): "m",
        ("moderator_slope", "arm B"): f"m + {a}:m",
        ("arm_contrast", "arm A-arm C"): f"- {b}",
        ("arm_contrast", "arm B-arm C"): f"{a} - {b}",
        ("arm_contrast", "arm B-arm A"): a,
        ("interaction", "arm A-arm C"): f"- {b}:m",
        ("interaction", "arm B-arm C"): f"{a}:m - {b}:m",
        ("interaction", "arm B-arm A"): f"{a}:m",
        ("covariate_slope", "age"): "age",
        ("covariate_slope", "sex[M]"): "sex",
    }
    if baseline:
        expected[("baseline_slope", "")] = "b"
    found = least_squares(example_design(patients))
    assert set(found.index) == set(expected)
    for label, terms in expected.items():
        test = result.t_test(f"{terms} = 0")
        row = found.loc[label]
        np.testing.assert_allclose(row["estimate"], test.effect[0], rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(row["se"], test.sd[0, 0], rtol=1e-8)
        np.testing.assert_allclose([row["lower"], row["upper"]], test.conf_int()[0], rtol=1e-8)
        np.testing.assert_allclose(row["p_value"], test.pvalue, rtol=1e-6)


def test_the_display_order_of_arms_changes_no_contrast() -> None:
    """Only the direction of a contrast follows the order; the value for a pair does not."""
    patients = example_patients(4)
    one = least_squares(example_design(patients))["estimate"]
    for order in ([1, 0, 2], [2, 1, 0], [1, 2, 0]):
        new_position = np.argsort(order)
        other_order = patients.assign(
            arm_index=("patient", new_position[patients["arm_index"].values])
        ).assign_coords(arm=patients["arm"].values[order])
        other = least_squares(example_design(other_order))["estimate"]
        for (quantity, level), value in other.items():
            sign = 1.0
            if (quantity, level) not in one.index:
                level, sign = "-".join(reversed(level.split("-"))), -1.0
            assert sign * value == pytest.approx(one[quantity, level], rel=1e-9, abs=1e-9)


def test_units_of_the_variables_change_no_standardised_number() -> None:
    patients = example_patients(5)
    design = example_design(patients)
    rescaled = patients.assign(
        outcome=10 * patients["outcome"] - 3,
        moderator=patients["moderator"] / 16,
        baseline=patients["baseline"] * 4 + 1,
    )
    other = example_design(rescaled)
    np.testing.assert_allclose(other.X, design.X, atol=1e-12)
    np.testing.assert_allclose(other.y, design.y, atol=1e-12)


def test_slopes_for_one_sd_are_those_for_one_point_times_the_sd() -> None:
    design = example_design(example_patients())
    by_point, by_sd = linear_estimands(design), linear_estimands(design, per_sd=True)
    assert by_point.labels == by_sd.labels
    for k, (quantity, _) in enumerate(by_point.labels):
        slope = quantity in ("moderator_slope", "interaction")
        factor = design.scaling.moderator[1] if slope else 1.0
        np.testing.assert_allclose(by_sd.matrix[k], factor * by_point.matrix[k])


def test_two_arms_have_one_contrast_and_one_interaction() -> None:
    truth = ExampleTruth(arm_effect=(1.0, -0.5), moderator_slope=(0.1, 0.0))
    patients = example_patients(6, truth=truth)
    result = smf.ols("y ~ C(arm) * m + b + age + sex", raw_columns(patients)).fit()
    found = least_squares(example_design(patients))["estimate"]
    assert found["arm_contrast"].to_dict() == pytest.approx(
        {"arm A-arm C": -result.params["C(arm)[T.arm C]"]}
    )
    assert found["interaction"].to_dict() == pytest.approx(
        {"arm A-arm C": -result.params["C(arm)[T.arm C]:m"]}
    )


def test_without_interaction_there_is_one_slope() -> None:
    patients = example_patients(7)
    result = smf.ols("y ~ C(arm) + m + b + age + sex", raw_columns(patients)).fit()
    found = least_squares(example_design(patients, interaction=False))["estimate"]
    assert "interaction" not in found.index.get_level_values("quantity")
    assert found["moderator_slope"].to_dict() == pytest.approx({"average": result.params["m"]})
    contrast = found["arm_contrast", "arm B-arm A"]
    assert contrast == pytest.approx(result.params["C(arm)[T.arm B]"])
