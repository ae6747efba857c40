"""Leave-one-out checks on planted misfits, and comparisons of fits on trials with known truth."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planted_misfits import OUTCOME, QUICK, SCENARIOS, TRIALS, planted_fit, random_numbers
from scipy import stats

from alliance.diagnostics.checks.loo_checks import FALSE_ALARMS, loo_check
from alliance.inference.draws.datatree import add_patients
from alliance.inference.leaving_out.leave_one_out_comparison import compare_loo
from alliance.inference.runs.fit import Fit
from alliance.inference.sampling.sampling import sample_outcome
from alliance.models.design.design import build_design

pytestmark = pytest.mark.validation

RARE = 1e-3  # chance that a count falls beyond its bound though the rate is as said


def reviews(name: str) -> dict[str, int]:
    """How many trials of the scenario each check asks to look at."""
    found = {"pareto_k": 0, "loo_pit": 0}
    for number in range(TRIALS):
        fit = planted_fit(SCENARIOS[name], random_numbers(name, number), seed=number)
        for result in loo_check(fit[OUTCOME]).results:
            found[result.check] += result.verdict == "REVIEW"
    print(name, found)
    return found


@pytest.mark.parametrize("name", ["clean, full model", "clean, smallest model"])
def test_clean_trials_rarely_trip(name: str) -> None:
    found = reviews(name)
    most = stats.binom.ppf(1 - RARE, TRIALS, FALSE_ALARMS)
    assert found["loo_pit"] <= most
    assert found["pareto_k"] <= most


def test_heavy_tails_are_seen() -> None:
    """With a rate of 80% there are fewer than the bound in 1 of 1,000 such studies."""
    assert reviews("t3 residuals")["loo_pit"] >= stats.binom.ppf(RARE, TRIALS, 0.8)


def with_other_model(fit: Fit, seed: int, **options: object) -> Fit:
    """The same patients, fitted with other terms."""
    spec = replace(fit.specs[OUTCOME], **options)
    data = fit.patients(OUTCOME)
    limits = fit.study.outcomes[OUTCOME].range
    tree, _ = sample_outcome(build_design(data, spec, limits), spec.priors, QUICK, seed)
    add_patients(tree, data)
    return replace(fit, specs={OUTCOME: spec}, trees={OUTCOME: tree})


def verdicts(name: str, **options: object) -> tuple[int, int]:
    """In how many trials the fit with other terms is said to predict worse, and better."""
    worse = better = 0
    for number in range(TRIALS):
        fit = planted_fit(SCENARIOS[name], random_numbers(name, number), seed=number)
        fits = {"fitted": fit, "other": with_other_model(fit, number, **options)}
        comparison = compare_loo({name: each[OUTCOME] for name, each in fits.items()})
        words = comparison.words(comparison.names[1])
        assert "unreliable" not in words  # 182 patients
        if "predicts worse" in words:
            worse += comparison.names[0] == "fitted"
            better += comparison.names[0] == "other"
    print(name, options, "worse", worse, "better", better)
    return worse, better


def test_what_is_not_there_is_rarely_said_to_be_better() -> None:
    """A single slope is true; slopes by arm cost little and bring nothing.

    Our bound: 5 of 100 trials, in either direction, for a model that nests the true one.
    """
    worse, better = verdicts("clean, smallest model", interaction=True)
    assert worse + better <= 5


def test_a_large_interaction_is_often_told() -> None:
    """Slopes that differ by 0.8 SDs: half of the trials at least, and never the other way."""
    worse, better = verdicts("left-out interaction", interaction=True)
    assert better >= 50
    assert worse == 0
