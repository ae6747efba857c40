"""The antidepressant trial: a depression score and an ordinal rating of improvement in one study.

The investigator stands as therapist and the severity before treatment as moderator.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alliance.data_prep.study.description import Study, narrowed
from alliance.data_prep.trial.trial import load_trial
from alliance.diagnostics.gate.fit_gate import check_draws, gate_table
from alliance.diagnostics.verdicts import Verdict
from alliance.inference.published.refits import refit
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.sampling.profiles import PROFILES

pytestmark = pytest.mark.validation

STUDY = Study.model_validate(
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
                "label": "HAMD-17 at the last visit",
                "followup": "HAMDTL17_v7",
                "range": [0, 52],
                "better": "lower",
                "family": "gaussian",
            },
            "pgi": {
                "label": "Patient global improvement",
                "followup": "PGIIMP_v7",
                "range": [1, 7],
                "better": "lower",
                "family": "ordinal",
            },
        },
        "model": {"likelihood": "native"},
    }
)
# Placebo minus drug at the mean severity: restricted maximum likelihood, and its standard error
REML = {"intercept": (2.54, 0.91), "intercept+slope": (2.37, 0.90)}


@pytest.fixture(scope="module", params=REML)
def fit(shared_data: Path, request: pytest.FixtureRequest) -> Fit:
    study = narrowed(STUDY, therapist=request.param)
    trial = load_trial(study, shared_data / "antidepressant_dia_wide.csv")
    return fit_trial(trial, PROFILES["standard"], seed=17)


def test_both_outcomes_pass_the_gate(fit: Fit) -> None:
    reports = check_draws(fit)
    print(gate_table(reports)[["outcome", "check", "verdict", "value"]].round(4).to_string())
    assert [report.outcome for report in reports] == ["hamd", "pgi"]
    assert [report.verdict for report in reports] == [Verdict.PASS] * 2
    for outcome in fit.outcomes:
        assert fit.trees[outcome]["sample_stats"]["diverging"].mean() <= 0.001


def test_contrast_of_the_depression_score_is_that_of_the_linear_mixed_model(fit: Fit) -> None:
    """Within 0.4 standard errors of the refit in the same table."""
    expected, error = REML[fit.specs["hamd"].therapist]
    refits = refit(fit.linear_design("hamd")).set_index(["model", "quantity", "level"])
    row = refits.loc["reml", "arm_contrast", "PLACEBO-DRUG"]
    assert (round(row["estimate"], 2), round(row["se"], 2)) == (expected, error)
    summary = fit.summary().set_index(["outcome", "quantity", "level"])
    ours = summary.loc["hamd", "arm_contrast", "PLACEBO-DRUG"]
    print(
        f"\nHAMD, {fit.specs['hamd'].therapist}: {ours['mean']:.2f} (SD {ours['sd']:.2f}), "
        f"REML {expected} (SE {error}): {(ours['mean'] - expected) / error:+.2f} SE"
    )
    assert abs(ours["mean"] - expected) < 0.4 * error


def test_the_rating_of_improvement_is_answered_on_its_own_scale(fit: Fit) -> None:
    """Expected ratings from 1 to 7 beside the mean of those observed, and beside least squares."""
    summary = fit.summary().set_index(["outcome", "quantity", "level"])
    observed = fit.patients("pgi")["outcome"].values
    assert set(observed) <= set(range(1, 8))
    level = summary.loc["pgi", "intercept", ""]
    assert abs(level["mean"] - observed.mean()) < 3 * level["sd"]
    ours = summary.loc["pgi", "arm_contrast", "PLACEBO-DRUG"]
    refits = refit(fit.linear_design("pgi")).set_index(["model", "quantity", "level"])
    linear = refits.loc["reml", "arm_contrast", "PLACEBO-DRUG"]
    print(
        f"\nPGI, {fit.specs['pgi'].therapist}: {ours['mean']:.2f} (SD {ours['sd']:.2f}), "
        f"linear mixed model {linear['estimate']:.2f} (SE {linear['se']:.2f})"
    )
    assert np.sign(ours["mean"]) == np.sign(linear["estimate"])
    assert abs(ours["mean"] - linear["estimate"]) < linear["se"]
