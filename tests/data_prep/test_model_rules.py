"""Settings of [model] that do not fit each other, the moderator, the outcomes or their cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_trial import a_frame, a_study

from alliance.data_prep.errors import DataError, InputError
from alliance.data_prep.study.description import Study, narrowed, read_study, study_text
from alliance.data_prep.study.parts import ModelSettings
from alliance.data_prep.study.rules import BINARY, MOST_CATEGORIES, WHOLE_SCORES
from alliance.data_prep.study.visits import VISIT_SETTINGS
from alliance.data_prep.trial.trial import trial_from_frame
from alliance.models.families.families import FAMILIES


def with_outcome(
    family: str, limits: list[float] | None = None, model: dict[str, Any] | None = None
) -> Study:
    """The study whose GPE has this family and range."""
    gpe = {"label": "Effect", "followup": "gpe_8", "better": "higher", "family": family}
    outcomes = {name: outcome.model_dump() for name, outcome in a_study().outcomes.items()}
    outcomes["gpe"] = gpe | {"range": limits or [-5, 5]}
    return a_study(outcomes=outcomes, model=model or {})


def refusal(ask: Any) -> str:
    with pytest.raises(InputError) as caught:
        ask()
    message = str(caught.value)
    assert "pydantic" not in message
    return message


def in_file(folder: Path, study: Study, *settings: str) -> str:
    """What is said of the study's file if its [model] says something else."""
    text = study_text(study)
    for setting in settings:
        key = setting.split(" =")[0]
        before, table = text.split("[model]")
        lines = [setting if line.startswith(f"{key} =") else line for line in table.split("\n")]
        text = before + "[model]" + "\n".join(lines)
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return refusal(lambda: read_study(path))


def only_gpe() -> Study:
    return narrowed(a_study(), outcomes=["gpe"])


# name: (study, lines of [model], the same as options, what the message must hold)
REFUSED: dict[str, tuple[Any, list[str], dict[str, Any], list[str]]] = {
    "reliability": (
        a_study,
        ["reliability = true"],
        {"reliability": True},
        ["model.reliability: is true, but moderator.reliability is not", "reliability = false"],
    ),
    "arms within no therapist": (
        a_study,
        ["therapist_by_arm = true", 'therapist = "none"'],
        {"therapist_by_arm": True, "therapist": "none"},
        ["model.therapist_by_arm: ", 'model.therapist is "none"', "therapist_by_arm = false"],
    ),
    "interaction between no therapists": (
        a_study,
        ["between_interaction = true"],
        {"between_interaction": True},
        ["model.between_interaction: ", 'Set alliance = "within_between"'],
    ),
    "joint": (
        only_gpe,
        ["joint = true"],
        {"joint": True},
        ["model.joint: a joint model needs two outcomes, and 'gpe' is the only", "joint = false"],
    ),
    "range of categories": (
        lambda: with_outcome("ordinal", [-5.5, 5]),
        ['likelihood = "native"'],
        {"likelihood": "native"},
        ["outcomes.gpe.range: is -5.5 to 5,", "ordinal takes categories", '"student_t"'],
    ),
    "range of points": (
        lambda: with_outcome("beta_binomial", [-5, 5.5]),
        ['likelihood = "native"'],
        {"likelihood": "native"},
        ["outcomes.gpe.range: is -5 to 5.5,", "beta_binomial counts", 'likelihood = "published"'],
    ),
    "too many categories": (
        lambda: with_outcome("ordinal", [-25, 25]),
        ['likelihood = "native"'],
        {"likelihood": "native"},
        ["outcomes.gpe.family: -25 to 25 are 51 cat", "50 at most", '"beta_binomial" or "gauss'],
    ),
}


@pytest.mark.parametrize(
    ("make", "lines", "options", "parts"), REFUSED.values(), ids=REFUSED.keys()
)
def test_settings_that_do_not_fit_are_refused_in_the_file_and_as_options(
    tmp_path: Path, make: Any, lines: list[str], options: dict[str, Any], parts: list[str]
) -> None:
    study = make()
    from_file = in_file(tmp_path, study, *lines)
    from_options = refusal(lambda: narrowed(study, **options))
    assert from_file.startswith("study.toml, ")
    assert from_options.startswith("The study with these settings, ")
    fault = from_file.removeprefix("study.toml, ")
    assert from_options.endswith(fault)  # the same words
    for part in parts:
        assert part in fault


def test_all_faults_of_the_settings_stand_in_one_message() -> None:
    message = refusal(
        lambda: narrowed(
            with_outcome("ordinal", [0, 500]), likelihood="native", reliability=True, joint=True
        )
    )
    lines = message.splitlines()
    assert lines[0] == "The study with these settings has 2 faults:"
    assert [line.split(":")[0].strip() for line in lines[1:3]] == [
        "model.reliability",
        "outcomes.gpe.family",
    ]


def test_rules_follow_the_outcomes_that_are_left() -> None:
    joint = a_study(model={"joint": True})
    assert narrowed(joint).model.joint
    assert "'function' is the only" in refusal(lambda: narrowed(joint, outcomes=["function"]))
    assert not narrowed(joint, outcomes=["function"], joint=False).model.joint
    odd = with_outcome("ordinal", [0, 500])
    assert narrowed(odd, outcomes=["function"], likelihood="native").model.likelihood == "native"


def test_options_replace_the_settings_of_the_file_and_survive_writing(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "therapist": "intercept",
        "interaction": False,
        "likelihood": "native",
        "alliance": "within_between",
        "between_interaction": True,
        "missing_alliance": "impute",
        "reliability": True,
        "ceiling": True,
        "therapist_by_arm": True,
        "without_therapist": (),  # a list: test_partially_nested has it with arms
        "residual_by_arm": True,
        "joint": True,
        "common_patients": True,
        "moderator_arms": tuple(a_study().arms),  # all of them: the model of the ratings stays
    }
    moderator = {"label": "Alliance", "column": "wai", "range": [16, 112], "reliability": 0.77}
    study = a_study(moderator=moderator)
    # Those of visits, clinics and trials, which this study does not have: `test_visit_tables`,
    # `test_clinics_in_data`, `test_several_trials`
    elsewhere = ("clinic", "several_trials", "residual_by_trial")
    kept = VISIT_SETTINGS | {name: getattr(ModelSettings(), name) for name in elsewhere}
    assert options.keys() == study.model.model_dump().keys() - kept.keys()
    changed = narrowed(study, **options)
    assert changed.model.model_dump() == options | kept
    assert changed.outcomes == study.outcomes
    assert narrowed(changed) == changed  # no option keeps what there is
    assert narrowed(changed, **study.model.model_dump()) == study
    path = tmp_path / "study.toml"
    path.write_text(study_text(changed), encoding="utf-8")
    assert read_study(path) == changed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"likelihood": "natural"}, "likelihood setting 'natural' .*: published, native"),
        ({"alliance": "within"}, "alliance setting 'within' .*: total, within_between"),
        ({"missing_alliance": "drop"}, "missing_alliance setting 'drop' .*: complete_case, imp"),
        ({"reliability": 0.77}, "reliability setting 0.77 does not exist.*: True, False"),
        ({"joint": 1}, "joint setting 1 does not exist.*: True, False"),
    ],
)
def test_a_setting_that_does_not_exist_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        narrowed(a_study(), **options)


def test_the_families_of_whole_scores_are_the_discrete_ones() -> None:
    """But for events, whose column need not hold numbers."""
    discrete = {name for name, family in FAMILIES.items() if family.discrete}
    assert discrete == {*WHOLE_SCORES, BINARY}


@pytest.mark.parametrize("family", ["ordinal", "beta_binomial"])
def test_a_discrete_outcome_takes_whole_follow_ups_alone(family: str) -> None:
    frame = a_frame().astype(object)
    frame.loc[4, "gpe_8"], frame.loc[7, "gpe_8"], frame.loc[9, "gpe_8"] = 2.5, "-0.5", "5.5"
    frame.loc[5, "wai"], frame.loc[8, "psfs_8"] = "high", 12.5
    frame.loc[10, "gpe_8"], frame.loc[11, "gpe_8"] = "3.0", None
    native = with_outcome(family, model={"likelihood": "native"})
    with pytest.raises(DataError) as caught:
        trial_from_frame(native, frame, "trial.csv")
    problems = caught.value.problems
    assert [(found.row, found.column, found.value) for found in problems] == [
        (4, "gpe_8", "2.5"),
        (5, "wai", "high"),
        (7, "gpe_8", "-0.5"),
        (9, "gpe_8", "5.5"),  # outside the range as well: two rules
        (9, "gpe_8", "5.5"),
    ]
    rule = f"must be a whole number, as the family {family} {WHOLE_SCORES[family]}"
    assert [found.row for found in problems if found.rule == rule] == [4, 7, 9]
    assert all(
        found.remedy.startswith('Correct the cell, or set family = "gaussian" or "student_t"')
        for found in problems
        if found.rule == rule
    )


def test_whole_numbers_are_asked_for_by_the_family_in_use_alone() -> None:
    frame = a_frame()
    frame.loc[4, "gpe_8"], frame.loc[6, ["psfs_0", "psfs_8"]] = 2.5, [8.5, 9.5]
    native = {"likelihood": "native"}
    # As published, every outcome is Gaussian, whatever its family; function's family is Gaussian.
    for study in (with_outcome("ordinal"), with_outcome("student_t", model=native)):
        assert trial_from_frame(study, frame).flow["analysed"].to_list() == [24, 24]
    outcomes = {name: outcome.model_dump() for name, outcome in a_study().outcomes.items()}
    outcomes["function"]["family"] = "beta_binomial"
    with pytest.raises(DataError) as caught:
        trial_from_frame(a_study(outcomes=outcomes, model=native), frame)
    # Baselines are predictors and need not be whole.
    assert [found.column for found in caught.value.problems] == ["psfs_8"]


def test_as_published_ranges_are_free() -> None:
    for limits in ([-5.5, 5], [0, 500]):
        assert with_outcome("ordinal", limits).outcomes["gpe"].family == "ordinal"
    top = float(MOST_CATEGORIES - 1)
    study = with_outcome("ordinal", [0, top], model={"likelihood": "native"})
    assert study.outcomes["gpe"].range == (0.0, top)
