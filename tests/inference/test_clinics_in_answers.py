"""Clinics in what is asked of a fit: likelihoods, predictions, REML and leaving out."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
import xarray as xr
from clinic_trials import covariance, design_with_clinics
from numpy.typing import NDArray
from scipy import stats
from statsmodels.tools.sm_exceptions import ConvergenceWarning

from alliance.data_prep.errors import InputError
from alliance.inference.draws.datatree import gaussian_draws
from alliance.inference.estimands.estimands import estimand_draws
from alliance.inference.pointwise.log_likelihood import (
    clinic_log_likelihood,
    marginal_log_likelihood,
    own_therapists,
)
from alliance.inference.posterior import Posterior
from alliance.inference.published.refits import refit
from alliance.inference.published.restricted_levels import LevelsLikelihood
from alliance.inference.sampling.instant import instant_outcome
from alliance.inference.sampling.profiles import PROFILES
from alliance.inference.scores.questions import predictor_at
from alliance.inference.scores.therapist_parts import (
    TherapistChoice,
    therapist_part,
    therapist_variance,
)
from alliance.models.design.design import Design
from alliance.models.priors import Priors

Array = NDArray[np.float64]


def with_differences(
    kind: str = "nested", seed: int = 2, sds: tuple[float, float] = (0.5, 0.6), **options: Any
) -> Design:
    """Therapists and clinics whose outcomes differ by so many residual SDs."""
    design = design_with_clinics(kind, therapist="intercept", **{"patients": 240, **options})
    random = np.random.default_rng(seed)
    y = random.standard_normal(len(design.y))
    y += sds[0] * random.standard_normal(len(design.therapists) + 1)[design.therapist_index]
    y += sds[1] * random.standard_normal(len(design.clinics))[design.clinic_of]
    return replace(design, y=y)


def fitted(design: Design, seed: int = 1) -> Posterior:
    tree, _ = instant_outcome(design, Priors(), PROFILES["ci"], seed)
    return Posterior(design, tree["posterior"].to_dataset())


def at(posterior: Posterior, d: int) -> dict[str, Array]:
    """Covariances and residual SDs of one draw, of the first chain."""
    draws = posterior.draws.isel(chain=0, draw=d)
    found = {"residual_sd": np.atleast_1d(draws["residual_sd"].values)}
    for level in ("therapist", "clinic"):
        sd = float(draws[f"{level}_sd"])
        found[level] = np.array([[sd**2]])
        if f"{level}_slope_sd" in draws:
            slope, r = float(draws[f"{level}_slope_sd"]), float(draws[f"{level}_correlation"])
            across = r * sd * slope
            found[level] = np.array([[sd**2, across], [across, slope**2]])
    return found


@pytest.mark.parametrize("kind", ["nested", "crossed"])
def test_a_clinic_left_out_has_the_density_of_its_own_patients(kind: str) -> None:
    """Of nested ones the dense normal of its rows; crossed, given the effects of who works
    elsewhere too.
    """
    design = with_differences(kind)
    posterior = fitted(design)
    found = clinic_log_likelihood(posterior).isel(chain=0).transpose("draw", "clinic").values
    works_in = {j: set(design.clinic_of[design.therapist_index == j])
                for j in range(len(design.therapists))}  # fmt: skip
    assert (kind == "crossed") == any(len(own) > 1 for own in works_in.values())
    for d in (0, 5):
        draw = posterior.draws.isel(chain=0, draw=d)
        beta = posterior.beta[d]
        effect = draw["therapist_effect"].values[:, 0]
        elsewhere = np.array([len(works_in[j]) > 1 for j in range(len(effect))])
        known = np.where(elsewhere, effect, 0.0)[design.therapist_index]
        V = covariance(design, at(posterior, d))
        for k in range(len(design.clinics)):
            rows = np.flatnonzero(design.clinic_of == k)
            own = V[np.ix_(rows, rows)].copy()
            j = design.therapist_index[rows]
            same = (j[:, None] == j) & elsewhere[j][:, None]
            own[same] -= float(draw["therapist_sd"]) ** 2
            centre = design.X[rows] @ beta + known[rows]
            density = stats.multivariate_normal.logpdf(design.y[rows], centre, own)
            density -= len(rows) * np.log(design.scale.unit)
            np.testing.assert_allclose(found[d, k], density, rtol=1e-8)
    if kind == "nested":  # clinics are then independent given the rest
        together = marginal_log_likelihood(posterior).isel(chain=0).values[:, 0]
        np.testing.assert_allclose(found.sum(axis=1), together, rtol=1e-9)


@pytest.mark.parametrize("kind", ["nested", "crossed"])
def test_reml_is_that_of_statsmodels_with_crossed_components(kind: str) -> None:
    """Variance components of one group of all patients; Powell's search stops at about 1%."""
    design = with_differences(kind, sds=(1.0, 1.0))
    X = design.X[:, design.present]
    frame = pd.DataFrame(X[:, 1:], columns=[f"x{k}" for k in range(1, X.shape[1])])
    frame = frame.assign(
        y=design.y, one=1, therapist=design.therapist_index, clinic=design.clinic_of
    )
    formula = "y ~ " + " + ".join(f"x{k}" for k in range(1, X.shape[1]))
    parts = {"therapist": "0 + C(therapist)", "clinic": "0 + C(clinic)"}
    model = smf.mixedlm(formula, frame, groups="one", vc_formula=parts, re_formula="0")
    with warnings.catch_warnings():  # it warns of variances below 0.01, whatever their unit
        warnings.simplefilter("ignore", ConvergenceWarning)
        wanted = model.fit(reml=True, method=["powell"])
    fit = LevelsLikelihood(design).maximise()
    residual = np.sqrt(wanted.scale)
    sds = dict(zip(model.exog_vc.names, np.sqrt(wanted.vcomp), strict=True))
    np.testing.assert_allclose(fit.residual_sds[0], residual, atol=1e-3 * residual)
    for level, own in (("therapist", fit.therapist_covariance), ("clinic", fit.clinic_covariance)):
        np.testing.assert_allclose(np.sqrt(own[0, 0]), sds[level], atol=0.01 * residual)
    np.testing.assert_allclose(fit.beta, wanted.fe_params.values, atol=1e-3 * residual)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.covariance)), wanted.bse_fe.values, rtol=0.02)


def test_reml_with_slopes_is_where_the_dense_restricted_likelihood_is_highest() -> None:
    design = replace(
        design_with_clinics(patients=150, clinic="intercept+slope"),
        y=with_differences(patients=150).y,
    )
    likelihood = LevelsLikelihood(design)
    fit = likelihood.maximise()
    X, y = design.X[:, design.present], design.y

    def dense(own: dict[str, Array]) -> float:
        V = covariance(design, own)
        inverse = np.linalg.inv(V)
        precision = X.T @ inverse @ X
        beta = np.linalg.solve(precision, X.T @ inverse @ y)
        r = y - X @ beta
        return float(np.linalg.slogdet(V)[1] + np.linalg.slogdet(precision)[1] + r @ inverse @ r)

    own = {
        "therapist": fit.therapist_covariance,
        "clinic": fit.clinic_covariance,
        "residual_sd": fit.residual_sds,
    }
    best = dense(own)
    assert best == pytest.approx(fit.criterion, abs=1e-6)
    random = np.random.default_rng(3)
    for _ in range(20):  # no other covariances near it are better
        other = {}
        for level in ("therapist", "clinic"):
            shift = 0.03 * random.standard_normal((2, 2))
            root = np.linalg.cholesky(own[level] + 1e-9 * np.eye(2)) + np.tril(shift)
            other[level] = root @ root.T
        other["residual_sd"] = own["residual_sd"] * np.exp(0.03 * random.standard_normal())
        assert dense(other) >= best - 1e-6


def test_shares_of_variance_add_up_with_the_residuals() -> None:
    posterior = fitted(with_differences())
    found = estimand_draws(posterior)
    values = {str(name): found.values[..., k].ravel()
              for k, name in enumerate(found["quantity"].values)
              if found["level"].values[k] == ""}  # fmt: skip
    total = values["clinic_sd"] ** 2 + values["therapist_sd"] ** 2 + values["residual_sd"] ** 2
    np.testing.assert_allclose(values["clinic_icc"], values["clinic_sd"] ** 2 / total)
    np.testing.assert_allclose(values["therapist_icc"], values["therapist_sd"] ** 2 / total)


def test_refits_answer_in_the_names_of_the_tidy_table() -> None:
    table = refit(with_differences("crossed"))
    own = table[table["model"] == "reml"].set_index("quantity")["estimate"]
    assert {"clinic_sd", "clinic_icc", "therapist_sd", "therapist_icc"} <= set(own.index)
    assert not table[table["model"] == "ols"]["quantity"].str.startswith("clinic").any()


def test_known_therapists_have_their_clinics_and_new_ones_new_clinics() -> None:
    design = with_differences()
    posterior = fitted(design)
    rows = posterior.rows
    alliance = posterior.alliance()
    average = predictor_at(posterior, rows, alliance)
    own = predictor_at(posterior, rows, alliance, own_therapists(posterior))
    effects = posterior.flat("therapist_effect")[:, design.therapist_index, 0]
    effects = effects + posterior.flat("clinic_effect")[:, design.clinic_of, 0]
    np.testing.assert_allclose(own - average, effects, atol=1e-10)
    # By name of the therapist alone: each works in one clinic
    named = therapist_part(posterior, TherapistChoice("known", design.labels), len(rows))
    np.testing.assert_allclose(predictor_at(posterior, rows, alliance, named), own)
    variance = therapist_variance(posterior, rows)[:, 0]
    wanted = posterior.flat("therapist_sd") ** 2 + posterior.flat("clinic_sd") ** 2
    np.testing.assert_allclose(variance, wanted)
    choice = TherapistChoice("new", ("A", "B", "A"), ("K", "K", "L"))
    part = therapist_part(posterior, choice, 3, np.random.default_rng(1))
    assert part is not None
    drawn = part.effect[:, part.index]
    np.testing.assert_array_equal(drawn[:, 0, 0], drawn[:, 2, 0])  # one therapist
    np.testing.assert_array_equal(drawn[:, 0, 1], drawn[:, 1, 1])  # one clinic
    assert not np.allclose(drawn[:, 0, 1], drawn[:, 2, 1])
    clinic = TherapistChoice("average", clinics=("C3",))
    there = therapist_part(posterior, clinic, len(rows))
    difference = predictor_at(posterior, rows, alliance, there) - average
    third = posterior.flat("clinic_effect")[:, [3], 0]
    np.testing.assert_allclose(difference, np.repeat(third, len(rows), axis=1), atol=1e-10)
    with pytest.raises(InputError, match="no clinic 'C99'"):
        therapist_part(posterior, TherapistChoice("average", clinics=("C99",)), 1)


def test_draws_of_clinics_are_read_back() -> None:
    design = design_with_clinics(clinic="intercept+slope")
    posterior = fitted(design)
    flat = gaussian_draws(posterior.draws, design)
    for name in ("clinic_sd", "clinic_slope_sd", "clinic_correlation"):
        np.testing.assert_array_equal(getattr(flat, name), posterior.flat(name))


def test_the_effects_are_drawn_for_every_draw() -> None:
    design = with_differences("crossed")
    posterior = fitted(design)
    assert posterior.draws["clinic_effect"].dims == ("chain", "draw", "clinic", "clinic_term")
    spread = posterior.draws["clinic_effect"].std(("chain", "draw"))
    assert (spread > 0.05).all()
    assert isinstance(posterior.draws, xr.Dataset)
