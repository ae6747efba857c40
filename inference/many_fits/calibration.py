"""Simulation-based calibration: are posteriors as wide, and where, as they say?

Parameters are drawn from the priors, a trial's outcomes from the model for the patients at hand,
and the model is fitted to them. Over many such trials the rank of the true value among the
posterior's draws is uniform, for every quantity, if simulator, model and sampler agree (Talts et
al. 2018, arXiv:1804.06788). Each trial's random numbers follow from the seed and its own number, so
that trials may be fitted anywhere and in any order.

One trial from the priors: true parameters, the ratings they ask for, and scores.

A design's patients, arms, therapists, baselines and covariates are kept. So are the ratings of the
alliance, unless they have a model of their own; then they are simulated too, with the same ones
missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.base import array_stats
from arviz_stats.ecdf_utils import ecdf_pit
from numpy.typing import NDArray
from statsmodels.stats.multitest import multipletests

from alliance.data_prep.errors import InputError
from alliance.inference.draws.datatree import divergences, draws_of, engine_facts, fell_back
from alliance.inference.estimands.estimands import estimand_draws, with_moments
from alliance.inference.posterior import Posterior
from alliance.inference.priors.prior_predictive import (
    AllianceDraws,
    between_draws,
    prior_draws,
    prior_scores,
)
from alliance.inference.sampling.engines import fit_outcome
from alliance.inference.sampling.profiles import DEFAULT_SEED, Engine, SamplerProfile, seed_sequence
from alliance.models.design.design import Design
from alliance.models.design.ratings import (
    PREDICTOR_SCALE,
    caseload,
    latent_patients,
    needs_model,
    predictor_columns,
)
from alliance.models.priors import Priors

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class SimulatedTrial:
    """A trial and what made it.

    Attributes
    ----------
    design : Design
        With the simulated outcome and, where they have a model, ratings.
    draws : xarray.Dataset
        The true parameters, as a posterior of one chain of one draw.
    """

    design: Design
    draws: xr.Dataset


def simulated_trial(
    design: Design, priors: Priors, generator: np.random.Generator
) -> SimulatedTrial:
    """Draw parameters from the priors, and a trial from the parameters.

    Parameters
    ----------
    design : Design
        Whose outcome is not used.
    priors : Priors
    generator : numpy.random.Generator

    Returns
    -------
    SimulatedTrial
    """
    rated, alliance = design, None
    if needs_model(design):
        rated, alliance = _with_ratings(design, priors, generator)
    draws = prior_draws(rated, priors, draws=1, generator=generator, alliance=alliance)
    scores = prior_scores(rated, priors, draws, generator)[0]
    y = (scores - design.scale.offset) / design.scale.unit
    return SimulatedTrial(replace(rated, y=y), draws)


def _with_ratings(
    design: Design, priors: Priors, generator: np.random.Generator
) -> tuple[Design, AllianceDraws]:
    """Ratings from the alliance's own model, and what made them; see `models.ratings`."""
    spec = design.moderator
    therapist_sd = abs(generator.normal(0, priors.moderator_therapist_sd))
    residual_sd = abs(generator.normal(0, 1))
    own = therapist_sd * generator.standard_normal(len(design.therapists))
    columns = predictor_columns(design)
    gamma = generator.normal(0, PREDICTOR_SCALE, len(columns))
    true = design.X[:, columns] @ gamma + own[design.therapist_index]
    true = true + residual_sd * generator.standard_normal(len(true))
    noise = 0.0 if spec.reliability is None else np.sqrt(1 - spec.reliability)
    rating = true + noise * generator.standard_normal(len(true))
    if spec.ceiling is not None:
        mean, sd = design.scaling.moderator
        rating = np.minimum(rating, (spec.ceiling - mean) / sd)
    rating[design.moderator_missing] = 0.0  # as a missing rating stands in X
    rated = with_moderator(design, rating)
    found: AllianceDraws = {
        "moderator_therapist_sd": ((), np.array([therapist_sd])),
        "moderator_residual_sd": ((), np.array([residual_sd])),
        "moderator_coefficient": (("moderator_predictor",), gamma[None]),
        "moderator_therapist_mean": (("therapist",), (caseload(design) @ gamma + own)[None]),
    }
    if spec.structure == "within_between":
        found |= between_draws(design, priors, 1, generator)
    if latent := latent_patients(rated):
        found["moderator_latent"] = (("latent_patient",), true[None, latent])
    return rated, found


def with_moderator(design: Design, moderator: Array) -> Design:
    """The design with another moderator, on the standardised scale.

    Parameters
    ----------
    design : Design
    moderator : ndarray, shape (n,)
    """
    X = design.X.copy()
    factors = [np.ones(len(X)), *X[:, design.arm_columns].T]
    for column, factor in zip(design.moderator_columns, factors, strict=False):
        X[:, column] = moderator * factor
    return replace(design, X=X)


Told = Callable[[int, int], None]

KEPT = 199  # draws that a true value is ranked among, thinned to be nearly independent
COVERAGES = (0.5, 0.9, 0.95)
ALARM = 0.01
"""Chance that a calibrated set of quantities fails: of their smallest p-value, after Holm."""

BAND = 0.95  # probability that calibrated shares stay within their band everywhere
SIMULATIONS = 1_000  # of uniform shares, for the band


@dataclass(frozen=True, eq=False)
class Calibration:
    """Where the true values lie in the posteriors of t simulated trials.

    Attributes
    ----------
    outcome : str
    labels : tuple of (quantity, level)
        Of the m reported quantities.
    pit : ndarray, shape (t, m)
        Share of the posterior below the true value.
    z : ndarray, shape (t, m)
        Posterior mean less the true value, in posterior SDs.
    shrinkage : ndarray, shape (t, m)
        Posterior variance over that of the true values: what the data do not tell.
    divergent : int
        Trials in which a chain of NUTS diverged.
    fallbacks : int
        Trials that NUTS fitted because the instant engine's weights or integrals were unreliable.
    """

    outcome: str
    labels: tuple[tuple[str, str], ...]
    pit: Array
    z: Array
    shrinkage: Array
    divergent: int = 0
    fallbacks: int = 0

    @cached_property
    def p_values(self) -> Array:
        """Of uniform shares, for each quantity, shape (m,)."""
        return np.array([float(array_stats.uniformity_test(own)[0]) for own in self.pit.T])

    @cached_property
    def adjusted(self) -> Array:
        """The same after Holm's correction for their number, shape (m,)."""
        return np.asarray(multipletests(self.p_values, method="holm")[1])

    @property
    def passed(self) -> bool:
        """Whether no quantity's shares are other than uniform."""
        return bool((self.adjusted >= ALARM).all())

    @property
    def table(self) -> pd.DataFrame:
        """One row for each quantity.

        Returns
        -------
        pandas.DataFrame
            Columns ``outcome, quantity, level, trials, p_value, p_adjusted, mean_pit, mean_z``, the
            coverage of central intervals ``covered_50, covered_90, covered_95``, and
            ``mean_shrinkage``.
        """
        inside = {
            f"covered_{100 * share:.0f}": (np.abs(self.pit - 0.5) <= share / 2).mean(axis=0)
            for share in COVERAGES
        }
        return pd.DataFrame(
            {
                "outcome": self.outcome,
                "quantity": [quantity for quantity, _ in self.labels],
                "level": [level for _, level in self.labels],
                "trials": len(self.pit),
                "p_value": self.p_values,
                "p_adjusted": self.adjusted,
                "mean_pit": self.pit.mean(axis=0),
                "mean_z": self.z.mean(axis=0),
                **inside,
                "mean_shrinkage": self.shrinkage.mean(axis=0),
            }
        )

    def curve(self, quantity: str, level: str = "") -> pd.DataFrame:
        """Share of trials at or below each share, with a simultaneous band of uniform ones.

        Parameters
        ----------
        quantity, level : str

        Returns
        -------
        pandas.DataFrame
            Columns ``pit, share, lower, upper``; the band as of Säilynoja, Bürkner & Vehtari 2022,
            doi:10.1007/s11222-022-10090-6.

        Raises
        ------
        InputError
            If there is no such quantity, or one trial only.
        """
        if (quantity, level) not in self.labels:
            names = ", ".join(" ".join(label).strip() for label in self.labels)
            raise InputError(f"No quantity {quantity!r} {level!r} was calibrated.", names)
        require_curve(len(self.pit))
        own = self.pit[:, self.labels.index((quantity, level))]
        points, share, lower, upper = ecdf_pit(own, BAND, SIMULATIONS)
        return pd.DataFrame({"pit": points, "share": share, "lower": lower, "upper": upper})


def require_curve(trials: int) -> None:
    """Refuse a curve of ranks of one trial, before it is simulated.

    Raises
    ------
    InputError
    """
    if trials < 2:
        raise InputError("One trial has no curve.", "Ask for two or more.")


@dataclass(frozen=True, eq=False, slots=True)
class CalibrationQuestion:
    """What is calibrated, and how: all but the number of a trial.

    Attributes
    ----------
    design : Design
        Whose patients, arms, therapists and, where they have no model of their own, ratings are
        kept.
    priors : Priors
        That true values are drawn from.
    profile : SamplerProfile
        With at least `KEPT` draws in all.
    seed : int
    engine : {"nuts", "instant"}
    fitted : Priors, optional
        That the model is fitted with, the same by default; others are a planted fault.
    """

    design: Design
    priors: Priors
    profile: SamplerProfile
    seed: int = DEFAULT_SEED
    engine: Engine = "nuts"
    fitted: Priors | None = None

    def __post_init__(self) -> None:
        if self.profile.chains * self.profile.draws < KEPT:
            raise InputError(
                f"{self.profile.chains} x {self.profile.draws} draws are fewer than {KEPT}.",
                "Calibrate with another profile.",
            )


def ranked_trial(question: CalibrationQuestion, number: int) -> dict[str, Any]:
    """Simulate one trial, fit it, and rank the true values among the draws.

    Parameters
    ----------
    question : CalibrationQuestion
    number : int
        Of the trial.

    Returns
    -------
    dict
        Plain values: ``labels`` (pairs of quantity and level), ``pit``, ``truth``, ``mean`` and
        ``sd`` of each, ``divergent`` and ``fallback``.
    """
    outcome = f"{question.design.outcome}: trial"
    simulator = np.random.default_rng(seed_sequence(question.seed, "prior", outcome, number))
    trial = simulated_trial(question.design, question.priors, simulator)
    stream = seed_sequence(question.seed, "sampling", outcome, number)
    own = int(stream.generate_state(1)[0])
    tree, _ = fit_outcome(
        trial.design,
        question.fitted or question.priors,
        question.profile,
        own,
        engine=question.engine,
        cores=1,
    )
    draws = with_moments(estimand_draws(Posterior(trial.design, draws_of(tree))), logs=True)
    truth = with_moments(estimand_draws(Posterior(trial.design, trial.draws)), logs=True)
    return rank_numbers(draws, truth, np.random.default_rng(own)) | {
        "divergent": divergences(tree) > 0,
        "fallback": fell_back(engine_facts(tree)),
    }


def rank_numbers(
    draws: xr.DataArray, truth: xr.DataArray, generator: np.random.Generator
) -> dict[str, Any]:
    """Where true values lie among draws, as plain values.

    Parameters
    ----------
    draws : xarray.DataArray
        Reported quantities, dims ``chain, draw, estimand``.
    truth : xarray.DataArray
        The same quantities, one chain of one draw.
    generator : numpy.random.Generator
        Spreads a rank evenly over its own share.

    Returns
    -------
    dict
        ``labels`` (pairs of quantity and level), ``pit``, ``truth``, ``mean`` and ``sd`` of each.
    """
    values = draws.transpose("chain", "draw", "estimand").values
    values = values.reshape(-1, values.shape[-1])
    true = truth.transpose("chain", "draw", "estimand").values.reshape(-1)
    return {
        "labels": [
            [str(quantity), str(level)]
            for quantity, level in zip(draws["quantity"].values, draws["level"].values, strict=True)
        ],
        "pit": _share_below(values, true, generator).tolist(),
        "truth": true.tolist(),
        "mean": values.mean(axis=0).tolist(),
        "sd": values.std(axis=0, ddof=1).tolist(),
    }


def calibration_of(outcome: str, trials: Sequence[Mapping[str, Any]]) -> Calibration:
    """Put ranked trials together.

    Parameters
    ----------
    outcome : str
    trials : sequence of mapping
        As from `ranked_trial`; at least one.

    Returns
    -------
    Calibration

    Raises
    ------
    InputError
        If there is none.
    """
    if not trials:
        raise InputError(f"{outcome}: not one trial was fitted.", "Ask for one or more.")
    pit, truth, mean, sd = (
        np.array([trial[name] for trial in trials]) for name in ("pit", "truth", "mean", "sd")
    )
    spread = truth.var(axis=0, ddof=1) if len(trials) > 1 else np.full(truth.shape[1], np.nan)
    return Calibration(
        outcome=outcome,
        labels=tuple((quantity, level) for quantity, level in trials[0]["labels"]),
        pit=pit,
        z=(mean - truth) / sd,
        shrinkage=sd**2 / spread,
        divergent=sum(trial["divergent"] for trial in trials),
        fallbacks=sum(trial["fallback"] for trial in trials),
    )


def calibrate(
    question: CalibrationQuestion, trials: int, *, progress: Told | None = None
) -> Calibration:
    """Calibrate one model in this process; `inference.many_fits.calibration_runs` does so on many.

    Parameters
    ----------
    question : CalibrationQuestion
    trials : int
    progress : callable, optional
        Called with the trials done and the trials to do.

    Returns
    -------
    Calibration

    Raises
    ------
    InputError
        If there are no trials, or the engine does not fit the design.
    """
    found = []
    for number in range(trials):
        if progress is not None:
            progress(number, trials)
        found.append(ranked_trial(question, number))
    if progress is not None:
        progress(trials, trials)
    return calibration_of(question.design.outcome, found)


def _share_below(values: Array, true: Array, generator: np.random.Generator) -> Array:
    """Rank of the true values among thinned draws, spread evenly over its own share."""
    kept = values[np.linspace(0, len(values) - 1, KEPT).round().astype(int)]
    rank = (kept < true).sum(axis=0)
    return np.asarray((rank + generator.random(len(true))) / (KEPT + 1))
