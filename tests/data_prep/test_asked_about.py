"""Codes of missing values, spellings, turned items, first lines, sheets and merged cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest
from numpy.typing import NDArray
from registry_trials import COLUMNS, STUDY, table, typed

from alliance.data_prep.errors import DataError, InputError
from alliance.data_prep.registry.registry import load_registry
from alliance.data_prep.study.description import Study, read_study, study_text
from alliance.data_prep.tables.cells import folded, marker_codes, numbers_of, spelled_apart
from alliance.data_prep.tables.readers import read_table
from alliance.data_prep.trial.items import against_the_rest, direction_notes
from alliance.data_prep.trial.trial import load_trial, trial_from_frame


def study(**changes: object) -> Study:
    return Study.model_validate(STUDY.model_dump() | {"missing_values": {}} | changes)


@pytest.fixture
def frame() -> pd.DataFrame:
    return table(np.random.default_rng(4))


def only_note(notes: tuple[str, ...], part: str) -> str:
    [found] = [note for note in notes if part in note]
    return found


# Codes that look like missing values --------------------------------------------------------------


def test_a_sentinel_among_ages_is_named_by_row_until_it_is_declared(frame: pd.DataFrame) -> None:
    frame.loc[[3, 10], "age"], frame.loc[20, "age"] = "999", "-99"
    frame.index = frame.index + 2
    note = only_note(trial_from_frame(study(), frame).notes, "'age'")
    assert "'-99' (row 22), '999' (rows 5, 12) stand apart from the other values" in note
    assert "age = [-99, 999] under [missing_values]" in note
    declared = study(missing_values={"age": [999, -99]})
    trial = trial_from_frame(declared, frame)
    assert not any("apart" in note for note in trial.notes)
    assert trial.flow["without_covariate"].tolist() == [3, 3]
    without = frame.assign(age=frame["age"].replace({"999": "", "-99": ""}))
    np.testing.assert_array_equal(
        trial.data["covariates"], trial_from_frame(study(), without).data["covariates"]
    )


def test_a_therapist_and_a_category_called_dot_are_named_by_row(frame: pd.DataFrame) -> None:
    frame.loc[4, "ther"], frame.loc[5, "site"] = ".", "NULL"
    frame.index = frame.index + 2
    notes = trial_from_frame(study(), frame).notes
    assert "'.' (row 6) counts as a therapist" in only_note(notes, "'ther'")
    assert "'NULL' (row 7) counts as a category" in only_note(notes, "'site'")
    trial = trial_from_frame(study(missing_values={"*": [".", "NULL"]}), frame)
    assert "." not in trial.data["therapist"].values
    assert trial.flow[["without_therapist", "without_covariate"]].iloc[0].tolist() == [1, 1]


def test_what_is_declared_is_missing_before_ranges_are_looked_at(frame: pd.DataFrame) -> None:
    frame.loc[[1, 2], "post"] = "-9"
    with pytest.raises(DataError, match=r"must be from 0 to 60.*post = \[-9\] under \[missing_val"):
        trial_from_frame(study(), frame)
    trial = trial_from_frame(study(missing_values={"post": [-9]}), frame)
    assert trial.flow["without_followup"].tolist() == [2, 0]


def test_legitimate_values_are_not_asked_about() -> None:
    """9 of 0 to 12 and 99 of ages up to 95 do not stand apart; half of the ages away, they do."""
    assert numbers_of(np.array([0.0, 3, 9, 12])).apart() == []
    assert numbers_of(np.array([18.0, 95, 99, 99])).apart() == []
    assert numbers_of(np.array([18.0, 75, 99, 99])).apart() == [99]
    assert numbers_of(np.array([18.0, 75, 99])).apart() == []  # a patient may be so old
    assert numbers_of(np.array([0.0, 1, 1, 9])).apart() == [9]
    assert numbers_of(np.array([-2.0, 1.5, -9])).apart() == [-9]
    assert numbers_of(np.array([-20.0, 15, -9])).apart() == []
    assert marker_codes([("1", 9), ("12", 9), ("99", 2)], words=True) == ["99"]
    assert marker_codes([("none", 9), ("mild", 9)], words=False) == []
    assert marker_codes([("none", 9), ("T1", 9)], words=True) == ["none"]


def test_parts_of_a_sum_are_the_sum() -> None:
    values = np.array([18.0, 999, 30, 75, -99, 999])
    assert numbers_of(values[:3]) + numbers_of(values[3:]) == numbers_of(values)


def test_missing_values_in_a_study_file(tmp_path: Path) -> None:
    declared = study(missing_values={"age": [999, -99.0, "n.a."], "*": ["."]})
    assert declared.missing_values == {"age": ("999", "-99", "n.a."), "*": (".",)}
    path = tmp_path / "study.toml"
    path.write_text(study_text(declared), encoding="utf-8")
    assert read_study(path) == declared
    for wrong, part in (
        ("agee = [9]", "missing_values.agee: the study uses no such column. Did you mean 'age'?"),
        ("age = 9", "missing_values.age: is 9, not a list"),
        ("age = [true]", "missing_values.age, entry 1: is true, not a number, or text"),
    ):
        path.write_text(study_text(study()) + f"\n[missing_values]\n{wrong}\n", encoding="utf-8")
        with pytest.raises(InputError) as caught:
            read_study(path)
        assert part in str(caught.value)


# Spellings ----------------------------------------------------------------------------------------


def test_spellings() -> None:
    assert folded("T 01") == folded("t1") == folded("T\u00a01")
    assert folded("1.05") != folded("1.5")
    assert spelled_apart(["T1", "t1", "T10", "Jos\u00e9", "Jose\u0301", "T 1"]) == [
        ["Jose\u0301", "Jos\u00e9"],
        ["T1", "T 1", "t1"],
    ]


def test_codes_spelled_apart_are_asked_about(frame: pd.DataFrame) -> None:
    frame.loc[0, "ther"], frame.loc[1, "site"], frame.loc[2, "id"] = "t 10", "North", "p3"
    frame.index = frame.index + 2
    trial = trial_from_frame(study(), frame)
    assert "'T10' and 't 10'" in only_note(trial.notes, "same therapist")
    assert "'North' and 'north'" in only_note(trial.notes, "same category of 'site'")
    note = only_note(trial.notes, "same patient")
    assert "rows 4 and 5" in note  # the rows of p3 and P3, whose ids are not shown
    assert "p3" not in note.lower()


# Items --------------------------------------------------------------------------------------------


def answers(random: np.random.Generator, turned: list[int]) -> NDArray[np.float64]:
    """Eight items that correlate by a half, some of them turned round."""
    latent = random.normal(size=(200, 1))
    found = latent + random.normal(size=(200, 8))
    found[:, turned] *= -1
    return found - found.mean(axis=0)


@pytest.mark.parametrize("turned", [[], [2], [1, 4, 7], [0, 1, 2]])
def test_items_that_run_against_the_rest_are_found(turned: list[int]) -> None:
    items = answers(np.random.default_rng(1), turned)
    found = against_the_rest(items.T @ items, len(items))
    assert list(found) == turned
    # Correlation of one item with the sum of k others: sqrt(k) r / sqrt(1 + (k - 1) r), r = 1/2;
    # tolerance four standard errors of a correlation from 200 patients.
    k = 8 - len(turned)
    expected = -np.sqrt(k) * 0.5 / np.sqrt(1 + (k - 1) * 0.5)
    assert list(found.values()) == pytest.approx([expected] * len(turned), abs=4 / np.sqrt(200))


def test_unrelated_items_are_not_blamed() -> None:
    """Each has a chance of 2% to lie two standard errors below zero."""
    blamed = 0
    for seed in range(50):
        items = np.random.default_rng(seed).normal(size=(200, 6))
        items -= items.mean(axis=0)
        blamed += len(against_the_rest(items.T @ items, 200))
    assert blamed <= 15  # of 300; 6 expected, and 15 are 3.7 standard deviations more


def test_the_note_says_what_to_do() -> None:
    items = answers(np.random.default_rng(1), [1])
    names = tuple(f"i{k}" for k in range(8))
    moderator = study().moderator.model_copy(
        update={"column": None, "items": names, "item_range": (1.0, 7.0)}
    )
    [note] = direction_notes(moderator, items.T @ items, 200)
    assert "The item 'i1' runs against the rest" in note
    assert "add 'i1' to `reverse`" in note
    right = moderator.model_copy(update={"reverse": ("i1",)})
    assert direction_notes(right, items.T @ items, 200) == []
    wrong = moderator.model_copy(update={"reverse": ("i1", "i3")})
    assert "take 'i3' out of `reverse`" in direction_notes(wrong, items.T @ items, 200)[0]


# First lines --------------------------------------------------------------------------------------

BODY = "id,ther,arm,wai\nsecret1,T1,CBT,50\nsecret2,T2,TAU,60\n"
FIRST_LINES = {
    "sep=,": ("sep=,\n" + BODY, "row 1: the first line ('sep=') tells a spreadsheet"),
    "sep=;": ("sep=;\n" + BODY, "Save the table separated by commas"),
    "quoted sep": ('"sep=,"\n' + BODY, "the first line ('sep=')"),
    "title": ("My trial 2024\n" + BODY, "fills 1 of 4 columns, so it is a title"),
    "padded title": ("My trial 2024,,,\n" + BODY, "fills 1 of 4 columns, so it is a title"),
    "title with a semicolon": ("Trial; 2024\n" + BODY, "so it is a title"),
    "two titles": ("Trial,2024\n" + BODY, "fills 2 of 4 columns, so it is a title"),
}


@pytest.mark.parametrize(("text", "part"), FIRST_LINES.values(), ids=FIRST_LINES.keys())
def test_a_first_line_that_is_no_header_is_said(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "data.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert part in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("again", [False, True])
def test_a_table_without_a_header_shows_no_cell_of_the_first_patient(
    tmp_path: Path, frame: pd.DataFrame, again: bool
) -> None:
    if again:  # two cells alike, as two columns of one name would be
        frame["cgi"] = frame["age"]
    frame.loc[0, "id"] = "Secretname"
    path = tmp_path / "data.csv"
    frame.to_csv(path, index=False, header=False)
    with pytest.raises(InputError) as caught:
        load_trial(study(), path)
    assert "row 1: the first line looks like data" in str(caught.value)
    assert "Secretname" not in str(caught.value)


# Sheets and merged cells --------------------------------------------------------------------------


def workbook(frame: pd.DataFrame, path: Path, merged: str = "") -> Path:
    book = openpyxl.Workbook()
    codebook, sheet = book.worksheets[0], book.create_sheet("Data")
    codebook.title = "Codebook"
    codebook.append(["Codebook", "meaning"])
    codebook.append(["id", "patient"])
    sheet.append(list(frame.columns))
    for row in frame.to_numpy().tolist():
        sheet.append([float(cell) if cell.replace(".", "", 1).isdigit() else cell for cell in row])
    if merged:
        sheet.merge_cells(merged)
    book.save(path)
    return path


def test_the_sheet_with_the_columns_is_named_and_can_be_chosen(
    tmp_path: Path, frame: pd.DataFrame
) -> None:
    path = workbook(frame, tmp_path / "two.xlsx")
    with pytest.raises(InputError) as caught:
        load_trial(study(), path)
    assert "the sheet 'Codebook' was read" in str(caught.value)
    assert "the sheet 'Data' has all of them" in str(caught.value)
    assert "'two.xlsx#Data'" in str(caught.value)
    trial = load_trial(study(), tmp_path / "two.xlsx#Data")
    assert trial.flow["rows_read"].tolist() == [60, 60]
    assert trial.source == "two.xlsx#Data"
    registry = load_registry(study(), tmp_path / "*.xlsx#Data")
    assert registry.flow.equals(trial.flow)
    with pytest.raises(InputError, match=r"no sheet 'Dat'\. Did you mean 'Data'"):
        load_trial(study(), tmp_path / "two.xlsx#Dat")


def test_merged_cells_in_a_column_of_the_study_are_refused(
    tmp_path: Path, frame: pd.DataFrame
) -> None:
    wide = frame.assign(comment="x")
    path = workbook(wide, tmp_path / "merged.xlsx", "B2:B17")
    with pytest.raises(DataError) as caught:
        load_trial(study(), tmp_path / "merged.xlsx#Data")
    [problem] = caught.value.problems
    assert (problem.row, problem.column) == (2, "ther")
    assert "B2:B17 are merged" in problem.rule
    assert list(wide.columns).index("comment") == len(COLUMNS)
    path = workbook(wide, tmp_path / "other.xlsx", "J2:J9")  # a column that the study leaves out
    assert load_trial(study(), Path(f"{path}#Data")).flow["rows_read"].tolist() == [60, 60]


# Many files ---------------------------------------------------------------------------------------


def parts(frame: pd.DataFrame, folder: Path) -> Path:
    folder.mkdir()
    for k, rows in enumerate(np.array_split(np.arange(len(frame)), 3)):
        frame.iloc[rows].to_csv(folder / f"part{k}.csv", index=False)
    return folder


def test_a_file_twice_is_refused(tmp_path: Path, frame: pd.DataFrame) -> None:
    folder = parts(frame, tmp_path / "r")
    (folder / "part3.csv").write_bytes((folder / "part0.csv").read_bytes())
    with pytest.raises(InputError, match=r"part0\.csv and part3\.csv are the same file twice"):
        load_registry(study(), folder)


def test_a_patient_of_two_files_is_named_by_rows(tmp_path: Path, frame: pd.DataFrame) -> None:
    frame.loc[45, "id"] = frame.loc[2, "id"]
    folder = parts(frame, tmp_path / "r")
    with pytest.raises(DataError) as caught:
        load_registry(study(), folder)
    [problem] = caught.value.problems
    assert (problem.file, problem.row, problem.column) == ("part2.csv", 7, "id")
    assert problem.remedy.startswith("Row 4 of part0.csv has the same patient")
    assert "write the name of its site" in problem.remedy


def test_one_number_is_one_patient_in_text_and_in_numbers(
    tmp_path: Path, frame: pd.DataFrame
) -> None:
    """An id stored as a whole number in one file and as text in the other."""
    frame["id"] = [str(k) for k in range(60)]
    folder = tmp_path / "r"
    folder.mkdir()
    frame.iloc[:31].to_csv(folder / "a.csv", index=False)
    numbers = typed(frame.iloc[30:])
    numbers.to_parquet(folder / "b.parquet", index=False)
    with pytest.raises(DataError, match=r"b\.parquet, row 2.*Row 32 of a\.csv has the same"):
        load_registry(study(), folder)


def test_an_unreadable_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(InputError, match=r"The folder .* cannot be read: Permission denied"):
        load_registry(study(), tmp_path)
