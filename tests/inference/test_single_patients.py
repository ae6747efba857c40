"""Therapists with one patient are marked wherever they are named, and can be left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_draws import FEW_DRAWS, NoSampler

from alliance.data_prep.simulator.simulation import simulate_trial
from alliance.data_prep.study.description import narrowed
from alliance.data_prep.trial.trial import trial_from_frame
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.results import therapists as section
from alliance.inference.answers.therapists import OF_EACH, therapists
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.fitting import fit_trial


@pytest.fixture
def fit(monkeypatch: pytest.MonkeyPatch) -> Fit:
    """Patient 0 alone has the therapist solo."""
    NoSampler().install(monkeypatch)
    made = simulate_trial(seed=4, patients=90, therapists=5)
    study = narrowed(made.study, outcomes=["gpe"])
    complete = made.frame.dropna().reset_index(drop=True)
    complete[study.columns.therapist] = complete[study.columns.therapist].astype(str)
    complete.loc[0, study.columns.therapist] = "solo"
    return fit_trial(trial_from_frame(study, complete), FEW_DRAWS, seed=1)


def test_they_are_marked_and_can_be_left_out(fit: Fit) -> None:
    whole = therapists(fit["gpe"]).table
    single = whole[whole["one_patient"]]
    assert set(single["level"]) == {"solo"}
    assert set(single["quantity"]) <= set(OF_EACH)
    hidden = therapists(fit["gpe"], hide_single=True).table
    assert "solo" not in set(hidden["level"])
    assert len(hidden) == len(whole) - len(single)
    kept = whole[~whole["one_patient"]].reset_index(drop=True)
    assert hidden["mean"].equals(kept["mean"])  # ranks and shares are those among all


def test_the_report_says_so(fit: Fit, tmp_path: Path) -> None:
    tables = [part for part in section(Material(fit)).parts if hasattr(part, "shown")]
    cells = [cell for table in tables for cell in table.shown.astype(str).to_numpy().ravel()]
    assert "solo (one patient)" in cells
    assert "solo" not in cells
    parts = section(Material(fit, hide_single=True)).parts
    hidden = [part for part in parts if hasattr(part, "shown")]
    for table in hidden:
        assert "solo" not in table.shown.to_string()
        assert "solo" not in table.numbers.to_string()
    assert "(one patient)" not in "".join(table.shown.to_string() for table in hidden)
