"""Several trials beside the same model written out in PyMC, patient by patient."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from posterior_agreement import differences
from trials_together import Rows, made_trials

from alliance.inference.sampling.profiles import SamplerProfile
from alliance.inference.sampling.trials import fit_trials
from alliance.models.priors import Priors
from alliance.models.trials.design import LEVEL, TrialsDesign

pytestmark = pytest.mark.validation
PRIORS = Priors()


def written_out(rows: Rows, design: TrialsDesign) -> xr.Dataset:
    """Draws of the model with every patient, therapist and trial in it: no cross-products."""
    scaling = design.pooled.scaling
    y = (rows.outcome - scaling.outcome[0]) / scaling.outcome[1]
    x = (rows.moderator - scaling.moderator[0]) / scaling.moderator[1]
    before = (rows.baseline - scaling.baseline[0]) / scaling.baseline[1]
    means = np.array([x[rows.trial == t].mean() for t in range(rows.trials)])
    x = x - means[rows.trial]
    basis = design.pooled.encoding.slope_weights[:, 1][rows.arm]
    T, J, t, j = rows.trials, int(rows.therapist.max()) + 1, rows.trial, rows.therapist
    with pm.Model():
        level = pm.Normal("level", 0, LEVEL * PRIORS.intercept, shape=T)
        baseline = pm.Normal("baseline", 0, PRIORS.baseline_slope, shape=T)
        arm = pm.Normal("arm", 0, PRIORS.arm)
        slope = pm.Normal("slope", 0, PRIORS.moderator_slope)
        interaction = pm.Normal("interaction", 0, PRIORS.interaction)
        across = pm.Normal("across", 0, PRIORS.interaction)
        sds = {
            name: pm.HalfNormal(name, getattr(PRIORS, name))
            for name in ("trial_arm_sd", "trial_slope_sd", "trial_interaction_sd", "therapist_sd",
                         "therapist_slope_sd")
        }  # fmt: skip
        own_arm = arm + sds["trial_arm_sd"] * pm.Normal("z_arm", shape=T) + across * means
        own_slope = slope + sds["trial_slope_sd"] * pm.Normal("z_slope", shape=T)
        own_interaction = interaction + sds["trial_interaction_sd"] * pm.Normal("z_int", shape=T)
        # LKJ(2) of two: (r + 1) / 2 has a Beta(2, 2) distribution
        half = pm.Beta("half", PRIORS.therapist_correlation, PRIORS.therapist_correlation)
        r = 2 * half - 1
        a, b = pm.Normal("z_u", shape=J), pm.Normal("z_v", shape=J)
        u = sds["therapist_sd"] * a
        v = sds["therapist_slope_sd"] * (r * a + pm.math.sqrt(1 - r**2) * b)
        sigma = pm.HalfNormal("sigma", PRIORS.residual_sd, shape=T)
        mean = level[t] + baseline[t] * before + own_arm[t] * basis + u[j]
        mean = mean + (own_slope[t] + own_interaction[t] * basis + v[j]) * x
        pm.Normal("y", mean, sigma[t], observed=y)
        tree = pm.sample(
            2000, tune=2000, chains=2, cores=2, random_seed=8, progressbar=False,
            nuts={"target_accept": 0.97},
        )  # fmt: skip
    return tree["posterior"].dataset


def test_the_exact_model_is_the_one_written_out() -> None:
    """Means of all that trials share, of SDs and of trials' levels, within 4 Monte Carlo errors."""
    rows = made_trials(4, 6, therapists=4, patients=15)
    design = rows.design()
    theirs = written_out(rows, design)
    profile = SamplerProfile("ci", chains=2, draws=4000, tune=1000)
    mine = fit_trials(design, PRIORS, profile, 2, engine="instant")[0]["posterior"].dataset
    names = ("trial_arm_sd", "trial_slope_sd", "trial_interaction_sd", "therapist_sd",
             "therapist_slope_sd")  # fmt: skip
    dims = ("chain", "draw")
    told = {
        "arm": mine["beta"].sel(coefficient="arm[1]", drop=True),
        "slope": mine["beta"].sel(coefficient="moderator", drop=True),
        "interaction": mine["beta"].sel(coefficient="interaction[1]", drop=True),
        "across": mine["trial_across"].isel(arm_basis=0, drop=True),
        **{name: mine[name] for name in names},
    }
    own = xr.Dataset(
        {name: (dims, values.transpose(*dims).values) for name, values in told.items()}
    )
    for name, several in (("sigma", mine["trial_residual_sd"]),
                          ("level", mine["trial_beta"].sel(coefficient="intercept"))):  # fmt: skip
        own[name] = ((*dims, "k"), several.transpose(*dims, "trial").values)
    other = xr.Dataset(
        {
            name: ((*dims, "k") if theirs[name].ndim == 3 else dims, theirs[name].values)
            for name in own.data_vars
        }
    )
    labels = {"k": np.arange(rows.trials)}
    away = differences(own.assign_coords(labels), other.assign_coords(labels))
    assert float(away["mean"].abs().max()) < 4, away
