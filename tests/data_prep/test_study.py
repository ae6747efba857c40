"""What a study file may say, what it means, and what is said of one that is wrong."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from alliance.data_prep.errors import InputError
from alliance.data_prep.study import description as study_module
from alliance.data_prep.study.description import (
    Columns,
    Moderator,
    Outcome,
    Study,
    bundled_studies,
    find_study,
    read_study,
    study_text,
)

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


def test_the_example_of_the_design_reads_as_it_is_meant(tmp_path: Path) -> None:
    study = read_study(written(tmp_path, EXAMPLE))
    assert study == Study(
        title="Exercise and manipulation for chronic low back pain",
        citation="...",
        simulated=True,
        columns=Columns(patient="patient", therapist="therapist", arm="arm"),
        arms={
            "GE": "General exercise",
            "MCE": "Motor control exercise",
            "SMT": "Spinal manipulative therapy",
        },
        moderator=Moderator(
            label="Working alliance (WATOCI total)",
            column="wai_total",
            range=(16, 112),
            reliability=0.77,
        ),
        covariates=("age",),
        outcomes={
            "function": Outcome(
                label="Patient-Specific Functional Scale",
                baseline="psfs_0",
                followup="psfs_8w",
                range=(3, 30),
                better="higher",
            )
        },
    )
    assert list(study.arms) == ["GE", "MCE", "SMT"]
    assert study.model.therapist == "intercept+slope"
    assert study.model.interaction
    assert study.priors == {}


ACCEPTED = {
    "covariates at the top": EXAMPLE.replace('covariates = ["age"]\n', "").replace(
        "[columns]", 'covariates = ["age"]\n[columns]'
    ),
    "byte-order mark": "\ufeff" + EXAMPLE,
    "Windows line ends": EXAMPLE.replace("\n", "\r\n"),
}


@pytest.mark.parametrize("text", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_the_same_study_in_another_spelling(tmp_path: Path, text: str) -> None:
    plain = read_study(written(tmp_path, EXAMPLE))
    assert read_study(written(tmp_path, text)) == plain


def test_numeric_arm_codes_may_be_bare_keys(tmp_path: Path) -> None:
    text = changed('GE = "General exercise"', '0 = "Usual care"')
    assert next(iter(read_study(written(tmp_path, text)).arms)) == "0"


def test_items_in_place_of_a_total(tmp_path: Path) -> None:
    moderator = read_study(written(tmp_path, changed('column = "wai_total"', ITEMS))).moderator
    assert moderator.items == ("i1", "i2", "i3")
    assert moderator.reverse == ("i2",)
    assert moderator.item_range == (1, 7)
    assert moderator.max_missing == 1


def test_a_study_cannot_be_changed(tmp_path: Path) -> None:
    study = read_study(written(tmp_path, EXAMPLE))
    with pytest.raises(ValidationError):
        study.title = "another"


def test_rules_hold_for_studies_made_in_python_too() -> None:
    with pytest.raises(ValidationError, match="neither 'column' nor 'items'"):
        Moderator(label="Alliance", range=(0, 1))


toml_values = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.sampled_from(["age", "arm", "psfs_8w", 10**400]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=4,
)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_whatever_a_value_is_the_answer_is_a_study_or_a_message(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content: dict[str, Any] = tomllib.loads(EXAMPLE)
    content["model"] = {"likelihood": "native", "reliability": True, "joint": False}
    content["outcomes"]["function"]["family"] = "ordinal"
    content["outcomes"]["function"]["delta"] = {"MCE": -2}
    table = content
    while True:
        key = data.draw(st.sampled_from(sorted(table)))
        if not isinstance(table[key], dict) or data.draw(st.booleans()):
            break
        table = table[key]
    table[key] = data.draw(toml_values)
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(tomli_w.dumps(content), encoding="utf-8")
    try:
        arms = len(read_study(path).arms)
    except InputError as error:
        message = error.problem
    else:
        message = f"any.toml has {arms} arms"
        assert arms >= 2
    assert "any.toml" in message


words = st.text(min_size=1, max_size=12).map(str.strip).filter(bool)
ranges = st.tuples(
    st.floats(-1e12, -1e-12),
    st.floats(0, 1e99),  # wider ranges are refused, and narrower ones
)


@settings(max_examples=150, deadline=None)
@given(
    title=words,
    label=words,
    codes=st.lists(words.filter(lambda word: word != "NA"), min_size=2, max_size=4, unique=True),
    limits=ranges,
    covariates=st.lists(words.map("c_{}".format), max_size=3, unique=True),
    items=st.lists(words.map("i_{}".format), max_size=3, unique=True),
    better=st.sampled_from(["higher", "lower"]),
    prior=st.floats(allow_nan=False, allow_infinity=False),
    interaction=st.booleans(),
)
def test_written_studies_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory,
    title: str,
    label: str,
    codes: list[str],
    limits: tuple[float, float],
    covariates: list[str],
    items: list[str],
    better: str,
    prior: float,
    interaction: bool,
) -> None:
    if items:
        scored = {"items": items, "reverse": items[:1], "item_range": limits}
    else:
        scored = {"column": "wai"}
    study = Study.model_validate(
        {
            "title": title,
            "columns": {"patient": "p", "therapist": "t", "arm": "a"},
            "arms": {code: f"{position}: {label}" for position, code in enumerate(codes)},
            "moderator": {"label": label, "range": limits, **scored},
            "covariates": covariates,
            "outcomes": {
                "pain": {"label": label, "followup": "f", "range": limits, "better": better}
            },
            "model": {"interaction": interaction},
            "priors": {"slope_sd": prior},
        }
    )
    path = tmp_path_factory.getbasetemp() / "written.toml"
    path.write_text(study_text(study), encoding="utf-8", newline="")
    again = read_study(path)
    assert again == study
    assert list(again.arms) == list(study.arms)  # the order is that of display


def test_written_covariates_stand_before_the_first_table(tmp_path: Path) -> None:
    text = study_text(read_study(written(tmp_path, EXAMPLE)))
    assert 'covariates = ["age"]\n' in text[: text.index("[columns]")]
    assert "range = [16, 112]\n" in text


def test_bundled_studies_are_there_and_can_be_read() -> None:
    bundled = bundled_studies()
    assert {"ferreira2013", "headache"} <= set(bundled)
    for name, path in bundled.items():
        assert path.name == "study.toml"
        assert find_study(name) == path
        assert read_study(path).title
    assert read_study(bundled["ferreira2013"]).simulated


def test_find_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "bundle"
    (bundle / "backpain").mkdir(parents=True)
    (bundle / "backpain" / "study.toml").write_text(EXAMPLE)
    (bundle / "notes").mkdir()
    monkeypatch.setattr(study_module, "STUDIES_FOLDER", bundle)
    monkeypatch.chdir(tmp_path)
    assert list(bundled_studies()) == ["backpain"]
    assert find_study("backpain") == bundle / "backpain" / "study.toml"
    # What lies on the disk comes first: a folder with a study.toml, and any file.
    (tmp_path / "backpain").mkdir()
    assert find_study("backpain") == bundle / "backpain" / "study.toml"
    written(tmp_path / "backpain", EXAMPLE)
    assert find_study("backpain") == Path("backpain/study.toml")
    assert find_study("backpain/study.toml") == Path("backpain/study.toml")
    with pytest.raises(InputError, match=r"Did you mean 'backpain'\?.*bundled study: 'backpain'"):
        find_study("backpian")
    with pytest.raises(InputError, match=r"folder 'bundle' holds no study\.toml"):
        find_study("bundle")
    with pytest.raises(InputError, match="no study file"):
        find_study("x" * 5000)


def test_reading_a_study_does_not_wait_for_pandas() -> None:
    code = "import sys, alliance.data_prep.study.description; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
