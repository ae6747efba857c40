"""Published odds, risk and rate ratios: no effect is one, and a benefit may be upside down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alliance.data_prep.errors import InputError
from alliance.data_prep.study.description import Study
from alliance.inference.published.findings import Finding, verdict
from alliance.inference.published.published import read_published, valid_levels

STUDY = Study.model_validate(
    {
        "title": "A trial",
        "columns": {"patient": "id", "therapist": "t", "arm": "arm"},
        "arms": {"A": "One", "B": "Two"},
        "moderator": {"label": "Alliance", "column": "wai", "range": [0, 100]},
        "outcomes": {
            "relapse": {"label": "Relapse", "followup": "y", "better": "lower", "family": "binary"}
        },
    }
)


def a_finding(**changes: Any) -> Finding:
    kept = {
        "outcome": "relapse",
        "quantity": "odds_ratio_conditional",
        "level": "B-A",
        "claim": "number",
        "estimate": 0.5,
        "lower": 0.25,
        "upper": 0.9,
        "known_by": "abstract",
        "source": "Author, Journal 2020;1:1-9",
    }
    return Finding.model_validate(kept | changes)


def judged(finding: Finding, lower: float, upper: float) -> str:
    middle = (lower * upper) ** 0.5
    return verdict(finding, lower=lower, upper=upper, estimate=middle, better="lower").word


@pytest.mark.parametrize(
    ("finding", "interval", "word"),
    [
        (a_finding(), (0.3, 0.8), "agrees"),
        (a_finding(), (1.1, 2.0), "differs"),
        (a_finding(claim="present"), (0.3, 0.8), "supported"),
        (a_finding(claim="present"), (1.1, 2.0), "contradicted"),
        # An interval from 0.3 to 1.4 lies above zero and yet shows nothing: no effect is one
        (a_finding(claim="present"), (0.3, 1.4), "undetermined"),
        (a_finding(claim="absent", estimate=None, lower=None, upper=None), (0.3, 0.8),
         "not supported"),
        (a_finding(claim="absent", estimate=None, lower=None, upper=None), (0.3, 1.4),
         "undetermined"),
        (a_finding(claim="absent", estimate=None, lower=None, upper=None, rope=(0.8, 1.25)),
         (0.9, 1.2), "supported (practically equivalent)"),
    ],
)  # fmt: skip
def test_a_ratio_of_one_is_no_effect(
    finding: Finding, interval: tuple[float, float], word: str
) -> None:
    assert judged(finding, *interval) == word


def test_the_explanation_says_one_and_not_zero() -> None:
    found = verdict(
        a_finding(claim="present"), lower=0.3, upper=1.4, estimate=0.7, better="lower"
    ).explanation
    assert "includes one" in found
    assert "zero" not in found


def test_a_benefit_is_turned_upside_down_where_lower_is_better() -> None:
    finding = a_finding(estimate=2.0, lower=1.25, upper=4.0, oriented="benefit")
    turned = finding.as_difference("lower")
    assert (turned.estimate, turned.lower, turned.upper) == (0.5, 0.25, 0.8)
    assert finding.as_difference("higher").estimate == 2.0


@pytest.mark.parametrize("changes", [{"estimate": -0.5}, {"lower": 0.0}, {"rope": (-1.0, 1.0),
                         "claim": "absent"}])  # fmt: skip
def test_a_ratio_that_is_not_above_zero_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="above zero"):
        a_finding(**changes)


def test_levels_are_those_of_arms_and_slopes() -> None:
    for quantity in ("odds_ratio", "risk_ratio", "risk_difference", "odds_ratio_conditional"):
        assert valid_levels(STUDY, quantity) == ("B-A",)
    assert valid_levels(STUDY, "moderator_odds_ratio") == ("average", "A", "B")


def test_a_file_with_odds_ratios_is_read(tmp_path: Path) -> None:
    path = tmp_path / "published.toml"
    text = """[[finding]]
outcome = "relapse"
quantity = "odds_ratio_conditional"
level = "B-A"
claim = "number"
estimate = 0.5
lower = 0.25
upper = 0.9
known_by = "abstract"
source = "Author, Journal 2020;1:1-9"
"""
    path.write_text(text)
    (finding,) = read_published(path, STUDY)
    assert finding == a_finding()
    path.write_text(text.replace("odds_ratio_conditional", "odd_ratio"))
    with pytest.raises(InputError, match="odds_ratio"):
        read_published(path, STUDY)
