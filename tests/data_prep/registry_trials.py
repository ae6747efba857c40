"""Made tables, many of them damaged, as one file and in parts: what is said of either."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alliance.data_prep.errors import DataError, InputError
from alliance.data_prep.registry.registry import AFRESH, Registry, load_registry
from alliance.data_prep.study.description import Study
from alliance.data_prep.trial.trial import Trial, load_trial

STUDY = Study.model_validate(
    {
        "title": "Two arms",
        "columns": {"patient": "id", "therapist": "ther", "arm": "arm"},
        "arms": {"CBT": "Therapy", "TAU": "Usual care", "1": "Waiting"},
        "moderator": {"label": "Alliance", "column": "wai", "range": [0, 100]},
        "covariates": ["age", "site"],
        "missing_values": {"age": [-77], "*": ["x"]},
        "outcomes": {
            "dep": {
                "label": "Depression",
                "baseline": "pre",
                "followup": "post",
                "range": [0, 60],
                "better": "lower",
            },
            "cgi": {"label": "Rating", "followup": "cgi", "range": [-5, 5], "better": "higher"},
        },
    }
)
COLUMNS = ["id", "ther", "arm", "wai", "pre", "post", "age", "site", "cgi"]
CELLS = [
    "", "NA", "nan", "x", ".", "NULL", "0x1A", "12,5", "1e400", "inf", "-99", "999", "1.0", " 7 ",
    "1_0", "True", "9007199254740993", "CBT ", "cbt", "tau", "T1", "t1", "P7", "p7", "P007", "-77",
    "a very long text", "José", "Jose\u0301", "\u221212", "5", "1 000",
]  # fmt: skip


def table(random: np.random.Generator, rows: int = 60) -> pd.DataFrame:
    """Cells as text; nothing is wrong yet."""
    frame = pd.DataFrame(
        {
            "id": [f"P{k}" for k in range(rows)],
            "ther": random.choice(["T1", "T2", "T10", "T4"], rows),
            "arm": random.choice(["CBT", "TAU", "1"], rows),
            "wai": random.integers(20, 95, rows),
            "pre": random.integers(10, 60, rows),
            "post": random.normal(25, 6, rows).clip(0, 60).round(2),
            "age": random.integers(18, 80, rows),
            "site": random.choice(["north", "south", "east"], rows),
            "cgi": random.normal(1, 1, rows).clip(-5, 5).round(3),
        }
    )
    return frame.astype(str)


KINDS = 28


def damage(
    frame: pd.DataFrame, random: np.random.Generator, kind: int | None = None
) -> pd.DataFrame:
    """One kind of fault, or of what looks like one; any of them by default."""
    rows, columns = len(frame), list(frame.columns)
    kind = int(random.integers(KINDS)) if kind is None else kind
    if not {"pre", "age", "arm", "site", "id", "wai", "post"} <= set(columns):
        return frame
    column = str(random.choice(columns))
    if kind < 7:
        some = random.choice(rows, int(random.integers(1, 4)), replace=False)
        frame.loc[some, column] = random.choice(CELLS)
    elif kind == 7:
        again = frame.iloc[random.choice(rows, 2)]
        frame = pd.concat([frame, again], ignore_index=True)
    elif kind == 8:
        frame = frame.drop(columns=column)
    elif kind == 9:
        frame[column] = frame[column].iloc[0]
    elif kind == 10:
        frame[column] = ""
    elif kind == 11:
        frame["age"] = frame["pre"]
    elif kind == 12:
        frame["arm"] = "other"
    elif kind == 13:
        frame["site"] = frame["arm"]
    elif kind == 14:
        frame["site"] = [f"site {k}" for k in range(rows)]
    elif kind == 15:
        half = random.random(rows) < random.choice([0.3, 0.5, 0.7])
        frame["site"] = np.where(half, random.integers(1, 6, rows).astype(str), frame["site"])
    elif kind == 16:
        frame["site"] = random.integers(1, 5, rows).astype(str)
    elif kind == 17:
        frame.loc[frame["site"] == "east", "post"] = ""
    elif kind == 18:
        frame["id"] = [str(k) for k in range(rows)]
    elif kind == 19:
        frame.loc[frame["arm"] == "CBT", "wai"] = "50"
    elif kind == 22:
        frame["post"] = frame["pre"]
    elif kind == 23:
        effect = frame["ther"].map({"T1": 0.5, "T2": 1.25}).fillna(2)
        number = pd.to_numeric(frame["pre"], errors="coerce").fillna(10)
        frame["post"] = (effect + number / 2).astype(str)
    elif kind == 24:
        frame.loc[frame["arm"] == "TAU", str(random.choice(["ther", "wai", "age", "pre"]))] = ""
    elif kind == 25:
        frame.loc[frame["site"] == "north", "wai"] = ""
    elif kind == 26:
        frame["ther"] = [f"T{k}" for k in range(rows)]
    elif kind == 27:
        frame["ther"] = "T1"
    elif kind == 20:
        frame = frame.rename(columns={column: f" {column} "})
    else:
        frame.loc[random.choice(rows, 3, replace=False), :] = ""
    return frame


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns of numbers as numbers where every cell is one, as programs store them."""
    found = {}
    for name in frame.columns:
        numbers = pd.to_numeric(frame[name].replace("", np.nan), errors="coerce")
        whole = numbers.notna().eq(frame[name] != "").all() and numbers.notna().any()
        found[name] = numbers if whole else frame[name].replace("", None)
    return pd.DataFrame(found)


def write(frame: pd.DataFrame, path: Path) -> None:
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False)


def outcome_of(load: Any, path: Path) -> tuple[str, Any]:
    """What comes of a table: a trial or registry, or what is said against it."""
    try:
        return "read", load(STUDY, path)
    except DataError as error:
        told = {
            (one.column, one.value, plain(one.rule), plain(one.remedy)) for one in error.problems
        }
        return "problems", told
    except InputError as error:
        return "refused", plain(error.problem)


def plain(text: str) -> str:
    """A message without the names of files, and the numbers of rows."""
    text = text.replace(f" {AFRESH}", "")
    text = re.sub(r"(rows were skipped:) [\d, ]+\.", r"\1", text)
    text = re.sub(r"Row \d+( of [\w.]+)?", "Row N", text)
    text = re.sub(r"((part\d+|whole)\.\w+,? )?rows? \d+(, \d+)*", "ROWS", text)
    text = re.sub(r"ROWS((;| and) (ROWS|\d+))*", "ROWS", text)
    return re.sub(r"(part\d+|whole)\.\w+", "FILE", text)


def notes(found: Trial | Registry) -> set[str]:
    return {plain(note) for note in found.notes}


def both(frame: pd.DataFrame, folder: Path, ending: str, parts: int) -> tuple[Any, Any]:
    """What comes of a table in one file, and of the same in many."""
    (folder / "many").mkdir(parents=True)
    write(frame, folder / f"whole{ending}")
    for k, rows in enumerate(np.array_split(np.arange(len(frame)), parts)):
        write(frame.iloc[rows], folder / "many" / f"part{k}{ending}")
    one = outcome_of(load_trial, folder / f"whole{ending}")
    return one, outcome_of(load_registry, folder / "many")
