"""What is said of a study file that is wrong: the place, the fault and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from alliance.data_prep.errors import InputError
from alliance.data_prep.study.description import read_study

# The example of the design, covariates below [moderator] as it has them.
EXAMPLE = Path(__file__).with_name("example_study.toml").read_text(encoding="utf-8")

ITEMS = 'items = ["i1", "i2", "i3"]\nreverse = ["i2"]\nitem_range = [1, 7]\nmax_missing = 1'


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "study.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def changed(old: str, new: str) -> str:
    assert EXAMPLE.count(old) == 1
    return EXAMPLE.replace(old, new)


def refusal(folder: Path, text: str | bytes) -> str:
    with pytest.raises(InputError) as caught:
        read_study(written(folder, text))
    message = str(caught.value)
    assert "pydantic" not in message
    assert "http" not in message
    return message


# name: (what stands in the example, what stands there instead, what the message must hold)
REFUSED: dict[str, tuple[str, str, list[str]]] = {
    "invalid TOML": ("[16, 112]", "[16, 112", ["line 20, column 1", "not valid TOML", "reliab"]),
    "ends too early": ('family = "gaussian"\n', "x = [", ["line 30, column 6", "not valid"]),
    "unknown key": (
        "column =",
        "colum =",
        ["moderator.colum:", "Did you mean 'column'", "'items'"],
    ),
    "unknown key at the top": ("title =", "titel =", ["titel:", "Did you mean 'title'", "'arms'"]),
    "unknown table": ("[columns]", "[x]\n[columns]", [" x:", "no such key", "'outcomes'"]),
    "title below a table": (
        'better = "higher"',
        'better = "higher"\ntitle = "T"',
        ["title", "first"],
    ),
    "priors below arms": ("[moderator]", "priors = 1\n[moderator]", ["arms.priors", "first table"]),
    "missing key": ('arm = "arm"\n', "", ["columns.arm:", "missing", 'arm = "arm"', "codes of"]),
    "missing key of an outcome": ('better = "higher"', "", ["outcomes.function.better", '"lower"']),
    "missing label": ('label = "Patient-Specific Functional Scale"\n', "", ["function.label"]),
    "missing title": (EXAMPLE.split("\n")[0], "", ["title:", "missing", "before the first table"]),
    "number for a column": ('patient = "patient"', "patient = 1", ["columns.patient", "1", "text"]),
    "boolean for a column": ('therapist = "therapist"', "therapist = true", ["true", "text"]),
    "date for a column": ('arm = "arm"', "arm = 2024-01-31", ["columns.arm", "2024-01-31", "text"]),
    "list for a column": ('arm = "arm"', 'arm = ["a"]', ["columns.arm", "['a']", "text"]),
    "blank column": ('arm = "arm"', 'arm = " "', ["columns.arm", "' '", "blank"]),
    "blanks at an end": ('arm = "arm"', 'arm = "arm "', ["columns.arm", "'arm '", "blank"]),
    "text for a list": ('["age"]', '"age"', ["covariates", "'age'", "a list"]),
    "number in a list": ('["age"]', '["age", 2]', ["covariates, entry 2", "text"]),
    "text for true": ("simulated = true", 'simulated = "yes"', ["simulated", "'yes'", "true or f"]),
    "number for a table": ('[arms]\nGE = "General exercise"', "arms = 3\n[x]", ["arms", "missing"]),
    "range of one": ("[3, 30]", "[3]", ["outcomes.function.range", "two numbers"]),
    "range of none": ("[3, 30]", "[]", ["outcomes.function.range", "two numbers"]),
    "range of three": ("[3, 30]", "[3, 30, 40]", ["outcomes.function.range", "two numbers"]),
    "range of texts": ("[3, 30]", '["3", 30]', ["outcomes.function.range, entry 1", "a number"]),
    "range upside down": ("[16, 112]", "[112, 16]", ["moderator.range", "[112, 16]", "higher one"]),
    "range of one point": ("[16, 112]", "[16, 16]", ["moderator.range", "higher one"]),
    "infinite range": ("[3, 30]", "[3, inf]", ["function.range, entry 2", "finite number"]),
    "wrong direction": ('"higher"', '"highest"', ["better", "'highest'", "Did you mean 'higher'"]),
    "unknown family": ('"gaussian"', '"poisson"', ["family", "'poisson'", "'beta_binomial'"]),
    "reliability of zero": ("0.77", "0", ["moderator.reliability", "is 0", "above 0"]),
    "reliability above one": ("0.77", "77", ["moderator.reliability", "is 77", "up to 1"]),
    "reliability as text": ("0.77", '"high"', ["moderator.reliability", "'high'", "a number"]),
    "one arm": (
        'MCE = "Motor control exercise"\nSMT = "Spinal manipulative therapy"\n',
        "",
        ["arms: has 1 of at least 2 entries"],
    ),
    "arm code with a dot": ("GE =", "1.5 =", ["arms.1", "in quotes"]),
    "arm code NA": ("GE =", "NA =", ["arms", "'NA'", "missing value"]),
    "arm code with blanks": ("GE =", '" GE" =', ["arms", "' GE'", "blanks"]),
    "arm label twice": ("Motor control", "General", ["arms", "two arms", "'General exercise'"]),
    "arm label a number": ('"General exercise"', "1", ["arms.GE", "1", "text in quotes"]),
    "neither column nor items": ('column = "wai_total"\n', "", ["moderator:", "neither"]),
    "no items at all": ('column = "wai_total"', "items = []", ["moderator:", "neither"]),
    "both column and items": ('"wai_total"', f'"wai_total"\n{ITEMS}', ["moderator:", "both"]),
    "items without range": ('column = "wai_total"', 'items = ["a"]', ["moderator.item_range"]),
    "reversed stranger": (
        'column = "wai_total"',
        ITEMS.replace('["i2"]', '["i4"]'),
        ["moderator.reverse", "'i4' is not among the items"],
    ),
    "item twice": (
        'column = "wai_total"',
        ITEMS.replace('"i3"', '"i1"'),
        ["moderator.items", "'i1' is listed twice"],
    ),
    "reversed twice": (
        'column = "wai_total"',
        ITEMS.replace('["i2"]', '["i2", "i2"]'),
        ["moderator.reverse", "'i2' is listed twice"],
    ),
    "all items may be missing": (
        'column = "wai_total"',
        ITEMS.replace("max_missing = 1", "max_missing = 3"),
        ["moderator.max_missing", "is 3, but there are 3 items", "0 to 2"],
    ),
    "fewer than no items missing": (
        'column = "wai_total"',
        ITEMS.replace("max_missing = 1", "max_missing = -1"),
        ["moderator.max_missing", "is -1"],
    ),
    "part of an item missing": (
        'column = "wai_total"',
        ITEMS.replace("max_missing = 1", "max_missing = 1.5"),
        ["moderator.max_missing", "is 1.5", "whole number"],
    ),
    "item range upside down": (
        'column = "wai_total"',
        ITEMS.replace("[1, 7]", "[7, 1]"),
        ["moderator.item_range", "higher one"],
    ),
    "item range without items": (
        "reliability = 0.77",
        "item_range = [1, 7]",
        ["item_range", "items"],
    ),
    "covariates twice": ("[columns]", 'covariates = ["age"]\n[columns]', ["covariates", "both"]),
    "covariate repeated": ('["age"]', '["age", "sex", "age"]', ["'age' is listed twice"]),
    "one column, two roles": (
        '"therapist"\n',
        '"patient"\n',
        ["columns.therapist", "columns.patient"],
    ),
    "covariate is the moderator": ('["age"]', '["wai_total"]', ["covariates", "moderator.column"]),
    "covariate is the arm": ('["age"]', '["arm"]', ["covariates", "already serves as columns.arm"]),
    "baseline is the follow-up": (
        '"psfs_0"',
        '"psfs_8w"',
        ["baseline equal to the column of foll"],
    ),
    "baseline is the moderator": (
        '"psfs_0"',
        '"wai_total"',
        ["function.baseline", "Leave out 'base"],
    ),
    "baseline is a covariate": (
        '"psfs_0"',
        '"age"',
        ["function.baseline", "the covariate already"],
    ),
    "baseline is the patient": ('"psfs_0"', '"patient"', ["function.baseline", "columns.patient"]),
    "follow-up is a covariate": ('"psfs_8w"', '"age"', ["function.followup", "covariates"]),
    "follow-up is the moderator": (
        '"psfs_8w"',
        '"wai_total"',
        ["function.followup", "moderator.col"],
    ),
    "outcome named with a blank": ("[outcomes.function]", '[outcomes."a b"]', ['outcomes."a b"']),
    "outcome named with a digit": (
        "[outcomes.function]",
        "[outcomes.1a]",
        ["outcomes.1a", "letter"],
    ),
    "follow-up of two outcomes": (
        'family = "gaussian"',
        '[outcomes.b]\nlabel = "b"\nfollowup = "psfs_8w"\nrange = [0, 1]\nbetter = "lower"',
        ["outcomes.b.followup", "already the follow-up of outcomes.function"],
    ),
    "outcomes that differ in capitals": (
        'family = "gaussian"',
        '[outcomes.Function]\nlabel = "b"\nfollowup = "c"\nrange = [0, 1]\nbetter = "lower"',
        ["outcomes.Function", "differs from outcomes.function in capitals only"],
    ),
    "outcome that is no table": (
        "[outcomes.function]",
        "[outcomes]\nx = 3\n[outcomes.f]",
        ["outcomes.x"],
    ),
    "therapist effect unknown": (
        "[moderator]",
        '[model]\ntherapist = "slope"\n[moderator]',
        ["'none'"],
    ),
    "prior as text": (
        "[moderator]",
        '[priors]\nsd = "wide"\n[moderator]',
        ["priors.sd", "a number"],
    ),
}


@pytest.mark.parametrize(("old", "new", "parts"), REFUSED.values(), ids=REFUSED.keys())
def test_one_fault_is_named_with_its_place_and_a_remedy(
    tmp_path: Path, old: str, new: str, parts: list[str]
) -> None:
    message = refusal(tmp_path, changed(old, new))
    assert message.startswith("study.toml")
    for part in parts:
        assert part in message


def test_no_outcome_at_all(tmp_path: Path) -> None:
    without = EXAMPLE[: EXAMPLE.index("[outcomes")]
    assert "outcomes: this key is missing. Add the table [outcomes.NAME]" in refusal(
        tmp_path, without
    )
    assert "outcomes: has 0 of at least 1 entries. Write the table [outcomes.NAME]" in refusal(
        tmp_path, without + "[outcomes]"
    )


def test_all_faults_stand_in_one_message_a_line_each(tmp_path: Path) -> None:
    text = (
        EXAMPLE.replace("title =", "titel =")
        .replace('better = "higher"', 'better = "up"')
        .replace('"psfs_0"', '"psfs_8w"')
        .replace("[16, 112]", "[]")
    )
    lines = refusal(tmp_path, text).splitlines()
    assert lines[0] == "study.toml has 5 faults:"
    places = [line.split(":")[0].strip() for line in lines[1:6]]
    assert sorted(places) == [
        "moderator.range",
        "outcomes.function.baseline",
        "outcomes.function.better",
        "titel",
        "title",
    ]


def test_not_utf8(tmp_path: Path) -> None:
    message = refusal(
        tmp_path, EXAMPLE.replace('citation = "..."', 'citation = "é"').encode("latin-1")
    )
    assert "study.toml, line 2: byte 0xE9 is not UTF-8" in message
    assert "Save the file as UTF-8" in message


def test_a_number_or_nesting_beyond_reading(tmp_path: Path) -> None:
    assert "too long" in refusal(tmp_path, f"title = {'9' * 5000}")
    assert "too long" in refusal(tmp_path, f"title = {'[' * 20_000}")


def test_missing_folder_empty(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("")
    with pytest.raises(InputError, match=r"is empty"):
        read_study(tmp_path / "study.toml")
    with pytest.raises(InputError, match=r"Did you mean '.*study\.toml'"):
        read_study(tmp_path / "studi.toml")
    with pytest.raises(InputError, match="no folder"):
        read_study(tmp_path / "nowhere" / "study.toml")
    with pytest.raises(InputError, match="is a folder"):
        read_study(tmp_path)
