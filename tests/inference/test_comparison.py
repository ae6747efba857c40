"""Published findings, refits and posterior side by side: each number from where it says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_draws import FEW_DRAWS, NoSampler, small_trial
from run_folders import one_outcome

from alliance.data_prep.study.description import bundled_studies, narrowed
from alliance.inference.published.comparison import compare
from alliance.inference.published.findings import Finding
from alliance.inference.published.published import read_published
from alliance.inference.published.refits import refit
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.fitting import fit_trial
from alliance.models.design.design import Design

KEY = ["outcome", "quantity", "level"]
COLUMNS = [
    *KEY,
    "claim",
    "published_estimate",
    "published_lower",
    "published_upper",
    "published_p",
    *(
        f"{model}_{number}"
        for model in ("ols_main", "ols", "reml")
        for number in ("estimate", "se", "df", "lower", "upper", "p_value")
    ),
    "posterior_mean",
    "posterior_sd",
    "posterior_lower",
    "posterior_upper",
    "prob_positive",
    "verdict",
    "explanation",
    "known_by",
    "source",
    "note",
    "refit_note",
    "at",
]


def finding(**changes: Any) -> Finding:
    printed = {
        "outcome": "gpe",
        "quantity": "arm_contrast",
        "level": "MCE-GE",
        "claim": "number",
        "estimate": 1.5,
        "lower": 1.0,
        "upper": 2.5,
        "p": 0.01,
        "known_by": "abstract",
        "source": "A paper",
    }
    return Finding.model_validate(printed | changes)


def row(table: pd.DataFrame, outcome: str, quantity: str, level: str) -> pd.Series:
    found = table[(table[KEY] == [outcome, quantity, level]).all(axis=1)]
    assert len(found) == 1
    return found.iloc[0]


def lower_is_better(fit: Fit, outcome: str) -> Fit:
    outcomes = fit.study.outcomes
    turned = outcomes[outcome].model_copy(update={"better": "lower"})
    study = fit.study.model_copy(update={"outcomes": outcomes | {outcome: turned}})
    return replace(fit, study=study)


class TestRows:
    def test_without_findings_one_for_each_quantity(self, made_fit: Fit) -> None:
        table, summary = compare(made_fit), made_fit.summary()
        assert list(table.columns) == COLUMNS
        assert len(table) == len(summary) == 16 + 15
        pd.testing.assert_frame_equal(table[KEY], summary[KEY])
        assert table["claim"].isna().all()
        assert table["verdict"].isna().all()

    def test_one_for_each_finding_in_the_order_of_the_tidy_table(self, made_fit: Fit) -> None:
        findings = [finding(source="One"), finding(outcome="function"), finding(source="Two")]
        table = compare(made_fit, findings)
        assert len(table) == 16 + 15 + 1  # two findings about the same quantity
        assert table["verdict"].notna().sum() == 3
        both = table[table["outcome"].eq("gpe") & table["verdict"].notna()]
        assert list(both["source"]) == ["One", "Two"]
        assert both.index[1] == both.index[0] + 1
        once = table.drop_duplicates(KEY)[KEY].reset_index(drop=True)
        pd.testing.assert_frame_equal(once, made_fit.summary()[KEY])

    def test_findings_on_outcomes_that_were_not_fitted_are_left_out(self, made_fit: Fit) -> None:
        table = compare(made_fit, [finding(outcome="pain"), finding()])
        assert len(table) == 16 + 15
        assert set(table["outcome"]) == {"function", "gpe"}
        assert table["verdict"].notna().sum() == 1

    def test_the_bundled_findings(self, made_fit: Fit) -> None:
        """16 statements and 4 numbers, of which two outcomes' are here: 2 x 4 and all 4."""
        path = bundled_studies()["ferreira2013"].with_name("published.toml")
        findings = read_published(path, small_study())
        table = compare(made_fit, findings)
        assert table["verdict"].notna().sum() == 2 * (1 + 3) + 4
        assert len(table) == 16 + 15  # no quantity has two of them

    def test_a_model_without_therapists_has_no_reml(self, monkeypatch: pytest.MonkeyPatch) -> None:
        NoSampler().install(monkeypatch)
        trial = small_trial()
        study = narrowed(trial.study, outcomes=["gpe"], therapist="none")
        table = compare(fit_trial(replace(trial, study=study), FEW_DRAWS, seed=1))
        assert table.filter(like="reml_").isna().all(axis=None)
        assert table["ols_estimate"].notna().sum() == len(table)


class TestNumbers:
    def test_of_the_posterior_are_those_of_the_summary(self, made_fit: Fit) -> None:
        table, summary = compare(made_fit, interval=0.8), made_fit.summary(interval=0.8)
        for name in ("mean", "sd", "lower", "upper"):
            np.testing.assert_array_equal(table[f"posterior_{name}"], summary[name])
        np.testing.assert_array_equal(table["prob_positive"], summary["prob_positive"])

    def test_of_the_refits_are_those_of_each_outcome(self, made_fit: Fit) -> None:
        table = compare(made_fit, interval=0.8)
        for outcome in made_fit.outcomes:
            linear = refit(made_fit.design(outcome), interval=0.8)
            for part in linear.to_dict("records"):
                found = row(table, outcome, part["quantity"], part["level"])
                for name in ("estimate", "se", "lower", "upper", "p_value"):
                    np.testing.assert_equal(found[f"{part['model']}_{name}"], part[name])
        # Without the interaction there is one slope for all arms, and none of an arm.
        arms = table["level"].isin(["GE", "MCE", "SMT"]) | table["quantity"].eq("interaction")
        assert table.loc[arms, "ols_main_estimate"].isna().all()
        assert table.loc[~arms, "ols_main_estimate"].notna().sum() == 2 * 6 + 1

    def test_of_the_finding_are_as_printed(self, made_fit: Fit) -> None:
        table = compare(one_outcome(made_fit), [finding(note="As printed.")])
        found = row(table, "gpe", "arm_contrast", "MCE-GE")
        printed = ["claim", "published_estimate", "published_lower", "published_upper"]
        assert list(found[printed]) == ["number", 1.5, 1.0, 2.5]
        assert list(found[["published_p", "known_by", "source", "note"]]) == [
            0.01,
            "abstract",
            "A paper",
            "As printed.",
        ]

    def test_what_was_not_printed_is_missing(self, made_fit: Fit) -> None:
        bare = finding(claim="present", estimate=None, lower=None, upper=None, p=None)
        found = row(compare(one_outcome(made_fit), [bare]), "gpe", "arm_contrast", "MCE-GE")
        assert found.filter(like="published_").isna().all()
        assert found["note"] == ""

    @pytest.mark.parametrize("better", ["higher", "lower"])
    def test_a_benefit_is_turned_to_later_minus_earlier(self, made_fit: Fit, better: str) -> None:
        fit = made_fit if better == "higher" else lower_is_better(made_fit, "gpe")
        table = compare(fit, [finding(oriented="benefit"), finding(outcome="function")])
        found = row(table, "gpe", "arm_contrast", "MCE-GE")
        numbers = list(found[["published_estimate", "published_lower", "published_upper"]])
        assert numbers == ([1.5, 1.0, 2.5] if better == "higher" else [-1.5, -2.5, -1.0])
        other = row(table, "function", "arm_contrast", "MCE-GE")
        assert other["published_estimate"] == 1.5


class TestVerdicts:
    @pytest.fixture(scope="class")
    @classmethod
    def known(cls, made_fit: Fit) -> pd.Series:
        """Of the quantity that the findings below are about."""
        return row(made_fit.summary(), "gpe", "arm_contrast", "MCE-GE")

    def judged(self, fit: Fit, **changes: Any) -> str:
        return row(
            compare(one_outcome(fit), [finding(**changes)]), "gpe", "arm_contrast", "MCE-GE"
        )["verdict"]

    def test_a_number_within_the_interval_agrees(self, made_fit: Fit, known: pd.Series) -> None:
        inside = (known["lower"] + known["upper"]) / 2
        assert self.judged(made_fit, estimate=inside, lower=None, upper=None) == "agrees"

    def test_a_number_far_away_differs(self, made_fit: Fit, known: pd.Series) -> None:
        away = known["upper"] + 5
        assert self.judged(made_fit, estimate=away, lower=away - 1, upper=away + 1) == "differs"

    def test_a_benefit_is_judged_as_it_is_turned(self, made_fit: Fit, known: pd.Series) -> None:
        """The same printed benefit agrees with a drop or a rise, as the scores' direction goes."""
        fit, drop = lower_is_better(made_fit, "gpe"), -(known["upper"] + 5)
        changes = {"estimate": drop, "lower": drop - 1, "upper": drop + 1, "oriented": "benefit"}
        assert self.judged(fit, **changes) == "differs"
        turned = {"estimate": -known["mean"], "lower": None, "upper": None, "oriented": "benefit"}
        assert self.judged(fit, **turned) == "agrees"

    def test_the_interval_asked_for_is_the_one_judged(self, made_fit: Fit) -> None:
        table = compare(one_outcome(made_fit), [finding()], interval=0.5)
        found = row(table, "gpe", "arm_contrast", "MCE-GE")
        assert "50% posterior interval" in found["explanation"]
        assert f"{found['posterior_lower']:.3g} to" in found["explanation"]


def test_trouble_with_a_refit_stands_in_every_row_of_its_outcome(
    made_fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All patients of one therapist: there is no REML."""
    linear_design = Fit.linear_design

    def of_one_therapist(fit: Fit, outcome: str) -> Design:
        design = linear_design(fit, outcome)
        return replace(
            design, therapist_index=np.zeros_like(design.therapist_index), therapists=("T1",)
        )

    monkeypatch.setattr(Fit, "linear_design", of_one_therapist)
    table = compare(made_fit)
    assert set(table["refit_note"]) == {"REML has no estimate: there is one therapist"}
    assert table.filter(like="reml_").isna().all(axis=None)
    assert table["ols_estimate"].notna().any()


def test_robust_standard_errors_stand_there_on_request(made_fit: Fit) -> None:
    assert not compare(made_fit).columns.str.startswith("ols_robust").any()
    table = compare(made_fit, robust=True)
    assert [name for name in table if name.startswith("ols_robust")] == [
        f"ols_robust_{name}" for name in ("estimate", "se", "df", "lower", "upper", "p_value")
    ]
    linear = table["ols_se"].notna()
    np.testing.assert_allclose(
        table.loc[linear, "ols_robust_estimate"], table.loc[linear, "ols_estimate"], rtol=1e-9
    )
    assert (table.loc[linear, "ols_robust_df"] < table.loc[linear, "ols_df"]).all()


def small_study() -> Any:
    """The whole study, of which the small trial has two outcomes."""
    from alliance.data_prep.study.description import read_study

    return read_study(bundled_studies()["ferreira2013"])
