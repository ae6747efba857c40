"""Stated shifts of unseen outcomes: in the study file, as options, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_trial import a_study

from alliance.data_prep.errors import InputError
from alliance.data_prep.study.description import Study, narrowed, read_study, study_text


def in_file(folder: Path, lines: str) -> Path:
    """The small trial's study file with lines after those of the outcome function."""
    text = study_text(a_study())
    assert text.count("\n[outcomes.gpe]\n") == 1
    path = folder / "study.toml"
    path.write_text(text.replace("\n[outcomes.gpe]\n", f"{lines}\n\n[outcomes.gpe]\n"))
    return path


def refusal(ask: Any) -> str:
    with pytest.raises(InputError) as caught:
        ask()
    assert caught.value.remedy or "\n" in caught.value.problem  # many faults bring their own
    return str(caught.value)


def test_shifts_of_the_file_survive_writing(tmp_path: Path) -> None:
    lines = "[outcomes.function.delta]\nGE = -2\nSMT = 0.5"
    study = read_study(in_file(tmp_path, lines))
    assert study.outcomes["function"].delta == {"GE": -2.0, "SMT": 0.5}
    assert study.outcomes["gpe"].delta == {}
    text = study_text(study)
    assert f"{lines}\n" in text
    (tmp_path / "again.toml").write_text(text)
    assert read_study(tmp_path / "again.toml") == study
    assert "delta" not in study_text(a_study())


@given(
    function=st.dictionaries(st.sampled_from(["GE", "SMT"]), st.floats(-30, 30)),
    gpe=st.dictionaries(st.sampled_from(["GE", "SMT"]), st.integers(-10, 10)),
)
def test_any_shift_survives_writing(
    function: dict[str, float], gpe: dict[str, float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    study = narrowed(a_study(), delta={"function": function, "gpe": gpe})
    path = tmp_path_factory.getbasetemp() / "shifted.toml"
    path.write_text(study_text(study))
    again = read_study(path)
    assert again == study
    assert again.outcomes["function"].delta == function
    assert again.outcomes["gpe"].delta == gpe


FAULTS = {
    "unknown arm": (
        "[outcomes.function.delta]\nGEE = 1",
        ["outcomes.function.delta.GEE: there is no arm 'GEE'.", "Did you mean 'GE'?"],
    ),
    "unlike any arm": (
        "[outcomes.function.delta]\nX = 1",
        ["outcomes.function.delta.X: there is no arm 'X'.", "Valid names: 'SMT', 'GE'."],
    ),
    "not finite": (
        "[outcomes.function.delta]\nGE = inf",
        ["outcomes.function.delta.GE: is inf, not a finite number.", "Write GE = -2 under"],
    ),
    "no number": (
        '[outcomes.function.delta]\nGE = "low"',
        ["outcomes.function.delta.GE: is 'low', not a number.", "Write GE = -2 under"],
    ),
    "a truth value": (
        "[outcomes.function.delta]\nGE = true",
        ["outcomes.function.delta.GE: is true, not a number."],
    ),
    "no table": (
        "delta = -2",
        ["outcomes.function.delta: is -2, not a table.", "Write the table [outcomes.function.del"],
    ),
    # The range of the outcome function is 0 to 30.
    "wider than the range": (
        "[outcomes.function.delta]\nGE = -30.5",
        ["outcomes.function.delta.GE: is -30.5, and the range 0 to 30 is not that wide", "units"],
    ),
}


@pytest.mark.parametrize(("lines", "parts"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_of_the_file_are_named_with_their_place(
    lines: str, parts: list[str], tmp_path: Path
) -> None:
    message = refusal(lambda: read_study(in_file(tmp_path, lines)))
    assert message.startswith("study.toml, ")
    for part in parts:
        assert part in message


def test_all_faults_of_the_file_come_back_at_once(tmp_path: Path) -> None:
    lines = "[outcomes.function.delta]\nGE = nan\nSMT = 31\nMCE = 1"
    message = refusal(lambda: read_study(in_file(tmp_path, lines)))
    assert message.startswith("study.toml has 3 faults:")
    for arm in ("GE", "SMT", "MCE"):
        assert f"  outcomes.function.delta.{arm}: " in message


def test_a_shift_may_span_the_range() -> None:
    study = narrowed(a_study(), delta={"function": {"GE": 30, "SMT": -30}})
    assert study.outcomes["function"].delta == {"GE": 30.0, "SMT": -30.0}


def shifted(**delta: float) -> Study:
    return narrowed(a_study(), delta={"function": delta})


def test_options_take_the_place_of_the_file_arm_by_arm() -> None:
    study = shifted(GE=-2, SMT=1)
    changed = narrowed(
        study, delta={"function": {"GE": np.float64(-3)}, "gpe": {"SMT": np.int64(1)}}
    )
    assert changed.outcomes["function"].delta == {"GE": -3.0, "SMT": 1.0}
    assert changed.outcomes["gpe"].delta == {"SMT": 1.0}
    assert study.outcomes["function"].delta == {"GE": -2.0, "SMT": 1.0}  # as it was
    assert narrowed(changed) == narrowed(changed, delta={}) == changed
    assert narrowed(changed, outcomes=["gpe"]).outcomes == {"gpe": changed.outcomes["gpe"]}


@pytest.mark.parametrize(
    ("delta", "said"),
    [
        ({"functoin": {"GE": 1}}, "'functoin', which is not analysed. Did you mean 'function'?"),
        ({"gpe": {"GE": 1}}, "'gpe', which is not analysed. Valid names: 'function'."),
        ({"function": {"X": 1}}, "outcomes.function.delta.X: there is no arm 'X'. Valid names"),
        ({"function": {"GE": 31}}, "outcomes.function.delta.GE: is 31, and the range 0 to 30"),
        ({"function": {"GE": float("nan")}}, "in the arm 'GE' is nan, not a finite number"),
        ({"function": {"GE": True}}, "in the arm 'GE' is True, not a finite number"),
        ({"function": {"GE": "1"}}, "in the arm 'GE' is '1', not a finite number"),
    ],
)
def test_options_that_do_not_fit_the_study_are_refused(delta: Any, said: str) -> None:
    assert said in refusal(lambda: narrowed(a_study(), outcomes=["function"], delta=delta))


def test_an_arm_of_a_shift_is_named_by_its_code_or_its_label() -> None:
    study = a_study()
    label = study.arms["GE"]
    assert narrowed(study, delta={"function": {label: -2}}).outcomes["function"].delta["GE"] == -2
    message = refusal(lambda: narrowed(study, delta={"function": {label: -2, "GE": -3}}))
    assert "is given two shifts, by its code and its label" in message
