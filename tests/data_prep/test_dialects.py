"""Text files as programs of other countries write them: encodings, semicolons, decimal commas."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from small_trial import a_frame, a_study, problem_of

from alliance.data_prep.errors import DataError, InputError
from alliance.data_prep.tables.dialects import western_text
from alliance.data_prep.tables.readers import read_table
from alliance.data_prep.trial.trial import load_trial, trial_from_frame


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "trial.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8-sig"])
def test_a_trial_from_an_office_in_europe_is_the_same_trial(tmp_path: Path, encoding: str) -> None:
    frame = a_frame(40, site=["Zürich", "Genève", "Málaga", "Århus", "Köln"] * 8)
    frame["age"] += 0.5
    study = a_study(covariates=["age", "site"])
    plain = tmp_path / "plain.csv"
    frame.to_csv(plain, index=False)
    path = written(tmp_path, frame.to_csv(index=False, sep=";", decimal=","), encoding)
    trial = load_trial(study, path)
    assert trial.data.identical(load_trial(study, plain).data)
    told = " ".join(trial.notes)
    assert "separated by semicolons, and its numbers have decimal commas" in told
    assert ("was read as Windows-1252 (Latin-1)" in told) == (encoding != "utf-8-sig")


CELLS = {
    "decimal commas": ("a;b\n1,5;2\n2,25;x, y\n", [["1.5", "2"], ["2.25", "x, y"]]),
    "no commas": ("a;b\n1.5;2\n", [["1.5", "2"]]),
    "thousands, it may be": ("a;b\n1,500;2\n", [["1,500", "2"]]),
    "decimals beside them": ("a;b\n1,500;2,5\n", [["1.500", "2.5"]]),
    "both marks": ("a;b\n1,5;2.5\n", [["1,5", "2.5"]]),
    "text": ("a;b\n1,5;2,5\nlow;3\n", [["1,5", "2.5"], ["low", "3"]]),
    "gaps": ("a;b\n;2,5\nNA;3\n", [[None, "2.5"], [None, "3"]]),
    "quoted": ('"a";"b;c"\n"1,5";"2"\n', [["1.5", "2"]]),
    "commas in a name": ('"a, or b";c;d\n1,5;2;3\n', [["1.5", "2", "3"]]),
}


@pytest.mark.parametrize(("text", "cells"), CELLS.values(), ids=CELLS.keys())
def test_semicolons(tmp_path: Path, text: str, cells: list[list[str | None]]) -> None:
    table = read_table(written(tmp_path, text))
    found = [[None if pd.isna(cell) else cell for cell in row] for row in table.frame.to_numpy()]
    assert found == cells
    assert "separated by semicolons" in table.notes[0]


def test_what_may_be_another_encoding_is_refused(tmp_path: Path) -> None:
    others = {
        "cp1251": "Иванов",
        "cp1253": "Αθήνα",
        "iso8859-2": "Łódź",
        "cp1250": "Šárka",
        "mac-roman": "Zürich",
        "cp850": "Zürich",
        "shift-jis": "東京",
        "cp1254": "Işık",
    }
    for encoding, name in others.items():
        path = written(tmp_path, f"id,site\n1,{name}\n2,Bern\n", encoding)
        with pytest.raises(InputError, match="is not UTF-8"):
            read_table(path)
    mixed = "id,site\n1,Zürich\n".encode() + "2,Genève\n".encode("latin-1")
    assert western_text(mixed) is None


WESTERN = ["Zürich", "Übergrößenträger", "été", "naïve – “so”", "20 °C", "kg/m²", "5 µg", "3 €"]


@pytest.mark.parametrize("name", WESTERN)
def test_what_can_be_nothing_else_is_read(name: str) -> None:
    assert western_text(f"{name}\nx\n".encode("cp1252")) == f"{name}\nx\n"


def test_a_header_in_capitals_gets_one_suggestion() -> None:
    frame = a_frame().rename(columns=str.upper)
    column, rule, remedy = problem_of(frame, a_study(covariates=["age"]))
    assert (column, rule) == (None, "8 columns are not in the file")
    assert "'id' is 'ID', 'therapist' is 'THERAPIST', " in remedy
    assert "'psfs_0' is 'PSFS_0'" in remedy
    spaced = a_frame().rename(columns={"psfs_0": "PSFS 0"})
    column, rule, remedy = problem_of(spaced, a_study())
    assert (column, rule) == ("psfs_0", "the column is not in the file")
    assert "The file spells it otherwise: 'psfs_0' is 'PSFS 0'." in remedy


def test_the_names_that_there_are_are_listed_once() -> None:
    frame = a_frame().rename(columns={"age": "x1", "wai": "x2"})
    with pytest.raises(DataError) as caught:
        trial_from_frame(a_study(covariates=["age"]), frame)
    listed = [problem for problem in caught.value.problems if "Valid names" in problem.remedy]
    assert len(caught.value.problems) == 2
    assert len(listed) == 1
