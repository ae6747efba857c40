"""The FEV trial from a study file and its long table, without an alliance: what SAS prints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from alliance.data_prep.study.description import read_study
from alliance.data_prep.trial.trial import trial_from_frame
from alliance.inference.published.visit_refits import refit_visits
from alliance.models.spec import specify
from alliance.models.visits.design import build_visits

STUDY = """
title = "FEV1 over time"
covariates = ["RACE", "SEX"]
[columns]
patient = "USUBJID"
therapist = "therapist"
arm = "ARMCD"
[arms]
PBO = "Placebo"
TRT = "Treatment"
[visits]
column = "AVISIT"
order = ["VIS1", "VIS2", "VIS3", "VIS4"]
[outcomes.fev]
label = "FEV1"
followup = "FEV1"
range = [0, 100]
better = "higher"
[model]
therapist = "none"
"""


def test_reml_of_the_study_is_what_sas_prints(shared_data: Path, tmp_path: Path) -> None:
    """TRT - PBO by visit: estimates and SEs within .0005, degrees of freedom within 1.

    PROC MIXED, REML, unstructured, Satterthwaite. The trial had no therapists: one for all.
    """
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    study = read_study(tmp_path / "study.toml")
    frame = pd.read_csv(shared_data / "fev_long.csv").assign(therapist="all")
    trial = trial_from_frame(study, frame)
    assert trial.flow["analysed"].tolist() == [134, 140, 129, 134]
    table = refit_visits(build_visits(trial.data, specify(study)))
    own = table[table["quantity"] == "arm_contrast"]
    assert np.allclose(own["estimate"], [3.7745, 3.7322, 3.0806, 4.3985], atol=5e-4)
    assert np.allclose(own["se"], [1.0741, 0.8588, 0.6896, 1.6805], atol=5e-4)
    assert np.allclose(own["df"], [146, 145, 131, 133], atol=1)
    assert np.allclose(own["lower"], [1.6517, 2.0348, 1.7164, 1.0746], atol=2e-3)
    assert np.allclose(own["upper"], [5.8974, 5.4296, 4.4448, 7.7225], atol=2e-3)
