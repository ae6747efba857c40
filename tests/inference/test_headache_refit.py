"""The real headache trial, refitted: what was published of it, digit for digit."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from data_prep.study import bundled_studies, read_study
from data_prep.trial import load_trial
from inference.refits import refit
from models.design import build_design
from models.spec import specify


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
