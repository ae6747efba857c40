"""Designs that trials really have, from a file to a report, by the command line as a new user."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from command_line import alliance, csv_rows, missing_from, running_text

HEAD = 'title = "A trial"\n'
ARMS = '[arms]\nA = "Therapy A"\nB = "Therapy B"\n'
MODERATOR = '[moderator]\nlabel = "Alliance"\ncolumn = "wai"\nrange = [12, 84]\n'
OUTCOME = (
    '[outcomes.pain]\nlabel = "Pain"\nbaseline = "pain_0"\nfollowup = "pain_12"\n'
    'range = [0, 100]\nbetter = "lower"\n'
)
# What each study says, and what the summary must then have, or not have
DESIGNS: dict[str, tuple[str, set[str], set[str]]] = {
    "no therapists": (
        HEAD + '[columns]\npatient = "id"\narm = "arm"\n' + ARMS + MODERATOR + OUTCOME,
        {"interaction", "residual_sd"},
        {"therapist_sd", "therapist_icc"},
    ),
    "no moderator": (
        HEAD + '[columns]\npatient = "id"\ntherapist = "who"\narm = "arm"\n' + ARMS + OUTCOME,
        {"therapist_sd", "arm_contrast"},
        {"moderator_slope", "interaction"},
    ),
    "no ids": (
        HEAD + '[columns]\ntherapist = "who"\narm = "arm"\n' + ARMS + MODERATOR + OUTCOME,
        {"therapist_sd", "interaction"},
        set(),
    ),
    "therapists in one arm": (
        HEAD
        + '[columns]\npatient = "id"\ntherapist = "who"\narm = "arm"\n'
        + '[arms]\nA = "Therapy"\nWL = "Waiting list"\n'
        + MODERATOR
        + OUTCOME
        + '[model]\nwithout_therapist = ["WL"]\nmoderator_arms = ["A"]\n',
        {"therapist_sd", "moderator_slope"},
        {"interaction"},
    ),
    "a waiting list, neither therapist nor alliance": (
        HEAD
        + '[columns]\npatient = "id"\narm = "arm"\n'
        + '[arms]\nA = "Therapy"\nWL = "Waiting list"\n'
        + MODERATOR
        + OUTCOME
        + '[model]\nmoderator_arms = ["A"]\n',
        {"moderator_slope", "arm_contrast"},
        {"interaction", "therapist_sd"},
    ),
    "clinics": (
        HEAD
        + '[columns]\npatient = "id"\ntherapist = "who"\nclinic = "centre"\narm = "arm"\n'
        + ARMS
        + MODERATOR
        + OUTCOME,
        {"clinic_sd", "clinic_icc", "therapist_icc"},
        set(),
    ),
}


# What a command says where the design has no such thing; all others answer
NO_THERAPIST = "names no column of therapists"
REFUSED: dict[str, dict[str, str]] = {
    "no therapists": {"therapists": NO_THERAPIST, "loo by therapist": NO_THERAPIST},
    "no moderator": {"effects": "no [moderator]"},
    "no ids": {},
    "therapists in one arm": {},
    "a waiting list, neither therapist nor alliance": {
        "therapists": NO_THERAPIST,
        "loo by therapist": NO_THERAPIST,
    },
    "clinics": {},
}
# Where one arm has a slope, or none has, no trial can be planned to find slopes that differ
NOT_PLANNED = {
    "no moderator": "no [moderator]",
    "therapists in one arm": "the only arm with a slope",
    "a waiting list, neither therapist nor alliance": "the only arm with a slope",
}
SMALL = ("--patients", 120, "--therapists", 12)
# What `init` finds by itself in the file, told the column of therapists where there is one
DRAFTED = {
    "no therapists": ["# therapist: no column"],
    "no moderator": ["leave out this table for a trial without one"],
    "no ids": ["# patient: no column holds ids"],
    "therapists in one arm": ['without_therapist = ["WL"]', 'moderator_arms = ["A"]'],
    "a waiting list, neither therapist nor alliance": ['moderator_arms = ["A"]'],
    "clinics": ['clinic = "centre"', "8 of them, above 24 therapists"],
}


def simulated(name: str, folder: Path) -> tuple[Path, Path]:
    """A trial of the design, written by `alliance simulate`: study file and table."""
    template = folder / "template.toml"
    template.write_text(DESIGNS[name][0], encoding="utf-8")
    data = folder / "trial" / "data.csv"
    made = alliance(
        "simulate", data, "--study", template, "--patients", 120, "--therapists", 24, "--seed", 4
    )
    assert made.code == 0, made.stderr
    assert "SIMULATED" in made.said
    return data.with_name("study.toml"), data


@pytest.mark.parametrize("name", DESIGNS)
def test_a_study_file_is_a_template_of_a_trial(name: str, tmp_path: Path) -> None:
    study, data = simulated(name, tmp_path)
    truth = json.loads(data.with_name("truth.json").read_text(encoding="utf-8"))
    assert truth["simulated"] is True
    assert truth["parameters"]["arm_step"] == 0.3
    table = pd.read_csv(data)
    assert len(table) == 120
    if "centre" in table:  # nested, and said to be
        assert len(table[["who", "centre"]].drop_duplicates()) == len(set(table["who"]))
        assert "nested" in alliance("check", study, data).said
    if name == "therapists in one arm":
        assert table.loc[table["arm"] == "WL", ["who", "wai"]].isna().all(axis=None)
    assert alliance("check", study, data).code == 0


def first_steps(name: str, folder: Path) -> tuple[Path, Path, Path]:
    """A user's own file, drafted, read and fitted: study file, table and run."""
    own = folder / "own"
    own.mkdir()
    data, study, run = own / "data.csv", own / "study.toml", own / "run"
    simulated(name, folder)[1].rename(data)
    told = ["--therapist", "who"] if "who" in pd.read_csv(data) else []
    drafted = alliance("init", data, "--out", study, "--yes", *told)
    assert drafted.code == 0, drafted.stderr
    text = study.read_text(encoding="utf-8")
    assert not missing_from(text, DRAFTED[name])
    if name == "no moderator":  # as the draft asks: the baseline is no alliance
        text = re.sub(r"\[(moderator|priors)\]\n([^\[]|\[\d)*?(?=\n\[|\n# Col|\Z)", "", text)
        study.write_text(
            text.replace("followup =", 'baseline = "pain_0"\nfollowup ='), encoding="utf-8"
        )
    checked = alliance("check", study, data)
    assert checked.code == 0, checked.stderr
    fit = ("fit", study, data, "--out", run, "--engine", "instant", "--profile", "ci")
    fitted = alliance(*fit, "--draws", 250)
    assert fitted.code == 0, fitted.stderr
    return study, data, run


@pytest.mark.parametrize("name", DESIGNS)
def test_a_real_design_goes_from_a_file_to_answers(name: str, tmp_path: Path) -> None:
    """The report of every design is drawn in the long test below: two seconds for each."""
    run = first_steps(name, tmp_path)[2]
    summary = csv_rows(alliance("summary", run, "--format", "csv").stdout)
    wanted, absent = DESIGNS[name][1:]
    quantities = {row["quantity"] for row in summary}
    assert wanted <= quantities
    assert not absent & quantities
    answers: dict[str, tuple[object, ...]] = {
        "compare": (),
        "effects": (),
        "predict": (),
        "decide": ("--outcome", "pain_12", "--threshold", 5),
        "therapists": (),
        "loo": ("--refits", "none"),
        "loo by therapist": ("--by", "therapist", "--refits", "none"),
        "ppc": (),
        "diagnose": (),
    }
    refused = {}
    for command, options in answers.items():
        answer = alliance(command.split()[0], run, *options)
        assert answer.code in ((0, 3) if command == "diagnose" else (0, 2)), answer.stderr
        if answer.code == 2:
            refused[command] = answer.said
        elif command == "predict":
            told = "a new therapist in a new clinic" in running_text(answer.stdout)
            assert told == (name == "clinics")
    assert set(refused) == set(REFUSED[name])
    assert all(words in refused[command] for command, words in REFUSED[name].items())


@pytest.mark.validation
@pytest.mark.parametrize("name", DESIGNS)
def test_a_real_design_goes_on_to_a_report_and_a_plan(name: str, tmp_path: Path) -> None:
    study, data, run = first_steps(name, tmp_path)
    asked: dict[str, tuple[object, ...]] = {
        "sensitivity": (run,),
        "reproduce": (run,),
        "report": (run,),
        "calibrate": (study, *("--trials", 2, "--engine", "instant"), *SMALL),
        "assurance": (study, "--interaction", 0.3, "--trials", 4, *SMALL),
        "multiverse": (study, data, "--vary", "therapist", "--profile", "ci"),
    }
    refused = {}
    for command, arguments in asked.items():
        kept = ("--store", tmp_path / f"{command}.sqlite") if study in arguments else ()
        answer = alliance(command, *arguments, *kept)
        assert answer.code in (0, 2, 3), (command, answer.stderr)
        if answer.code == 2:
            refused[command] = answer.said
    assert set(refused) == ({"assurance"} if name in NOT_PLANNED else set())
    assert NOT_PLANNED.get(name, "") in refused.get("assurance", "")
    page = (run / "report.html").read_text(encoding="utf-8")
    assert ("clinic" in page) == (name == "clinics")


def test_an_arm_in_which_nobody_has_a_therapist_just_fits_without_therapist_effects(
    tmp_path: Path,
) -> None:
    """Therapist effects ask for the line that says so; without them there is nothing to ask."""
    study, data = simulated("therapists in one arm", tmp_path)
    text = study.read_text(encoding="utf-8").replace('without_therapist = ["WL"]\n', "")
    study.write_text(text, encoding="utf-8")
    asked = alliance("check", study, data)
    assert asked.code == 2
    assert 'without_therapist = ["WL"]' in asked.said
    assert alliance("check", study, data, "--therapist", "none").code == 0


@pytest.mark.validation
def test_classes_in_schools_have_the_components_that_statsmodels_finds(
    shared_data: Path, tmp_path: Path
) -> None:
    """The smoking prevention trial: REML of schools and classes within them, to 1% of the
    residual SD; the posterior's SDs hold both.
    """
    path = shared_data / "tvsfp_smoking_prevention.csv"
    if not path.is_file():
        pytest.skip("the trial's data are not here")
    table = pd.read_csv(path)
    table["room"] = table["class"]  # a word of Python in a formula
    table["arm"] = table["cc"].astype(str) + table["tv"].astype(str)
    data, study, run = tmp_path / "tvsfp.csv", tmp_path / "study.toml", tmp_path / "run"
    table.to_csv(data, index=False)
    study.write_text(
        'title = "School smoking prevention"\n'
        '[columns]\ntherapist = "class"\nclinic = "school"\narm = "arm"\n'
        '[arms]\n00 = "neither"\n10 = "curriculum"\n01 = "television"\n11 = "both"\n'
        '[moderator]\nname = "knowledge"\nlabel = "Knowledge before"\ncolumn = "thkspre"\n'
        "range = [0, 7]\n"
        '[outcomes.thks]\nlabel = "Knowledge after"\nfollowup = "thksord"\nrange = [1, 4]\n'
        'better = "higher"\n'
        '[model]\ntherapist = "intercept"\ninteraction = false\n',
        encoding="utf-8",
    )
    fitted = alliance("fit", study, data, "--out", run, "--engine", "instant")
    assert fitted.code == 0, fitted.stderr
    assert "28 clinics; each therapist works in one of them: nested" in fitted.said
    rows = csv_rows(alliance("compare", run, "--format", "csv").stdout)
    found = {row["quantity"]: row for row in rows}
    model = smf.mixedlm(
        "thksord ~ thkspre + C(arm)",
        table,
        groups="school",
        vc_formula={"class": "0 + C(room)"},
        re_formula="1",
    )
    wanted = model.fit(reml=True, method=["powell"])
    residual = np.sqrt(wanted.scale)
    sds = {
        "therapist_sd": np.sqrt(wanted.vcomp[0]),
        "clinic_sd": np.sqrt(float(wanted.cov_re.iloc[0, 0])),
        "residual_sd": residual,
    }
    for quantity, value in sds.items():
        row = found[quantity]
        assert float(row["reml_estimate"]) == pytest.approx(value, abs=0.01 * residual)
        assert float(row["posterior_lower"]) < value < float(row["posterior_upper"])
