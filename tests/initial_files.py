"""Data files that look like those of real trials, each with its own way of saying what is what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pyreadstat

PATIENTS = 120


def trial(seed: int = 1) -> pd.DataFrame:
    """Two arms, ten therapists, an alliance, a baseline and a follow-up; names as in this house."""
    random = np.random.default_rng(seed)
    therapist = random.integers(1, 11, PATIENTS)
    arm = random.integers(1, 3, PATIENTS)
    wai = random.normal(60, 9, PATIENTS).clip(12, 84).round()
    pre = random.normal(17, 4, PATIENTS).clip(0, 27).round()
    post = pre - 3 - 2 * (arm == 1) - 0.1 * (wai - 60) + random.normal(0, 3, PATIENTS)
    return pd.DataFrame(
        {
            "patient": [f"P{k:03d}" for k in range(1, PATIENTS + 1)],
            "therapist": therapist,
            "arm": arm,
            "wai": wai,
            "pre": pre,
            "post": post.clip(0, 27).round(),
            "age": random.normal(44, 12, PATIENTS).clip(18, 75).round(),
            "sex": random.integers(1, 3, PATIENTS),
        }
    )


ARMS = {1: "Cognitive therapy", 2: "Usual care"}
SEX = {1: "female", 2: "male"}


def spss(folder: Path) -> Path:
    """Labels of values and columns, user-missing values that are declared."""
    frame = trial().drop(columns="patient")
    frame.insert(0, "code", np.arange(1001.0, 1001 + PATIENTS))
    frame["edu"] = np.resize([1.0, 2, 3], PATIENTS)
    frame.loc[[4, 9], "age"] = 999
    frame = frame.rename(columns={"wai": "q17", "pre": "phq_t0", "post": "phq_t1", "arm": "cond"})
    titles = {
        "code": "Patient number", "therapist": "Treating clinician", "cond": "Allocated arm",
        "q17": "Working Alliance Inventory, total score", "phq_t0": "PHQ-9 depression at baseline",
        "phq_t1": "PHQ-9 depression after treatment", "age": "Age in years", "sex": "Sex",
        "edu": "Education",
    }  # fmt: skip
    path = folder / "trial.sav"
    pyreadstat.write_sav(
        frame,
        str(path),
        column_labels=[titles[name] for name in frame.columns],
        variable_value_labels={
            "cond": ARMS, "sex": SEX, "edu": {1: "none", 2: "school", 3: "university"}
        },
        missing_ranges={"age": [999]},
    )  # fmt: skip
    return path


def stata(folder: Path) -> Path:
    """Three labelled arms, and labels of missing values."""
    frame = trial().rename(columns={"pre": "bdi_pre", "post": "bdi_post", "wai": "wai_total"})
    random = np.random.default_rng(5)
    frame["arm"] = random.integers(1, 4, PATIENTS)
    frame["employed"] = random.choice([0, 1, 1, 0, 1, 9], PATIENTS)
    frame = frame.drop(columns="patient").assign(id=np.arange(1, PATIENTS + 1))
    path = folder / "trial.dta"
    frame.to_stata(
        path,
        write_index=False,
        value_labels={
            "arm": {1: "CBT", 2: "IPT", 3: "Waiting list"},
            "sex": SEX,
            "employed": {0: "no", 1: "yes", 9: "not answered"},
        },
        version=118,
    )
    return path


def excel(folder: Path) -> Path:
    """A codebook on the first sheet, and a title above the table on the second."""
    frame = trial().rename(columns={"pre": "pain_0", "post": "pain_8w", "wai": "WAI total"})
    frame["arm"] = frame["arm"].map({1: "Exercise", 2: "Control"})
    book = openpyxl.Workbook()
    codebook, sheet = book.worksheets[0], book.create_sheet("Data")
    codebook.title = "Codebook"
    for row in (["Column", "Meaning"], ["patient", "number"], ["WAI total", "alliance"]):
        codebook.append(row)
    sheet.append(["Back pain trial, export of 3 May 2024"])
    sheet.append(list(frame.columns))
    for row in frame.astype(object).to_numpy().tolist():
        sheet.append(row)
    path = folder / "trial.xlsx"
    book.save(path)
    return path


def long(folder: Path) -> Path:
    """A row for each patient and visit."""
    frame = trial()
    parts = [
        frame.drop(columns=["pre", "post"]).assign(visit=visit, hamd=frame[score])
        for visit, score in ((0, "pre"), (1, "post"))
    ]
    path = folder / "trial.csv"
    pd.concat(parts).sort_values(["patient", "visit"]).to_csv(path, index=False)
    return path


def wide(folder: Path) -> Path:
    """Several times and a rating of change; what was not seen is left empty."""
    frame = trial().rename(columns={"pre": "psfs_0", "post": "psfs_8w", "wai": "watoci"})
    random = np.random.default_rng(2)
    frame["psfs_6m"] = frame["psfs_8w"].where(random.random(PATIENTS) < 0.8)
    frame["gpe_8w"] = random.integers(-5, 6, PATIENTS)
    frame["arm"] = frame["arm"].map({1: "MCE", 2: "GE"})
    path = folder / "trial.csv"
    frame.to_csv(path, index=False)
    return path


def german(folder: Path) -> Path:
    """Semicolons, decimal commas, Windows-1252."""
    frame = trial().rename(
        columns={
            "patient": "Proband", "therapist": "Therapeut", "arm": "Gruppe", "wai": "WAI_Summe",
            "pre": "BDI_vorher", "post": "BDI_nachher", "age": "Alter", "sex": "Geschlecht",
        }
    )  # fmt: skip
    frame["Therapeut"] = [f"Dr. Müller {k}" for k in frame["Therapeut"]]
    frame["Gruppe"] = frame["Gruppe"].map({1: "Verhaltenstherapie", 2: "Warteliste"})
    frame["Geschlecht"] = frame["Geschlecht"].map({1: "weiblich", 2: "männlich"})
    frame["Alter"] += 0.5
    path = folder / "trial.csv"
    path.write_bytes(frame.to_csv(index=False, sep=";", decimal=",").encode("cp1252"))
    return path


REVERSED = ("wai_4", "wai_10")


def items(folder: Path) -> Path:
    """Twelve items of the alliance, two of them scored the other way round."""
    frame = trial().rename(columns={"pre": "core_pre", "post": "core_post"})
    random = np.random.default_rng(3)
    latent = (frame["wai"] - 60) / 9
    for k in range(1, 13):
        answer = (4 + 1.2 * latent + random.normal(0, 0.9, PATIENTS)).round().clip(1, 7)
        frame[f"wai_{k}"] = 8 - answer if f"wai_{k}" in REVERSED else answer
    frame["arm"] = frame["arm"].map({1: "CBT", 2: "TAU"})
    path = folder / "trial.csv"
    frame.drop(columns="wai").to_csv(path, index=False)
    return path


def coded(folder: Path) -> Path:
    """Numbers for categories, and numbers for what is missing."""
    frame = trial().rename(columns={"pre": "gad7_t1", "post": "gad7_t2", "arm": "treatment"})
    frame["marital"] = np.resize([1, 2, 3, 4, 2], PATIENTS)
    frame.loc[3, "marital"], frame.loc[[5, 50], "age"], frame.loc[8, "wai"] = 9, 999, -99
    frame["gad7_t1"], frame["gad7_t2"] = frame["gad7_t1"].clip(0, 21), frame["gad7_t2"].clip(0, 21)
    frame.loc[[11, 12], "gad7_t2"] = -9
    path = folder / "trial.csv"
    frame.to_csv(path, index=False)
    return path


def without_therapist(folder: Path) -> Path:
    path = folder / "trial.csv"
    frame = trial().rename(columns={"pre": "bdi_base", "post": "bdi_end"})
    frame.drop(columns="therapist").to_csv(path, index=False)
    return path


def without_ids(folder: Path) -> Path:
    path = folder / "trial.csv"
    frame = trial().rename(columns={"pre": "bdi.pre", "post": "bdi.post", "arm": "group"})
    frame.drop(columns="patient").to_csv(path, index=False)
    return path


def without_alliance(folder: Path) -> Path:
    """Capitals throughout, as a data management system exports them."""
    frame = trial().drop(columns="wai").rename(columns={"pre": "HAMD_BL", "post": "HAMD_V6"})
    frame = frame.rename(columns=str.upper).rename(
        columns={"PATIENT": "USUBJID", "THERAPIST": "INVESTIGATOR", "ARM": "ARMCD"}
    )
    frame["ARMCD"] = frame["ARMCD"].map({1: "ACTIVE", 2: "PLACEBO"})
    path = folder / "trial.csv"
    frame.to_csv(path, index=False)
    return path


def waiting_list(folder: Path) -> Path:
    """Therapists, and an alliance, in one arm alone."""
    frame = trial().rename(columns={"pre": "pcl5_pre", "post": "pcl5_post"})
    frame["arm"] = frame["arm"].map({1: "CBT", 2: "Waitlist"})
    frame["therapist"] = frame["therapist"].astype("Int64")
    frame.loc[frame["arm"] == "Waitlist", ["therapist", "wai"]] = pd.NA
    path = folder / "trial.csv"
    frame.to_csv(path, index=False)
    return path


FILES: dict[str, Callable[[Path], Path]] = {
    made.__name__: made
    for made in (
        spss, stata, excel, long, wide, german, items, coded, without_therapist, without_ids,
        without_alliance, waiting_list,
    )
}  # fmt: skip
