"""The refits are statsmodels' answers on the raw data, and never silent about trouble."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from example_designs import ExampleTruth, example_design, example_patients
from scipy import stats

from alliance.data_prep.moments import therapist_moments
from alliance.data_prep.study.description import Study, narrowed
from alliance.data_prep.trial.trial import load_trial
from alliance.inference.estimands.estimands import linear_estimands
from alliance.inference.published.refits import COLUMNS, cluster_robust, refit
from alliance.models.design.design import build_design
from alliance.models.spec import specify

NO_THERAPISTS = ExampleTruth(therapist_sd=0.0, therapist_slope_sd=0.0)
Weights = dict[str, float]


def raw_table(patients: Any) -> pd.DataFrame:
    """The patients on their own scales, predictors centred at the means of those analysed."""
    arms, therapists = patients["arm"].values, patients["therapist"].values
    covariates = patients["covariates"].values
    frame = pd.DataFrame(
        {
            "y": patients["outcome"].values,
            "arm": arms[patients["arm_index"].values],
            "therapist": therapists[patients["therapist_index"].values],
            "wai": patients["moderator"].values,
            "age": covariates[:, 0],
            "sex": covariates[:, 1],
        }
    )
    if "baseline" in patients:
        frame["before"] = patients["baseline"].values
    numbers = [name for name in frame.select_dtypes("number") if name != "y"]
    frame[numbers] -= frame[numbers].mean()
    return frame


def raw_formula(patients: Any, *, interaction: bool) -> str:
    first = str(patients["arm"].values[0])
    link = "*" if interaction else "+"
    baseline = " + before" if "baseline" in patients else ""
    return f"y ~ C(arm, Treatment('{first}')) {link} wai{baseline} + age + sex"


def expected_weights(patients: Any, *, interaction: bool) -> dict[tuple[str, str], Weights]:
    """Each reported quantity as a sum of the formula's coefficients; reference: the first arm."""
    arms = [str(arm) for arm in patients["arm"].values]

    def effect(arm: str) -> Weights:
        return {} if arm == arms[0] else {f"C(arm, Treatment('{arms[0]}'))[T.{arm}]": 1.0}

    def slope(arm: str) -> Weights:
        return {f"{name}:wai": weight for name, weight in effect(arm).items()}

    def mean(of: Any) -> Weights:
        return {name: 1 / len(arms) for arm in arms for name in of(arm)}

    def minus(later: Weights, earlier: Weights) -> Weights:
        return later | {name: -weight for name, weight in earlier.items()}

    found = {("intercept", ""): {"Intercept": 1.0} | mean(effect)}
    if "baseline" in patients:
        found["baseline_slope", ""] = {"before": 1.0}
    found["moderator_slope", "average"] = {"wai": 1.0} | (mean(slope) if interaction else {})
    for earlier, later in combinations(arms, 2):
        pair = f"{later}-{earlier}"
        found["arm_contrast", pair] = minus(effect(later), effect(earlier))
        if interaction:
            found["interaction", pair] = minus(slope(later), slope(earlier))
    if interaction:
        for arm in arms:
            found["moderator_slope", arm] = {"wai": 1.0} | slope(arm)
    return found | {("covariate_slope", name): {term: 1.0} for name, term in COVARIATES.items()}


COVARIATES = {"age": "age", "sex[M]": "sex"}


def by_quantity(table: pd.DataFrame, model: str) -> pd.DataFrame:
    return table[table["model"] == model].set_index(["quantity", "level"])


class TestOrdinaryLeastSquares:
    @pytest.mark.parametrize("baseline", [True, False])
    @pytest.mark.parametrize(("model", "interaction"), [("ols", True), ("ols_main", False)])
    @pytest.mark.parametrize("interval", [0.95, 0.8])
    def test_equals_the_formula_on_the_raw_data(
        self, model: str, interaction: bool, baseline: bool, interval: float
    ) -> None:
        patients = example_patients(5, baseline=baseline)
        table = by_quantity(refit(example_design(patients), interval=interval), model)
        data = raw_table(patients)
        result = smf.ols(raw_formula(patients, interaction=interaction), data).fit()
        expected = expected_weights(patients, interaction=interaction)
        assert set(table.index) == set(expected) | {("residual_sd", "")}
        for key, weights in expected.items():
            row = pd.Series(0.0, index=result.params.index)
            row[list(weights)] = list(weights.values())
            test = result.t_test(row.to_numpy())
            lower, upper = test.conf_int(alpha=1 - interval)[0]
            np.testing.assert_allclose(
                table.loc[key, ["estimate", "se", "lower", "upper", "p_value"]].astype(float),
                [test.effect[0], test.sd[0, 0], lower, upper, float(test.pvalue)],
                rtol=1e-8,
                atol=1e-12,
                err_msg=str(key),
            )
        residual = table.loc[("residual_sd", "")]
        np.testing.assert_allclose(residual["estimate"], np.sqrt(result.mse_resid))
        assert residual[["se", "lower", "upper", "p_value"]].isna().all()

    def test_columns_and_models(self) -> None:
        patients = example_patients(5)
        table = refit(example_design(patients))
        assert tuple(table.columns) == COLUMNS
        assert list(table["model"].unique()) == ["ols", "ols_main", "reml"]
        assert set(table["outcome"]) == {"example"}
        assert set(refit(example_design(patients, "none"))["model"]) == {"ols", "ols_main"}

    def test_a_model_without_interaction_is_one_model(self) -> None:
        table = refit(example_design(example_patients(5), "none", interaction=False))
        one, other = by_quantity(table, "ols"), by_quantity(table, "ols_main")
        pd.testing.assert_frame_equal(one.drop(columns="model"), other.drop(columns="model"))


class TestRestrictedMaximumLikelihood:
    @pytest.mark.parametrize(
        ("therapist", "varying"), [("intercept", "1"), ("intercept+slope", "1 + wai")]
    )
    @pytest.mark.parametrize("baseline", [True, False])
    def test_equals_statsmodels_on_the_raw_data(
        self, therapist: Any, varying: str, baseline: bool
    ) -> None:
        patients = example_patients(5, patients=400, therapists=25, baseline=baseline)
        table = by_quantity(refit(example_design(patients, therapist)), "reml")
        assert set(table["note"]) == {""}
        data = raw_table(patients)
        data["wai"] *= 0.1  # so that its variances are nearer to one, where optimisers begin
        result = smf.mixedlm(
            raw_formula(patients, interaction=True),
            data,
            groups="therapist",
            re_formula=f"~ {varying}",
        ).fit(reml=True, method=["powell"])
        assert result.converged
        for key, weights in expected_weights(patients, interaction=True).items():
            row = pd.Series(0.0, index=result.fe_params.index)
            row[list(weights)] = list(weights.values())
            unit = 0.1 if key[0] in ("moderator_slope", "interaction") else 1.0
            estimate = unit * row @ result.fe_params
            size = len(row)
            se = unit * np.sqrt(row @ result.cov_params().iloc[:size, :size].to_numpy() @ row)
            found = table.loc[key]
            assert abs(found["estimate"] - estimate) < 0.01 * se, key
            assert abs(found["se"] / se - 1) < 0.01, key
            half = stats.t.ppf(0.975, found["df"]) * se
            limits = [estimate - half, estimate + half]
            printed = found[["lower", "upper"]].astype(float)
            np.testing.assert_allclose(printed, limits, rtol=0, atol=0.02 * se)
        sds = np.sqrt(np.diag(result.cov_re))
        residual = np.sqrt(result.scale)
        expected = {"therapist_sd": sds[0], "residual_sd": residual}
        expected["therapist_icc"] = sds[0] ** 2 / (sds[0] ** 2 + residual**2)
        if len(sds) == 2:
            expected["therapist_slope_sd"] = 0.1 * sds[1]
        for name, value in expected.items():
            assert table.loc[(name, ""), "estimate"] == pytest.approx(value, rel=0.02), name

    def test_standard_errors_are_those_of_generalised_least_squares(self) -> None:
        """(X' V^-1 X)^-1 on the raw data, with the whole covariance V of the scores written out."""
        patients = example_patients(6, patients=150, therapists=9)
        table = by_quantity(refit(example_design(patients, "intercept")), "reml")
        data = raw_table(patients)
        X = smf.ols(raw_formula(patients, interaction=True), data)
        same = data["therapist"].to_numpy()[:, None] == data["therapist"].to_numpy()
        spread = table["estimate"]
        V = spread["therapist_sd", ""] ** 2 * same + spread["residual_sd", ""] ** 2 * np.eye(150)
        covariance = np.linalg.inv(X.exog.T @ np.linalg.solve(V, X.exog))
        for key, weights in expected_weights(patients, interaction=True).items():
            row = pd.Series(0.0, index=X.exog_names)
            row[list(weights)] = list(weights.values())
            assert table.loc[key, "se"] == pytest.approx(np.sqrt(row @ covariance @ row), rel=1e-8)


class TestAntidepressantTrial:
    """Placebo minus drug on HAMD-17 at the mean baseline, 129 complete cases, 17 investigators."""

    def refits(self, folder: Path, therapist: str, interaction: bool) -> pd.DataFrame:
        study = Study.model_validate(
            {
                "title": "Antidepressant trial",
                "columns": {"patient": "PATIENT", "therapist": "POOLINV", "arm": "THERAPY"},
                "arms": {"DRUG": "Drug", "PLACEBO": "Placebo"},
                "moderator": {
                    "name": "severity",
                    "label": "HAMD-17 before treatment",
                    "column": "BASVAL",
                    "range": [0, 52],
                },
                "outcomes": {
                    "hamd": {
                        "label": "HAMD-17",
                        "followup": "HAMDTL17_v7",
                        "range": [0, 52],
                        "better": "lower",
                    }
                },
            }
        )
        study = narrowed(study, therapist=therapist, interaction=interaction)
        trial = load_trial(study, folder / "antidepressant_dia_wide.csv")
        analysed = trial.analysed("hamd")
        assert analysed.sizes["patient"] == 129
        assert analysed.sizes["therapist"] == 17
        return refit(build_design(analysed, specify(study)["hamd"]))

    @pytest.mark.parametrize(
        ("therapist", "contrast", "se"),
        [("intercept", 2.54, 0.91), ("intercept+slope", 2.37, 0.90)],
    )
    def test_with_interaction(
        self, shared_data: Path, therapist: str, contrast: float, se: float
    ) -> None:
        table = self.refits(shared_data, therapist, interaction=True)
        for model, expected in {"reml": (contrast, se), "ols": (2.74, 1.15)}.items():
            row = by_quantity(table, model).loc["arm_contrast", "PLACEBO-DRUG"]
            assert (round(row["estimate"], 2), round(row["se"], 2)) == expected

    def test_without_interaction(self, shared_data: Path) -> None:
        table = self.refits(shared_data, "intercept", interaction=False)
        row = by_quantity(table, "ols_main").loc["arm_contrast", "PLACEBO-DRUG"]
        assert (round(row["estimate"], 2), round(row["se"], 2)) == (2.66, 1.17)
        spread = by_quantity(table, "reml")["estimate"]
        assert round(spread["therapist_sd", ""] ** 2, 1) == 9.6
        assert round(spread["residual_sd", ""] ** 2, 1) == 27.4


class TestNoDifferencesBetweenTherapists:
    @pytest.mark.parametrize("therapist", ["intercept", "intercept+slope"])
    def test_the_boundary_is_said(self, therapist: Any) -> None:
        boundary = 0
        for seed in range(10):
            patients = example_patients(seed, patients=120, therapists=10, truth=NO_THERAPISTS)
            table = refit(example_design(patients, therapist))
            reml, ols = by_quantity(table, "reml"), by_quantity(table, "ols")
            assert np.isfinite(reml.loc["arm_contrast", "estimate"]).all()
            assert np.isfinite(reml.loc["arm_contrast", "se"]).all()
            (note,) = reml["note"].unique()
            spread = reml.loc[("therapist_sd", ""), "estimate"]
            if note:
                boundary += 1
                assert note.startswith("REML estimate on the boundary")
            elif therapist == "intercept":
                assert spread > 0.01
            if note and therapist == "intercept":
                # Without variance between therapists the mixed model is the plain one.
                assert spread < 0.01
                effects = ["arm_contrast", "interaction"]
                for name in ("estimate", "se"):
                    mixed, plain = reml.loc[effects, name], ols.loc[effects, name]
                    np.testing.assert_allclose(mixed, plain[mixed.index], rtol=1e-3, atol=1e-3)
        assert boundary >= 3


class TestNothingToEstimate:
    def expect_nothing_but_a_note(self, table: pd.DataFrame, why: str) -> None:
        reml = table[table["model"] == "reml"]
        assert len(reml) > 10
        assert reml[["estimate", "se", "df", "lower", "upper", "p_value"]].isna().all(axis=None)
        assert set(reml["note"]) == {f"REML has no estimate: {why}"}
        assert not reml["quantity"].str.endswith("_sd").any()
        rest = table[table["model"] != "reml"]
        assert rest["estimate"].notna().all()
        assert set(rest["note"]) == {""}

    def test_one_therapist(self) -> None:
        patients = example_patients(5, patients=40, therapists=1)
        self.expect_nothing_but_a_note(refit(example_design(patients)), "there is one therapist")

    def test_too_few_patients(self) -> None:
        """9 coefficients and 10 patients: two variances of effects cannot be told."""
        patients = example_patients(5, patients=10, therapists=3)
        why = "too few patients for the coefficients"
        self.expect_nothing_but_a_note(refit(example_design(patients)), why)

    def test_an_outcome_that_is_computed_from_the_columns(self) -> None:
        patients = example_patients(5, baseline=True)
        exact = 1 + 2 * patients["baseline"] + 0.1 * patients["arm_index"]
        table = refit(example_design(patients.assign(outcome=exact)))
        self.expect_nothing_but_a_note(table, "the columns explain the outcome to the last digit")
        ols = by_quantity(table, "ols")
        assert ols.loc[("baseline_slope", ""), "estimate"] == pytest.approx(2)

    def test_one_patient_of_each_therapist(self) -> None:
        patients = example_patients(5, patients=60, therapists=60)
        patients["therapist_index"] = ("patient", np.arange(60))
        (note,) = by_quantity(refit(example_design(patients, "intercept")), "reml")["note"].unique()
        assert note.startswith("REML: the data do not tell the variances")


class TestUnits:
    @pytest.mark.parametrize("unit", [1e-9, 1e6])
    def test_of_the_outcome_scale_everything(self, unit: float) -> None:
        """The same trial in other units, and far from zero: no tolerance is absolute."""
        patients = example_patients(5)
        table = refit(example_design(patients), robust=True)
        other = patients.assign(outcome=unit * (patients["outcome"] + 100))
        again = refit(example_design(other), robust=True)
        numbers = ["estimate", "se", "lower", "upper"]
        kept = table["quantity"].ne("intercept") & table["quantity"].ne("therapist_icc")
        np.testing.assert_allclose(
            again.loc[kept, numbers].astype(float),
            unit * table.loc[kept, numbers].astype(float),
            rtol=1e-5,
        )
        np.testing.assert_allclose(again["df"], table["df"], rtol=1e-4)
        assert list(again["note"]) == list(table["note"])


class TestClusterRobust:
    """CR2 by its definition, n x n matrices and all."""

    def by_definition(
        self, X: Any, residuals: Any, cluster: Any, contrast: Any
    ) -> tuple[float, float]:
        """Standard error and degrees of freedom of one combination of the coefficients."""
        n = len(X)
        M = np.linalg.inv(X.T @ X)
        left = np.eye(n) - X @ M @ X.T
        variance, forms = 0.0, []
        for j in np.unique(cluster):
            own = cluster == j
            values, vectors = np.linalg.eigh(left[np.ix_(own, own)])
            powers = np.array([v**-0.5 if v > 1e-10 else 0.0 for v in values])
            weights = vectors @ np.diag(powers) @ vectors.T @ X[own] @ M @ contrast
            variance += (weights @ residuals[own]) ** 2
            forms.append(left[:, own] @ weights)
        products = np.array(forms) @ np.array(forms).T
        return np.sqrt(variance), np.trace(products) ** 2 / (products**2).sum()

    @pytest.mark.parametrize("nested", [False, True])
    def test_is_that_of_the_definition(self, nested: bool) -> None:
        """Also where therapists treat in one arm only, and leave no residuals."""
        patients = example_patients(8, patients=100, therapists=9)
        if nested:
            patients["arm_index"] = ("patient", patients["therapist_index"].values % 3)
        design = example_design(patients, "none")
        table = refit(design, interval=0.9, robust=True)
        robust, plain = by_quantity(table, "ols_robust"), by_quantity(table, "ols")
        linear = linear_estimands(design)
        residuals = design.y - design.X @ np.linalg.lstsq(design.X, design.y)[0]
        for label, row in zip(linear.labels, linear.matrix, strict=True):
            se, df = self.by_definition(design.X, residuals, design.therapist_index, row)
            found = robust.loc[label]
            np.testing.assert_allclose(found[["se", "df"]].astype(float), [se, df], rtol=1e-7)
            half = stats.t.ppf(0.95, df) * se
            np.testing.assert_allclose(found["upper"] - found["estimate"], half, rtol=1e-7)
            np.testing.assert_allclose(found["estimate"], plain.loc[label, "estimate"], rtol=1e-9)
        assert ("residual_sd", "") not in robust.index

    def test_balanced_clusters_in_closed_form(self) -> None:
        """One mean of J clusters of m: the standard error of J means, with J - 1 df."""
        J, m = 7, 5
        y = np.random.default_rng(3).normal(size=(J, m)) + np.arange(J)[:, None]
        X, cluster = np.ones((J * m, 1)), np.repeat(np.arange(J), m)
        found = cluster_robust(therapist_moments(X, (y - y.mean()).ravel(), cluster, J))
        np.testing.assert_allclose(found.covariance, [[y.mean(axis=1).var(ddof=1) / J]])
        np.testing.assert_allclose(found.degrees_of_freedom(np.eye(1)), [J - 1])

    def test_one_cluster_has_no_standard_error(self) -> None:
        patients = example_patients(5, patients=40, therapists=1)
        table = refit(example_design(patients, "none"), robust=True)
        robust = by_quantity(table, "ols_robust")
        assert robust[["estimate", "se"]].isna().all(axis=None)
        assert set(robust["note"]) == {
            "OLS, robust, has no standard errors: there is one therapist"
        }


class TestWithoutRows:
    def test_cross_products_give_the_same(self) -> None:
        """A registry's design holds cross-products only."""
        design = example_design(example_patients(5))
        rowless = replace(
            design,
            X=design.X[:0],
            y=design.y[:0],
            therapist_index=design.therapist_index[:0],
            given=(design.moments,),
        )
        pd.testing.assert_frame_equal(
            refit(rowless, robust=True), refit(design, robust=True), rtol=1e-6
        )
