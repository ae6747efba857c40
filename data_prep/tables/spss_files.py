"""Cells of SPSS files, read in a process of their own.

The library that reads them takes the sizes in a file's header for true: damaged files of 2 kB made
it ask for 19 GB, or end the process. Here that ends a child, whose memory and time are bounded.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from alliance.data_prep.covariates import LABELLED
from alliance.data_prep.tables.binary_files import (
    MOST_CELLS,
    check_cells,
    damaged,
    label_texts,
    numbered,
    package,
)

SPSS_DAMAGE = (ArithmeticError, LookupError, MemoryError, OSError, TypeError, ValueError)
BEGINNINGS = (b"$FL2", b"$FL3", b"\xf0\xf0\xf0\xf0\xd6\xc6\xd3")  # the last one in EBCDIC
PACKED = 1032  # zlib makes at most so many bytes of one ($FL3, zsav)
CHILD_BYTES = 2 * 2**30  # of addresses, for Python and its libraries
BYTES_PER_BYTE = 200  # and for each byte of the file: a packed cell takes one, as text some 60
CHILD_SECONDS, SECONDS_PER_MB = 60, 5

# What the child runs: the parent's path, so that it finds the same packages.
CHILD = (
    "import sys; sys.path[:] = {path!r}; "
    "from alliance.data_prep.tables.spss_files import answer; answer()"
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
    size : tuple of int
        Rows and columns of which the header tells.
    fault : str
        What is wrong; empty if nothing is.
    """

    frame: pd.DataFrame | None
    labels: dict[str, dict[Any, str]]
    measures: dict[str, str]
    size: tuple[int, int]
    fault: str = ""


def read_spss(content: bytes, path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Cells of an SPSS file, codes rather than labels; see `read_text` for the rest.

    Values that the file declares as missing are missing.
    """
    package("pyreadstat", "spss", path.name)
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

    found = Answer(None, {}, {}, (0, 0))
    try:
        _, header = pyreadstat.read_sav(str(path), metadataonly=True)
        rows, columns = header.number_rows or 0, header.number_columns
        with path.open("rb") as file:
            packed = PACKED if file.read(4) == b"$FL3" else 1
        if rows < 0 or rows * columns > packed * size:  # each cell takes a byte at least
            told = f"its header tells of {rows:,} rows of {columns:,} columns, more than it holds"
            found = Answer(None, {}, {}, (0, 0), told)
        elif rows * columns > MOST_CELLS:
            found = Answer(None, {}, {}, (rows, columns))
        else:
            frame, header = pyreadstat.read_sav(
                str(path), apply_value_formats=False, user_missing=False
            )
            found = Answer(
                numbered(frame), header.variable_value_labels, header.variable_measure, (0, 0)
            )
    except (pyreadstat.ReadstatError, pyreadstat.PyreadstatError, *SPSS_DAMAGE) as error:
        found = Answer(None, {}, {}, (0, 0), " ".join(str(error).split()) or type(error).__name__)
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
