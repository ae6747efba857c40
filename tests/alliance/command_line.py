"""The command line run in this process, what it printed, and a small trial's files to spoil."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from alliance.cli.app import app

STUDY = """\
title = "A small trial"

[columns]
patient = "patient"
therapist = "therapist"
arm = "arm"

[arms]
GE = "General exercise"
MCE = "Motor control exercise"
SMT = "Manipulation"

[moderator]
label = "Working alliance"
column = "wai_total"
range = [16, 112]

[outcomes.function]
label = "Function"
baseline = "psfs_0"
followup = "psfs_8w"
range = [0, 30]
better = "higher"

[outcomes.gpe]
label = "Global perceived effect"
followup = "gpe_8w"
range = [-5, 5]
better = "higher"
"""
PATIENTS = 36
FRAME = "│┃┏┳┓┡╇┩└┴┘├┼┤━─╭╮╰╯"  # what rich draws tables and boxes with

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def said(self) -> str:
        """Standard error as running text: cells that were broken over lines put together."""
        return running_text(self.stderr)


def alliance(*arguments: object, width: int | None = None) -> Answer:
    """Run a command in this process; an exception that reaches the user fails the test."""
    environment = {"COLUMNS": None if width is None else str(width)}
    result = CliRunner(env=environment).invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise AssertionError("a traceback would reach the user") from result.exception
    return Answer(result.exit_code, result.stdout, result.stderr)


def running_text(printed: str) -> str:
    """Text without frames; the lines of each cell of a table follow one another."""
    pieces: list[list[str]] = []
    for line in printed.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("│┃").split("│")]
        if len(cells) > 1 and not cells[0] and pieces and len(pieces[-1]) == len(cells):
            pieces[-1] = [
                f"{upper} {lower}".strip() for upper, lower in zip(pieces[-1], cells, strict=True)
            ]
        else:
            pieces.append(cells)
    text = " ".join(" ".join(cells) for cells in pieces)
    return " ".join(text.translate(dict.fromkeys(map(ord, FRAME), " ")).split())


def small_trial() -> Rows:
    """A sound trial: three arms and three therapists, crossed; the first patient is in row 2."""
    rng = np.random.default_rng(11)
    rows = []
    for number in range(PATIENTS):
        rows.append(
            {
                "patient": f"P{number + 1:02d}",
                "therapist": f"T{number // 3 % 3 + 1}",
                "arm": ("GE", "MCE", "SMT")[number % 3],
                "wai_total": str(rng.integers(40, 113)),
                "psfs_0": str(rng.integers(3, 20)),
                "psfs_8w": str(rng.integers(3, 31)),
                "gpe_8w": str(rng.integers(-5, 6)),
            }
        )
    return rows


def trial_text(rows: Rows, delimiter: str = ",") -> str:
    names = list(rows[0])
    lines = [names, *([row[name] for name in names] for row in rows)]
    return "".join(delimiter.join(map(_quoted, line)) + "\n" for line in lines)


def _quoted(cell: str) -> str:
    return f'"{cell}"' if "," in cell else cell


def write_small_trial(folder: Path) -> None:
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    (folder / "trial.csv").write_text(trial_text(small_trial()), encoding="utf-8")


def contents(folder: Path) -> dict[str, bytes | None]:
    """Everything under a folder, hidden files included; None for a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def tables_in(printed: str) -> int:
    """Number of tables that rich drew."""
    return printed.count("┏")


def csv_rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def printed_columns(columns: Iterable[str]) -> list[str]:
    """Columns of a table for machines: labels behind the codes, and that data are simulated."""
    own = list(columns)
    labels = [f"{name}_label" for name in ("outcome", "arm", "level") if name in own]
    return [*own, *labels, "data"]


def missing_from(text: str, expected: Iterable[str]) -> list[str]:
    return [words for words in expected if words not in text]
