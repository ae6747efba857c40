"""Patients asked about: grids, covariates and levels, the trial's own, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prediction_examples import example_fit

from alliance.data_prep.errors import InputError
from alliance.inference.patients.asked_patients import (
    choose_therapist,
    patient_grid,
    therapist_labels,
    trial_patients,
    usual_values,
    with_alliance,
)
from alliance.inference.ranges import beyond, require_observed
from alliance.inference.scores.therapist_parts import NEW


def test_by_default_one_patient_stands_at_the_analysed_patients_means() -> None:
    fit = example_fit(covariates=("age", "sex"))
    patients, analysed = patient_grid(fit["function"]), fit.patients("function")
    assert len(patients) == 1
    assert patients.rows.moderator[0] == pytest.approx(analysed["moderator"].mean().item())
    assert patients.rows.baseline is not None
    assert patients.rows.baseline[0] == pytest.approx(analysed["baseline"].mean().item())
    means = analysed["covariates"].mean("patient").values
    age, sex = patients.rows.covariates[0]
    assert age == pytest.approx(means[0], rel=1e-12)
    assert 0 < means[1] < 1  # the share of men
    assert sex == float(means[1] > 0.5)  # of the commoner sex, and not a share of both
    assert not patients.alliance_named
    assert patient_grid(fit["gpe"]).rows.baseline is None


def test_numbers_of_two_kinds_are_a_category_in_all_but_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody is 0.1 of a smoker; of numbers of many kinds the mean is one like others."""
    fit = example_fit(covariates=("age",))
    own = fit["function"]
    ages = own.rows.covariates[:, 0]
    assert usual_values(own, "age")[0, 0] == pytest.approx(ages.mean())
    smokers = (np.arange(len(ages)) % 10 == 0).astype(float)[:, None]
    # undone at the end: other tests ask the same fit
    monkeypatch.setitem(own.__dict__, "rows", replace(own.rows, covariates=smokers))
    assert usual_values(own, "age").tolist() == [[0.0]]


@pytest.mark.parametrize(
    ("shares", "commonest"),
    [((0.2, 0.3), (0, 0)), ((0.2, 0.5), (0, 1)), ((0.6, 0.1), (1, 0))],  # the rest are reference
)
def test_a_category_that_is_not_named_stands_at_its_commonest_level(
    shares: tuple[float, float], commonest: tuple[int, int]
) -> None:
    design = SimpleNamespace(
        encoding=SimpleNamespace(
            own_columns=lambda _: [0, 1],
            covariate=lambda _: SimpleNamespace(levels=("a", "b", "c")),
        ),
        scaling=SimpleNamespace(covariates=[(share, 1.0) for share in shares]),
    )
    asked: Any = SimpleNamespace(design=design)
    assert usual_values(asked, "which")[0].tolist() == list(commonest)


def test_a_grid_has_every_combination_and_the_alliance_varies_fastest() -> None:
    fit = example_fit(covariates=("age", "sex"))
    patients = patient_grid(
        fit["function"],
        alliance=[80, 90],
        baseline=[5, 10, 15],
        covariates={"sex": ["M", "F"], "age": ["40"]},
    )
    rows = patients.rows
    assert len(patients) == 12
    assert patients.names == tuple(map(str, range(1, 13)))
    assert rows.moderator.tolist() == 6 * [80, 90]
    assert rows.baseline is not None
    assert rows.baseline.tolist() == 4 * [5] + 4 * [10] + 4 * [15]
    assert rows.covariates[:, 0].tolist() == 12 * [40]
    assert rows.covariates[:, 1].tolist() == 3 * [1, 1, 0, 0]  # the reference level is F
    assert patients.alliance_named


@pytest.mark.parametrize(
    ("outcome", "values", "problem", "remedy"),
    [
        ("gp", {}, "no outcome 'gp'", "'gpe'"),
        ("function", {"alliance": []}, "alliance: the grid is empty", "one value"),
        ("function", {"baseline": []}, "baseline: the grid is empty", "one value"),
        ("function", {"covariates": {"age": []}}, "age: the grid is empty", "one value"),
        ("function", {"baseline": [31]}, "31 is not on the scale", "3 to 30"),
        ("gpe", {"baseline": [5]}, "gpe has no baseline", "function"),
        ("function", {"alliance": [20]}, "20 lies outside", "extrapolate=True"),
        ("function", {"covariates": {"agee": [4]}}, "no covariate 'agee'", "'age'"),
        ("function", {"covariates": {"age": ["old"]}}, "'old' is not a number", "numbers"),
        ("function", {"covariates": {"age": ["nan"]}}, "'nan' is not a number", "numbers"),
        ("function", {"covariates": {"sex": ["m"]}}, "no level 'm'", "'M'"),
        ("function", {"covariates": {"sex": ["F", "E"]}}, "no level 'E'", "'M'"),
        (
            "function",
            {"baseline": [5] * 400, "alliance": [80] * 300},
            "120,000 patients",
            "100,000",
        ),
    ],
)
def test_what_is_not_there_is_refused(
    outcome: str, values: dict[str, Any], problem: str, remedy: str
) -> None:
    with pytest.raises(InputError) as refused:
        patient_grid(example_fit(covariates=("age", "sex"))[outcome], **values)
    assert problem in refused.value.problem
    assert remedy in refused.value.remedy


def test_a_study_without_covariates_says_so() -> None:
    with pytest.raises(InputError, match="names no covariates"):
        patient_grid(example_fit()["function"], covariates={"age": [50]})


def test_the_trials_patients_keep_their_arms_therapists_and_values() -> None:
    fit = example_fit()
    patients, analysed = trial_patients(fit["gpe"]), fit.patients("gpe")
    np.testing.assert_array_equal(patients.rows.arm_index, analysed["arm_index"].values)
    np.testing.assert_array_equal(patients.rows.moderator, analysed["moderator"].values)
    assert patients.therapists is not None
    therapists = analysed["therapist"].values[analysed["therapist_index"].values]
    assert list(patients.therapists) == therapists.tolist()
    assert patients.own_arm
    assert patients.of_trial
    assert not patients.extrapolated.any()


def test_patients_are_imagined_with_each_value_of_the_alliance() -> None:
    fit = example_fit()
    own = trial_patients(fit["function"])
    patients = with_alliance(fit[own.outcome], own, [30, 90], extrapolate=True)
    assert len(patients) == 2 * len(own)
    assert patients.rows.moderator.tolist() == len(own) * [30, 90]
    assert patients.extrapolated.tolist() == len(own) * [True, False]
    assert own.rows.baseline is not None
    assert patients.rows.baseline is not None
    np.testing.assert_array_equal(patients.rows.baseline, np.repeat(own.rows.baseline, 2))
    assert patients.names[:4] == ("1", "1", "2", "2")
    assert not patients.of_trial
    with pytest.raises(InputError, match="30 lies outside"):
        with_alliance(fit[own.outcome], own, [30, 90])


def test_the_range_that_was_observed_is_that_of_the_ratings_there_are() -> None:
    fit = example_fit(missing_alliance="impute")
    rows = fit["function"].rows
    assert np.isnan(rows.moderator).any()
    low, high = fit["function"].observed_alliance
    seen = rows.moderator[~np.isnan(rows.moderator)]
    assert (low, high) == (seen.min(), seen.max())


def test_values_at_the_ends_count_as_observed_and_beyond_them_as_extrapolated() -> None:
    observed = (50.0, 110.0)
    third = 50 + 60 * (0.1 + 0.2) / 0.3  # which rounding puts just above 110
    assert third > 110
    assert beyond([50, 110, third, 49.9, 110.1], observed).tolist() == 3 * [False] + 2 * [True]
    marked = require_observed([60, 120], observed, "Alliance", extrapolate=True)
    assert marked.tolist() == [False, True]
    with pytest.raises(InputError, match=r"Alliance: 120 lies outside .* 50 to 110"):
        require_observed([60, 120], observed, "Alliance", extrapolate=False)


def test_therapists_are_chosen_by_word_by_id_or_with_the_patients() -> None:
    fit = example_fit()
    design = fit.design("function")
    grid, own = patient_grid(fit["function"]), trial_patients(fit["function"])
    assert choose_therapist(design, grid, None) == NEW
    assert choose_therapist(design, own, None).kind == "known"
    assert choose_therapist(design, own, None) == choose_therapist(design, own, "own")
    assert choose_therapist(design, own, "new").labels == own.therapists
    known = choose_therapist(design, grid, "T02")
    assert (known.kind, known.labels) == ("known", ("T02",))
    assert therapist_labels(known, 3) == ["T02"] * 3
    assert therapist_labels(choose_therapist(design, grid, "average"), 2) == ["average"] * 2
    assert therapist_labels(choose_therapist(design, own, "new"), 90)[0].startswith("new (T0")
