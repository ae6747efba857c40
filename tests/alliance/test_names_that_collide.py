"""Codes that mean something to a name: every command answers as with plain codes.

The draws do not depend on how arms and covariates are called, so that all numbers must be the
same, row by row; and no two rows may bear one name.
"""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import alliance

from alliance.cli.options import covariates

PLAIN = ("p", "q", "r", "s")
NASTY = {
    "hyphens": ("C", "B-C", "A", "A-B"),
    "words": ("average", "within", "between", "as treated"),
    "signs": ("[1]", "arm[1]", "a=b", "a:b"),
    "others": ("x,y", "B minus C", "待 機", '"q"'),
}
COVARIATES = {  # of age, sex, dose
    "plain": ("age", "sex", "dose"),
    "hyphens": ("sex", "arm[1]", "arm[1][male]"),
    "words": ("moderator", "outcome", "baseline"),
    "signs": ("a=b", "a", "a[male]"),
    "others": ("x,y", "интервал", "expected"),
}
# Columns that hold names; all others are numbers, or words about all rows.
NAMES = ("quantity", "level", "contrast", "arm", "moderator")


def write_trial(folder: Path, kind: str, arms: tuple[str, ...]) -> None:
    random = np.random.default_rng(3)
    arm = np.arange(120) % 4
    age, sex, dose = COVARIATES[kind]
    wai = random.integers(4, 29, 120)
    before = random.integers(10, 40, 120)
    frame = pd.DataFrame(
        {
            "id": np.arange(120),
            "ther": [f"T{k}" for k in np.arange(120) // 4 % 10],
            "group": np.array(arms, dtype=object)[arm],
            "wai": wai,
            "pre": before,
            "post": (3 * arm + 0.3 * wai + 0.5 * before + random.normal(0, 4, 120)).round(1),
            age: random.integers(20, 70, 120),
            sex: np.where(random.random(120) < 0.4, "female", "male"),
            dose: random.normal(10, 2, 120).round(2),
        }
    )
    frame.to_csv(folder / f"{kind}.csv", index=False)
    listed = "\n".join(f"{json.dumps(code)} = 'Arm {k}'" for k, code in enumerate(arms))
    text = f"""
title = "A trial"
covariates = {json.dumps([age, sex, dose])}
[columns]
patient = "id"
therapist = "ther"
arm = "group"
[arms]
{listed}
[moderator]
label = "Working alliance"
column = "wai"
range = [4, 28]
[outcomes.dep]
label = "Depression"
baseline = "pre"
followup = "post"
range = [-20, 100]
better = "lower"
"""
    (folder / f"{kind}.toml").write_text(text, encoding="utf-8")


def fit(folder: Path, kind: str, arm: str) -> None:
    made = alliance(
        *("fit", folder / f"{kind}.toml", folder / f"{kind}.csv", "--out", folder / kind),
        *("--engine", "instant", "--profile", "ci", "--delta", f"dep:{arm}=-2"),
    )
    assert made.code == 0, made.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("codes")
    for kind, arms in ({"plain": PLAIN} | NASTY).items():
        write_trial(where, kind, arms)
        fit(where, kind, arms[3])
    return where


def table(*arguments: object) -> pd.DataFrame:
    answer = alliance(*arguments, "--format", "csv")
    assert answer.code == 0, answer.stderr
    return pd.read_csv(io.StringIO(answer.stdout), keep_default_na=False)


@cache
def kept_table(*arguments: object) -> pd.DataFrame:
    """The same, made once: what every kind of codes is compared with. Do not change it."""
    return table(*arguments)


COMMANDS: dict[str, tuple[str, ...]] = {
    "summary": ("summary",),
    "compare": ("compare",),
    "effects": ("effects", "--alliance", "15,20"),
    "decide": ("decide", "--threshold", "2", "--lift", "2", "--reach", "20"),
    "predict": ("predict", "--contrasts"),
    "average": ("predict", "--contrasts", "--average-over", "trial"),
    "therapists": ("therapists",),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", NASTY)
def test_numbers_are_those_of_plain_codes_and_no_name_stands_twice(
    folder: Path, kind: str, command: str
) -> None:
    name, *options = COMMANDS[command]
    plain = kept_table(name, folder / "plain", *options)
    nasty = table(name, folder / kind, *options)
    assert plain.shape == nasty.shape
    assert nasty.columns.is_unique
    places = [k for k, column in enumerate(plain.columns) if column not in NAMES]
    for k in places:
        numbers = pd.to_numeric(plain.iloc[:, k], errors="coerce")
        again = pd.to_numeric(nasty.iloc[:, k], errors="coerce")
        pd.testing.assert_series_equal(numbers, again, check_names=False)
    keys = [column for column in plain.columns if column in (*NAMES, "outcome", "patient")]
    assert not nasty.duplicated(keys).any()
    assert not plain.duplicated(keys).any()


@pytest.mark.parametrize("kind", NASTY)
def test_each_contrast_is_found_by_the_name_that_a_table_gives_it(folder: Path, kind: str) -> None:
    every = table("effects", folder / kind, "--alliance", "15")
    contrasts = every[every["quantity"] == "arm_contrast"]
    for level in contrasts["level"].unique():
        own = table("effects", folder / kind, "--alliance", "15", "--contrast", level)
        own = own[own["quantity"] == "arm_contrast"]
        assert own["level"].unique().tolist() == [level]
        expected = contrasts[contrasts["level"] == level]
        assert own["mean"].astype(float).tolist() == expected["mean"].astype(float).tolist()


def test_an_ambiguous_contrast_is_refused_with_the_two_that_it_could_be(folder: Path) -> None:
    answer = alliance("effects", folder / "hyphens", "--contrast", "A-B-C")
    assert answer.code == 2
    assert '"A-B"-"C" or "A"-"B-C"' in answer.said


def test_values_of_covariates_with_signs_in_their_names(folder: Path) -> None:
    for kind in NASTY:
        age, sex, dose = COVARIATES[kind]
        options = (f"{age}=30,50", f"{sex}=male", f"{dose}=9:11:1")
        asked = [each for text in options for each in ("--covariate", text)]
        found = table("predict", folder / kind, *asked)
        plain = kept_table("predict", folder / "plain", "--covariate", "age=30,50",
                           "--covariate", "sex=male", "--covariate", "dose=9:11:1")  # fmt: skip
        pd.testing.assert_series_equal(found["expected_sd"], plain["expected_sd"])


def test_the_report_names_every_contrast_once(folder: Path) -> None:
    made = alliance("report", folder / "hyphens", "--out", folder / "hyphens.html")
    assert made.code == 0, made.stderr
    text = (folder / "hyphens.html").read_text(encoding="utf-8")
    for words in ("Arm 1 minus Arm 0", "Arm 2 minus Arm 1", "Arm 3 minus Arm 0"):  # by labels
        assert words in text
    assert "A-B-C" not in text


def test_a_misspelt_level_is_refused_and_the_reference_is_known(folder: Path) -> None:
    """It was read as the reference: sex=Male gave the females' prediction."""
    answer = alliance("predict", folder / "plain", "--covariate", "sex=Male")
    assert answer.code == 2
    assert "The covariate sex has no level 'Male'. Did you mean 'male'?" in answer.said
    both = table("predict", folder / "plain", "--covariate", "sex=female,male", "--arm", "p")
    slope = table("summary", folder / "plain").set_index("level").loc["sex[male]", "mean"]
    female, male = both["expected"]
    np.testing.assert_allclose(male - female, float(slope), rtol=1e-9)
    manifest = json.loads((folder / "plain" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["encodings"]["dep"]["covariates"][1] == {
        "name": "sex",
        "levels": ["female", "male"],
        "reference": "female",
    }


def test_arms_are_named_by_their_codes_or_their_labels(folder: Path) -> None:
    run = folder / "plain"
    for command, code, label in (
        (("predict", run, "--arm"), "q", "Arm 1"),
        (("effects", run, "--alliance", "15", "--contrast"), "q-p", "Arm 1 minus Arm 0"),
        (("decide", run, "--threshold", "2", "--contrast"), "q-p", "Arm 1-p"),
    ):
        pd.testing.assert_frame_equal(table(*command, code), table(*command, label))
        answer = alliance(*command, "Arm 9")
        assert answer.code == 2
        assert "'Arm 9'" in answer.said


def test_covariates_and_baselines_beyond_the_data_are_refused_or_marked(folder: Path) -> None:
    run = folder / "plain"
    for option, value in (("--covariate", "age=999"), ("--baseline", "-5")):
        answer = alliance("predict", run, option, value)
        assert answer.code == 2
        assert "lies outside what was observed among the analysed patients" in answer.said
        found = table("predict", run, option, value, "--extrapolate")
        assert found["extrapolated"].all()
    shown = alliance("predict", run, "--covariate", "age=30,999", "--extrapolate", width=120)
    assert "999*" in shown.stdout
    assert "30*" not in shown.stdout
    frame = pd.read_csv(folder / "plain.csv").iloc[:3].assign(age=[30, 999, -99], sex="Male")
    frame.to_csv(folder / "new.csv", index=False)
    answer = alliance("predict", run, "--patients", folder / "new.csv")
    assert answer.code == 2
    for words in ("999", "-99", "no level 'Male'"):
        assert words in answer.said


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("sex=w, weiblich", {"sex": ["w, weiblich"]}),
        ("sex=m,w, weiblich", {"sex": ["m", "w, weiblich"]}),
        ('sex="m","w"', {"sex": ["m", "w"]}),
        ("sex=m,w", {"sex": ["m,w"]}),
        ("sex=x,m", {"sex": ["x", "m"]}),
        ("sex=a:b", {"sex": ["a:b"]}),
        ("a=b=20:30:10", {"a=b": [20.0, 30.0]}),
        ("a=20", {"a": ["20"]}),
    ],
)
def test_levels_are_read_by_the_run_that_knows_them(text: str, found: dict[str, list]) -> None:
    levels = ("m", "w", "m,w", "w, weiblich", "a:b")
    assert covariates([text], {"sex": levels, "a": None, "a=b": None}) == found
