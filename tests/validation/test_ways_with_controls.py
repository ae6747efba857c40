"""Trials with therapists in one arm: a plain PyMC model, recovery, calibration, common wrong ways.

``python tests/validation/test_ways_with_controls.py`` prints the table of docs/differences.md.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from nested_trials import nested_design, patients
from numpy.typing import NDArray
from posterior_agreement import differences
from scipy import stats

from alliance.inference.draws.datatree import draws_of
from alliance.inference.estimands.estimands import estimand_draws
from alliance.inference.many_fits.calibration import simulated_trial
from alliance.inference.posterior import Posterior
from alliance.inference.published.refits import refit
from alliance.inference.sampling.instant import instant_outcome
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.models.design.design import Design, build_design
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec

pytestmark = pytest.mark.validation
Array = NDArray[np.float64]

FLAT = Priors(
    intercept=30, baseline_slope=30, arm=30, moderator_slope=30, interaction=30, therapist_sd=3,
    residual_sd=10,
)  # fmt: skip
ARMS, WITHOUT = ("TAU", "CBT"), ("TAU",)
TRUTH: dict[str, Any] = {"therapist_sd": 0.6, "sds": (1.4, 1.0), "shift": 0.5}


def instant(design: Design, priors: Priors, draws: int, seed: int = 1) -> xr.Dataset:
    profile = SamplerProfile("ci", chains=2, draws=draws, tune=100)
    return draws_of(instant_outcome(design, priors, profile, seed)[0])


def test_near_flat_priors_give_the_posterior_of_a_plain_model() -> None:
    """Patient by patient in PyMC, with therapist effects sampled: 4 Monte Carlo errors."""
    import pymc as pm

    design = nested_design(ARMS, WITHOUT, False, "intercept", number=160, therapists=10, **TRUTH)
    treated = design.arm_index == 1
    with pm.Model(coords={"coefficient": list(design.coefficients)}):
        beta = pm.Normal("beta", 0, design.prior_sd(FLAT), dims="coefficient")
        therapist_sd = pm.HalfNormal("therapist_sd", FLAT.therapist_sd)
        sds = pm.HalfNormal("residual_sd", FLAT.residual_sd, shape=2)
        own = therapist_sd * pm.Normal("standard", 0, 1, shape=len(design.therapists))
        known = np.where(treated, design.therapist_index, 0)
        mean = design.X @ beta + treated * own[known]
        pm.Normal("y", mean, sds[np.where(treated, 0, 1)], observed=design.y)
        plain = pm.sample(
            5000, tune=2000, chains=4, cores=1, nuts_sampler="nutpie", random_seed=7,
            target_accept=0.95, progressbar=False,
        )  # fmt: skip
    names = ["beta", "therapist_sd", "residual_sd"]
    theirs = plain["posterior"].to_dataset()[names].rename(residual_sd_dim_0="residual_group")
    theirs = theirs.assign_coords(residual_group=["CBT", "TAU"])
    ours = instant(design, FLAT, 20_000)[names]
    away = differences(ours, theirs)
    print(away.to_string())
    assert away.abs().max().max() < 4


def test_reml_is_that_of_lme4_and_nlme() -> None:
    """lme4's ``(0 + treated | therapist)`` has one residual SD, and nlme's varIdent one for each.

    Estimates within 0.1 standard errors.
    """
    if shutil.which("Rscript") is None:
        pytest.skip("R is not installed; test_unequal_residuals has a dense likelihood instead")
    design = nested_design(ARMS, WITHOUT, False, "intercept", number=160, therapists=10, **TRUTH)
    frame = pd.DataFrame(design.X, columns=[f"x{k}" for k in range(design.X.shape[1])])
    treated = design.arm_index == 1
    alone = [f"alone{k}" for k in range(len(frame))]
    names = [f"T{j}" for j in design.therapist_index]
    frame = frame.assign(
        y=design.y, treated=treated.astype(float), therapist=np.where(treated, names, alone)
    )
    terms = " + ".join(f"x{k}" for k in range(1, design.X.shape[1]))
    script = f"""
    suppressPackageStartupMessages(library(nlme))
    d <- read.csv(file("stdin"))
    f <- lme(y ~ {terms}, random = list(therapist = pdDiag(~ 0 + treated)),
             weights = varIdent(form = ~ 1 | treated), data = d, method = "REML",
             control = lmeControl(opt = "optim", maxIter = 500, msMaxIter = 500))
    write.csv(data.frame(estimate = fixef(f), se = sqrt(diag(vcov(f)))), row.names = FALSE)
    """
    told = subprocess.run(
        ["Rscript", "-e", script], input=frame.to_csv(index=False), text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    theirs = pd.read_csv(StringIO(told.stdout))
    table = refit(design).set_index(["model", "quantity", "level"]).loc["reml"]
    row, unit = table.loc["baseline_slope", ""], design.scaling
    place = design.coefficients.index("baseline")
    scale = unit.outcome[1] / unit.baseline[1]
    assert row["estimate"] == pytest.approx(
        scale * theirs["estimate"][place], abs=0.1 * scale * theirs["se"][place]
    )
    assert row["se"] == pytest.approx(scale * theirs["se"][place], rel=0.02)


@pytest.mark.parametrize(
    ("case", "title"),
    [
        ((ARMS, WITHOUT, False, "intercept+slope"), "partially nested"),
        ((("A", "B"), (), True, "intercept+slope"), "residual SD by arm"),
    ],
)
def test_posteriors_are_calibrated_over_300_trials(case: Any, title: str) -> None:
    """True values from the priors; 95% intervals hold 95% of them within three binomial SDs (3.8%).

    All quantities together by ranks: none beyond a p-value of .01 after Holm.
    """
    design = nested_design(*case, number=120, therapists=9)
    ranks: dict[tuple[str, str], list[float]] = {}
    for number in range(300):
        trial = simulated_trial(design, Priors(), np.random.default_rng([15, number]))
        found = instant(trial.design, Priors(), 500, seed=number + 1)
        ours = estimand_draws(Posterior(trial.design, found)).transpose("estimand", ...)
        truth = estimand_draws(Posterior(trial.design, trial.draws)).transpose("estimand", ...)
        for own, true in zip(ours, truth, strict=True):
            label = (str(own["quantity"].item()), str(own["level"].item()))
            ranks.setdefault(label, []).append(float((own.values < true.values.item()).mean()))
    told = {}
    for label, shares in ranks.items():
        values = np.array(shares)
        covered = float(((values >= 0.025) & (values <= 0.975)).mean())
        told[label] = (covered, stats.kstest(values, "uniform").pvalue)
    table = pd.DataFrame.from_dict(told, orient="index", columns=["covered", "p"])
    print(f"\n{title}\n{table.round(3).to_string()}")
    assert (table["covered"] - 0.95).abs().max() < 0.038
    assert (table["p"].sort_values().to_numpy() * np.arange(len(table), 0, -1)).min() > 0.01


@dataclass(frozen=True)
class Way:
    """One way to analyse a trial in which an arm has no therapists."""

    name: str
    without: tuple[str, ...] = ()
    by_arm: bool = False
    therapist: Any = "intercept"
    controls: str = ""  # whom the patients of TAU are given: one dummy, each one of his own


WAYS = (
    Way("therapists in CBT alone, residual SDs by arm", WITHOUT),
    Way("one dummy therapist for all controls", controls="one"),
    Way("each control a therapist of his own", controls="each"),
    Way("no therapists in the model", therapist="none", controls="one"),
)


def analysed(rows: xr.Dataset, way: Way) -> Design:
    """The trial's design as this way has it."""
    therapist = rows["therapist_index"].values.copy()
    alone = np.flatnonzero(therapist < 0)
    names = list(rows["therapist"].values.astype(str))
    if way.controls == "one":
        therapist[alone] = len(names)
        names.append("dummy")
    if way.controls == "each":
        therapist[alone] = len(names) + np.arange(len(alone))
        names += [f"P{k}" for k in alone]
    rows = rows.drop_vars("therapist").assign_coords(therapist=names)
    spec = ModelSpec(
        "y", way.therapist, priors=FLAT, without_therapist=way.without, interaction=False
    )
    return build_design(rows.assign(therapist_index=("patient", therapist)), spec)


def ways_compared(
    trials: int, therapist_sd: float, sds: tuple[float, float], shift: float = 0.5
) -> pd.DataFrame:
    """What each way says of the arm contrast and the therapists' SD, over so many trials.

    96 patients, eight therapists of six patients or so in CBT; REML, whose 95% intervals have
    Satterthwaite's degrees of freedom, so that no prior helps.
    """
    rows = []
    for number in range(trials):
        data = patients(
            ARMS, WITHOUT, number=96, therapists=9, seed=1000 + number, shift=shift,
            therapist_sd=therapist_sd, sds=sds,
        )  # fmt: skip
        for way in WAYS:
            table = refit(analysed(data, way)).set_index(["model", "quantity", "level"])
            model = "ols" if way.therapist == "none" else "reml"
            contrast = table.loc[model, "arm_contrast", "CBT-TAU"]
            between = np.nan
            if way.therapist != "none":
                between = table.loc[(model, "therapist_sd", ""), "estimate"]
            rows.append(
                {
                    "way": way.name,
                    "covered": contrast["lower"] <= shift <= contrast["upper"],
                    "width": contrast["upper"] - contrast["lower"],
                    "error": contrast["estimate"] - shift,
                    "therapist_sd": between,
                    "squared": between**2,
                }
            )
    found = pd.DataFrame(rows).groupby("way", sort=False)
    return pd.DataFrame(
        {
            "coverage": found["covered"].mean(),
            "median width": found["width"].median(),  # some have no degree of freedom
            "true width": 2 * 1.96 * found["error"].std(),
            "therapist SD": np.sqrt(found["squared"].mean()),
        }
    )


SETTINGS = (
    (0.6, (1.0, 1.0)),
    (0.6, (1.6, 1.0)),
    (0.0, (1.6, 1.0)),
)
MANY = 100  # half a minute or so each


def test_wrong_ways_miss_and_the_right_one_does_not() -> None:
    """100 trials: a coverage of 95% is met within 6.5% (three binomial SDs)."""
    for therapist_sd, sds in SETTINGS:
        table = ways_compared(MANY, therapist_sd, sds)
        print(f"\ntherapist SD {therapist_sd}, residual SDs {sds}\n{table.round(3).to_string()}")
        assert table["coverage"].iloc[0] > 0.95 - 0.065
    # Noise of the controls is taken for therapists
    assert table["therapist SD"].iloc[2] > 2 * table["therapist SD"].iloc[0]


if __name__ == "__main__":
    for therapist_sd, sds in SETTINGS:
        print(therapist_sd, sds, f"\n{ways_compared(MANY, therapist_sd, sds).round(3).to_string()}")
