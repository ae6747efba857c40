"""A small trial of three visits, in a table with a row for each patient or for each visit."""

from __future__ import annotations

import numpy as np
import pandas as pd

HEAD = """
title = "Pain over time"
[columns]
patient = "id"
therapist = "therapist"
arm = "arm"
[arms]
A = "Usual care"
B = "Exercise"
[moderator]
label = "Alliance"
column = "wai"
range = [0, 10]
"""
WIDE = f"""{HEAD}
[outcomes.pain]
label = "Pain"
baseline = "pain0"
visits = {{ w8 = "pain8", m6 = "pain26", m12 = "pain52" }}
times = [8, 26, 52]
range = [0, 100]
better = "lower"
"""
LONG = f"""{HEAD}
[visits]
column = "visit"
order = ["w8", "m6", "m12"]
times = [8, 26, 52]
[outcomes.pain]
label = "Pain"
baseline = "pain0"
followup = "pain"
range = [0, 100]
better = "lower"
"""
VISITS = {"pain8": "w8", "pain26": "m6", "pain52": "m12"}


def patients(n: int = 40, seed: int = 3) -> pd.DataFrame:
    """One row for each patient; a quarter leave before the last visit."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "id": np.arange(1, n + 1),
            "therapist": rng.integers(4, size=n),
            "arm": rng.permutation(np.resize(["A", "B"], n)),
            "wai": rng.uniform(1, 9, n).round(1),
            "pain0": rng.uniform(30, 70, n).round(),
        }
    )
    common = rng.normal(0, 6, n)
    for column in VISITS:
        frame[column] = (frame["pain0"] / 2 + common + rng.normal(10, 6, n)).clip(0, 100).round(1)
    frame.loc[rng.random(n) < 0.25, "pain52"] = np.nan
    return frame


def rows_of_visits(frame: pd.DataFrame) -> pd.DataFrame:
    kept = ["id", "therapist", "arm", "wai", "pain0"]
    found = frame.melt(kept, list(VISITS), "visit", "pain")
    return found.assign(visit=found["visit"].map(VISITS)).dropna(subset="pain")
