"""Cells of Parquet and Stata files, as the text that a text file would have.

Cells of SPSS files, read in a process of their own.

The library that reads them takes the sizes in a file's header for true: damaged files of 2 kB made
it ask for 19 GB, or end the process. Here that ends a child, whose memory and time are bounded.
"""

from __future__ import annotations

import datetime
import io
import os
import pickle
import struct
import subprocess
import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alliance.data_prep.errors import InputError, extra_package
from alliance.data_prep.tables.cells import LABELLED, TITLED

# Whole numbers up to here are exact in a double, and lose their ".0" as codes and ids should.
LARGEST_EXACT_INTEGER = 2**53

# Of one file that is read cell by cell: text of so many cells takes about 2 GB at most.
MOST_CELLS = 30_000_000
# And so much text in them: a file may store a long text once, and name it in every row.
MOST_CHARACTERS = 1_000_000_000
# Less in texts that are long for a cell: each row that names one has a copy, here and further on.
LONG_TEXT, MOST_LONG = 1_000, 100_000_000

# What the library raises on damaged files, found by damaging files at random.
STATA_DAMAGE = (
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    StopIteration,
    TypeError,
    UnboundLocalError,
    ValueError,
)


def cell_text(value: object) -> str | None:
    """Text of one cell; None where it is missing.

    Whole numbers have no decimals, other numbers as many as they need to be read back equal;
    dates are written as in ISO 8601.

    Examples
    --------
    >>> cell_text(3.0), cell_text(0.1), cell_text(" GE "), cell_text(float("nan"))
    ('3', '0.1', 'GE', None)
    """
    if isinstance(value, str):
        return value.strip()
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, (float, np.floating)):
        if np.isnan(value):
            return None
        exact = float(value).is_integer() and abs(float(value)) <= LARGEST_EXACT_INTEGER
        return str(int(value)) if exact else str(value)
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)


def _as_text(column: pd.Series) -> pd.Series:
    if column.dtype == object:
        return pd.Series([cell_text(value) for value in column], column.index, dtype="str")
    codes, distinct = pd.factorize(column)
    # The array keeps single precision, whose text is shorter.
    is_float = pd.api.types.is_float_dtype(column.dtype)
    values = np.asarray(distinct) if is_float else distinct
    texts = np.array([*map(cell_text, values), None], dtype=object)  # -1 marks a missing cell
    return pd.Series(texts[codes], column.index, dtype="str")


def numbered(frame: pd.DataFrame) -> pd.DataFrame:
    """Cells as text, with the rows numbered as they would be in a spreadsheet."""
    cells = [_as_text(frame.iloc[:, position]) for position in range(frame.shape[1])]
    table = pd.DataFrame(dict(enumerate(cells)), index=frame.index)
    # Damaged files can have columns without a name.
    table.columns = pd.Index([name if isinstance(name, str) else "" for name in frame.columns])
    table.index = pd.RangeIndex(2, len(table) + 2)
    return table


def damaged(name: str, kind: str, error: BaseException | str) -> InputError:
    """What to say of a file that a library cannot make sense of."""
    reason = " ".join(str(error).split())
    said = f" ({reason})" if reason else ""
    return InputError(
        f"{name} cannot be read as {kind}{said}.",
        "Check that it opens in the program that made it, or export the table as CSV.",
    )


def check_cells(name: str, rows: int, columns: int, most: int = MOST_CELLS) -> None:
    """Refuse a file that tells of more cells than are read, before they are given any room.

    Raises
    ------
    InputError
    """
    if rows * columns > most:
        raise InputError(
            f"{name} has {rows:,} rows of {columns:,} columns, it says, and at most "
            f"{most:,} cells of one file are read.",
            "Keep the columns that the study needs; divide what is still larger into several "
            "files, and name their folder.",
        )


def check_text(name: str, characters: int, most: int) -> None:
    """Refuse a file of more text than is read, before it is given any room.

    Raises
    ------
    InputError
    """
    if characters > most:
        raise InputError(
            f"{name} holds {characters:,} characters of text or more, and at most {most:,} of one "
            "file are read.",
            "Keep the columns that the study needs; divide what is still larger into several "
            "files, and name their folder.",
        )


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    text = types.is_string(kind) or types.is_large_string(kind)
    return text or types.is_binary(kind) or types.is_large_binary(kind)


def _read_arrow(parquet: Any, content: bytes, name: str) -> Any:
    """The whole table; each text is held once until it is known how long they are in all."""
    import pyarrow as pa
    import pyarrow.compute as pc

    file = parquet.ParquetFile(io.BytesIO(content))
    check_cells(name, file.metadata.num_rows, file.metadata.num_columns)
    groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
    parts = [group.column(k) for group in groups for k in range(group.num_columns)]
    check_text(name, sum(part.total_uncompressed_size for part in parts), MOST_CHARACTERS)
    texts = {field.name for field in file.schema_arrow if _is_text(field.type)}
    encodings = {text: set[str]() for text in texts}
    for part in parts:
        encodings.get(part.path_in_schema, set()).update(part.encodings)
    listed = {text for text in texts if any("DICTIONARY" in one for one in encodings[text])}
    # Texts as what differs from the one before: these, and mixtures, cannot be held once
    chained = {text for text in texts if "DELTA_BYTE_ARRAY" in encodings[text]}
    chained |= {text for text in listed if any("DELTA" in one for one in encodings[text])}
    if chained:
        longest = max(part.total_uncompressed_size for part in parts)
        some = max(1, MOST_CHARACTERS // max(longest, 1))
        characters = 0
        for batch in file.iter_batches(batch_size=some, columns=sorted(chained)):
            characters += batch.nbytes
            check_text(name, characters, MOST_CHARACTERS)
    once = sorted(listed - chained)
    table = parquet.ParquetFile(io.BytesIO(content), read_dictionary=once).read()
    table.validate(full=True)
    characters = 0
    check_long_texts(name, table)
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type) and _is_text(field.type.value_type):
            for piece in table.column(place).chunks:
                lengths = pc.binary_length(piece.dictionary).cast(pa.int64())
                characters += pc.sum(lengths.take(piece.indices)).as_py() or 0
            check_text(name, characters, MOST_CHARACTERS)
            plain = table.column(place).cast(field.type.value_type)
            table = table.set_column(place, field.name, plain)
    return table


def check_long_texts(name: str, table: Any) -> None:
    """Refuse an Arrow table of more characters in long texts than are read, before it is copied.

    Raises
    ------
    InputError
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    characters = 0
    for column in table.columns:
        once = pa.types.is_dictionary(column.type) and _is_text(column.type.value_type)
        if not (once or _is_text(column.type)):
            continue
        for piece in column.chunks:
            lengths = pc.binary_length(piece.dictionary if once else piece).cast(pa.int64())
            if (pc.max(lengths).as_py() or 0) <= LONG_TEXT:
                continue
            lengths = lengths.take(piece.indices) if once else lengths
            characters += pc.sum(lengths.filter(pc.greater(lengths, LONG_TEXT))).as_py() or 0
    check_text(name, characters, MOST_LONG)


def _with_text(table: Any, name: str) -> Any:
    """Columns of bytes as the text that some programs store in this way."""
    import pyarrow as pa

    for place, field in enumerate(table.schema):
        kind = field.type
        if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
            continue
        try:
            table = table.set_column(place, field.name, table.column(place).cast(pa.string()))
        except pa.ArrowInvalid as error:
            raise InputError(
                f"{name}, column {field.name!r}: the cells hold bytes that are not text.",
                "Store text or numbers in the column.",
            ) from error
    return table


def as_cells(table: Any) -> pd.DataFrame:
    """Cells of an Arrow table, as text."""
    return numbered(table.to_pandas(ignore_metadata=True, integer_object_nulls=True))


def read_parquet(content: bytes, path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Cells of a Parquet file; see `read_text` for what is returned and raised."""
    pyarrow = extra_package("pyarrow", "parquet", f"{path.name}: reading it")
    parquet = extra_package("pyarrow.parquet", "parquet", f"{path.name}: reading it")
    try:
        table = _read_arrow(parquet, content, path.name)
        nested = [field.name for field in table.schema if pyarrow.types.is_nested(field.type)]
        if not nested:
            # Without the metadata of pandas a named index is a column like the others.
            frame = _with_text(table, path.name).to_pandas(
                ignore_metadata=True, integer_object_nulls=True
            )
    except (pyarrow.ArrowException, MemoryError, OSError, OverflowError, ValueError) as error:
        raise damaged(path.name, "a Parquet file", error) from error
    if nested:
        problem = f"{path.name}, column {nested[0]!r}: the cells hold lists or records."
        raise InputError(problem, "Store one value in each cell.")
    named = [not str(column).startswith("__index_level_") for column in frame.columns]
    return numbered(frame.loc[:, named]), []


def read_stata(content: bytes, path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Cells of a Stata file, codes rather than labels; see `read_text` for the rest."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            opened: Any = pd.read_stata(
                io.BytesIO(content), convert_categoricals=False, iterator=True
            )
            with opened as reader:
                frame = _rows_of_stata(reader, path.name)
                labels = _stata_labels(reader, frame)
                titles = reader.variable_labels()
    except STATA_DAMAGE as error:
        raise damaged(path.name, "a Stata file", error) from error
    notes = []
    if any(issubclass(warning.category, UnicodeWarning) for warning in caught):
        notes.append(f"{path.name}: some text is not UTF-8 and was read as Latin-1.")
    table = numbered(frame)
    table.attrs[LABELLED] = labels
    table.attrs[TITLED] = {name: title for name, title in titles.items() if title}
    return table, notes


def _rows_of_stata(reader: Any, name: str) -> pd.DataFrame:
    """All rows; some at a time where many may name one long text, which is stored once."""
    with suppress(StopIteration):  # there are rows; the long texts have been read
        return reader.read(0)
    longest = max(map(len, getattr(reader, "GSO", {"": ""}).values()), default=0)
    if not longest:
        return reader.read()
    some = max(1, MOST_CHARACTERS // (4 * longest * len(reader.variable_labels())))
    found, characters = [], 0
    with suppress(StopIteration):
        while True:
            found.append(reader.read(some))
            texts = found[-1].select_dtypes(["object", "str"])
            characters += sum(int(column.str.len().sum()) for _, column in texts.items())
            check_text(name, characters, MOST_CHARACTERS)
    return pd.concat(found, ignore_index=True)


def _stata_labels(reader: Any, frame: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Labels of the columns that have a set of them, by the text of the code."""
    sets = reader.value_labels()
    # pandas tells which column has which set nowhere but in this list.
    used = zip(frame.columns, getattr(reader, "_lbllist", []), strict=False)
    return {str(column): label_texts(sets[name]) for column, name in used if name in sets}


def label_texts(labels: Mapping[Any, Any]) -> dict[str, str]:
    """Labels of values, by the text of the code."""
    return {str(cell_text(code)): str(label) for code, label in labels.items()}


SPSS_DAMAGE = (ArithmeticError, LookupError, MemoryError, OSError, TypeError, ValueError)
BEGINNINGS = (b"$FL2", b"$FL3", b"\xf0\xf0\xf0\xf0\xd6\xc6\xd3")  # the last one in EBCDIC
PACKED = 1032  # zlib makes at most so many bytes of one ($FL3, zsav)
CHILD_BYTES = 2 * 2**30  # of addresses, for Python and its libraries
BYTES_PER_BYTE = 200  # and for each byte of the file: a packed cell takes one, as text some 60
CHILD_SECONDS, SECONDS_PER_MB = 60, 5

# What the child runs: the parent's path, so that it finds the same packages.
CHILD = (
    "import sys; sys.path[:] = {path!r}; "
    "from alliance.data_prep.tables.binary_files import answer; answer()"
)


@dataclass(frozen=True, eq=False, slots=True)
class Answer:
    """What the child found.

    Attributes
    ----------
    frame : pandas.DataFrame or None
        Cells, under the numbers of their rows.
    labels : dict of str to dict
        By column, the labels of values.
    measures : dict of str to str
        By column: ``nominal``, ``ordinal``, ``scale`` or ``unknown``.
    titles : dict of str to str or None
        By column, what it is called in words.
    size : tuple of int
        Rows and columns of which the header tells.
    fault : str
        What is wrong; empty if nothing is.
    """

    frame: pd.DataFrame | None
    labels: dict[str, dict[Any, str]]
    measures: dict[str, str]
    titles: dict[str, str | None]
    size: tuple[int, int]
    fault: str = ""


def read_spss(content: bytes, path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Cells of an SPSS file, codes rather than labels; see `read_text` for the rest.

    Values that the file declares as missing are missing.
    """
    extra_package("pyreadstat", "spss", f"{path.name}: reading it")
    if not content.startswith(BEGINNINGS):
        raise damaged(path.name, "an SPSS file", "it does not begin like one")
    found = _asked(path, len(content))
    if isinstance(found, str):
        raise damaged(path.name, "an SPSS file", found)
    check_cells(path.name, *found.size)
    if found.frame is None:
        raise damaged(path.name, "an SPSS file", found.fault)
    nominal = [name for name, measure in found.measures.items() if measure == "nominal"]
    found.frame.attrs[LABELLED] = {
        name: label_texts(found.labels.get(name, {}))
        for name in dict.fromkeys([*found.labels, *nominal])
    }
    found.frame.attrs[TITLED] = {name: title for name, title in found.titles.items() if title}
    return found.frame, []


def _asked(path: Path, size: int) -> Answer | str:
    """What a child makes of the file, or why it did not come to an end."""
    command = [sys.executable, "-c", CHILD.format(path=sys.path), str(path.absolute())]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=CHILD_SECONDS + SECONDS_PER_MB * size / 1e6,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return "reading it takes too long"
    try:
        found = pickle.loads(done.stdout)
    except (EOFError, pickle.UnpicklingError):
        return "it makes the library that reads it fail"
    assert isinstance(found, Answer)
    return found


def answer() -> None:
    """Read the file that the command line names, within bounds, and write an `Answer`."""
    path = Path(sys.argv[1])
    size = path.stat().st_size
    _limit(CHILD_BYTES + BYTES_PER_BYTE * size)
    import pyreadstat

    found = Answer(None, {}, {}, {}, (0, 0))
    try:
        _, header = pyreadstat.read_sav(str(path), metadataonly=True)
        rows, columns = header.number_rows or 0, header.number_columns
        with path.open("rb") as file:
            packed = PACKED if file.read(4) == b"$FL3" else 1
        if rows < 0 or rows * columns > packed * size:  # each cell takes a byte at least
            told = f"its header tells of {rows:,} rows of {columns:,} columns, more than it holds"
            found = Answer(None, {}, {}, {}, (0, 0), told)
        elif rows * columns > MOST_CELLS:
            found = Answer(None, {}, {}, {}, (rows, columns))
        else:
            frame, header = pyreadstat.read_sav(
                str(path), apply_value_formats=False, user_missing=False
            )
            found = Answer(
                numbered(frame),
                header.variable_value_labels,
                header.variable_measure,
                header.column_names_to_labels,
                (0, 0),
            )
    except (pyreadstat.ReadstatError, pyreadstat.PyreadstatError, *SPSS_DAMAGE) as error:
        found = Answer(
            None, {}, {}, {}, (0, 0), " ".join(str(error).split()) or type(error).__name__
        )
    sys.stdout.buffer.write(pickle.dumps(found))


def _limit(most: int) -> None:
    """Bound the addresses of this process, where the system can."""
    if sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash leaves no file behind
