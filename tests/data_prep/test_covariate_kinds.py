"""What a covariate is: by the study, by the labels of its file, by its cells; and what is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_trial import a_frame, a_study

from alliance.data_prep.errors import DataError, InputError
from alliance.data_prep.registry.registry import load_registry
from alliance.data_prep.study.description import Study, read_study, study_text
from alliance.data_prep.tables.readers import read_table
from alliance.data_prep.trial.trial import load_trial, trial_from_frame

NAMES = {1: "Bern", 2: "Chur", 3: "Genf"}


def coded_frame(**columns: object) -> pd.DataFrame:
    """Sites 1 to 3, as numbers."""
    frame = a_frame(30)
    return frame.assign(site=np.tile([1.0, 2.0, 3.0], 10), **columns)


def with_site(kind: str | None = None) -> Study:
    entry = "site" if kind is None else {"column": "site", "kind": kind}
    return a_study(covariates=["age", entry])


def write_stata(path: Path, labels: dict[int, str]) -> Path:
    coded_frame().to_stata(path, write_index=False, value_labels={"site": labels}, version=118)
    return path


def write_spss(path: Path, labels: dict[int, str], measure: str) -> Path:
    pyreadstat = pytest.importorskip("pyreadstat")
    pyreadstat.write_sav(
        coded_frame(),
        str(path),
        variable_value_labels={"site": labels} if labels else {},
        variable_measure={"site": measure},
    )
    return path


def columns_of(study: Study, source: Path | pd.DataFrame) -> tuple[list[str], list[str]]:
    """Names of the covariates' columns, and the notes about the site."""
    trial = (
        load_trial(study, source) if isinstance(source, Path) else trial_from_frame(study, source)
    )
    names = [str(name) for name in trial.data["covariate"].values]
    return names, [note for note in trial.notes if note.startswith("site")]


CATEGORY = ["age", "site[2]", "site[3]"]


def test_the_study_says_what_a_covariate_is() -> None:
    assert columns_of(with_site("categorical"), coded_frame()) == (CATEGORY, [])
    assert columns_of(with_site("continuous"), coded_frame()) == (["age", "site"], [])


def test_codes_of_which_nobody_says_what_they_are_get_a_note() -> None:
    names, notes = columns_of(with_site(), coded_frame())
    assert names == ["age", "site"]
    (note,) = notes
    assert "3 different values (1, 2, 3) and is taken as a number, with one slope" in note
    assert '`categorical = ["site"]`; if it is a number, in `continuous = ["site"]`' in note
    for quiet in (np.repeat([0.0, 1.0], 15), np.arange(30.0), np.tile([0.5, 1.0, 1.5], 10)):
        assert columns_of(with_site(), coded_frame().assign(site=quiet))[1] == []


def test_values_that_a_stata_file_labels_are_a_category(tmp_path: Path) -> None:
    names, notes = columns_of(with_site(), write_stata(tmp_path / "t.dta", NAMES))
    assert names == CATEGORY
    (note,) = notes
    assert "a category of 3 levels (1 = Bern, 2 = Chur, 3 = Genf)" in note
    assert "the file labels its values" in note
    named, silent = columns_of(with_site("continuous"), tmp_path / "t.dta")
    assert (named, silent) == (["age", "site"], [])


def test_labels_of_some_values_alone_make_no_category(tmp_path: Path) -> None:
    """As those of missing values, or of the ends of a scale."""
    names, _ = columns_of(with_site(), write_stata(tmp_path / "t.dta", {1: "low", 9: "missing"}))
    assert names == ["age", "site"]


@pytest.mark.parametrize(
    ("labels", "measure", "category"),
    [(NAMES, "unknown", True), ({}, "nominal", True), ({}, "scale", False)],
)
def test_what_an_spss_file_labels_or_calls_nominal_is_a_category(
    tmp_path: Path, labels: dict[int, str], measure: str, category: bool
) -> None:
    names, notes = columns_of(with_site(), write_spss(tmp_path / "t.sav", labels, measure))
    assert (names == CATEGORY) == category
    assert len(notes) == 1


def test_a_categorical_of_pandas_is_a_category() -> None:
    frame = coded_frame()
    frame["site"] = frame["site"].astype(int).astype("category")
    assert columns_of(with_site(), frame)[0] == CATEGORY


def test_labels_outlive_the_choice_of_rows(tmp_path: Path) -> None:
    """As the multiverse leaves patients out of the frame that was read."""
    table = read_table(write_stata(tmp_path / "t.dta", NAMES))
    trial = trial_from_frame(with_site(), table.frame.iloc[3:])
    assert [str(name) for name in trial.data["covariate"].values] == CATEGORY


def test_text_in_a_covariate_that_is_said_to_be_numbers_is_a_fault() -> None:
    frame = coded_frame().astype({"site": object})
    frame.loc[:, "site"] = "north"
    with pytest.raises(DataError, match="site"):
        trial_from_frame(with_site("continuous"), frame)


def test_many_files_follow_the_study_too(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    folder = tmp_path / "parts"
    folder.mkdir()
    frame = coded_frame()
    frame.iloc[:17].to_parquet(folder / "a.parquet", index=False)
    frame.iloc[17:].to_parquet(folder / "b.parquet", index=False)
    found = load_registry(with_site("categorical"), folder).covariates
    assert [each.levels for each in found] == [None, ("1", "2", "3")]
    registry = load_registry(with_site(), folder)
    assert [each.levels for each in registry.covariates] == [None, None]
    assert registry.notes == trial_from_frame(with_site(), frame).notes


def test_a_study_is_read_back_with_the_kinds(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(study_text(with_site("categorical")), encoding="utf-8")
    assert read_study(path) == with_site("categorical")
    assert with_site("categorical").covariates == ("age", "site")


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ('{column = "site"}', "covariates, entry 2"),
        ('{column = "site", kind = "ordinal"}', "covariate_kinds.site"),
        ('{column = "site", kind = "categorical", levels = 3}', "covariates, entry 2"),
    ],
)
def test_kinds_that_are_none_are_refused(tmp_path: Path, entry: str, told: str) -> None:
    text = study_text(a_study()).replace("title =", f'covariates = ["age", {entry}]\ntitle =', 1)
    path = tmp_path / "study.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as refused:
        read_study(path)
    assert told in str(refused.value)


def test_a_kind_of_what_is_no_covariate_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    text = study_text(a_study(covariates=["age"]))
    path.write_text(f'{text}\n[covariate_kinds]\nagee = "categorical"\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"covariate_kinds\.agee: is not among the covariates"):
        read_study(path)
