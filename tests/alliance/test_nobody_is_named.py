"""Messages about a table without a header name no patient: its first line is one."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from command_line import alliance, small_trial, write_small_trial

# Of the first patient: what no message may hold
NAME, BORN, ADDRESS = "Maier-Quast", "1961-04-01", "Lindenallee"


def without_header(kind: str) -> pd.DataFrame:
    """The small trial's rows behind a name and another column, of which the first line is one."""
    rows = [list(row.values()) for row in small_trial()]
    numbers = [str(k) for k in range(len(rows))]
    other = {
        "date": [BORN, *(f"1970-01-{k % 28 + 1:02d}" for k in range(1, len(rows)))],
        "german date": ["01.04.1961", *["12.12.1970"] * (len(rows) - 1)],
        "text": [ADDRESS, *(f"street {letter}" for letter in numbers[1:])],
        "unnamed": ["", *numbers[1:]],
    }.get(kind, numbers)
    names = [NAME, *(f"other {k}" for k in numbers[1:])]
    table = [[name, cell, *row] for name, cell, row in zip(names, other, rows, strict=True)]
    if kind == "words alone":  # nothing in the line tells it from a header
        table = [[f"{cell}{letter}" for letter in "abcdefg"] for cell in names]
    if kind == "twice":
        table = [[line[0], line[0], *line[2:]] for line in table]
    return pd.DataFrame(table)


KINDS = ("date", "german date", "text", "unnamed", "words alone", "twice", "plain")


@pytest.mark.parametrize("ending", ["csv", "tsv", "xlsx"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_without_a_header_is_said_to_be_one(tmp_path: Path, kind: str, ending: str) -> None:
    write_small_trial(tmp_path)
    path = tmp_path / f"other.{ending}"
    table = without_header(kind)
    if ending == "xlsx":
        table.to_excel(path, header=False, index=False)
    else:
        table.to_csv(path, header=False, index=False, sep="," if ending == "csv" else "\t")
    for options in ((), ("--format", "csv"), ("--format", "json")):
        answer = alliance("check", tmp_path / "study.toml", path, *options)
        assert answer.code == 2
        printed = answer.stdout + answer.said
        assert "first line" in printed
        assert "into a line above it" in printed
        for cell in (NAME, BORN, "01.04.1961", ADDRESS, "P01"):
            assert cell not in printed
    fitted = alliance("fit", tmp_path / "study.toml", path, "--out", tmp_path / "run")
    assert fitted.code == 2
    assert NAME not in fitted.said


def test_a_column_without_a_name_is_named_by_its_place_alone(tmp_path: Path) -> None:
    write_small_trial(tmp_path)
    lines = (tmp_path / "trial.csv").read_text(encoding="utf-8").splitlines()
    extended = [f"{lines[0]},", f"{lines[1]},{NAME}", *(f"{line}," for line in lines[2:])]
    (tmp_path / "trial.csv").write_text("\n".join(extended), encoding="utf-8")
    answer = alliance("check", tmp_path / "study.toml", tmp_path / "trial.csv")
    assert answer.code == 2
    assert "column 8 has no name, but data, first in row 2." in answer.said
    assert NAME not in answer.said
