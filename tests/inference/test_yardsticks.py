"""Thresholds and regions as they are typed: read, held against the scale, refused."""

from __future__ import annotations

import pytest

from alliance.data_prep.errors import InputError
from alliance.data_prep.study.parts import Outcome, OutcomeYardstick
from alliance.inference.scores.thresholds import Thresholds, read_thresholds

PAIN = Outcome(label="Pain", followup="pain_8w", range=(0, 10), better="lower")
FUNCTION = Outcome(label="Function", followup="psfs_8w", range=(3, 30), better="higher")
BOTH = {"pain": PAIN, "function": FUNCTION}


def test_one_outcome_needs_no_name() -> None:
    found = read_thresholds({"pain": PAIN}, threshold=["2"], rope=["-0.5:0.5"], reach=["3"])
    assert found == {"pain": Thresholds(better_by=2.0, equivalence=(-0.5, 0.5), reach=3.0)}


def test_several_outcomes_have_their_own() -> None:
    found = read_thresholds(BOTH, threshold=["function=2.5", "pain=-1"], rope=["pain=-1:1"])
    assert found == {
        "pain": Thresholds(better_by=-1.0, equivalence=(-1.0, 1.0)),
        "function": Thresholds(better_by=2.5),
    }


def test_nothing_is_named_by_default() -> None:
    assert read_thresholds(BOTH) == {"pain": Thresholds(), "function": Thresholds()}
    assert read_thresholds({"pain": PAIN}, source="a paper")["pain"].empty  # a source names nothing
    assert not Thresholds(better_by=0.0).empty


def test_the_study_file_speaks_where_the_question_does_not() -> None:
    kept = OutcomeYardstick(threshold=2, rope=(-1, 1), source="a panel")
    outcomes = {"pain": PAIN.model_copy(update={"yardstick": kept}), "function": FUNCTION}
    found = read_thresholds(outcomes, reach=["function=20"], source="a paper")
    assert found["pain"] == Thresholds(better_by=2.0, equivalence=(-1.0, 1.0), source="a panel")
    assert found["function"] == Thresholds(reach=20.0, source="a paper")
    asked = read_thresholds(outcomes, threshold=["pain=3"], source="a paper")["pain"]
    assert asked == Thresholds(
        better_by=3.0, equivalence=(-1.0, 1.0), source="a panel; threshold from a paper"
    )
    typed = read_thresholds(outcomes, threshold=["pain=3"])["pain"]
    assert typed.source == "a panel; threshold from the command line"


REFUSED = [
    ({"threshold": ["2"]}, "`threshold='2'` is in points of one outcome", "`threshold='pain=2'`"),
    ({"threshold": ["pian=2"]}, "no outcome 'pian'", "Did you mean 'pain'"),
    ({"threshold": ["pain=1", "pain=2"]}, "given twice for the outcome 'pain'", "Give one"),
    ({"threshold": ["pain=much"]}, "'much' is not a number", "2.5"),
    ({"threshold": ["pain=nan"]}, "'nan' is not a number", "2.5"),
    ({"threshold": ["pain=inf"]}, "'inf' is not a number", "2.5"),
    ({"threshold": ["pain="]}, "'' is not a number", "2.5"),
    ({"threshold": ["pain=10.5"]}, "Pain runs from 0 to 10", "from -10 to 10"),
    ({"threshold": ["function=-28"]}, "Function runs from 3 to 30", "from -27 to 27"),
    ({"rope": ["pain=1"]}, "`rope='pain=1'` is not a region", "LOW:HIGH"),
    ({"rope": ["pain=1:2:3"]}, "is not a region", "LOW:HIGH"),
    ({"rope": ["pain=1:-1"]}, "empty region", "LOW below HIGH"),
    ({"rope": ["pain=1:1"]}, "empty region", "LOW below HIGH"),
    ({"rope": ["pain=-11:1"]}, "Pain runs from 0 to 10", "from -10 to 10"),
    ({"reach": ["function=2"]}, "outside the scale of Function", "from 3 to 30"),
]


@pytest.mark.parametrize(("given", "problem", "remedy"), REFUSED)
def test_what_makes_no_sense_is_refused(
    given: dict[str, list[str]], problem: str, remedy: str
) -> None:
    with pytest.raises(InputError) as refused:
        read_thresholds(BOTH, **given)
    assert problem in refused.value.problem
    assert remedy in refused.value.remedy
