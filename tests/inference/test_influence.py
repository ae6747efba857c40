"""Influence of single patients and therapists: against refits without them, and its limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from alliance.data_prep.errors import InputError
from alliance.diagnostics.checks.sensitivity_checks import MOST_MOVED, influence_result, most_moved
from alliance.diagnostics.verdicts import Verdict
from alliance.inference.draws.datatree import draws_of
from alliance.inference.estimands.estimands import estimand_draws
from alliance.inference.leaving_out.therapists import (
    Influence,
    _of_interest,
    influence,
    without_patients,
)
from alliance.inference.posterior import Posterior
from alliance.inference.runs.fit import Fit
from alliance.inference.sampling.sampling import sample_outcome

OUTCOME = "function"


@pytest.mark.mcmc
@pytest.mark.parametrize("by", ["patient", "therapist"])
def test_weights_move_results_as_far_as_refits_do(simulated_fit: Fit, by: str) -> None:
    """The two units that move most and two others; z of every quantity."""
    found = influence(simulated_fit[OUTCOME], by)
    design = simulated_fit.design(OUTCOME)
    order = np.argsort(-np.abs(found.shift_sd).max(axis=1))
    reliable = [unit for unit in order if found.pareto_k[unit] <= found.good_k]
    scores = []
    for unit in (*reliable[:2], *reliable[-2:]):
        place = unit if by == "patient" else design.therapists.index(found.units[unit])
        gone = (
            np.array([unit]) if by == "patient" else np.flatnonzero(design.therapist_index == place)
        )
        tree, _ = sample_outcome(
            without_patients(design, gone),
            simulated_fit.specs[OUTCOME].priors,
            replace(simulated_fit.profile, chains=4, draws=2_000),
            seed=11,
        )
        draws, labels = _of_interest(estimand_draws(Posterior(design, draws_of(tree))))
        assert labels == found.labels
        # 2,000 draws of the whole fit, of which weighting leaves a quarter or more and
        # autocorrelation half: 300; and 8,000 of the refit, half of them effective.
        error = draws.std(axis=0) * np.sqrt(1 / 300 + 1 / 4_000)
        scores.append((found.without[unit] - draws.mean(axis=0)) / error)
    # Of 40 dependent normal scores the largest exceeds 4 once in 400 times
    assert np.abs(scores).max() < 4
    assert np.abs(found.shift_sd[reliable[0]]).max() > 0.2  # and there is something to compare


def test_an_estimate_without_a_share_of_its_data() -> None:
    """A mean of 60, without 12 of them: sqrt(12 / 48) standard errors away (root mean square)."""
    values = np.random.default_rng(3).standard_normal((20_000, 60))
    moved = values[:, 12:].mean(axis=1) - values.mean(axis=1)
    share = made(patients=(12, 20, 28)).expected_shift[0]
    # A third of all therapists is more than their fifth of the patients
    assert share == pytest.approx(np.sqrt((1 / 3) / (2 / 3)))
    five = made(patients=(12, 12, 12, 12, 12)).expected_shift[0]
    assert np.sqrt((moved**2).mean()) * np.sqrt(60) == pytest.approx(five, rel=0.02)


def made(
    patients: tuple[int, ...] = (12, 12, 12, 12, 12), shift: float = 0.5, k: float = 0.2
) -> Influence:
    """The second unit moves one of two quantities; a posterior SD is 2."""
    n = len(patients)
    without = np.zeros((n, 2))
    without[1, 1] = 2 * shift
    return Influence(
        outcome="pain",
        by="therapist",
        units=tuple(f"T{j}" for j in range(n)),
        patients=np.array(patients),
        labels=(("moderator_slope", "average"), ("interaction", "B-A")),
        mean=np.zeros(2),
        sd=np.full(2, 2.0),
        without=without,
        pareto_k=np.full(n, k),
        good_k=0.7,
        refitted=np.zeros(n, dtype=bool),
    )


def test_a_look_is_asked_for_beyond_one_sd_and_out_of_proportion() -> None:
    # Each of five therapists has a quarter of what the others have: 4 * sqrt(1/4) = 2 SDs
    assert most_moved(made()) == pytest.approx(np.full(5, 2.0))
    assert influence_result([made(shift=1.9)]).verdict is Verdict.PASS
    tripped = influence_result([made(shift=-2.1, k=0.9)])
    assert tripped.verdict is Verdict.REVIEW
    assert tripped.value == pytest.approx(2.1)
    assert tripped.review == pytest.approx(2.0)
    assert "therapist T1 (12 patients)" in tripped.message
    assert "interaction B-A" in tripped.message
    assert "too high" in tripped.message
    assert tripped.recommendation
    # Of a hundred each is small: one SD is enough
    many = made(patients=(5,) * 100, shift=1.05)
    assert most_moved(many) == pytest.approx(np.full(100, MOST_MOVED))
    assert influence_result([many]).verdict is Verdict.REVIEW
    assert influence_result([made(shift=np.nan)]).verdict is Verdict.REVIEW


def test_tables_tell_the_largest_first() -> None:
    table = made(shift=-0.5).largest(2)
    assert list(table["unit"]) == ["T1", "T0"]
    assert table.loc[0, "shift_sd"] == pytest.approx(-0.5)
    assert table.loc[0, "shift"] == pytest.approx(-1.0)
    assert (table["method"] == "psis").all()
    assert len(made().full_table) == 10


def test_joint_models_and_unknown_outcomes_are_refused(made_fit: Fit) -> None:
    with pytest.raises(InputError, match="no outcome"):
        influence(made_fit["nothing"])
    with pytest.raises(InputError, match="joint model"):
        influence(replace(made_fit, shared=xr.DataTree())[made_fit.outcomes[0]])
