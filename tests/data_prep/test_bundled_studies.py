"""The studies that come with the project: readable, and true to the papers and the data."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import statsmodels.formula.api as smf

from alliance.data_prep.study.description import bundled_studies, read_study

STUDIES = ("ferreira2013", "ferreira2013_over_time", "headache", "headache_over_time")


def test_the_studies_are_there() -> None:
    assert set(bundled_studies()) == set(STUDIES)


@pytest.mark.parametrize("name", STUDIES)
def test_study_is_readable_and_has_published_findings_beside_it(name: str) -> None:
    path = bundled_studies()[name]
    assert read_study(path).citation
    assert path.with_name("published.toml").is_file()


def test_ferreira2013_is_the_published_trial() -> None:
    study = read_study(bundled_studies()["ferreira2013"])
    assert study.simulated
    assert "doi:10.2522/ptj.20120137" in str(study.citation)
    assert tuple(study.arms) == ("GE", "MCE", "SMT")
    described = {
        name: (outcome.range, outcome.better, outcome.family, outcome.baseline is not None)
        for name, outcome in study.outcomes.items()
    }
    assert described == {
        "function": ((3, 30), "higher", "beta_binomial", True),
        "gpe": ((-5, 5), "higher", "ordinal", False),
        "pain": ((0, 10), "lower", "gaussian", True),
        "disability": ((0, 24), "lower", "beta_binomial", True),
    }
    assert study.moderator.range == (16, 112)
    assert study.moderator.reliability == pytest.approx(0.77)
    assert study.covariates == ()


def test_ferreira2013_over_time_has_the_outcomes_of_ferreira2013_at_three_visits() -> None:
    """Of the parent trial: 8 weeks, 6 and 12 months; the first has the columns of the paper's."""
    over_time, apart = (
        read_study(bundled_studies()[name]) for name in ("ferreira2013_over_time", "ferreira2013")
    )
    assert over_time.simulated
    assert (over_time.arms, over_time.moderator, over_time.columns) == (
        apart.arms,
        apart.moderator,
        apart.columns,
    )
    for name, own in apart.outcomes.items():
        visits = [over_time.outcomes[f"{name}_{visit}"] for visit in ("8w", "6m", "12m")]
        assert [visit.visit_time for visit in visits] == [8, 26, 52]
        assert visits[0].followup == own.followup
        for fact in ("range", "better", "baseline"):
            assert {getattr(visit, fact) for visit in visits} == {getattr(own, fact)}


def test_headache_has_the_published_covariates_and_its_baseline_as_moderator() -> None:
    study = read_study(bundled_studies()["headache"])
    assert not study.simulated
    assert tuple(study.arms.items()) == (("0", "Usual care"), ("1", "Acupuncture"))
    assert study.moderator.column == "pk1"
    assert study.covariates == ("age", "sex", "migraine", "chronicity")
    assert {name: outcome.followup for name, outcome in study.outcomes.items()} == {
        "headache_3m": "pk2",
        "headache_12m": "pk5",
    }
    assert all(outcome.baseline is None for outcome in study.outcomes.values())
    assert {outcome.better for outcome in study.outcomes.values()} == {"lower"}


def test_headache_over_time_has_the_outcomes_of_headache_as_visits() -> None:
    over_time, apart = (
        read_study(bundled_studies()[name]) for name in ("headache_over_time", "headache")
    )
    assert {name: own.visit_time for name, own in over_time.outcomes.items()} == {
        "headache_3m": 3,
        "headache_12m": 12,
    }
    for name, own in over_time.outcomes.items():
        assert own.visit_of == "headache"
        for fact in ("followup", "range", "better", "family", "baseline"):
            assert getattr(own, fact) == getattr(apart.outcomes[name], fact)
    assert (over_time.arms, over_time.moderator, over_time.columns, over_time.priors) == (
        apart.arms,
        apart.moderator,
        apart.columns,
        apart.priors,
    )


def test_headache_describes_the_real_file(shared_data: Path) -> None:
    study = read_study(bundled_studies()["headache"])
    table = pd.read_csv(shared_data / "acupuncture_vickers2004.csv")
    named = [study.columns.patient, study.columns.therapist, study.columns.arm, *study.covariates]
    scores = {"pk1": study.moderator.range} | {
        outcome.followup: outcome.range for outcome in study.outcomes.values()
    }
    assert {*named, *scores} <= set(table.columns)
    for column, limits in scores.items():
        assert table[column].dropna().between(*limits).all()
    assert set(table["group"].astype(str)) == set(study.arms)


def test_headache_yields_the_published_ancova(shared_data: Path) -> None:
    study = read_study(bundled_studies()["headache"])
    outcome = study.outcomes["headache_12m"]
    table = pd.read_csv(shared_data / "acupuncture_vickers2004.csv")
    right = " + ".join([study.columns.arm, str(study.moderator.column), *study.covariates])
    fit = smf.ols(f"{outcome.followup} ~ {right}", table).fit()
    # The code 1 comes last: acupuncture minus usual care, below zero where acupuncture is better.
    assert list(study.arms)[-1] == "1"
    low, high = fit.conf_int().loc["group"]
    assert (fit.params["group"], low, high) == pytest.approx((-4.64, -7.08, -2.20), abs=0.005)
    assert fit.nobs == 301
