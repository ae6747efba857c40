"""Visits sampled: against SAS with near-flat priors, and against the model written out in PyMC."""

from __future__ import annotations

from pathlib import Path

import arviz_stats
import numpy as np
import nutpie
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import pytest

from alliance.inference.sampling.profiles import PROFILES
from alliance.inference.sampling.visits import sample_visits
from alliance.models.priors import Priors
from alliance.models.visits.covariance import CovarianceShape
from alliance.models.visits.likelihood import VisitModel
from alliance.models.visits.moments import terms_at, visit_moments, visit_terms


def monte_carlo_error(draws: np.ndarray) -> np.ndarray:
    """Of the mean, over (chain, draw, ...), from effective draws."""
    flat = draws.reshape(*draws.shape[:2], -1)
    ess = [arviz_stats.ess(flat[..., k]) for k in range(flat.shape[-1])]
    sd = flat.std(axis=(0, 1))
    return np.asarray(sd / np.sqrt(np.array(ess, dtype=float)))


@pytest.mark.mcmc
def test_fev_with_near_flat_priors_is_what_sas_prints(shared_data: Path) -> None:
    """Means within .02 and 3 Monte Carlo errors of REML, SDs .99 to 1.05 of its SEs."""
    rows = pd.read_csv(shared_data / "fev_long.csv")
    scores = rows.pivot_table(index="USUBJID", columns="AVISIT", values="FEV1")
    own = rows.drop_duplicates("USUBJID").set_index("USUBJID").loc[scores.index]
    columns = [
        np.ones(len(own)),
        own["ARMCD"] == "TRT",
        own["RACE"] == "Black or African American",
        own["RACE"] == "White",
        own["SEX"] == "Female",
    ]
    X, Y = np.column_stack(columns).astype(float), scores.to_numpy()
    sd = np.nanstd(Y)
    terms = visit_terms((True, True, False, False, False), 4)
    moments = visit_moments(X, (Y - np.nanmean(Y, axis=0)) / sd)
    model = VisitModel(moments, terms, terms_at([]), np.full(len(terms), 1e-4))
    flat = Priors(residual_sd=10.0, residual_correlation=1.0)
    shape = CovarianceShape("unstructured", 4)
    found = sample_visits("fev", model, shape, flat, PROFILES["standard"], 1)
    contrast = found.beta[..., 4:8] * sd
    estimate, se = [3.7745, 3.7322, 3.0806, 4.3985], [1.0741, 0.8588, 0.6896, 1.6805]
    off = np.abs(contrast.mean(axis=(0, 1)) - estimate)
    assert (off < 0.02 + 3 * monte_carlo_error(contrast)).all()
    ratio = contrast.std(axis=(0, 1)) / se
    assert (ratio > 0.99).all()
    assert (ratio < 1.05).all()


@pytest.mark.validation
@pytest.mark.filterwarnings("ignore:PyTensor could not link")
@pytest.mark.parametrize("structure", ["unstructured", "compound_symmetry"])
def test_therapists_and_visits_are_those_of_the_model_written_out(structure: str) -> None:
    """Means of coefficients, SDs, correlations and effects within 4 Monte Carlo errors."""
    rng = np.random.default_rng(5)
    n, V, J = 90, 3, 8
    X = np.column_stack([np.ones(n), rng.standard_normal(n), rng.integers(2, size=n) - 0.5])
    therapist = rng.integers(J, size=n)
    effect = rng.standard_normal((J, 2)) * (0.5, 0.3)
    Y = X @ np.array([0.0, 0.3, 0.4])
    Y = Y + (X[:, :2] * effect[therapist]).sum(axis=1)
    Y = Y[:, None] + 0.6 * rng.standard_normal((n, 1)) + 0.6 * rng.standard_normal((n, V))
    Y[rng.random((n, V)) < 0.2] = np.nan
    priors = Priors()
    terms = visit_terms((True, True, True), V)
    scale = np.repeat([1.0, 0.3, 0.5], V)
    moments = visit_moments(X, Y, None, therapist, J, (0, 1))
    model = VisitModel(moments, terms, terms_at([(V, 0), (V, 1)]), 1 / scale**2)
    shape = CovarianceShape(structure, V, correlated=2)
    found = sample_visits("y", model, shape, priors, PROFILES["standard"], 3)

    with pm.Model() as written_out:
        beta = pm.Normal("beta", 0, scale)
        if structure == "unstructured":
            chol, _, sds = pm.LKJCholeskyCov(
                "chol", n=V, eta=2, sd_dist=pm.HalfNormal.dist(priors.residual_sd, shape=V)
            )
            covariance = chol @ chol.T
        else:
            sds = pm.HalfNormal("sds", priors.residual_sd, shape=V)
            share = pm.Beta("share", 2, 2)
            r = -1 / (V - 1) + (1 + 1 / (V - 1)) * share
            correlation = r * np.ones((V, V)) + (1 - r) * np.eye(V)
            covariance = sds[:, None] * correlation * sds[None, :]
        pm.Deterministic("sd", sds)
        own = 2 * pm.Beta("own", 2, 2) - 1  # LKJ(2) of two
        spread = pm.HalfNormal("therapist_sds", 0.3, shape=2)
        factor = pt.stacklists(
            [[spread[0], 0.0], [spread[1] * own, spread[1] * pt.sqrt(1 - own**2)]]
        )
        standard = pm.Normal("standard", 0, 1, shape=(J, 2))
        u = pm.Deterministic("u", standard @ factor.T)
        mean = X @ beta.reshape((3, V)) + (X[:, :2] * u[therapist]).sum(axis=1)[:, None]
        seen = ~np.isnan(Y)
        for kind in np.unique(seen, axis=0):
            places, some = np.flatnonzero(kind), np.flatnonzero((seen == kind).all(axis=1))
            if len(places):
                rows = np.ix_(some, places)
                pm.MvNormal(
                    f"y{''.join(map(str, places))}",
                    mean[some][:, places],
                    cov=covariance[places][:, places],
                    observed=Y[rows],
                )
    plain = nutpie.sample(
        nutpie.compile_pymc_model(written_out),
        draws=1000,
        tune=1000,
        chains=4,
        seed=1,
        progress_bar=False,
    )["posterior"]
    first = found.raw["posterior"]
    pairs = {
        "beta": (found.beta, plain["beta"].values),
        "sd": (first["residual_sd"].values[:, :, 0], plain["sd"].values),
        "therapist": (
            np.stack([first["therapist_sd"], first["therapist_slope_sd"]], axis=-1),
            plain["therapist_sds"].values,
        ),
        "u": (found.effects, plain["u"].values),
    }
    for own_draws, other in pairs.values():
        difference = own_draws.mean(axis=(0, 1)) - other.mean(axis=(0, 1))
        error = np.hypot(monte_carlo_error(own_draws), monte_carlo_error(other))
        assert (np.abs(difference).ravel() < 4 * error).all()
