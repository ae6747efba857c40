"""One vocabulary and one sheet: what people read is worded, rounded and set in one place."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from prediction_examples import example_fit

from alliance.data_prep.levels import AVERAGE, WITHIN
from alliance.diagnostics import words
from alliance.diagnostics.sheet import EMPTY, Sheet, code, joined, typeset, without_empty
from alliance.inference.digits import decimals

ROOT = Path(__file__).resolve().parents[2]


def test_numbers_in_words() -> None:
    assert words.interval(float("nan"), 1.0, 2) == ""
    assert words.estimate(1.0, float("nan"), float("nan"), 1) == "1.0"
    assert words.estimate(-1.0, -2.0, 0.5, 1) == "-1.0 (-2.0 to 0.5)"
    assert [words.chance(p) for p in (0.0, 0.0009, 0.25, 0.9995, 1.0, float("nan"), None)] == [
        "< 0.001",
        "< 0.001",
        "0.250",
        "> 0.999",
        "> 0.999",
        "",
        "",
    ]
    assert [decimals(sd) for sd in (12.0, 1.2, 0.012, 0.0)] == [0, 1, 3, 2]
    assert words.rough(0.000123456) == "0.000123"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("therapist_slope_sd", "therapist slope SD"),
        ("therapist_icc", "therapist ICC"),
        ("r_hat", "R-hat"),
        ("ess_bulk", "bulk ESS"),
        ("pareto_k", "Pareto k"),
        ("loo_pit", "LOO-PIT"),
        ("student_t", "Student-t"),
        ("arm_contrast", "arm contrast"),
    ],
)
def test_names_are_the_terms_of_the_glossary(name: str, told: str) -> None:
    assert words.plain(name) == told


def test_arms_are_read_by_their_labels_and_kept_by_their_codes() -> None:
    study = example_fit().study
    first, second = list(study.arms)[:2]
    level = words.level(study, f"{second}-{first}")
    assert level == f"{study.arms[second]} minus {study.arms[first]}"
    assert code(level) == f"{second}-{first}"
    assert words.level(study, first) == study.arms[first]
    assert [words.level(study, name) for name in (AVERAGE, WITHIN, "")] == [
        "average over arms",
        "within therapists",
        "",
    ]
    both = words.quantity_and_level(study, "interaction", f"{second}-{first}")
    assert both == f"interaction, {level}"
    assert code(both) == f"interaction {second}-{first}"


def test_contrasts_of_labels_that_look_alike_are_told_apart() -> None:
    """``A`` minus ``B minus C`` is another contrast than ``A minus B`` minus ``C``."""
    study = example_fit().study
    arms = {"1": "A", "2": "B minus C", "3": "A minus B", "4": "C"}
    study = study.model_copy(update={"arms": arms})
    told = [words.level(study, name) for name in ("1-2", "3-4")]
    assert told == ['"A" minus "B minus C"', '"A minus B" minus "C"']


def test_minus_signs_stand_before_negative_numbers_alone() -> None:
    told = "-0.5 (-1 to -0.2) of A-B, pages 1282-1291, 10.1007/s11222-023-10366-5, 2e-9, x --at 5"
    minus = "\N{MINUS SIGN}"
    wanted = told.replace("-0.5 (-1 to -0.2)", f"{minus}0.5 ({minus}1 to {minus}0.2)")
    assert typeset(told) == wanted


ROWS = (
    {"Arm": "A", "Old": "1.0 (0.5 to 1.5)", "New": "", "Verdict": "agrees", "n": "12"},
    {"Arm": "B", "Old": "-2.0 (-3.0 to -1.0)", "New": "0.5", "Verdict": "", "n": "< 1"},
)
SHEET = Sheet("one", "Title", ROWS, "Note", stack=("Old", "New"))


def test_a_sheet_knows_its_columns_and_which_hold_numbers() -> None:
    assert SHEET.columns == ["Arm", "Old", "New", "Verdict", "n"]
    assert SHEET.right == (False, True, True, False, True)
    assert SHEET.caption == "Title. Note."
    assert SHEET.shown.loc[0, "New"] == EMPTY
    assert without_empty(SHEET.without(["Old"]), "Verdict", "New").columns == [
        *("Arm", "New", "Verdict", "n")
    ]


def test_estimates_of_many_sources_can_stand_below_one_another() -> None:
    stacked = SHEET.stacked("Source", "Estimate")
    assert stacked.cells == [
        ["A", "Old", "1.0 (0.5 to 1.5)", "agrees", "12"],
        ["B", "Old", "-2.0 (-3.0 to -1.0)", "", ""],
        ["B", "New", "0.5", "", "< 1"],
    ]
    assert list(stacked.breaks) == [0, 2]


def test_sheets_of_outcomes_are_joined_by_a_column_that_says_which() -> None:
    both = joined("both", "Note.", [("Pain", SHEET), ("Function", SHEET)])
    assert both.columns[:2] == ["Outcome", "Arm"]
    assert [row["Outcome"] for row in both.rows] == ["Pain", "Pain", "Function", "Function"]
    assert both.heads == SHEET.heads + 1


# The fence ---------------------------------------------------------------------------------------

# A vocabulary of one's own: a name taken apart, or a probability as per cent, or a chance rounded
OWN_WORDS = {
    "a name's underscores": re.compile(r"""replace\(["']_["'], ["'] ["']\)"""),
    "the level of an interval": re.compile(r"100 \* (?:self\.|answer\.|material\.)?interval:g"),
    "a probability's ends": re.compile(r"""["'][<>] 0\.(?:001|999)["']"""),
}
PRESENTED = ("diagnostics/report", "diagnostics/figures", "diagnostics/sheets", "alliance/cli")


@pytest.mark.parametrize("what", OWN_WORDS)
def test_nobody_else_words_names_and_chances(what: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for folder in PRESENTED
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if OWN_WORDS[what].search(line)
    ]
    assert found == [], f"{what}: use diagnostics.words"


def test_tables_are_built_in_one_place() -> None:
    """No second builder: sheets are made in `diagnostics/sheets` and in the report's sections."""
    makers = []
    for folder in PRESENTED:
        for path in sorted((ROOT / folder).rglob("*.py")):
            calls = [
                node.func.id
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            ]
            if "Table" in calls:
                makers.append(str(path.relative_to(ROOT)))
    assert makers == ["alliance/cli/screen.py"]
