"""Outcomes over time that cannot be analysed: exit code 2, the place, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from command_line import alliance
from visit_trials import LONG, WIDE, patients, rows_of_visits


def long() -> pd.DataFrame:
    return rows_of_visits(patients()).sort_values(["id", "visit"]).reset_index(drop=True)


def twice() -> pd.DataFrame:
    frame = long()
    return pd.concat([frame, frame.iloc[[0]].assign(pain=1.0)], ignore_index=True)


def changing() -> pd.DataFrame:
    frame = long()
    frame.loc[1, "wai"] += 1
    return frame


def unknown() -> pd.DataFrame:
    frame = long()
    frame.loc[3, "visit"] = "w9"
    return frame


def one_each() -> pd.DataFrame:
    """Nobody at two visits: of each patient one score is kept."""
    frame = patients()
    for place, column in enumerate(("pain8", "pain26", "pain52")):
        frame.loc[frame["id"] % 3 != place, column] = float("nan")
    last = frame["id"] % 3 == 2
    frame.loc[last, "pain52"] = 30.0 + frame.loc[last, "id"] % 7
    return frame


class Bad(NamedTuple):
    text: str
    frame: Callable[[], pd.DataFrame]
    told: tuple[str, ...]


MANY = "visits = { " + ", ".join(f'v{k} = "p{k}"' for k in range(12)) + " }"
FEW = patients(40).iloc[:10].assign(**{f"p{k}": range(10) for k in range(12)})

CASES = {
    "a visit twice": Bad(LONG, twice, ("110", "'m6' twice", "Row 2", "correct the visit")),
    "a patient's column changes": Bad(
        LONG, changing, ("3 │ wai │ 6.9", "differs from row 2", "same value")
    ),
    "an unknown visit": Bad(LONG, unknown, ("5 │ visit │ w9", "Valid names: 'w8'")),
    "a visit nobody has": Bad(
        LONG.replace('"m12"]', '"m12", "m24"]').replace("26, 52]", "26, 52, 104]"),
        long,
        ("'m24'", "nobody"),
    ),
    "an empty visit": Bad(WIDE, lambda: patients().assign(pain52=float("nan")), ("pain_m12",)),
    "times that do not increase": Bad(
        WIDE.replace("[8, 26, 52]", "[8, 52, 26]"), patients, ("times", "does not increase")
    ),
    "one visit": Bad(
        WIDE.replace(', m6 = "pain26", m12 = "pain52"', "").replace("times = [8, 26, 52]", ""),
        patients,
        ("one visit is given", "followup"),
    ),
    "nobody at two visits": Bad(WIDE, one_each, ("two visits", "diagonal")),
    "more visits than patients": Bad(
        WIDE.replace(WIDE[WIDE.index("visits =") : WIDE.index("range = [0, 100]")], f"{MANY}\n"),
        lambda: FEW,
        ("12 visits and 10 analysed patients", "fewer visits"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_is_refused_with_place_and_remedy(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    (tmp_path / "study.toml").write_text(case.text, encoding="utf-8")
    case.frame().to_csv(tmp_path / "trial.csv", index=False)
    answer = alliance("check", tmp_path / "study.toml", tmp_path / "trial.csv", width=200)
    told = " ".join((answer.stdout + answer.stderr).split())
    print(told)
    assert answer.code == 2
    assert "Traceback" not in told
    for words in case.told:
        assert words in told
