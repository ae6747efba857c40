"""The real headache trial, refitted: what was published of it, digit for digit."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from alliance.data_prep.study.description import bundled_studies, read_study
from alliance.data_prep.trial.trial import load_trial
from alliance.inference.published.refits import refit
from alliance.models.design.design import build_design
from alliance.models.spec import specify


@pytest.fixture(scope="module")
def refits(shared_data: Path) -> pd.DataFrame:
    study = read_study(bundled_studies()["headache"])
    trial = load_trial(study, shared_data / "acupuncture_vickers2004.csv")
    analysed = trial.analysed("headache_12m")
    assert analysed.sizes["patient"] == 301  # complete cases, as published
    design = build_design(analysed, specify(study)["headache_12m"])
    return refit(design).set_index(["model", "quantity", "level"])


def test_acupuncture_lowers_the_score_by_4_64(refits: pd.DataFrame) -> None:
    """Acupuncture minus usual care; the paper prints the same number as a benefit, so positive."""
    row = refits.loc["ols_main", "arm_contrast", "1-0"]
    published = [-4.64, -7.08, -2.20]
    assert [round(row[name], 2) for name in ("estimate", "lower", "upper")] == published
    assert round(row["p_value"], 4) == 0.0002


def test_group_by_baseline_interaction(refits: pd.DataFrame) -> None:
    row = refits.loc["ols", "interaction", "1-0"]
    assert (round(row["estimate"], 4), round(row["se"], 4)) == (-0.2406, 0.0804)
    assert round(row["p_value"], 3) == 0.003


def test_mixed_model_is_singular_and_says_so(refits: pd.DataFrame) -> None:
    """lme4 has the correlation 1.0 and the SD 1.846 at its own tolerance; the best SD is 1.8477."""
    assert refits.loc[("reml", "therapist_sd", ""), "estimate"] == pytest.approx(1.8477, abs=1e-4)
    note = refits.loc[("reml", "moderator_slope", "average"), "note"]
    assert note == (
        "REML estimate on the boundary: the covariance of the therapists' effects is singular (the "
        "correlation of means and slopes is 1)"
    )


def test_few_therapists_widen_the_interval_of_the_slope(refits: pd.DataFrame) -> None:
    """Normal limits would be .546 and .830; lmerTest has .522 and .854, 8.6 degrees of freedom."""
    row = refits.loc["reml", "moderator_slope", "average"]
    assert row["estimate"] - 1.96 * row["se"] == pytest.approx(0.546, abs=1e-3)
    assert row["df"] == pytest.approx(8.6, abs=0.1)
    assert [row["lower"], row["upper"]] == pytest.approx([0.522, 0.854], abs=1e-3)
