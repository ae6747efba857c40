"""Small files that ask for much memory or time are refused, within bounds of both."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyreadstat
import pytest

from alliance.data_prep.errors import InputError
from alliance.data_prep.registry.partition import arrow_table
from alliance.data_prep.tables import binary_files, excel_files
from alliance.data_prep.tables.readers import read_table

# Of addresses for the whole process, libraries included; what was read before took 17 to 24 GB.
MOST_BYTES = 2 * 2**30
# Reads each file that it is told of in a child of its own, so that the libraries are loaded once.
READING = f"""
import os, resource, sys
from pathlib import Path
from alliance.data_prep.errors import InputError
from alliance.data_prep.tables.readers import read_table
import openpyxl, pyarrow.parquet, pyreadstat
for line in sys.stdin:
    path, answer = line.rstrip(chr(10)).split(chr(9))
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        print("done", flush=True)
        continue
    said = os.open(answer, os.O_WRONLY | os.O_CREAT)
    os.dup2(said, 1)
    os.dup2(said, 2)
    resource.setrlimit(resource.RLIMIT_AS, ({MOST_BYTES}, {MOST_BYTES}))
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
    try:
        table = read_table(Path(path))
    except InputError as error:
        sys.exit(f"refused: {{error}}")
    print(table.frame.shape, len(table.notes))
    sys.exit()
"""
READ = Callable[[Path], str]


@pytest.fixture(scope="module")
def read_within_bounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[READ]:
    """What comes of a file in 2 GiB and a minute of computing: its size, or the refusal."""
    answers = tmp_path_factory.mktemp("answers")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", READING], **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def read(path: Path) -> str:
            answer = answers / str(len(list(answers.iterdir())))
            process.stdin.write(f"{path}\t{answer}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "done\n"
            return answer.read_text(encoding="utf-8").strip()

        try:
            yield read
        finally:
            process.kill()


def workbook(path: Path, **cells: object) -> Path:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for row in (["id", "score"], ["p1", 1], ["p2", 2]):
        sheet.append(row)
    for place, value in cells.items():
        sheet[place] = value
    book.save(path)
    return path


@pytest.mark.parametrize("place", ["XFD1048576", "XFD400", "A1048576", "XFD1"])
def test_a_cell_far_away_is_named_before_room_is_made_for_it(
    tmp_path: Path, place: str, read_within_bounds: READ
) -> None:
    path = workbook(tmp_path / "far.xlsx", **{place: "x"})
    assert path.stat().st_size < 10_000
    told = read_within_bounds(path)
    if place == "XFD1":  # a header of 16,384 columns is no more than that
        assert told.startswith("(2, 3)")
    elif place == "A1048576":  # as many rows as a sheet may have, of two columns
        assert told.startswith("(3, 2)")
    else:
        assert told.startswith(
            f"refused: far.xlsx: the sheet 'Sheet' holds something as far away as {place}"
        )
        assert "3,000,000 cells" in told


def test_a_blank_far_away_is_nothing(tmp_path: Path) -> None:
    table = read_table(workbook(tmp_path / "blank.xlsx", XFD1=" "))
    assert table.frame.shape == (2, 2)
    assert table.notes == ()


def test_empty_columns_of_a_text_file_are_one_note(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_text("a,,b" + "," * 400 + "\n1,,2" + "," * 400 + "\n")
    table = read_table(path)
    assert table.notes == ("wide.csv: columns 2, 4 to 403 are empty and skipped.",)


def repacked(path: Path, member: str, content: bytes) -> Path:
    """The workbook with one of its members replaced, or added, packed."""
    changed = io.BytesIO()
    with (
        zipfile.ZipFile(path) as book,
        zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as copy,
    ):
        for name in book.namelist():
            if name != member:
                copy.writestr(name, book.read(name))
        copy.writestr(member, content)
    path.write_bytes(changed.getvalue())
    return path


@pytest.mark.parametrize(
    ("member", "content"),
    [
        ("xl/sharedStrings.xml", b"<sst>" + b"<si><t>a</t></si>" * 1_200_000 + b"</sst>"),
        ("xl/styles.xml", b"<styleSheet>" + b"<x/>" * 1_100_000 + b"</styleSheet>"),
        ("xl/worksheets/sheet1.xml", b"<worksheet>" + b"<c/>" * 5_000_000 + b"</worksheet>"),
        ("xl/sharedStrings.xml", b"<sst><si><t>" + b"a" * 20_000_000 + b"</t></si></sst>"),
    ],
)
def test_a_workbook_that_unpacks_to_much_is_refused(
    tmp_path: Path, member: str, content: bytes, read_within_bounds: READ
) -> None:
    path = repacked(workbook(tmp_path / "bomb.xlsx"), member, content)
    assert path.stat().st_size < 200_000
    assert "unpacks to more than is read" in read_within_bounds(path)


def test_rows_without_end_are_refused(tmp_path: Path, read_within_bounds: READ) -> None:
    sheet = (
        b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
    )
    sheet += b'<row r="1"><c r="A1" t="inlineStr"><is><t>a</t></is></c></row>'
    sheet += b'<row r="2000000000"><c r="A2000000000"><v>1</v></c></row></sheetData></worksheet>'
    path = repacked(workbook(tmp_path / "long.xlsx"), "xl/worksheets/sheet1.xml", sheet)
    assert "A2000000000" in read_within_bounds(path)


def test_the_bound_on_cells_is_that_of_the_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workbook(tmp_path / "data.xlsx")
    monkeypatch.setattr(excel_files, "MOST_CELLS", 6)  # 3 rows of 2 columns
    assert read_table(path).frame.shape == (2, 2)
    monkeypatch.setattr(excel_files, "MOST_CELLS", 5)
    with pytest.raises(InputError, match="at most 5 cells are read"):
        read_table(path)


def test_the_bound_on_text_is_that_of_the_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workbook(tmp_path / "data.xlsx", A4="x" * 90, A5="x" * 90)
    monkeypatch.setattr(excel_files, "MOST_CHARACTERS", 193)  # with p1, 1, p2, 2 and the header
    assert read_table(path).frame.shape == (4, 2)
    monkeypatch.setattr(excel_files, "MOST_CHARACTERS", 192)
    with pytest.raises(InputError, match="193 characters of text or more, and at most 192"):
        read_table(path)
    repacked(path, "xl/sharedStrings.xml", b"<sst>" + b"<si><t>aaaa</t></si>" * 40 + b"</sst>")
    with pytest.raises(InputError, match="unpacks to more than is read"):
        read_table(path)


def spss(path: Path, rows: int = 40) -> Path:
    frame = pd.DataFrame({"patient": [f"p{k}" for k in range(rows)], "score": range(rows)})
    pyreadstat.write_sav(frame, str(path))
    return path


@pytest.mark.parametrize(
    ("place", "number"),
    [
        (80, 2**31 - 1),  # number of cases in the header
        (80, 300_000_000),
        (68, 2**31 - 1),  # size of a case
        (176 + 4, 32_000),  # width of the first variable
    ],
)
def test_an_spss_file_that_promises_much_is_refused_or_read(
    tmp_path: Path, place: int, number: int, read_within_bounds: READ
) -> None:
    path = spss(tmp_path / "data.sav")
    content = bytearray(path.read_bytes())
    content[place : place + 4] = struct.pack("<i", number)
    path.write_bytes(bytes(content))
    told = read_within_bounds(path)
    assert told.startswith(("refused: data.sav ", "(40, 2)"))  # the rows that are there, or none


def test_what_makes_the_library_crash_is_a_message(tmp_path: Path) -> None:
    """A variable record whose type is damaged: reading it ended the whole process."""
    path = spss(tmp_path / "data.sav")
    path.write_bytes(path.read_bytes()[:200] + b"\xff" * 60)
    with pytest.raises(InputError, match="SPSS"):
        read_table(path)


def test_a_parquet_file_of_too_many_cells_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"a": pa.array([1] * 40_000_000, type=pa.int8())}), path)
    assert path.stat().st_size < 200_000  # equal values are stored once
    with pytest.raises(InputError, match=r"40,000,000 rows.*at most 30,000,000 cells"):
        read_table(path)


def test_blank_lines_below_many_columns_are_refused(
    tmp_path: Path, read_within_bounds: READ
) -> None:
    """Each takes a byte, and a cell for every column."""
    path = tmp_path / "data.csv"
    path.write_text(",".join(f"c{k}" for k in range(10_000)) + "\n" * 200_000 + "1," * 9999 + "1\n")
    told = read_within_bounds(path)
    assert told.startswith("refused: data.csv has 200,001 rows of 10,000 columns")
    path.write_text("a,b\n" + "\n" * 200_000 + "1,2\n")
    assert read_within_bounds(path).startswith("(1, 2)")


LONG = "x" * 1_000_000
MANY = 1100  # so often it is more text than is read


def long_in_parquet(path: Path, **settings: Any) -> None:
    schema = pa.schema([("id", pa.string())])
    with pq.ParquetWriter(path, schema, compression="zstd", **settings) as writer:
        for _ in range(MANY // 100):
            writer.write_table(pa.table({"id": [LONG] * 100}, schema=schema))


def long_ids_in_parquet(path: Path) -> None:
    """Fewer characters than are read, in texts of which each row would have its copies."""
    pq.write_table(pa.table({"id": [LONG] * 101, "score": range(101)}), path, compression="zstd")


def long_ids_in_plain_parquet(path: Path) -> None:
    table = pa.table({"id": [LONG] * 101, "score": range(101)})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)


def long_in_chained_parquet(path: Path) -> None:
    encoding = {"id": "DELTA_BYTE_ARRAY"}  # each as what differs from the one before
    long_in_parquet(path, use_dictionary=False, column_encoding=encoding)


def long_in_packed_parquet(path: Path) -> None:
    long_in_parquet(path, use_dictionary=False)


def long_in_stata(path: Path) -> None:
    frame = pd.DataFrame({"id": pd.Series([LONG] * MANY, dtype=object), "score": range(MANY)})
    frame.to_stata(path, write_index=False, version=118, convert_strl=["id"])


def long_in_excel(path: Path) -> None:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    for _ in range(3200):
        sheet.append([LONG[:32_000]])
    book.save(path)


@pytest.mark.parametrize(
    ("write", "ending"),
    [
        (long_in_parquet, "parquet"),
        (long_in_chained_parquet, "parquet"),
        (long_in_packed_parquet, "parquet"),
        (long_ids_in_parquet, "parquet"),
        (long_ids_in_plain_parquet, "parquet"),
        (long_in_stata, "dta"),
        (long_in_excel, "xlsx"),
    ],
)
def test_a_long_text_that_stands_once_and_is_named_often_is_refused(
    tmp_path: Path, write: Callable[[Path], None], ending: str, read_within_bounds: READ
) -> None:
    path = tmp_path / f"long.{ending}"
    write(path)
    assert path.stat().st_size < 2_000_000
    told = read_within_bounds(path)
    assert told.startswith(f"refused: long.{ending} holds ")
    assert "characters of text or more, and at most 1" in told


def test_texts_of_every_parquet_encoding_are_read(tmp_path: Path) -> None:
    path, texts = tmp_path / "data.parquet", ["p1", "p10", None, "p1"]
    for encoding in ("PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"):
        for kind in (pa.string(), pa.large_string()):
            table = pa.table({"id": pa.array(texts, type=kind), "score": range(4)})
            settings = {"use_dictionary": False, "column_encoding": {"id": encoding}}
            pq.write_table(table, path, **settings)
            frame = read_table(path).frame
            assert frame["id"].fillna("").tolist() == ["p1", "p10", "", "p1"]
            assert frame["score"].tolist() == list("0123")


def test_long_texts_of_a_stata_file_are_read_in_their_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where only some rows at a time are."""
    notes = [f"{k}" * (k + 1) for k in range(9)]
    frame = pd.DataFrame({"note": notes, "score": [1, 2, None, 4, 5, 6, 7, None, 9.5]})
    frame.to_stata(tmp_path / "a.dta", write_index=False, version=118, convert_strl=["note"])
    whole = read_table(tmp_path / "a.dta").frame
    monkeypatch.setattr(binary_files, "MOST_CHARACTERS", 150)  # two rows at a time
    pd.testing.assert_frame_equal(read_table(tmp_path / "a.dta").frame, whole)
    assert whole["note"].tolist() == notes
    assert whole["score"].fillna("").tolist() == ["1", "2", "", "4", "5", "6", "7", "", "9.5"]
    monkeypatch.setattr(binary_files, "MOST_CHARACTERS", 44)  # of 45
    with pytest.raises(InputError, match="45 characters of text or more, and at most 44"):
        read_table(tmp_path / "a.dta")


def test_bytes_in_a_parquet_file_are_text_or_named(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"id": [b"p1", "p\u00e9".encode()]}), path)
    assert read_table(path).frame["id"].tolist() == ["p1", "p\u00e9"]
    pq.write_table(pa.table({"id": [b"p1", b"\xff"]}), path)
    with pytest.raises(InputError, match="column 'id': the cells hold bytes that are not text"):
        read_table(path)


def test_a_workbook_of_charts_alone_is_refused(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    book.create_chartsheet("Chart")
    book.save(tmp_path / "chart.xlsx")
    with pytest.raises(InputError, match=r"chart\.xlsx"):
        read_table(tmp_path / "chart.xlsx")


def test_long_texts_of_a_registry_s_part_are_counted_before_they_are_copied(
    tmp_path: Path,
) -> None:
    """Of the quick way too, whose table has a text once and whose ids are copied."""
    path = tmp_path / "part.parquet"
    long_ids_in_parquet(path)
    for repeated in ([], ["id"]):
        with pytest.raises(InputError, match="101,000,000 characters of text or more"):
            arrow_table(path, ["id", "score"], repeated)
    pq.write_table(pa.table({"id": ["x" * 1000] * 101, "score": range(101)}), path)
    assert arrow_table(path, ["id", "score"], []).num_rows == 101
