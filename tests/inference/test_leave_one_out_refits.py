"""Leave-one-out against brute force: fits without the patient or the therapist."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr
from arviz_stats.base import array_stats
from numpy.typing import NDArray
from scipy import stats

from alliance.data_prep.simulator.simulation import simulate_trial
from alliance.data_prep.study.description import narrowed
from alliance.data_prep.trial.trial import trial_from_frame
from alliance.inference.draws.datatree import draws_of
from alliance.inference.leaving_out.leave_one_out import LeaveOneOut, leave_one_out, log_mean_exp
from alliance.inference.leaving_out.therapists import (
    leave_therapist_out,
    without_patients,
)
from alliance.inference.leaving_out.without_therapist import WithoutTherapist
from alliance.inference.pointwise.log_likelihood import (
    patient_log_likelihood,
    therapist_log_likelihood,
)
from alliance.inference.posterior import Posterior
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.sampling.profiles import find_profile
from alliance.inference.sampling.sampling import sample_outcome
from alliance.models.design.design import Design

Array = NDArray[np.float64]
STANDARD = find_profile("standard")
LONG = find_profile("publication")  # of which the brute force has hardly an error of its own
SEED = 77  # of the brute force; the fits have another one
# Of some 60 z-scores altogether, one exceeds 4 in 260 runs
LARGEST_Z = 4.0
# The mean square of 12 or 30 z-scores, whose standard error is sqrt(2 / 12) or less, stays below
LARGEST_MEAN_SQUARE = 2.5


def fitted(outcome: str, **settings: object) -> Fit:
    made = simulate_trial(seed=1)
    study = narrowed(made.study, outcomes=[outcome], **settings)
    return fit_trial(trial_from_frame(study, made.frame), STANDARD, seed=1)


@pytest.fixture(scope="module")
def pain() -> Fit:
    return fitted("pain")


@dataclass(frozen=True)
class Estimate:
    """A log predictive density and its Monte Carlo standard error."""

    value: float
    error: float


def of_draws(log_density: Array, chains: int) -> Estimate:
    """Log of the mean density over draws, its error by the effective number of draws."""
    density = np.exp(log_density - log_density.max())
    ess = array_stats.ess(density.reshape(chains, -1), method="mean")
    error = density.std(ddof=1) / density.mean() / np.sqrt(ess)
    return Estimate(float(log_mean_exp(log_density[:, None])[0]), float(error))


def of_weights(found: LeaveOneOut, log_density: Array, unit: int, chains: int) -> Estimate:
    """PSIS: a weighted mean, its error by the delta method (Vehtari et al. 2024, section 2.3)."""
    weights = np.exp(found.log_weights[:, unit])
    density = np.exp(log_density - found.elpd_i[unit])  # the weighted mean is 1
    ess = array_stats.ess((weights * density).reshape(chains, -1), method="mean")
    autocorrelation = max(1.0, len(weights) / ess)
    error = np.sqrt((weights**2 * (density - 1) ** 2).sum() * autocorrelation)
    return Estimate(float(found.elpd_i[unit]), float(error))


def z_score(one: Estimate, other: Estimate) -> float:
    return (one.value - other.value) / float(np.hypot(one.error, other.error))


def assert_agree(scores: list[float]) -> None:
    print("z-scores:", np.round(scores, 2), "mean square:", np.mean(np.square(scores)).round(2))
    assert np.abs(scores).max() < LARGEST_Z, scores
    assert np.mean(np.square(scores)) < LARGEST_MEAN_SQUARE, scores


def dense_log_density(design: Design, draws: xr.Dataset, own: NDArray[np.int64]) -> Array:
    """Of these patients of one therapist together, draw by draw, from dense matrices."""
    mean, unit = design.scaling.outcome
    scores = mean + unit * design.y[own]
    X, Z = design.X[own], design.X[own][:, design.effect_columns]
    flat = draws.stack(sample=("chain", "draw")).transpose("sample", ...)
    centre = mean + unit * flat["beta"].values @ X[:, design.present].T
    found = []
    for block in np.array_split(np.arange(len(centre)), 10):  # matrices of 34 x 34 at most
        u, v, rho, sd = (
            flat[name].values[block]
            for name in (
                "therapist_sd",
                "therapist_slope_sd",
                "therapist_correlation",
                "residual_sd",
            )
        )
        S = np.moveaxis(np.array([[u**2, rho * u * v], [rho * u * v, v**2]]), -1, 0)
        noise = sd[:, None, None] ** 2 * np.eye(len(own))
        spread = unit**2 * (Z @ S @ Z.T + noise)
        residual = scores - centre[block]
        squares = (residual * np.linalg.solve(spread, residual[..., None])[..., 0]).sum(axis=1)
        _, log_determinant = np.linalg.slogdet(spread)
        found.append(-0.5 * (len(own) * np.log(2 * np.pi) + log_determinant + squares))
    return np.concatenate(found)


@pytest.mark.mcmc
def test_therapists_left_out_in_closed_form_are_those_of_exact_refits(pain: Fit) -> None:
    """Twelve therapists: PSIS of the integrated likelihood, and the refits of the module itself,
    against the model fitted to the other patients' rows.
    """
    design, priors = pain.design("pain"), pain.specs["pain"].priors
    found = leave_therapist_out(pain["pain"], refits="none")
    again = leave_therapist_out(pain["pain"], refits="all")
    draws = draws_of(pain.trees["pain"])
    pointwise = therapist_log_likelihood(Posterior(design, draws))
    assert len(found.units) == 12
    by_weights, by_refits = [], []
    for j in range(12):
        own = np.flatnonzero(design.therapist_index == j)
        tree, _ = sample_outcome(without_patients(design, own), priors, LONG, SEED + j)
        brute = of_draws(dense_log_density(design, draws_of(tree), own), LONG.chains)
        likelihood = pointwise.isel(therapist=j).values.ravel()
        if found.pareto_k[j] <= found.good_k:
            smooth = of_weights(found, likelihood, j, STANDARD.chains)
            by_weights.append(z_score(smooth, brute))
        # The module's refit has a fifth of the draws, independent as these are
        by_refits.append(z_score(Estimate(again.elpd_i[j], np.sqrt(5) * brute.error), brute))
    assert len(by_weights) >= 10  # of this trial one therapist's k is too high
    assert_agree(by_weights)
    assert_agree(by_refits)


@pytest.mark.mcmc
def test_patients_left_out_by_weights_are_those_of_refits(pain: Fit) -> None:
    """Thirty patients, the ten of the highest Pareto k among them.

    The target is conditional on the therapist: the density of the patient's outcome given the
    therapist's effects, averaged over their posterior without the patient.
    """
    design, priors = pain.design("pain"), pain.specs["pain"].priors
    found = leave_one_out(pain["pain"])
    pointwise = patient_log_likelihood(pain["pain"]).values.reshape(-1, len(design.y))
    highest = np.argsort(-found.pareto_k)[:10]
    others = np.setdiff1d(np.arange(len(design.y)), highest)
    scores = []
    for i in [*highest, *others[:: len(others) // 20][:20]]:
        tree, _ = sample_outcome(without_patients(design, np.array([i])), priors, STANDARD, SEED)
        draws = draws_of(tree).stack(sample=("chain", "draw")).transpose("sample", ...)
        effect = draws["therapist_effect"].isel(therapist=design.therapist_index[i]).values
        centre = draws["beta"].values @ design.X[i, design.present]
        centre += effect @ design.X[i, design.effect_columns]
        mean, unit = design.scaling.outcome
        score = mean + unit * design.y[i]
        log_density = stats.norm.logpdf(
            score, mean + unit * centre, unit * draws["residual_sd"].values
        )
        brute = of_draws(log_density, STANDARD.chains)
        scores.append(z_score(of_weights(found, pointwise[:, i], int(i), STANDARD.chains), brute))
    assert len(scores) == 30
    assert_agree(scores)


@pytest.mark.validation
def test_exact_within_between_gives_the_density_given_the_ratings() -> None:
    """By importance weights and by refit: the ratings stay in, only outcomes are left out."""
    fit = fitted("pain", alliance="within_between")
    found = leave_therapist_out(fit["pain"], refits="none")
    without = WithoutTherapist(fit["pain"])
    pointwise = therapist_log_likelihood(Posterior(fit.design("pain"), draws_of(fit.trees["pain"])))
    scores = []
    for j in range(0, 12, 2):
        if found.pareto_k[j] > found.good_k:
            continue
        refit = of_draws(without.log_densities(j)[:, 0], STANDARD.chains)
        assert refit.value == pytest.approx(without.elpd(j), abs=1e-12)
        likelihood = pointwise.isel(therapist=j).values.ravel()
        scores.append(z_score(of_weights(found, likelihood, j, STANDARD.chains), refit))
    assert len(scores) >= 4
    assert_agree(scores)


@pytest.mark.validation
@pytest.mark.parametrize("outcome", ["gpe", "function"])
def test_silenced_patients_are_patients_left_out(outcome: str) -> None:
    """Weights of zero against the rows taken away and the model compiled anew."""
    fit = fitted(outcome, likelihood="native")
    design, priors = fit.design(outcome), fit.specs[outcome].priors
    without = WithoutTherapist(fit[outcome])
    scores = []
    for j in (1, 8):  # with 17 and with 34 patients of the simulated trial
        silenced = of_draws(without.log_densities(j)[:, 0], STANDARD.chains)
        own = np.flatnonzero(design.therapist_index == j)
        tree, _ = sample_outcome(without_patients(design, own), priors, STANDARD, SEED)
        found = therapist_log_likelihood(Posterior(design, draws_of(tree)))
        brute = of_draws(found.isel(therapist=j).values.ravel(), STANDARD.chains)
        scores.append(z_score(silenced, brute))
    assert_agree(scores)


@pytest.mark.validation
def test_silenced_patients_keep_their_ratings() -> None:
    """With a latent alliance: weights of zero against importance weights, from another model.

    The fit integrates the therapist effects out, the refit samples them.
    """
    fit = fitted("pain", missing_alliance="impute")
    found, without = leave_therapist_out(fit["pain"], refits="none"), WithoutTherapist(fit["pain"])
    pointwise = therapist_log_likelihood(fit["pain"])
    scores = []
    for j in np.argsort(found.pareto_k)[:4]:
        assert found.pareto_k[j] < found.good_k
        likelihood = pointwise.isel(therapist=j).values.ravel()
        smooth = of_weights(found, likelihood, int(j), STANDARD.chains)
        refit = of_draws(without.log_densities(int(j))[:, 0], STANDARD.chains)
        scores.append(z_score(smooth, refit))
    assert_agree(scores)
