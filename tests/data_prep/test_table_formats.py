"""Excel, Parquet, Stata and SPSS files: the same table from each, and what is refused."""

from __future__ import annotations

import datetime
import hashlib
import io
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyreadstat
import pytest

from alliance.data_prep.errors import InputError
from alliance.data_prep.tables.readers import READERS, read_table

SMALL = b"patient,arm,score\np1,GE,3\n"


def written(folder: Path, content: str | bytes, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert caught.value.remedy
    return caught.value


def cells(path: Path) -> list[list[str | None]]:
    """Cells of a table, row by row, None where missing."""
    frame = read_table(path).frame
    return [[None if pd.isna(cell) else cell for cell in row] for row in frame.to_numpy()]


# One content for all formats: text, whole numbers, numbers, codes with a gap, an empty cell.
CONTENT = pd.DataFrame(
    {
        "patient": ["p1", "p2", "p3", "Åse"],
        "arm": [0, 1, 1, 0],
        "therapist": [12.0, np.nan, 7.0, 12.0],
        "score": [0.1, -2.5, 1 / 3, np.nan],
        "sex": ["M", "F", "", "F"],
    }
)
CONTENT_CELLS: list[list[str | None]] = [
    ["p1", "0", "12", "0.1", "M"],
    ["p2", "1", None, "-2.5", "F"],
    ["p3", "1", "7", "0.3333333333333333", None],
    ["Åse", "0", "12", None, "F"],
]
WRITERS: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    ".csv": lambda frame, path: frame.to_csv(path, index=False, float_format="%.17g"),
    ".tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    ".txt": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    ".xlsx": lambda frame, path: frame.to_excel(path, index=False),
    ".parquet": lambda frame, path: frame.to_parquet(path),
    ".dta": lambda frame, path: frame.to_stata(path, write_index=False, version=118),
    ".sav": lambda frame, path: pyreadstat.write_sav(frame, str(path)),
}


def as_numbers(rows: list[list[str | None]]) -> list[list[object]]:
    """Numeric columns as numbers: a text file may write 12 as 12.0."""
    return [
        [row[0], *(cell if cell is None else float(cell) for cell in row[1:4]), row[4]]
        for row in rows
    ]


@pytest.mark.parametrize("ending", READERS)
def test_every_format_gives_the_same_table(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"data{ending}"
    WRITERS[ending](CONTENT, path)
    table = read_table(path)
    assert as_numbers(cells(path)) == as_numbers(CONTENT_CELLS)
    if ending not in (".csv", ".tsv", ".txt"):  # pandas writes 12.0 into these
        assert cells(path) == CONTENT_CELLS
    assert list(table.frame.columns) == list(CONTENT.columns)
    assert list(table.frame.index) == [2, 3, 4, 5]
    assert table.frame.index.name == "row"
    assert set(map(str, table.frame.dtypes)) == {"str"}
    assert table.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert table.notes == ()


@pytest.mark.parametrize("ending", [".xlsx", ".parquet", ".dta", ".sav"])
def test_header_only_in_every_format(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"data{ending}"
    WRITERS[ending](CONTENT.iloc[:0], path)
    assert "a header but no rows" in refusal(path).problem


@pytest.mark.parametrize("ending", [".xlsx", ".parquet", ".dta", ".sav"])
def test_damaged_files(tmp_path: Path, ending: str) -> None:
    whole = tmp_path / f"whole{ending}"
    WRITERS[ending](CONTENT, whole)
    content = whole.read_bytes()
    # Cut anywhere, another file altogether, and bytes without meaning.
    damaged = [content[: len(content) * part // 8] for part in range(1, 7)]
    damaged += [SMALL, np.random.default_rng(1).bytes(300)]
    for part in damaged:
        message = str(refusal(written(tmp_path, part, f"data{ending}")))
        assert f"data{ending} cannot be read as" in message
        assert "export the table as CSV" in message


@pytest.mark.parametrize(
    ("ending", "package", "extra"),
    [
        (".xlsx", "openpyxl", "excel"),
        (".parquet", "pyarrow", "parquet"),
        (".sav", "pyreadstat", "spss"),
    ],
)
def test_a_missing_package_is_named_with_its_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, package: str, extra: str
) -> None:
    path = tmp_path / f"data{ending}"
    WRITERS[ending](CONTENT, path)
    monkeypatch.setitem(sys.modules, package, None)  # what makes an import fail
    error = refusal(path)
    assert package in error.problem
    assert error.remedy == f'Install it: pip install "alliance[{extra}]".'


def workbook(folder: Path, rows: list[list[object]], *more_sheets: str) -> Path:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.title = "Data"
    for row in rows:
        sheet.append(row)
    for title in more_sheets:
        book.create_sheet(title).append(["other"])
    path = folder / "data.xlsx"
    book.save(path)
    return path


def test_excel_rows_keep_their_numbers(tmp_path: Path) -> None:
    rows: list[list[object]] = [
        [],
        ["id ", "x"],
        ["a", 1],
        [],
        ["b", " NA "],
        [" ", None],
        ["c", 2.5],
    ]
    path = workbook(tmp_path, rows)
    assert cells(path) == [["a", "1"], ["b", None], ["c", "2.5"]]
    table = read_table(path)
    assert list(table.frame.index) == [3, 5, 7]
    assert table.notes == ("data.xlsx: empty rows were skipped: 4, 6.",)


def test_excel_cells_as_text(tmp_path: Path) -> None:
    day, moment = datetime.date(2004, 3, 1), datetime.datetime(2004, 3, 1, 9, 30)
    rows: list[list[object]] = [["a", "b", "c", "d"], [day, moment, True, "#DIV/0!"]]
    assert cells(workbook(tmp_path, rows)) == [
        ["2004-03-01", "2004-03-01T09:30:00", "True", "#DIV/0!"]
    ]


def test_excel_reads_the_first_sheet_and_says_so(tmp_path: Path) -> None:
    table = read_table(workbook(tmp_path, [["a"], [1]], "Codes", "Notes"))
    assert list(table.frame.columns) == ["a"]
    assert table.notes == ("data.xlsx has 3 sheets; the first, 'Data', was read.",)


EXCEL_REFUSED: dict[str, tuple[list[list[object]], str]] = {
    "empty sheet": ([], "the first sheet, 'Data', is empty"),
    "header only": ([["a", "b"]], "a header but no rows"),
    "duplicated column": ([["a", "a"], [1, 2]], "column 'a' stands twice"),
    "row longer than the header": ([["a"], [1], [2, "x"]], "column 2 has no name"),
    "formula that was never computed": ([["a", "b"], [1, "=A2*2"]], "without a stored value in B2"),
}


@pytest.mark.parametrize(("rows", "part"), EXCEL_REFUSED.values(), ids=EXCEL_REFUSED.keys())
def test_excel_refused(tmp_path: Path, rows: list[list[object]], part: str) -> None:
    assert part in refusal(workbook(tmp_path, rows)).problem


def test_excel_size_is_not_taken_from_the_file(tmp_path: Path) -> None:
    path = workbook(tmp_path, [["a", "b"], [1, 2], [3, 4]])
    changed = io.BytesIO()
    with zipfile.ZipFile(path) as book, zipfile.ZipFile(changed, "w") as copy:
        for name in book.namelist():
            copy.writestr(name, book.read(name).replace(b'ref="A1:B3"', b'ref="A1"'))
    assert b'ref="A1"' in zipfile.ZipFile(changed).read("xl/worksheets/sheet1.xml")
    path.write_bytes(changed.getvalue())
    assert cells(path) == [["1", "2"], ["3", "4"]]


def test_codes_are_kept_not_labels(tmp_path: Path) -> None:
    stata = tmp_path / "data.dta"
    labelled = pd.DataFrame(
        {"arm": pd.Categorical(["usual", "acupuncture"], ["acupuncture", "usual"])}
    )
    labelled.to_stata(stata, write_index=False)
    assert cells(stata) == [["1"], ["0"]]
    spss = tmp_path / "data.sav"
    pyreadstat.write_sav(
        pd.DataFrame({"arm": [1, 0], "score": [5.0, 99.0]}),
        str(spss),
        variable_value_labels={"arm": {0: "usual", 1: "acupuncture"}},
        missing_ranges={"score": [99]},
    )
    assert cells(spss) == [["1", "5"], ["0", None]]


def test_parquet_index_large_ids_and_duplicates(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    # 2**53 + 1 is the first whole number that a double cannot hold.
    ids = pd.Index([2**53 + 1, 2], name="patient")
    pd.DataFrame({"score": [1.0, 2.0]}, index=ids).to_parquet(path)
    assert sorted(read_table(path).frame.columns) == ["patient", "score"]
    assert read_table(path).frame["patient"].tolist() == ["9007199254740993", "2"]
    pq.write_table(pa.table({"id": pa.array([2**53 + 1, None])}), path)
    assert cells(path) == [["9007199254740993"]]
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), path)
    assert "column 'a' stands twice" in refusal(path).problem
    pq.write_table(pa.table({"a": [[1, 2]]}), path)
    assert "column 'a': the cells hold lists" in refusal(path).problem


def test_single_precision_is_written_as_short_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "data.dta"
    pd.DataFrame({"x": np.array([0.1, 2.0], dtype=np.float32)}).to_stata(path, write_index=False)
    assert cells(path) == [["0.1"], ["2"]]


def test_stata_text_in_another_encoding_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "data.dta"
    pd.DataFrame({"name": ["Rene", "xx"]}).to_stata(path, write_index=False, version=118)
    path.write_bytes(path.read_bytes().replace(b"Rene", b"Ren\xe9"))
    table = read_table(path)
    assert table.frame["name"].tolist() == ["René", "xx"]
    assert table.notes == ("data.dta: some text is not UTF-8 and was read as Latin-1.",)
