"""Simulation-based calibration of every family and of every model of the ratings, by NUTS."""

from __future__ import annotations

from typing import Any

import pytest

from alliance.data_prep.study.description import find_study, narrowed, read_study
from alliance.inference.many_fits.calibration import CalibrationQuestion, calibrate
from alliance.inference.many_fits.calibration_runs import calibration_questions

pytestmark = pytest.mark.validation

OPTIONS: dict[str, dict[str, Any]] = {
    "imputed": {"missing_alliance": "impute"},
    "mismeasured": {"reliability": True},
    "imputed and mismeasured": {"missing_alliance": "impute", "reliability": True},
    "within and between": {"alliance": "within_between"},
    "at the ceiling": {"ceiling": True},
    "ordinal": {"outcomes": ["gpe"], "likelihood": "native"},
    "beta-binomial": {"outcomes": ["function"], "likelihood": "native"},
    "ordinal, imputed": {
        "outcomes": ["gpe"],
        "likelihood": "native",
        "missing_alliance": "impute",
    },
}
TRIALS = 60  # one minute each or less; docs/calibration.md has more


@pytest.mark.parametrize("name", OPTIONS)
def test_every_reported_quantity_is_calibrated(name: str) -> None:
    study = narrowed(
        read_study(find_study("ferreira2013")), **{"outcomes": ["pain"], **OPTIONS[name]}
    )
    questions = calibration_questions(study, None, patients=182, therapists=12, seed=5, engine=None)
    (question,) = questions.values()
    assert isinstance(question, CalibrationQuestion)
    found = calibrate(question, TRIALS)
    print(f"{name}: smallest p {found.p_values.min():.4f}, after Holm {found.adjusted.min():.3f}")
    assert found.passed
