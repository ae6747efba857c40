"""Simulation-based calibration of every family and of every model of the ratings, by NUTS."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from alliance.data_prep.study.description import find_study, narrowed, read_study
from alliance.inference.many_fits import calibration_runs
from alliance.inference.many_fits.calibration import (
    ALARM,
    CalibrationQuestion,
    calibrate,
    calibration_of,
)
from alliance.inference.many_fits.calibration_runs import (
    JointQuestion,
    calibration_questions,
    ranked_joint_trial,
)
from alliance.inference.posterior import Posterior
from alliance.models.spec import JOINT

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


JOINT_OUTCOMES: dict[str, dict[str, Any]] = {
    "gaussian": {"outcomes": ["pain", "function"]},
    "ordinal": {"outcomes": ["function", "gpe"], "likelihood": "native"},
}
CORRELATION = "therapist_correlation"


@pytest.mark.parametrize("name", JOINT_OUTCOMES)
def test_a_joint_model_and_its_intercepts_and_slopes_are_calibrated(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is reported, and the correlation of intercept and slope, which no table has."""
    reported = calibration_runs.estimand_draws

    def with_correlation(posterior: Posterior) -> xr.DataArray:
        found = reported(posterior).transpose("chain", "draw", "estimand")
        own = posterior.draws[CORRELATION].values[..., None]
        names = {label: list(found[label].values) for label in ("quantity", "level")}
        return xr.DataArray(
            np.concatenate([found.values, own], axis=-1),
            dims=found.dims,
            coords={
                "quantity": ("estimand", [*names["quantity"], CORRELATION]),
                "level": ("estimand", [*names["level"], ""]),
            },
        )

    monkeypatch.setattr(calibration_runs, "estimand_draws", with_correlation)
    study = narrowed(read_study(find_study("ferreira2013")), joint=True, **JOINT_OUTCOMES[name])
    question = calibration_questions(
        study, None, patients=182, therapists=12, seed=113, engine=None
    )[JOINT]
    assert isinstance(question, JointQuestion)
    trials = [ranked_joint_trial(question, number) for number in range(TRIALS)]
    found = {of: calibration_of(of, [own[of] for own in trials]) for of in trials[0]}
    p_values = np.concatenate([own.p_values for own in found.values()])
    correlations = {
        of: own.p_values[own.labels.index((CORRELATION, ""))].round(3)
        for of, own in found.items()
        if of != JOINT
    }
    print(f"{name}: {len(p_values)} quantities, smallest p {p_values.min():.4f}, r {correlations}")
    # Holm's smallest adjusted p
    assert p_values.min() * len(p_values) >= ALARM
