"""Trials of visits simulated from the priors: their moments, who leaves, and one that is ranked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from visit_trials import WIDE

from alliance.data_prep.simulator.inputs import imagined_patients
from alliance.data_prep.study.description import find_study, narrowed, read_study
from alliance.inference.many_fits.calibration_runs import calibration_questions
from alliance.inference.many_fits.visits_calibration import (
    VisitsQuestion,
    ranked_visits_trial,
    simulated_visits_trial,
)


def question(folder: Path, patients: int, **settings: Any) -> VisitsQuestion:
    (folder / "study.toml").write_text(WIDE, encoding="utf-8")
    study = narrowed(read_study(folder / "study.toml"), **settings)
    asked = calibration_questions(
        study, None, patients=patients, therapists=10, seed=4, engine=None
    )
    (found,) = asked.values()
    assert isinstance(found, VisitsQuestion)
    return found


@pytest.mark.parametrize("structure", ["unstructured", "compound_symmetry", "ar1"])
def test_scores_have_the_moments_of_the_truth(structure: str, tmp_path: Path) -> None:
    """SDs and correlations of 4,000 patients' residuals within five standard errors."""
    asked = question(tmp_path, 4000, therapist="none", visit_correlation=structure)
    trial, truths = simulated_visits_trial(replace(asked, leaving=0), np.random.default_rng(2))
    apart = []
    for name, design in trial.designs.items():
        beta = np.zeros(len(design.coefficients))
        beta[design.present] = truths[name]["beta"].values[0, 0]
        apart.append(design.y - design.X @ beta)
        sd = float(truths[name]["residual_sd"].values[0, 0])
        assert apart[-1].std() == pytest.approx(sd, rel=5 / np.sqrt(2 * 4000))
    found = np.corrcoef(apart)
    for t, truth in enumerate(list(truths.values())[:-1]):
        expected = truth["residual_correlation"].values[0, 0]
        assert np.allclose(found[t, t + 1 :], expected, atol=5 / np.sqrt(4000))


def test_a_quarter_leaves_the_more_the_higher_the_last_score(tmp_path: Path) -> None:
    """By the last visit, within five standard errors of .25 and what the scores' spread adds."""
    asked = question(tmp_path, 4000)
    assert asked.leaving == 0.25
    trial, _ = simulated_visits_trial(asked, np.random.default_rng(3))
    seen = [len(design.y) for design in trial.designs.values()]
    assert seen[0] == 4000
    assert seen[-1] / 4000 == pytest.approx(0.75, abs=0.06)
    first, second = list(trial.designs)[:2]
    stayed = np.isin(trial.positions[first], trial.positions[second])
    y = trial.designs[first].y
    assert y[~stayed].mean() > y[stayed].mean() + 0.3 * y.std()


@pytest.mark.mcmc
def test_a_trial_is_ranked_at_every_visit(tmp_path: Path) -> None:
    """Every quantity of each visit, and correlations; shares below the truth within 0 and 1."""
    asked = question(tmp_path, 60)
    found = ranked_visits_trial(asked, 1)
    assert list(found) == ["pain_w8", "pain_m6", "pain_m12", "pain"]
    assert [level for _, level in found["pain"]["labels"]] == ["w8,m6", "w8,m12", "m6,m12"]
    for ranks in found.values():
        assert ((np.array(ranks["pit"]) >= 0) & (np.array(ranks["pit"]) <= 1)).all()
        off = (np.array(ranks["mean"]) - ranks["truth"]) / ranks["sd"]
        assert np.abs(off).max() < 6


def test_imagined_patients_have_one_baseline_for_all_visits() -> None:
    study = read_study(find_study("ferreira2013_over_time"))
    made = imagined_patients(study, 60, 6, np.random.default_rng(1))
    for outcome in ("function", "pain", "disability"):
        first = made[f"{outcome}_8w_baseline"]
        for visit in ("6m", "12m"):
            assert made[f"{outcome}_{visit}_baseline"].equals(first)
    assert not made["function_8w_baseline"].equals(made["pain_8w_baseline"])
