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
    """Without gender: .858 as of repeated samples within 8%, 1.123 by Rubin's rules within 5%.

    And the shift of unseen scores of the drug's arm that leaves a chance of .975, at random else.
    """
    text = HAMD.replace('covariates = ["GENDER"]\n', "").replace("covariate_slope = 100\n", "")
    run = fitted(tmp_path, text, shared_data / "antidepressant_dia_wide.csv")
    rows = command("missing", run, "--assume", "j2r", *CSV)
    contrast = {"quantity": "arm_contrast"}
    printed = [0.092, -1.305, -1.929, -2.126]
    assert np.allclose(at(rows, "mean", **contrast), printed, atol=0.05)
    (tips,) = {float(row["tipping_shift"]) for row in command("missing", run, "--tip", *CSV)}
    # Printed 2.27; a quantile of .975 of 4,000 draws has a Monte Carlo error of .047 points of the
    # contrast, which are .2 points of a shift
    assert tips == pytest.approx(2.27, abs=0.1 + 3 * 0.2)
    last = contrast | {"visit": "v7"}
    assert at(rows, "sd", **last) == pytest.approx(0.858, rel=0.08)
    assert at(rows, "sd_information_anchored", **last) == pytest.approx(1.123, rel=0.05)


def test_investigators_as_therapists_beside_it(shared_data: Path, tmp_path: Path) -> None:
    """Posterior within a quarter of REML's SE at every visit, with their effects in both."""
    text = HAMD.replace('therapist = "none"', 'therapist = "intercept"')
    run = fitted(tmp_path, text, shared_data / "antidepressant_dia_wide.csv")
    rows = command("compare", run, *CSV)
    asked = {"quantity": "arm_contrast"}
    apart = at(rows, "posterior_mean", **asked) - at(rows, "reml_estimate", **asked)
    assert (np.abs(apart) < 0.25 * at(rows, "reml_se", **asked)).all()
