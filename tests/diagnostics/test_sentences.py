"""What was found in sentences: none claims more than its probability, over a grid of posteriors."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from alliance.data_prep.study.parts import Outcome
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.paragraphs import FAILED, Cited, found
from alliance.diagnostics.report.results import _told_of_fit
from alliance.diagnostics.sentences import (
    CERTAIN,
    Found,
    contrast_sentence,
    found_of,
    interaction_sentence,
    plain_words,
    round_step,
    sentences_of,
    slope_sentence,
    unit_of,
)
from alliance.diagnostics.sheets.effects import crossing_lines
from alliance.diagnostics.verdicts import Verdict
from alliance.diagnostics.words import label
from alliance.inference.answers.crossing import ChosenArms
from alliance.inference.answers.effects import effects_along
from alliance.inference.runs.fit import Fit

UNKNOWN = "cannot tell"
GRID = list(
    itertools.product((-30.0, -1.0, -0.3, -0.01, 0.0, 0.004, 0.2, 1.0, 8.0), (0.01, 0.4, 12))
)


def normal(mean: float, sd: float, direction: int = 1) -> Found:
    """A normal posterior's row, as the tidy table has it."""
    row = {
        "mean": mean,
        "sd": sd,
        "lower": mean - 1.959964 * sd,
        "upper": mean + 1.959964 * sd,
        "prob_positive": float(stats.norm.cdf(mean / sd)),
    }
    return found_of(row, direction, 0.95)


def sentences(found: Found) -> list[str]:
    return [
        slope_sentence(found, "alliance", "10 points"),
        contrast_sentence(found, "Exercise", "Massage", " at alliance 92"),
        interaction_sentence(found, "Exercise", "Massage", "alliance", "10 points"),
    ]


@pytest.mark.parametrize(("mean", "sd"), GRID)
@pytest.mark.parametrize("direction", [1, -1])
def test_a_direction_is_claimed_only_where_it_is_nearly_certain(
    mean: float, sd: float, direction: int
) -> None:
    found = normal(mean, sd, direction)
    chance = stats.norm.cdf(direction * mean / sd)
    claimed = max(chance, 1 - chance) >= CERTAIN
    for sentence in sentences(found):
        assert (UNKNOWN in sentence) != claimed, sentence
        assert sentence.endswith(".")
        # Sizes without signs, and no probability that is rounded to 0 or 1
        assert not re.search(r"(?:direction|is) [01]\.000|-\d|nan|p = ", sentence), sentence
        if claimed:  # one side is named, with the probability of that side
            told = re.search(r"direction (?:> )?(0\.\d+)", sentence)
            assert told is not None
            assert float(told[1]) >= 0.975
        else:  # both ends of an interval that holds zero, and the probability of the first side
            told = re.search(r"is (?:[<>] )?(0\.\d+)\.$", sentence)
            assert told is not None
            assert float(told[1]) == pytest.approx(chance, abs=0.001)


def test_the_better_arm_is_named_first_whichever_way_the_scale_is_turned() -> None:
    # Exercise 2 points lower on a scale where lower is better
    better = contrast_sentence(normal(-2, 0.5, -1), "Exercise", "Massage")
    assert better.startswith("Scores with Exercise are better than with Massage: by 2.00 points")
    assert "1.02 to 2.98 points better" in better
    worse = contrast_sentence(normal(-2, 0.5, 1), "Exercise", "Massage")
    assert worse.startswith("Scores with Massage are better than with Exercise: by 2.00 points")
    assert slope_sentence(normal(-2, 0.5, 1), "alliance", "1 point").startswith(
        "Patients with a higher alliance had worse scores: by 2.00 points"
    )


def test_an_uncertain_contrast_names_both_ends() -> None:
    told = contrast_sentence(normal(4.95, 4.464, 1), "Exercise", "Massage")
    assert "3.8 points worse to 13.7 points better" in told
    assert "0.866" in told


@pytest.mark.parametrize("sd", [0.003, 0.7, 1.0, 3.4, 12.3, 48.0, 990.0])
def test_slopes_are_told_for_a_round_number_of_points_near_one_sd(sd: float) -> None:
    step = round_step(sd)
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert round(mantissa, 6) in (1, 2, 5)
    assert 0.6 < step / sd < 1.7  # the widest gap of 1, 2, 5, 10 is 2.5: its half is 1.58


def test_every_quantity_of_a_fit_is_told_once(made_fit: Fit) -> None:
    table = made_fit.summary()
    for outcome in made_fit.outcomes:
        told = list(sentences_of(made_fit, outcome, table, 0.95))
        assert [quantity for quantity, _, _ in told][:4] == [
            "moderator_slope",
            *["arm_contrast"] * 3,
        ]
        slopes = [found for quantity, found, _ in told if quantity == "interaction"]
        assert sum(map(len, slopes)) == 3
        own = table[table["outcome"] == outcome].set_index(["quantity", "level"])
        by = round_step(made_fit.design(outcome).scaling.moderator[1])
        sign = made_fit[outcome].direction
        assert told[0][1][0].mean == pytest.approx(
            sign * by * own.loc[("moderator_slope", "average"), "mean"]
        )


def test_plain_words_call_nothing_certain_that_is_not(made_fit: Fit) -> None:
    table = made_fit.summary()
    for outcome in made_fit.outcomes:
        told = plain_words(made_fit, outcome, table, 0.95)
        own = table[(table["outcome"] == outcome) & (table["quantity"] == "arm_contrast")]
        chance = own["prob_positive"].where(own["prob_positive"] > 0.5, 1 - own["prob_positive"])
        slope = table[
            (table["outcome"] == outcome)
            & (table["quantity"] == "moderator_slope")
            & (table["level"] == "average")
        ]["prob_positive"].iloc[0]
        every = [*chance, max(slope, 1 - slope)]
        gains = told.count(" gains on ")
        assert told.count("nearly certain") == sum(each >= CERTAIN for each in every) + gains
        assert told.count("chances in 100") == sum(0.9 <= each < CERTAIN for each in every)
        assert "cannot tell" in told


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        ({"family": "binary"}, (100.0, "percentage points")),
        ({"family": "count", "range": [0, 9]}, (1.0, "events")),
        (
            {"family": "count", "range": [0, 9], "exposure": "months"},
            (1.0, "events per unit of months"),
        ),
        ({"range": [0, 9]}, (1.0, "points")),
    ],
)
def test_chances_and_events_are_told_in_their_own_units(
    outcome: dict[str, Any], told: tuple[float, str]
) -> None:
    described = Outcome(label="Y", followup="y", better="lower", **outcome)
    unit = unit_of(described)
    assert unit == told
    row = {"mean": -0.2, "sd": 0.05, "lower": -0.3, "upper": -0.1, "prob_positive": 0.001}
    found = found_of(row, -1, 0.95, unit=unit)
    assert found.mean == pytest.approx(0.2 * unit[0])
    assert found.size.endswith(unit[1])
    assert contrast_sentence(found, "A", "B").count(unit[1]) == 2


# Whatever the posterior of a fit is --------------------------------------------------------------

CLAIM = re.compile(
    r"had (?:better|worse) scores|are better than with|goes with the alliance: "
    r"|did (?:better|worse) \(|worked better than|gains on"
)
HEDGED = re.compile(r"cannot tell|probably \(\d\d chances in 100\)")


def posed(fit: Fit, mean: float, sd: float) -> pd.DataFrame:
    """The fit's table with one normal posterior in the place of every slope and difference."""
    table = fit.summary()
    own = table["quantity"].isin(["moderator_slope", "arm_contrast", "interaction"])
    chance = float(stats.norm.cdf(mean / sd))
    told = [mean, sd, mean - 1.959964 * sd, mean + 1.959964 * sd, chance]
    table.loc[own, ["mean", "sd", "lower", "upper", "prob_positive"]] = told
    return table


@pytest.mark.parametrize(("mean", "sd"), GRID)
def test_no_generator_claims_what_is_not_nearly_certain(
    made_fit: Fit, mean: float, sd: float
) -> None:
    """First page, section of results, paper and plain words, of the same posterior."""
    table = posed(made_fit, mean, sd)
    chance = stats.norm.cdf(mean / sd)
    surely = max(chance, 1 - chance) >= CERTAIN
    material = Material(made_fit)
    material.__dict__["summary"] = table
    for outcome in made_fit.outcomes:
        own = [sentence for _, _, sentence in sentences_of(made_fit, outcome, table, 0.95)]
        own.append(_told_of_fit(material, outcome))
        for sentence in own:
            assert bool(CLAIM.search(sentence)) == surely, sentence
            assert ("cannot tell" in sentence) != surely, sentence
        plain = plain_words(made_fit, outcome, table, 0.95)
        for clause in plain.rstrip(".").split("; "):
            if "nearly certain" in clause:
                assert surely, clause
            elif CLAIM.search(clause):
                assert HEDGED.search(clause), clause
            assert not re.search(r"100 chances in 100|\b0\.?0* chances", clause), clause


def test_paragraphs_of_a_paper_take_their_findings_from_the_same_sentences(made_fit: Fit) -> None:
    def judged(table: pd.DataFrame, verdict: Verdict) -> dict[str, list[str]]:
        reports = tuple(
            SimpleNamespace(outcome=name, verdict=verdict, all_results=())
            for name in made_fit.outcomes
        )
        checks: Any = SimpleNamespace(reports=reports)
        material = Material(made_fit, judged=checks)
        material.__dict__["summary"] = table
        return dict(found(material, Cited()))

    labels = {outcome: label(made_fit.study, outcome) for outcome in made_fit.outcomes}
    for mean, sd in ((0.2, 0.4), (-30.0, 0.4)):
        table = posed(made_fit, mean, sd)
        told = judged(table, Verdict.PASS)
        for outcome, name in labels.items():
            [paragraph] = told[name]
            for _, _, sentence in sentences_of(made_fit, outcome, table, 0.95):
                assert sentence.replace("(table below)", "(see the table of results)") in paragraph
    # and nothing is told of draws that failed
    told = judged(table, Verdict.FAIL)
    assert [told[name] for name in labels.values()] == [[FAILED]] * len(labels)


@pytest.mark.parametrize(("mean", "sd"), GRID)
def test_what_choosing_by_the_alliance_gains_is_claimed_only_where_it_is_nearly_certain(
    made_fit: Fit, mean: float, sd: float
) -> None:
    """Of gains that are normal, counted among 2,000 draws."""
    gain = mean + sd * stats.norm.ppf((np.arange(2000) + 0.5) / 2000)
    answer = effects_along(made_fit["function"], grid=5)
    rule = ChosenArms(single=0, shares=np.array([0.6, 0.4, 0.0]), gain=gain)
    [_, told] = crossing_lines(made_fit, replace(answer, chosen=rule))
    chance = float((gain > 0).mean())
    if max(chance, 1 - chance) >= CERTAIN:
        assert ("it would gain" in told) == (chance > 0.5)
        assert ("it would lose" in told) == (chance < 0.5)
        assert UNKNOWN not in told
    else:
        assert f"{UNKNOWN}: by" in told
        assert "it would gain over" in told.partition("whether ")[2]
        assert "lose" not in told
    assert not re.search(r"(?:direction|is) [01]\.000\b|lose -|gain -", told), told
    single = crossing_lines(made_fit, replace(answer, chosen=replace(rule, shares=np.eye(3)[0])))
    assert "how sure that is" in single[1]
