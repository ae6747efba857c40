"""Runs of many files: the draws of one file, kept without rows, and effects that are summed up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from alliance.data_prep.errors import InputError
from alliance.data_prep.registry.registry import load_registry
from alliance.data_prep.simulator.simulation import Simulated, simulate_trial
from alliance.data_prep.study.description import narrowed
from alliance.data_prep.trial.trial import trial_from_frame
from alliance.diagnostics.gate.fit_gate import FitChecks, check_draws
from alliance.inference.answers.decisions import decisions
from alliance.inference.answers.effects import effects_along, effects_table
from alliance.inference.answers.predictions import predict
from alliance.inference.answers.unseen_improvement import unseen_improvement
from alliance.inference.draws.datatree import compression, draws_of, netcdf_bytes
from alliance.inference.published.comparison import compare
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.fitting import fit_registry, fit_trial
from alliance.inference.runs.run_folder import load_fit, save_fit
from alliance.inference.sampling.engines import fit_outcome
from alliance.inference.sampling.profiles import MANY_THERAPISTS, SamplerProfile, find_profile
from alliance.inference.scores.thresholds import Thresholds
from alliance.models.design.design import build_design, moments_design
from alliance.models.spec import specify

CI = find_profile("ci")


@pytest.fixture(scope="module")
def made() -> Simulated:
    trial = simulate_trial(seed=6, patients=400, therapists=20)
    return replace(trial, study=narrowed(trial.study, outcomes=["pain", "gpe"]))


@pytest.fixture(scope="module")
def folder(made: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    parts = tmp_path_factory.mktemp("registry")
    for k, rows in enumerate(np.array_split(np.arange(400), 3)):
        made.frame.iloc[rows].to_parquet(parts / f"{k}.parquet", index=False)
    return parts


@pytest.fixture(scope="module")
def rowless(made: Simulated, folder: Path) -> Fit:
    return fit_registry(load_registry(made.study, folder), CI, 5, engine="instant")


def test_the_posterior_is_that_of_the_rows(made: Simulated, rowless: Fit) -> None:
    """To the rounding of the moments; given the same moments, bit for bit."""
    fit = fit_trial(trial_from_frame(made.study, made.frame), CI, 5, engine="instant")
    one, other = fit.summary(), rowless.summary()
    np.testing.assert_allclose(one["mean"], other["mean"], rtol=1e-6, atol=1e-6)
    assert one[["outcome", "quantity", "level"]].equals(other[["outcome", "quantity", "level"]])
    assert fit.priors().round(9).equals(rowless.priors().round(9))
    design = rowless.design("pain")
    own = build_design(trial_from_frame(made.study, made.frame).analysed("pain"), fit.specs["pain"])
    given = replace(own, given=(design.moments,))
    for engine in ("instant",):
        trees = [
            fit_outcome(each, fit.specs["pain"].priors, CI, 5, engine=engine)[0]
            for each in (design, given)
        ]
        assert draws_of(trees[0]).equals(draws_of(trees[1]))


def test_contrasts_along_the_alliance_need_no_rows(made: Simulated, rowless: Fit) -> None:
    """As the fit of the rows has them, to the rounding of the moments; shares are not told."""
    whole = fit_trial(trial_from_frame(made.study, made.frame), CI, 5, engine="instant")
    values = [70.0, 90.0]
    one, other = (effects_along(fit["pain"], values=values) for fit in (whole, rowless))
    assert other.ratings.size == 0
    assert (other.crossings, other.chosen) == ((), None)
    assert other.patients == one.patients
    tables = [effects_table(each, every=False) for each in (one, other)]
    for quantity in ("arm_contrast", "expected_score", "interaction"):
        mine, theirs = (table[table["quantity"] == quantity] for table in tables)
        np.testing.assert_allclose(mine["mean"], theirs["mean"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(mine["lower"], theirs["lower"], rtol=1e-5, atol=1e-5)
    asked = [
        decisions(fit["pain"], Thresholds(better_by=0.5), values=values).table
        for fit in (whole, rowless)
    ]
    own = asked[0][asked[0]["quantity"] == "arm_contrast"].reset_index(drop=True)
    assert set(asked[1]["quantity"]) == {"arm_contrast"}
    np.testing.assert_allclose(own["mean"], asked[1]["mean"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(own["prob_better_by"], asked[1]["prob_better_by"], atol=0.002)
    for impossible in (
        lambda: decisions(rowless["pain"], Thresholds(reach=3.0)),
        lambda: predict(rowless["pain"], thresholds=Thresholds(at_least=3.0)),
    ):
        with pytest.raises(InputError, match="holds no patients' rows"):
            impossible()
    scores = [predict(fit["pain"]).table["expected"] for fit in (whole, rowless)]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-5)


def test_the_range_without_rows_is_two_sds_within_the_scale(rowless: Fit) -> None:
    mean, sd = rowless.design("pain").scaling.moderator
    low, high = rowless["pain"].observed_alliance
    ends = rowless.study.measure.range
    assert (low, high) == (max(ends[0], mean - 2 * sd), min(ends[1], mean + 2 * sd))
    with pytest.raises(InputError, match="extrapolate"):
        effects_along(rowless["pain"], values=[mean - 2.5 * sd])


@pytest.mark.mcmc
def test_nuts_needs_no_rows_either(made: Simulated, folder: Path) -> None:
    """Bit for bit the draws of a design with these moments and rows; slopes taken apart too."""
    study = narrowed(made.study, outcomes=["pain"], alliance="within_between")
    registry = load_registry(study, folder)
    spec = specify(study)["pain"]
    design = moments_design(registry.moments["pain"], spec, list(study.arms), registry.covariates)
    own = build_design(trial_from_frame(study, made.frame).analysed("pain"), spec)
    short = SamplerProfile("ci", 2, 50, 50)
    trees = [
        fit_outcome(each, spec.priors, short, 5)[0]
        for each in (design, replace(own, given=(design.moments,)))
    ]
    assert draws_of(trees[0]).equals(draws_of(trees[1]))
    table = fit_registry(registry, short, 5).summary()
    assert {"within", "between"} <= set(table["level"])
    assert table["quantity"].eq("therapist_mean_reliability").any()


def test_a_run_without_rows_comes_back(rowless: Fit, tmp_path: Path) -> None:
    save_fit(rowless, tmp_path / "run")
    again = load_fit(tmp_path / "run")
    assert again.rowless
    assert again.summary().equals(rowless.summary())
    assert again.priors().equals(rowless.priors())
    assert again.manifest["data"]["parts"] == ["0.parquet", "1.parquet", "2.parquet"]
    assert again.design("pain").therapists == rowless.design("pain").therapists
    assert all(report.verdict != "FAIL" for report in check_draws(again))
    assert all(not report.model for report in FitChecks(again).reports)


def test_what_needs_rows_says_so(rowless: Fit) -> None:
    for ask in (
        lambda: rowless.patients("pain"),
        lambda: FitChecks(rowless).model,
        lambda: unseen_improvement(rowless["pain"]),
    ):
        with pytest.raises(InputError, match=r"no patients' rows.*sample_therapists"):
            ask()


def test_refits_need_no_rows(made: Simulated, rowless: Fit) -> None:
    """OLS, robust and REML are made of cross-products: the same numbers as of the rows."""
    fit = fit_trial(trial_from_frame(made.study, made.frame), CI, 5, engine="instant")
    one, other = compare(fit, robust=True), compare(rowless, robust=True)
    refits = [name for name in one if name.startswith(("ols", "reml"))]
    assert one["reml_estimate"].notna().sum() > 20
    pd.testing.assert_frame_equal(one[refits], other[refits], rtol=1e-5, atol=1e-9)
    assert one["refit_note"].equals(other["refit_note"])


def test_effects_of_many_therapists_are_summed_up(made: Simulated) -> None:
    """Means and SDs of the draws that would have been kept."""
    trial = trial_from_frame(narrowed(made.study, outcomes=["pain"]), made.frame)
    kept = fit_trial(trial, CI, 5, engine="instant")
    summed = fit_trial(trial, replace(CI, therapist_effects="summary"), 5, engine="instant")
    draws = draws_of(kept.trees["pain"])["therapist_effect"]
    summary = summed.trees["pain"]["therapist_summary"].dataset
    assert "therapist_effect" not in draws_of(summed.trees["pain"])
    sample = ("chain", "draw")
    np.testing.assert_allclose(summary["therapist_effect_mean"], draws.mean(sample), rtol=1e-9)
    np.testing.assert_allclose(summary["therapist_effect_sd"], draws.std(sample), rtol=1e-9)
    assert kept.summary().equals(summed.summary())
    assert kept.manifest["therapist_effects"] == {"pain": "draws"}
    assert summed.manifest["therapist_effects"] == {"pain": "summary"}
    assert summed.manifest["profile"]["therapist_effects"] == "summary"
    with pytest.raises(InputError, match='therapist_effects="draws"'):
        predict(summed["pain"], therapist=summed.design("pain").therapists[0])
    assert len(predict(summed["pain"], therapist="new").table)
    assert CI.keeps_draws(MANY_THERAPISTS - 1)
    assert not CI.keeps_draws(MANY_THERAPISTS)


def test_large_arrays_are_compressed_without_loss(tmp_path: Path) -> None:
    """But for draws of real numbers, whose last bits are noise."""
    rng = np.random.default_rng(1)
    dims = ("chain", "draw", "therapist")
    posterior = xr.Dataset(
        {
            "effect": (dims, rng.normal(size=(2, 2_000, 40))),
            "rank": (dims, rng.integers(40, size=(2, 2_000, 40))),
        }
    )
    patients = xr.Dataset({"X": (("patient", "column"), rng.normal(size=(40_000, 4)))})
    tree = xr.DataTree.from_dict({"posterior": posterior, "constant_data": patients})
    encoding = compression(tree)
    assert {node: list(own) for node, own in encoding.items()} == {
        "/posterior": ["rank"],
        "/constant_data": ["X"],
    }
    assert encoding["/posterior"]["rank"]["chunksizes"] == (1, 1_000, 40)
    written = netcdf_bytes(tree)
    assert written == bytes(tree.to_netcdf(engine="h5netcdf", encoding=encoding))
    (tmp_path / "tree.nc").write_bytes(written)
    with xr.open_datatree(tmp_path / "tree.nc", engine="h5netcdf") as again:
        assert again["posterior"].dataset.identical(posterior)
        assert again["constant_data"].dataset.identical(patients)
