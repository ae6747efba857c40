"""Simulation-based calibration of outcomes over time: all visits of a trial at once.

Patients may leave: at each visit after the first, the likelier the higher the last score seen, so
that scores are missing at random and not completely at random.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.simulator.leaving import who_left
from alliance.inference.draws.datatree import divergences, draws_of, engine_facts
from alliance.inference.estimands.estimands import estimand_draws
from alliance.inference.estimands.over_time import CORRELATION, correlation_estimands
from alliance.inference.many_fits.calibration import rank_numbers
from alliance.inference.posterior import Posterior
from alliance.inference.sampling.engines import fit_over_time
from alliance.inference.sampling.profiles import DEFAULT_SEED, Engine, SamplerProfile, seed_sequence
from alliance.models.design.design import Design
from alliance.models.nesting import RESIDUAL_GROUP
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec
from alliance.models.visits.covariance import prior_powers
from alliance.models.visits.design import VisitsDesign, join_visits

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class VisitsQuestion:
    """What is calibrated, and how; as `inference.many_fits.calibration.CalibrationQuestion`.

    Attributes
    ----------
    design : VisitsDesign
        Whose scores are not used.
    specs : mapping of str to ModelSpec
        Of its visits.
    priors : Priors
    profile : SamplerProfile
    seed : int
    leaving : float
        Share of the patients who leave before the last visit, beside those who are not there.
    engine : {"nuts", "instant"}
    """

    design: VisitsDesign
    specs: Mapping[str, ModelSpec]
    priors: Priors
    profile: SamplerProfile
    seed: int = DEFAULT_SEED
    leaving: float = 0.0
    engine: Engine = "nuts"


def ranked_visits_trial(question: VisitsQuestion, number: int) -> dict[str, dict[str, Any]]:
    """Simulate one trial of all visits, fit it, and rank the true values.

    Parameters
    ----------
    question : VisitsQuestion
    number : int
        Of the trial.

    Returns
    -------
    dict
        By the name of the outcome at a visit, as of `inference.many_fits.calibration.ranked_trial`;
        and under that of the outcome over time the residuals' correlations, unless the structure
        has none.
    """
    outcome = question.design.outcome
    label = f"{outcome}: trial"
    simulator = np.random.default_rng(seed_sequence(question.seed, "prior", label, number))
    trial, truths = simulated_visits_trial(question, simulator)
    own = int(seed_sequence(question.seed, "sampling", label, number).generate_state(1)[0])
    trees, _ = fit_over_time(
        trial, question.priors, question.profile, own, engine=question.engine, cores=1
    )
    generator = np.random.default_rng(own)
    found = {}
    for name, design in trial.designs.items():
        draws = estimand_draws(Posterior(design, draws_of(trees[name])))
        truth = estimand_draws(Posterior(design, truths[name]))
        found[name] = rank_numbers(draws, truth, generator)
    if trial.shape.correlations:
        first = trial.first
        labels = [name.removeprefix(f"{outcome}_") for name in trial.designs]
        groups = dict(zip(first.arms, first.nesting.groups, strict=False))
        sampled = [draws_of(trees[name]) for name in trial.designs]
        found[outcome] = rank_numbers(
            correlation_estimands(sampled, labels, groups if first.nesting.number > 1 else None),
            correlation_estimands(
                list(truths.values()), labels, groups if first.nesting.number > 1 else None
            ),
            generator,
        )
    diverged = any(divergences(tree) > 0 for tree in trees.values())
    fallback = question.engine == "instant" and any(
        engine_facts(tree)["engine"] == "nuts" for tree in trees.values()
    )
    return {
        name: ranks | {"divergent": diverged, "fallback": fallback} for name, ranks in found.items()
    }


def simulated_visits_trial(
    question: VisitsQuestion, generator: np.random.Generator
) -> tuple[VisitsDesign, dict[str, xr.Dataset]]:
    """Draw parameters from the priors, and scores from the parameters.

    Parameters
    ----------
    question : VisitsQuestion
    generator : numpy.random.Generator

    Returns
    -------
    VisitsDesign
        With the simulated scores, of those who did not leave.
    dict of str to xarray.Dataset
        By the name of the outcome at a visit, true parameters as a posterior of one draw.
    """
    design, priors, shape = question.design, question.priors, question.design.shape
    first, V = design.first, design.shape.visits
    beta = generator.normal(0, first.prior_sd(priors)[design.terms.column])
    sd = np.abs(generator.normal(0, priors.residual_sd, (shape.groups, shape.sds)))
    power = prior_powers(shape.structure, V, priors.residual_correlation)
    share = generator.beta(power + 1, power + 1, (shape.groups, shape.correlations))
    low, high = shape.limits
    residual = shape.residual(sd, low + (high - low) * share)
    scales = (priors.therapist_sd, priors.therapist_slope_sd, priors.therapist_sd)
    intercept, slope, deviation = np.abs(generator.normal(0, scales))
    r = 2 * generator.beta(priors.therapist_correlation, priors.therapist_correlation) - 1
    loading = np.array([[intercept, 0.0], [slope * r, slope * np.sqrt(1 - r**2)]])
    q, J = shape.correlated, len(first.therapists)
    common = generator.standard_normal((J, q)) @ loading[:q, :q].T
    at_visit = np.repeat(common[:, None], V, axis=1)  # (J, V, q)
    if shape.independent:
        at_visit[..., 0] += deviation * generator.standard_normal((J, V))
    at_visit = np.concatenate([at_visit, np.zeros((1, V, q))])  # of patients without a therapist
    errors = generator.standard_normal((design.patients, V))
    coefficients = design.coefficients(beta)
    scores = np.full((design.patients, V), np.nan)
    for t, (name, own) in enumerate(design.designs.items()):
        rows = design.positions[name]
        root = np.linalg.cholesky(residual)[own.residual_group, t]
        has = own.nesting.has_therapist(own.arm_index)
        index = np.where(has, own.therapist_index, J)
        scores[rows, t] = own.X @ coefficients[t] + (root * errors[rows]).sum(axis=1)
        scores[rows, t] += (own.X[:, own.effect_columns] * at_visit[index, t]).sum(axis=1)
    scores[who_left(scores, question.leaving, generator)] = np.nan
    designs, positions = {}, {}
    for t, (name, own) in enumerate(design.designs.items()):
        kept = np.flatnonzero(~np.isnan(scores[design.positions[name], t]))
        positions[name] = design.positions[name][kept]
        designs[name] = of_rows(own, kept, scores[positions[name], t])
    trial = join_visits(designs, positions, question.specs)
    spread = np.hypot(intercept, deviation) if shape.independent else intercept
    truths = {
        name: _truth(own, t, coefficients[t], residual, (spread, slope, r * intercept / spread))
        for t, (name, own) in enumerate(designs.items())
    }
    labels = [name.removeprefix(f"{design.outcome}_") for name in designs]
    for t, truth in enumerate(truths.values()):
        if t + 1 < V and shape.correlations:
            sds = np.sqrt(np.diagonal(residual, axis1=-2, axis2=-1))
            values = residual[:, t, t + 1 :] / (sds[:, [t]] * sds[:, t + 1 :])
            dims = ("chain", "draw", *((RESIDUAL_GROUP,) if len(residual) > 1 else ()))
            values = values[None, None] if len(residual) > 1 else values[None]
            truth[CORRELATION] = ((*dims, "later_visit"), values)
            truth.coords["later_visit"] = labels[t + 1 :]
    return trial, truths


def of_rows(design: Design, kept: NDArray[np.int64], y: Array) -> Design:
    """The design of some of its patients, with scores of their own.

    Parameters
    ----------
    design : Design
    kept : ndarray of int, shape (r,)
        Positions of the patients.
    y : ndarray, shape (r,)
        Standardised scores.
    """
    return replace(
        design,
        X=design.X[kept],
        y=y,
        therapist_index=design.therapist_index[kept],
        moderator_missing=design.moderator_missing[kept],
        count=design.count[kept],
    )


def _truth(
    design: Design, visit: int, beta: Array, residual: Array, spreads: tuple[float, float, float]
) -> xr.Dataset:
    """True parameters at one visit as a posterior of one draw."""
    sds = np.sqrt(residual[:, visit, visit])
    several = len(sds) > 1
    found: dict[str, tuple[tuple[str, ...], Array]] = {
        "residual_sd": (
            ("chain", "draw", *((RESIDUAL_GROUP,) if several else ())),
            sds[None, None] if several else sds[None],
        ),
        "beta": (("chain", "draw", "coefficient"), beta[None, None, design.present]),
    }
    names = ("therapist_sd", "therapist_slope_sd", "therapist_correlation")
    number = {0: 0, 1: 1, 2: 3}[len(design.effects)]
    for name, value in zip(names[:number], spreads, strict=False):
        found[name] = (("chain", "draw"), np.array([[value]]))
    coefficients = [design.coefficients[k] for k in design.present]
    coords = {"chain": [0], "draw": [0], "coefficient": coefficients}
    return xr.Dataset(found, coords | design.nesting.coords(design.arms))
