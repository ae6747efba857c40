"""Sensitivity checks on clean trials, and where one therapist's patients are unlike the others.

The figures stand in docs/sensitivity.md.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from planted_misfits import (
    OUTCOME,
    SCENARIOS,
    TRIALS,
    fit_to,
    planted_fit,
    planted_patients,
    random_numbers,
)
from scipy import stats

from alliance.diagnostics.checks.sensitivity_checks import (
    most_moved,
    prior_sensitivity_result,
)
from alliance.inference.leaving_out.therapists import influence
from alliance.inference.priors.power_scaling import SCALE_QUANTITIES, power_scaling
from alliance.inference.runs.fit import Fit
from alliance.models.priors import Priors

pytestmark = pytest.mark.validation

RARE = 1e-3  # chance that a count falls beyond its bound though the rate is as said
FALSE_ALARMS = 0.05
ODD = "T0"  # the therapist whose patients' slope is lower by one SD
TIGHT = 1 / 30


def out_of_bounds(fit: Fit) -> dict[str, list[str]]:
    """Patients and therapists for whom the check asks to look."""
    found = {}
    for by in ("patient", "therapist"):
        each = influence(fit[OUTCOME], by)
        beyond = np.abs(each.shift_sd).max(axis=1) > most_moved(each)
        found[by] = [unit for unit, tripped in zip(each.units, beyond, strict=True) if tripped]
    return found


@pytest.mark.parametrize("name", ["clean, full model", "clean, smallest model"])
def test_clean_trials_rarely_trip(name: str) -> None:
    """At most 13 of 100: with a rate of 5% there are more in fewer than 1 of 1,000 studies."""
    counts = dict.fromkeys(("influence", "patient", "therapist", "prior_sensitivity"), 0)
    largest = []
    for number in range(TRIALS):
        fit = planted_fit(SCENARIOS[name], random_numbers(name, number), seed=number)
        beyond = out_of_bounds(fit)
        counts["influence"] += any(beyond.values())
        for by, units in beyond.items():
            counts[by] += bool(units)
        scaled = power_scaling(fit[OUTCOME])
        counts["prior_sensitivity"] += prior_sensitivity_result(scaled).verdict == "REVIEW"
        spread = [quantity in SCALE_QUANTITIES for quantity, _ in scaled.labels]
        largest.append(scaled.by_kind[spread].max())
    limits = np.quantile(largest, [0.05, 0.95]).round(2)
    print(f"{name}: {counts}, largest sensitivity of an SD in 90 of 100 trials {limits}")
    most = stats.binom.ppf(1 - RARE, TRIALS, FALSE_ALARMS)
    assert counts["influence"] <= most
    assert counts["prior_sensitivity"] <= most


def with_an_odd_therapist(data: xr.Dataset) -> xr.Dataset:
    """One therapist's patients have slopes lower by 1 SD of the outcome's population (10)."""
    own = data["therapist_index"] == list(data["therapist"].values).index(ODD)
    return data.assign(outcome=data["outcome"] - 10 * own * (data["moderator"] - 80) / 12)


def test_an_odd_therapist_is_the_one_who_is_named() -> None:
    """Therapist slopes absorb most of it: few trials trip, and those name that therapist."""
    scenario = SCENARIOS["clean, full model"]
    any_, odd = 0, 0
    for number in range(TRIALS):
        data = planted_patients(scenario, random_numbers("odd therapist", number))
        beyond = out_of_bounds(fit_to(scenario, with_an_odd_therapist(data), seed=number))
        any_ += any(beyond.values())
        odd += ODD in beyond["therapist"]
    print(f"one odd therapist: {any_} trials, {odd} of them that therapist")
    # Of clean trials 13 at most trip for one of 12 therapists, this one in 1 or 2
    assert odd > stats.binom.ppf(1 - RARE, TRIALS, FALSE_ALARMS / 12)
    assert odd >= any_ / 2


@pytest.mark.parametrize("kind", ["moderator_slope", "therapist_sd", "therapist_slope_sd"])
def test_a_tight_prior_is_flagged_alone(kind: str) -> None:
    """In three trials each; `tests/inference/test_power_scaling.py` has all eight in one."""
    usual = Priors()
    tight = replace(usual, **{kind: TIGHT * getattr(usual, kind)})
    scenario = replace(SCENARIOS["clean, full model"], fitted={"priors": tight})
    for seed in range(3):
        fit = planted_fit(scenario, random_numbers("clean, full model", seed), seed=seed)
        scaled = power_scaling(fit[OUTCOME])
        ruled = scaled.ruled.any(axis=0)
        assert [own for own, any_ in zip(scaled.kinds, ruled, strict=True) if any_] == [kind]
