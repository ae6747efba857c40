"""Data that cannot answer the study's question: each case is refused and says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_trial import NAN, a_frame, a_study, only, problem_of

from alliance.data_prep.errors import DataError, InputError
from alliance.data_prep.study.description import narrowed
from alliance.data_prep.trial.trial import check_estimable, trial_from_frame

IMPOSSIBLE = [
    # id, changed columns, column of the problem, words of the rule, of the remedy
    ("arms missing", {"arm": None}, "arm", "no row has an arm", "Fill in the arms"),
    ("one arm", {"arm": "GE"}, "arm", "'GE' is the only arm", "whole trial"),
    ("therapists missing", {"therapist": None}, "therapist", "no row has a ther", "Fill in"),
    ("alliance missing", {"wai": NAN}, "wai", "no row has a value of the alliance", "[moderator]"),
    ("follow-ups missing", {"gpe_8": NAN}, "gpe_8", "'gpe': no row has a value", "[outcomes.gpe]"),
    ("baselines missing", {"psfs_0": NAN}, "psfs_0", "'function': no row has a", "baseline"),
    ("constant outcome", {"gpe_8": 2.0}, "gpe_8", "the follow-up is 2 for every", "leave the"),
    ("constant baseline", {"psfs_0": 9.0}, "psfs_0", "the baseline is 9 for every", "leave the"),
]


@pytest.mark.parametrize(
    ("columns", "column", "rule", "remedy"),
    [case[1:] for case in IMPOSSIBLE],
    ids=[case[0] for case in IMPOSSIBLE],
)
def test_data_that_cannot_answer_are_refused(
    columns: dict[str, object], column: str, rule: str, remedy: str
) -> None:
    found = problem_of(a_frame(**columns), a_study())
    assert found[0] == column
    assert rule in found[1]
    assert remedy in found[2]


def test_constant_alliance_among_the_analysed_is_refused() -> None:
    frame = a_frame()
    frame["wai"] = 80.0
    frame.loc[25, ["wai", "gpe_8"]] = [90.0, NAN]  # varies in the file, not in the analysis
    column, rule, _ = problem_of(frame, only("gpe"))
    assert column == "wai"
    assert "outcome 'gpe': the alliance is 80 for every analysed patient" in rule


def test_constant_alliance_in_one_arm_leaves_it_without_a_slope() -> None:
    frame = a_frame()
    frame.loc[frame["arm"] == "GE", "wai"] = 80.0
    _, rule, remedy = problem_of(frame, only("gpe"))
    assert "of the arm 'GE'" in rule
    assert "interaction = false" in remedy
    without = only("gpe").model_copy(
        update={"model": a_study().model.model_copy(update={"interaction": False})}
    )
    assert trial_from_frame(without, frame).flow["analysed"].to_list() == [24]


def test_an_arm_of_the_study_without_patients_is_named() -> None:
    study = a_study(arms={"SMT": "Manipulation", "GE": "Exercise", "MCE": "Motor control"})
    column, rule, remedy = problem_of(a_frame(), study)
    assert (column, rule) == ("arm", "no row has the arm 'MCE'")
    assert "[arms]" in remedy


def test_an_arm_with_one_analysed_patient_is_named_with_the_outcome() -> None:
    frame = a_frame()
    frame.loc[frame.index[frame["arm"] == "SMT"][1:], "gpe_8"] = NAN
    _, rule, _ = problem_of(frame, a_study())
    assert rule == (
        "outcome 'gpe': the arm 'SMT' has 1 analysed patient, and it needs 2: 11 of its 12 rows "
        "have no value in the column 'gpe_8'"
    )


def test_nobody_left_is_said_though_no_column_is_empty() -> None:
    frame = a_frame()
    frame.loc[:13, "wai"], frame.loc[14:, "gpe_8"] = NAN, NAN
    _, rule, _ = problem_of(frame, a_study())
    assert rule.startswith("outcome 'gpe': every row lacks")


def test_patients_must_outnumber_coefficients_by_two() -> None:
    # Intercept, baseline, one arm contrast, alliance, one interaction: 5 coefficients.
    _, rule, _ = problem_of(a_frame(6), only("function"))
    assert "6 analysed patients cannot bear 5 coefficients; 7 patients are the least" in rule
    assert trial_from_frame(only("function"), a_frame(7)).flow["analysed"].to_list() == [7]
    _, rule, _ = problem_of(
        a_frame(7), only("function").model_copy(update={"covariates": ("age",)})
    )
    assert "7 analysed patients cannot bear 6 coefficients; 8 patients are the least" in rule


COLLINEAR = [
    ("a multiple", lambda frame: 2.5 * frame["wai"] - 3, "alliance, extra"),
    ("the arm again", lambda frame: frame["arm"], "extra[SMT], arm 'GE'"),
]


@pytest.mark.parametrize(
    ("make", "named"), [case[1:] for case in COLLINEAR], ids=[case[0] for case in COLLINEAR]
)
def test_a_covariate_that_follows_from_other_columns_is_named(make: Any, named: str) -> None:
    frame = a_frame()
    frame["extra"] = make(frame)
    study = only("gpe").model_copy(update={"covariates": ("extra", "age")})
    _, rule, remedy = problem_of(frame, study)
    assert rule.endswith(f"follows from the others: {named}")
    assert "Leave one of them out" in remedy


def test_a_nearly_collinear_covariate_is_allowed() -> None:
    frame = a_frame()
    frame["extra"] = 2.5 * frame["wai"] + np.tile([0.0, 0.01, 0.0], 8)
    study = only("gpe").model_copy(update={"covariates": ("extra",)})
    assert trial_from_frame(study, frame).flow["analysed"].to_list() == [24]


def test_a_level_that_only_excluded_patients_have_is_left_out_and_noted() -> None:
    frame = a_frame()
    frame.loc[25, ["sex", "gpe_8"]] = ["X", NAN]
    study = only("gpe").model_copy(update={"covariates": ("sex",)})
    notes = trial_from_frame(study, frame).notes
    assert "Outcome 'gpe': no analysed patient has the sex 'X'." in notes


def test_therapist_effects_need_two_therapists() -> None:
    trial = trial_from_frame(a_study(), a_frame(therapist="only"))
    check_estimable(trial, "none")
    for setting in ("intercept", "intercept+slope"):
        with pytest.raises(DataError) as caught:
            check_estimable(trial, setting)
        problems = caught.value.problems
        assert [problem.column for problem in problems] == ["therapist"] * 2
        assert [problem.rule.split(":")[0] for problem in problems] == [
            "outcome 'function'",
            "outcome 'gpe'",
        ]
        assert all('`therapist="none"`' in problem.remedy for problem in problems)


def test_therapist_effects_need_a_therapist_with_two_patients() -> None:
    trial = trial_from_frame(only("gpe"), a_frame(therapist=range(24)))
    check_estimable(trial, "none")
    with pytest.raises(DataError, match="each of the 24 therapists has one analysed patient"):
        check_estimable(trial, "intercept")
    frame = a_frame(therapist=[*range(23), 0])
    check_estimable(trial_from_frame(only("gpe"), frame), "intercept")


def test_an_unknown_therapist_setting_is_refused() -> None:
    trial = trial_from_frame(a_study(), a_frame())
    check_estimable(trial, "intercept+slope")
    with pytest.raises(InputError, match=r"'slope' does not exist\..*'intercept\+slope'"):
        check_estimable(trial, "slope")


@pytest.mark.parametrize("therapist", ["none", "intercept"])
def test_slopes_within_and_between_need_two_therapists(therapist: str) -> None:
    study = narrowed(a_study(), therapist=therapist, alliance="within_between")
    check_estimable(trial_from_frame(study, a_frame()), therapist)
    with pytest.raises(DataError) as caught:
        check_estimable(trial_from_frame(study, a_frame(therapist="only")), therapist)
    rules = [problem.rule for problem in caught.value.problems]
    assert [rule.split(":")[0] for rule in rules if "within and between" in rule] == [
        "outcome 'function'",
        "outcome 'gpe'",
    ]
    assert len(rules) == (2 if therapist == "none" else 4)  # the therapist effect is refused too
    problem = next(found for found in caught.value.problems if "within and" in found.rule)
    assert problem.column == "therapist"
    assert "all analysed patients have one and the same therapist" in problem.rule
    assert 'alliance = "total"' in problem.remedy


def test_slopes_within_and_between_need_a_therapist_with_two_patients() -> None:
    study = narrowed(only("gpe"), therapist="none", alliance="within_between")
    trial = trial_from_frame(study, a_frame(therapist=range(24)))
    with pytest.raises(DataError, match="each of the 24 therapists has one analysed patient only"):
        check_estimable(trial, "none")
    check_estimable(trial_from_frame(study, a_frame(therapist=[*range(23), 0])), "none")


def test_slopes_within_and_between_count_patients_with_a_rating_alone() -> None:
    # 12 therapists with two patients each, of whom one has a rating.
    frame = a_frame(therapist=np.repeat(range(12), 2))
    frame.loc[frame.index[np.arange(24) % 4 == 0], "wai"] = NAN
    frame.loc[frame.index[np.arange(24) % 4 == 3], "wai"] = NAN
    study = narrowed(only("gpe"), alliance="within_between", missing_alliance="impute")
    with pytest.raises(DataError) as caught:
        check_estimable(trial_from_frame(study, frame), "intercept")
    (problem,) = caught.value.problems  # therapists themselves can be compared
    assert "each of the 12 therapists has one analysed patient with alliance only" in problem.rule
    frame.loc[2, "wai"] = 70.0
    check_estimable(trial_from_frame(study, frame), "intercept")


def test_arm_effects_between_therapists_need_a_therapist_in_two_arms() -> None:
    study = narrowed(a_study(), therapist_by_arm=True)
    frame = a_frame()
    check_estimable(trial_from_frame(study, frame), "intercept")
    frame["therapist"] = np.where(frame["arm"] == "GE", "a", "b")
    frame.loc[2, ["therapist", "gpe_8"]] = ["b", NAN]  # the only one crossed, and not for gpe
    trial = trial_from_frame(study, frame)
    assert trial.therapists_in_arms == "partly crossed"
    with pytest.raises(DataError) as caught:
        check_estimable(trial, "intercept")
    (problem,) = caught.value.problems
    assert problem.column == "therapist"
    assert problem.rule.startswith("outcome 'gpe': no therapist has analysed patients in two arms")
    assert "therapist_by_arm = false" in problem.remedy


@pytest.mark.parametrize("unit", [1.0, 1e-9, 1e9])
@pytest.mark.parametrize(
    ("made", "named"),
    [
        (lambda frame: frame["psfs_0"], ["baseline (psfs_0)"]),
        (lambda frame: 30 - frame["psfs_0"], ["baseline (psfs_0)"]),
        (lambda frame: frame["psfs_0"] + frame["wai"], ["alliance (wai)", "baseline (psfs_0)"]),
        (lambda frame: 3.0 + 2 * (frame["arm"] == "GE"), ["arm 'GE'"]),
        (lambda frame: frame["psfs_0"] + frame["age"] / 10, ["baseline (psfs_0)", "age"]),
        (lambda frame: 5.0 + frame["therapist"], ["therapist"]),
        (lambda frame: frame["psfs_0"] + 4 * frame["therapist"], ["baseline", "therapist"]),
    ],
)
def test_an_outcome_that_can_be_computed_is_refused(
    made: Callable[[pd.DataFrame], pd.Series], named: list[str], unit: float
) -> None:
    """Relative: in whatever unit the scores are, and rounded to four of their digits or more."""
    frame = a_frame(60, age=np.random.default_rng(3).integers(20, 80, 60).astype(float))
    frame["psfs_8"] = unit * made(frame)
    outcome = a_study().outcomes["function"].model_copy(update={"range": (-1e12, 1e12)})
    study = a_study(covariates=["age"]).model_copy(update={"outcomes": {"function": outcome}})
    column, rule, remedy = problem_of(frame, study)
    assert column == "psfs_8"
    assert "it can be computed from " in rule
    for name in named:
        assert name in rule
    assert "a copy or a sum" in remedy


@pytest.mark.parametrize("noise", [1e-3, 1e-2])
def test_an_outcome_that_is_nearly_explained_is_not_refused(noise: float) -> None:
    frame = a_frame(60)
    frame["psfs_8"] = 10 + 0.5 * frame["psfs_0"]
    frame["psfs_8"] += noise * frame["psfs_8"].std() * np.random.default_rng(2).normal(size=60)
    trial_from_frame(only("function"), frame)


def test_therapists_of_one_patient_do_not_make_a_perfect_fit() -> None:
    """With a number for each patient everything follows from the therapist: nothing is said."""
    frame = a_frame(24, therapist=np.repeat(np.arange(12), 2))
    trial_from_frame(only("function"), frame)


def test_an_arm_without_therapists_is_told_by_that_column_with_the_count() -> None:
    frame = a_frame()
    frame["therapist"] = frame["therapist"].astype(object)
    frame.loc[frame["arm"] == "SMT", "therapist"] = None
    column, rule, remedy = problem_of(frame, only("function"))
    assert column == "therapist"
    assert "the arm 'SMT' has 0 analysed patients" in rule
    assert "none of its 12 patients has a therapist" in rule
    assert 'without_therapist = ["SMT"]' in remedy
    assert "take the arm out" not in remedy
