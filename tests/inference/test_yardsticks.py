"""Thresholds and regions as they are typed: read, held against the scale, refused."""

from __future__ import annotations

import pytest

from alliance.data_prep.errors import InputError
from alliance.data_prep.study.description import Outcome
from alliance.data_prep.study.parts import OutcomeYardstick
from alliance.inference.answers.yardsticks import Yardstick, yardsticks

PAIN = Outcome(label="Pain", followup="pain_8w", range=(0, 10), better="lower")
FUNCTION = Outcome(label="Function", followup="psfs_8w", range=(3, 30), better="higher")
BOTH = {"pain": PAIN, "function": FUNCTION}


def test_one_outcome_needs_no_name() -> None:
    found = yardsticks({"pain": PAIN}, thresholds=["2"], ropes=["-0.5:0.5"], reaches=["3"])
    assert found == {"pain": Yardstick(2.0, (-0.5, 0.5), 3.0)}


def test_several_outcomes_have_their_own() -> None:
    found = yardsticks(BOTH, thresholds=["function=2.5", "pain=-1"], ropes=["pain=-1:1"])
    assert found == {"pain": Yardstick(-1.0, (-1.0, 1.0)), "function": Yardstick(2.5)}


def test_nothing_is_named_by_default() -> None:
    assert yardsticks(BOTH) == {"pain": Yardstick(), "function": Yardstick()}
    assert yardsticks({"pain": PAIN}, source="a paper")["pain"].empty  # a source names nothing
    assert not Yardstick(threshold=0.0).empty


def test_the_study_file_speaks_where_the_question_does_not() -> None:
    kept = OutcomeYardstick(threshold=2, rope=(-1, 1), source="a panel")
    outcomes = {"pain": PAIN.model_copy(update={"yardstick": kept}), "function": FUNCTION}
    found = yardsticks(outcomes, reaches=["function=20"], source="a paper")
    assert found["pain"] == Yardstick(2.0, (-1.0, 1.0), None, "a panel")
    assert found["function"] == Yardstick(reach=20.0, source="a paper")
    asked = yardsticks(outcomes, thresholds=["pain=3"], source="a paper")["pain"]
    assert asked == Yardstick(3.0, (-1.0, 1.0), None, "a panel; threshold from a paper")
    typed = yardsticks(outcomes, thresholds=["pain=3"])["pain"]
    assert typed.source == "a panel; threshold from the command line"


REFUSED = [
    ({"thresholds": ["2"]}, "`threshold='2'` is in points of one outcome", "`threshold='pain=2'`"),
    ({"thresholds": ["pian=2"]}, "no outcome 'pian'", "Did you mean 'pain'"),
    ({"thresholds": ["pain=1", "pain=2"]}, "given twice for the outcome 'pain'", "Give one"),
    ({"thresholds": ["pain=much"]}, "'much' is not a number", "2.5"),
    ({"thresholds": ["pain=nan"]}, "'nan' is not a number", "2.5"),
    ({"thresholds": ["pain=inf"]}, "'inf' is not a number", "2.5"),
    ({"thresholds": ["pain="]}, "'' is not a number", "2.5"),
    ({"thresholds": ["pain=10.5"]}, "Pain runs from 0 to 10", "from -10 to 10"),
    ({"thresholds": ["function=-28"]}, "Function runs from 3 to 30", "from -27 to 27"),
    ({"ropes": ["pain=1"]}, "`rope='pain=1'` is not a region", "LOW:HIGH"),
    ({"ropes": ["pain=1:2:3"]}, "is not a region", "LOW:HIGH"),
    ({"ropes": ["pain=1:-1"]}, "empty region", "LOW below HIGH"),
    ({"ropes": ["pain=1:1"]}, "empty region", "LOW below HIGH"),
    ({"ropes": ["pain=-11:1"]}, "Pain runs from 0 to 10", "from -10 to 10"),
    ({"reaches": ["function=2"]}, "outside the scale of Function", "from 3 to 30"),
]


@pytest.mark.parametrize(("given", "problem", "remedy"), REFUSED)
def test_what_makes_no_sense_is_refused(
    given: dict[str, list[str]], problem: str, remedy: str
) -> None:
    with pytest.raises(InputError) as refused:
        yardsticks(BOTH, **given)
    assert problem in refused.value.problem
    assert remedy in refused.value.remedy
