"""FEV and antidepressant trials through the command line: what SAS and R print of them.

Near-flat priors, profile `standard`. The antidepressant trial's analyses have the change of the
score with the score before as a covariate at each visit; the score itself with that covariate has
the same contrasts.
"""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from alliance.data_prep.study.description import read_study
from alliance.data_prep.trial.trial import load_trial
from alliance.inference.answers.assumed_courses import course_table, courses, tipping_table
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.sampling.profiles import SamplerProfile

pytestmark = pytest.mark.validation

FLAT = """
intercept = 100
arm = 100
covariate_slope = 100
residual_sd = 10
residual_correlation = 1
"""
FEV = f"""
title = "FEV1 over time"
covariates = ["RACE", "SEX"]
[columns]
patient = "USUBJID"
arm = "ARMCD"
[arms]
PBO = "Placebo"
TRT = "Treatment"
[visits]
column = "AVISIT"
order = ["VIS1", "VIS2", "VIS3", "VIS4"]
[outcomes.fev]
label = "FEV1"
followup = "FEV1"
range = [0, 100]
better = "higher"
[priors]{FLAT}"""
HAMD = f"""
title = "Antidepressant trial"
covariates = ["GENDER"]
[columns]
patient = "PATIENT"
therapist = "POOLINV"
arm = "THERAPY"
[arms]
PLACEBO = "Placebo"
DRUG = "Drug"
[outcomes.hamd]
label = "HAMD-17"
baseline = "BASVAL"
visits = {{ v4 = "HAMDTL17_v4", v5 = "HAMDTL17_v5", v6 = "HAMDTL17_v6", v7 = "HAMDTL17_v7" }}
range = [0, 52]
better = "lower"
[model]
therapist = "none"
[priors]
baseline_slope = 100{FLAT}"""


CSV = ("--format", "csv")


def command(*words: object) -> list[dict[str, str]]:
    """Rows that a command prints as CSV, in a process of its own."""
    script = "from alliance.cli.app import main; main()"
    program = [sys.executable, "-c", script, *map(str, words)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 3), done.stderr  # 3: the gate asks for more draws
    return list(csv.DictReader(io.StringIO(done.stdout)))


def fitted(folder: Path, text: str, data: Path, *options: str) -> Path:
    (folder / "study.toml").write_text(text, encoding="utf-8")
    command("fit", folder / "study.toml", data, "--out", folder / "run", "--seed", "1", *options)
    return folder / "run"


def at(rows: list[dict[str, str]], name: str, **wanted: str) -> np.ndarray:
    own = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    assert own
    return np.array([float(row[name]) for row in own])


def test_fev_posterior_is_what_sas_prints(shared_data: Path, tmp_path: Path) -> None:
    """Means within .02 and 3 Monte Carlo errors of REML, SDs .99 to 1.05 of its SEs."""
    run = fitted(tmp_path, FEV, shared_data / "fev_long.csv")
    rows = [
        row
        for row in command("summary", run, *CSV)
        if row["quantity"] == "arm_contrast" and row["visit"].startswith("VIS")
    ]
    estimate, se = [3.7745, 3.7322, 3.0806, 4.3985], [1.0741, 0.8588, 0.6896, 1.6805]
    mean, sd, ess = (np.array([float(row[n]) for row in rows]) for n in ("mean", "sd", "ess_bulk"))
    assert (np.abs(mean - estimate) < 0.02 + 3 * sd / np.sqrt(ess)).all()
    assert (sd / se > 0.99).all()
    assert (sd / se < 1.05).all()


@pytest.fixture(scope="module")
def hamd(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hamd")
    return fitted(folder, HAMD, shared_data / "antidepressant_dia_wide.csv")


def test_reml_of_the_antidepressant_trial(hamd: Path) -> None:
    """DRUG - PLACEBO at visit 7: -2.829 (1.117), 150.7 degrees of freedom."""
    rows = command("compare", hamd, "--visit", "v7", *CSV)
    asked = {"outcome": "hamd_v7", "quantity": "arm_contrast"}
    assert at(rows, "reml_estimate", **asked) == pytest.approx(-2.829, abs=5e-4)
    assert at(rows, "reml_se", **asked) == pytest.approx(1.117, abs=5e-4)
    assert at(rows, "reml_df", **asked) == pytest.approx(150.7, abs=1)


@pytest.mark.parametrize(
    ("assumption", "printed"), [("mar", -2.83), ("cr", -2.40), ("j2r", -2.15), ("cir", -2.48)]
)
def test_assumptions_about_who_left(hamd: Path, assumption: str, printed: float) -> None:
    """By multiple imputation (rbmi, SAS): each within .05."""
    rows = command("missing", hamd, "--assume", assumption, *CSV)
    asked = {"quantity": "arm_contrast", "visit": "v7"}
    assert at(rows, "mean", **asked) == pytest.approx(printed, abs=0.05)
    if assumption == "mar":  # printed: .243 a point
        assert at(rows, "per_point", **asked) == pytest.approx(0.243, abs=5e-4)


def test_both_spreads_of_jump_to_reference(shared_data: Path, tmp_path: Path) -> None:
    """Without gender: .858 as of repeated samples within 8%, 1.123 by Rubin's rules within 5%."""
    text = HAMD.replace('covariates = ["GENDER"]\n', "").replace("covariate_slope = 100\n", "")
    run = fitted(tmp_path, text, shared_data / "antidepressant_dia_wide.csv")
    rows = command("missing", run, "--assume", "j2r", *CSV)
    contrast = {"quantity": "arm_contrast"}
    printed = [0.092, -1.305, -1.929, -2.126]
    assert np.allclose(at(rows, "mean", **contrast), printed, atol=0.05)
    last = contrast | {"visit": "v7"}
    assert at(rows, "sd", **last) == pytest.approx(0.858, rel=0.08)
    assert at(rows, "sd_information_anchored", **last) == pytest.approx(1.123, rel=0.05)


def test_where_the_drug_loses_significance(shared_data: Path, tmp_path: Path) -> None:
    """Printed 2.27: shifts of all unseen scores of DRUG by whole points, missing at random else.

    p values of Rubin's rules, with gender in the model; between 2 and 3 points, of which the first
    is significant and the second not, the shift at .05 is interpolated. 100,000 draws have a Monte
    Carlo error of .0035 points of the contrast, which are .015 points of a shift; 500 imputations
    moved the printed shift by .1 (their -2.803 where REML and 5,000 imputations have -2.829).
    Student's t with REML's 150.7 degrees of freedom.
    """
    study = tmp_path / "study.toml"
    study.write_text(HAMD, encoding="utf-8")
    trial = load_trial(read_study(study), shared_data / "antidepressant_dia_wide.csv")
    many = SamplerProfile("standard", chains=4, draws=25_000, tune=0)
    fit = fit_trial(trial, many, 1, engine="instant")
    found = courses([fit[name] for name in fit.outcomes])
    p = []
    for points in (2.0, 3.0):
        table = course_table(found.shifted("DRUG", points))
        last = table[table["quantity"] == "arm_contrast"].iloc[-1]
        t = abs(last["mean"]) / last["sd_information_anchored"]
        p.append(2 * stats.t(150.7).sf(t))
    assert p[0] < 0.05 < p[1]
    assert p[1] == pytest.approx(0.0675, abs=0.005)  # printed of 5,000 imputations
    assert 2 + (0.05 - p[0]) / (p[1] - p[0]) == pytest.approx(2.27, abs=0.1)
    # As the command gives it, between the draws and not between whole points
    tips = tipping_table(found)["tipping_shift_information_anchored"].iloc[0]
    contrast = course_table(found.shifted("DRUG", tips)).query("quantity == 'arm_contrast'")
    t = contrast["mean"].iloc[-1] / contrast["sd_information_anchored"].iloc[-1]
    assert 2 * stats.t(150.7).sf(abs(t)) == pytest.approx(0.05, abs=0.003)


def test_investigators_as_therapists_beside_it(shared_data: Path, tmp_path: Path) -> None:
    """Posterior within a quarter of REML's SE at every visit, with their effects in both."""
    text = HAMD.replace('therapist = "none"', 'therapist = "intercept"')
    run = fitted(tmp_path, text, shared_data / "antidepressant_dia_wide.csv")
    rows = command("compare", run, *CSV)
    asked = {"quantity": "arm_contrast"}
    apart = at(rows, "posterior_mean", **asked) - at(rows, "reml_estimate", **asked)
    assert (np.abs(apart) < 0.25 * at(rows, "reml_se", **asked)).all()
