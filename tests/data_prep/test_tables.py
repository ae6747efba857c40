"""What a table file may hold, how it is numbered, and what is said of one that is wrong."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alliance.data_prep.errors import InputError
from alliance.data_prep.tables.readers import read_table

SMALL = b"patient,arm,score\np1,GE,3\np2,MCE,4.5\n"


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


def test_a_text_file(tmp_path: Path) -> None:
    path = written(tmp_path, SMALL)
    table = read_table(path)
    assert table.path == path
    assert table.notes == ()
    assert table.sha256 == hashlib.sha256(SMALL).hexdigest()
    assert list(table.frame.columns) == ["patient", "arm", "score"]
    assert table.frame.index.name == "row"
    assert list(table.frame.index) == [2, 3]
    assert cells(path) == [["p1", "GE", "3"], ["p2", "MCE", "4.5"]]


@pytest.mark.parametrize("name", ["data.tsv", "data.txt", "DATA.TSV"])
def test_tabs(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, SMALL.replace(b",", b"\t"), name)
    assert cells(path) == cells(written(tmp_path, SMALL))


# name: (text, cells, row numbers)
READ: dict[str, tuple[str, list[list[str | None]], list[int]]] = {
    "only the empty cell and NA are missing": (
        "a,b,c\n,NA,  \nn/a,.,nan\n NA ,NULL,-99\n",
        [["n/a", ".", "nan"], [None, "NULL", "-99"]],
        [3, 4],
    ),
    "numbers stay as they are written": ("a,b\n007,1.50\n", [["007", "1.50"]], [2]),
    "blanks at the ends of names and cells": (" a , b\t\n  x y ,\u00a0z\n", [["x y", "z"]], [2]),
    "blank lines count": ("\n \na,b\n1,2\n\n   \n3,4\n\n\n", [["1", "2"], ["3", "4"]], [4, 7]),
    "rows of empty cells count": ("a,b\n,\n1,2\n , \n3,4\n,\n", [["1", "2"], ["3", "4"]], [3, 5]),
    "line breaks inside cells": ('a,b\n"x\ny",1\nz,2\n', [["x\ny", "1"], ["z", "2"]], [2, 3]),
    "quoted commas and quotes": ('a,b\n"x, ""y""",1\n', [['x, "y"', "1"]], [2]),
    "quotation mark inside a cell": ('a,b\n5" pipe,1\n', [['5" pipe', "1"]], [2]),
    "line ends of Windows": ("a,b\r\n1,2\r\n", [["1", "2"]], [2]),
    "line ends of the old Macintosh": ("a,b\r1,2\r3,4", [["1", "2"], ["3", "4"]], [2, 3]),
    "one column": ("a\n1\n\n2\n", [["1"], ["2"]], [2, 4]),
    "letters beyond ASCII": ("a,b\nÅse,é\n", [["Åse", "é"]], [2]),
    "empty column without a name": ("a,,b\n1,,2\n3,NA,4\n", [["1", "2"], ["3", "4"]], [2, 3]),
}


@pytest.mark.parametrize(("text", "expected", "rows"), READ.values(), ids=READ.keys())
def test_what_text_says(
    tmp_path: Path, text: str, expected: list[list[str | None]], rows: list[int]
) -> None:
    path = written(tmp_path, text)
    assert cells(path) == expected
    assert list(read_table(path).frame.index) == rows


# name: (text, what the notes must hold)
NOTED: dict[str, tuple[bytes, str]] = {
    "byte-order mark": (b"\xef\xbb\xbf" + SMALL, "byte-order mark"),
    "column without name and data": (b"a,,b\n1,,2\n", "column 2 is empty"),
    "empty rows": (b"a,b\n1,2\n\n,\n3,4\n\n", "empty rows were skipped: 3, 4"),
    "many empty rows": (b"a,b\n1,2\n" + b",\n" * 12 + b"3,4\n", "11, 12 and 2 more"),
}


@pytest.mark.parametrize(("content", "part"), NOTED.values(), ids=NOTED.keys())
def test_what_is_passed_over_is_said(tmp_path: Path, content: bytes, part: str) -> None:
    table = read_table(written(tmp_path, content))
    assert len(table.notes) == 1
    assert part in table.notes[0]
    assert "\ufeff" not in table.frame.columns[0]


LATIN = 'id,name\n1,"a\nb"\n\n2,Ren\xe9'.encode("latin-1")  # or a letter in UTF-8, cut

# name: (file's name, content, what the message must hold)
REFUSED: dict[str, tuple[str, bytes, list[str]]] = {
    "empty file": ("data.csv", b"", ["data.csv", "is empty"]),
    "blank lines only": ("data.csv", b"\n \n\n", ["is empty"]),
    "header only": ("data.csv", b"a,b\n", ["data.csv has a header but no rows"]),
    "header and empty rows": ("data.csv", b"a,b\n,\n\n", ["a header but no rows"]),
    "unknown ending": ("data.ods", SMALL, ["'.ods'", ".csv, .tsv, .txt, .xlsx, .parquet"]),
    "old Excel": ("data.xls", SMALL, ["'.xls'", ".xlsx"]),
    "no ending": ("data", SMALL, ["no ending", ".csv"]),
    "UTF-16": ("data.csv", SMALL.decode().encode("utf-16"), ["UTF-16", "UTF-8"]),
    "UTF-16 without mark": ("data.csv", SMALL.decode().encode("utf-16-le"), ["row 1", "NUL"]),
    "NUL byte": ("data.csv", SMALL.replace(b"4.5", b"4\0"), ["row 3", "NUL"]),
    "Latin-1": ("data.csv", LATIN, ["row 4", "0xE9", "'é' in Latin-1", "Save it as UTF-8"]),
    "Latin-2 in the header": ("data.csv", b"wiek,p\xb3e\xe6\n1,2\n", ["row 1", "0xB3"]),
    "cut in the middle of a letter": ("data.csv", "a,b\n1,é".encode()[:-1], ["row 2", "0xC3"]),
    "semicolons in a .tsv": ("data.tsv", b"a;b\n1,5;2 ;3\n", ["semicolons", "not by tabs"]),
    "tabs in a .csv": ("data.csv", SMALL.replace(b",", b"\t"), ["tabs", ".tsv"]),
    "bars": ("data.csv", SMALL.replace(b",", b"|"), ["vertical bars"]),
    "commas in a .tsv": ("data.tsv", SMALL, ["commas", "not by tabs", ".csv"]),
    "duplicated column": ("data.csv", b"a,b, a\n1,2,3\n", ["column 'a' stands twice"]),
    "unnamed column with data": (
        "data.csv",
        b"a,,b\n1,,2\n3,x,4\n",
        ["column 2", "row 3. Name it"],
    ),
    "too many cells": ("data.csv", b"a,b\n1,2\n\n1,2,3\n", ["has 2 cells, but row 4 has 3"]),
    "too few cells": ("data.csv", b"a,b,c\n1,2\n1,2,3\n1\n", ["row 2 has 2, row 4 has 1."]),
    "many wrong rows": (
        "data.csv",
        b"a,b\n" + b"1,2,3\n" * 14,
        ["row 2 has 3", "row 11 has 3 and 4 more"],
    ),
    "quotation mark left open": ("data.csv", b'a,b\n1,2\n"3,4\n5,6\n', ["row 3", "quotation"]),
    "text after a quoted cell": ("data.csv", b'a,b\n"1"2,3\n', ["row 2", "quotation mark"]),
    "quotation mark open in the header": ("data.csv", b'a,"b\n1,2\n', ["row 1", "quotation"]),
}


@pytest.mark.parametrize(("name", "content", "parts"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused_and_why(
    tmp_path: Path, name: str, content: bytes, parts: list[str]
) -> None:
    message = str(refusal(written(tmp_path, content, name)))
    assert name in message
    for part in parts:
        assert part in message


def test_missing_and_folder(tmp_path: Path) -> None:
    written(tmp_path, SMALL, "trial.csv")
    assert "Did you mean" in refusal(tmp_path / "trail.csv").remedy
    assert "trial.csv" in refusal(tmp_path / "trail.csv").remedy
    (tmp_path / "folder.csv").mkdir()
    assert "is a folder" in refusal(tmp_path / "folder.csv").problem


def test_the_headache_trial(shared_data: Path) -> None:
    path = shared_data / "acupuncture_vickers2004.csv"
    frame = read_table(path).frame
    with path.open(encoding="utf-8") as lines:
        assert len(frame) == sum(1 for _ in lines) - 1
    assert frame.index[-1] == len(frame) + 1
    published = pd.read_csv(path)
    for column in ("pk1", "pk5"):
        assert np.array_equal(
            pd.to_numeric(frame[column]).to_numpy(float), published[column], equal_nan=True
        )
