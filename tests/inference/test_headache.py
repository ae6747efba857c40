"""The real headache trial, sampled: the posterior stands where the published analysis stands.

A lower score is better. Contrasts are acupuncture minus usual care, so that the published benefit
of 4.6 (2.2, 7.0) is -4.6 (-7.0, -2.2) here.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from alliance.data_prep.initial.beginning import begin
from alliance.data_prep.study.description import bundled_studies, read_study
from alliance.data_prep.trial.trial import load_trial
from alliance.diagnostics.gate.fit_gate import check_draws, worst_verdict
from alliance.diagnostics.verdicts import Verdict
from alliance.inference.paper.paper import Paper
from alliance.inference.paper.printed import read_printed
from alliance.inference.published.comparison import compare
from alliance.inference.published.published import read_published
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.sampling.profiles import find_profile

pytestmark = pytest.mark.mcmc


@pytest.fixture(scope="module")
def fit(shared_data: Path) -> Fit:
    study = read_study(bundled_studies()["headache"])
    trial = load_trial(study, shared_data / "acupuncture_vickers2004.csv")
    return fit_trial(trial, find_profile("standard"), seed=1)


@pytest.fixture(scope="module")
def compared(fit: Fit) -> pd.DataFrame:
    path = bundled_studies()["headache"].with_name("published.toml")
    table = compare(fit, read_published(path, fit.study))
    return table.set_index(["outcome", "quantity", "level"])


def test_the_gate_passes_for_both_outcomes(fit: Fit) -> None:
    reports = check_draws(fit)
    assert [report.outcome for report in reports] == ["headache_3m", "headache_12m"]
    for report in reports:
        table = report.table
        assert set(table["verdict"]) == {"PASS"}, table[["check", "verdict", "message"]]
    assert worst_verdict(reports) is Verdict.PASS


def test_posterior_contrast_at_12_months(fit: Fit) -> None:
    table = fit.summary().set_index(["outcome", "quantity", "level"])
    contrast = table.loc["headache_12m", "arm_contrast", "1-0"]
    assert abs(contrast["mean"] - -4.6) < 0.3
    assert abs(contrast["lower"] - -7.0) < 0.5
    assert abs(contrast["upper"] - -2.2) < 0.5
    assert contrast["prob_positive"] < 0.001


def test_compare_shows_the_published_number_turned_to_the_score(compared: pd.DataFrame) -> None:
    contrast = compared.loc["headache_12m", "arm_contrast", "1-0"]
    names = ["published_estimate", "published_lower", "published_upper", "published_p"]
    assert list(contrast[names]) == [-4.6, -7.0, -2.2, 0.0002]
    assert contrast["verdict"] == "agrees"


def test_compare_shows_ols_without_interaction(compared: pd.DataFrame) -> None:
    contrast = compared.loc["headache_12m", "arm_contrast", "1-0"]
    names = ["ols_main_estimate", "ols_main_lower", "ols_main_upper"]
    assert [round(value, 2) for value in contrast[names]] == [-4.64, -7.08, -2.20]


def test_printed_numbers_alone_give_the_interval_of_the_rows(compared: pd.DataFrame) -> None:
    """Within .2 points: 4.6 (2.2, 7.0) is rounded to .05, and half its width to .04 more.

    Of the rows are an interval without priors, that of least squares, and the model's own, whose
    priors and therapists move it by less than a tenth of the standard error of 1.2.
    """
    table = Paper(read_printed("headache")).posteriors
    own = table[(table["outcome"] == "headache_12m") & (table["prior"] == "reference")].iloc[0]
    contrast = compared.loc["headache_12m", "arm_contrast", "1-0"]
    for source in ("ols_main", "posterior"):
        for end in ("lower", "upper"):
            assert abs(own[end] - contrast[f"{source}_{end}"]) < 0.2


def test_compare_shows_the_interaction_with_the_baseline(compared: pd.DataFrame) -> None:
    interaction = compared.loc["headache_12m", "interaction", "1-0"]
    assert round(interaction["ols_estimate"], 4) == -0.2406
    assert round(interaction["ols_se"], 4) == 0.0804
    assert interaction["claim"] == "present"
    assert interaction["verdict"] == "supported"
    assert abs(interaction["posterior_mean"] - -0.2406) < 0.5 * 0.0804


def test_all_published_findings_are_judged(compared: pd.DataFrame) -> None:
    assert compared["verdict"].notna().sum() == 3


def test_both_visits_in_one_model_stand_where_the_published_analyses_stand(
    shared_data: Path,
) -> None:
    """3.9 (1.6, 6.3) at 3 and 4.6 (2.2, 7.0) at 12 months, of those with that visit alone.

    Others now count with the visit that they have: REML within half a published SE (1.2), the
    posterior within a quarter of an SE of REML.
    """
    study = read_study(bundled_studies()["headache_over_time"])
    trial = load_trial(study, shared_data / "acupuncture_vickers2004.csv")
    own = fit_trial(trial, find_profile("ci"), seed=1)
    path = bundled_studies()["headache_over_time"].with_name("published.toml")
    table = compare(own, read_published(path, study)).set_index(["outcome", "quantity", "level"])
    for name, printed in (("headache_3m", 3.9), ("headache_12m", 4.6)):
        row = table.loc[name, "arm_contrast", "1-0"]
        assert abs(row["reml_estimate"] + printed) < 0.6
        assert abs(row["posterior_mean"] - row["reml_estimate"]) < 0.25 * row["reml_se"]
        assert row["verdict"] == "agrees"


def test_the_study_that_init_makes_has_the_fits_of_the_bundled_one(
    shared_data: Path, tmp_path: Path
) -> None:
    """To the last bit: where outcomes bear the same names, draws have the same seeds."""
    data = shared_data / "acupuncture_vickers2004.csv"
    begin(data, tmp_path / "study.toml", {})
    text = (tmp_path / "study.toml").read_text(encoding="utf-8")
    for made, name in (("pk_2", "headache_3m"), ("pk_5", "headache_12m")):
        text = text.replace(f"[outcomes.{made}]", f"[outcomes.{name}]")
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    tables = [
        fit_trial(
            load_trial(read_study(path), data), find_profile("ci"), seed=1, engine="instant"
        ).summary()
        for path in (tmp_path / "study.toml", bundled_studies()["headache"])
    ]
    own, bundled = (table.drop(columns="level") for table in tables)  # sex, or sex[1]
    pd.testing.assert_frame_equal(own, bundled, check_exact=True)
