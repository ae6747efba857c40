"""A study without a moderator, arms without one, and files without patients' ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from trials_without import a_frame, a_study

from alliance.data_prep.errors import DataError, InputError
from alliance.data_prep.registry.registry import load_registry
from alliance.data_prep.study.description import Study, narrowed, read_study, study_text
from alliance.data_prep.trial.trial import trial_from_frame


def refusal(ask: Any) -> str:
    with pytest.raises(InputError) as caught:
        ask()
    return str(caught.value)


def problems_of(study: Study, frame: pd.DataFrame) -> list[str]:
    with pytest.raises(DataError) as caught:
        trial_from_frame(study, frame, "trial.csv")
    return [
        f"{each.row} {each.column}: {each.rule}. {each.remedy}" for each in caught.value.problems
    ]


def in_file(folder: Path, study: Study, *lines: str) -> Path:
    """The study's file with these lines in place of those of [model] that begin alike."""
    text = study_text(study)
    for line in lines:
        key = line.split(" =")[0]
        kept = [each for each in text.split("\n") if not each.startswith(f"{key} =")]
        text = "\n".join(kept).replace("[model]", f"[model]\n{line}")
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return path


# A plain trial -----------------------------------------------------------------------------------


def test_a_study_without_a_moderator_has_intercepts_and_no_interaction(tmp_path: Path) -> None:
    """Slopes cannot vary between therapists, nor differ between arms, where there are none."""
    study = a_study(rated=None)
    assert study.moderator is None
    assert study.rated_arms == ()
    assert (study.model.therapist, study.model.interaction) == ("intercept", False)
    assert read_study(in_file(tmp_path, study)) == study
    assert a_study().model.therapist == "intercept+slope"  # the default of any other study


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("therapist", "intercept+slope"),
        ("interaction", True),
        ("alliance", "within_between"),
        ("missing_alliance", "impute"),
        ("reliability", True),
        ("ceiling", True),
        ("joint", True),
        ("moderator_arms", ["CBT"]),
    ],
)
def test_what_needs_a_moderator_is_refused_in_words(
    tmp_path: Path, setting: str, value: Any
) -> None:
    study = a_study(rated=None)
    told = refusal(lambda: narrowed(study, **{setting: value}))
    assert f"model.{setting}" in told
    assert "[moderator]" in told
    written = str(value).lower() if value is True else f'"{value}"'
    line = f"{setting} = {value if isinstance(value, list) else written}"
    assert f"model.{setting}" in refusal(lambda: read_study(in_file(tmp_path, study, line)))


def test_asking_a_plain_study_for_its_moderator_says_what_it_lacks() -> None:
    assert "no [moderator]" in refusal(lambda: a_study(rated=None).measure)


def test_patients_of_a_plain_trial_lack_no_alliance() -> None:
    frame = a_frame(rated=()).drop(columns="wai")
    trial = trial_from_frame(a_study(rated=None), frame, "trial.csv")
    (flow,) = trial.flow.to_dict("records")
    assert (flow["analysed"], flow["without_alliance"], flow["alliance_imputed"]) == (180, 0, 0)
    assert any("no [moderator]" in note for note in trial.notes)


def test_an_empty_moderator_table_is_a_fault_and_not_a_plain_trial(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(study_text(a_study(rated=None)) + "\n[moderator]\n", encoding="utf-8")
    assert "neither 'column' nor 'items'" in refusal(lambda: read_study(path))


# Arms without a moderator ------------------------------------------------------------------------


def test_patients_of_an_arm_without_an_alliance_stay(tmp_path: Path) -> None:
    frame = a_frame()
    frame.loc[frame["arm"] == "CBT", "wai"] = frame["wai"].where(frame.index % 2 == 0)
    trial = trial_from_frame(a_study(), frame, "trial.csv")
    (flow,) = trial.flow.to_dict("records")
    lacking = int((frame["wai"].isna() & (frame["arm"] != "WL")).sum())
    assert lacking == 30
    assert (flow["without_alliance"], flow["analysed"]) == (lacking, 180 - lacking)
    (note,) = [note for note in trial.notes if "moderator_arms" in note]
    assert "patients of WL have no alliance: slopes are those of CBT, IPT" in note
    assert f"{lacking} of 180 rows without alliance." in trial.notes
    study = read_study(in_file(tmp_path, a_study()))
    assert study.rated_arms == ("CBT", "IPT")


def test_an_arm_in_which_nobody_has_an_alliance_is_recognised() -> None:
    """The message names the arm, how many patients it has, and the line to write."""
    (told,) = problems_of(a_study(rated=("WL", "CBT", "IPT")), a_frame())
    assert "none of the 60 patients of the arm 'WL' has a value of the alliance" in told
    assert 'write moderator_arms = ["CBT", "IPT"] under [model]' in told


def test_nobody_with_an_alliance_is_told_of_the_plain_trial() -> None:
    (told,) = problems_of(a_study(rated=("WL", "CBT", "IPT")), a_frame(rated=()))
    assert "no row has a value of the alliance" in told
    assert "leave [moderator] out" in told


def test_a_rating_in_an_arm_without_an_alliance_names_its_rows() -> None:
    frame = a_frame()
    rows = frame.index[frame["arm"] == "WL"][[3, 7]]
    frame.loc[rows, "wai"] = [50.0, 61.0]
    told = problems_of(a_study(), frame)
    assert [text.split()[0] for text in told] == [str(row) for row in rows]
    assert all("the arm 'WL' has no alliance by moderator_arms" in text for text in told)


def test_arms_of_the_moderator_are_named_by_code_or_label() -> None:
    study = a_study(rated=("WL", "CBT", "IPT"))
    named = narrowed(study, moderator_arms=["Cognitive therapy", "IPT"])
    assert named.model.moderator_arms == ("CBT", "IPT")
    assert named.model.interaction
    alone = narrowed(study, moderator_arms=["CBT"])
    assert not alone.model.interaction  # one slope differs from no other
    told = refusal(lambda: narrowed(study, moderator_arms=["CBT"], interaction=True))
    assert "'CBT' is the only arm with a slope" in told
    assert "no arm 'CTB'" in refusal(lambda: narrowed(study, moderator_arms=["CTB"]))


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (['moderator_arms = ["CBT", "CBT"]'], "'CBT' is listed twice"),
        (["moderator_arms = []"], "names no arm"),
        (['moderator_arms = ["cbt"]'], "no arm 'cbt'"),
        (['alliance = "within_between"'], "model of everybody's ratings"),
        (['missing_alliance = "impute"'], "model of everybody's ratings"),
        (["ceiling = true"], "model of everybody's ratings"),
    ],
)
def test_faults_of_arms_with_a_moderator(tmp_path: Path, lines: list[str], told: str) -> None:
    assert told in refusal(lambda: read_study(in_file(tmp_path, a_study(), *lines)))


def test_naming_every_arm_is_naming_none(tmp_path: Path) -> None:
    """Then everybody can have the alliance, and a model of the ratings is one of everybody."""
    every = narrowed(
        a_study(rated=("WL", "CBT", "IPT")),
        moderator_arms=["WL", "CBT", "IPT"],
        missing_alliance="impute",
    )
    assert every.rated_arms == ("WL", "CBT", "IPT")


def test_a_constant_alliance_is_told_of_the_arms_that_have_it() -> None:
    frame = a_frame()
    frame.loc[frame["arm"] == "IPT", "wai"] = 55.0
    (told,) = problems_of(a_study(), frame)
    assert "the alliance is 55 for every analysed patient of the arm 'IPT'" in told


def test_scored_items_are_not_missed_where_there_can_be_none() -> None:
    frame = a_frame()
    generator = np.random.default_rng(1)
    items = [f"i{k}" for k in range(4)]
    for item in items:
        answers = generator.integers(1, 8, len(frame)).astype(float)
        frame[item] = np.where(frame["arm"] == "WL", np.nan, answers)
    content = a_study().model_dump()
    content["moderator"] |= {"column": None, "items": items, "item_range": (1, 7), "range": (4, 28)}
    trial = trial_from_frame(Study.model_validate(content), frame, "trial.csv")
    assert trial.flow["analysed"].tolist() == [180]
    assert not any("unanswered" in note for note in trial.notes)
    frame.loc[0, "i1"] = 3.0  # row 0 is of the waiting list
    (told,) = problems_of(Study.model_validate(content), frame)
    assert told.startswith("0 i1: the arm 'WL' has no alliance")


# Without ids -------------------------------------------------------------------------------------


def test_without_ids_rows_are_patients_and_a_note_says_so() -> None:
    every = ("WL", "CBT", "IPT")
    frame = a_frame(rated=every)
    study, plain = a_study(rated=every, ids=False), a_study(rated=every)
    trial = trial_from_frame(study, frame.drop(columns="id"), "trial.csv")
    known = trial_from_frame(plain, frame, "trial.csv")
    assert trial.data.equals(known.data)
    assert trial.sha256 == known.sha256  # ids are no part of what is analysed
    (note,) = [note for note in trial.notes if "ids" in note]
    assert "every row counts as one patient" in note
    assert "cannot be checked" in note
    twice = pd.concat([frame, frame.iloc[:1]], ignore_index=True)
    assert trial_from_frame(study, twice.drop(columns="id")).flow["analysed"].tolist() == [181]
    with pytest.raises(DataError, match="more than once"):
        trial_from_frame(plain, twice)


# Many files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize("which", ["waiting list", "plain", "no ids"])
def test_many_files_are_read_as_one_table_is(tmp_path: Path, kind: str, which: str) -> None:
    """Numbers of patients and notes are those of one table; see `tests/inference` for moments."""
    pytest.importorskip("dask")
    every = ("WL", "CBT", "IPT")
    study, rated = {
        "waiting list": (a_study(), ("CBT", "IPT")),
        "plain": (a_study(rated=None), ()),
        "no ids": (a_study(rated=every, ids=False), every),
    }[which]
    frame = a_frame(rated=rated)
    frame.loc[frame["arm"] != "WL", "wai"] = frame["wai"].where(frame.index % 7 != 1)
    dropped = {"plain": ["wai"], "no ids": ["id"]}.get(which, [])
    frame = frame.drop(columns=dropped)
    for k, part in frame.groupby(np.arange(len(frame)) % 3):
        path = tmp_path / f"part{k}.{kind}"
        part.to_parquet(path, index=False) if kind == "parquet" else part.to_csv(path, index=False)
    registry = load_registry(study, tmp_path)
    trial = trial_from_frame(study, frame)
    pd.testing.assert_frame_equal(registry.flow, trial.flow, check_dtype=False)
    own = {note for note in trial.notes if "rows without" in note or "moderator" in note}
    assert own <= set(registry.notes)
    assert ("ids" in "".join(registry.notes)) == (which == "no ids")


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_many_files_refuse_what_one_table_refuses(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("dask")
    frame = a_frame()
    frame.loc[frame.index[frame["arm"] == "WL"][0], "wai"] = 50.0

    def write(whole: pd.DataFrame) -> None:
        for k, part in whole.groupby(np.arange(len(whole)) % 2):
            path = tmp_path / f"part{k}.{kind}"
            if kind == "parquet":
                part.to_parquet(path, index=False)
            else:
                part.to_csv(path, index=False)

    write(frame)
    with pytest.raises(DataError, match="has no alliance by moderator_arms"):
        load_registry(a_study(), tmp_path)
    write(a_frame())
    with pytest.raises(DataError, match="none of the 60 patients of the arm 'WL'"):
        load_registry(a_study(rated=("WL", "CBT", "IPT")), tmp_path)
