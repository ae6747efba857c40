"""Names that are no UTF-8, and settings of other programs: the same draws, or a word about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr
from command_line import alliance, write_small_trial
from run_folders import edited

from alliance.inference.runs.fit import Fit
from alliance.inference.runs.fitting import this_environment
from alliance.inference.runs.reproduction import _reasons
from alliance.inference.runs.run_folder import load_fit, save_fit

QUICK = ("--engine", "instant", "--profile", "ci", "--outcome", "gpe")


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes on Linux")
@pytest.mark.parametrize("where", ["file", "folder"])
def test_a_name_that_is_no_utf8_is_a_name(tmp_path: Path, where: str) -> None:
    """The last byte is half a letter. In one file, and as a part of a registry."""
    write_small_trial(tmp_path)
    odd = tmp_path / os.fsdecode(b"trial-\xff.csv")
    (tmp_path / "parts").mkdir()
    data = odd if where == "file" else tmp_path / "parts"
    (tmp_path / "trial.csv").rename(odd if where == "file" else data / odd.name)
    run = tmp_path / os.fsdecode(b"run-\xff")
    fitted = alliance("fit", tmp_path / "study.toml", data, "--out", run, *QUICK)
    assert fitted.code in (0, 3), fitted.stderr
    for command in ("summary", "diagnose"):
        for form in ("table", "csv", "json"):
            assert alliance(command, run, "--format", form).code in (0, 3)
    kept = json.loads((run / "manifest.json").read_text(encoding="utf-8"))["data"]
    assert "trial-" in json.dumps(kept)
    assert alliance("diagnose", run, "--data", tmp_path / os.fsdecode(b"no-\xfe.csv")).code == 2


FITTED = """
import sys
from pathlib import Path
from alliance.data_prep.simulator.simulation import simulate_trial
from alliance.data_prep.study.description import narrowed
from alliance.data_prep.trial.trial import trial_from_frame
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.runs.run_folder import save_fit
from alliance.inference.sampling.profiles import SamplerProfile
made = simulate_trial(seed=4, patients=60, therapists=4)
study = narrowed(made.study, outcomes=["gpe"])
trial = trial_from_frame(study, made.frame)
save_fit(fit_trial(trial, SamplerProfile("ci", chains=1, draws=40, tune=40), seed=1), sys.argv[1])
"""


@pytest.mark.mcmc
def test_single_precision_in_the_environment_changes_no_draw(tmp_path: Path) -> None:
    found = []
    for name, flags in (("plain", ""), ("single", "floatX=float32")):
        run = tmp_path / name
        given = ",".join([each for each in (os.environ.get("PYTENSOR_FLAGS"), flags) if each])
        subprocess.run(
            [sys.executable, "-c", FITTED, str(run)],
            env={**os.environ, "PYTENSOR_FLAGS": given},
            check=True,
        )
        found.append(load_fit(run).trees["gpe"]["posterior"].to_dataset())
    xr.testing.assert_identical(*(each.drop_attrs() for each in found))


def test_settings_that_can_move_a_draw_are_recorded_and_told(
    made_fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_fit(made_fit, tmp_path / "run")
    edited(tmp_path / "run", lambda manifest: manifest.update(environment={}))
    for name in list(this_environment()):  # of the machine that runs the tests
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTENSOR_FLAGS", "optimizer=None, base_compiledir=/tmp/x,floatX=float32")
    monkeypatch.setenv("NUMBA_ENABLE_AVX", "0")
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/tmp/y")
    assert this_environment() == {"NUMBA_ENABLE_AVX": "0", "PYTENSOR_FLAGS.optimizer": "None"}
    told = " ".join(_reasons(load_fit(tmp_path / "run"), 3, 3))
    assert "The run was made with PYTENSOR_FLAGS.optimizer not set; here it is None." in told
    assert "The run was made with NUMBA_ENABLE_AVX not set; here it is 0." in told
